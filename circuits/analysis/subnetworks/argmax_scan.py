"""The active subnetwork (Merrill et al. 2023, section 2.1) of a layer with a linear readout, by running sums.

Neurons are sorted, largest norm first. The first k give the outputs f_k(x) = c(x) + Σ_{j <= k} a_j(x) U_j, where c is
the output without any neuron, a_j the activation of neuron j and U_j its readout row. First, the code computes the
whole network's prediction on every input. Then a scan goes from input to input in a cycle, with k = 0 at the start. If
the first k neurons predict otherwise on an input, the scan raises k by one until the prediction on this input agrees.
The scan ends when all inputs agree at the same k. Every smaller k failed on some input, so this k is the smallest. Each
input keeps its running sum, to which each neuron is added at most once. The criterion "accuracy" counts right answers
on all inputs, so all running sums advance together, neuron by neuron.
"""

from typing import Literal, no_type_check

import numba
import numpy as np
from jaxtyping import Float, Int


def smallest_agreeing_argmax(
    activations: Float[np.ndarray, "neuron example"],
    readout: Float[np.ndarray, "neuron output"] | Float[np.ndarray, " neuron"],
    order: Int[np.ndarray, " neuron"],
    offset: Float[np.ndarray, " output"]
    | Float[np.ndarray, "example output"]
    | Float[np.ndarray, " example"]
    | None = None,
    targets: Int[np.ndarray, " example"] | None = None,
    criterion: Literal["prediction", "accuracy"] = "prediction",
) -> int | None:
    """Smallest k such that the first k neurons in `order` agree with the whole network; None if any output is NaN.

    Parameters
    ----------
    activations
        (neuron, example) of the hidden layer, after its nonlinearity.
    readout
        (neuron, output), or (neuron,) of a network with one output, whose sign is the prediction.
    order
        (neuron,) indices of the neurons; the last is pruned first.
    offset
        (output,) or (example, output), or (example,) if there is only one output. It holds the outputs without any
        neuron, by default 0. The whole network's outputs are offset + activationsᵀ readout.
    targets
        (example,) classes, or ±1 with one output; used by the criterion "accuracy" only.
    criterion
        "prediction": for every example the same `numpy.argmax` of the outputs, or the same sign of a single output.
        "accuracy": the same number of right answers. An answer is right if the target's output exceeds all others, or
        if a single output has the target's sign.

    Returns
    -------
    k in 0..neuron. All outputs, also those of the whole network, are sums in float64 in the order `order`.

    Raises
    ------
    ValueError
        The criterion is "accuracy", and `targets` is missing.

    Examples
    --------
    The first neuron decides; the second changes no argmax.

    >>> activations, readout = np.array([[1.0, 2.0], [1.0, 0.0]]), np.array([[1.0, 0.0], [0.5, 0.0]])
    >>> smallest_agreeing_argmax(activations, readout, np.array([0, 1]), offset=np.array([0.0, 0.5]))
    1
    """
    by_sign = readout.ndim == 1
    table = np.ascontiguousarray(readout[:, None] if by_sign else readout, np.float64)
    sums = np.zeros((activations.shape[1], table.shape[1]))  # outputs without any neuron, then the running sums
    if offset is not None:
        sums[:] = offset[:, None] if by_sign else offset
    rows = np.ascontiguousarray(activations.T)
    if criterion == "accuracy":
        if targets is None:
            raise ValueError("criterion 'accuracy' compares the numbers of right answers: pass targets")
        size = _as_accurate(rows, table, order, sums, targets.astype(np.int64), by_sign)
    else:
        size = _smallest(rows, table, order, sums, by_sign)
    return None if size < 0 else int(size)


@no_type_check
@numba.njit(nogil=True, cache=True, error_model="numpy")
def _smallest(activations, readout, order, sums, by_sign):
    """Smallest k such that the first k neurons in `order` predict as the whole network; -1 if an output is NaN.

    `sums` (example, output) holds the outputs without any neuron; the function adds neurons to it. The prediction is
    the sign of the only output if `by_sign` is True, and the argmax of the outputs otherwise.
    """
    n_examples, width = activations.shape
    wanted = np.empty(n_examples, np.int64)
    outputs = np.empty(readout.shape[1])
    for x in range(n_examples):
        for c in range(outputs.shape[0]):
            outputs[c] = sums[x, c]
        _add(outputs, activations[x], readout, order, 0, width)
        wanted[x] = _prediction(outputs, by_sign)
        if wanted[x] < 0:
            return -1
    reached = np.zeros(n_examples, np.int64)
    candidate, n_agreeing, x = 0, 0, 0
    while n_agreeing < n_examples:
        _add(sums[x], activations[x], readout, order, reached[x], candidate)
        n_agreeing += 1
        while candidate < width and _prediction(sums[x], by_sign) != wanted[x]:
            _add(sums[x], activations[x], readout, order, candidate, candidate + 1)
            candidate += 1
            n_agreeing = 1
        reached[x] = candidate
        x = (x + 1) % n_examples
    return candidate


@no_type_check
@numba.njit(nogil=True, cache=True, error_model="numpy")
def _as_accurate(activations, readout, order, sums, targets, by_sign):
    """Smallest k such that the first k neurons in `order` are right as often as all neurons; -1 if an output is NaN.

    `sums` (example, output) holds the outputs without any neuron; the function adds neurons to it. The prediction is
    the sign of the only output if `by_sign` is True, and the argmax of the outputs otherwise.
    """
    n_examples, width = activations.shape
    outputs = np.empty(readout.shape[1])
    n_right = 0
    for x in range(n_examples):
        for c in range(outputs.shape[0]):
            outputs[c] = sums[x, c]
        _add(outputs, activations[x], readout, order, 0, width)
        if _prediction(outputs, by_sign) < 0:
            return -1
        n_right += _is_right(outputs, targets[x], by_sign)
    for k in range(width):
        count = 0
        for x in range(n_examples):
            if k > 0:
                _add(sums[x], activations[x], readout, order, k - 1, k)
            count += _is_right(sums[x], targets[x], by_sign)
        if count == n_right:
            return k
    return width


@no_type_check
@numba.njit(nogil=True, cache=True, error_model="numpy", inline="always")
def _add(outputs, activations, readout, order, start, stop):
    for place in range(start, stop):
        neuron = order[place]
        value = np.float64(activations[neuron])
        if value != 0.0:
            row = readout[neuron]
            for c in range(outputs.shape[0]):
                outputs[c] += value * row[c]


@no_type_check
@numba.njit(nogil=True, cache=True, error_model="numpy", inline="always")
def _prediction(outputs, by_sign):
    """The predicted class: index of the largest output, the lowest index of ties; -1 if any output is NaN.

    If `by_sign` is True, there is one output. The class is 0 if the output is negative, 1 if it is 0, 2 if positive.
    """
    if by_sign and outputs[0] == outputs[0]:
        return 1 + np.int64(outputs[0] > 0) - np.int64(outputs[0] < 0)
    best = 0
    for c in range(outputs.shape[0]):
        if outputs[c] != outputs[c]:
            return -1
        if outputs[c] > outputs[best]:
            best = c
    return best


@no_type_check
@numba.njit(nogil=True, cache=True, error_model="numpy", inline="always")
def _is_right(outputs, target, by_sign):
    if by_sign:
        return np.int64(outputs[0] > 0) - np.int64(outputs[0] < 0) == target
    n_below = 0
    for c in range(outputs.shape[0]):
        n_below += outputs[c] < outputs[target]
    return n_below == outputs.shape[0] - 1
