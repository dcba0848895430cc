"""Number of flips of irrelevant bits from an input to the nearest failing input with the same relevant bits.

An input fails if its margin (parity · output) is not positive. `halves.py` computes the margins of all choices x of
the irrelevant bits. At first d(x) is 0 if x fails, else infinite. One pass per bit j then lowers d(x) to the result:

    d(x) <- min(d(x), d(x with bit j flipped) + 1)

Exact arithmetic decides the sign of margins within the rounding error of 0, as long as time is left.
"""

from collections.abc import Sequence
from time import monotonic

import numpy as np
from jaxtyping import Bool, Float, Int8, Int16

from circuits.constructions.certifying.exact_outputs import exact_outputs
from circuits.constructions.certifying.halves import all_margins, bits_of
from circuits.constructions.certifying.restriction import UnitScale, irrelevant_bits, restriction, weighted_bits

MOST_BITS = 20  # irrelevant bits with a weight; a thousand neurons on 2^20 choices take a second
NEVER = 1000  # more than any distance
EXACT_AT_ONCE = 64


def flips_to_failure(
    net: UnitScale,
    relevant_bits: Sequence[int],
    pattern: Int8[np.ndarray, " k"],
    bits: Int8[np.ndarray, "example bit"],
    deadline: float,
) -> tuple[Float[np.ndarray, " example"], Float[np.ndarray, " example"]]:
    """Bounds of the fewest flips of irrelevant bits until the output's sign is not the parity; inf if no flips suffice.

    The results are lower bounds and upper bounds. They differ only if the sign of a margin near 0 stays undecided.

    Parameters
    ----------
    net, deadline
        The network has at most 20 irrelevant bits that have a weight. After `deadline`, on the clock `time.monotonic`,
        no further margins near 0 are evaluated in exact arithmetic.
    relevant_bits, pattern, bits
        `pattern` (k,) holds the relevant bits' values, ±1. `bits` (example, bit) holds the irrelevant bits' values, ±1.

    Examples
    --------
    The output is x0 + (x1 + x2) / 2. With x0 = 1 it fails at x1 = x2 = -1.

    >>> from circuits.constructions.certifying.restriction import unit_scale
    >>> net = unit_scale(np.array([[1.0, 0.5, 0.5], [-1.0, -0.5, -0.5]]), np.zeros(2), np.array([1.0, -1.0]))
    >>> flips_to_failure(net, [0], np.array([1], np.int8), np.array([[1, 1], [1, -1]], np.int8), np.inf)
    (array([2., 1.]), array([2., 1.]))
    """
    weighted = weighted_bits(net, relevant_bits)
    places = np.searchsorted(irrelevant_bits(net.W.shape[1], relevant_bits), weighted)
    margin = restriction(net, relevant_bits, pattern)
    A, slope = np.ascontiguousarray(margin.A[:, places]), np.ascontiguousarray(margin.slope[places])
    values = np.empty(2 ** len(weighted))
    all_margins(margin.constant, slope, A, margin.c, margin.v, len(weighted), len(margin.v), values)
    fails, doubtful = values < -net.rounding, np.abs(values) <= net.rounding
    entries = (bits[:, places] > 0) @ (1 << np.arange(len(weighted)))
    lower, upper = (_distances(inputs)[entries] for inputs in (fails | doubtful, fails))
    if (lower < upper).any():
        _decide(net, relevant_bits, pattern, fails, doubtful, deadline)
        lower, upper = (_distances(inputs)[entries] for inputs in (fails | doubtful, fails))
    return np.where(lower < NEVER, lower, np.inf), np.where(upper < NEVER, upper, np.inf)


def _distances(inputs: Bool[np.ndarray, " choice"]) -> Int16[np.ndarray, " choice"]:
    """Hamming distance from each choice of bits to the nearest choice marked in `inputs`; `NEVER` if none is marked."""
    distance = np.where(inputs, 0, NEVER).astype(np.int16)
    for bit in range(len(inputs).bit_length() - 1):
        halves = distance.reshape(-1, 2, 1 << bit)  # (…, this bit, …)
        np.minimum(halves, halves[:, ::-1] + 1, out=halves)
    return np.minimum(distance, np.int16(NEVER))


def _decide(
    net: UnitScale,
    relevant_bits: Sequence[int],
    pattern: Int8[np.ndarray, " k"],
    fails: Bool[np.ndarray, " choice"],
    doubtful: Bool[np.ndarray, " choice"],
    deadline: float,
) -> None:
    """Decide by exact arithmetic, until `deadline`, whether parity · output <= 0 on the inputs marked in `doubtful`.

    Each entry of the masks `doubtful` and `fails` belongs to one input. The binary digits of the entry's index, lowest
    first, are the values of the irrelevant bits with nonzero weights; the digit 0 means -1. A decided input loses its
    mark in `doubtful`. The input gets a mark in `fails` if its parity · output is <= 0.
    """
    entries, weighted = np.flatnonzero(doubtful), weighted_bits(net, relevant_bits)
    for start in range(0, len(entries), EXACT_AT_ONCE):
        if monotonic() >= deadline:
            return
        some = entries[start : start + EXACT_AT_ONCE]
        inputs = np.ones((len(some), net.W.shape[1]), np.int8)
        inputs[:, list(relevant_bits)] = pattern
        inputs[:, weighted] = bits_of(some, len(weighted))
        outputs = exact_outputs(*net.raw, inputs)
        fails[some] = [int(pattern.prod()) * output <= 0 for output in outputs]
        doubtful[some] = False
