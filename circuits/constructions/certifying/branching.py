"""Branch and bound over the irrelevant bits: one search per pattern (setting of the relevant bits), all taking turns.

Each search tries to prove that every margin (parity · output) of its pattern is above a given number, or it finds the
least margin, up to float64 rounding. Given enough time, it finds the sign of the least margin. If float64 cannot tell a
margin's sign, exact arithmetic does. `tree.py` walks the tree. This module prepares the root and keeps the time limit.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from time import monotonic

import numpy as np
from jaxtyping import Int8

from circuits.constructions.certifying.exact_outputs import exact_outputs, floor64
from circuits.constructions.certifying.restriction import UnitScale, irrelevant_bits, weighted_bits
from circuits.constructions.certifying.tree import (
    BEST,
    CLEAR,
    CLOSED,
    DEPTH,
    FAILED,
    FAILS,
    FINISHED,
    FLOOR,
    FULL,
    LEAF,
    N_CANDIDATES,
    WORK,
    Tree,
    planted,
    regrow,
    walk,
)
from circuits.threads import usable_cores

FIRST_SLICE, LARGEST_SLICE = 2e6, 1e9  # evaluations of a neuron at an input; 10^9 take a few tenths of a second
ROUND = 4e9  # most evaluations, over all patterns, between two looks at the clock
EXACT_AT_ONCE = 64  # inputs evaluated in exact arithmetic between two looks at the clock
LARGE = ("rows", "c", "v", "size", "reach", "candidates")  # arrays of a tree that each slice computes again


class Search:
    """Branch and bound over all inputs with one setting of the relevant bits (pattern).

    The margin of an input is parity · output, with the output scaled to [-1, 1]. The method `go_on` takes a goal. With
    a finite goal (>= 0), the search tries to prove that every margin is above the goal. With goal inf, the search looks
    for the least margin. The property `lower` is a lower bound of all margins.

    Attributes
    ----------
    finished
        Whether every input is evaluated or excluded by a bound. If the goal was inf, `lower` is then the least margin,
        up to rounding. If the goal was 0, then either `lower` is above 0, or the search has found a margin <= 0. For
        any other goal, compare `lower` with the goal to see whether it is reached.
    missed
        Whether the search has found a margin that disproves its finite goal. A margin <= 0 always counts. A margin
        above 0 and <= the goal counts, unless it is found in the last step of the search. If at most 12 irrelevant
        bits have nonzero weights, the search has only one step. With goal inf, `missed` is False.
    """

    def __init__(
        self, net: UnitScale, relevant_bits: Sequence[int], pattern: Int8[np.ndarray, " k"], *, prune: bool = True
    ):
        self.net, self.parity, self.prune = net, int(pattern.prod()), prune
        self.irrelevant = np.array(irrelevant_bits(net.W.shape[1], relevant_bits), np.int64)
        alive = net.alive
        W, b = net.W[alive], net.b[alive]
        self.weighted = np.array(weighted_bits(net, relevant_bits), np.int64)
        self.unit = Fraction(2) ** net.exponent
        self.base = np.ones(net.W.shape[1], np.int8)
        self.base[list(relevant_bits)] = pattern
        c = b + W[:, list(relevant_bits)] @ pattern.astype(np.float64)
        size = np.abs(W).sum(axis=1) + np.abs(b)
        self.numbers = np.ascontiguousarray(W[:, self.weighted]), c, self.parity * net.u[alive], size
        self.roundings = 2.0 * len(c) + 8.0 * net.W.shape[1] + 64.0  # twice the roundings of a term of an output
        self.tree: Tree | None = None  # without its large arrays
        self.waiting = np.empty((0, len(self.weighted)), np.int8)  # inputs of unknown sign
        self.exact_least: Fraction | None = None
        self.exact_bits: np.ndarray | None = None
        self.finished = self.missed = False

    @property
    def fails(self) -> bool:
        """Whether some input has a margin (parity · f) that is not positive."""
        return self.tree is not None and bool(self.tree.counts[FAILS])

    @property
    def closed(self) -> float:
        """Progress in 0..1: the share of this search's inputs that are already evaluated or excluded by a bound."""
        return 0.0 if self.tree is None else float(self.tree.values[CLOSED])

    @property
    def work(self) -> float:
        """Approximate cost of the search so far. The unit is the cost of evaluating one neuron at one input."""
        return 0.0 if self.tree is None else float(self.tree.values[WORK])

    @property
    def branches(self) -> bool:
        """Whether the search can exclude nodes (inputs with some bits fixed) by a bound, without evaluating inputs."""
        return self.prune and len(self.weighted) > LEAF

    @property
    def lower(self) -> float:
        """Lower bound of parity · f on all inputs of this search; -inf at first. The output f is scaled to |f| <= 1."""
        if self.tree is None:
            return -np.inf
        tree, depth = self.tree, int(self.tree.counts[DEPTH])
        still_open = [at for at in range(depth + 1) if tree.tried[at] < 2]
        bounded = [at if tree.tried[at] else at - 1 for at in still_open]  # the bound of a parent holds for a new node
        bounds = [float(tree.lower[at] - tree.error[at]) if at >= 0 else -np.inf for at in bounded]
        if self.fails or len(self.waiting):
            return min([float(tree.values[FLOOR]), *bounds])
        exact = [] if self.exact_least is None else [floor64(self.exact_least)]
        return min([float(tree.values[CLEAR]), *exact, *bounds])

    @property
    def bits(self) -> Int8[np.ndarray, " bit"] | None:
        """(bit,) values (±1) of the irrelevant bits at the least margin so far; None before the first evaluation."""
        if self.exact_least is not None and self.exact_least <= 0:
            return self.least_exactly
        if self.tree is None or np.isinf(self.tree.values[BEST]):
            return None
        return self._inputs(self.tree.best[None])[0, self.irrelevant]

    @property
    def least_exactly(self) -> Int8[np.ndarray, " bit"] | None:
        """Irrelevant bits (±1) of the least margin among inputs evaluated in exact arithmetic; None if none was."""
        return None if self.exact_bits is None else self._inputs(self.exact_bits[None])[0, self.irrelevant]

    def go_on(self, goal: float, amount: float, deadline: float) -> None:
        """Continue the search until it ends, or until this call has done the work `amount`.

        With a finite `goal`, the search tries to prove that every margin (parity · output) is above the goal, and stops
        early if it finds a margin <= goal. With goal inf, it looks for the least margin. The unit of `amount` is
        evaluating one neuron at one input. Exact arithmetic (of margins near 0) stops at `deadline` (`time.monotonic`).
        """
        tree = planted(*self.numbers)
        if self.tree is not None:
            tree = tree._replace(**{name: part for name, part in self.tree._asdict().items() if name not in LARGE})
            regrow(tree)
        until = tree.values[WORK] + amount
        answer = FULL
        while answer == FULL:
            self._decide_exactly(tree, deadline)
            if len(self.waiting):
                break
            answer = walk(tree, goal, self.prune, self.roundings, until)
        self._decide_exactly(tree, deadline)
        self.tree = tree._replace(**{name: np.empty(0) for name in LARGE})
        self.finished = answer == FINISHED and not len(self.waiting)
        self.missed = answer == FAILED or (goal < np.inf and self.fails)

    def _decide_exactly(self, tree: Tree, deadline: float) -> None:
        """In exact arithmetic, compute margins whose sign float64 cannot tell, until one is <= 0 or time is up."""
        self.waiting = np.concatenate([self.waiting, tree.candidates[: tree.counts[N_CANDIDATES]]])
        tree.counts[N_CANDIDATES] = 0
        while len(self.waiting) and not tree.counts[FAILS]:
            now, self.waiting = self.waiting[:EXACT_AT_ONCE], self.waiting[EXACT_AT_ONCE:]
            margins = [self.parity * output / self.unit for output in exact_outputs(*self.net.raw, self._inputs(now))]
            least = min(range(len(margins)), key=margins.__getitem__)
            if self.exact_least is None or margins[least] < self.exact_least:
                self.exact_least, self.exact_bits = margins[least], now[least]
            if margins[least] <= 0:
                tree.counts[FAILS] = 1
            if monotonic() >= deadline:
                break
        if tree.counts[FAILS]:
            self.waiting = self.waiting[:0]

    def _inputs(self, bits: Int8[np.ndarray, "example bit"]) -> Int8[np.ndarray, "example input"]:
        inputs = np.repeat(self.base[None], len(bits), axis=0)
        inputs[:, self.weighted] = bits
        return inputs


def settle(searches: Sequence[Search], deadline: float, *, goal: float = np.inf, most: float = np.inf) -> bool:
    """Run several searches of margins (parity · output) side by side; return whether all searches are finished.

    If `goal` is finite (>= 0), each search tries to prove that all its margins are above the goal. If `goal` is inf,
    each search looks for its least margin. In each round, every unfinished search does the same work. The rounds end
    - if all searches are finished, or an unfinished search has found a margin that disproves the goal,
    - if the time `deadline` on `time.monotonic` is reached, or
    - if this call has done the work `most`. The unit of work is evaluating one neuron at one input.

    The first round, a millisecond or so of each search, runs even after `deadline`. If `deadline` is not reached, the
    results are the same on every machine. Later calls on a search must pass the same goal.
    """
    amount, work, first = FIRST_SLICE, 0.0, True
    unfinished = [search for search in searches if not search.finished]
    with ThreadPoolExecutor(usable_cores()) as pool:
        while unfinished and work < most and not any(search.missed for search in unfinished):
            part = min(amount, ROUND / len(unfinished), LARGEST_SLICE)

            def go_on(search: Search, part: float = part, first: bool = first) -> None:
                if first or monotonic() < deadline:
                    search.go_on(goal, part, deadline)

            list(pool.map(go_on, unfinished))
            if monotonic() >= deadline:
                break
            work += part * len(unfinished)
            unfinished = [search for search in unfinished if not search.finished]
            amount, first = 2 * amount, False
    return all(search.finished for search in searches)
