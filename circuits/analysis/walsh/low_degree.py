"""The coefficients f^(T) of at most a few bits of many, estimated from a sample of inputs.

f^(T) = E f(x) χ_T(x) is a mean, so over N uniform inputs its estimate has standard error about √(E f² / N), the same
for every T: with N = 16,384 it is 0.8 % of the root mean square of f. The largest of the 10,701 estimates with |T| <= 3
over 40 bits is 4 standard errors even when all of the coefficients are 0.

All of them, of many functions at once, are one product: characters (subset, example) times outputs (example, network),
made in blocks of subsets so that memory stays bounded.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, no_type_check

import numba
import numpy as np
from jaxtyping import Float, Float32, Int, Real
from scipy.stats import norm

from circuits.analysis.walsh.transform import small_subsets

BLOCK_NUMBERS = 1 << 22  # of a block of characters: 16 MB


class LowDegree(NamedTuple):
    """Estimated coefficients of every subset of at most `degree` bits.

    `subsets`, the smaller ones first; `coefficients` and `errors` (network, subset) float64: estimates and their
    standard errors.
    """

    subsets: list[tuple[int, ...]]
    coefficients: Float[np.ndarray, "network subset"]
    errors: Float[np.ndarray, "network subset"]


def low_degree_coefficients(
    inputs: Real[np.ndarray, "example input"], outputs: Real[np.ndarray, "network example"], degree: int = 3
) -> LowDegree:
    """Coefficients f^(T), |T| <= degree, of several functions, from their values on uniform inputs.

    Parameters
    ----------
    inputs
        (example, input) ±1, drawn uniformly and independently; at least 2.
    outputs
        (network, example) each function's values on them.
    degree
        Of the largest subsets.

    Examples
    --------
    On all inputs, each once, the coefficients are exact.

    >>> from circuits.constructions.patterns import patterns
    >>> x = patterns(3)
    >>> found = low_degree_coefficients(x, (x[:, :1] * x[:, 2:]).T, degree=2)
    >>> dict(zip(found.subsets, found.coefficients[0].tolist()))
    {(): 0.0, (0,): 0.0, (1,): 0.0, (2,): 0.0, (0, 1): 0.0, (0, 2): 1.0, (1, 2): 0.0}
    """
    n_examples = len(inputs)
    subsets = small_subsets(inputs.shape[1], degree)
    values = np.ascontiguousarray(outputs.T, np.float32)  # (example, network)
    products = [block @ values for block in characters(inputs, subsets)]
    coefficients = np.concatenate(products).T.astype(np.float64) / n_examples
    squares = (outputs.astype(np.float64) ** 2).mean(axis=1)
    errors = np.sqrt(np.maximum(squares[:, None] - coefficients**2, 0.0) / (n_examples - 1))
    return LowDegree(subsets, coefficients, errors)


def characters(
    inputs: Real[np.ndarray, "example input"], subsets: Sequence[tuple[int, ...]]
) -> Iterator[Float32[np.ndarray, "subset example"]]:
    """χ_T(x) of every input, ±1, for the subsets in turn, in blocks that share their memory.

    Examples
    --------
    >>> next(characters(np.array([[1, -1], [-1, -1]]), [(), (1,), (0, 1)])).tolist()
    [[1.0, 1.0], [-1.0, -1.0], [-1.0, 1.0]]
    """
    columns = np.ascontiguousarray(inputs.T, np.float32)
    columns = np.concatenate([columns, np.ones((1, len(inputs)), np.float32)])
    length = max(map(len, subsets))
    # Shorter subsets are filled up with a bit that is always 1.
    members = np.array([(*subset, *[len(columns) - 1] * (length - len(subset))) for subset in subsets], np.int64)
    at_once = min(len(subsets), max(1, BLOCK_NUMBERS // max(1, len(inputs))))
    block = np.empty((at_once, len(inputs)), np.float32)
    for start in range(0, len(subsets), at_once):
        of = members[start : start + at_once].reshape(-1, length)
        _multiply(columns, of, block)
        yield block[: len(of)]


@no_type_check
@numba.njit(nogil=True, cache=True)
def _multiply(columns, members, block):
    """Rows of `block` are products of the columns that the rows of `members` name."""
    for row in range(members.shape[0]):
        block[row] = 1.0
        for place in range(members.shape[1]):
            block[row] *= columns[members[row, place]]


def weight_by_degree(
    found: LowDegree,
    included: Sequence[bool] | None = None,
    kurtosis: Float[np.ndarray, " network"] | None = None,
) -> tuple[Float[np.ndarray, "network degree"], Float[np.ndarray, "network degree"]]:
    """Sum of squared coefficients of each degree, without bias, and its standard error.

    The square of an estimate is too large by the square of its standard error on average, which is taken off; the sum
    can therefore be negative. Its own standard error takes the estimates as independent and normal, unless the kurtosis
    of the function is given: a function that is seldom large makes all of its estimates large together.

    Parameters
    ----------
    found
        Estimated coefficients.
    included
        (subset,) which of them to sum; by default all.
    kurtosis
        (network,) E f⁴ / (E f²)². The variance of Σ ĉ² is to first order that of 2 f g over the draws, g the part of f
        summed; E f² g² is taken as `kurtosis` times E f² E g².

    Examples
    --------
    >>> found = LowDegree([(), (0,), (1,)], np.array([[2.0, 0.5, 0.1]]), np.array([[0.0, 0.1, 0.1]]))
    >>> weight_by_degree(found)[0].round(3)
    array([[4.  , 0.24]])
    """
    degrees: Int[np.ndarray, " subset"] = np.array([len(subset) for subset in found.subsets])
    kept = np.ones(len(degrees), bool) if included is None else np.asarray(included, bool)
    squares = found.coefficients**2 - found.errors**2
    fourths = 2 * found.errors**4  # the variance of ĉ² is 4 c² e² + 2 e⁴, and ĉ² - e² stands for c²
    spread = np.ones(len(squares)) if kurtosis is None else np.maximum(kurtosis, 1.0)
    variances = 4 * squares * found.errors**2 * spread[:, None] + fourths
    marks = np.stack([kept & (degrees == degree) for degree in range(int(degrees.max()) + 1)], axis=1).astype(float)
    return squares @ marks, np.sqrt(np.maximum(variances @ marks, fourths @ marks))


def largest_by_chance(n_coefficients: int) -> float:
    """How many standard errors the largest of so many coefficients reaches when all are 0, in half of all samples.

    Examples
    --------
    >>> round(largest_by_chance(10_693), 2)
    3.99
    """
    return float(norm.isf((1 - 0.5 ** (1 / n_coefficients)) / 2))
