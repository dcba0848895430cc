"""Sizes of a network's parameters, against counting."""

import math

import numpy as np
import pytest

import circuits
from circuits.analysis.networks.weights import SMALL, parameter_norm, small_weights, zero_weights

CONFIG = circuits.preset("merrill-2023")  # not read


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_norm_and_shares_are_those_of_all_parameters_together(dtype):
    parameters = {"W": np.array([[3.0, 0.0], [-SMALL / 2, 0.0]], dtype), "b": np.array([-4.0, 12.0, SMALL / 4], dtype)}
    size = math.sqrt(9 + 16 + 144 + SMALL**2 / 4 + SMALL**2 / 16)
    assert parameter_norm(CONFIG, parameters, {}) == pytest.approx(size, rel=1e-7)
    assert zero_weights(CONFIG, parameters, {}) == 2 / 7
    assert small_weights(CONFIG, parameters, {}) == 4 / 7


def test_a_weight_of_exactly_the_limit_is_not_small_and_norms_of_float32_do_not_overflow():
    parameters = {"W": np.array([[SMALL, -SMALL]])}
    assert small_weights(CONFIG, parameters, {}) == 0
    assert SMALL == 1e-3
    assert parameter_norm(CONFIG, {"W": np.full((2, 2), 1e30, np.float32)}, {}) == pytest.approx(2e30, rel=1e-6)
