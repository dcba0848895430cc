"""Margins, and which networks are homogeneous."""

import numpy as np
import pytest

from circuits.analysis.networks.evaluator import evaluator
from circuits.analysis.networks.outputs import relu_outputs
from circuits.analysis.networks.predictions import is_right
from circuits.analysis.progress.margin import degree_of_homogeneity, margins
from circuits.config import parse


@pytest.mark.parametrize("has_classes", [False, True])
def test_a_margin_is_positive_exactly_where_the_network_is_right(has_classes):
    random = np.random.default_rng(0)
    outputs = random.integers(-2, 3, (200, 4) if has_classes else 200).astype(float)  # with ties and zeros
    targets = random.integers(0, 4, 200) if has_classes else random.choice([-1, 1], 200)
    np.testing.assert_array_equal(margins(outputs, targets) > 0, is_right(outputs, targets, has_classes))


def test_a_constant_added_to_all_logits_changes_no_margin():
    outputs, targets = np.random.default_rng(1).normal(size=(50, 6)), np.arange(50) % 6
    np.testing.assert_allclose(margins(outputs + 7, targets), margins(outputs, targets))


def test_the_margin_of_classes_is_that_to_the_runner_up():
    outputs, targets = np.random.default_rng(2).normal(size=(30, 5)), np.arange(30) % 5
    expected = [
        row[t] - max(value for c, value in enumerate(row) if c != t) for row, t in zip(outputs, targets, strict=True)
    ]
    np.testing.assert_array_equal(margins(outputs, targets), expected)


def test_relu_outputs_are_the_formula_in_double_precision():
    hidden = np.random.default_rng(3).normal(size=(40, 9)).astype(np.float32)
    u = np.random.default_rng(4).normal(size=40).astype(np.float32)
    np.testing.assert_allclose(
        relu_outputs(hidden, u), u.astype(float) @ np.maximum(hidden.astype(float), 0), rtol=1e-12
    )


@pytest.mark.parametrize(
    ("model", "degree"),
    [
        ({"kind": "relu", "width": 9}, 2),
        ({"kind": "linear"}, 1),
        ({"kind": "mlp", "widths": [9], "activation": "square", "biases": False}, 3),
        ({"kind": "mlp", "widths": [9, 7], "activation": "relu", "biases": False}, 3),
        ({"kind": "mlp", "widths": [9], "activation": "relu", "biases": True}, None),
        ({"kind": "mlp", "widths": [9], "activation": "gelu", "biases": False}, None),
    ],
)
def test_networks_are_homogeneous_of_the_degree_that_their_layers_give(make_config, model, degree):
    config = make_config().replace(model=model)
    random = np.random.default_rng(5)
    net = {name: random.normal(size=shape).astype(np.float32) for name, (_, shape) in config.shapes.items()}
    inputs = random.choice([-1, 1], (6, 8)).astype(np.float32)
    assert degree_of_homogeneity(evaluator(config, inputs).outputs, net) == degree


def test_a_network_that_outputs_nothing_has_no_degree():
    assert degree_of_homogeneity(lambda net: 0 * net["a"], {"a": np.ones(3)}) is None


def test_outputs_by_prepared_tables_are_those_of_the_forward_pass():
    config = parse(
        {
            "task": {"kind": "modular", "p": 5, "encoding": "tokens", "sequence": "x y ="}, "loss": "cross_entropy",
            "model": {"kind": "transformer", "n_heads": 2, "d_model": 8, "d_mlp": 12}, "optimizer": {"kind": "adamw"},
        }
    )  # fmt: skip
    import torch

    net = {name: values.astype(np.float32) for name, values in config.model.initial(config.task.signature, 0).items()}
    inputs = np.concatenate([data["inputs"] for data in (config.task.train_data(0), config.task.test_data(0))]).astype(
        np.int64
    )
    expected = config.model.forward(
        {name: torch.from_numpy(values) for name, values in net.items()}, torch.from_numpy(inputs)
    )
    np.testing.assert_allclose(evaluator(config, inputs).outputs(net), expected.numpy(), rtol=1e-4, atol=1e-5)
