"""Intervals for shares of the variance of a prediction g = sign f; they hold even if no sampled prediction is wrong.

The variance is the sum of the squared Walsh coefficients of g at all non-empty sets of input bits. Its three shares
belong to the parity (the set of all relevant bits), to the other subsets of the relevant bits, and to all sets with an
irrelevant bit. The code counts events in a sample of inputs, such as right predictions. Each count gives a
Clopper-Pearson interval for the probability P of the event. These intervals give an interval for each of four numbers:

- Coefficient of g at the parity, P(right) - P(wrong). It is at least 2 P(right) - 1 and at most 1 - 2 P(wrong).
- Mean of g, P(positive) - P(negative). It is at least 2 P(positive) - 1 and at most 1 - 2 P(negative).
- Mean square of g, P(output is not 0); taken as 1 if no sampled output is 0. It is g's variance plus g's squared mean.
- Weight of g on subsets with an irrelevant bit. The code counts pairs of inputs with equal relevant bits; no input is
  in two pairs. Let g and g' be the predictions of a pair. The weight is the mean of (g - g')²/2. This number is 0 if g
  and g' are equal, 2 if they are 1 and -1 (an "opposite" pair), and 1/2 if only one of them is 0. A pair is "different"
  if g ≠ g'. So the weight is at least 2 P(opposite), and at most 2 P(different).

The code returns a 95 % interval of the coefficient at the parity. It computes the intervals of the three shares from
intervals of all four numbers at 98.75 % each (Bonferroni), so the intervals of the shares are wider than necessary.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, Real

from circuits.constructions.certifying.binomial import share_intervals
from circuits.constructions.patterns import parities

COUNTS = ("right", "wrong", "positive", "negative", "zero", "all", "opposite", "different", "pairs")


class SignWeights(NamedTuple):
    """Walsh coefficient of the predictions at the parity, and shares of the predictions' variance; NaN if diverged.

    `parity` (network) is the coefficient; `parity_low` and `parity_high` are the ends of its 95 % interval. `share_low`
    and `share_high` (part, network) are the ends of the shares' 95 % intervals. Part 0 is the parity of the relevant
    bits, part 1 all other non-empty subsets of the relevant bits, part 2 all subsets with an irrelevant bit.
    """

    parity: Float[np.ndarray, "*network"]
    parity_low: Float[np.ndarray, "*network"]
    parity_high: Float[np.ndarray, "*network"]
    share_low: Float[np.ndarray, " part *network"]
    share_high: Float[np.ndarray, " part *network"]


def sign_counts(values: Real[np.ndarray, "pattern draw"]) -> Float[np.ndarray, " count"]:
    """Nine counts of predictions (signs of the outputs `values`) and of pairs of predictions; NaN if an output is NaN.

    The array has the counts of right, wrong, positive, negative, zero and all predictions, then the counts of opposite,
    different and all pairs. Each row of `values` belongs to one setting of the relevant bits. A prediction is right if
    it is the parity of these bits. In a row, columns 0 and 1 form a pair, columns 2 and 3 the next pair. A pair is
    different if its signs are not equal. A pair is also opposite if its signs are 1 and -1.

    Examples
    --------
    The parity is -1 in the first row and 1 in the second: 5 predictions are right, 3 wrong. 5 are positive, 3 negative,
    0 zero; there are 8. The last pair, (1, -1), is the only opposite and the only different one of the 4 pairs.

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
    """How much of the variance of each network's predictions belongs to the parity of the relevant bits.

    The result has the Walsh coefficient of the parity and its 95 % interval, and 95 % intervals of variance shares.
    `counts` are the result of `sign_counts` for a sample of inputs. The intervals are for the set of all inputs.

    Examples
    --------
    In a sample of 1000 inputs, all predictions are right; 500 are positive, 500 negative. The inputs form 500 pairs;
    the two inputs of a pair have equal relevant bits and equal predictions. So the coefficient is at least 0.9926.
    The parity has at least 0.98 of the variance. The other subsets of the relevant bits have at most 0.02. So do all
    sets with an irrelevant bit.

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
    """Interval of P - Q with confidence `level`; P and Q are the probabilities of two outcomes that exclude each other.

    In `total` trials, the outcome of probability P occurs `n_p` times, the outcome of probability Q `n_q` times. Let
    p be the low end of the interval of P with confidence `level`, and q the low end of the interval of Q.
    P + Q <= 1, so 2 P - 1 <= P - Q <= 1 - 2 Q. Therefore the result is (2 p - 1, 1 - 2 q).
    """
    low, high = (np.asarray(2 * share_intervals(counts, total, level)[0] - 1) for counts in (n_p, n_q))
    return low, np.asarray(-high)


def _squares(
    low: Float[np.ndarray, "*network"], high: Float[np.ndarray, "*network"]
) -> Float[np.ndarray, " end *network"]:
    """Least and greatest square of a number between low and high."""
    least = np.where((low <= 0) & (high >= 0), 0.0, np.minimum(low**2, high**2))
    return np.stack([least, np.maximum(low**2, high**2)])
