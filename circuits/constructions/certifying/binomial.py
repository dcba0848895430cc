"""Intervals of a probability from a count, which hold their level whatever the probability.

Clopper and Pearson's (1934): the low end is the probability at which so many successes or more have the chance
(1 - level)/2, the high end that for so many or fewer. Where no failure was seen the interval still has a width: of N
draws without one, the failure rate is below 3.7/N. Draws of unequal probabilities, equally many from each stratum of
the inputs, do no harm: the number of successes is then less spread than a binomial of the same mean (Hoeffding 1956).
"""

import numpy as np
from jaxtyping import Float, Int
from scipy.stats import beta


def clopper_pearson(n_successes: int, n_trials: int, level: float = 0.95) -> tuple[float, float]:
    """Interval of a probability, of at least this level.

    Examples
    --------
    No success in a million: below 4 in a million.

    >>> low, high = clopper_pearson(0, 10**6)
    >>> low, round(high * 1e6, 2)
    (0.0, 3.69)
    """
    ends = share_intervals(np.array(n_successes), np.array(n_trials), level)
    return float(ends[0]), float(ends[1])


def share_intervals(
    n_successes: Int[np.ndarray, "*any"], n_trials: Int[np.ndarray, "*any"], level: float = 0.95
) -> Float[np.ndarray, " end *any"]:
    """Low and high ends of the interval of each probability, in 0..1.

    Parameters
    ----------
    n_successes, n_trials
        Counts, 0 <= n_successes <= n_trials. With no trial the interval is 0..1.
    level
        Least share of samples whose interval holds the probability.

    Examples
    --------
    >>> share_intervals(np.array([0, 5, 10]), np.array([10, 10, 10])).round(3).tolist()
    [[0.0, 0.187, 0.692], [0.308, 0.813, 1.0]]
    """
    tail = (1 - level) / 2
    successes, trials = n_successes.astype(np.float64), n_trials.astype(np.float64)
    failures = trials - successes
    low = beta.ppf(tail, np.maximum(successes, 1), failures + 1)
    high = beta.ppf(1 - tail, successes + 1, np.maximum(failures, 1))
    return np.stack([np.where(successes > 0, low, 0.0), np.where(failures > 0, high, 1.0)])
