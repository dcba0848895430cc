"""When a curve moves from one level to another: a ramp, flat - straight - flat, fitted by least squares.

    y(t) = a up to t₁,   b from t₂ on,   a straight line between (t₁, a) and (t₂, b)

with both breakpoints among the points of t. Given them, a and b are a linear regression; the sums over every segment
come from running sums, so that all pairs are tried and the fit is exact. The interval of t₁, of t₂ and of their middle
is that of the profile likelihood, n' log(RSS / RSS_min) ≤ χ²₁, and the curve moves at all only if the ramp beats a
constant by the Bayesian information criterion, n' log(RSS_const / RSS_min) > 3 log n'. Residuals are not independent
from checkpoint to checkpoint: with ρ their correlation from one to the next, n' = n (1 − ρ) / (1 + ρ) stands for n; in
the criterion ρ is the larger of that about the ramp and that about the constant, as a ramp takes up some of it.

Of noise alone (600 curves of 150 points, AR(1)) 0 % moves for white noise, 2 % at 0.6, 3 % at 0.8, 6 % at 0.9, but 47 %
at 0.99 and 59 % of random walks: these do go from one level to another. Of these two the ramp explains 0.9 in 5 % and
16 %, of the others in none.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.stats import chi2

LEAST_POINTS = 10
MOST_BREAKPOINTS = 256  # of more points, so many, evenly spread, may be breakpoints
PARAMETERS = 3  # of a ramp beyond a constant
PERFECT = 1e-12  # of the variance: what rounding leaves of a perfect fit

Estimate = tuple[float, float, float]  # value, low, high


class Ramp(NamedTuple):
    """A fitted ramp.

    `onset`, `middle`, `end` are (estimate, low, high) in units of t, the middle halfway between the other two; `before`
    and `after` its levels; `explained` the share of the variance, in 0..1; `moves` whether it beats a constant.
    """

    onset: Estimate
    middle: Estimate
    end: Estimate
    before: float
    after: float
    explained: float
    moves: bool


def fitted_ramp(t: Float[np.ndarray, " point"], y: Float[np.ndarray, " point"], coverage: float = 0.95) -> Ramp | None:
    """The ramp nearest to a curve; None for fewer than 10 finite points, or a curve that is constant.

    Parameters
    ----------
    t, y
        (point,) where, strictly ascending, and the curve; points where y is not finite are left out.
    coverage
        Of the intervals, in 0..1. They are widened by one point either way, as no place between points is tried.

    References
    ----------
    Profile likelihood of a breakpoint: Hinkley 1971, "Inference in two-phase regression".

    Examples
    --------
    >>> t = np.arange(40.0)
    >>> ramp = fitted_ramp(t, np.clip((t - 10) / 8, 0, 1))
    >>> ramp.onset, ramp.end[0], ramp.moves
    ((10.0, 9.0, 11.0), 18.0, True)
    """
    known = np.isfinite(y)
    t, y = t[known], y[known]
    if len(t) < LEAST_POINTS or y.max() == y.min():
        return None
    centre, size = float(y.mean()), float(np.ptp(y))
    y = (y - centre) / size
    places = np.unique(np.linspace(0, len(t) - 1, min(len(t), MOST_BREAKPOINTS)).astype(np.int64))
    first, last, rss, rise = all_ramps(t, y, places)
    total = float((y**2).sum())
    rss = np.maximum(rss, PERFECT * total)
    best = int(rss.argmin())
    shape = np.clip((t - t[first[best]]) / (t[last[best]] - t[first[best]]), 0, 1)
    before = -rise[best] * float(shape.mean())
    n = effective_number(y - before - rise[best] * shape)
    n_least = min(n, effective_number(y))
    accepted = n * np.log(rss / rss[best]) <= chi2.ppf(coverage, 1)
    (onset_low, onset_high), (end_low, end_high) = (_neighbours(t, places, found) for found in (first, last))
    middle_low, middle_high = (onset_low + end_low) / 2, (onset_high + end_high) / 2
    return Ramp(
        onset=_estimate(t[first], best, onset_low, onset_high, accepted),
        middle=_estimate((t[first] + t[last]) / 2, best, middle_low, middle_high, accepted),
        end=_estimate(t[last], best, end_low, end_high, accepted),
        before=float(centre + size * before),
        after=float(centre + size * (before + rise[best])),
        explained=1 - float(rss[best]) / total,
        moves=bool(n_least * np.log(total / rss[best]) > PARAMETERS * np.log(n_least)),
    )


def all_ramps(
    t: Float[np.ndarray, " point"], y: Float[np.ndarray, " point"], places: Int[np.ndarray, " place"]
) -> tuple[Int[np.ndarray, " pair"], Int[np.ndarray, " pair"], Float[np.ndarray, " pair"], Float[np.ndarray, " pair"]]:
    """Every pair of breakpoints: their indices, the residual sum of squares, and the rise from one level to the other.

    Parameters
    ----------
    t, y
        (point,) ascending; y with mean 0.
    places
        (place,) ascending indices of the points that may be breakpoints.
    """
    n = len(t)
    t = (t - t.mean()) / np.ptp(t)
    sums = np.cumsum(np.stack([np.ones(n), t, t * t, y, t * y]), axis=1)[:, places]  # (sum, place), inclusive
    i, j = np.triu_indices(len(places), 1)
    count, in_t, in_tt, in_y, in_ty = sums[:, j] - sums[:, i]  # over the points of (t_i, t_j]
    start, length = t[places[i]], t[places[j]] - t[places[i]]
    after = n - sums[0, j]
    of_shape = (in_t - start * count) / length + after
    of_squares = (in_tt - 2 * start * in_t + start**2 * count) / length**2 + after
    with_y = (in_ty - start * in_y) / length + (sums[3, -1] - sums[3, j])
    spread = of_squares - of_shape**2 / n
    return places[i], places[j], (y**2).sum() - with_y**2 / spread, with_y / spread


def effective_number(residuals: Float[np.ndarray, " point"]) -> float:
    """N (1 − ρ) / (1 + ρ), for how many independent residuals these count, with ρ from one to the next; in 2..n.

    Examples
    --------
    >>> effective_number(np.array([1.0, -1.0] * 6)), effective_number(np.repeat([1.0, -1.0], 6))
    (12.0, 2.0)
    """
    n = len(residuals)
    square = float((residuals**2).sum())
    rho = float((residuals[1:] * residuals[:-1]).sum()) / square if square else 0.0
    return min(max(n * (1 - rho) / (1 + rho), 2.0), float(n)) if rho > 0 else float(n)


def _neighbours(t: np.ndarray, places: np.ndarray, found: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The places before and after each of the found ones; the first has none before, the last none after."""
    at = np.searchsorted(places, found)
    return t[places[np.maximum(at - 1, 0)]], t[places[np.minimum(at + 1, len(places) - 1)]]


def _estimate(
    value: np.ndarray, best: int, low: np.ndarray, high: np.ndarray, accepted: Bool[np.ndarray, " pair"]
) -> Estimate:
    return float(value[best]), float(low[accepted].min()), float(high[accepted].max())
