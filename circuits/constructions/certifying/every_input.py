"""The margin on every input at once: how a network of few inputs, or of many relevant bits, is judged.

A search per pattern of the relevant bits costs a millisecond each before it evaluates anything. 16 relevant bits have
65,536 patterns, but only as many inputs as patterns times 2^(n-k). Here the tables of half inputs (`halves.py`) go over
all bits, the irrelevant ones lowest, so that an array (pattern, irrelevant bits) of outputs comes out. Inputs within
the rounding error of 0 are then decided in exact arithmetic, as long as time is left.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from time import monotonic
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int8

from circuits.constructions.certifying.exact_outputs import exact_outputs, floor64
from circuits.constructions.certifying.halves import all_margins
from circuits.constructions.certifying.restriction import UnitScale, irrelevant_bits, weighted_bits
from circuits.constructions.certifying.tree import TINY, UNIT
from circuits.constructions.patterns import parities, patterns
from circuits.threads import usable_cores

AT_ONCE = 16  # parts in memory at a time
PART = 16  # bits whose inputs are evaluated before time is looked at
EXACT_AT_ONCE = 64


class Cube(NamedTuple):
    """What all inputs say, in the net's unit.

    Attributes
    ----------
    lower, least
        (pattern,) no margin is below the first; the least one in float64. -inf and inf where time ended first.
    where
        (pattern, bit) the irrelevant bits of the least one.
    known
        (pattern,) whether the pattern was evaluated.
    exact
        (place of a pattern, irrelevant bits) that are, in exact arithmetic, least on the pattern or not above 0.
    fails
        Whether one of them is not above 0.
    """

    lower: Float[np.ndarray, " pattern"]
    least: Float[np.ndarray, " pattern"]
    where: Int8[np.ndarray, "pattern bit"]
    known: Bool[np.ndarray, " pattern"]
    exact: list[tuple[int, Int8[np.ndarray, " bit"]]]
    fails: bool


def whole_cube(net: UnitScale, support: Sequence[int], deadline: float) -> Cube:
    """Evaluate every input; the first 2^16 whatever the time.

    Parameters
    ----------
    net
        The network.
    support
        (k,) relevant bits.
    deadline
        When to stop, as `time.monotonic` counts.

    Examples
    --------
    >>> from circuits.constructions.certifying.restriction import unit_scale
    >>> net = unit_scale(np.array([[1.0, 0.25], [-1.0, 0.25]]), np.zeros(2), np.array([1.0, -1.0]))
    >>> cube = whole_cube(net, [0], np.inf)
    >>> (net.scale * cube.least).tolist(), cube.where.tolist(), cube.fails
    ([0.75, 0.75], [[-1], [-1]], False)
    """
    k, irrelevant, weighted = len(support), irrelevant_bits(net.W.shape[1], support), weighted_bits(net, support)
    error = (2.0 * len(net.u) + 8.0 * net.W.shape[1] + 64.0) * UNIT + TINY  # the terms of an output add up to 1 at most
    signs = parities(k).astype(np.float64)
    least, clear = np.full(2**k, np.inf), np.full(2**k, np.inf)
    entry = np.zeros(2**k, np.int64)
    doubtful: list[np.ndarray] = []  # (3, input): pattern, entry, margin

    def look(start: int, outputs: np.ndarray) -> None:
        at = slice(start, start + len(outputs))
        margins = outputs * signs[at, None]
        entry[at], least[at] = margins.argmin(axis=1), margins.min(axis=1)
        clear[at] = np.where(margins > error, margins, np.inf).min(axis=1)
        if least[at].min() >= -error:
            rows, columns = np.nonzero(margins <= error)
            doubtful.append(np.stack([rows + start, columns, margins[rows, columns]]))

    for start, outputs in _outputs(net, support, weighted, deadline):
        look(start, outputs)
    where = np.ones((2**k, len(irrelevant)), np.int8)
    places = np.searchsorted(irrelevant, weighted)
    where[:, places] = _bits(entry, len(weighted))
    computed = least < np.inf
    fails = bool((least < -error).any())
    lower = np.where(computed, least - error, -np.inf)
    near = np.concatenate(doubtful, axis=1) if doubtful and not fails else np.empty((3, 0))
    near = near[:, np.argsort(near[2], kind="stable")]
    rows = near[0].astype(np.int64)
    bits = where[rows]
    bits[:, places] = _bits(near[1].astype(np.int64), len(weighted))
    margins = _exact_margins(net, support, rows, bits, deadline)
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
    net: UnitScale, support: Sequence[int], weighted: list[int], deadline: float
) -> Iterator[tuple[int, np.ndarray]]:
    """The outputs (pattern, irrelevant bits) of some patterns at a time, with the place of the first."""
    k = len(support)
    n_low = min(max(PART - len(weighted), 0), k)  # relevant bits that a part goes through
    last = list(support)[k - n_low :][::-1]
    A = np.ascontiguousarray(net.W[net.alive][:, weighted + last])
    first = net.W[net.alive][:, list(support)[: k - n_low]]
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
    net: UnitScale, support: Sequence[int], rows: np.ndarray, bits: np.ndarray, deadline: float
) -> list[Fraction]:
    """Exact margins of these inputs, in the network's own units, until one is not above 0 or time is up."""
    inputs = np.empty((len(rows), net.W.shape[1]), np.int8)
    inputs[:, list(support)] = patterns(len(support))[rows]
    inputs[:, irrelevant_bits(net.W.shape[1], support)] = bits
    signs, margins = parities(len(support))[rows].tolist(), list[Fraction]()
    for start in range(0, len(rows), EXACT_AT_ONCE):
        now = slice(start, start + EXACT_AT_ONCE)
        outputs = exact_outputs(*net.raw, inputs[now])
        margins += [sign * output for sign, output in zip(signs[now], outputs, strict=True)]
        if min(margins[start:]) <= 0 or monotonic() >= deadline:
            break
    return margins


def _bits(entries: np.ndarray, n_bits: int) -> Int8[np.ndarray, "entry bit"]:
    """Bit j of each index as ±1."""
    return (2 * (entries[:, None] >> np.arange(n_bits) & 1) - 1).astype(np.int8)
