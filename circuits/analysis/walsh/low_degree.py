"""Walsh coefficients f^(T) of all small subsets T, estimated from a sample of inputs.

f^(T) = E f(x) χ_T(x), with χ_T(x) = Π_{i∈T} x_i, is a mean, so its estimate from N uniform inputs has a standard error
of about √(E f² / N) for every T. With N = 16,384 this is 0.8 % of the root mean square of f. Over 40 bits, the largest
of the 10,701 estimates with |T| <= 3 is about 4 standard errors, even if all coefficients are 0.
"""

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import NamedTuple, no_type_check

import numba
import numpy as np
from jaxtyping import Float, Float32, Int, Real
from scipy.special import ndtri

BLOCK_NUMBERS = 1 << 22  # numbers in a block of characters: 16 MB


class LowDegree(NamedTuple):
    """Estimated Walsh coefficients of networks at `subsets` of input bits, with standard `errors` (0 if exact)."""

    subsets: list[tuple[int, ...]]
    coefficients: Float[np.ndarray, "network subset"]
    errors: Float[np.ndarray, "network subset"]


def low_degree_coefficients(
    inputs: Real[np.ndarray, "example input"], outputs: Real[np.ndarray, "network example"], degree: int = 3
) -> LowDegree:
    """Walsh coefficients of each row of `outputs` for all subsets of at most `degree` bits; small subsets come first.

    Parameters
    ----------
    inputs
        (example, input) ±1, drawn uniformly and independently; at least 2 examples.

    Examples
    --------
    If every input occurs once, the coefficients are exact.

    >>> from circuits.constructions.patterns import patterns
    >>> x = patterns(3)
    >>> low_degree = low_degree_coefficients(x, (x[:, :1] * x[:, 2:]).T, degree=2)
    >>> dict(zip(low_degree.subsets, low_degree.coefficients[0].tolist()))
    {(): 0.0, (0,): 0.0, (1,): 0.0, (2,): 0.0, (0, 1): 0.0, (0, 2): 1.0, (1, 2): 0.0}
    """
    n_examples = len(inputs)
    bits = range(inputs.shape[1])
    subsets = [subset for size in range(degree + 1) for subset in combinations(bits, size)]
    values = np.ascontiguousarray(outputs.T, np.float32)  # (example, network)
    products = [block @ values for block in characters(inputs, subsets)]
    coefficients = np.concatenate(products).T.astype(np.float64) / n_examples
    squares = (outputs.astype(np.float64) ** 2).mean(axis=1)
    errors = np.sqrt(np.maximum(squares[:, None] - coefficients**2, 0.0) / (n_examples - 1))
    return LowDegree(subsets, coefficients, errors)


def characters(
    inputs: Real[np.ndarray, "example input"], subsets: Sequence[tuple[int, ...]]
) -> Iterator[Float32[np.ndarray, "subset example"]]:
    """Characters χ_T(x) = Π_{i∈T} x_i = ±1 of every input, in blocks of subsets; a block overwrites the previous block.

    Examples
    --------
    >>> next(characters(np.array([[1, -1], [-1, -1]]), [(), (1,), (0, 1)])).tolist()
    [[1.0, 1.0], [-1.0, -1.0], [-1.0, 1.0]]
    """
    columns = np.vstack([np.ascontiguousarray(inputs.T, np.float32), np.ones(len(inputs), np.float32)])
    length = max(map(len, subsets))
    # Shorter subsets are padded with the last column, which is always 1.
    members = np.array([(*subset, *[len(columns) - 1] * (length - len(subset))) for subset in subsets], np.int64)
    at_once = min(len(subsets), max(1, BLOCK_NUMBERS // max(1, len(inputs))))
    block = np.empty((at_once, len(inputs)), np.float32)
    for start in range(0, len(subsets), at_once):
        rows = members[start : start + at_once].reshape(-1, length)
        _multiply(columns, rows, block)
        yield block[: len(rows)]


@no_type_check
@numba.njit(nogil=True, cache=True)
def _multiply(columns, members, block):
    """Write to each row of `block` the product of the columns listed in the same row of `members`."""
    for row in range(members.shape[0]):
        block[row] = 1.0
        for place in range(members.shape[1]):
            column = columns[members[row, place]]
            for x in range(block.shape[1]):
                block[row, x] *= column[x]


def weight_by_degree(
    found: LowDegree, kurtosis: Float[np.ndarray, " network"] | None = None
) -> tuple[Float[np.ndarray, "network degree"], Float[np.ndarray, "network degree"]]:
    """Unbiased estimate of the sum of squared coefficients of each degree, and its standard error.

    On average the square of an estimate is too large by the square of its standard error. This bias is subtracted, so a
    sum can be negative. The standard error assumes independent, normal estimates. But if a function is large on few
    inputs only, the errors of its estimates are correlated; `kurtosis` corrects the standard error for this.

    Parameters
    ----------
    kurtosis
        (network,) E f⁴ / (E f²)², with f the output of the network and E the mean over inputs. By default 1.

    Examples
    --------
    >>> low_degree = LowDegree([(), (0,), (1,)], np.array([[2.0, 0.5, 0.1]]), np.array([[0.0, 0.1, 0.1]]))
    >>> weight_by_degree(low_degree)[0].round(3)
    array([[4.  , 0.24]])
    """
    degrees: Int[np.ndarray, " subset"] = np.array([len(subset) for subset in found.subsets])
    squares = found.coefficients**2 - found.errors**2
    fourths = 2 * found.errors**4  # the variance of ĉ² is 4 c² e² + 2 e⁴, and ĉ² - e² stands for c²
    # With g the part of f of one degree, the estimate of E g² = E f g from N inputs has to first order the variance
    # Var(2 f g) / N = 4 (E f² g² - (E g²)²) / N. Here E f² g² is approximated by `kurtosis` times E f² E g².
    spread = np.ones(len(squares)) if kurtosis is None else np.maximum(kurtosis, 1.0)
    variances = 4 * squares * found.errors**2 * spread[:, None] + fourths
    marks = np.stack([degrees == degree for degree in range(int(degrees.max()) + 1)], axis=1).astype(float)
    return squares @ marks, np.sqrt(np.maximum(variances @ marks, fourths @ marks))


def largest_by_chance(n_coefficients: int) -> float:
    """Median of the largest of `n_coefficients` |estimates|, in standard errors, if all true coefficients are 0.

    Examples
    --------
    >>> round(largest_by_chance(10_693), 2)
    3.99
    """
    return float(-ndtri((1 - 0.5 ** (1 / n_coefficients)) / 2))
