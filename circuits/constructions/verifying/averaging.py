"""Mean activation of a neuron over all values of the irrelevant bits, for each pattern (setting of the relevant bits).

For a neuron relu(w·x + b) and one pattern, this mean is E[relu(a + Y)]. The number a is b plus the sum of w_i x_i over
the relevant bits. Y = Σ ±w_i is the sum over the irrelevant bits, with random signs. Since relu is convex, the mean is
at least relu(a). The difference is largest if |a| is small, as in trained neurons.

In three cases, the computed mean is exact, apart from float rounding and tiny weights (see below):

- |a| is at least Σ|w_i|, so no choice of signs moves the neuron over its kink. Then the mean is relu(a).
- At most 24 of the w_i in Y are not 0, or many |w_i| are equal or on a lattice (`half_sums`).
- Each |w_i| is at least the sum of all smaller ones. The code treats both signs of the largest weight separately, then
  both signs of the next, until the first case applies. For a = 2 and Y = ±4 ± 2 ± 1, the sign + of the 4 leaves
  6 ± 2 ± 1 with the mean 6. The sign - leaves -2 ± 2 ± 1, whose relu has the mean 1/4. The result is (6 + 1/4) / 2.

Otherwise a Fourier series gives the mean with a rigorous bound on its error (`kink_series`). The bound is at most
about 4e-6 of ‖(w, b)‖ if Y has about the density of a normal distribution with the same standard deviation. The actual
error was below 1e-9 for random weights. In all cases, the code first leaves out the smallest w_i in Y. The L2 norm of
these w_i is below 1.2e-13 of ‖(w, b)‖. The mean falls by at most half of this norm. The error bound includes the fall.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple, no_type_check

import numba
import numpy as np
from jaxtyping import Float

from circuits.constructions.patterns import patterns
from circuits.constructions.verifying.half_sums import MOST_VALUES, half_laws, mean_relu, values_allowed
from circuits.constructions.verifying.kink_series import FAR, bracket, series_sums, smoothing

TARGET = 2.0**-18  # of ‖(w, b)‖: aim for the bound of the series
NEGLIGIBLE = 2.0**-44  # of ‖(w, b)‖
LARGE = 0.3  # the code sums over the sign of a weight above this share of the sum of all smaller ones
MOST_LEAVES = 8  # values per pattern after summing over the signs of large weights


class Averages(NamedTuple):
    """Mean activations over the irrelevant bits, and a bound on each error: 0 if exact up to float rounding."""

    means: Float[np.ndarray, "neuron pattern"]
    bounds: Float[np.ndarray, "neuron pattern"]


def averaged_activations(
    W: Float[np.ndarray, "neuron input"], b: Float[np.ndarray, " neuron"], relevant_bits: Sequence[int]
) -> Float[np.ndarray, "neuron pattern"]:
    """Mean activation E relu(w·x + b) on each setting of the relevant bits, with the other bits uniform in ±1, float64.

    The settings of the k relevant bits are in the order of `patterns(k)`. A neuron with an inf or NaN weight gets NaN.

    Examples
    --------
    On the second pattern the neuron is at its kink: the average is 1/2, but relu at the mean would be 0.

    >>> averaged_activations(np.array([[1.0, 1.0]]), np.array([-1.0]), [0])
    array([[0. , 0.5]])
    """
    return bounded_averages(W, b, relevant_bits).means


def bounded_averages(
    W: Float[np.ndarray, "neuron input"], b: Float[np.ndarray, " neuron"], relevant_bits: Sequence[int]
) -> Averages:
    """Means of relu(w·x + b) over irrelevant bits, for each setting of the relevant bits, and rigorous error bounds.

    Examples
    --------
    Of the 40 irrelevant bits, 30 have weight 1, ten have weight 0. Their weighted sum is binomial: the means are exact.

    >>> W = np.r_[np.ones(31), np.zeros(10)][None]
    >>> means, bounds = bounded_averages(W, np.zeros(1), [0])
    >>> means.round(4).tolist(), bounds.tolist()
    ([[1.7392, 2.7392]], [[0.0, 0.0]])
    """
    bits = list(relevant_bits)
    weights, bias = W.astype(np.float64), b.astype(np.float64)
    means = weights[:, bits] @ patterns(len(bits)).T.astype(np.float64) + bias[:, None]
    others = -np.sort(-np.abs(np.delete(weights, bits, axis=1)))
    sizes = np.abs(np.concatenate([weights, bias[:, None]], axis=1)).max(axis=1)
    _, exponents = np.frexp(sizes)
    with np.errstate(invalid="ignore"):  # powers of 2, so that squares neither vanish nor overflow
        norms = np.sqrt((np.ldexp(weights, -exponents[:, None]) ** 2).sum(axis=1) + np.ldexp(bias, -exponents) ** 2)
        scaled = (np.ascontiguousarray(np.ldexp(part, -exponents[:, None])) for part in (means, others))
        averages, bounds = _averages(*scaled, norms)
    return Averages(np.ldexp(averages, exponents[:, None]), np.ldexp(bounds, exponents[:, None]))


@no_type_check
@numba.njit(nogil=True, cache=True, error_model="numpy")
def _averages(centers, others, norms):
    """Means of relu(a + Σ ±others) over random signs for each a in `centers` (neuron, pattern), and their error bounds.

    `others` (neuron, bit) holds each neuron's |weights| on the irrelevant bits, largest first. `norms` (neuron,) holds
    √(Σw² + b²), over all weights w and the bias b of the neuron.
    """
    n_neurons, n_patterns = centers.shape
    n_others, most = others.shape[1], MOST_LEAVES * n_patterns
    result, bounds = np.zeros((n_neurons, n_patterns)), np.zeros((n_neurons, n_patterns))
    values, shares = np.empty((2, 2, MOST_VALUES)), np.empty((2, 2, MOST_VALUES))
    at, weight, of = np.empty((2, most)), np.empty((2, most)), np.empty((2, most), np.int64)
    by_square, plain = np.empty(most), np.empty(most)
    for j in range(n_neurons):
        if norms[j] - norms[j] != 0.0:  # inf or NaN
            result[j], bounds[j] = np.nan, np.nan
            continue
        square, stop = 0.0, n_others
        while stop > 0 and 0.5 * math.sqrt(square + others[j, stop - 1] ** 2) <= NEGLIGIBLE * norms[j]:
            square += others[j, stop - 1] ** 2
            stop -= 1
        dropped = 0.5 * math.sqrt(square)
        reach = others[j, :stop].sum()
        now, count = 0, 0
        for z in range(n_patterns):
            a = centers[j, z]
            if abs(a) >= reach:
                result[j, z] = max(a, 0.0)
                bounds[j, z] = min(dropped, max(0.0, 0.5 * (reach + others[j, stop:].sum() - abs(a))))
            else:
                at[now, count], weight[now, count], of[now, count] = a, 1.0, z
                bounds[j, z] = dropped
                count += 1
        start = 0
        while start < stop and count > 0:
            # Summing over the sign of a large weight leaves few values near the kink.
            step = others[j, start]
            rest = others[j, start + 1 : stop].sum()
            if step < (rest if stop - start <= 24 else LARGE * rest) or 2 * count > most:
                break
            kept = 0
            for i in range(count):
                for sign in (-1.0, 1.0):
                    x, share = at[now, i] + sign * step, 0.5 * weight[now, i]
                    if abs(x) >= rest:
                        result[j, of[now, i]] += share * max(x, 0.0)
                    else:
                        at[1 - now, kept], weight[1 - now, kept], of[1 - now, kept] = x, share, of[now, i]
                        kept += 1
            now, count, start = 1 - now, kept, start + 1
        if count == 0:
            continue
        allowed = values_allowed(others[j], start, stop)
        counts, place = half_laws(others[j], start, stop, values, shares, allowed)
        if counts[0] > 0:
            first, second = values[0, place[0], : counts[0]], values[1, place[1], : counts[1]]
            own, other = shares[0, place[0], : counts[0]], shares[1, place[1], : counts[1]]
            for i in range(count):
                result[j, of[now, i]] += weight[now, i] * mean_relu(at[now, i], first, own, second, other)
            continue
        rest = others[j, start:stop].sum()
        spread = math.sqrt((others[j, start:stop] ** 2).sum())
        near, farthest = 0, 0.0
        for i in range(count):
            x = at[now, i]
            if abs(x) >= FAR * spread:  # Hoeffding: the tail adds less than 2e-15 of the spread
                result[j, of[now, i]] += weight[now, i] * max(x, 0.0)
            else:
                at[now, near], weight[now, near], of[now, near] = x, weight[now, i], of[now, i]
                farthest = max(farthest, abs(x))
                near += 1
        width, half_period, n_terms = smoothing(rest, spread, farthest, TARGET * norms[j])
        series_sums(at[now, :near], others[j, start:stop], width, half_period, n_terms, by_square, plain)
        for i in range(near):
            value, bound = bracket(at[now, i], by_square[i], plain[i], rest, width, half_period, n_terms)
            result[j, of[now, i]] += weight[now, i] * value
            bounds[j, of[now, i]] += weight[now, i] * bound
    return result, bounds
