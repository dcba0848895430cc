"""Shares of the variance of a prediction, sign f, with intervals that also hold where no failure was drawn.

Four numbers of a sample are counts of independent draws, so each has an interval after Clopper and Pearson:

- right and wrong predictions: the coefficient at the parity is P(right) - P(wrong), at least 2 P(right) - 1 and at most
  1 - 2 P(wrong), with equality where no output is 0;
- positive ones, for the mean, whose square the variance lacks;
- outputs that are not 0, for the mean square: where none of the sample is 0, it counts as 1;
- pairs of inputs with the same pattern whose predictions differ, each input in one pair: Var(g | z) = E (g - g')²/2, so
  the weight on the rest is twice that share.

The coefficient at the parity alone has an interval of 95 %. The intervals of the shares put all four together, each at
98.75 % (Bonferroni), so they are wider than need be.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, Real

from circuits.constructions.certifying.binomial import share_intervals
from circuits.constructions.patterns import parities

COUNTS = ("right", "wrong", "positive", "negative", "zero", "all", "opposite", "different", "pairs")
LEVEL, LEVEL_OF_FOUR = 0.95, 1 - 0.05 / 4


class SignWeights(NamedTuple):
    """Coefficient at the parity and shares of the variance of a prediction, with their 95 % intervals.

    `parity` and its ends (network); `share_low` and `share_high` (part, network), in the order of `PARTS`. NaN where a
    network has diverged.
    """

    parity: Float[np.ndarray, "*network"]
    parity_low: Float[np.ndarray, "*network"]
    parity_high: Float[np.ndarray, "*network"]
    share_low: Float[np.ndarray, " part *network"]
    share_high: Float[np.ndarray, " part *network"]


def sign_counts(values: Real[np.ndarray, "pattern draw"]) -> Float[np.ndarray, " count"]:
    """The counts `COUNTS` of one network's outputs on inputs as `draws_by_pattern` gives them; NaN where one is NaN.

    Examples
    --------
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
    """Intervals from the counts of each network's sample.

    Examples
    --------
    A thousand right predictions, five hundred of each sign: the parity's coefficient may be .993 still.

    >>> found = sign_weights(np.array([1000.0, 0, 500, 500, 0, 1000, 0, 0, 500]))
    >>> round(float(found.parity_low), 4), float(found.parity_high)
    (0.9926, 1.0)
    >>> found.share_low.round(2).tolist(), found.share_high.round(2).tolist()
    ([0.98, 0.0, 0.0], [1.0, 0.02, 0.02])
    """
    defined = ~np.isnan(counts).any(axis=-1)
    of = {name: np.where(defined, counts[..., i], 0).astype(np.int64) for i, name in enumerate(COUNTS)}

    def interval(name: str, level: float, among: str = "all") -> np.ndarray:
        return share_intervals(of[name], of[among], level)

    parity_low, parity_high = _difference(of["right"], of["wrong"], of["all"], LEVEL)
    level = LEVEL_OF_FOUR
    ends = _squares(*_difference(of["right"], of["wrong"], of["all"], level))
    mean = _squares(*_difference(of["positive"], of["negative"], of["all"], level))
    square = 1 - np.where(of["zero"] > 0, interval("zero", level)[::-1], 0.0)
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
    total = np.maximum(of["all"], 1)
    weights = SignWeights((of["right"] - of["wrong"]) / total, parity_low, parity_high, low, high)
    return SignWeights(*(np.where(defined, part, np.nan) for part in weights))


def _difference(
    more: Int[np.ndarray, "*network"],
    fewer: Int[np.ndarray, "*network"],
    total: Int[np.ndarray, "*network"],
    level: float,
) -> tuple[Float[np.ndarray, "*network"], Float[np.ndarray, "*network"]]:
    """Interval of P(more) - P(fewer): from the low ends of the two, which need not add up to 1."""
    low, high = (np.asarray(2 * share_intervals(counts, total, level)[0] - 1) for counts in (more, fewer))
    return low, np.asarray(-high)


def _squares(
    low: Float[np.ndarray, "*network"], high: Float[np.ndarray, "*network"]
) -> Float[np.ndarray, " end *network"]:
    """Least and greatest square of what lies between low and high."""
    least = np.where((low <= 0) & (high >= 0), 0.0, np.minimum(low**2, high**2))
    return np.stack([least, np.maximum(low**2, high**2)])
