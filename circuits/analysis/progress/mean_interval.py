"""Confidence interval for the mean of a bounded count; its width is positive even if all sampled values are equal.

If a network has learned its task, all sampled inputs may have the same count, such as the same number of bits whose
flip changes the prediction. The standard error of the mean is then 0, but a rare other value may be missing from the
sample. Gaffke (2005, "Three test statistics for a nonparametric one-sided hypothesis on the mean of a nonnegative
variable") appends the greatest possible value to the N sampled values. The N + 1 values get random weights, uniform on
the simplex (each >= 0, sum 1). The high end of the interval is the 97.5 % quantile of the weighted mean. The low end is
the 2.5 % quantile with the least possible value appended. For counts of 0 and 1 this is the Clopper-Pearson interval.
The level is conjectured to hold for every bounded variable; no counterexample is known (Learned-Miller and Thomas 2019,
"A new confidence interval for the mean of a bounded random variable"). Both papers are quoted from memory.
"""

import numpy as np
from jaxtyping import Int

from circuits.randomness import generator

LEVEL = 0.95
N_WEIGHTINGS = 4000  # points of the simplex, which give a tail of 2.5 % to within 0.25 %


def mean_interval(counts: Int[np.ndarray, " example"], least: int, greatest: int) -> tuple[float, float]:
    """Ends of the 95 % interval for the mean of a random whole number in least..greatest, from >= 1 independent draws.

    Examples
    --------
    A hundred draws from 0..40 are all 3; the mean may be a little lower, or more than 1 higher.

    >>> [round(end, 2) for end in mean_interval(np.full(100, 3), 0, 40)]
    [2.89, 4.34]
    """
    tail, n = (1 - LEVEL) / 2, len(counts)
    values, times = np.unique(counts, return_counts=True)
    if len(values) == 1:
        beyond = 1 - tail ** (1 / n)  # quantile of the weight of the added value
        only = float(values[0])
        return only - beyond * (only - least), only + beyond * (greatest - only)
    random = generator("mean interval", n)
    parts = random.standard_gamma(times.astype(np.float64), (N_WEIGHTINGS, len(values)))
    added = random.standard_exponential(N_WEIGHTINGS)
    total = parts.sum(axis=1) + added
    sums = parts @ values.astype(np.float64)
    low = float(np.quantile((sums + added * least) / total, tail))
    high = float(np.quantile((sums + added * greatest) / total, 1 - tail))
    return low, high
