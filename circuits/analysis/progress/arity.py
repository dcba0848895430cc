"""Arity of a neuron: the number of its inputs that the network's predictions depend on.

One neuron of f(x) = uᵀ relu(W x + b) keeps its bias and its m largest |w_i| (ties go to the lower index). Its other
weights become 0, and the other neurons are unchanged. The arity is the smallest m for which sign f(x) stays the same
for every x in the agreement set (the inputs on which predictions are compared). Agreement need not be monotone in m, so
every m is tried, from 0 on. A neuron of arity 0 can be replaced by a constant.

The ArityFinder in the code released with Merrill et al. 2023 has the same aim. Its mask compares `argsort` indices, not
ranks, so it does not prune the smallest weights, and its search assumes monotone agreement.

Two exact shortcuts save time. Removing weights of a neuron changes f(x) by at most |u| Σ |w_i x_i|, summed over these
weights, so inputs of larger |f| are skipped. Inputs of smallest |f| are tried first. An output that is 0 up to rounding
is a third prediction, besides + and −. It occurs if no other neuron fires on x and the pruned neuron stops firing.
"""

from typing import no_type_check

import numba
import numpy as np
from jaxtyping import Float, Int, Real

SLACK = 1 + 1e-9  # allows for rounding in the sums that are bounds
ROUNDING = 1e-12  # share of the terms added and subtracted


def arities(
    W: Float[np.ndarray, "neuron input"],
    b: Float[np.ndarray, " neuron"],
    u: Float[np.ndarray, " neuron"],
    inputs: Real[np.ndarray, "example input"],
    outputs: Float[np.ndarray, " example"],
) -> Int[np.ndarray, " neuron"]:
    """Arity of every neuron: the number of its incoming weights that the network's predictions need.

    The network is f(x) = uᵀ relu(W x + b). `inputs` is the agreement set: the inputs on which predictions are compared.
    `outputs` holds f(x) for these inputs, computed in float64. An arity lies between 0 and the number of weights of one
    neuron in W. All arities are -1 if an output is not finite.

    Examples
    --------
    The first neuron needs one of its two inputs, the second none:

    >>> W, b, u = np.array([[3.0, 0.1], [0.2, 0.1]]), np.zeros(2), np.array([1.0, -1.0])
    >>> inputs = np.array([[1, 1], [1, -1]])
    >>> arities(W, b, u, inputs, np.maximum(inputs @ W.T, 0) @ u)
    array([1, 0], dtype=int16)
    """
    if not np.isfinite(outputs).all():
        return np.full(len(W), -1, np.int16)
    W, b, u = (values.astype(np.float64) for values in (W, b, u))
    by_margin = np.argsort(np.abs(outputs), kind="stable")
    inputs = np.ascontiguousarray(inputs[by_margin], np.float64)
    reach = np.abs(inputs).max(axis=0, initial=0.0)
    influence = np.abs(u) * (np.abs(W) @ reach)
    counts = np.zeros(len(W), np.int16)
    at = np.flatnonzero(influence * SLACK >= np.abs(outputs).min(initial=np.inf))  # all others have arity 0
    by_size = np.argsort(-np.abs(W[at]), axis=1, kind="stable")
    counts[at] = _arities(W[at], b[at], u[at], inputs, outputs[by_margin], reach, by_size)
    return counts


@no_type_check
@numba.njit(nogil=True, cache=True, error_model="numpy")
def _arities(W, b, u, inputs, outputs, reach, by_size):
    width, n_inputs = W.shape
    n_examples = len(inputs)
    counts = np.empty(width, np.int16)
    weights, most = np.empty(n_inputs), np.empty(n_inputs + 1)
    whole, partial, known = np.empty(n_examples), np.empty(n_examples), np.empty(n_examples, np.int64)
    for j in range(width):
        order = by_size[j]
        most[n_inputs] = 0.0
        for rank in range(n_inputs - 1, -1, -1):
            weights[rank] = W[j, order[rank]]
            most[rank] = most[rank + 1] + abs(u[j] * weights[rank]) * reach[order[rank]] * SLACK
        n_near = np.searchsorted(np.abs(outputs), most[0], side="right")
        for x in range(n_near):
            known[x] = -1
        last = 0  # the input that disagreed last: it often does again
        arity = n_inputs
        for m in range(n_inputs):
            while n_near > 0 and abs(outputs[n_near - 1]) > most[m]:
                n_near -= 1
            agrees = True
            for turn in range(-1, n_near):
                x = last if turn < 0 else turn
                if x >= n_near:
                    continue
                if known[x] < 0:
                    partial[x], known[x], whole[x] = b[j], 0, b[j]
                    for rank in range(n_inputs):
                        whole[x] += weights[rank] * inputs[x, order[rank]]
                    whole[x] = max(whole[x], 0.0)
                for rank in range(known[x], m):
                    partial[x] += weights[rank] * inputs[x, order[rank]]
                known[x] = m
                added, taken = u[j] * max(partial[x], 0.0), u[j] * whole[x]
                changed = outputs[x] + (added - taken)
                if abs(changed) <= ROUNDING * (abs(outputs[x]) + abs(taken)) and added != taken:
                    changed = 0.0
                if np.sign(changed) != np.sign(outputs[x]):
                    agrees, last = False, x
                    break
            if agrees:
                arity = m
                break
        counts[j] = arity
    return counts
