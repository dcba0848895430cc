"""The mean of a relu over many random signs, by a Fourier series with a rigorous bound of its error.

Y is Σ ±w_i over independent uniform signs, so E relu(x + Y) = (x + E|x + Y|)/2. To find E|x + Y|, the code smooths |y|:
g(y) = E|y + εZ|, with Z standard normal. With φ the density of Z, g(y) - |y| is between 0 and 2ε φ(y/ε). So

    E g(x + Y) - 2ε E φ((x + Y)/ε)  <=  E|x + Y|  <=  E g(x + Y).

The estimate of E|x + Y| is the midpoint of these bounds, with an error of at most ε E φ((x + Y)/ε). If Y has a density
p, this error bound is about ε² p(-x). If p is also smooth over a distance ε, the true error is far smaller, of order
ε⁴ p''. The error bound for E relu(x + Y) is half as large.

Both bounds follow from the characteristic function of Y. A triangular wave of half-period R replaces |y|; the two are
equal while |y| <= R. With θ_m = (2m + 1) π/R and P_m = exp(-ε² θ_m²/2) Π_i cos(θ_m w_i) for m = 0, 1, …:

    E g = R/2 - 4R/π² Σ_m P_m cos(θ_m x) / (2m + 1)²,       2ε E φ = 4ε²/R Σ_m P_m cos(θ_m x).

The code adds the terms up to θ_m of about 4/ε. In the omitted terms, exp(-ε² θ_m²/2) is at most exp(-8) and every
cosine is at most 1, which bounds the error. R need not cover values of Y beyond 8 standard deviations: Hoeffding's
inequality (1963) bounds their probability by 2 exp(-32).
"""

import math
from typing import no_type_check

import numba
import numpy as np

MOST_TERMS = 4096
END = 4.0  # the series end at θ = END/ε
FAR = 8.0  # standard deviations of Y


@no_type_check
@numba.njit(nogil=True, cache=True)
def smoothing(reach, spread, farthest, target):
    """Choose (width, half_period, n_terms) of a Fourier series for E relu(x + Y), with Y = Σ ±w_i over random signs.

    `width` is the standard deviation of the normal noise that smooths the kink of relu. The series has `n_terms` terms
    and the period 2 · `half_period`. The error bound of the series is about `target` if Y is normal. `reach` is the
    largest |Y|, `spread` the standard deviation of Y, `farthest` the largest |x|.
    """
    span = min(reach, FAR * spread) + farthest
    width = math.sqrt(5.0 * target * spread)
    width = max(width, END * span / (2.0 * math.pi * MOST_TERMS - 8.0 * END))
    half_period = span + 8.0 * width
    return width, half_period, math.ceil(END * half_period / (2.0 * math.pi * width))


@no_type_check
@numba.njit(nogil=True, cache=True, error_model="numpy", fastmath={"reassoc", "contract", "arcp", "nsz"})
def series_sums(at, weights, width, half_period, n_terms, by_square, plain):
    """For each x in `at`, write Σ_m P_m cos(θ_m x) to `plain`, and Σ_m P_m cos(θ_m x)/(2m + 1)² to `by_square`.

    Here m < n_terms, θ_m = (2m + 1) π / half_period and P_m = exp(-(width θ_m)²/2) Π_i cos(θ_m weights_i).
    """
    n_weights, n_at = len(weights), len(at)
    base = math.pi / half_period
    cos_w, sin_w = np.cos(base * weights), np.sin(base * weights)
    turn_cos, turn_sin = np.cos(2.0 * base * weights), np.sin(2.0 * base * weights)
    cos_a, sin_a = np.cos(base * at), np.sin(base * at)
    turn_cos_a, turn_sin_a = np.cos(2.0 * base * at), np.sin(2.0 * base * at)
    by_square[:n_at], plain[:n_at] = 0.0, 0.0
    smooth = math.exp(-0.5 * (width * base) ** 2)  # times q^8, q^16, … for q = exp(-(ε π/R)²/2): squares of 1, 3, 5, …
    ratio, turn = smooth**8, smooth**8
    for m in range(n_terms):
        product = smooth
        smooth, ratio = smooth * ratio, ratio * turn
        for j in range(n_weights):
            product *= cos_w[j]
            turned = cos_w[j] * turn_cos[j] - sin_w[j] * turn_sin[j]
            sin_w[j] = sin_w[j] * turn_cos[j] + cos_w[j] * turn_sin[j]
            cos_w[j] = turned
        smaller = product / ((2.0 * m + 1.0) * (2.0 * m + 1.0))
        for i in range(n_at):
            by_square[i] += smaller * cos_a[i]
            plain[i] += product * cos_a[i]
            turned = cos_a[i] * turn_cos_a[i] - sin_a[i] * turn_sin_a[i]
            sin_a[i] = sin_a[i] * turn_cos_a[i] + cos_a[i] * turn_sin_a[i]
            cos_a[i] = turned


@no_type_check
@numba.njit(nogil=True, cache=True)
def bracket(x, by_square, plain, reach, width, half_period, n_terms):
    """Estimate of E relu(x + Y), for Y = Σ ±w_i with random signs, and a bound of the estimate's error.

    E relu(x + Y) is (x + E|x + Y|)/2. Let Z be normal noise of standard deviation `width`. Then E|x + Y + Z| exceeds
    E|x + Y| by at most some D, so E|x + Y + Z| - D/2 estimates E|x + Y|. The code computes E|x + Y + Z| and D from
    Fourier series in x with the period 2 · half_period. `series_sums` has added `n_terms` terms of each series:
    `by_square` is the sum for E|x + Y + Z|, and `plain` is the sum for D. `reach` is Σ|w_i|.
    """
    smoothed = half_period / 2 - 4 * half_period / math.pi**2 * by_square
    excess = 4 * width**2 / half_period * plain
    ends = math.exp(-0.5 * END**2)
    beyond = half_period * ends / (math.pi**2 * n_terms)
    beyond += 4 * width**2 / half_period * ends * (1 + half_period / (2 * math.pi * width * END))
    beyond += 4 * math.exp(-0.5 * FAR**2) * reach
    value = 0.5 * (x + smoothed - 0.5 * excess)
    return max(value, x, 0.0), 0.5 * (0.5 * abs(excess) + beyond)
