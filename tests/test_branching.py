"""Branch and bound is held against all inputs, in float64 and in rational arithmetic."""

from itertools import product
from time import monotonic

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from circuits.constructions.certifying import branching
from circuits.constructions.certifying.branching import Search, settle
from circuits.constructions.certifying.exact_outputs import exact_outputs
from circuits.constructions.certifying.halves import all_margins
from circuits.constructions.certifying.restriction import unit_scale
from circuits.constructions.certifying.tree import CANDIDATES, LEAF
from circuits.constructions.patterns import patterns

NEVER = float("inf")


def drawn(seed, n=15, width=12, noise=0.1):
    """Gates for every pattern of bits 0 and 1, disturbed, among small neurons: neither trivial nor hopeless."""
    random = np.random.default_rng(seed)
    gates = patterns(2).astype(float)
    W = noise * random.standard_normal((width, n))
    b, u = noise * random.standard_normal(width), noise * random.standard_normal(width)
    W[:4, :2] += gates
    b[:4] -= 1.0
    u[:4] += gates.prod(axis=1)
    return W, b, u


def margins_of(W, b, u, pattern):
    inputs = np.array([[*pattern, *rest] for rest in product([-1, 1], repeat=W.shape[1] - len(pattern))])
    return inputs, pattern.prod() * (np.maximum(inputs @ W.T + b, 0) @ u)


@pytest.mark.parametrize(("n_bits", "n_terms"), [(0, 3), (1, 0), (3, 1), (8, 5), (9, 32), (12, 33), (13, 70)])
def test_tables_of_half_inputs_give_every_margin(n_bits, n_terms):
    random = np.random.default_rng(n_bits)
    slope, A = random.standard_normal(n_bits + 1), random.standard_normal((n_terms + 1, n_bits + 1))
    c, v = random.standard_normal(n_terms + 1), random.standard_normal(n_terms + 1)
    out = np.full(2**n_bits, np.nan)
    all_margins(0.7, slope, A, c, v, n_bits, n_terms, out)
    x = 2.0 * (np.arange(2**n_bits)[:, None] >> np.arange(n_bits) & 1) - 1
    hidden = np.maximum(x @ A[:n_terms, :n_bits].T + c[:n_terms], 0)
    np.testing.assert_allclose(out, 0.7 + x @ slope[:n_bits] + hidden @ v[:n_terms], rtol=0, atol=1e-11)


@pytest.mark.slow
@given(st.integers(0, 10**6), st.integers(3, 16), st.sampled_from([4, 5, 40]), st.sampled_from([0.02, 0.1, 0.5]))
@settings(max_examples=20)
def test_the_least_margin_is_that_of_all_inputs_with_branches_and_without(seed, n, width, noise):
    net = unit_scale(*drawn(seed, n, width, noise))
    for pattern in patterns(2):
        inputs, margins = margins_of(net.W, net.b, net.u, pattern)
        exact = min(pattern.prod() * out for out in exact_outputs(net.W, net.b, net.u, inputs[[margins.argmin()]]))
        for prune in (True, False):
            search = Search(net, [0, 1], pattern, prune=prune)
            assert settle([search], NEVER)
            assert search.lower <= exact
            assert search.lower == pytest.approx(margins.min(), abs=1e-12)
            assert margins[(inputs[:, 2:] == search.bits).all(axis=1)] == pytest.approx(margins.min(), abs=1e-12)


@pytest.mark.slow
@given(st.integers(0, 10**6), st.sampled_from([0.02, 0.05, 0.1, 0.2]))
@settings(max_examples=20)
def test_a_goal_is_reached_or_missed_as_all_inputs_say(seed, noise):
    net = unit_scale(*drawn(seed, noise=noise))
    for pattern in patterns(2):
        margins = margins_of(net.W, net.b, net.u, pattern)[1]
        for goal in (0.0, 0.05):
            search = Search(net, [0, 1], pattern)
            assert settle([search], NEVER, goal=goal) == (margins.min() > goal)
            assert search.missed == (margins.min() <= goal)
            assert search.lower <= margins.min()
            assert search.finished <= (search.lower > goal)


def test_a_search_in_slices_ends_as_one_without_a_pause():
    net = unit_scale(*drawn(3, n=20, width=30, noise=0.2))
    whole, sliced = (Search(net, [0, 1], patterns(2)[1]) for _ in range(2))
    settle([whole], NEVER)
    n_slices, lowest = 0, -np.inf
    while not sliced.finished:
        sliced.go_on(np.inf, 1e4, NEVER)
        assert sliced.lower >= lowest - 1e-12, "the bound only rises"
        lowest, n_slices = sliced.lower, n_slices + 1
    assert n_slices > 10
    assert (sliced.lower, sliced.work, sliced.closed) == (whole.lower, whole.work, 1.0)
    np.testing.assert_array_equal(sliced.bits, whole.bits)


def test_an_unfinished_search_has_a_true_bound_and_says_how_much_is_decided():
    W, b, u = drawn(5, n=18, width=30, noise=0.3)
    net = unit_scale(W, b, u)
    pattern = patterns(2)[0]
    search = Search(net, [0, 1], pattern)
    margins = margins_of(net.W, net.b, net.u, pattern)[1]
    shares = []
    while not search.finished:
        search.go_on(np.inf, 3e4, NEVER)
        shares.append(search.closed)
        assert search.lower <= margins.min()
    assert 0 < shares[0] < 1
    assert shares == sorted(shares)
    assert shares[-1] == 1


def cancelling(margin, n=14):
    """A neuron for each sign of bit 0, under two of size 10^6 that cancel: float64 sees nothing of the margin."""
    W = np.zeros((4, n))
    W[:2, 0] = 1.0, -1.0
    W[2:, 1:] = 1e6 * np.random.default_rng(0).standard_normal(n - 1)
    W[2:, 0] = 0.5
    return W, np.array([0.0, 0.0, 0.25, 0.25]), np.array([margin, -margin, 1.0, -1.0])


@pytest.mark.parametrize("margin", [2.0**-40, -(2.0**-40), 0.0])
def test_inputs_within_rounding_of_zero_are_all_decided_exactly(margin, monkeypatch):
    net = unit_scale(*cancelling(margin))
    n_exact = []
    evaluate = branching.exact_outputs
    monkeypatch.setattr(branching, "exact_outputs", lambda W, b, u, x: n_exact.append(len(x)) or evaluate(W, b, u, x))
    searches = [Search(net, [0], pattern) for pattern in patterns(1)]
    assert settle(searches, NEVER, goal=0.0) == (margin > 0)
    assert any(search.fails for search in searches) == (margin <= 0)
    if margin > 0:
        assert sum(n_exact) == 2 * 2**13 > CANDIDATES, "candidates are handed out several times"
        assert all(0 < search.lower * net.scale <= margin for search in searches)
    else:
        assert sum(n_exact) <= 2 * branching.EXACT_AT_ONCE


def test_time_that_ends_before_exact_arithmetic_leaves_the_sign_open():
    net = unit_scale(*cancelling(2.0**-40))
    search = Search(net, [0], patterns(1)[0])
    settle([search], monotonic() - 1, goal=0.0)
    assert not search.finished
    assert not search.missed
    assert search.lower <= 0
    settle([search], NEVER, goal=0.0)
    assert search.finished
    assert search.lower > 0


def test_bits_without_a_weight_cost_nothing():
    W, b, u = drawn(1, n=60, width=6, noise=0.05)
    W[:, LEAF + 2 :] = 0
    search = Search(unit_scale(W, b, u), [0, 1], patterns(2)[0], prune=False)
    assert settle([search], NEVER)
    assert search.work < 2**LEAF * 10
    assert len(search.bits) == 58
