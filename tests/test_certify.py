"""Certificates are held against all inputs, one by one, in rational arithmetic."""

from dataclasses import replace
from fractions import Fraction
from itertools import product
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from circuits import InputError
from circuits.constructions.certifying import branching
from circuits.constructions.certifying import certify as certifying
from circuits.constructions.certifying.binomial import share_intervals
from circuits.constructions.certifying.certificate import what_would_decide
from circuits.constructions.certifying.certify import certify, float64_output
from circuits.constructions.certifying.exact_outputs import exact_outputs
from circuits.constructions.certifying.failures import failure_rate
from circuits.constructions.certifying.flips import fewest_flips
from circuits.constructions.certifying.interval import interval_bounds, quick_bounds
from circuits.constructions.certifying.least_margin import Least, least, lowered
from circuits.constructions.certifying.milp import TOLERANCE
from circuits.constructions.certifying.restriction import restriction, unit_scale
from circuits.constructions.patterns import patterns


def oracle(W, b, u, x):
    """f(x) with a Fraction for every number."""
    total = Fraction(0)
    for row, bias, readout in zip(W, b, u, strict=True):
        h = Fraction(float(bias))
        for weight, bit in zip(row, x, strict=True):
            h += Fraction(float(weight)) * int(bit)
        total += Fraction(float(readout)) * max(h, 0)
    return total


def all_margins(W, b, u, relevant_bits):
    """Every input, and its exact margin."""
    inputs = np.array(list(product([-1, 1], repeat=W.shape[1])), np.int8)
    signs = inputs[:, list(relevant_bits)].prod(axis=1)
    return inputs, [int(sign) * output for sign, output in zip(signs, exact_outputs(W, b, u, inputs), strict=True)]


@st.composite
def networks(draw, most_inputs=8, most_neurons=7):
    """A network and relevant bits, at a weight scale from 1e-6 to 1e3; often it nearly computes the parity.

    Weights come from few values, with ties and zeros, or are generic. A network may be a sum of gates that compute the
    parity, disturbed, so that both verdicts are common.
    """
    n = draw(st.integers(2, most_inputs))
    k = draw(st.integers(1, min(3, n)))
    relevant_bits = draw(st.permutations(range(n)))[:k]
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    width = draw(st.integers(1, most_neurons))
    if draw(st.booleans()):
        values = lambda *shape: random.choice([-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0], shape)  # noqa: E731
    else:
        values = lambda *shape: random.standard_normal(shape)  # noqa: E731
    W, b, u = values(width, n), values(width), values(width)
    if draw(st.booleans()):
        gates = patterns(k).astype(float)
        disturbance = draw(st.sampled_from([0.0, 0.02, 0.1, 0.3]))
        base = disturbance * values(2**k, n)
        base[:, relevant_bits] += gates
        W = np.concatenate([base, disturbance * W])
        b = np.concatenate([np.full(2**k, 1.0 - k), disturbance * b])
        u = np.concatenate([gates.prod(axis=1), disturbance * u])
    if draw(st.booleans()):
        each = 10.0 ** random.uniform(-4, 4, len(u))
        W, b, u = W * each[:, None], b * each, u / each
    scale = 10.0 ** draw(st.integers(-6, 3))
    return W * scale, b * scale, u * 10.0 ** draw(st.integers(-6, 3)), relevant_bits


@given(networks())
@settings(max_examples=150)
def test_a_certified_network_is_right_on_every_input_and_a_counterexample_is_wrong(case):
    W, b, u, relevant_bits = case
    proof = certify(W, b, u, relevant_bits)
    margins = all_margins(W, b, u, relevant_bits)[1]
    worst = min(margins)
    parity = int(proof.input[list(relevant_bits)].prod())
    assert proof.margin == float(parity * oracle(W, b, u, proof.input))
    if proof.verdict == "certified":
        assert worst > 0
    else:
        assert proof.verdict == "refuted", "no network of few inputs is left undecided"
        assert worst <= 0
        assert parity * float64_output(W, b, u, proof.input) <= 1e-13 * proof.scale
        assert proof.margin <= 0
    assert proof.lower <= worst


@pytest.mark.slow
@pytest.mark.parametrize("method", [None, "inputs", "branching", "milp"])
@given(case=networks())
@settings(max_examples=80)
def test_the_margin_of_every_pattern_is_the_enumerated_one(case, method):
    W, b, u, relevant_bits = case
    proof = certify(W, b, u, relevant_bits, method=method)
    inputs, margins = all_margins(W, b, u, relevant_bits)
    assert proof.exact
    for at, pattern in enumerate(patterns(len(relevant_bits))):
        here = (inputs[:, list(relevant_bits)] == pattern).all(axis=1)
        worst = float(min(margin for margin, of in zip(margins, here, strict=True) if of))
        assert proof.pattern_margin[at] == pytest.approx(worst, rel=0, abs=1e-9 * proof.scale)
        assert proof.pattern_lower[at] <= worst
        assert proof.pattern_lower[at] >= worst - 10 * TOLERANCE * proof.scale


@pytest.mark.slow
@given(networks(most_inputs=16, most_neurons=9))
@settings(max_examples=100)
def test_the_milp_finds_the_enumerated_margin_up_to_sixteen_inputs(case):
    W, b, u, relevant_bits = case
    by_milp, by_inputs = (
        certify(W, b, u, relevant_bits, method="milp"),
        certify(W, b, u, relevant_bits, method="inputs"),
    )
    assert by_milp.solved == by_inputs.solved
    np.testing.assert_allclose(by_milp.pattern_margin, by_inputs.pattern_margin, rtol=0, atol=1e-9 * by_inputs.scale)
    assert (by_milp.pattern_lower <= by_inputs.pattern_margin).all()


@pytest.mark.slow
@given(networks(most_inputs=7))
@settings(max_examples=150)
def test_no_input_is_below_the_instant_bounds_and_the_relaxed_margin(case):
    W, b, u, relevant_bits = case
    net = unit_scale(W, b, u)
    inputs, margins = all_margins(W, b, u, relevant_bits)
    bounds = interval_bounds(W, b, u, relevant_bits), net.scale * quick_bounds(net, relevant_bits)[0]
    half = np.arange(len(u)) % 2 == 0
    for at, pattern in enumerate(patterns(len(relevant_bits))):
        here = np.flatnonzero((inputs[:, list(relevant_bits)] == pattern).all(axis=1))
        exact = np.array([float(margins[x]) for x in here])
        for bound in bounds:
            assert bound[at] <= exact.min()
        bits = inputs[here][:, [bit for bit in range(W.shape[1]) if bit not in relevant_bits]]
        relaxed = restriction(net, relevant_bits, pattern, half).margins(bits) * net.scale
        assert (relaxed <= exact + 1e-12 * net.scale).all()
        itself = restriction(net, relevant_bits, pattern).margins(bits) * net.scale
        np.testing.assert_allclose(itself, exact, rtol=0, atol=1e-13 * net.scale)


@given(networks(most_inputs=6, most_neurons=4))
@settings(max_examples=60)
def test_exact_outputs_are_those_of_fractions(case):
    W, b, u, _ = case
    inputs = np.array(list(product([-1, 1], repeat=W.shape[1])), np.int8)[::5]
    assert exact_outputs(W, b, u, inputs) == [oracle(W, b, u, x) for x in inputs]


@pytest.mark.parametrize("scale", [1e-300, 1e-6, 1e3, 1e300])
def test_unit_scale_rounds_nothing(scale):
    random = np.random.default_rng(0)
    W, b, u = scale * random.standard_normal((6, 4)), scale * random.standard_normal(6), random.standard_normal(6)
    net = unit_scale(W, b, u)
    size = np.abs(net.W).sum(axis=1) + np.abs(net.b)
    assert (size >= 0.5).all()
    assert (size < 1).all()
    assert 0.5 <= np.abs(net.u) @ size < 1
    inputs = patterns(4)
    unit = [Fraction(2) ** net.exponent * output for output in exact_outputs(net.W, net.b, net.u, inputs)]
    assert unit == exact_outputs(W, b, u, inputs)


def parity_gates(k, n, relevant_bits):
    """2^k AND gates: Proposition 1 of Merrill et al. 2023, its margin is 1."""
    W = np.zeros((2**k, n))
    W[:, relevant_bits] = patterns(k)
    return W, np.full(2**k, 1.0 - k), patterns(k).prod(axis=1).astype(float)


@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_gates_for_every_pattern_are_certified_on_forty_inputs_with_margin_one(k):
    relevant_bits = [7, 0, 39, 20][:k]
    proof = certify(*parity_gates(k, 40, relevant_bits), relevant_bits)
    assert proof.verdict == "certified"
    assert proof.margin == 1.0
    assert proof.exact
    assert proof.lower == pytest.approx(1.0, abs=1e-9)


def test_the_worst_case_over_irrelevant_bits_is_met_exactly():
    # A gate loses 0.01 to each of 37 bits, and at the worst input so do all three neighbors gain, still below 0.
    W, b, u = parity_gates(3, 40, [0, 1, 2])
    W[:, 3:] = 0.01
    proof = certify(W, b, u, [0, 1, 2])
    assert proof.margin == pytest.approx(1 - 0.37)
    assert proof.verdict == "certified"
    W[:, 3:] = 0.03  # 1.11 now: more than a gate has
    assert certify(W, b, u, [0, 1, 2]).verdict == "refuted"


def test_a_network_of_the_wrong_parity_or_of_no_sign_is_refuted():
    W, b, u = parity_gates(2, 5, [0, 1])
    assert certify(W, b, u, [0, 2]).verdict == "refuted"
    assert certify(W, b, -u, [0, 1]).verdict == "refuted"
    nothing = certify(W, b, 0 * u, [0, 1])
    assert nothing.verdict == "refuted"
    assert nothing.margin == 0


def test_scaling_and_permuting_neurons_changes_neither_verdict_nor_margin():
    random = np.random.default_rng(2)
    for _ in range(10):
        W, b, u = parity_gates(2, 12, [3, 5])
        W += 0.1 * random.standard_normal(W.shape)
        first = certify(W, b, u, [3, 5])
        by = 2.0 ** random.integers(-20, 20, len(u))
        order = random.permutation(len(u))
        second = certify((W * by[:, None])[order], (b * by)[order], (u / by)[order], [3, 5])
        assert second.verdict == first.verdict
        assert second.margin == first.margin


@pytest.mark.slow
@pytest.mark.parametrize("disturbance", [0.0, 0.01, 0.05, 0.3])
def test_a_wide_network_is_judged_soundly_by_lines_below_its_small_neurons(disturbance):
    random = np.random.default_rng(5)
    for _ in range(5):
        gates = parity_gates(2, 9, [1, 4])
        more = random.standard_normal((90, 9)), random.standard_normal(90), random.standard_normal(90)
        W, b, u = (np.concatenate([gate, disturbance * part]) for gate, part in zip(gates, more, strict=True))
        proof = certify(W, b, u, [1, 4])
        worst = min(all_margins(W, b, u, [1, 4])[1])
        assert proof.lower <= worst
        assert float(worst) <= proof.margin
        assert proof.verdict == ("certified" if worst > 0 else "refuted")
        assert proof.exact
        assert proof.margin == pytest.approx(float(worst), abs=1e-12)


# ---- networks with too many inputs to go through all: here small ones, treated as if they were ----


@pytest.fixture
def as_if_large(monkeypatch):
    monkeypatch.setattr(certifying, "ALWAYS_SEARCHED", -1)
    monkeypatch.setattr(certifying, "PER_SECOND", 0.0)


@pytest.mark.usefixtures("as_if_large")
@pytest.mark.parametrize("most_exact", [40, 2])
def test_networks_of_many_inputs_are_judged_as_all_inputs_say(monkeypatch, most_exact):
    monkeypatch.setattr(certifying, "MOST_EXACT", most_exact)  # with 2, most patterns have too many for a program
    random = np.random.default_rng(7)
    verdicts = set()
    for disturbance in (0.02, 0.1, 0.15, 0.2, 0.3):
        gates = parity_gates(2, 9, [1, 4])
        more = random.standard_normal((12, 9)), random.standard_normal(12), random.standard_normal(12)
        W, b, u = (np.concatenate([gate, disturbance * part]) for gate, part in zip(gates, more, strict=True))
        W[:4] += disturbance * random.standard_normal((4, 9))
        proof = certify(W, b, u, [1, 4])
        worst = min(all_margins(W, b, u, [1, 4])[1])
        assert proof.verdict == ("certified" if worst > 0 else "refuted")
        assert proof.lower <= worst
        assert float(worst) <= proof.margin
        if proof.verdict == "certified":
            assert proof.lower > 0.4 * proof.margin, "the bound was raised"
        verdicts.add(proof.verdict)
    assert verdicts == {"certified", "refuted"}


@pytest.mark.usefixtures("as_if_large")
@pytest.mark.parametrize("margin", [1e-6, -1e-6, 1e-12, -1e-12])
def test_margins_below_a_solvers_tolerance_are_decided_among_many_inputs(margin):
    W, b, u = with_least_margin(margin)
    proof = certify(W, b, u, [1, 4])
    assert proof.verdict == ("certified" if margin > 0 else "refuted")
    assert proof.margin == pytest.approx(margin, rel=0.01)


@pytest.mark.slow
@pytest.mark.usefixtures("as_if_large")
def test_an_open_network_uses_its_time_and_says_how_much_more_it_needs(monkeypatch):
    W, b, u = with_least_margin(0.01, n=20, width=30)
    clock = iter(np.arange(10**6))
    for module in (certifying, branching):
        monkeypatch.setattr(module, "monotonic", lambda: float(next(clock)))
    monkeypatch.setattr(certifying, "MOST_EXACT", -1)  # no program
    begun = next(clock)
    with monkeypatch.context() as patch:
        patch.setattr(branching, "FIRST_SLICE", 1e3)
        patch.setattr(branching, "LARGEST_SLICE", 1e3)
        open_ = certify(W, b, u, [1, 4], time_limit=40.0)
    assert next(clock) - begun >= 40
    assert open_.verdict == "undecided"
    assert open_.lower <= 0 < open_.margin
    assert 0 < open_.seconds_left < np.inf
    longer = certify(W, b, u, [1, 4], time_limit=3 * (40 + open_.seconds_left))
    assert longer.verdict == "certified"
    assert longer.seconds_left == 0


def test_what_would_decide_names_a_limit_only_where_one_helps():
    guess = "more (an upper guess from its pace)"
    assert what_would_decide(0.5, 0.1) == f"The search needs about 0.5 s {guess}. Pass time_limit=2."
    assert "Pass time_limit=1100." in what_would_decide(500.0, 60.0)
    assert "A longer time_limit may not decide it" in what_would_decide(1e9, 60.0)
    assert "Pass" not in what_would_decide(1e9, 60.0)
    short = "The time limit is too short to tell how long the search takes. Pass time_limit"
    assert what_would_decide(np.nan, 1.0) == f"{short}=60."
    assert what_would_decide(np.nan, 3600.0) == f"{short}=7200."


@pytest.mark.slow
@pytest.mark.usefixtures("as_if_large")
def test_after_a_moment_of_search_there_is_no_guess(monkeypatch):
    monkeypatch.setattr(branching, "FIRST_SLICE", 1e3)
    proof = certify(*with_least_margin(0.01, n=20, width=30), [1, 4], time_limit=0.0)
    assert proof.verdict == "undecided"
    assert np.isnan(proof.seconds_left)


def test_an_unknown_method_and_a_limit_that_is_no_time_are_refused():
    net = with_least_margin(0.01)
    with pytest.raises(InputError, match=r"method='bogus' does not exist\. Pass one of inputs, branching"):
        certifying._refuse_method("bogus")  # the type checker of the tests would see it first in `certify`
    for limit in (-1.0, np.nan):
        for judge in (certify, lambda *net, **more: fewest_flips(*net, inputs=np.ones((1, 9)), **more)):
            with pytest.raises(InputError, match=rf"time_limit={limit:g} is not a number of seconds\. Pass 0"):
                judge(*net, [1, 4], time_limit=limit)


# ---- margins near 0 ----


def with_least_margin(margin, n=9, width=12):
    """A disturbed construction, moved to a least margin by a multiple of pure gates."""
    random = np.random.default_rng(3)
    gates = parity_gates(2, n, [1, 4])
    W = np.concatenate([gates[0] + 0.1 * random.standard_normal((4, n)), random.standard_normal((width, n)), gates[0]])
    b = np.concatenate([gates[1], random.standard_normal(width), gates[1]])
    u = np.concatenate([gates[2], 0.1 * random.standard_normal(width), 0 * gates[2]])
    inputs = 1 - 2 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1)
    least = (inputs[:, [1, 4]].prod(axis=1) * (np.maximum(inputs @ W.T + b, 0) @ u)).min()
    u[-4:] = (margin - least) * gates[2]
    return W, b, u


@pytest.mark.parametrize("margin", [3e-5, 1e-6, 1e-13, -1e-13, -1e-6, -3e-5])
def test_a_margin_near_zero_is_decided(margin):
    W, b, u = with_least_margin(margin)
    worst = min(all_margins(W, b, u, [1, 4])[1])
    proof = certify(W, b, u, [1, 4])
    assert proof.verdict == ("certified" if worst > 0 else "refuted")
    assert proof.margin == pytest.approx(float(worst), abs=1e-14)


def test_the_least_positive_margin_is_certified_and_zero_is_refuted():
    # 2 relu(x0 + 1) - 1 + 1 - tiny with constant neurons: 4 - tiny where x0 = 1, -tiny where x0 = -1.
    W, b = np.zeros((4, 3)), np.ones(4)
    W[0, 0] = 1.0
    for tiny, verdict in ((2.0**-60, "certified"), (0.0, "refuted"), (-(2.0**-60), "refuted")):
        u = np.array([2.0, -1.0, 1.0, -tiny])
        proof = certify(W, b, u, [0])
        assert proof.verdict == verdict, tiny
        assert proof.margin == tiny
        assert (proof.lower > 0) == (verdict == "certified")


def test_a_trained_network_of_many_unstable_neurons_is_certified():
    with np.load(Path(__file__).parent / "fixtures" / "undecided-12-3.npz") as file:
        W, b, u = (file[name] for name in "Wbu")
    for method in (None, "inputs", "branching"):
        proof = certify(W, b, u, [0, 1, 2], method=method)
        assert proof.verdict == "certified"
        assert proof.margin == pytest.approx(0.24606900, abs=1e-8)
        assert proof.exact
        assert proof.lower == pytest.approx(proof.margin, abs=1e-9)
    with pytest.raises(
        InputError, match=r"method='states' allows no unstable neuron .* parity · output\. Here, \d+ of \d+ unstable"
    ):
        certify(W, b, u, [0, 1, 2], method="states")


def test_a_method_that_cannot_be_is_refused_in_one_line_that_says_what_to_do():
    random = np.random.default_rng(0)
    W, b, u = random.standard_normal((32, 50)), random.standard_normal(32), -np.abs(random.standard_normal(32))
    with pytest.raises(
        InputError, match=r"Here, 32 neurons can be on or off: 2\^32 states need 1\.5\de\+03 GiB\. Leave"
    ) as said:
        least(restriction(unit_scale(W, b, u), [0], np.array([1], np.int8)), 0.0, 60.0, "states")
    assert "Leave `method` out" in str(said.value)
    with pytest.raises(InputError, match=r"method='inputs' would evaluate 2\^50 inputs; the limit is 2\^36\. Leave"):
        certify(W, b, u, [0], method="inputs")


def test_a_solver_that_finds_nothing_loses_no_counterexample(monkeypatch):
    random = np.random.default_rng(6)
    W, b, u = random.standard_normal((12, 30)), random.standard_normal(12), random.standard_normal(12)
    before = certify(W, b, u, [0, 1], time_limit=10.0)
    useless = Least(-np.inf, np.ones(28, np.int8), "milp", False)
    monkeypatch.setattr("circuits.constructions.certifying.certify.least", lambda *_: useless)
    monkeypatch.setattr("circuits.constructions.certifying.certify.lowered", lambda margin, bits: bits)
    unsearched = certify(W, b, u, [0, 1])
    monkeypatch.setattr(
        "circuits.constructions.certifying.certify.least", lambda margin, *_: useless._replace(bits=-useless.bits)
    )
    assert certify(W, b, u, [0, 1]).margin <= unsearched.margin
    assert before.margin <= unsearched.margin
    start = quick_bounds(unit_scale(W, b, u), [0, 1])[1]
    for at, pattern in enumerate(patterns(2)):
        margin = restriction(unit_scale(W, b, u), [0, 1], pattern).margins(start[at][None])[0]
        assert unsearched.pattern_margin[at] <= margin * unit_scale(W, b, u).scale + 1e-9


def test_without_time_the_instant_bounds_are_what_is_left():
    random = np.random.default_rng(0)
    W, b, u = random.standard_normal((30, 40)), random.standard_normal(30), random.standard_normal(30)
    proof = certify(W, b, u, [0, 1], time_limit=0.0)
    assert not proof.exact
    net = unit_scale(W, b, u)
    assert (proof.pattern_lower >= net.scale * quick_bounds(net, [0, 1])[0]).all()
    assert (proof.pattern_lower <= proof.pattern_margin).all()


def test_a_local_minimum_is_not_above_its_start_and_no_single_flip_lowers_it():
    random = np.random.default_rng(1)
    net = unit_scale(*(random.standard_normal(shape) for shape in ((9, 12), 9, 9)))
    margin = restriction(net, [0, 1], np.array([1, -1], np.int8))
    start = random.choice([-1, 1], 10).astype(np.int8)
    end = lowered(margin, start)
    value = margin.margins(end[None])[0]
    flipped = end * (1 - 2 * np.eye(10, dtype=np.int8))
    assert value <= margin.margins(start[None])[0]
    assert (margin.margins(flipped) >= value - 1e-14).all()


def test_all_ways_to_the_least_value_agree():
    random = np.random.default_rng(3)
    for _ in range(10):
        net = unit_scale(random.standard_normal((6, 10)), random.standard_normal(6), -np.abs(random.standard_normal(6)))
        margin = restriction(net, [0], np.array([1], np.int8))
        values = {method: least(margin, net.rounding, 60.0, method) for method in ("states", "inputs", "milp")}
        found = [margin.margins(one.bits[None])[0] for one in values.values()]
        np.testing.assert_allclose(found, found[0], rtol=0, atol=1e-12)
        assert all(one.lower <= found[0] <= one.lower + 2 * TOLERANCE for one in values.values())


# ---- flips ----


def brute_force_flips(W, b, u, relevant_bits, x):
    inputs, margins = all_margins(W, b, u, relevant_bits)
    same = (inputs[:, list(relevant_bits)] == x[list(relevant_bits)]).all(axis=1)
    distances = [int((other != x).sum()) for other, m, of in zip(inputs, margins, same, strict=True) if of and m <= 0]
    return float(min(distances, default=np.inf))


@pytest.mark.slow
@given(networks(most_inputs=7))
@settings(max_examples=100)
def test_the_fewest_flips_are_those_of_enumeration_and_always_known(case):
    W, b, u, relevant_bits = case
    inputs = np.random.default_rng(0).choice([-1, 1], (6, W.shape[1]))
    found = fewest_flips(W, b, u, relevant_bits, inputs)
    assert found.fewest.tolist() == [brute_force_flips(W, b, u, relevant_bits, x) for x in inputs]


@pytest.mark.slow
@given(networks(most_inputs=7))
@settings(max_examples=100)
def test_the_fewest_flips_by_states_and_by_a_program_are_those_of_enumeration(case):
    W, b, u, relevant_bits = case
    inputs = np.random.default_rng(0).choice([-1, 1], (6, W.shape[1]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("circuits.constructions.certifying.flips.MOST_BITS", -1)
        found = fewest_flips(W, b, u, relevant_bits, inputs)
    expected = [brute_force_flips(W, b, u, relevant_bits, x) for x in inputs]
    assert (found.lower <= expected).all()
    assert (found.upper >= expected).all()
    within_tolerance = min(abs(margin) for margin in all_margins(W, b, u, relevant_bits)[1])
    if within_tolerance == 0 or within_tolerance > 10 * TOLERANCE * unit_scale(W, b, u).scale:
        known = ~np.isnan(found.fewest)
        assert (found.fewest[known] == np.array(expected)[known]).all()


def test_a_certified_pattern_is_never_flipped_and_a_failing_input_needs_no_flip():
    W, b, u = parity_gates(2, 6, [0, 1])
    inputs = np.array([[1, 1, 1, 1, 1, 1], [-1, 1, 1, 1, 1, 1]])
    assert (fewest_flips(W, b, u, [0, 1], inputs).fewest == np.inf).all()
    assert (fewest_flips(W, b, -u, [0, 1], inputs).fewest == 0).all()


def test_margins_within_rounding_are_decided_for_the_flips_exactly():
    # x0 + w x1 at x0 = -x1 = 1: 2^-53, or 0, of which no sign is right
    for weight, fewest in ((np.nextafter(1.0, 0.0), np.inf), (1.0, 1.0)):
        W = np.array([[1.0, weight], [-1.0, -weight]])
        found = fewest_flips(W, np.zeros(2), np.array([1.0, -1.0]), [0], np.array([[1, 1]]))
        assert found.fewest.tolist() == [fewest]


def test_without_time_the_flips_have_bounds_that_say_nothing():
    W = np.array([[1.0, 0.5], [-1.0, -0.5]])
    found = fewest_flips(W, np.zeros(2), np.array([1.0, -1.0]), [0], np.array([[1, 1], [-1, 1]]), time_limit=0.0)
    assert (found.lower.tolist(), found.upper.tolist()) == ([1.0, 1.0], [np.inf, np.inf])


def test_of_a_certified_network_no_flips_suffice_whatever_its_size():
    random = np.random.default_rng(0)
    gates, b, u = parity_gates(2, 40, [0, 1])
    W = np.concatenate([gates, 1e-6 * random.standard_normal((60, 40))])
    b, u = np.concatenate([b, np.zeros(60)]), np.concatenate([u, np.ones(60)])
    inputs = random.choice([-1, 1], (3, 40))
    proof = certify(W, b, u, [0, 1])
    assert proof.verdict == "certified"
    assert np.isnan(fewest_flips(W, b, u, [0, 1], inputs, time_limit=1.0).least)
    assert fewest_flips(W, b, u, [0, 1], inputs, certified=True).median == np.inf


# ---- failures ----


def test_the_failure_rate_is_that_of_all_inputs():
    random = np.random.default_rng(4)
    W, b, u = parity_gates(2, 8, [0, 5])
    W += 0.25 * random.standard_normal(W.shape)
    true = np.mean([margin <= 0 for margin in all_margins(W, b, u, [0, 5])[1]])
    assert 0.01 < true < 0.9
    found = failure_rate(W, b, u, [0, 5], n_inputs=200_000, level=0.9999)
    assert found == failure_rate(W, b, u, [0, 5], n_inputs=200_000, level=0.9999, seed=0)
    assert found.low <= true <= found.high
    assert found.rate == found.n_failures / 200_000
    assert found.high - found.low < 0.02


@pytest.mark.parametrize(("successes", "trials"), [(0, 50), (1, 50), (17, 50), (50, 50)])
def test_the_interval_is_scipys(successes, trials):
    expected = binomtest(successes, trials).proportion_ci(0.95, method="exact")
    assert share_intervals(np.array(successes), np.array(trials)) == pytest.approx((expected.low, expected.high))


# ---- errors ----


@pytest.mark.parametrize(
    ("relevant_bits", "message"),
    [
        ([], r"relevant_bits \[\] must name 1 to 16 different bits of 0..4."),
        ([0, 0], r"relevant_bits \[0, 0\] must name"),
        ([5], r"relevant_bits \[5\] must name 1 to 16 different bits of 0..4."),
    ],
)
def test_bits_that_does_not_fit_is_refused(relevant_bits, message):
    net = parity_gates(2, 5, [0, 1])
    for judge in (certify, failure_rate, interval_bounds):
        with pytest.raises(InputError, match=message):
            judge(*net, relevant_bits)


def test_a_diverged_network_is_refused():
    W, b, u = parity_gates(2, 5, [0, 1])
    W[0, 0] = np.nan
    with pytest.raises(InputError, match="weights that are not finite"):
        certify(W, b, u, [0, 1])


def test_a_solver_that_calls_a_margin_infeasible_has_proved_nothing(monkeypatch):
    from scipy.optimize import OptimizeResult

    from circuits.constructions.certifying.highs import INFEASIBLE
    from circuits.constructions.certifying.milp import Program

    answer = OptimizeResult(status=INFEASIBLE, x=None, mip_dual_bound=None)
    monkeypatch.setattr(Program, "solved", lambda *_, **__: answer)
    W = np.array([[1.0, 0.8, -0.7, 0.4], [-1.0, 0.9, 0.6, 0.5], [1.0, -0.7, 0.5, 0.9]])
    proof = certify(W, np.array([0.1, 0.2, 0.0]), np.array([1.0, -1.0, 0.5]), [0], method="milp")
    assert np.isfinite(proof.lower)
    assert proof.verdict != "certified"


def test_the_margin_is_exact_if_every_pattern_is_solved_or_lies_above_it():
    gates = patterns(2).astype(float)  # disjunctive normal form: margin 1 on every pattern
    found = certify(gates, np.full(4, -1.0), gates.prod(axis=1), relevant_bits=[0, 1])
    assert found.exact
    above, below, none = (
        np.full(4, found.margin + 1),
        np.r_[found.margin - 1, np.full(3, found.margin + 1)],
        (False,) * 4,
    )
    for lower, solved, exact in [
        (np.full(4, found.margin), none, True), (above, none, True), (below, none, False),
        (below, (True, False, False, False), True), (below, (False, True, True, True), False),
    ]:  # fmt: skip
        assert replace(found, pattern_lower=lower, solved=solved).exact == exact


def test_inputs_share_the_time_that_is_left(monkeypatch):
    limits = []
    monkeypatch.setattr("circuits.constructions.certifying.flips.MOST_BITS", -1)
    monkeypatch.setattr("circuits.constructions.certifying.flips.monotonic", lambda: 0.0)
    monkeypatch.setattr("circuits.constructions.certifying.flips.can_list_states", lambda margin: False)
    monkeypatch.setattr(
        "circuits.constructions.certifying.flips._by_milp",
        lambda margin, bits, limit: (limits.append(limit) or 1.0, None),
    )
    gates = np.array([[1.0, 0.5], [-1.0, -0.5]])
    found = fewest_flips(gates, np.zeros(2), np.array([1.0, -1.0]), [0], np.ones((3, 2)), time_limit=6.0)
    assert limits == [2.0, 3.0, 6.0]
    assert found.lower.tolist() == [1.0] * 3
    assert np.isinf(found.upper).all()


@pytest.mark.parametrize(("most", "asked"), [(1, False), (2, True), (3, True)])
def test_flips_are_not_searched_where_more_neurons_are_unstable_than_can_be_solved(monkeypatch, most, asked):
    searched = []
    monkeypatch.setattr("circuits.constructions.certifying.flips.MOST_BITS", -1)
    monkeypatch.setattr("circuits.constructions.certifying.flips.MOST_EXACT", most)
    monkeypatch.setattr("circuits.constructions.certifying.flips.can_list_states", lambda margin: False)
    monkeypatch.setattr(
        "circuits.constructions.certifying.flips._by_milp",
        lambda margin, bits, limit: (searched.append(len(margin.v)) or 2.0, None),
    )
    W = np.array([[0.5, 1.0], [0.75, -1.0]])  # where x0 = 1, x1 decides which of the two fires
    found = fewest_flips(W, np.zeros(2), np.array([1.0, 1.0]), [0], np.ones((1, 2)))
    assert searched == [2] * asked
    assert found.lower.tolist() == [2.0 if asked else 1.0]


def test_the_search_that_is_left_is_guessed_from_the_share_of_inputs_that_is_closed():
    search = SimpleNamespace(work=10.0, finished=False, closed=0.25)
    judged = SimpleNamespace(searched=6.0, searches={0: search}, lower=[-1.0])
    assert certifying._Judged.seconds_left(judged) == pytest.approx(18.0)  # a quarter took 6 s


def test_time_is_shared_by_the_patterns_that_are_left(monkeypatch):
    asked = []

    def least(margin, rounding, seconds, method):
        asked.append(seconds)
        return SimpleNamespace(lower=0.0, solved=False, bits=np.ones(2, np.int8), method="milp")

    monkeypatch.setattr(certifying, "least", least)
    monkeypatch.setattr(certifying, "restriction", lambda *_: SimpleNamespace(v=[]))
    judged = SimpleNamespace(
        net=SimpleNamespace(rounding=0.0), relevant_bits=[0, 1], signs=[1, -1, -1, 1], lower=np.zeros(4),
        solved=np.zeros(4, bool), names=[""] * 4, left=lambda until: until, look_at=lambda at, bits: None,
    )  # fmt: skip
    certifying._Judged.solve_few_neurons(judged, 12.0, None, 1)
    assert asked == [3.0, 4.0, 6.0, 12.0]
