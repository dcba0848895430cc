"""How much of a function on the cube lies on the parity of some bits S, on its subsets, and on everything else.

With f^(T) the Walsh coefficients, the variance E f² - (E f)² is the sum of f^(T)² over all T but the empty set. Its
parts are named by T: "parity", T = S; "subsets", its proper non-empty subsets; "rest", every T with a bit outside S.
Let m(z) be the mean of f over the other bits, for a pattern z of S. Then f^(T) = E m(z) χ_T(z) for T within S, and

    Σ_{T not within S} f^(T)² = E_z Var(f | z),

so the rest, most of 2^n coefficients, is one number that a sample gives without bias: the sample variance within each
pattern. Shares are parts of the variance, and do not change when f is rescaled.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int8, Real

from circuits.analysis.walsh.transform import walsh_coefficients, walsh_values
from circuits.constructions.patterns import patterns
from circuits.randomness import generator

PARTS = ("parity", "subsets", "rest")
FEWEST_DRAWS = 8  # of each pattern
DEVIATIONS = 1.96  # either way of a 95 % interval of a normal estimate


class Draws(NamedTuple):
    """Inputs by pattern of the relevant bits: (pattern, draw, input) ±1; whether they are all there are."""

    inputs: Int8[np.ndarray, "pattern draw input"]
    is_complete: bool

    @property
    def flat(self) -> Int8[np.ndarray, "example input"]:
        """(example, input)."""
        return self.inputs.reshape(-1, self.inputs.shape[-1])


class Weights(NamedTuple):
    """What `cube_weights` finds of one function.

    `coefficients` (subset) f^(T) for T within S, in the order of `walsh_coefficients`, all with the error `error`: the
    standard error of a sample mean, or the bound of a mean that is known to within a bound; `weight` and `share` (part)
    with their errors, a standard error plus what the bound adds; `share_low` and `share_high`, 95 % intervals of the
    shares, in 0..1. Shares are NaN for a constant function, errors NaN where they cannot be told.
    """

    coefficients: Float[np.ndarray, " subset"]
    error: float
    weight: Float[np.ndarray, " part"]
    weight_error: Float[np.ndarray, " part"]
    share: Float[np.ndarray, " part"]
    share_error: Float[np.ndarray, " part"]
    share_low: Float[np.ndarray, " part"]
    share_high: Float[np.ndarray, " part"]


def draws_by_pattern(n: int, support: Sequence[int], n_samples: int, exact_bits: int, stream: int = 0) -> Draws:
    """Uniform inputs, equally many with each pattern of the bits in `support`, in the order of `patterns(k)`.

    Parameters
    ----------
    n, support
        Bits of an input, and which of them are relevant.
    n_samples
        How many, rounded down to a multiple of 2^k but at least 8 for each pattern.
    exact_bits
        Instead, all 2^n where n is at most this.
    stream
        Which sample: another one has other inputs.

    Examples
    --------
    >>> draws_by_pattern(12, (0, 5), 100, 10).inputs.shape, draws_by_pattern(4, (0,), 100, 10).inputs.shape
    ((4, 25, 12), (2, 8, 4))
    """
    bits = list(support)
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
    """Weight of a function on the parity of S, on its subsets and on the rest.

    Squares of estimates are freed of their bias, by their squared standard errors, so that a small weight can come out
    negative. Standard errors are to first order. Where the function was the same on
    all draws of each pattern, a sample does not say how often it differs or by how much: the error of the rest is NaN.

    Parameters
    ----------
    values
        (pattern, draw) the function on inputs as `draws_by_pattern` gives them.
    is_complete
        They are all inputs, so that nothing is estimated.
    means
        (pattern) its means over the other bits, if known.
    bound
        Of the error of a coefficient that follows from `means`: the mean of their own bounds.
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
    square = 0.0 if has_means else float(variances.mean()) / (n_draws * n_patterns)  # of the error of a coefficient
    unbiased = coefficients**2 - square
    of_mean = np.zeros(n_patterns) if has_means else variances / n_draws  # squared errors of the means and variances
    within, both = 0.0, np.zeros(n_patterns)  # squared error of the rest; covariances of means and variances
    if not (is_complete or is_constant):
        fourth = (squares**2).mean(axis=1) - variances**2 * (n_draws - 3) / (n_draws - 1)
        within = float(np.maximum(fourth, 0.0).sum()) / n_draws / n_patterns**2 if squares.any() else np.nan
        both = both if has_means else ((values - sample_means[:, None]) ** 3).mean(axis=1) / n_draws
    inside = np.zeros((2, n_patterns))  # coefficients of the parity, and of its subsets
    inside[0, -1], inside[1, 1:-1] = coefficients[-1], coefficients[1:-1]
    by_mean = 2 * walsh_values(inside) / n_patterns  # slopes of the two weights
    covariance = np.zeros((3, 3))
    covariance[:2, :2] = (by_mean * of_mean) @ by_mean.T
    covariance[2, 2] = within
    covariance[:2, 2] = covariance[2, :2] = (by_mean * both).sum(axis=1) / n_patterns
    # Squares of estimates are too large there as well, and vary also where the coefficient is 0.
    second = 2 * square**2 * np.array([1.0, n_patterns - 2, 0.0])
    places = np.arange(3)
    covariance[places, places] = np.maximum(covariance[places, places] - second, second)
    off = 2 * np.abs(coefficients) * bound + bound**2  # of the squares, where the means have a bound
    bounds = np.array([off[-1], off[1:-1].sum(), 0.0])
    weight = np.array([unbiased[-1], unbiased[1:-1].sum(), variances.mean()])
    total = weight.sum()
    nothing = np.full(3, np.nan)
    share, share_errors, ends = nothing, nothing, (nothing, nothing)
    if total > 0:
        share = weight / total
        slopes = (np.eye(3) - share[:, None]) / total  # of each share by each weight
        wider = covariance + np.diag(2 * second)  # an estimate that is small by chance has a small error by chance
        share_errors, wider_errors = (
            np.sqrt(np.maximum(np.einsum("sp,pq,sq->s", slopes, of, slopes), 0.0)) + np.abs(slopes) @ bounds
            for of in (covariance, wider)
        )
        ends = share_ends(share, wider_errors)
    error = float(np.sqrt(square)) + bound
    if not has_means and not is_constant and not squares.any():
        error = np.nan
    errors = np.sqrt(np.diag(covariance)) + bounds
    return Weights(coefficients, error, weight, errors, share, share_errors, *ends)


def share_ends(
    share: Float[np.ndarray, " part"], error: Float[np.ndarray, " part"]
) -> tuple[Float[np.ndarray, " part"], Float[np.ndarray, " part"]]:
    """Ends of the 95 % interval of shares with these errors; 0 and 1 where the error is NaN.

    An estimate that is more than five errors away from 0 and from 1 has an interval that is symmetric in
    log(share / (1 - share)), since such an estimate is skewed; any other has estimate ± 1.96 errors, cut at 0 and 1.

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


def within_support(subsets: Sequence[tuple[int, ...]], support: Sequence[int]) -> Bool[np.ndarray, " subset"]:
    """Which subsets of the input bits lie within the support.

    Examples
    --------
    >>> within_support([(), (0,), (0, 3)], (0, 1)).tolist()
    [True, True, False]
    """
    return np.array([set(subset) <= set(support) for subset in subsets], bool)
