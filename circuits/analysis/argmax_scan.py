"""The active subnetwork of a network with several outputs: the smallest k whose argmax is the whole network's.

With the neurons sorted, the logits f_k(x) = c + Σ_{j <= k} a_j(x) U_j are a running sum. One candidate k is held
against one input after the other; an input that disagrees refutes it, and every next k until it agrees. No k is passed
over that no input refutes, so the candidate that every input agrees with is the smallest. Running sums only ever go
forward: an input's neurons are added at most once, besides the pass for the whole network.
"""

from typing import no_type_check

import numba
import numpy as np
from jaxtyping import Float, Int


def smallest_agreeing_argmax(
    activations: Float[np.ndarray, "neuron example"],
    readout: Float[np.ndarray, "neuron output"],
    order: Int[np.ndarray, " neuron"],
    offset: Float[np.ndarray, " output"] | None = None,
) -> int | None:
    """Smallest k whose first k neurons in `order` give every example the whole network's argmax; None if NaN is about.

    Parameters
    ----------
    activations
        (neuron, example) of the hidden layer, after its nonlinearity.
    readout, offset
        (neuron, output), (output,): logits = offset + activationsᵀ readout; the offset, by default 0, is never pruned.
    order
        (neuron,) from first kept to first pruned.

    Returns
    -------
    k in 0..neuron. Logits are summed in float64, in this order, for the whole network too; of equal logits the first
    counts, as in `numpy.argmax`.

    References
    ----------
    Merrill et al. 2023, section 2.1, with argmax in place of the sign.

    Examples
    --------
    The first neuron decides; the second changes no argmax.

    >>> activations, readout = np.array([[1.0, 2.0], [1.0, 0.0]]), np.array([[1.0, 0.0], [0.5, 0.0]])
    >>> smallest_agreeing_argmax(activations, readout, np.array([0, 1]), offset=np.array([0.0, 0.5]))
    1
    """
    offset = np.zeros(readout.shape[1]) if offset is None else offset.astype(np.float64)
    rows = np.ascontiguousarray(activations.T)
    found = _smallest(rows, np.ascontiguousarray(readout, np.float64), order, offset)
    return None if found < 0 else int(found)


@no_type_check
@numba.njit(nogil=True, cache=True, error_model="numpy")
def _smallest(activations, readout, order, offset):
    """As above, of (example, neuron) activations; -1 where a logit of the whole network is NaN."""
    n_examples, width = activations.shape
    wanted = np.empty(n_examples, np.int64)
    logits = np.empty((n_examples, readout.shape[1]))
    for x in range(n_examples):
        logits[x] = offset
        _add(logits[x], activations[x], readout, order, 0, width)
        wanted[x] = _argmax(logits[x])
        if wanted[x] < 0:
            return -1
        logits[x] = offset
    reached = np.zeros(n_examples, np.int64)
    candidate, n_agreeing, x = 0, 0, 0
    while n_agreeing < n_examples:
        _add(logits[x], activations[x], readout, order, reached[x], candidate)
        n_agreeing += 1
        while candidate < width and _argmax(logits[x]) != wanted[x]:
            _add(logits[x], activations[x], readout, order, candidate, candidate + 1)
            candidate += 1
            n_agreeing = 1
        reached[x] = candidate
        x = (x + 1) % n_examples
    return candidate


@no_type_check
@numba.njit(nogil=True, cache=True, error_model="numpy", inline="always")
def _add(logits, activations, readout, order, start, stop):
    for place in range(start, stop):
        neuron = order[place]
        value = np.float64(activations[neuron])
        if value != 0.0:
            row = readout[neuron]
            for c in range(logits.shape[0]):
                logits[c] += value * row[c]


@no_type_check
@numba.njit(nogil=True, cache=True, error_model="numpy", inline="always")
def _argmax(logits):
    """Index of the first largest logit; -1 if one is NaN."""
    best = 0
    for c in range(logits.shape[0]):
        if logits[c] != logits[c]:
            return -1
        if logits[c] > logits[best]:
            best = c
    return best
