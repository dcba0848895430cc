"""Sensitivity: constructions have that of their parity; the compiled count is that of the model on every flip."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import circuits
from circuits.analysis.networks.predictions import predictions
from circuits.analysis.progress.sensitivity import flipped, relu_sensitivities, sensitivities_on
from circuits.constructions import build


def every_flip(config, net, inputs):
    """The slow twin: the model's own forward pass on every flipped input, one at a time."""
    parameters = {name: torch.from_numpy(values) for name, values in net.items()}

    def predicted(x):
        return predictions(config.model.forward(parameters, torch.from_numpy(x[None])).numpy(), False)[0]

    found = []
    for x in inputs:
        changed = 0
        for bit in range(len(x)):
            other = x.copy()
            other[bit] *= -1
            changed += predicted(other) != predicted(x)
        found.append(changed)
    return found


@pytest.mark.parametrize(
    ("name", "k"), [("dnf", 2), ("dnf", 3), ("six_neuron", 3), ("four_neuron", 3), ("threshold", 4), ("min_norm", 3)]
)
def test_a_construction_of_parity_is_sensitive_to_its_k_bits_at_every_input(name, k):
    net = build(name, k=k).arrays(n=9, relevant_bits=range(9 - k, 9))
    inputs = np.random.default_rng(0).choice([-1, 1], (40, 9))
    assert (relu_sensitivities(**net, inputs=inputs) == k).all()


@pytest.mark.slow
@given(st.integers(0, 2**32 - 1))
def test_the_compiled_count_is_that_of_the_model_on_every_flip(seed):
    random = np.random.default_rng(seed)
    config = circuits.preset("merrill-2023").replace(task__n=6, task__k=2, model__width=5, dtype="float64")
    net = {name: random.normal(size=shape) for name, (_, shape) in config.shapes.items()}
    inputs = random.choice([-1.0, 1.0], (7, 6))
    assert relu_sensitivities(**net, inputs=inputs).tolist() == every_flip(config, net, inputs)


def test_a_model_without_a_formula_is_run_on_every_flip(make_config):
    config = make_config().replace(model={"kind": "mlp", "widths": [6, 4], "activation": "tanh"}, dtype="float64")
    random = np.random.default_rng(1)
    net = {name: np.asarray(random.normal(size=shape)) for name, (_, shape) in config.shapes.items()}
    inputs = random.choice([-1.0, 1.0], (11, 8))
    assert sensitivities_on(config, inputs)(net).tolist() == every_flip(config, net, inputs)


def test_a_constant_network_is_sensitive_to_nothing_and_a_dictator_to_one_bit():
    inputs = np.random.default_rng(2).choice([-1, 1], (20, 5))
    assert not relu_sensitivities(np.zeros((1, 5)), np.ones(1), np.ones(1), inputs).any()
    W = np.zeros((2, 5))
    W[:, 3] = 1, -1
    assert (relu_sensitivities(W, np.zeros(2), np.array([1.0, -1.0]), inputs) == 1).all()


def test_an_output_of_zero_is_a_prediction_of_its_own():
    W, b, u = np.array([[1.0, 1.0]]), np.zeros(1), np.ones(1)  # 2, 0, 0, 0
    assert relu_sensitivities(W, b, u, np.array([[1, 1], [1, -1], [-1, -1]])).tolist() == [2, 1, 0]


def test_flipped_has_every_input_with_each_bit_flipped_and_leaves_the_input_alone():
    inputs = np.array([[1, 1, -1]])
    assert flipped(inputs).tolist() == [[-1, 1, -1], [1, -1, -1], [1, 1, 1]]
    assert inputs.tolist() == [[1, 1, -1]]


def test_outputs_that_cancel_are_sensitive_to_no_bit():
    W = np.tile(np.array([[0.1, 0.2, -0.3, 0.1]]), (3, 1))
    b, u = np.full(3, 0.1), np.array([0.1, 0.2, -0.3])
    inputs = np.random.default_rng(0).choice([-1, 1], (64, 4))
    assert np.abs(np.maximum(inputs @ W.T + b, 0) @ u).max() > 0  # what rounding leaves
    assert (relu_sensitivities(W, b, u, inputs) == 0).all()
