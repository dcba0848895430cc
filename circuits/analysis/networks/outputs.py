"""The outputs of one network on a set of inputs, whatever its kind.

The relu model's are computed in float64, so that what single neurons add to them can be told from rounding, and are 0
where they lie within their rounding bound of it. Any other model runs its own forward pass, on tables that it prepares
once for the inputs where it offers that.
"""

import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, no_type_check

import numba
import numpy as np
from jaxtyping import Float, Real, Shaped

from circuits.analysis.networks.masking import EXAMPLES_AT_ONCE
from circuits.analysis.networks.rounding import reach_of, rounded, rounding_terms
from circuits.config import Config

Outputs = Callable[[Mapping[str, np.ndarray]], np.ndarray]


def preactivations(
    W: Float[np.ndarray, "neuron input"],
    b: Float[np.ndarray, " neuron"],
    inputs: Real[np.ndarray, "example input"],
    out: Float[np.ndarray, "neuron example"] | None = None,
) -> Float[np.ndarray, "neuron example"]:
    """W x + b for every input, in the dtype of W: computed once, and shared by every way of counting.

    Fresh memory costs as much as the product itself, so a loop over networks passes the array to fill as `out`.

    Examples
    --------
    >>> preactivations(np.array([[1.0, 2.0]]), np.array([0.5]), np.array([[1.0, -1.0], [1.0, 1.0]]))
    array([[-0.5,  3.5]])
    """
    hidden = np.matmul(W, inputs.T.astype(W.dtype, copy=False), out=out)
    hidden += b[:, None]
    return hidden


def outputs_on(config: Config, inputs: Shaped[np.ndarray, "example input"]) -> Outputs:
    """A function from a network's parameters to its outputs (example,) or (example, class) on these inputs, float64.

    Parameters
    ----------
    config
        Of the network.
    inputs
        (example, input) as the model reads them. The function may be called from several threads.
    """
    relu = config.model.hidden_layer
    if relu is not None:
        kept, inputs = threading.local(), inputs.astype(np.float64)
        reach = reach_of(inputs)

        def by_formula(net: Mapping[str, np.ndarray]) -> np.ndarray:
            W, b, u = (net[name].astype(np.float64) for name in relu)
            kept.hidden = preactivations(W, b, inputs, getattr(kept, "hidden", None))
            return rounded(relu_outputs(kept.hidden, u), rounding_terms(W, b, u, reach).sum())

        return by_formula
    return _by_forward(config, inputs)


def relu_outputs(
    hidden: Float[np.ndarray, "neuron example"], u: Float[np.ndarray, " neuron"]
) -> Float[np.ndarray, " example"]:
    """uᵀ relu(h) for every input, summed in float64.

    Examples
    --------
    >>> relu_outputs(np.array([[1.0, -1.0], [2.0, 3.0]]), np.array([1.0, -0.5]))
    array([ 0. , -1.5])
    """
    return _summed(np.ascontiguousarray(hidden), u.astype(np.float64))


def _by_forward(config: Config, inputs: Real[np.ndarray, "example input"]) -> Outputs:
    import torch

    parts = [torch.from_numpy(inputs[at : at + EXAMPLES_AT_ONCE]) for at in range(0, len(inputs), EXAMPLES_AT_ONCE)]
    forwards: list[Callable[[Any], Any]] = []
    for part in parts:
        prepared = config.model.prepared(part) if config.model.can_prepare else None
        forwards.append(prepared or partial(config.model.forward, inputs=part))

    def outputs(net: Mapping[str, np.ndarray]) -> np.ndarray:
        parameters = {name: torch.from_numpy(np.array(values)) for name, values in net.items()}
        with torch.no_grad():
            return np.concatenate([forward(parameters).numpy() for forward in forwards]).astype(np.float64)

    return outputs


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
