"""Branch and bound over the irrelevant bits of a pattern, in slices of time, and of many patterns in turn.

`tree.py` walks; here are the network's numbers that it starts from, the exact arithmetic for inputs whose sign float64
does not show, and the clock. A search is complete: given time, it finds the sign of the least margin, whatever that is,
and unless only the sign was asked for the least margin itself, up to the rounding of float64.
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
ROUND = 4e9  # of all patterns together, at most, before time is looked at
EXACT_AT_ONCE = 64  # inputs evaluated in exact arithmetic before time is looked at
LARGE = ("rows", "c", "v", "size", "reach", "candidates")  # of a tree: made again for each slice


class Search:
    """The search on one pattern of the relevant bits, at unit scale.

    Attributes
    ----------
    finished
        Whether every input is decided: `lower` is then above the goal or, of a search without one, the least margin
        less its rounding error.
    missed
        Whether an input was found that is not above the goal.
    """

    def __init__(self, net: UnitScale, support: Sequence[int], pattern: Int8[np.ndarray, " k"], *, prune: bool = True):
        self.net, self.parity, self.prune = net, int(pattern.prod()), prune
        self.irrelevant = np.array(irrelevant_bits(net.W.shape[1], support), np.int64)
        alive = net.alive
        W, b = net.W[alive], net.b[alive]
        self.weighted = np.array(weighted_bits(net, support), np.int64)
        self.unit = Fraction(2) ** net.exponent
        self.base = np.ones(net.W.shape[1], np.int8)
        self.base[list(support)] = pattern
        c = b + W[:, list(support)] @ pattern.astype(np.float64)
        size = np.abs(W).sum(axis=1) + np.abs(b)
        self.numbers = np.ascontiguousarray(W[:, self.weighted]), c, self.parity * net.u[alive], size
        self.roundings = 2.0 * len(c) + 8.0 * net.W.shape[1] + 64.0  # twice what a term of an output can meet
        self.kept: Tree | None = None  # without its large arrays
        self.waiting = np.empty((0, len(self.weighted)), np.int8)  # inputs of unknown sign
        self.exact_least: Fraction | None = None
        self.exact_bits: np.ndarray | None = None
        self.finished = self.missed = False

    @property
    def fails(self) -> bool:
        """Whether an input was found whose margin is not positive."""
        return self.kept is not None and bool(self.kept.counts[FAILS])

    @property
    def closed(self) -> float:
        """Share of the pattern's inputs that are decided, in 0..1."""
        return 0.0 if self.kept is None else float(self.kept.values[CLOSED])

    @property
    def work(self) -> float:
        """Evaluations of one neuron at one input so far, about."""
        return 0.0 if self.kept is None else float(self.kept.values[WORK])

    @property
    def branches(self) -> bool:
        """Whether nodes may be closed without evaluating their inputs."""
        return self.prune and len(self.weighted) > LEAF

    @property
    def lower(self) -> float:
        """No margin on the pattern is smaller, in the net's unit; -inf before anything is known."""
        if self.kept is None:
            return -np.inf
        tree, depth = self.kept, int(self.kept.counts[DEPTH])
        begun = [at for at in range(depth + 1) if tree.tried[at] < 2]  # nodes that are still open
        decided = [
            at if tree.tried[at] else at - 1 for at in begun
        ]  # a new node has at least the bound of the one above
        bounds = [float(tree.lower[at] - tree.error[at]) if at >= 0 else -np.inf for at in decided]
        if self.fails or len(self.waiting):
            return min([float(tree.values[FLOOR]), *bounds])
        exact = [] if self.exact_least is None else [floor64(self.exact_least)]
        return min([float(tree.values[CLEAR]), *exact, *bounds])

    @property
    def bits(self) -> Int8[np.ndarray, " bit"] | None:
        """(bit,) the irrelevant bits of the worst input found; None if there is none yet."""
        if self.exact_least is not None and self.exact_least <= 0:
            return self.least_exactly
        if self.kept is None or np.isinf(self.kept.values[BEST]):
            return None
        return self._inputs(self.kept.best[None])[0, self.irrelevant]

    @property
    def least_exactly(self) -> Int8[np.ndarray, " bit"] | None:
        """(bit,) the irrelevant bits of the least margin among those computed exactly; None if there is none."""
        return None if self.exact_bits is None else self._inputs(self.exact_bits[None])[0, self.irrelevant]

    def go_on(self, goal: float, amount: float, deadline: float) -> None:
        """Search on, for this amount of work, until it is finished or has missed its goal."""
        tree = planted(*self.numbers)
        if self.kept is not None:
            small = {name: values for name, values in self.kept._asdict().items() if name not in LARGE}
            tree = tree._replace(**small)
            regrow(tree)
        until = tree.values[WORK] + amount
        answer = FULL
        while answer == FULL:
            self._decide_exactly(tree, deadline)
            if len(self.waiting):
                break
            answer = walk(tree, goal, self.prune, self.roundings, until)
        self._decide_exactly(tree, deadline)
        self.kept = tree._replace(**{name: np.empty(0) for name in LARGE})
        self.finished = answer == FINISHED and not len(self.waiting)
        self.missed = answer == FAILED or (goal < np.inf and self.fails)

    def _decide_exactly(self, tree: Tree, deadline: float) -> None:
        """Evaluate what waits, unless a failing input is known."""
        new = tree.candidates[: tree.counts[N_CANDIDATES]]
        tree.counts[N_CANDIDATES] = 0
        self.waiting = np.concatenate([self.waiting, new])
        while len(self.waiting) and not tree.counts[FAILS]:
            now, self.waiting = self.waiting[:EXACT_AT_ONCE], self.waiting[EXACT_AT_ONCE:]
            outputs = exact_outputs(*self.net.raw, self._inputs(now))
            margins = [self.parity * output / self.unit for output in outputs]
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
    """Search on all patterns in turn until all are finished, one misses the goal, or time is up.

    All patterns get the same amount of work before a miss or the time is looked at, so that the outcome of a search
    that is not cut short does not depend on the speed of the machine or its number of cores.

    Parameters
    ----------
    searches
        One for each pattern, with the same goal whenever they are searched on.
    deadline
        When to stop, as `time.monotonic` counts. A first slice of work, about a millisecond, is always done.
    goal
        Above which every margin is to be shown: 0 asks for the sign only. inf: find each least margin.
    most
        Work in all, after which to stop.

    Returns
    -------
    Whether all are finished.
    """
    amount, spent, first = FIRST_SLICE, 0.0, True
    left = [search for search in searches if not search.finished]
    with ThreadPoolExecutor(usable_cores()) as pool:
        while left and spent < most and not any(search.missed for search in left):
            part = min(amount, ROUND / len(left), LARGEST_SLICE)

            def one(search: Search, part: float = part, first: bool = first) -> None:
                if first or monotonic() < deadline:
                    search.go_on(goal, part, deadline)

            list(pool.map(one, left))
            if monotonic() >= deadline:
                break
            spent += part * len(left)
            left = [search for search in left if not search.finished]
            amount, first = 2 * amount, False
    return all(search.finished for search in searches)
