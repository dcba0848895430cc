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

from circuits.analysis.cube import walsh_coefficients
from circuits.constructions.patterns import patterns
from circuits.random import generator

PARTS = ("parity", "subsets", "rest")
FEWEST_DRAWS = 8  # of each pattern


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

    `coefficients` (subset) f^(T) for T within S, in the order of `walsh_coefficients`, all with the standard error
    `error`; `weight` and `share` (part) with their standard errors; shares are NaN for a constant function.
    """

    coefficients: Float[np.ndarray, " subset"]
    error: float
    weight: Float[np.ndarray, " part"]
    weight_error: Float[np.ndarray, " part"]
    share: Float[np.ndarray, " part"]
    share_error: Float[np.ndarray, " part"]


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
) -> Weights:
    """Weight of a function on the parity of S, on its subsets and on the rest.

    Squares of estimates are freed of their bias, by their squared standard errors, so that a small weight can come out
    negative. Standard errors are to first order, and take the parts as independent.

    Parameters
    ----------
    values
        (pattern, draw) the function on inputs as `draws_by_pattern` gives them.
    is_complete
        They are all inputs, so that nothing is estimated.
    means
        (pattern) its exact means over the other bits, if known.

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
    known = is_complete or means is not None
    variances = squares.sum(axis=1) / (n_draws if is_complete else n_draws - 1)
    coefficients = walsh_coefficients(sample_means if means is None else means)
    square = 0.0 if known else float(variances.mean()) / (n_draws * n_patterns)  # of the error of a coefficient
    unbiased = coefficients**2 - square
    spread = np.maximum(4 * unbiased * square + 2 * square**2, 2 * square**2)  # of the estimates of squares
    within = 0.0  # squared standard error of the rest, by the variance of a sample variance
    if not is_complete:
        of_variance = (squares**2).mean(axis=1) - variances**2 * (n_draws - 3) / (n_draws - 1)
        within = float(np.maximum(of_variance, 0.0).sum()) / n_draws / n_patterns**2
    weight = np.array([unbiased[-1], unbiased[1:-1].sum(), variances.mean()])
    errors = np.array([spread[-1], spread[1:-1].sum(), within])  # squared
    total = weight.sum()
    with np.errstate(divide="ignore", invalid="ignore"):
        share = weight / total if total > 0 else np.full(3, np.nan)
        slopes = (np.eye(3) - share[:, None]) / total  # of each share by each weight
        share_errors = np.sqrt((slopes**2) @ errors) if total > 0 else np.full(3, np.nan)
    return Weights(coefficients, float(np.sqrt(square)), weight, np.sqrt(errors), share, share_errors)


def within_support(subsets: Sequence[tuple[int, ...]], support: Sequence[int]) -> Bool[np.ndarray, " subset"]:
    """Which subsets of the input bits lie within the support.

    Examples
    --------
    >>> within_support([(), (0,), (0, 3)], (0, 1)).tolist()
    [True, True, False]
    """
    return np.array([set(subset) <= set(support) for subset in subsets], bool)
