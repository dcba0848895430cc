"""Arity: what masking each neuron's smallest weights, one neuron and one m at a time, says."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from circuits.analysis.progress.arity import arities
from circuits.constructions import build


def outputs(W, b, u, inputs):
    return np.maximum(inputs @ W.T + b, 0) @ u


def by_masking(W, b, u, inputs):
    """The slow twin: for each neuron and m, the whole network again with that neuron's smaller weights at 0."""

    def signs(W):
        f = outputs(W, b, u, inputs)
        return np.sign(np.where(np.abs(f) < 1e-12, 0, f))  # what rounding leaves of a difference

    whole = signs(W)
    found = []
    for neuron in range(len(W)):
        order = sorted(range(W.shape[1]), key=lambda i, w=W[neuron]: (-abs(w[i]), i))
        for m in range(W.shape[1] + 1):
            masked = W.copy()
            masked[neuron, order[m:]] = 0
            if (signs(masked) == whole).all():
                break
        found.append(m)
    return found


def random_network(seed, width=6, n=5, n_examples=25):
    random = np.random.default_rng(seed)
    W, b, u = random.normal(size=(width, n)), random.normal(size=width), random.normal(size=width)
    return (W * random.choice([0.02, 1.0], (width, 1)), b, u), random.choice([-1.0, 1.0], (n_examples, n))


@given(st.integers(0, 2**32 - 1))
def test_arity_is_what_masking_neuron_by_neuron_finds(seed):
    net, inputs = random_network(seed)
    assert arities(*net, inputs, outputs(*net, inputs)).tolist() == by_masking(*net, inputs)


def test_arity_takes_the_smallest_m_that_agrees_though_a_larger_one_does_not():
    """x = (1, 1, 1): the two large weights cancel, so that none of them, or both, do as well as all."""
    W, b, u = np.array([[3.0, -2.9, 0.1], [0.0, 0.0, 0.0]]), np.array([0.0, 1.0]), np.array([-1.0, 1.0])
    inputs = np.ones((1, 3))
    agrees = []
    for m in range(4):
        masked = W.copy()
        masked[0, m:] = 0
        agrees.append(bool(outputs(masked, b, u, inputs)[0] > 0))
    assert agrees == [True, False, True, True]
    assert arities(W, b, u, inputs, outputs(W, b, u, inputs)).tolist() == [0, 0]


@pytest.mark.parametrize(
    ("name", "k"), [("dnf", 2), ("dnf", 3), ("six_neuron", 3), ("four_neuron", 3), ("threshold", 3), ("min_norm", 2)]
)
def test_neurons_of_a_construction_need_at_most_the_k_bits_and_as_many_as_masking_says(name, k):
    net = tuple(build(name, k=k).arrays(n=5, relevant_bits=range(1, k + 1)).values())
    inputs = np.array(list(product([-1.0, 1.0], repeat=5)))
    found = arities(*net, inputs, outputs(*net, inputs))
    assert found.max() <= k
    assert found.max() > 0
    assert found.tolist() == by_masking(*net, inputs)


def test_every_gate_of_the_dnf_needs_all_its_bits():
    net = tuple(build("dnf", k=3).arrays(n=7).values())
    inputs = np.array(list(product([-1.0, 1.0], repeat=7)))
    assert (arities(*net, inputs, outputs(*net, inputs)) == 3).all()


@given(st.integers(0, 2**32 - 1))
def test_permuting_neurons_permutes_their_arities_and_permuting_inputs_leaves_them(seed):
    (W, b, u), inputs = random_network(seed)
    random = np.random.default_rng(seed + 1)
    neurons, bits = random.permutation(len(W)), random.permutation(W.shape[1])
    f = outputs(W, b, u, inputs)
    found = arities(W, b, u, inputs, f)
    np.testing.assert_array_equal(arities(W[neurons], b[neurons], u[neurons], inputs, f), found[neurons])
    np.testing.assert_array_equal(arities(W[:, bits], b, u, inputs[:, bits], f), found)


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.25, 8.0]))
def test_moving_scale_from_a_neuron_to_its_readout_changes_no_arity(seed, factor):
    (W, b, u), inputs = random_network(seed)
    f = outputs(W, b, u, inputs)
    np.testing.assert_array_equal(arities(W * factor, b * factor, u / factor, inputs, f), arities(W, b, u, inputs, f))


def test_a_neuron_that_never_reaches_a_margin_has_arity_0():
    W, b, u = np.array([[5.0, 0.0], [1e-3, 1e-3]]), np.array([10.0, 0.0]), np.array([1.0, 1.0])
    inputs = np.array(list(product([-1.0, 1.0], repeat=2)))
    assert arities(W, b, u, inputs, outputs(W, b, u, inputs))[1] == 0


def test_a_diverged_network_has_no_arity():
    W = np.full((2, 3), np.nan)
    assert (arities(W, np.zeros(2), np.ones(2), np.ones((1, 3)), np.array([np.nan])) == -1).all()
