"""Confidence intervals of a probability from a count, by Clopper and Pearson (1934).

Whatever the true probability is, the interval contains it with a probability of at least `level`, such as 0.95. If the
low end is the true probability, the observed count or a larger one occurs with a probability of (1 - level)/2. If the
high end is the true probability, the observed count or a smaller one has this probability. After N draws without a
failure, the 95 % interval of the failure rate ends below 3.7/N. Stratified draws, equally many from each stratum of the
inputs, are allowed: their number of successes varies less than a binomial count of the same mean (Hoeffding 1956).
"""

import numpy as np
from jaxtyping import Float, Int
from scipy.special import betaincinv


def share_intervals(
    n_successes: Int[np.ndarray, "*any"], n_trials: Int[np.ndarray, "*any"], level: float = 0.95
) -> Float[np.ndarray, " end *any"]:
    """Low and high ends of the confidence interval of each probability, in 0..1.

    Parameters
    ----------
    n_successes, n_trials
        Counts, 0 <= n_successes <= n_trials. With 0 trials the interval is 0..1.
    level
        Least probability with which an interval contains the true probability.

    Examples
    --------
    >>> share_intervals(np.array([0, 5, 10]), np.array([10, 10, 10])).round(3).tolist()
    [[0.0, 0.187, 0.692], [0.308, 0.813, 1.0]]

    With 0 successes in a million trials, the probability is below 4 in a million.

    >>> (share_intervals(np.array(0), np.array(10**6)) * 1e6).round(2).tolist()
    [0.0, 3.69]
    """
    tail = (1 - level) / 2
    successes, trials = n_successes.astype(np.float64), n_trials.astype(np.float64)
    failures = trials - successes
    low = betaincinv(np.maximum(successes, 1), failures + 1, tail)
    high = betaincinv(successes + 1, np.maximum(failures, 1), 1 - tail)
    return np.stack([np.where(successes > 0, low, 0.0), np.where(failures > 0, high, 1.0)])
