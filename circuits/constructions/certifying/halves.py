"""Margins at all values of a few bits, from tables of sums over half of the bits: the compiled inner loop of a proof.

Split the bits in two halves, x = (l, r). The preactivation c_i + A_i·x of neuron i is then α_i[l] + β_i[r], with small
tables of the two summands c_i + A_i·l and A_i·r. So an input costs one addition, one maximum and one multiply-add per
neuron, not a dot product. Each bit x_j doubles a table: an entry for x_j = 1 is the entry for x_j = -1 plus twice the
weight of x_j. Only 32 neurons at a time have tables, so the tables stay in the cache.

Each term of an output passes through a number of operations that round. This number times 2^-53 times the sum of
absolute terms bounds the error of the output (Higham 2002, section 3.1); `tree.py` counts the operations.
"""

from typing import no_type_check

import numba
import numpy as np
from jaxtyping import Int, Int8

RIGHT = 8  # bits of the right half: 2^8 outputs of a left half stay in the nearest cache
BLOCK = 32  # neurons whose tables are held at a time: 64 kB


@no_type_check
@numba.njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract"})
def all_margins(constant, slope, A, c, v, n_bits, n_terms, out):
    """Write constant + slope·x + Σ_i v_i relu(c_i + A_i·x) for every x of `n_bits` bits into `out`.

    `slope` is (bit,), `A` (neuron, bit), `c`, `v` (neuron,). Only the first `n_bits` bits and `n_terms` neurons count.
    `out` is (2^n_bits,) or longer. Bit j of the index of an entry of `out` is 1 if x_j = 1, and 0 if x_j = -1.
    """
    n_right = min(RIGHT, n_bits)
    n_left = n_bits - n_right
    width, height = 1 << n_right, 1 << n_left
    alpha, beta = np.empty((BLOCK, height)), np.empty((BLOCK, width))
    _table(constant, slope, 0, n_right, beta[0])
    _table(0.0, slope, n_right, n_left, alpha[0])
    for left in range(height):
        row = out[left * width : (left + 1) * width]
        for right in range(width):
            row[right] = alpha[0, left] + beta[0, right]
    for start in range(0, n_terms, BLOCK):
        size = min(BLOCK, n_terms - start)
        for place in range(size):
            _table(0.0, A[start + place], 0, n_right, beta[place])
            _table(c[start + place], A[start + place], n_right, n_left, alpha[place])
        for left in range(height):
            _add_terms(out[left * width : (left + 1) * width], alpha[:, left], beta, v[start : start + size])


def bits_of(entries: Int[np.ndarray, "*entry"], n_bits: int) -> Int8[np.ndarray, "*entry bit"]:
    """The lowest `n_bits` binary digits of each integer in `entries`, lowest digit first; -1 stands for the digit 0.

    Examples
    --------
    >>> bits_of(np.array([0, 1, 2]), 2).tolist()
    [[-1, -1], [1, -1], [-1, 1]]
    """
    return (2 * (entries[..., None] >> np.arange(n_bits) & 1) - 1).astype(np.int8)


@no_type_check
@numba.njit(nogil=True, cache=True, error_model="numpy")
def _table(constant, weights, start, n_bits, out):
    """Write constant + Σ_j weights[start + j] x_j into `out`, for every x of `n_bits` bits."""
    total = constant
    for j in range(n_bits):
        total -= weights[start + j]
    out[0] = total
    for j in range(n_bits):
        twice = 2.0 * weights[start + j]
        half = 1 << j
        for entry in range(half):
            out[half + entry] = out[entry] + twice


@no_type_check
@numba.njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract"})
def _add_terms(row, alpha, beta, v):
    """Add Σ_i v_i relu(alpha_i + beta_i[r]) to row[r] for every r, four neurons at a time."""
    n_terms, width = v.shape[0], row.shape[0]
    last = n_terms - n_terms % 4
    for i in range(0, last, 4):
        a0, a1, a2, a3 = alpha[i], alpha[i + 1], alpha[i + 2], alpha[i + 3]
        v0, v1, v2, v3 = v[i], v[i + 1], v[i + 2], v[i + 3]
        b0, b1, b2, b3 = beta[i], beta[i + 1], beta[i + 2], beta[i + 3]
        for right in range(width):
            h0, h1, h2, h3 = a0 + b0[right], a1 + b1[right], a2 + b2[right], a3 + b3[right]
            total = v0 * (h0 if h0 > 0.0 else 0.0)
            total += v1 * (h1 if h1 > 0.0 else 0.0)
            total += v2 * (h2 if h2 > 0.0 else 0.0)
            total += v3 * (h3 if h3 > 0.0 else 0.0)
            row[right] += total
    for i in range(last, n_terms):
        for right in range(width):
            h = alpha[i] + beta[i, right]
            row[right] += v[i] * (h if h > 0.0 else 0.0)
