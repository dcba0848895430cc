"""Restricted and excluded loss: cross-entropy with only, or without, selected frequencies of x + y.

    s            sum of a tuple's operands x and y in the cyclic group Z_m
    c            a class; r is the right class of the tuple
    L(c)         logit of class c for one tuple
    L̄(s, c)      mean of L(c) over all tuples with sum s
    L_k(s, c)    (2/m) Σ_t cos(2πk(s - t)/m) L̄(t, c), the component of L̄ at frequency k (if k = m/2: 1/m, not 2/m)

For each class, L_k is a sum of cos(2πks/m) and sin(2πks/m) with weights of this class. A frequency k is *key* if the
part cos(2πk(s - c)/m) of L_k explains a large share of the logits at the end of training (`logit_frequencies`). Nanda
et al. 2023, section 5.1, define two losses, each the cross-entropy of changed logits:

    restricted    logits = mean over tuples + Σ_{key k} L_k         only the key frequencies of x + y: the circuit alone
    excluded      logits = L - Σ_{key k} L_k                        all the rest, the memorized part

Both losses keep the mean over tuples: the constant bias of each class. If a single frequency k is removed instead of
all key frequencies, the excluded loss of one tuple is

    loss = log Σ_c e^{L(c) - L(r)} e^{-(L_k(s, c) - L_k(s, r))}

Only the second factor depends on k. It is the same for all tuples with sum s, since s determines r. So for each s, one
matrix product gives the sums over c for all tuples and all k. The term c = r is 1. If the other terms add up to q, the
loss is computed in float64 as log(1 + q): even a loss of 1e-12 has full precision.
"""

import numpy as np
from jaxtyping import Bool, Float, Float64, Int
from scipy.special import logsumexp

from circuits.analysis.fourier.basis import cyclic_basis, n_frequencies

LARGEST_EXPONENT = 700.0  # exp(700) is below the largest float64, and exp(-700) above the smallest


def wave_components(averaged: Float[np.ndarray, "element class"]) -> Float64[np.ndarray, "frequency element class"]:
    """Parts of `averaged` at each frequency k = 1, 2, ...: for each class, a sum of cos(2πks/m) and sin(2πks/m).

    Row s of `averaged` holds the logits averaged over all tuples with sum s, in the cyclic group Z_m. The parts at all
    frequencies and the mean over s add up to `averaged`.

    Examples
    --------
    >>> wave_components(np.array([[3.0, 0.0], [1.0, 0.0]]))  # on Z_2: the mean 2 and the alternating term
    array([[[ 1.,  0.],
            [-1.,  0.]]])
    """
    m = len(averaged)
    basis = cyclic_basis(m)
    coefficients = basis.T @ averaged  # (function, class)
    waves = [slice(2 * k + 1, 2 * k + 3) for k in range(n_frequencies(m))]
    return np.stack([basis[:, wave] @ coefficients[wave] for wave in waves])


def restricted_losses(
    by_sum: Float[np.ndarray, "element tuple_of_sum class"],
    classes: Int[np.ndarray, " element"],
    kept: Bool[np.ndarray, "subset frequency"],
) -> Float64[np.ndarray, "element subset"]:
    """Cross-entropy in nats after all Fourier components but the `kept` frequencies are removed from the logits.

    Row s of `by_sum` holds the logits of all tuples of operands whose sum in the cyclic group is s. `classes[s]` is the
    right class for these tuples. What stays is a function of s: the mean of each logit over all tuples, and its
    components at the frequencies of one row (mask) of `kept`. So there is one loss per s (axis `element`) and row.

    Examples
    --------
    >>> cosines = np.cos(2 * np.pi * (np.arange(3)[:, None] - np.arange(3)) / 3)
    >>> by_sum = np.repeat(9 * cosines[:, None], 3, axis=1)
    >>> restricted_losses(by_sum, np.arange(3), np.array([[True], [False]])).max(axis=0).round(5).tolist()
    [0.0, 1.09861]
    """
    averaged = (by_sum - by_sum.mean(axis=2, keepdims=True, dtype=np.float64)).mean(axis=1)
    components = wave_components(averaged)
    logits = averaged.mean(axis=0) + np.tensordot(kept.astype(np.float64), components, 1)  # (subset, element, class)
    return cross_entropies(logits, classes).T


def excluded_losses(
    by_sum: Float[np.ndarray, "element tuple_of_sum class"],
    classes: Int[np.ndarray, " element"],
    removed: Bool[np.ndarray, "subset frequency"],
) -> Float64[np.ndarray, "element tuple_of_sum subset"]:
    """Loss of each tuple of operands after some frequencies are removed from the logits: cross-entropy, in nats.

    Row s of `by_sum` holds the logits of all tuples of operands whose sum in the cyclic group is s. `classes[s]` is the
    right class for these tuples. Each row of `removed` is a mask of the frequencies to remove. To remove frequency
    k, the best fit by cos(2πks/m) and sin(2πks/m) is subtracted from each class's logit; m is the number of sums s.

    Examples
    --------
    >>> cosines = np.cos(2 * np.pi * (np.arange(3)[:, None] - np.arange(3)) / 3)
    >>> by_sum = np.repeat(9 * cosines[:, None], 3, axis=1)
    >>> excluded_losses(by_sum, np.arange(3), np.array([[True], [False]])).max(axis=(0, 1)).round(5).tolist()
    [1.09861, 0.0]
    """
    element = np.arange(len(by_sum))
    by_sum = by_sum.astype(np.float64)
    by_sum -= by_sum[element, :, classes][:, :, None]  # a softmax ignores this shift, which saves digits
    components = wave_components(by_sum.mean(axis=1))
    shifts = np.tensordot(removed.astype(np.float64), components, 1)  # (subset, element, class)
    shifts -= shifts[:, element, classes][:, :, None]
    if not np.abs(by_sum).max() + np.abs(shifts).max() <= LARGEST_EXPONENT:  # also for NaN
        without = (by_sum - shift[:, None] for shift in shifts)
        return np.stack([cross_entropies(logits, classes[:, None]) for logits in without], axis=2)
    np.exp(by_sum, out=by_sum)
    by_sum[element, :, classes] = 0.0  # e^0 = 1, added by log1p
    return np.log1p(by_sum @ np.exp(-shifts).transpose(1, 2, 0))


def cross_entropies(
    logits: Float64[np.ndarray, "*examples class"], targets: Int[np.ndarray, "*any"]
) -> Float64[np.ndarray, "*examples"]:
    """-log softmax(logits) at the classes `targets` (broadcast to the examples), in nats; precise for small losses.

    Examples
    --------
    >>> cross_entropies(np.array([[0.0, 0.0], [50.0, 0.0]]), np.array([0, 0]))
    array([6.93147181e-01, 1.92874985e-22])
    """
    own = np.broadcast_to(targets[..., None], (*logits.shape[:-1], 1))
    others = logits - np.take_along_axis(logits, own, axis=-1)
    np.put_along_axis(others, own, -np.inf, axis=-1)
    return np.logaddexp(0.0, logsumexp(others, axis=-1))


def mean_losses(
    losses: Float64[np.ndarray, "element tuple_of_sum subset"], members: Bool[np.ndarray, "set element tuple_of_sum"]
) -> Float64[np.ndarray, "set subset"]:
    """Mean loss over each set of tuples, for each subset of frequencies; NaN for an empty set.

    A tuple is one choice of operands, such as (x, y). Row s of `losses` has all tuples with the sum s, one per column.
    Each tuple has one loss per subset. `members[i, s, j]` says whether set i, such as the train set, has tuple (s, j).

    Examples
    --------
    >>> losses = np.array([[[1.0], [3.0]]])
    >>> mean_losses(losses, np.array([[[True, True]], [[False, True]], [[False, False]]]))[:, 0].tolist()
    [2.0, 3.0, nan]
    """
    sizes = members.sum(axis=(1, 2))[:, None]
    sums = np.tensordot(members.astype(np.float64), losses, 2)
    return np.divide(sums, sizes, out=np.full(sums.shape, np.nan), where=sizes > 0)
