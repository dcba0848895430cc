"""Smallest subnetworks are held against every subset, one by one."""

from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import circuits
from circuits.analysis import Options, active_subnetwork, agrees, smallest_subnetwork
from circuits.analysis.subnetworks.active import examples_of
from circuits.analysis.subnetworks.smallest import Subsets
from circuits.constructions.patterns import patterns


def signs(W, b, u, inputs, neurons):
    """Mask, forward, sign: neuron by neuron."""
    outputs = np.zeros(len(inputs))
    for neuron in neurons:
        outputs = outputs + u[neuron] * np.maximum(inputs @ W[neuron] + b[neuron], 0)
    return np.sign(outputs)


def brute_force(W, b, u, inputs):
    """Size of a smallest agreeing subset: all subsets, by size."""
    everyone = range(len(u))
    whole = signs(W, b, u, inputs, everyone)
    for size in range(len(u) + 1):
        for subset in combinations(everyone, size):
            if (signs(W, b, u, inputs, subset) == whole).all():
                return size
    raise AssertionError("even the whole network disagrees with itself")


@st.composite
def networks(draw):
    """Few values, in eighths, so that sums are exact, ties common and outputs of 0 not rare; or generic ones."""
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    width, n, n_examples = draw(st.integers(1, 8)), draw(st.integers(1, 5)), draw(st.integers(1, 14))
    if draw(st.booleans()):
        values = lambda *shape: random.integers(-8, 9, shape) / 8.0  # noqa: E731
    else:
        values = lambda *shape: random.standard_normal(shape)  # noqa: E731
    inputs = random.choice([-1, 1], (n_examples, n)).astype(np.int8)
    scale = 2.0 ** draw(st.integers(-20, 10))  # a power of two: sums stay exact
    return values(width, n) * scale, values(width) * scale, values(width), inputs


@given(networks())
@settings(max_examples=200)
def test_the_smallest_subnetwork_is_that_of_all_subsets(case):
    W, b, u, inputs = case
    found = smallest_subnetwork(W, b, u, inputs)
    expected = brute_force(W, b, u, inputs)
    assert agrees(W, b, u, inputs, found.kept)
    assert found.bound <= expected <= found.size
    assert found.proved
    assert found.size == expected


@st.composite
def networks_in_tenths(draw):
    """Multiples of 0.1, which cancel in decimals but not in float64: what is left of a 0 is rounding of either sign."""
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    width, n = draw(st.integers(2, 7)), draw(st.integers(1, 4))
    tenths = lambda *shape: random.integers(-3, 4, shape) * 0.1  # noqa: E731
    return tenths(width, n), tenths(width), tenths(width), patterns(n)


@pytest.mark.slow
@given(networks_in_tenths())
@settings(max_examples=300)
def test_what_is_proved_is_the_smallest_where_outputs_cancel_up_to_rounding(case):
    W, b, u, inputs = case
    subsets = [np.array(mask) for mask in product([False, True], repeat=len(u))]
    expected = min(int(mask.sum()) for mask in subsets if agrees(W, b, u, inputs, mask))
    for start in (None, active_subnetwork(W, b, u, inputs)):
        found = smallest_subnetwork(W, b, u, inputs, start=start)
        assert agrees(W, b, u, inputs, found.kept)
        assert (found.size, found.proved) == (expected, True)


def test_a_row_of_rounding_alone_asks_for_nothing():
    # At x = (-1, -1, -1) neuron 3 has -2.8e-18, all others 0: the output is 0 within rounding, whoever is kept.
    W = np.array([[0.2, 0.2, 0.1], [0.2, 0.2, 0.1], [0.2, -0.1, 0.2], [-0.1, -0.2, 0.2], [0, -0.1, -0.1]])
    b, u = np.array([0.1, 0.1, 0.1, -0.1, -0.2]), np.array([0, 0, 0.2, -0.1, 0])
    found = smallest_subnetwork(W, b, u, patterns(3))
    assert (found.size, found.proved) == (2, True)


@pytest.mark.slow
@given(networks())
@settings(max_examples=60)
def test_no_subset_is_larger_than_the_norm_prefix_it_starts_from(case):
    W, b, u, inputs = case
    prefix = active_subnetwork(W, b, u, inputs)
    found = smallest_subnetwork(W, b, u, inputs, start=prefix)
    assert found.size <= prefix.sum() or not agrees(W, b, u, inputs, prefix)
    assert found.size == smallest_subnetwork(W, b, u, inputs).size


def test_a_subset_that_is_no_norm_prefix_is_found():
    # Four large neurons cancel in pairs; two small ones compute the sign of x0. The prefix needs all six.
    W = np.zeros((6, 3))
    W[:4, 1] = [5, 5, -5, -5]
    W[4:, 0] = [1, -1]
    u = np.array([1.0, -1.0, 1.0, -1.0, 1.0, -1.0])
    inputs = patterns(3)
    assert active_subnetwork(W, np.zeros(6), u, inputs).sum() == 6
    found = smallest_subnetwork(W, np.zeros(6), u, inputs)
    assert np.flatnonzero(found.kept).tolist() == [4, 5]
    assert found.proved


@pytest.mark.parametrize("k", [2, 3])
def test_all_gates_of_a_dnf_are_needed_among_disturbing_neurons(k):
    random = np.random.default_rng(k)
    gates = patterns(k).astype(float)
    W = 1e-3 * random.standard_normal((2**k + 30, 10))
    W[: 2**k] = 0
    W[: 2**k, :k] = gates
    b, u = 1e-3 * random.standard_normal(2**k + 30), 1e-3 * random.standard_normal(2**k + 30)
    b[: 2**k], u[: 2**k] = 1.0 - k, gates.prod(axis=1)
    inputs = random.choice([-1, 1], (300, 10))
    found = smallest_subnetwork(W, b, u, inputs, time_limit=1.0)
    assert found.size <= 2**k
    assert agrees(W, b, u, inputs, found.kept)
    assert 1 <= found.bound <= found.size
    alone = smallest_subnetwork(W[: 2**k], b[: 2**k], u[: 2**k], inputs)
    assert (alone.size, alone.proved) == (2**k, True)


def test_an_input_asks_for_a_neuron_that_fires_there_and_has_the_right_sign():
    # A gate fires on one pattern of the bits alone, so each input asks for its own gate: no search is needed.
    W, u = patterns(4).astype(float), patterns(4).prod(axis=1).astype(float)
    program = Subsets(np.eye(16) * u, np.eye(16) * u, np.zeros(16), u)
    assert (program.covers == np.eye(16)).all()
    found = smallest_subnetwork(W, np.full(16, -3.0), u, patterns(4), time_limit=10.0)
    assert (found.size, found.proved) == (16, True)


def test_without_time_the_incumbent_is_not_called_smallest():
    random = np.random.default_rng(0)
    W, b, u = random.standard_normal((40, 12)), random.standard_normal(40), random.standard_normal(40)
    inputs = random.choice([-1, 1], (100, 12))
    found = smallest_subnetwork(W, b, u, inputs, time_limit=0.0)
    assert agrees(W, b, u, inputs, found.kept)
    assert found.size > 1
    assert found.bound == 1
    assert not found.proved


def test_a_network_that_outputs_zero_everywhere_needs_no_neuron():
    found = smallest_subnetwork(np.ones((3, 2)), np.zeros(3), np.zeros(3), patterns(2))
    assert (found.size, found.bound, found.proved) == (0, 0, True)


def test_an_input_whose_output_is_zero_keeps_it_zero():
    # On x = -1 both fire and cancel, on x = 1 the third makes the sign: dropping one of the pair would break the 0.
    W, b, u = np.array([[-1.0], [-1.0], [1.0]]), np.zeros(3), np.array([1.0, -1.0, 1.0])
    found = smallest_subnetwork(W, b, u, np.array([[-1], [1]]))
    assert np.flatnonzero(found.kept).tolist() == [2]


def test_a_diverged_network_has_no_smallest_subnetwork():
    assert smallest_subnetwork(np.array([[np.nan]]), np.zeros(1), np.ones(1), np.array([[1]])) is None


@pytest.mark.slow
def test_exact_measures_the_last_checkpoint_unless_told_otherwise(tiny_run):
    found = circuits.analyze(tiny_run, "exact")["exact"]
    assert found["step"].values.tolist() == [tiny_run.steps[-1]]
    several = circuits.analyze(tiny_run, "exact", options=Options(checkpoints="1::2"))["exact"]
    assert several["step"].values.tolist() == tiny_run.steps[1::2].tolist()
    for step in range(2):
        for index, seed in enumerate(tiny_run.seeds):
            net = tiny_run.arrays(seed, 1 + 2 * step)
            inputs, _ = examples_of(tiny_run, index, "train")
            at = several.isel(step=step, seed=index)
            assert agrees(net["W"], net["b"], net["u"], inputs, at["smallest_kept"].values)
            assert at["smallest_kept"].sum() == at["smallest_size"]
            assert at["smallest_size"] <= at["prefix_size"]
            assert at["smallest_gap"] == at["smallest_size"] - at["smallest_bound"]
            assert bool(at["smallest_proved"]) == (float(at["smallest_gap"]) == 0)
            assert at["prefix_size"] == active_subnetwork(net["W"], net["b"], net["u"], inputs).sum()


def test_what_is_not_proved_is_said(tiny_run):
    found = circuits.analyze(tiny_run, "exact", options=Options(time_limit=0.0))["exact"]
    unproved = (~found["smallest_proved"]).any("step")
    assert unproved.any()
    assert [line.split(":")[0] for line in found.attrs["warnings"]] == [
        f"seed {seed}" for seed in found["seed"].values[unproved.values]
    ]
