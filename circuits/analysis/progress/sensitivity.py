"""Sensitivity: the number of an input's bits whose flip alone changes the network's prediction.

    s(x) = #{i : sign f(x with bit i flipped) ≠ sign f(x)},   in 0..n for n bits

This module also takes the mean over inputs. A parity of k bits has sensitivity k at every input; a network that has
memorized random-like answers is sensitive to many more bits. As in the code released with Merrill et al. 2023, the mean
is over the test inputs, and sign(0) = 0 counts as a prediction of its own.
"""

from collections.abc import Callable, Mapping
from typing import no_type_check

import numba
import numpy as np
from jaxtyping import Float, Int, Real

from circuits.analysis.networks.applies import is_one_relu_layer
from circuits.analysis.networks.evaluator import evaluator
from circuits.analysis.networks.layers import relu_weights
from circuits.analysis.networks.masking import EXAMPLES_AT_ONCE
from circuits.analysis.networks.predictions import predictions
from circuits.analysis.networks.rounding import reach_of, rounding_terms
from circuits.config import Config

Sensitivities = Callable[[Mapping[str, np.ndarray]], Int[np.ndarray, " example"]]


def relu_sensitivities(
    W: Float[np.ndarray, "neuron input"],
    b: Float[np.ndarray, " neuron"],
    u: Float[np.ndarray, " neuron"],
    inputs: Real[np.ndarray, "example input"],
) -> Int[np.ndarray, " example"]:
    """For each input x, the number of bits of x whose flip alone changes the sign of uᵀ relu(W x + b).

    A flip changes W x + b by one column of W, so no product is computed again. Sums are in float64; a sum within its
    rounding bound (largest possible rounding error, `rounding`) counts as 0.

    Examples
    --------
    The sign of the first of three bits:

    >>> W, b, u = np.array([[1.0, 0.0, 0.0], [-1.0, 0.0, 0.0]]), np.zeros(2), np.array([1.0, -1.0])
    >>> relu_sensitivities(W, b, u, np.array([[1, 1, -1], [-1, 1, 1]]))
    array([1, 1])
    """
    W, u = np.ascontiguousarray(W, np.float64), u.astype(np.float64)
    signs = np.ascontiguousarray(inputs, np.float64)
    hidden = signs @ W.T + b.astype(np.float64)
    bound = 2 * rounding_terms(W, b, u, reach_of(inputs)).sum()  # the flip is one more sum
    return _flips(W, u, signs, hidden, bound)


def flipped(inputs: Real[np.ndarray, "example input"]) -> Real[np.ndarray, "flip input"]:
    """Inputs with one bit flipped: every bit of every input in turn, (example * input, input).

    Examples
    --------
    >>> flipped(np.array([[1, -1]])).tolist()
    [[-1, -1], [1, 1]]
    """
    n_examples, n_inputs = inputs.shape
    copies = np.repeat(inputs[:, None], n_inputs, axis=1)
    bit = np.arange(n_inputs)
    copies[:, bit, bit] *= -1
    return copies.reshape(n_examples * n_inputs, n_inputs)


def sensitivities_on(config: Config, inputs: Real[np.ndarray, "example input"]) -> Sensitivities:
    """Function of a model's parameters: for each input of ±1 bits, how many single-bit flips change the prediction."""
    if is_one_relu_layer(config) is None:
        return lambda net: relu_sensitivities(*relu_weights(config, net), inputs)
    has_classes = config.task.signature.n_classes is not None
    at_once = max(1, EXAMPLES_AT_ONCE // inputs.shape[1])

    def by_forward(net: Mapping[str, np.ndarray]) -> np.ndarray:
        counts = []
        for start in range(0, len(inputs), at_once):  # flips multiply the examples by the number of bits
            part = inputs[start : start + at_once]
            before = predictions(evaluator(config, part).outputs(net), has_classes)
            after = predictions(evaluator(config, flipped(part)).outputs(net), has_classes).reshape(len(part), -1)
            counts.append((after != before[:, None]).sum(axis=1))
        return np.concatenate(counts)

    return by_forward


@no_type_check
@numba.njit(nogil=True, cache=True, error_model="numpy")
def _flips(W, u, signs, hidden, bound):
    width, n_inputs = W.shape
    n_examples = len(signs)
    counts = np.zeros(n_examples, np.int64)
    step = np.empty(n_inputs)
    for x in range(n_examples):
        own = 0.0
        after = np.zeros(n_inputs)
        for i in range(n_inputs):
            step[i] = 2 * signs[x, i]
        for j in range(width):
            before, weight = hidden[x, j], u[j]
            own += weight * (0.0 if before <= 0.0 else before)
            for i in range(n_inputs):
                value = before - W[j, i] * step[i]
                after[i] += weight * (0.0 if value <= 0.0 else value)
        for i in range(n_inputs):
            counts[x] += _sign(after[i], bound) != _sign(own, bound)
    return counts


@no_type_check
@numba.njit(nogil=True, cache=True, error_model="numpy", inline="always")
def _sign(value, bound):
    return np.int64(value > bound) - np.int64(value < -bound)
