"""Least path cost, margins and efficiency: closed forms, hand-built networks, and exact enumeration as the oracle."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from printed import DNF, FOUR, SIX, TWO

from circuits.constructions.building.least_norm import correlation, least_cost, min_norm, optimal_gates, up_sets
from circuits.constructions.patterns import parities, patterns
from circuits.constructions.reading.efficiency import (
    efficiency,
    margin,
    neuron_sizes,
    path_cost,
    price,
    resolved_readout,
)
from circuits.constructions.verifying.averaging import averaged_activations, bounded_averages
from circuits.errors import InputError


def paid(construction):
    return price(**construction.arrays(), relevant_bits=range(construction.k))


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


@pytest.mark.slow
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
    with pytest.raises(InputError, match=f"k = {k} is not possible: the number of parity bits k must be in 1..6"):
        min_norm(k)


# ---- the other bits averaged out ----


def by_enumeration(W, b, relevant_bits):
    """Every input, one by one."""
    n, k = W.shape[1], len(relevant_bits)
    others = [bit for bit in range(n) if bit not in relevant_bits]
    result = np.zeros((len(b), 2**k))
    for index, z in enumerate(patterns(k)):
        x = np.empty((2 ** len(others), n))
        x[:, list(relevant_bits)] = z
        x[:, others] = patterns(len(others)) if others else np.zeros((1, 0))
        result[:, index] = np.maximum(W @ x.T + b[:, None], 0).mean(axis=1)
    return result


@given(
    W=hnp.arrays(np.float64, (3, 7), elements=st.floats(-2, 2, allow_subnormal=False)),
    b=hnp.arrays(np.float64, 3, elements=st.floats(-3, 3, allow_subnormal=False)),
    relevant_bits=st.permutations(range(7)).map(lambda bits: bits[:2]),
)
@settings(max_examples=60)
def test_with_few_other_bits_the_average_is_exact(W, b, relevant_bits):
    np.testing.assert_allclose(
        averaged_activations(W, b, relevant_bits), by_enumeration(W, b, relevant_bits), atol=1e-12
    )


SHAPES = {
    "uniform": lambda random, n: random.uniform(-1, 1, (8, n)),
    "zeros": lambda random, n: np.where(random.random((8, n)) < 0.5, 0.0, random.standard_normal((8, n))),
    "equal": lambda random, n: 0.1 * random.choice([-1, 1], (8, n)),
    "six equal ones": lambda random, n: np.tile(np.r_[np.ones(6), np.zeros(n - 6)], (8, 1)),
    "one large": lambda random, n: np.r_[5.0, np.full(n - 1, 0.1)] * random.choice([-1, 1], (8, n)),
    "geometric": lambda random, n: np.tile(2.0 ** -np.arange(n), (8, 1)),
    "many sizes": lambda random, n: random.standard_normal((8, n)) * 10.0 ** -random.integers(0, 17, (8, n)),
    "collapsed": lambda random, n: 1e-200 * random.standard_normal((8, n)),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("n", [12, 16])
def test_the_average_is_that_of_all_inputs_whatever_the_weights(shape, n):
    random = np.random.default_rng(5)
    W = SHAPES[shape](random, n)
    b = random.standard_normal(8) * np.abs(W).max()
    sizes = np.abs(W).max(axis=1, keepdims=True) + np.abs(b)[:, None]
    found, bounds = bounded_averages(W, b, (0, 1, 2))
    assert (np.abs(found - by_enumeration(W, b, (0, 1, 2))) / sizes).max() < 1e-11
    assert (bounds / sizes).max() < 1e-13
    assert shape == "many sizes" or not bounds.any()


def by_convolution(whole, at):
    """E relu(a + Y) for whole-numbered weights: the law of the sum, bit by bit."""
    law = np.ones(1)
    for step in np.abs(whole[whole != 0]):
        spread = np.zeros(len(law) + 2 * step)
        spread[: len(law)] += 0.5 * law
        spread[2 * step :] += 0.5 * law
        law = spread
    values = np.arange(len(law)) - len(law) // 2
    return np.array([(law * np.maximum(a + values, 0)).sum() for a in at])


MANY = {
    "uniform": (lambda random: random.integers(-3000, 3001, 37), False),
    "normal": (lambda random: (1000 * random.standard_normal(37)).astype(int), False),
    "two large": (lambda random: np.r_[random.integers(4000, 6000, 2), random.integers(-90, 90, 35)], False),
    "two scales": (lambda random: np.r_[random.integers(1000, 1020, 20), random.integers(1, 100, 30)], False),
    "equal": (lambda random: np.full(60, 7), True),
    "equal but for zeros": (lambda random: np.r_[np.full(40, 7), np.zeros(20, int)], True),
    "a lattice": (lambda random: np.arange(1, 38), True),
    "dominated": (lambda random: np.r_[2 ** np.arange(5, 16), np.ones(30, int)], True),
}


@pytest.mark.parametrize("shape", MANY)
def test_with_many_other_bits_the_average_is_within_its_bound_and_exact_where_that_is_0(shape):
    draw, is_exact = MANY[shape]
    for seed in range(4):
        random = np.random.default_rng(seed)
        whole = draw(random)
        size = int(np.sqrt((whole**2).sum()))
        relevant, bias = random.integers(-size, size + 1, 2), int(random.integers(-size, size + 1))
        W, b = np.r_[relevant, whole][None].astype(float), np.array([float(bias)])
        found, bounds = bounded_averages(W, b, (0, 1))
        off = np.abs(found[0] - by_convolution(whole, patterns(2) @ relevant + bias)) / neuron_sizes(W, b)
        assert (off <= bounds[0] / neuron_sizes(W, b) + 1e-12).all()
        assert (bounds / neuron_sizes(W, b)).max() < 1e-5
        assert bounds.any() != is_exact


def test_bounds_scale_with_the_neuron_and_do_not_depend_on_signs_or_order():
    random = np.random.default_rng(1)
    W, b = random.uniform(-1, 1, (3, 40)), random.uniform(-1, 1, 3)
    found, bounds = bounded_averages(W, b, (0, 1))
    scaled = bounded_averages(1e-150 * W, 1e-150 * b, (0, 1))
    np.testing.assert_allclose(scaled.means * 1e150, found, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(scaled.bounds * 1e150, bounds, rtol=1e-6)
    order = np.r_[0, 1, 2 + random.permutation(38)]
    moved = bounded_averages((W * np.r_[1, 1, random.choice([-1, 1], 38)])[:, order], b, (0, 1))
    np.testing.assert_allclose(moved.means, found, rtol=1e-12, atol=1e-12)


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


@pytest.mark.slow
@given(
    W=hnp.arrays(np.float64, (9, 5), elements=weights),
    b=hnp.arrays(np.float64, 9, elements=weights),
    noise=st.floats(0, 0.5),
    scale=hnp.arrays(np.float64, 9, elements=st.floats(0.2, 5)),
)
@settings(max_examples=80)
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
