"""Outputs of a network uᵀ relu(W x + b), and of groups of its neurons alone, summed in float64."""

from typing import no_type_check

import numba
import numpy as np
from jaxtyping import Bool, Float, Real

from circuits.analysis.networks.rounding import reach_of, rounded, rounding_terms


def preactivations(
    W: Float[np.ndarray, "neuron input"],
    b: Float[np.ndarray, " neuron"],
    inputs: Real[np.ndarray, "example input"],
    out: Float[np.ndarray, "neuron example"] | None = None,
) -> Float[np.ndarray, "neuron example"]:
    """Preactivations W x + b for every input, in the dtype of W.

    Allocating memory costs as much as the product itself, so a loop over networks passes the array to fill as `out`.

    Examples
    --------
    >>> preactivations(np.array([[1.0, 2.0]]), np.array([0.5]), np.array([[1.0, -1.0], [1.0, 1.0]]))
    array([[-0.5,  3.5]])
    """
    hidden = np.matmul(W, inputs.T.astype(W.dtype, copy=False), out=out)
    hidden += b[:, None]
    return hidden


def relu_outputs(
    hidden: Float[np.ndarray, "neuron example"], u: Float[np.ndarray, " neuron"]
) -> Float[np.ndarray, " example"]:
    """Output uᵀ relu(h) for every input, from the preactivations h; summed in float64.

    Examples
    --------
    >>> relu_outputs(np.array([[1.0, -1.0], [2.0, 3.0]]), np.array([1.0, -0.5]))
    array([ 0. , -1.5])
    """
    return _summed(np.ascontiguousarray(hidden), u.astype(np.float64))


def group_outputs(
    W: Float[np.ndarray, "neuron input"],
    b: Float[np.ndarray, " neuron"],
    u: Float[np.ndarray, " neuron"],
    inputs: Real[np.ndarray, "example input"],
    groups: Bool[np.ndarray, "group neuron"],
) -> Float[np.ndarray, "group example"]:
    """Output of the network with only the neurons of each group, float64; 0 if |output| is within its rounding bound.

    Examples
    --------
    >>> W, b, u = np.array([[1.0], [-1.0]]), np.zeros(2), np.array([1.0, -1.0])
    >>> group_outputs(W, b, u, np.array([[2.0]]), np.array([[True, False], [False, True]]))
    array([[2.],
           [0.]])
    """
    W, b, u = (values.astype(np.float64) for values in (W, b, u))
    contributions = np.maximum(preactivations(W, b, inputs), 0) * u[:, None]
    members = groups.astype(np.float64)
    bounds = members @ rounding_terms(W, b, u, reach_of(inputs))
    return rounded(members @ contributions, bounds[:, None])


@no_type_check
@numba.njit(nogil=True, cache=True, error_model="numpy")
def _summed(hidden, u):
    width, n_examples = hidden.shape
    total = np.zeros(n_examples, np.float64)
    for j in range(width):
        for x in range(n_examples):
            value = np.float64(hidden[j, x])
            total[x] += u[j] * (0.0 if value <= 0.0 else value)
    return total
