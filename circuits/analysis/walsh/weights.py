"""Walsh weights split the variance of a function f(x), x in {-1, 1}^n, into parts for groups of sets of input bits.

A weight is the sum of the squared Walsh coefficients f^(T)² over the sets T of one group. Let S be the set of relevant
bits. The weight of all sets T with a bit outside S is E_z Var(f | z): the variance of f over all inputs with the same
setting z of the bits in S, averaged over all z. From inputs drawn at each z, the code estimates it without bias.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int8, Real

from circuits.analysis.walsh.transform import walsh_coefficients, walsh_values
from circuits.constructions.patterns import patterns
from circuits.lazy import renamed_keyword
from circuits.randomness import generator

PARTS = ("parity", "subsets", "rest")
FEWEST_DRAWS = 8  # per pattern
DEVIATIONS = 1.96  # half the width of a 95 % interval, in standard errors


class Draws(NamedTuple):
    """Inputs ±1, grouped by the setting (pattern) of the relevant bits; `is_complete` is True if they are all 2^n."""

    inputs: Int8[np.ndarray, "pattern draw input"]
    is_complete: bool

    @property
    def flat(self) -> Int8[np.ndarray, "example input"]:
        """All inputs, (example, input)."""
        return self.inputs.reshape(-1, self.inputs.shape[-1])


class Weights(NamedTuple):
    """Three weights of a function f: sums of squared Walsh coefficients f^(T)² over three groups ("parts") of sets T.

    Part 0 has only the set S of all relevant bits. Part 1 has all other non-empty subsets of S. Part 2 has all sets
    with an irrelevant bit. The three weights add up to the variance of f. A share is a weight divided by the variance.

    `coefficients` are f^(T) for the subsets T of the relevant bits, in the order of `walsh_coefficients`. All have the
    same `error`: a standard error if f^(T) is a sample mean, else an error bound. `weight_error` and `share_error` are
    standard errors; if `error` is a bound, the effect of this bound is added. `share_low` and `share_high` are the ends
    of a 95 % interval of each share, in 0..1. Shares of a constant f are NaN. Errors that cannot be estimated are NaN.
    """

    coefficients: Float[np.ndarray, " subset"]
    error: float
    weight: Float[np.ndarray, " part"]
    weight_error: Float[np.ndarray, " part"]
    share: Float[np.ndarray, " part"]
    share_error: Float[np.ndarray, " part"]
    share_low: Float[np.ndarray, " part"]
    share_high: Float[np.ndarray, " part"]


@renamed_keyword("support", "relevant_bits")
def draws_by_pattern(n: int, relevant_bits: Sequence[int], n_samples: int, exact_bits: int, stream: int = 0) -> Draws:
    """Uniform inputs, equally many for each setting (pattern) of the `relevant_bits`, in the order of `patterns(k)`.

    Parameters
    ----------
    n, relevant_bits
        Number of input bits, and the k relevant ones.
    n_samples
        Number of inputs, rounded down to a multiple of 2^k; at least 8 per pattern.
    exact_bits
        Enumerate all 2^n inputs if n is at most this; otherwise sample.
    stream
        Index of the random stream; different streams give different inputs.

    Examples
    --------
    >>> draws_by_pattern(12, (0, 5), 100, 10).inputs.shape, draws_by_pattern(4, (0,), 100, 10).inputs.shape
    ((4, 25, 12), (2, 8, 4))
    """
    bits = list(relevant_bits)
    k, is_complete = len(bits), n <= exact_bits
    if is_complete:
        others = np.broadcast_to(patterns(n - k), (2**k, 2 ** (n - k), n - k))
    else:
        n_draws = max(FEWEST_DRAWS, n_samples // 2**k)
        others = 2 * generator("walsh", stream).integers(0, 2, (2**k, n_draws, n - k), dtype=np.int8) - 1
    inputs = np.empty((2**k, others.shape[1], n), np.int8)
    inputs[:, :, bits] = patterns(k)[:, None, :]
    inputs[:, :, np.delete(np.arange(n), bits)] = others
    return Draws(inputs, is_complete)


def cube_weights(
    values: Real[np.ndarray, "pattern draw"],
    is_complete: bool = False,
    means: Float[np.ndarray, " pattern"] | None = None,
    bound: float = 0.0,
    is_constant: bool = False,
) -> Weights:
    """Walsh weights of a function: the sums of its squared Walsh coefficients over three groups of sets of input bits.

    The first group has only the set S of all relevant bits (the parity). The second has all other non-empty subsets of
    S. The third has all sets with a bit outside S.

    The squared standard error is subtracted from each squared estimate to remove its bias, so a small weight can be
    negative. Standard errors are first-order approximations. The error of the third weight comes from differences
    between sampled values at the same setting of S. If no such values differ, the error is NaN (0 if `is_constant`).

    Parameters
    ----------
    values
        (pattern, draw) values of the function on the inputs of `draws_by_pattern`.
    is_complete
        Whether the draws are all inputs; then nothing is estimated.
    means
        (pattern) means of the function over the other bits, if known.
    bound
        Upper bound of the mean absolute error of `means`. No coefficient computed from `means` has a larger error.
    is_constant
        Whether the function is known not to depend on the other bits.

    Examples
    --------
    >>> x = draws_by_pattern(4, (0, 1), 0, 4).inputs.astype(float)
    >>> cube_weights(x[..., 0] * x[..., 1] + 0.5 * x[..., 2], True).weight
    array([1.  , 0.  , 0.25])
    """
    values = values.astype(np.float64)
    n_patterns, n_draws = values.shape
    sample_means = values.mean(axis=1)
    squares = (values - sample_means[:, None]) ** 2
    has_means = is_complete or means is not None
    variances = squares.sum(axis=1) / (n_draws if is_complete else n_draws - 1)
    coefficients = walsh_coefficients(sample_means if means is None else means)
    square = 0.0 if has_means else float(variances.mean()) / (n_draws * n_patterns)  # squared error of a coefficient
    unbiased = coefficients**2 - square
    mean_squares = np.zeros(n_patterns) if has_means else variances / n_draws  # squared errors of the means
    rest_square, mixed = 0.0, np.zeros(n_patterns)  # squared error of the rest; covariances of means and variances
    if not (is_complete or is_constant):
        fourth = (squares**2).mean(axis=1) - variances**2 * (n_draws - 3) / (n_draws - 1)
        rest_square = float(np.maximum(fourth, 0.0).sum()) / n_draws / n_patterns**2 if squares.any() else np.nan
        mixed = mixed if has_means else ((values - sample_means[:, None]) ** 3).mean(axis=1) / n_draws
    inside = np.zeros((2, n_patterns))  # coefficients of the parity, and of its subsets
    inside[0, -1], inside[1, 1:-1] = coefficients[-1], coefficients[1:-1]
    slopes_by_mean = 2 * walsh_values(inside) / n_patterns  # derivatives of the two weights by the means
    covariance = np.zeros((3, 3))
    covariance[:2, :2] = (slopes_by_mean * mean_squares) @ slopes_by_mean.T
    covariance[2, 2] = rest_square
    covariance[:2, 2] = covariance[2, :2] = (slopes_by_mean * mixed).sum(axis=1) / n_patterns
    # The squared slopes are also too large by their bias, and a square varies even if the coefficient is 0.
    second_order = 2 * square**2 * np.array([1.0, n_patterns - 2, 0.0])
    places = np.arange(3)
    covariance[places, places] = np.maximum(covariance[places, places] - second_order, second_order)
    square_bounds = 2 * np.abs(coefficients) * bound + bound**2
    bounds = np.array([square_bounds[-1], square_bounds[1:-1].sum(), 0.0])
    weight = np.array([unbiased[-1], unbiased[1:-1].sum(), variances.mean()])
    total = weight.sum()
    share = share_errors = low = high = np.full(3, np.nan)
    if total > 0:
        share = weight / total
        slopes = (np.eye(3) - share[:, None]) / total  # derivative of each share by each weight
        wider = covariance + np.diag(2 * second_order)  # an estimate small by chance has an error small by chance
        share_errors, wider_errors = (
            np.sqrt(np.maximum(np.einsum("sp,pq,sq->s", slopes, matrix, slopes), 0.0)) + np.abs(slopes) @ bounds
            for matrix in (covariance, wider)
        )
        low, high = share_ends(share, wider_errors)
    error = float(np.sqrt(square)) + bound
    if not has_means and not is_constant and not squares.any():
        error = np.nan
    errors = np.sqrt(np.diag(covariance)) + bounds
    return Weights(coefficients, error, weight, errors, share, share_errors, low, high)


def share_ends(
    share: Float[np.ndarray, " part"], error: Float[np.ndarray, " part"]
) -> tuple[Float[np.ndarray, " part"], Float[np.ndarray, " part"]]:
    """Low and high ends of the 95 % intervals of shares with these standard errors; 0 and 1 if the error is NaN.

    The estimate of a share is skewed. If it is more than five errors away from 0 and from 1, its interval is symmetric
    in log(share / (1 - share)); otherwise it is the estimate ± 1.96 errors, clipped to 0..1.

    Examples
    --------
    >>> low, high = share_ends(np.array([0.2, 0.001, 1.0]), np.array([0.03, 0.01, 0.0]))
    >>> low.round(3), high.round(3)
    (array([0.148, 0.   , 1.   ]), array([0.265, 0.021, 1.   ]))
    """
    inside = np.clip(share, 0.0, 1.0)
    low, high = (np.clip(share + sign * DEVIATIONS * error, 0.0, 1.0) for sign in (-1, 1))
    clear = (np.minimum(share, 1 - share) > 5 * error) & (error > 0)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        odds, step = inside / (1 - inside), np.exp(DEVIATIONS * error / (inside * (1 - inside)))
        low = np.where(clear, odds / (odds + step), low)
        high = np.where(clear, odds * step / (1 + odds * step), high)
    unknown = np.isnan(error)
    return np.where(unknown, 0.0, np.minimum(low, inside)), np.where(unknown, 1.0, np.maximum(high, inside))


def within_bits(subsets: Sequence[tuple[int, ...]], relevant_bits: Sequence[int]) -> Bool[np.ndarray, " subset"]:
    """Mask of the subsets of the input bits that lie within the relevant bits.

    Examples
    --------
    >>> within_bits([(), (0,), (0, 3)], (0, 1)).tolist()
    [True, True, False]
    """
    return np.array([set(subset) <= set(relevant_bits) for subset in subsets], bool)
