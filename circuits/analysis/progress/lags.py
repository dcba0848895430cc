"""How long before or after a reference each measure changes, with an interval.

The interval of a difference of two estimates, each with its own, perhaps lopsided, interval (l, u), puts the errors
together in quadrature, each on the side that counts (MOVER; Zou and Donner 2008):

    a − b:    from  a − b − √((a − l_a)² + (u_b − b)²)    to    a − b + √((u_a − a)² + (b − l_b)²)

It takes the two as independent. A censored estimate has an infinite end, and then so has the difference: with a
censored the lag is at most the high end, with b censored at least the low end, and with both nothing is known of it.
The estimate a − b itself is no bound.
"""

import numpy as np
from jaxtyping import Bool, Float

Bounded = tuple[Float[np.ndarray, "*place"], Float[np.ndarray, "*place"], Float[np.ndarray, "*place"]]


def difference(one: Bounded, other: Bounded) -> Bounded:
    """One estimate minus another, with its interval; the difference is NaN if both of its ends are infinite.

    Parameters
    ----------
    one, other
        Estimate, low and high end, each (*place); an end may be infinite, and what is NaN stays so.

    Returns
    -------
    The same of the difference.

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
    found: dict[str, np.ndarray], reference: int, counts: Bool[np.ndarray, " seed"]
) -> dict[str, Float[np.ndarray, "measure seed"]]:
    """Lags of all onsets and midpoints behind those of the reference, with intervals.

    Parameters
    ----------
    found
        `onset`, `midpoint` and the ends `_low` and `_high` of their intervals, each (measure, seed).
    reference
        Index of the measure against which lags are taken; its lag to itself is exactly 0.
    counts
        (seed,) where it counts; other seeds have no lags.

    Returns
    -------
    `lag`, `midpoint_lag`, and the ends of their intervals.
    """
    result = {}
    for place, lag in (("onset", "lag"), ("midpoint", "midpoint_lag")):
        names = [f"{place}{part}" for part in ("", "_low", "_high")]
        one, low, high = (found[name] for name in names)
        b, b_low, b_high = (np.where(counts, of[reference], np.nan) + np.zeros_like(of) for of in (one, low, high))
        values = difference((one, low, high), (b, b_low, b_high))
        for part, value in zip(("", "_low", "_high"), values, strict=True):
            value[reference] = np.where(np.isnan(found["onset"][reference]) | ~counts, np.nan, 0.0)
            result[lag + part] = value
    return result
