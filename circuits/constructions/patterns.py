"""The 2^k patterns (settings of k relevant bits), in one fixed order, and their parity."""

import numpy as np
from jaxtyping import Int8


def patterns(k: int) -> Int8[np.ndarray, "pattern k"]:
    """Every pattern of k bits in {-1, 1}, counting up in binary with -1 as the digit 0.

    Examples
    --------
    >>> patterns(2).tolist()
    [[-1, -1], [-1, 1], [1, -1], [1, 1]]
    """
    digits = np.arange(2**k)[:, None] >> np.arange(k)[::-1] & 1
    return (2 * digits - 1).astype(np.int8)


def parities(k: int) -> Int8[np.ndarray, " pattern"]:
    """Π x_i of every pattern, in the order of `patterns`.

    Examples
    --------
    >>> parities(2).tolist()
    [1, -1, -1, 1]
    """
    return patterns(k).prod(axis=1).astype(np.int8)
