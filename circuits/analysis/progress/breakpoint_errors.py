"""Factors λ that widen the confidence intervals of a ramp's breakpoints for uneven or correlated residuals.

A ramp is constant, then a straight line, then constant; its breakpoints are the onset and the end of the line. The
interval of a breakpoint comes from the profile likelihood ratio. In white noise of constant size, this ratio follows
χ²₁, the χ² distribution with one degree of freedom. In other noise, the ratio follows λ times χ²₁ (sandwich estimator;
White 1982, "Maximum likelihood estimation of misspecified models"). The code computes λ for one breakpoint from the
residuals e of n points, in this order:

    sᵢ    local size of the residuals at point i
    ρ     correlation between neighboring points of the noise, by `unbiased_autocorrelation` from the values e/s
    R     matrix of the noise's correlations Rᵢⱼ = ρ^|i−j| between the points i and j
    J     matrix (point, parameter) of the ramp's derivatives with respect to its four parameters
    xᵢ    change of the breakpoint per change of the curve at point i: the breakpoint's row of (JᵀJ)⁻¹ Jᵀ
    H     projection on the columns of J
    V₀    Σᵢ xᵢ² · Σᵢ eᵢ²/n, the breakpoint's variance if the noise is white and has the variance Σᵢ eᵢ²/n
    V₁    Σᵢⱼ xᵢ sᵢ Rᵢⱼ sⱼ xⱼ, a first estimate of the breakpoint's variance in the noise
    V₂    Σᵢ xᵢ² sᵢ² (1 + ρ)/(1 − ρ), a second estimate: the limit of V₁ for a long ramp
    V     √(V₁ V₂) · (n − 4)/(n − tr HR), the final estimate. The fit absorbs some noise; the quotient corrects for this
    m     n (1 − ρ)/(1 + ρ) − 4, but at least 6: effective number of independent residuals minus the parameters
    q     quantile of F(1, m) / quantile of χ²₁, both at the interval's level: a correction for a small m
    λ     V/V₀ · q

V₁ would be exact if the breakpoint were a linear function of the noise, but it is not. With V₁ in place of √(V₁ V₂),
the coverage of 95 % intervals in simulations is between .84 and .98. With V₂ in place of √(V₁ V₂), the intervals of a
short ramp in strongly correlated noise are too wide.
"""

import math
from typing import no_type_check

import numba
import numpy as np
from jaxtyping import Float
from scipy.special import chdtri, fdtri

N_PARAMETERS = 4  # of a ramp: two levels, two breakpoints
WINDOW = 0.1  # share of the points on either side that give the local size of a residual
LEAST_WINDOW = 5  # points on either side
LEAST_FREEDOM = 6  # degrees of freedom of F; fewer would double the overstatement by (1 + ρ)/(1 − ρ)
LARGEST_RHO = 0.99
LEAST_SIZE = 0.25  # share of the root mean square; limits the weight of tiny residuals, as of a test accuracy at 1
LEAST_UNEXPLAINED = 0.1  # least value of 1 minus the leverage
PLACES = np.array([[0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.5, 0.5], [0.0, 0.0, 0.0, 1.0]])  # onset, middle, end


def breakpoint_inflation(
    t: Float[np.ndarray, " point"],
    residuals: Float[np.ndarray, " point"],
    onset: float,
    end: float,
    rise: float,
    coverage: float = 0.95,
) -> Float[np.ndarray, " place"]:
    """Factors λ that correct the confidence intervals of a ramp's onset, middle and end for uneven, correlated noise.

    The ramp is fitted to a curve at n positions `t`, which ascend strictly. It is constant until `onset`, changes by
    `rise` (not 0) along a straight line, and is constant after `end`. `residuals` are the curve minus the ramp.
    The interval of the onset compares the ramp with other ramps. Let RSS_min be the ramp's residual sum of squares,
    RSS(o) that of the best ramp with the onset o, and c the quantile of χ²₁ at the level `coverage` (in 0..1). The
    interval has all o with n log(RSS(o)/RSS_min) <= λ c. Middle and end follow the same rule, each with its own λ.
    Each λ is positive. It is 1 for white noise of constant size on many points, and for a perfect fit.

    Examples
    --------
    >>> t, noise = np.arange(4000.0), np.random.default_rng(0).normal(size=4000)
    >>> breakpoint_inflation(t, noise, 1500.0, 2500.0, 10.0).round(1)
    array([1., 1., 1.])
    >>> averaged = np.convolve(noise, np.ones(9), "same")
    >>> bool(breakpoint_inflation(t, averaged, 1500.0, 2500.0, 10.0).min() > 5)
    True
    """
    n = len(t)
    square = float((residuals**2).sum())
    if square == 0:
        return np.ones(len(PLACES))
    slopes = ramp_slopes(t, onset, end, rise)
    size = np.sqrt((slopes**2).sum(axis=0))  # of each column; removes the units
    scaled = slopes / np.where(size > 0, size, 1)
    basis, values, rotation = np.linalg.svd(scaled, full_matrices=False)
    determined = values > 1e-6 * values[0]  # excludes a level that has no point but the breakpoint
    basis, inverse = basis[:, determined], rotation[determined].T / values[determined]  # A⁻¹ = inverse inverseᵀ
    leverage = np.minimum((basis**2).sum(axis=1), 1 - LEAST_UNEXPLAINED)
    sizes = local_sizes(residuals / np.sqrt(1 - leverage))
    rho = unbiased_autocorrelation(residuals / np.maximum(sizes, LEAST_SIZE * math.sqrt(square / n)), basis)
    independent = effective_number(n, rho)
    remaining = n - _projected(basis, rho)[0]
    along = PLACES @ (inverse / np.where(size > 0, size, 1)[:, None])  # (place, basis)
    influence = (along @ basis.T) * sizes  # (place, point)
    linear, longest = _correlated_square(influence, rho), (influence**2).sum(axis=1) * n / independent
    uneven = np.sqrt(linear * longest) * (n - N_PARAMETERS) / remaining
    even = (along**2).sum(axis=1) * square / n
    quantile = fdtri(1, max(independent - N_PARAMETERS, LEAST_FREEDOM), coverage) / chdtri(1, 1 - coverage)
    return np.where(even > 0, uneven / np.where(even > 0, even, 1), n / independent) * quantile


def ramp_slopes(
    t: Float[np.ndarray, " point"], onset: float, end: float, rise: float
) -> Float[np.ndarray, "point parameter"]:
    """Derivatives of a ramp at each position in `t` with respect to each of the ramp's four parameters.

    The ramp is constant until `onset`, changes by `rise` along a straight line, and is constant after `end`. The
    parameters are the level before the onset (column 0), the level after the end (1), the onset (2) and the end (3).

    Examples
    --------
    >>> ramp_slopes(np.array([0.0, 1.5, 3.0]), 1.0, 2.0, 4.0) + 0.0
    array([[ 1. ,  0. ,  0. ,  0. ],
           [ 0.5,  0.5, -2. , -2. ],
           [ 0. ,  1. ,  0. ,  0. ]])
    """
    share = np.clip((t - onset) / (end - onset), 0, 1)
    steepness = np.where((t >= onset) & (t <= end), rise / (end - onset), 0.0)
    return np.stack([1 - share, share, -steepness * (1 - share), -steepness * share], axis=1)


def local_sizes(residuals: Float[np.ndarray, " point"]) -> Float[np.ndarray, " point"]:
    """Root mean square of the residuals around each point, over a tenth of all points (at least 5 points) per side.

    Examples
    --------
    >>> local_sizes(np.repeat([1.0, -3.0], 40))[[0, 31, 48, 79]]
    array([1., 1., 3., 3.])
    """
    n = len(residuals)
    half = max(LEAST_WINDOW, int(WINDOW * n))
    sums = np.concatenate([[0.0], np.cumsum(residuals**2)])
    at = np.arange(n)
    first, last = np.maximum(at - half, 0), np.minimum(at + half + 1, n)
    squares = np.maximum(sums[last] - sums[first], 0) / (last - first)
    return np.sqrt(np.maximum(squares, 1e-12 * squares.max()))


def effective_number(n: int, rho: float) -> float:
    """Effective number of independent residuals: n (1 − ρ)/(1 + ρ) clipped to 2..n; ρ is the correlation of neighbors.

    Examples
    --------
    >>> effective_number(90, 0.8), effective_number(90, -0.5), effective_number(90, 1.0)
    (9.999999999999998, 90.0, 2.0)
    """
    return float(n) if rho <= 0 else max(n * (1 - rho) / (1 + rho), 2.0)


def autocorrelation(residuals: Float[np.ndarray, " point"]) -> float:
    """Correlation of neighboring residuals, in -1..1; 0 if all residuals are 0.

    Examples
    --------
    >>> autocorrelation(np.array([1.0, -1.0] * 50)), autocorrelation(np.repeat([1.0, -1.0], 50))
    (-0.99, 0.97)
    """
    square = float((residuals**2).sum())
    return float((residuals[1:] * residuals[:-1]).sum()) / square if square else 0.0


def unbiased_autocorrelation(
    residuals: Float[np.ndarray, " point"], basis: Float[np.ndarray, "point parameter"]
) -> float:
    """Correlation ρ of neighboring points of noise, in 0..0.99, estimated from the `residuals` of a linear fit.

    The fit absorbs some of the noise, so neighboring residuals are less correlated than the noise. To correct for
    this, the code assumes AR(1) noise (first-order autoregressive). For any ρ, it can compute how correlated residuals
    of the same fit to such noise are on average. The result is the ρ for which this average equals the correlation of
    `residuals`. `basis` is an orthonormal basis of all curves that the fit can give.

    Examples
    --------
    >>> random = np.random.default_rng(4)
    >>> noise, basis = np.cumsum(random.normal(size=100)), np.linalg.qr(np.vander(np.arange(100.0), 3))[0]
    >>> rest = noise - basis @ (basis.T @ noise)
    >>> bool(unbiased_autocorrelation(rest, basis) > autocorrelation(rest) > 0.5)
    True
    """
    measured, low, high = autocorrelation(residuals), 0.0, LARGEST_RHO
    if measured <= _expected_autocorrelation(basis, low):
        return low
    if measured >= _expected_autocorrelation(basis, high):
        return high
    while high - low > 1e-4:
        middle = (low + high) / 2
        if _expected_autocorrelation(basis, middle) < measured:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _expected_autocorrelation(basis: Float[np.ndarray, "point parameter"], rho: float) -> float:
    """Ratio E Σ eᵢ eᵢ₊₁ / E Σ eᵢ² of the residuals e after a fit of `basis` to AR(1) noise with correlation `rho`."""
    n = len(basis)
    removed, products = _projected(basis, rho)
    return float(((n - 1) * rho - products) / (n - removed))


@no_type_check
@numba.njit(nogil=True, cache=True, error_model="numpy")
def _correlated_square(x, rho):
    """Sum Σᵢⱼ xᵢ ρ^|i−j| xⱼ for each row x."""
    result = np.zeros(len(x))
    for row in range(len(x)):
        before = 0.0
        for i in range(x.shape[1]):
            result[row] += x[row, i] * (x[row, i] + 2.0 * before)
            before = rho * (before + x[row, i])
    return result


@no_type_check
@numba.njit(nogil=True, cache=True, error_model="numpy")
def _projected(basis, rho):
    """The differences E Σ uᵢ² − E Σ eᵢ² and E Σ uᵢ uᵢ₊₁ − E Σ eᵢ eᵢ₊₁, for noise u and the residuals e of a fit to u.

    u is AR(1) noise with variance 1 and correlation ρ. The residuals are e = u − Hu, where H is the projection on
    `basis`. Let R be the matrix Rᵢⱼ = ρ^|i−j|, and D the matrix with 1/2 where |i−j| = 1 and 0 elsewhere. Then the
    first difference is tr HR, and the second is tr D(HR + RH − HRH).
    """
    n, p = basis.shape
    filtered = np.zeros((n, p))  # R basis
    for a in range(p):
        before = 0.0
        for i in range(n):
            before = rho * before + basis[i, a]
            filtered[i, a] = before
        after = 0.0
        for i in range(n - 1, -1, -1):
            filtered[i, a] += rho * after
            after = rho * after + basis[i, a]
    both, shifted = np.zeros((p, p)), np.zeros((p, p))  # basisᵀ R basis, basisᵀ D basis
    cross = 0.0  # tr basisᵀ D R basis
    for a in range(p):
        for i in range(n):
            beside = 0.0
            if i > 0:
                beside += 0.5 * basis[i - 1, a]
            if i < n - 1:
                beside += 0.5 * basis[i + 1, a]
            cross += beside * filtered[i, a]
            for c in range(p):
                both[a, c] += basis[i, a] * filtered[i, c]
                shifted[c, a] += basis[i, c] * beside
    removed, quartic = 0.0, 0.0
    for a in range(p):
        removed += both[a, a]
        for c in range(p):
            quartic += shifted[a, c] * both[c, a]
    return removed, 2.0 * cross - quartic
