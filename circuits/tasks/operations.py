"""Operations on two residues mod p: those of Power et al. 2022, appendix A.1, and x*y, which their released code adds.

x/y is the q with q y = x (mod p). It needs a prime p, and y ≠ 0. The operation "x/y if y odd, else x-y" also needs a
prime p, but allows y = 0, since it never divides by an even y.
"""

from collections.abc import Callable
from math import isqrt
from typing import Literal

import numpy as np
from jaxtyping import Int

Operation = Literal[
    "x+y", "x-y", "x*y", "x/y", "x/y if y odd, else x-y",
    "x^2+y^2", "x^2+x*y+y^2", "x^2+x*y+y^2+x", "x^3+x*y", "x^3+x*y^2+y",
]  # fmt: skip


def is_prime(number: int) -> bool:
    """Whether a number has no divisor but 1 and itself.

    Examples
    --------
    >>> [number for number in range(20) if is_prime(number)]
    [2, 3, 5, 7, 11, 13, 17, 19]
    """
    return number > 1 and all(number % divisor for divisor in range(2, isqrt(number) + 1))


def quotient(x: Int[np.ndarray, " example"], y: Int[np.ndarray, " example"], p: int) -> Int[np.ndarray, " example"]:
    """The q in 0..p-1 with q y = x (mod p), for prime p; undefined where y = 0.

    Examples
    --------
    >>> quotient(np.array([1, 3]), np.array([2, 3]), p=7)
    array([4, 1])
    """
    inverses = np.array([0, *(pow(number, -1, p) for number in range(1, p))])
    return x * inverses[y] % p


VALUES: dict[str, Callable[[np.ndarray, np.ndarray, int], np.ndarray]] = {  # of int64 x and y, before reduction mod p
    "x+y": lambda x, y, p: x + y,
    "x-y": lambda x, y, p: x - y,
    "x*y": lambda x, y, p: x * y,
    "x/y": quotient,
    "x/y if y odd, else x-y": lambda x, y, p: np.where(y % 2 == 1, quotient(x, y, p), x - y),
    "x^2+y^2": lambda x, y, p: x**2 + y**2,
    "x^2+x*y+y^2": lambda x, y, p: x**2 + x * y + y**2,
    "x^2+x*y+y^2+x": lambda x, y, p: x**2 + x * y + y**2 + x,
    "x^3+x*y": lambda x, y, p: x**3 + x * y,
    "x^3+x*y^2+y": lambda x, y, p: x**3 + x * y**2 + y,
}
