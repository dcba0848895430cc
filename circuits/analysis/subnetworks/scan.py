"""The compiled loop behind the active subnetwork: do the k neurons of largest norm agree with the whole network?

Neurons are sorted by falling norm. For every input x, the loop keeps the sum of u_j relu(h_j(x)) over the first k
neurons j, where h_j(x) is a preactivation. The output of the whole network is summed in the same order, in float64. So
both numbers are equal when k is the number of neurons.
"""

from typing import no_type_check

import numba
import numpy as np
from jaxtyping import Float, Int, Real

from circuits.analysis.networks.options import Criterion
from circuits.analysis.networks.outputs import preactivations
from circuits.analysis.networks.rounding import prefix_bounds, rounding_terms


@no_type_check
@numba.njit(nogil=True, cache=True, error_model="numpy")
def disagreements(preactivations, readout, order, bounds, targets, by_accuracy, stop_at_agreement):
    """Disagreement of f_k (output of the first k neurons in `order`) with f (output of all neurons), for every k >= 0.

    Parameters
    ----------
    preactivations
        (neuron, example) W x + b, contiguous rows.
    readout, order
        (neuron,) weights u, and indices of the neurons in the order of summation.
    bounds
        (neuron + 1,) rounding bound of f_k, see `rounding.prefix_bounds`; a sum within its bound counts as 0.
    targets
        (example,) ±1; used only if `by_accuracy` is True.
    by_accuracy
        False: number of inputs with sign f_k(x) != sign f(x). True: difference in the number of right answers.
    stop_at_agreement
        Whether to stop at the first k without disagreement.

    Returns
    -------
    (neuron + 1,) int64, -1 where not computed. An input whose f(x) is NaN is one disagreement for every k.
    """
    width, n_examples = preactivations.shape
    counts = np.full(width + 1, -1, np.int64)
    total = np.zeros(n_examples, np.float64)
    for j in order:
        _add(total, preactivations[j], np.float64(readout[j]))
    wanted = np.empty(n_examples, np.int8)
    n_right = n_nan = 0
    for x in range(n_examples):
        n_nan += total[x] != total[x]
        wanted[x] = _sign(total[x], bounds[width]) if total[x] == total[x] else np.int8(2)
        n_right += wanted[x] == targets[x]

    partial = np.zeros(n_examples, np.float64)
    for k in range(width + 1):
        if k > 0:
            _add(partial, preactivations[order[k - 1]], np.float64(readout[order[k - 1]]))
        count = 0
        if by_accuracy:
            right = 0
            for x in range(n_examples):
                right += _sign(partial[x], bounds[k]) == targets[x]
            count = abs(right - n_right) + n_nan
        else:
            for x in range(n_examples):
                count += _sign(partial[x], bounds[k]) != wanted[x]
        counts[k] = count
        if stop_at_agreement and count == 0:
            break
    return counts


@no_type_check
@numba.njit(nogil=True, cache=True, error_model="numpy")
def _add(total, row, weight):
    for x in range(total.shape[0]):
        value = np.float64(row[x])
        total[x] += weight * (0.0 if value <= 0.0 else value)


@no_type_check
@numba.njit(nogil=True, cache=True, error_model="numpy", inline="always")
def _sign(value, bound):
    """Sign of a number, -1, 0 or 1; 0 if the number is NaN or within `bound` of 0."""
    return np.int8(value > bound) - np.int8(value < -bound)


def smallest_agreeing(
    hidden: Float[np.ndarray, "neuron example"],
    u: Float[np.ndarray, " neuron"],
    order: Int[np.ndarray, " neuron"],
    targets: Int[np.ndarray, " example"],
    criterion: Criterion = "prediction",
    bounds: Float[np.ndarray, " prefix"] | None = None,
) -> int | None:
    """Smallest k >= 0 such that the first k neurons in `order` predict as all neurons do; None if an output is NaN.

    Parameters
    ----------
    hidden
        (neuron, example) preactivations.
    u
        (neuron,) weights in the output Σ_j u_j relu(hidden_j). A prediction is the sign of an output.
    order
        (neuron,) indices of the neurons. The last neuron in `order` is the first to be removed.
    targets
        (example,) the right sign, 1 or -1; used by the criterion "accuracy" only.
    criterion
        "prediction": the k neurons must give the same sign as all neurons on every example. "accuracy": the number of
        examples with the right sign must be the same for the k neurons as for all neurons.
    bounds
        (neuron + 1,) rounding bound of the output of the first k neurons, for each k. An output counts as 0 if its
        absolute value is at most its bound. None: all bounds are 0.
    """
    bounds = np.zeros(len(order) + 1) if bounds is None else bounds
    counts = disagreements(np.ascontiguousarray(hidden), u, order, bounds, targets, criterion == "accuracy", True)
    agreeing = np.flatnonzero(counts == 0)
    return int(agreeing[0]) if agreeing.size else None


def prefix_size(
    W: Float[np.ndarray, "neuron input"],
    b: Float[np.ndarray, " neuron"],
    u: Float[np.ndarray, " neuron"],
    order: Int[np.ndarray, " neuron"],
    inputs: Real[np.ndarray, "example input"],
    reach: Float[np.ndarray, " input"],
    targets: Int[np.ndarray, " example"] | None = None,
    criterion: Criterion = "prediction",
    out: Float[np.ndarray, "neuron example"] | None = None,
) -> int | None:
    """Smallest k such that the first k neurons in `order` predict as all do; None if an output is NaN.

    W, b and u are the parameters of the network uᵀ relu(W x + b). A prediction is the sign of an output; an output
    within its rounding error counts as 0. Predictions on `inputs` are compared. `reach` is the largest |x_i| over the
    inputs x, for each position i. With the criterion "prediction", every sign must stay the same, and `targets` (±1)
    are ignored. With "accuracy", only the number of signs that equal their target must stay the same. `out` is a
    float64 array to fill with the preactivations.
    """
    hidden = preactivations(W.astype(np.float64), b.astype(np.float64), inputs, out)
    bounds = prefix_bounds(rounding_terms(W, b, u, reach), order)
    wanted = np.zeros(len(inputs), np.int64) if targets is None else targets
    return smallest_agreeing(hidden, u, order, wanted, criterion, bounds)
