"""The margin (parity · output) of every input, for networks with few inputs or many relevant bits.

A pattern is a setting of the relevant bits; 16 relevant bits have 65,536 patterns. One branch-and-bound search per
pattern would be slow, since each search takes a millisecond to begin. Here one call of `halves.py` can evaluate all
inputs of many patterns, as an array (pattern, choice of irrelevant bits) of outputs. If a margin is 0 up to the
rounding error, exact arithmetic then decides its sign, as long as time is left.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from time import monotonic
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int8

from circuits.constructions.certifying.exact_outputs import exact_outputs, floor64
from circuits.constructions.certifying.halves import all_margins, bits_of
from circuits.constructions.certifying.restriction import UnitScale, irrelevant_bits, weighted_bits
from circuits.constructions.certifying.tree import TINY, UNIT
from circuits.constructions.patterns import parities, patterns
from circuits.threads import usable_cores

AT_ONCE = 16  # parts in memory at a time
PART = 16  # bits whose inputs are evaluated between two looks at the clock
EXACT_AT_ONCE = 64


class Cube(NamedTuple):
    """Margins (parity · output, scaled to [-1, 1]) over all inputs, by setting of the relevant bits (pattern).

    Attributes
    ----------
    lower, least
        (pattern,) each. `lower` is a lower bound of the margin, and `least` is the least margin in float64. If time ran
        out before the pattern was evaluated, `lower` is -inf and `least` is inf.
    where, exact
        `where` (pattern, bit) holds the irrelevant bits of the input of least margin. `exact` lists the patterns with
        exactly computed margins: the pattern's index, and the irrelevant bits of its least exact margin.
    known, fails
        `known` (pattern,) tells whether all inputs of the pattern were evaluated. `fails` tells if any margin is <= 0.
    """

    lower: Float[np.ndarray, " pattern"]
    least: Float[np.ndarray, " pattern"]
    where: Int8[np.ndarray, "pattern bit"]
    known: Bool[np.ndarray, " pattern"]
    exact: list[tuple[int, Int8[np.ndarray, " bit"]]]
    fails: bool


def whole_cube(net: UnitScale, relevant_bits: Sequence[int], deadline: float) -> Cube:
    """Evaluate all inputs: the least margin (parity · output) for each setting of the relevant bits.

    Each setting has 2^w inputs, with w the number of irrelevant bits that have a weight. Bits without a weight stay
    fixed. The evaluation goes in parts. If w >= 16, a part is one setting. If w < 16, a part has 2^(16 - w) settings,
    or all settings if these are fewer. After `deadline` (on `time.monotonic`), no part begins except the first.

    Examples
    --------
    >>> from circuits.constructions.certifying.restriction import unit_scale
    >>> net = unit_scale(np.array([[1.0, 0.25], [-1.0, 0.25]]), np.zeros(2), np.array([1.0, -1.0]))
    >>> cube = whole_cube(net, [0], np.inf)
    >>> (net.scale * cube.least).tolist(), cube.where.tolist(), cube.fails
    ([0.75, 0.75], [[-1], [-1]], False)
    """
    irrelevant, weighted = irrelevant_bits(net.W.shape[1], relevant_bits), weighted_bits(net, relevant_bits)
    k = len(relevant_bits)
    error = (2.0 * len(net.u) + 8.0 * net.W.shape[1] + 64.0) * UNIT + TINY  # the terms of an output add up to 1 at most
    signs = parities(k).astype(np.float64)
    least, clear = np.full(2**k, np.inf), np.full(2**k, np.inf)
    entry = np.zeros(2**k, np.int64)
    doubtful: list[np.ndarray] = []  # (3, input): pattern, entry, margin
    for start, outputs in _outputs(net, relevant_bits, weighted, deadline):
        now = slice(start, start + len(outputs))
        signed = outputs * signs[now, None]
        entry[now], least[now] = signed.argmin(axis=1), signed.min(axis=1)
        clear[now] = np.where(signed > error, signed, np.inf).min(axis=1)
        if least[now].min() >= -error:
            rows, columns = np.nonzero(signed <= error)
            doubtful.append(np.stack([rows + start, columns, signed[rows, columns]]))
    where = np.ones((2**k, len(irrelevant)), np.int8)
    places = np.searchsorted(irrelevant, weighted)
    where[:, places] = bits_of(entry, len(weighted))
    computed = least < np.inf
    fails = bool((least < -error).any())
    lower = np.where(computed, least - error, -np.inf)
    near = np.concatenate(doubtful, axis=1) if doubtful and not fails else np.empty((3, 0))
    near = near[:, np.argsort(near[2], kind="stable")]
    rows = near[0].astype(np.int64)
    bits = where[rows]
    bits[:, places] = bits_of(near[1].astype(np.int64), len(weighted))
    margins = _exact_margins(net, relevant_bits, rows, bits, deadline)
    lowest: dict[int, int] = {}
    for place, margin in enumerate(margins):
        at = int(rows[place])
        if at not in lowest or margin < margins[lowest[at]]:
            lowest[at] = place
    exact = [(at, bits[place]) for at, place in lowest.items()]
    fails |= any(margin <= 0 for margin in margins)
    if not fails and len(margins) == len(rows):
        for at in lowest:
            lower[at] = min(clear[at] - error, floor64(margins[lowest[at]] / Fraction(2) ** net.exponent))
    return Cube(lower, least, where, computed, exact, fails)


def _outputs(
    net: UnitScale, relevant_bits: Sequence[int], weighted: list[int], deadline: float
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the outputs for all inputs, a few settings of the relevant bits at a time.

    The integer is the index of the first setting. The array has a row per setting, and a column per combination of
    values of the irrelevant bits `weighted`.
    """
    k = len(relevant_bits)
    n_low = min(max(PART - len(weighted), 0), k)  # relevant bits that vary within a part
    last = list(relevant_bits)[k - n_low :][::-1]
    A = np.ascontiguousarray(net.W[net.alive][:, weighted + last])
    first = net.W[net.alive][:, list(relevant_bits)[: k - n_low]]
    b, u, slope = net.b[net.alive], net.u[net.alive], np.zeros(A.shape[1])

    def part(place: int, prefix: np.ndarray) -> np.ndarray | None:
        if place and monotonic() >= deadline:
            return None
        out = np.empty(2 ** A.shape[1])
        all_margins(0.0, slope, A, b + first @ prefix, u, A.shape[1], len(u), out)
        return out.reshape(2**n_low, -1)

    prefixes = patterns(k - n_low).astype(np.float64) if k > n_low else np.zeros((1, 0))
    with ThreadPoolExecutor(usable_cores()) as pool:
        for start in range(0, len(prefixes), AT_ONCE):
            places = range(start, min(start + AT_ONCE, len(prefixes)))
            for place, outputs in zip(places, pool.map(part, places, prefixes[places]), strict=True):
                if outputs is None:
                    return
                yield place << n_low, outputs


def _exact_margins(
    net: UnitScale, relevant_bits: Sequence[int], pattern_indices: np.ndarray, other_bits: np.ndarray, deadline: float
) -> list[Fraction]:
    """Parity · output of each input, computed exactly from the original weights, until `deadline` or a value <= 0."""
    inputs = np.empty((len(pattern_indices), net.W.shape[1]), np.int8)
    inputs[:, list(relevant_bits)] = patterns(len(relevant_bits))[pattern_indices]
    inputs[:, irrelevant_bits(net.W.shape[1], relevant_bits)] = other_bits
    signs, margins = parities(len(relevant_bits))[pattern_indices].tolist(), list[Fraction]()
    for start in range(0, len(inputs), EXACT_AT_ONCE):
        now = slice(start, start + EXACT_AT_ONCE)
        outputs = exact_outputs(*net.raw, inputs[now])
        margins += [sign * output for sign, output in zip(signs[now], outputs, strict=True)]
        if min(margins[start:]) <= 0 or monotonic() >= deadline:
            break
    return margins
