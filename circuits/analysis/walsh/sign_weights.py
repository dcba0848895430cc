"""Shares of the variance of a prediction g = sign f. Their intervals hold even if no sampled prediction is wrong.

The following numbers in a sample are counts of independent events, so each has a Clopper-Pearson interval:

- right and wrong predictions. The coefficient at the parity is P(right) - P(wrong), at least 2 P(right) - 1 and at most
  1 - 2 P(wrong), with equality if no output is 0;
- positive and negative predictions, for the mean; the variance is the mean square minus the squared mean;
- outputs that are not 0, for the mean square, which is taken as 1 if no output in the sample is 0;
- pairs of inputs with different, or with opposite, predictions g and g'. Both inputs have the same setting z of the
  relevant bits; no input is in two pairs. The weight on subsets with an irrelevant bit is the mean over z of Var(g | z)
  = E (g - g')²/2. Here (g - g')²/2 is 0 for equal predictions, 2 for opposite ones, and 1/2 if only one is 0. So the
  weight is at least 2 P(opposite), and at most 2 P(different). The bounds are equal if no output is 0.

The interval of the coefficient at the parity has a level of 95 %. The intervals of the shares combine four such
intervals of 98.75 % each (Bonferroni), so they are wider than necessary.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, Real

from circuits.constructions.certifying.binomial import share_intervals
from circuits.constructions.patterns import parities

COUNTS = ("right", "wrong", "positive", "negative", "zero", "all", "opposite", "different", "pairs")


class SignWeights(NamedTuple):
    """A prediction's coefficient at the parity, with a 95 % interval, and 95 % intervals of the shares of its variance.

    `parity`, `parity_low` and `parity_high` are (network); `share_low` and `share_high` are (part, network), in the
    order of `PARTS`: parity, subsets, rest. All are NaN for a diverged network.
    """

    parity: Float[np.ndarray, "*network"]
    parity_low: Float[np.ndarray, "*network"]
    parity_high: Float[np.ndarray, "*network"]
    share_low: Float[np.ndarray, " part *network"]
    share_high: Float[np.ndarray, " part *network"]


def sign_counts(values: Real[np.ndarray, "pattern draw"]) -> Float[np.ndarray, " count"]:
    """Counts of right, wrong, … predictions on `draws_by_pattern`, ordered as in `COUNTS`; NaN if an output is NaN.

    Examples
    --------
    Here 5 predictions are right, 3 wrong, 5 positive, 3 negative, 0 zero, and there are 8 in all. Neighbors in a row
    form pairs: 1 pair has opposite signs, 1 pair has different signs, and there are 4 pairs in all.

    >>> sign_counts(np.array([[-2.0, -1.0, 3.0, 3.0], [1.0, 1.0, 1.0, -1.0]])).tolist()
    [5.0, 3.0, 5.0, 3.0, 0.0, 8.0, 1.0, 1.0, 4.0]
    """
    if np.isnan(values).any():
        return np.full(len(COUNTS), np.nan)
    signs = np.sign(values).astype(np.int8)
    n_patterns, n_draws = signs.shape
    answers = parities(n_patterns.bit_length() - 1).astype(np.int8)[:, None] * signs
    first, second = signs[:, : n_draws - n_draws % 2 : 2], signs[:, 1::2]
    return np.array([
        (answers > 0).sum(), (answers < 0).sum(), (signs > 0).sum(), (signs < 0).sum(), (signs == 0).sum(), signs.size,
        (first * second < 0).sum(), (first != second).sum(), first.size,
    ], np.float64)  # fmt: skip


def sign_weights(counts: Float[np.ndarray, "*network count"]) -> SignWeights:
    """Parity coefficient and 95 % intervals of each network's predictions, from their counts (`sign_counts`).

    Examples
    --------
    A sample has 1000 right, 0 wrong, 500 positive, 500 negative and 0 zero predictions, 1000 in all; 0 opposite and 0
    different pairs, 500 pairs in all. Over all inputs, the coefficient at the parity may still be 0.993.

    >>> weights = sign_weights(np.array([1000.0, 0, 500, 500, 0, 1000, 0, 0, 500]))
    >>> round(float(weights.parity_low), 4), float(weights.parity_high)
    (0.9926, 1.0)
    >>> weights.share_low.round(2).tolist(), weights.share_high.round(2).tolist()
    ([0.98, 0.0, 0.0], [1.0, 0.02, 0.02])
    """
    defined = ~np.isnan(counts).any(axis=-1)
    counted = {name: np.where(defined, counts[..., i], 0).astype(np.int64) for i, name in enumerate(COUNTS)}

    def interval(name: str, level: float, among: str = "all") -> np.ndarray:
        return share_intervals(counted[name], counted[among], level)

    parity_low, parity_high = _difference(counted["right"], counted["wrong"], counted["all"], 0.95)
    level = 1 - 0.05 / 4  # of each of the four intervals
    ends = _squares(*_difference(counted["right"], counted["wrong"], counted["all"], level))
    mean = _squares(*_difference(counted["positive"], counted["negative"], counted["all"], level))
    square = 1 - np.where(counted["zero"] > 0, interval("zero", level)[::-1], 0.0)
    rest = 2 * np.stack([interval("opposite", level, "pairs")[0], interval("different", level, "pairs")[1]])
    rest = np.minimum(rest, 1.0)  # a sign varies by 1 at most
    variance = np.stack([np.maximum(square[0] - mean[1], 0.0), square[1] - mean[0]])
    with np.errstate(divide="ignore", invalid="ignore"):
        low = np.stack([ends[0], np.zeros_like(rest[0]), rest[0]]) / variance[1]
        high = np.stack([
            ends[1] / np.maximum(variance[0], ends[1] + rest[0]), np.ones_like(rest[0]),
            rest[1] / np.maximum(variance[0], rest[1] + ends[0]),
        ])  # fmt: skip
        low[1] = 1 - (ends[1] + rest[1]) / variance[0]
        high[1] = 1 - (ends[0] + rest[0]) / variance[1]
    low, high = np.clip(np.nan_to_num(low, neginf=0.0), 0, 1), np.clip(np.nan_to_num(high, nan=1.0), 0, 1)
    total = np.maximum(counted["all"], 1)
    weights = SignWeights((counted["right"] - counted["wrong"]) / total, parity_low, parity_high, low, high)
    return SignWeights(*(np.where(defined, part, np.nan) for part in weights))


def _difference(
    n_p: Int[np.ndarray, "*network"],
    n_q: Int[np.ndarray, "*network"],
    total: Int[np.ndarray, "*network"],
    level: float,
) -> tuple[Float[np.ndarray, "*network"], Float[np.ndarray, "*network"]]:
    """Interval of P - Q, where exclusive outcomes of probability P and Q occur `n_p` and `n_q` times in `total` trials.

    Since P + Q <= 1, P - Q is in [2 P - 1, 1 - 2 Q]. The low ends of the intervals of P and of Q give both bounds.
    """
    low, high = (np.asarray(2 * share_intervals(counts, total, level)[0] - 1) for counts in (n_p, n_q))
    return low, np.asarray(-high)


def _squares(
    low: Float[np.ndarray, "*network"], high: Float[np.ndarray, "*network"]
) -> Float[np.ndarray, " end *network"]:
    """Least and greatest square of a number between low and high."""
    least = np.where((low <= 0) & (high >= 0), 0.0, np.minimum(low**2, high**2))
    return np.stack([least, np.maximum(low**2, high**2)])
