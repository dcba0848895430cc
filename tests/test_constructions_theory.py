"""Least path cost, margins and efficiency: closed forms, hand-built networks, and exact enumeration as the oracle."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from printed import DNF, FOUR, SIX, TWO

from circuits.constructions.averaging import averaged_activations
from circuits.constructions.efficiency import efficiency, margin, neuron_sizes, path_cost, price, resolved_readout
from circuits.constructions.least_norm import correlation, least_cost, min_norm, optimal_gates, up_sets
from circuits.constructions.patterns import parities, patterns
from circuits.errors import InputError


def paid(construction):
    return price(**construction.arrays(), support=range(construction.k))


# ---- the least cost ----


def closed_form(k):
    """The best gate is w = s with bias 0 (k even) or ±1 (k odd): 2 C(k-2, m) / 2^k over its length, by summation."""
    if k == 1:
        return math.sqrt(2)
    even = k + k % 2
    return math.sqrt(even) * 2 ** (k - 1) / math.comb(k - 2, (even - 2) // 2)


@pytest.mark.parametrize("k", range(1, 7))
def test_the_least_cost_is_that_of_the_best_equal_weight_gate(k):
    assert least_cost(k) == pytest.approx(closed_form(k), rel=1e-9)


def test_the_least_cost_of_two_bits_is_two_root_two_and_of_three_bits_eight():
    assert least_cost(2) == pytest.approx(2 * math.sqrt(2), rel=1e-12)
    assert least_cost(3) == pytest.approx(8, rel=1e-12)


@pytest.mark.parametrize("k", range(1, 7))
def test_no_random_neuron_and_no_climb_from_one_beats_the_maximum(k):
    """The dual constraint |E[π relu]| <= ‖(w, b)‖ / C*, held against local search from many starts."""
    random = np.random.default_rng(k)
    points, parity = np.c_[patterns(k).astype(float), np.ones(2**k)], parities(k)
    for _ in range(60):
        v = random.standard_normal(k + 1)
        for step in np.geomspace(1, 0.01, 60):
            v /= np.linalg.norm(v)
            assert abs(correlation(v)) <= (1 + 1e-9) / least_cost(k)
            gradient = (parity * (points @ v > 0)) @ points / 2**k
            v = v + step * np.sign(correlation(v)) * gradient / (np.linalg.norm(gradient) + 1e-12)


@pytest.mark.parametrize("k", range(1, 7))
def test_min_norm_has_one_margin_on_every_pattern_and_attains_the_least_cost(k):
    net = min_norm(k).arrays()
    outputs = parities(k) * (net["u"] @ averaged_activations(net["W"], net["b"], range(k)))
    np.testing.assert_allclose(outputs, outputs[0], rtol=1e-12)
    assert outputs[0] > 0
    found = paid(min_norm(k))
    assert found.per_margin == pytest.approx(least_cost(k), rel=1e-9)
    assert found.resolved == pytest.approx(least_cost(k), rel=1e-7)
    assert efficiency(found.cost, found.margin, least_cost(k)) == pytest.approx(1, rel=1e-9)


def test_and_gates_and_majority_gates_of_three_bits_cost_the_same():
    assert [(list(map(int, w)), int(b), sign) for w, b, sign in optimal_gates(3)] == [
        ([1, 1, 1], -1, 1),
        ([1, 1, 1], 1, -1),
    ]


@pytest.mark.parametrize("k", range(1, 5))
def test_every_firing_set_of_an_ordered_neuron_is_an_up_set(k):
    known = {tuple(members.tolist()) for members in up_sets(k)}
    random = np.random.default_rng(0)
    for _ in range(500):
        w = -np.sort(-np.abs(random.standard_normal(k)))
        fires = patterns(k) @ w + random.normal(scale=2) > 0
        assert not fires.any() or tuple(fires.tolist()) in known


@pytest.mark.parametrize("k", range(1, 4))
def test_up_sets_are_all_of_them(k):
    sums = patterns(k).cumsum(axis=1)
    above = (sums[:, None] >= sums[None]).all(axis=2)
    brute = {
        members
        for members in itertools.product([False, True], repeat=2**k)
        if any(members) and all(members[z] for low in np.flatnonzero(members) for z in np.flatnonzero(above[:, low]))
    }
    assert brute == {tuple(members.tolist()) for members in up_sets(k)}


@pytest.mark.parametrize("k", [0, 7])
def test_the_least_cost_is_refused_where_it_is_not_solved(k):
    with pytest.raises(InputError, match=f"k = {k} is not possible: the least cost is solved for k in 1..6"):
        min_norm(k)


# ---- the other bits averaged out ----


def by_enumeration(W, b, support):
    """Every input, one by one."""
    n, k = W.shape[1], len(support)
    others = [bit for bit in range(n) if bit not in support]
    result = np.zeros((len(b), 2**k))
    for index, z in enumerate(patterns(k)):
        x = np.empty((2 ** len(others), n))
        x[:, list(support)] = z
        x[:, others] = patterns(len(others)) if others else np.zeros((1, 0))
        result[:, index] = np.maximum(W @ x.T + b[:, None], 0).mean(axis=1)
    return result


@given(
    W=hnp.arrays(np.float64, (3, 7), elements=st.floats(-2, 2, allow_subnormal=False)),
    b=hnp.arrays(np.float64, 3, elements=st.floats(-3, 3, allow_subnormal=False)),
    support=st.permutations(range(7)).map(lambda bits: bits[:2]),
)
@settings(max_examples=60, deadline=None)
def test_with_few_other_bits_the_average_is_exact(W, b, support):
    np.testing.assert_allclose(averaged_activations(W, b, support), by_enumeration(W, b, support), atol=1e-12)


@pytest.mark.parametrize(
    ("shape", "bound"),
    [("uniform", 3e-3), ("normal", 3e-3), ("one large", 3e-3), ("equal", 1.2e-2)],
)
def test_with_eleven_other_bits_the_average_is_right_to_some_thousandths_of_the_neuron(shape, bound):
    """Seven bits are then taken as normal. Equal weights, a lattice, are the worst case; more bits are a better one."""
    random = np.random.default_rng(5)
    draw = {
        "uniform": lambda: random.uniform(-1, 1, (40, 14)),
        "normal": lambda: random.standard_normal((40, 14)),
        "one large": lambda: np.r_[3.0, np.full(13, 0.4)] * random.choice([-1, 1], (40, 14)),
        "equal": lambda: np.ones((40, 14)),
    }[shape]
    W, b = draw(), random.standard_normal(40)
    expected = by_enumeration(W, b, (0, 1, 2))
    error = np.abs(averaged_activations(W, b, (0, 1, 2)) - expected).max(axis=1) / neuron_sizes(W, b)
    assert error.max() < bound


def test_the_average_is_not_the_value_at_the_mean():
    W, b = np.array([[1.0, 1.0, 0.5]]), np.array([0.0])
    at_mean = np.maximum(patterns(2) @ W[0, :2] + b, 0)
    assert (averaged_activations(W, b, [0, 1])[0] - at_mean).tolist() == [0, 0.25, 0.25, 0]


def test_a_diverged_neuron_averages_to_nan_and_has_no_readout():
    activations = averaged_activations(np.array([[np.nan, 1.0], [np.inf, 1.0]]), np.zeros(2), [0])
    assert np.isnan(activations).any(axis=1).all()
    assert resolved_readout(activations, np.ones(2)) is None


# ---- path cost, margin, efficiency ----


@pytest.mark.parametrize(
    ("construction", "cost", "least"),
    [
        (DNF, 8 * math.sqrt(7), 1.0),  # each gate gives 1 on its own pattern and nothing else
        (FOUR, 1 + 2 * 2 + 2 + 2, 1.0),
        (SIX, 2 * math.sqrt(183) + 40 * math.sqrt(7), 1.0),
        (TWO, 2 * math.sqrt(0.5), 0.0),  # 0 where the parity is -1: it does not compute parity
    ],
    ids=lambda one: getattr(one, "name", None),
)
def test_the_printed_constructions_cost_what_can_be_worked_out_by_hand(construction, cost, least):
    found = paid(construction)
    assert found.cost == pytest.approx(cost)
    assert found.margin == pytest.approx(least)
    if least > 0:
        ratio = efficiency(found.cost, found.margin, least_cost(construction.k))
        assert 0 < ratio <= 1
        assert found.resolved <= found.per_margin * (1 + 1e-9)
    else:
        assert math.isnan(found.per_margin)
        assert math.isnan(efficiency(found.cost, found.margin, least_cost(construction.k)))


def test_no_readout_makes_parity_of_the_two_neurons():
    assert math.isnan(paid(TWO).resolved)


weights = st.floats(-2, 2, width=32, allow_subnormal=False)


@given(
    W=hnp.arrays(np.float64, (9, 5), elements=weights),
    b=hnp.arrays(np.float64, 9, elements=weights),
    noise=st.floats(0, 0.5),
    scale=hnp.arrays(np.float64, 9, elements=st.floats(0.2, 5)),
)
@settings(max_examples=80, deadline=None)
def test_no_network_is_cheaper_than_the_least_and_resolving_never_costs_more(W, b, noise, scale):
    """Also with weights on irrelevant bits: an AND gate per pattern, disturbed, beside a random neuron."""
    W = noise * W
    W[:8, :3] += patterns(3)
    b = noise * b + np.r_[np.full(8, -1.0), 0]
    u = np.r_[parities(3).astype(float), noise]
    found = price(W, b, u, [0, 1, 2])
    if found.margin > 1e-6:
        assert 0 < efficiency(found.cost, found.margin, least_cost(3)) <= 1 + 1e-6
        assert found.resolved <= found.per_margin * (1 + 1e-6)
        assert found.resolved >= least_cost(3) * (1 - 1e-4)  # the normal approximation is not used: 2 other bits
    rescaled = price(W * scale[:, None], b * scale, u / scale, [0, 1, 2])
    assert rescaled.cost == pytest.approx(found.cost)
    assert rescaled.margin == pytest.approx(found.margin, abs=1e-9)


def test_a_resolved_readout_has_margin_one():
    net = DNF.arrays()
    activations = averaged_activations(net["W"], net["b"], range(3))
    u = resolved_readout(activations, neuron_sizes(net["W"], net["b"]))
    assert margin(activations, u) == pytest.approx(1)
    assert path_cost(net["W"], net["b"], u) == pytest.approx(8 * math.sqrt(7))
