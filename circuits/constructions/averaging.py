"""What a neuron gives on each pattern of the relevant bits, the other bits averaged out.

For a neuron relu(w·x + b) and a pattern z of the k relevant bits, the mean over uniform other bits is
E relu(a + Y) with a = w_S·z + b and Y = Σ ±w_i over the others. It is not relu(a), the value at their mean: relu is
convex, so the average is larger, most of all near the kink a ≈ 0, where the neurons of a trained network sit.

Y is a sum of independent signs. Where no choice of them moves the neuron over its kink the average is relu(a) exactly.
Otherwise the largest other weights are summed over all their signs, and the rest of Y, small and many, is taken as
normal with its own variance σ² and fourth cumulant κ = -2 Σ w_i⁴:

    E relu(a + Y) ≈ mean over the signs of  x Φ(x/σ) + σ φ(x/σ) + κ/24 · φ_σ''(x),   x = a ± w_1 ± w_2 ± w_3 ± w_4

With at most eight other bits all of them are summed over, and nothing is approximate. Otherwise the error, relative to
‖(w, b)‖, was below 3e-5 for the neurons of a trained network with 37 other bits, and below 3e-3 for random ones with
11; equal other weights, whose sum is a lattice, are the worst case (1e-2 with 11).
"""

import math
from collections.abc import Sequence
from typing import no_type_check

import numba
import numpy as np
from jaxtyping import Float

from circuits.constructions.patterns import patterns

EXACT_BITS = 8  # at most so many other bits: all sign choices are summed
SUMMED_BITS = 4  # otherwise so many, the largest


def averaged_activations(
    W: Float[np.ndarray, "neuron input"], b: Float[np.ndarray, " neuron"], support: Sequence[int]
) -> Float[np.ndarray, "neuron pattern"]:
    """E relu(w·x + b) on each pattern of the bits in `support`, over uniform other bits, float64.

    Parameters
    ----------
    W, b
        (neuron, input), (neuron,).
    support
        The k relevant bits; patterns are in the order of `patterns(k)`.

    Returns
    -------
    (neuron, pattern) >= 0; NaN for a neuron with a weight that is not finite.

    Examples
    --------
    A neuron at its kink fires for half of the other bit: 1/2, where relu at the mean would be 0.

    >>> averaged_activations(np.array([[1.0, 1.0]]), np.array([-1.0]), [0])
    array([[0. , 0.5]])
    """
    bits = list(support)
    weights, bias = W.astype(np.float64), b.astype(np.float64)
    means = weights[:, bits] @ patterns(len(bits)).T.astype(np.float64) + bias[:, None]
    others = np.abs(np.delete(weights, bits, axis=1))
    n_summed = others.shape[1] if others.shape[1] <= EXACT_BITS else SUMMED_BITS
    largest_first = -np.sort(-others, axis=1)
    signs = patterns(n_summed).astype(np.float64) if n_summed else np.zeros((1, 0))
    return _averages(means, largest_first, signs)


@no_type_check
@numba.njit(nogil=True, cache=True, error_model="numpy")
def _averages(means, others, signs):
    """E relu(a + Y) for a in `means` (neuron, pattern); `others` (neuron, bit) >= 0 and falling."""
    n_neurons, n_patterns = means.shape
    n_choices, n_summed = signs.shape
    result = np.empty((n_neurons, n_patterns))
    shifts = np.empty(n_choices)
    for j in range(n_neurons):
        reach, variance, fourth = 0.0, 0.0, 0.0
        for i in range(others.shape[1]):
            reach += others[j, i]
            if i >= n_summed:
                square = others[j, i] * others[j, i]
                variance += square
                fourth -= 2.0 * square * square
        for c in range(n_choices):
            shifts[c] = 0.0
            for i in range(n_summed):
                shifts[c] += signs[c, i] * others[j, i]
        spread = math.sqrt(variance)
        for z in range(n_patterns):
            a = means[j, z]
            if not (a - a == 0.0 and reach - reach == 0.0):  # inf or NaN
                result[j, z] = np.nan
            elif a >= reach or a <= -reach:
                result[j, z] = a if a > 0.0 else 0.0
            else:
                total = 0.0
                for c in range(n_choices):
                    total += _smoothed(a + shifts[c], spread, fourth)
                result[j, z] = total / n_choices
    return result


@no_type_check
@numba.njit(nogil=True, cache=True, error_model="numpy")
def _smoothed(x, spread, fourth):
    """E relu(x + N) for N of mean 0, this standard deviation and fourth cumulant."""
    if spread == 0.0 or abs(x) > 9.0 * spread:  # beyond 9 σ a normal adds less than 1e-19 σ
        return x if x > 0.0 else 0.0
    t = x / spread
    density = math.exp(-0.5 * t * t) * 0.3989422804014327
    below = 0.5 * math.erfc(-t * 0.7071067811865476)
    correction = fourth / 24.0 * (t * t - 1.0) * density / (spread * spread * spread)
    return x * below + spread * density + correction
