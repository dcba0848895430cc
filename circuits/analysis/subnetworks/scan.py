"""The compiled pass behind the active subnetwork: agreement of every norm prefix with the whole, in one sweep.

With the neurons sorted, f_k(x) = Σ_{j <= k} u_j relu(h_j(x)) is a running sum. It is held for all inputs at once, so
that adding a neuron is one pass over a row. Both the whole network and its prefixes are summed in this order, in
float64: at k = width they are the same number, and agree. A sum within its rounding bound of 0 counts as 0.
"""

from typing import no_type_check

import numba
import numpy as np


@no_type_check
@numba.njit(nogil=True, cache=True, error_model="numpy")
def disagreements(preactivations, readout, order, bounds, targets, by_accuracy, stop_at_agreement):
    """How far f_k is from f, for k = 0..width.

    Parameters
    ----------
    preactivations
        (neuron, example) W x + b, contiguous rows.
    readout, order
        (neuron,) u, and the neurons from first kept to last.
    bounds
        (neuron + 1,) rounding bound of f_k, as `rounding.prefix_bounds` gives it; zeros compare sums with 0 itself.
    targets
        (example,) ±1, used by accuracy only.
    by_accuracy
        False: count inputs with sign f_k(x) != sign f(x). True: the difference in the number of right answers.
    stop_at_agreement
        Stop at the first 0.

    Returns
    -------
    (width + 1,) int64, -1 where not computed. An input whose f(x) is NaN never agrees.
    """
    width, n_examples = preactivations.shape
    counts = np.full(width + 1, -1, np.int64)
    total = np.zeros(n_examples, np.float64)
    for j in order:
        _add(total, preactivations[j], np.float64(readout[j]))
    wanted = np.empty(n_examples, np.int8)
    n_right = 0
    for x in range(n_examples):
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
            count = abs(right - n_right)
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
    """-1, 0 or 1; 0 within the bound, and of NaN."""
    return np.int8(value > bound) - np.int8(value < -bound)
