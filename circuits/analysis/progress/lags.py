"""Lags of measures behind a reference measure, with confidence intervals.

A lag is a − b: the onset a of a measure minus the onset b of the reference, each with its own, perhaps asymmetric,
interval (l, u). Each end of the lag's interval adds errors of a and of b in quadrature (MOVER; Zou and Donner 2008):

    a − b:    from  a − b − √((a − l_a)² + (u_b − b)²)    to    a − b + √((u_a − a)² + (b − l_b)²)

This assumes independent estimates. A censored onset may lie before the fitted epochs: its interval begins at −∞, so the
interval of the lag has an infinite end. If only a is censored, the high end is an upper bound of the lag. If only b is
censored, the low end is a lower bound. If both are censored, the lag is unknown. a − b itself is never a bound.
"""

import numpy as np
from jaxtyping import Bool, Float

Bounded = tuple[Float[np.ndarray, "*place"], Float[np.ndarray, "*place"], Float[np.ndarray, "*place"]]


def difference(one: Bounded, other: Bounded) -> Bounded:
    """Difference of two estimates, with its interval; the difference is NaN if both ends of its interval are infinite.

    Parameters
    ----------
    one, other
        Estimate, low end and high end, as arrays of one shape; an end may be infinite, and NaN stays NaN.

    Returns
    -------
    Estimate, low and high end of `one` minus `other`.

    References
    ----------
    Zou and Donner 2008, "Construction of confidence limits about effect measures".

    Examples
    --------
    >>> one, other = (np.array(10.0), np.array(7.0), np.array(15.0)), (np.array(4.0), np.array(-8.0), np.array(8.0))
    >>> [float(value) for value in difference(one, other)]
    [6.0, 1.0, 19.0]
    """
    (a, a_low, a_high), (b, b_low, b_high) = one, other
    low = a - b - np.hypot(a - a_low, b_high - b)
    high = a - b + np.hypot(a_high - a, b - b_low)
    value = np.where(np.isinf(low) & np.isinf(high), np.nan, a - b)
    return value, np.asarray(low), np.asarray(high)


def lags(
    estimates: dict[str, np.ndarray], reference: int, counts: Bool[np.ndarray, " seed"]
) -> dict[str, Float[np.ndarray, "measure seed"]]:
    """Lags of all onsets and midpoints behind the onset and midpoint of the reference, with intervals.

    Parameters
    ----------
    estimates
        `onset`, `midpoint`, and the ends of their intervals, such as `onset_low`, each (measure, seed).
    reference
        Index of the reference measure; its lag behind itself is exactly 0.
    counts
        (seed,) mask of the seeds that have lags; the lags of all other seeds are NaN.

    Returns
    -------
    `lag`, `midpoint_lag`, and the ends of their intervals, such as `lag_low`.
    """
    result = {}
    for place, lag in (("onset", "lag"), ("midpoint", "midpoint_lag")):
        one, low, high = (estimates[f"{place}{part}"] for part in ("", "_low", "_high"))
        b, b_low, b_high = (np.where(counts, a[reference], np.nan) + np.zeros_like(a) for a in (one, low, high))
        values = difference((one, low, high), (b, b_low, b_high))
        for part, value in zip(("", "_low", "_high"), values, strict=True):
            value[reference] = np.where(np.isnan(estimates["onset"][reference]) | ~counts, np.nan, 0.0)
            result[lag + part] = value
    return result
