"""All inputs at once: held against a matrix product, and against exact arithmetic near 0."""

from time import monotonic

import numpy as np
import pytest

from circuits.constructions.certifying import every_input
from circuits.constructions.certifying.certify import certify
from circuits.constructions.certifying.every_input import whole_cube
from circuits.constructions.certifying.exact_outputs import exact_outputs
from circuits.constructions.certifying.restriction import unit_scale
from circuits.constructions.patterns import parities, patterns


def counts(k, n, small=0.0):
    """k + 1 neurons of the sum of the first k bits: the margin is 1; each other bit adds `small` to every sum."""
    W, order = np.full((k + 1, n), small), np.arange(k + 1)
    W[:, :k] = 1.0
    return W, k + 1.0 - 2 * order, (-1.0) ** (order + k) * np.where(order == 0, 1, 4 * order)


@pytest.mark.parametrize(("n", "k", "width"), [(1, 1, 3), (7, 3, 5), (9, 9, 40), (17, 1, 4), (18, 12, 3)])
def test_every_pattern_has_the_least_margin_of_its_inputs(n, k, width):
    random = np.random.default_rng(n)
    W, b, u = random.standard_normal((width, n)), random.standard_normal(width), random.standard_normal(width)
    relevant_bits = random.permutation(n)[:k].tolist()
    net = unit_scale(W, b, u)
    cube = whole_cube(net, relevant_bits, np.inf)
    others = [bit for bit in range(n) if bit not in relevant_bits]
    order = [*relevant_bits, *others]
    inputs = patterns(n)
    outputs = (np.maximum(inputs @ W[:, order].T + b, 0) @ u).reshape(2**k, -1) * parities(k)[:, None]
    np.testing.assert_allclose(cube.least * net.scale, outputs.min(axis=1), rtol=0, atol=1e-13 * net.scale)
    assert (cube.lower * net.scale <= outputs.min(axis=1)).all()
    worst = np.concatenate([patterns(k), cube.where], axis=1)
    attained = (np.maximum(worst @ W[:, order].T + b, 0) @ u) * parities(k)
    np.testing.assert_allclose(attained, outputs.min(axis=1), rtol=0, atol=1e-13 * net.scale)
    assert cube.known.all()
    assert cube.fails == (outputs.min() < 0)


def test_sixteen_relevant_bits_are_judged_in_a_moment():
    random = np.random.default_rng(0)
    W, b, u = random.standard_normal((100, 16)), random.standard_normal(100), random.standard_normal(100)
    least = (parities(16) * (np.maximum(patterns(16) @ W.T + b, 0) @ u)).min()
    certify(*counts(2, 2), [0, 1])  # compiles
    for net, verdict, margin in ((counts(16, 16), "certified", 1.0), ((W, b, u), "refuted", least)):
        begun = monotonic()
        proof = certify(*net, list(range(16)), time_limit=1.0)
        assert monotonic() - begun < 10
        assert (proof.verdict, proof.margin) == (verdict, pytest.approx(margin))
        assert proof.exact
        assert len(proof.pattern_margin) == 2**16


def test_time_that_ends_leaves_patterns_open(monkeypatch):
    monkeypatch.setattr("circuits.constructions.certifying.every_input.PART", 4)
    proof = certify(*counts(9, 11, 0.01), list(range(9)), time_limit=0.0)
    known = np.isfinite(proof.pattern_lower)
    assert known.sum() == 4
    assert (np.array(proof.solved) == known).all()
    assert proof.verdict == "undecided"
    assert proof.lower == -np.inf
    assert np.isnan(proof.seconds_left)
    assert certify(*counts(9, 11, 0.01), list(range(9))).verdict == "certified"


@pytest.mark.parametrize("k", [1, 3, 10])
@pytest.mark.parametrize(("margin", "verdict"), [(2.0**-50, "certified"), (0.0, "refuted"), (-(2.0**-50), "refuted")])
def test_inputs_within_rounding_of_zero_are_decided_exactly(k, margin, verdict):
    W, b, u = counts(k, k + 1)
    W, b, u = np.concatenate([W, W, W]), np.concatenate([b, b, b]), np.concatenate([margin * u, u, -u])
    proof = certify(W, b, u, list(range(k)))
    assert proof.verdict == verdict
    assert proof.margin == margin
    assert proof.lower <= margin
    assert proof.exact


@pytest.mark.parametrize("method", [None, "branching", "inputs"])
@pytest.mark.parametrize("small", [5e-320, -5e-320])
def test_a_margin_that_scaling_would_lose_is_decided(method, small):
    W = np.array([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [-1.0, 0.0]])
    proof = certify(W, np.zeros(4), np.array([1e10, -1e10, small, -small]), [0], method=method)
    assert proof.verdict == ("certified" if small > 0 else "refuted")
    assert proof.margin == small
    assert proof.lower <= small


@pytest.mark.parametrize("method", [None, "branching", "inputs"])
def test_a_bit_that_only_a_vanishing_neuron_sees_is_not_left_out(method):
    # Two huge neurons cancel. What is left is tiny, and its sign is bit 1's, on either pattern of bit 0.
    W = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    proof = certify(W, np.array([2.0, 2.0, 0.0, 0.0]), np.array([1e10, -1e10, 5e-320, -5e-320]), [0], method=method)
    assert proof.verdict == "refuted"
    assert proof.margin == -5e-320


def test_a_margin_below_float64_is_said_to_be_the_smallest_of_its_sign():
    W, b = np.array([[1e-320], [-1e-320]]), np.zeros(2)
    proof = certify(W, b, np.array([1e-5, -1e-5]), [0])
    assert (proof.verdict, proof.margin, proof.lower) == ("certified", 5e-324, 0.0)
    assert exact_outputs(W, b, np.array([1e-5, -1e-5]), np.array([[1]]))[0] > 0
    assert certify(W, b, np.array([-1e-5, 1e-5]), [0]).margin == -5e-324


def test_exact_margins_are_looked_at_some_at_a_time_until_time_is_up_or_one_fails():
    net = unit_scale(np.array([[1.0, 0.25], [-1.0, 0.25]]), np.zeros(2), np.array([1.0, -1.0]))
    rows = np.ones(3 * every_input.EXACT_AT_ONCE, np.int64)
    bits = np.ones((len(rows), 1), np.int8)
    assert len(every_input._exact_margins(net, [0], rows, bits, np.inf)) == len(rows)
    assert len(every_input._exact_margins(net, [0], rows, bits, -np.inf)) == every_input.EXACT_AT_ONCE
    wrong = unit_scale(np.array([[1.0, 0.25], [-1.0, 0.25]]), np.zeros(2), np.array([-1.0, 1.0]))
    assert len(every_input._exact_margins(wrong, [0], rows, bits, np.inf)) == every_input.EXACT_AT_ONCE
