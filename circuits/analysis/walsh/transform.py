"""The Walsh-Hadamard transform: a function on {-1, 1}^k as a sum of products of its bits.

Every f : {-1, 1}^k -> R is f(x) = Σ_T f^(T) χ_T(x) with χ_T(x) = Π_{i∈T} x_i and f^(T) = E f(x) χ_T(x), x uniform. The
χ_T are orthonormal, so E f² = Σ_T f^(T)² (Parseval). For the parity of the bits S, f^(S) = 1 and all others are 0. See
O'Donnell 2014, "Analysis of Boolean functions", chapter 1.

For each bit, the code replaces a = f(…, -1, …) and b = f(…, 1, …) by (a + b)/2 and (b - a)/2. This takes k 2^k steps.
"""

from collections.abc import Sequence
from itertools import compress

import numpy as np
from jaxtyping import Bool, Float, Real


def walsh_coefficients(values: Real[np.ndarray, "*any pattern"]) -> Float[np.ndarray, "*any subset"]:
    """Walsh coefficients f^(T) of functions given by their values, float64.

    Parameters
    ----------
    values
        (…, 2^k) f at every setting of its k bits, in the order of `patterns(k)`.

    Returns
    -------
    (…, 2^k) f^(T). Write an index in binary with k digits: the first digit is 1 if T contains the first bit, and so on.

    Raises
    ------
    ValueError
        The number of values is not a power of 2.

    Examples
    --------
    >>> from circuits.constructions.patterns import parities
    >>> walsh_coefficients(parities(2))
    array([0., 0., 0., 1.])
    """
    return _transformed(values, 0.5)


def walsh_values(coefficients: Real[np.ndarray, "*any subset"]) -> Float[np.ndarray, "*any pattern"]:
    """Values of the functions with the given Walsh coefficients, float64: the inverse of `walsh_coefficients`.

    Examples
    --------
    >>> walsh_values(np.array([0.0, 0.0, 0.0, 1.0]))
    array([ 1., -1., -1.,  1.])
    """
    return _transformed(coefficients, 1.0)


def _transformed(values: Real[np.ndarray, "*any place"], factor: float) -> Float[np.ndarray, "*any place"]:
    size = values.shape[-1]
    n_bits = size.bit_length() - 1
    if size != 2**n_bits:
        raise ValueError(f"a function of k bits has 2^k values, not {size}")
    result = np.array(values, np.float64, order="C")
    spare = np.empty(result.size // 2)
    for bit in range(n_bits):
        pairs = result.reshape(-1, 2, 2 ** (n_bits - 1 - bit))  # low: the bit is -1, high: 1
        low, high = pairs[:, 0], pairs[:, 1]
        difference = spare.reshape(low.shape)
        if factor == 1.0:
            np.subtract(low, high, out=difference)
            high += low
            low[...] = difference
        else:
            np.subtract(high, low, out=difference)
            low += high
            low *= factor
            np.multiply(difference, factor, out=high)
    return result


def membership(k: int) -> Bool[np.ndarray, "subset bit"]:
    """Mask of the members of every subset of k bits, in the order of `walsh_coefficients`.

    Examples
    --------
    >>> membership(2).tolist()
    [[False, False], [False, True], [True, False], [True, True]]
    """
    return (np.arange(2**k)[:, None] >> np.arange(k)[::-1] & 1).astype(bool)


def all_subsets(bits: Sequence[int]) -> list[tuple[int, ...]]:
    """All subsets of some input bits, in the order of `walsh_coefficients`.

    Examples
    --------
    >>> all_subsets((0, 7))
    [(), (7,), (0,), (0, 7)]
    """
    return [tuple(compress(bits, row)) for row in membership(len(bits)).tolist()]


def subset_name(bits: tuple[int, ...]) -> str:
    """Label of a subset of the input bits.

    Examples
    --------
    >>> subset_name((0, 12)), subset_name(())
    ('{0,12}', '{}')
    """
    return "{" + ",".join(map(str, bits)) + "}"
