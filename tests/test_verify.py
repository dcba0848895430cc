"""Verification: the claims of the papers, exact arithmetic where floats would lie, and conditions in words."""

import dataclasses
import itertools
import re
import subprocess
import sys
from dataclasses import FrozenInstanceError
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import circuits
from circuits.cli.main import main
from circuits.constructions import (
    Construction,
    build,
    dnf,
    four_neuron,
    six_neuron,
    thesis_dnf,
    threshold,
    two_neuron,
    verify,
    verify_run,
)
from circuits.constructions.patterns import parities, patterns
from circuits.constructions.verifying.conditions import fires_as_printed, firing_condition
from circuits.convert import from_construction


def slow(W, b, u, pattern):
    """Activations and output on one pattern, one rational at a time."""
    hidden = [
        max(Fraction(0), sum((Fraction(w) * x for w, x in zip(row, pattern, strict=True)), Fraction(bias)))
        for row, bias in zip(W, b, strict=True)
    ]
    return hidden, sum((Fraction(one) * h for one, h in zip(u, hidden, strict=True)), Fraction(0))


# What the papers print


def test_the_six_conditions_of_proposition_2_are_found_as_printed():
    assert verify(six_neuron()).conditions == (
        "(x0 = -1 ∨ x1 = -1) ∧ x2 = 1",
        "x0 = -1 ∧ x1 = -1 ∧ x2 = 1",
        "x0 = 1 ∧ x1 = 1 ∧ x2 = 1",
        "(x0 = 1 ∨ x1 = -1) ∧ x2 = -1",
        "x0 = -1 ∧ x1 = 1 ∧ x2 = -1",
        "x0 = 1 ∧ x1 = -1 ∧ x2 = -1",
    )
    assert verify(six_neuron()).disagreements == ()


def test_the_outputs_of_proposition_2_are_the_sum_of_its_argument():
    found = verify(six_neuron())
    assert found.computes_parity
    assert found.margin == 1
    assert sorted(found.outputs) == [-1, -1, -1, -1, 7, 7, 10, 10]


@pytest.mark.parametrize(
    ("X", "hidden", "output"),
    [(-3, (1, 0, 0, 2), -1), (-1, (1, 0, 0, 0), 1), (1, (1, 0, 2, 0), -1), (3, (1, 2, 4, 0), 1)],
)
def test_the_four_cases_of_proposition_3_are_as_printed(X, hidden, output):
    found = verify(four_neuron())
    there = [index for index, pattern in enumerate(found.patterns) if pattern.sum() == X]
    assert there
    for index in there:
        assert found.activations[index] == hidden
        assert found.outputs[index] == output
    assert found.computes_parity


def test_the_thesis_network_outputs_one_and_zero_so_it_is_no_parity_but_one_with_a_threshold():
    found = verify(two_neuron())
    assert found.outputs == (1, 0, 0, 1)
    assert not found.computes_parity
    assert found.margin == 0
    assert found.thresholds == (0, 1)
    assert str(found).splitlines() == [
        "two_neuron: does not compute parity. Its output is 1 where the parity is 1, 0 where it is -1, never negative.",
        "It does with a threshold in (0, 1), or with a further neuron that is constant: "
        "bias 1, readout weight in (-1, 0).",
        "Every neuron fires exactly when its source says.",
    ]


@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_the_thesis_dnf_is_no_parity_but_one_with_a_threshold(k):
    found = verify(thesis_dnf(k))
    assert (found.computes_parity, found.thresholds, found.margin) == (False, (0, 1), 0)
    assert found.conditions.count("never") == 2 ** (k - 1)


@pytest.mark.parametrize("name", ["dnf", "threshold"])
@pytest.mark.parametrize("k", [1, 2, 3, 4, 5, 6, 9])
def test_the_others_compute_parity_for_every_k(name, k):
    found = verify(build(name, k))
    assert found.computes_parity
    assert found.margin == 1
    assert found.thresholds == (-1, 1)
    assert not found.collapsed
    assert str(found) == (
        f"{name}: computes parity. Its output is positive on every pattern of parity 1, "
        f"negative on every one of parity -1. Margin 1."
    )


def test_a_printed_condition_that_does_not_hold_is_reported_beside_what_does():
    right = six_neuron()
    wrong = Construction(
        "wrong", right.W, right.b, right.u, right.source, ("x2 = 1", *right.printed[1:5], "x0 = 1 ∧ x1 = -1")
    )
    first, last = verify(wrong).disagreements
    assert (first.neuron, first.printed, first.found) == ("h0", "x2 = 1", "(x0 = -1 ∨ x1 = -1) ∧ x2 = 1")
    assert last.neuron == "h5"
    assert "h0 fires when (x0 = -1 ∨ x1 = -1) ∧ x2 = 1; printed in the source: x2 = 1." in str(verify(wrong))
    assert "exactly when its source says" not in str(verify(wrong))


# Thresholds and constants, derived


rationals = st.fractions(-3, 3, max_denominator=7)


@st.composite
def networks(draw, values=rationals, most=5):
    k, width = draw(st.integers(1, 4)), draw(st.integers(1, most))
    row = st.tuples(*[values] * k)
    W = tuple(draw(row) for _ in range(width))
    b, u = (tuple(draw(values) for _ in range(width)) for _ in "bu")
    return {"W": W, "b": b, "u": u}  # the checks of a Construction draw at random, which a strategy must not


def drawn(parts):
    return Construction("drawn", **parts, source="hypothesis")


@pytest.mark.slow
@given(networks())
@settings(max_examples=150)
def test_verification_equals_one_rational_at_a_time(parts):
    net = drawn(parts)
    found = verify(net)
    signed = []
    for index, pattern in enumerate(patterns(net.k).tolist()):
        hidden, output = slow(net.W, net.b, net.u, pattern)
        assert found.activations[index] == tuple(hidden)
        assert found.outputs[index] == output
        signed.append(output * int(np.prod(pattern)))
    assert found.margin == min(signed)
    assert found.computes_parity == all(one > 0 for one in signed)
    assert found.wrong.tolist() == [one <= 0 for one in signed]
    assert found.collapsed == (not any(found.outputs))
    high = min(output for output, parity in zip(found.outputs, parities(net.k), strict=True) if parity == 1)
    low = max(output for output, parity in zip(found.outputs, parities(net.k), strict=True) if parity == -1)
    assert found.thresholds == ((low, high) if low < high else None)


@given(k=st.integers(1, 4), shift=st.fractions(-2, 2, max_denominator=5), share=st.fractions(0, 1, max_denominator=9))
@settings(max_examples=80)
def test_a_constant_neuron_within_the_interval_makes_a_parity_and_one_on_its_border_does_not(k, shift, share):
    parity = threshold(k)
    moved = Construction(
        "moved", (*parity.W, (0,) * k), (*parity.b, 1), (*parity.u, shift), "threshold, with its zero moved"
    )
    low, high = verify(moved).thresholds
    assert (low, high) == (shift - 1, shift + 1)
    at = low + share * (high - low)
    fixed = Construction("fixed", (*moved.W, (0,) * k), (*moved.b, 1), (*moved.u, -at), "with a constant neuron")
    assert verify(fixed).computes_parity == (0 < share < 1)


# Exactness


def test_a_sum_that_floats_round_to_zero_is_not_zero():
    # 0.1 + 0.2 - 0.3 is 5.6e-17 in floating point and, of those floats, exactly 2.8e-17 in truth.
    arrays = {"W": np.array([[0.1], [0.2], [0.3]]), "b": np.array([0.1, 0.2, 0.3]), "u": np.array([1.0, 1.0, -1.0])}
    at_one = verify(arrays).outputs[1]
    assert at_one == 2 * (Fraction(0.1) + Fraction(0.2) - Fraction(0.3))
    assert at_one != 2 * 0.1 + 2 * 0.2 - 2 * 0.3


def test_zero_is_neither_sign():
    # 1 + 2^-60 - 1 is 0 in float64, and 2^-60 in truth. Without the middle neuron it is exactly 0.
    tiny = 2.0**-60
    W = np.zeros((3, 1))
    almost = verify({"W": W, "b": np.array([1.0, tiny, 1.0]), "u": np.array([1.0, 1.0, -1.0])})
    assert almost.outputs == (Fraction(1, 2**60),) * 2
    zero = verify({"W": W, "b": np.array([1.0, tiny, 1.0]), "u": np.array([1.0, 0.0, -1.0])})
    assert zero.outputs == (0, 0)
    assert zero.wrong.all()


@pytest.mark.parametrize("power", range(58, 70))
def test_integers_beyond_those_of_the_machine_are_not_wrapped_around(power):
    half = 2 ** (power // 2)
    found = verify({"W": np.array([[half]]), "b": np.array([half]), "u": np.array([2 ** (power - power // 2)])})
    assert found.outputs == (0, 2 ** (power + 1))


@given(st.data())
@settings(max_examples=60)
def test_floats_of_any_size_are_evaluated_as_the_rationals_that_they_are(data):
    floats = st.floats(width=32, allow_nan=False, allow_infinity=False)
    k, width = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 4))
    draw = lambda *shape: np.array(  # noqa: E731
        data.draw(st.lists(floats, min_size=int(np.prod(shape)), max_size=int(np.prod(shape)))), np.float32
    ).reshape(shape)
    W, b, u = draw(width, k), draw(width), draw(width)
    found = verify({"W": W, "b": b, "u": u})
    for index, pattern in enumerate(patterns(k).tolist()):
        hidden, output = slow(W.tolist(), b.tolist(), u.tolist(), pattern)
        assert found.activations[index] == tuple(hidden)
        assert found.outputs[index] == output


@given(parts=networks(st.sampled_from([-2, -1, 0, 1, Fraction(1, 2)])), data=st.data())
@settings(max_examples=60)
def test_a_network_and_its_arrays_on_any_bits_give_the_same_verification(parts, data):
    net = drawn(parts)
    n = net.k + data.draw(st.integers(0, 5))
    bits = data.draw(st.permutations(range(n)))[: net.k]
    ascending = tuple(sorted(bits))
    columns = [bits.index(bit) for bit in ascending]  # of the network, in the order in which the bits are shown
    moved = dataclasses.replace(net, W=tuple(tuple(row[column] for column in columns) for row in net.W))
    found, expected = verify(net.arrays(n, bits), bits), verify(moved)
    assert found.outputs == expected.outputs
    assert found.activations == expected.activations
    assert found.conditions == tuple(re.sub(r"x(\d)", lambda bit: f"x{ascending[int(bit[1])]}", one)
                                     for one in expected.conditions)  # fmt: skip
    assert (found.inputs, found.n_left_out) == (ascending, 0)


# Conditions


@pytest.mark.parametrize("k", [1, 2, 3])
def test_every_condition_on_up_to_three_bits_is_true_where_the_neuron_fires_and_nowhere_else(k):
    bits = [f"x{place}" for place in range(k)]
    for fires in itertools.product([False, True], repeat=2**k):
        text = firing_condition(np.array(fires), bits)
        assert holds(text, bits).tolist() == list(fires), text


def holds(text, bits):
    """Where a condition is true, by Python's own `and` and `or`."""
    if text in ("always", "never"):
        return np.full(2 ** len(bits), text == "always")
    program = text.replace(" = ", " == ").replace("∧", "and").replace("∨", "or")
    rows = patterns(len(bits)).tolist()
    return np.array([eval(program, {}, dict(zip(bits, row, strict=True))) for row in rows])


@given(k=st.integers(4, 6), data=st.data())
@settings(max_examples=40)
def test_the_condition_of_a_random_gate_is_true_where_it_fires(k, data):
    weights = np.array(data.draw(st.lists(st.integers(-4, 4), min_size=k + 1, max_size=k + 1)))
    fires = patterns(k) @ weights[:k] + weights[k] > 0
    bits = [f"x{place}" for place in range(k)]
    text = firing_condition(fires, bits)
    if text.startswith("at least "):
        assert at_least(text, bits).tolist() == fires.tolist()
    else:
        assert holds(text, bits).tolist() == fires.tolist()


def at_least(text, bits):
    wanted, _, literals = text.removeprefix("at least ").partition(" of: ")
    held = sum(fires_as_printed(literal, bits).astype(int) for literal in literals.split(", "))
    return held >= int(wanted)


def test_the_shorter_of_sum_and_product_is_said():
    bits = ["x0", "x1", "x2"]
    either = fires_as_printed("(x0 = 1 ∨ x1 = 1) ∧ x2 = 1", bits)
    assert firing_condition(either, bits) == "(x0 = 1 ∨ x1 = 1) ∧ x2 = 1"
    assert firing_condition(~either, bits) == "(x0 = -1 ∧ x1 = -1) ∨ x2 = -1"


def test_a_majority_of_five_is_said_as_a_count_and_one_of_three_as_a_formula():
    five = [f"x{place}" for place in range(5)]
    signs = np.array([1, -1, 1, 1, -1])
    text = firing_condition((patterns(5) * signs).sum(axis=1) > 0, five)
    assert text == "at least 3 of: x0 = 1, x1 = -1, x2 = 1, x3 = 1, x4 = -1"
    three = firing_condition(patterns(3).sum(axis=1) > 0, five[:3])
    assert three == "(x0 = 1 ∧ x1 = 1) ∨ (x0 = 1 ∧ x2 = 1) ∨ (x1 = 1 ∧ x2 = 1)"


def test_above_six_bits_a_gate_is_said_and_anything_else_counted():
    bits = [f"x{place}" for place in range(8)]
    every = patterns(8)
    assert firing_condition((every[:, 2] == 1) & (every[:, 7] == -1), bits) == "x2 = 1 ∧ x7 = -1"
    assert firing_condition(every.sum(axis=1) > 2, bits).startswith("at least 6 of: x0 = 1, x1 = 1")
    assert firing_condition(parities(8) == 1, bits) == "128 of 256 patterns"
    assert firing_condition(every @ np.array([5, 1, 1, 1, 1, 1, 1, 1]) > 6, bits).endswith(" of 256 patterns")


# What is refused, and what is not parity


def test_a_network_that_outputs_zero_everywhere_has_collapsed():
    net = Construction("dead", ((1, 1),), (-5,), (1,), "")
    assert verify(net).collapsed
    assert not verify(net).computes_parity
    assert str(verify(net)).startswith("dead: has collapsed. Its largest output on the 4 patterns is 0, where")
    assert not verify(two_neuron()).collapsed


def test_a_network_without_neurons_has_collapsed():
    found = verify({"W": np.zeros((0, 2)), "b": np.zeros(0), "u": np.zeros(0)})
    assert found.collapsed
    assert found.conditions == ()


def test_a_constant_has_no_threshold_and_is_wrong_on_half_of_the_patterns():
    found = verify(Construction("one", ((0, 0),), (1,), (1,), ""))
    assert found.thresholds is None
    assert str(found) == (
        "one: does not compute parity. Its output is 1 where the parity is 1, 1 where it is -1, never negative."
    )
    flipped = Construction("flipped", dnf(2).W, dnf(2).b, tuple(-one for one in dnf(2).u), "")
    assert "of the wrong sign on 4 of 4 patterns" in str(verify(flipped))


def test_weight_on_other_inputs_is_said_to_be_left_out():
    arrays = dnf(2).arrays(5, [3, 1])
    clean = str(verify(arrays, [3, 1]))
    assert clean.endswith(
        "Relevant bits: 1 3. No neuron has a weight on any other input, so this holds for all 2^5 inputs."
    )
    arrays["W"][0, [0, 4]] = 1e-9
    found = verify(arrays, [3, 1])
    assert found.n_left_out == 2
    assert "this is about the network restricted to its 2 relevant bits, and proves nothing for the 2^5 inputs" in str(
        found
    )
    arrays["u"][0] = 0.0
    assert verify(arrays, [3, 1]).n_left_out == 0, "a neuron that is not read out changes nothing"


@pytest.mark.parametrize(
    ("change", "relevant_bits", "message"),
    [
        ({"W": np.full((4, 3), np.nan)}, [0, 1], "the network has diverged: a weight is NaN or infinite"),
        ({"W": np.array([[1.0, 1.0, np.inf]] * 4)}, [0, 1], "the network has diverged"),
        ({"b": np.full(4, -np.inf)}, [0, 1], "the network has diverged"),
        ({"u": np.full(4, np.nan)}, [0, 1], "the network has diverged"),
        ({}, [0, 0], r"relevant_bits \[0, 0\] must name different bits of 0\.\.2\."),
        ({}, [0, 3], r"relevant_bits \[0, 3\] must name different bits of 0\.\.2\."),
        ({}, [], r"relevant_bits \[\] must name different bits"),
        (
            {"b": np.zeros(3)},
            [0, 1],
            r"shapes are W \(4, 3\), b \(3,\), u \(4,\)\. Pass W \(neuron, input\), b \(neuron,\), u \(neuron,\)\.",
        ),
    ],
)
def test_what_has_no_answer_is_refused(change, relevant_bits, message):
    with pytest.raises(circuits.InputError, match=message):
        verify(dnf(2).arrays(3) | change, relevant_bits)


def test_too_many_patterns_are_refused_before_they_are_made():
    with pytest.raises(
        circuits.InputError, match=r"k = 30 relevant bits and 31 neurons make 2\^30 × 31 values; the limit is 2\^24"
    ):
        verify(threshold(30))


def test_a_construction_takes_no_relevant_bits():
    with pytest.raises(circuits.InputError, match="All 2 bits of dnf are relevant"):
        verify(dnf(2), [0, 1])


def test_a_verification_is_frozen():
    with pytest.raises(FrozenInstanceError):
        verify(dnf(1)).name = "other"


@pytest.mark.slow
def test_only_the_conditions_load_sympy():
    program = (
        "import sys, circuits.constructions as c\n"
        "heavy = {'sympy', 'torch', 'xarray', 'h5py', 'scipy', 'numba'}\n"
        "assert 'numpy' not in sys.modules\n"
        "found = c.verify(c.six_neuron())\n"
        "assert found.computes_parity and str(found) and not heavy & set(sys.modules), heavy & set(sys.modules)\n"
        "found.conditions\n"
        "assert 'sympy' in sys.modules and 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


# Runs


@pytest.fixture
def written(tmp_path):
    with from_construction(six_neuron(), tmp_path / "six.h5", n=9, support=[7, 2, 4]) as run:
        yield run


def test_a_written_construction_verifies_with_its_bits_named_by_their_index_in_ascending_order(written):
    found = verify_run(written)
    assert (found.inputs, found.bits, found.n_left_out, found.neurons[0]) == ((2, 4, 7), ("x2", "x4", "x7"), 0, "#0")
    assert found.conditions[:2] == ("(x2 = -1 ∨ x7 = -1) ∧ x4 = 1", "x2 = -1 ∧ x4 = 1 ∧ x7 = -1")
    placed = {"x0": "x7", "x1": "x2", "x2": "x4"}  # where `support` puts the bits of the construction
    for neuron, printed in enumerate(six_neuron().printed):
        moved = re.sub(r"x\d", lambda bit: placed[bit[0]], printed)
        assert (fires_as_printed(moved, found.bits) == (found.values.hidden[:, neuron] > 0)).all()
    assert found.outputs == verify(written.arrays(), [7, 4, 2]).outputs, "whatever the order of the bits"
    assert sorted(found.outputs) == sorted(verify(six_neuron()).outputs)
    assert found.margin == verify(six_neuron()).margin


def test_verify_and_analyze_number_bits_alike(written, capsys):
    assert main(["verify", str(written.path)]) == 0
    assert "Relevant bits: 2 4 7. No neuron" in capsys.readouterr().out
    assert main(["analyze", str(written.path), "--constructions", "--quiet"]) == 0
    rows = [line.split()[:4] for line in capsys.readouterr().out.splitlines()]
    assert ["0", "2", "4", "7"] in rows  # the seed, and the bits found
    assert circuits.analyze(written, "walsh")["walsh"]["subset"].values[-1] == "{2,4,7}"


def test_some_neurons_of_a_run_are_named_by_their_index(written):
    found = verify_run(written, kept=np.array([False, True, True, False, False, True]))
    assert found.neurons == ("#1", "#2", "#5")
    hidden = np.maximum(written.arrays()["W"][[1, 2, 5]][:, [2, 4, 7]] @ patterns(3).T - 2, 0)
    assert found.outputs == tuple(10 * hidden.sum(axis=0))
    assert found.name == "six.h5, seed 0, checkpoint 0, 3 of 6 neurons"


def test_a_trained_network_is_evaluated_with_its_other_inputs_at_zero(tiny_run):
    found = verify_run(tiny_run, seed=1, checkpoint=2)
    net = tiny_run.arrays(1, 2)
    for index, pattern in enumerate(patterns(2).tolist()):
        assert found.outputs[index] == slow(net["W"][:, :2].tolist(), net["b"].tolist(), net["u"].tolist(), pattern)[1]
    assert found.n_left_out == 6


@pytest.mark.slow
def test_a_run_that_has_no_hidden_layer_cannot_be_verified(tmp_path, make_config):
    circuits.train(make_config(model__kind="linear", epochs=1), tmp_path / "linear.h5", progress=False).close()
    with (
        circuits.open(tmp_path / "linear.h5") as run,
        pytest.raises(
            circuits.InputError,
            match=r"linear\.h5 holds a 'linear' model\. Only 'relu', uᵀ relu\(W x \+ b\), can be verified",
        ),
    ):
        verify_run(run)
