"""Proof, or refutation, that a network's sign equals the parity of its relevant bits on **all** 2^n inputs.

The margin of an input is m(x) = π(x)·f(x), with π the parity of the relevant bits. The network computes parity if m > 0
everywhere (Merrill et al. 2023, appendix D; an output of 0 has no sign). Irrelevant bits without weights do not count
in n. By default, `certify` distinguishes three cases:

- Small: n <= 18, or n <= 24 with more than 8 relevant bits. `certify` evaluates all inputs (`every_input.py`).
- Medium: not small, but either n <= 24, or the time limit suffices to evaluate all 2^n inputs.
- Large: all other networks.

A pattern is a setting of the relevant bits. It is undecided until its margins are proved to be above 0. A neuron is
unstable on a pattern if the irrelevant bits can turn it on and off. The steps for medium and large networks are:

1. Both: find a lower bound of each pattern's margins (`interval.py`). Flip irrelevant bits to find small margins.
2. Medium: find the least margin of each pattern by branch and bound (`branching.py`).
3. Large: look for the sign of the least margin of each undecided pattern by branch and bound.
4. Large: find the least margin of each pattern with at most 40 unstable neurons (`least_margin.py`).
5. Large: bound the margins of the other undecided patterns. The 40 neurons of largest |readout weight|·(‖weights‖₁ +
   |bias|) keep their relu, the others get linear bounds.
6. Both: continue branch and bound on the undecided patterns until the time limit.
7. Both: if the network is certified, try to raise the lower bounds to 1/2, 3/4 and 9/10 of the least margin found, in
   up to three attempts of about half a second.

The bounds hold for the float64 weights in exact arithmetic: floats are rationals. Rational arithmetic decides the
margins that float64 cannot distinguish from 0, and gives the margin of every reported input.
"""

from collections.abc import Sequence
from fractions import Fraction
from time import monotonic
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float, Int8, Real

from circuits.constructions.certifying.branching import Search, settle
from circuits.constructions.certifying.certificate import Certificate, refuse_time_limit, verdict_of
from circuits.constructions.certifying.every_input import whole_cube
from circuits.constructions.certifying.exact_outputs import exact_outputs, rounded
from circuits.constructions.certifying.interval import quick_bounds
from circuits.constructions.certifying.least_margin import least, lowered
from circuits.constructions.certifying.milp import MOST_EXACT
from circuits.constructions.certifying.restriction import irrelevant_bits, restriction, unit_scale, weighted_bits
from circuits.constructions.patterns import parities, patterns
from circuits.errors import InputError

ALWAYS_SEARCHED = 24  # bits; their inputs take seconds, even with a thousand neurons
AT_ONCE = 18  # bits; up to this number all inputs are evaluated at once, not pattern by pattern
FEW_RELEVANT = 8  # with more bits relevant, all inputs are evaluated at once up to `ALWAYS_SEARCHED`
MOST_EXACTLY = 256  # patterns whose least margin is exact, smallest margins first; other least margins are float64
MOST_INPUTS = 36  # bits; a thousand neurons at 2^36 inputs take an hour
PER_SECOND = 1e9  # least number of evaluations of a neuron at an input, on a core
GOALS = (0.5, 0.75, 0.9)  # shares of the least margin found, to which the bound of a certified network is raised
ENOUGH = 3.0  # seconds of search before its pace gives a guess
RAISING = 5e8  # evaluations for each goal: about half a second

Method = Literal["inputs", "branching", "states", "milp"]
METHODS = get_args(Method)


def certify(
    W: Float[np.ndarray, "neuron input"],
    b: Float[np.ndarray, " neuron"],
    u: Float[np.ndarray, " neuron"],
    relevant_bits: Sequence[int],
    *,
    time_limit: float = 60.0,
    method: Method | None = None,
) -> Certificate:
    """Certificate that sign f(x) is, or is not, the parity of `relevant_bits` on all inputs; f(x) = uᵀ relu(W x + b).

    Parameters
    ----------
    relevant_bits, time_limit
        `relevant_bits` holds the indices of 1 to 16 input bits. `time_limit` is in seconds. `certify` returns sooner if
        all its methods are done. After a proof or refutation, some methods use the time left to raise the lower bounds
        of parity·f. Some steps run even if no time is left, for instance the bounds without search, the lists of on/off
        states, and the first millisecond or so of each branch-and-bound search.
    method
        Force one method: "inputs" (evaluate all), "branching" (branch and bound for the least margin), "states" (list
        the on/off states of neurons whose preactivation can have both signs) or "milp". "states" and "milp" leave a
        positive margin undecided if it is within their tolerance of 0. The module's docstring describes the default.

    Raises
    ------
    InputError
        A weight is not finite; `relevant_bits` does not name 1 to 16 different input bits; the network is too large
        for the method; the method does not exist; the time limit is negative or NaN.

    Examples
    --------
    Two neurons compute x0, disturbed by bit 1. The sign survives a weight of 0.25; with 1.5, outputs at x1 = -1 are 0.

    >>> W, b, u = np.array([[1.0, 0.25], [-1.0, 0.25]]), np.zeros(2), np.array([1.0, -1.0])
    >>> proof = certify(W, b, u, [0])
    >>> proof.verdict, proof.margin, proof.input.tolist()
    ('certified', 0.75, [-1, -1])
    >>> refuted = certify(W * [1.0, 6.0], b, u, [0])
    >>> refuted.verdict, refuted.margin, refuted.input.tolist()
    ('refuted', 0.0, [-1, -1])
    """
    _refuse_method(method)
    refuse_time_limit(time_limit)
    judged = _Judged(W, b, u, tuple(map(int, relevant_bits)), time_limit)
    k, n_bits = len(judged.relevant_bits), len(judged.relevant_bits) + judged.n_weighted
    n_neurons = max(int(judged.net.alive.sum()), 1)
    if method == "inputs" and n_bits > MOST_INPUTS:
        raise InputError(
            f"method='inputs' would evaluate 2^{n_bits} inputs; the limit is 2^{MOST_INPUTS}. Leave `method` out: "
            f"branch and bound need not evaluate each input."
        )
    at_once = ALWAYS_SEARCHED if k > FEW_RELEVANT else min(AT_ONCE, ALWAYS_SEARCHED)
    if method is None and n_bits <= at_once:
        judged.look_at_inputs()
        return judged.certificate()
    judged.look_at_patterns()
    fits = n_bits <= ALWAYS_SEARCHED or 2.0**n_bits * n_neurons <= PER_SECOND * time_limit / 4
    if method == "inputs" or method == "branching":
        judged.search(np.inf, time_limit, prune=method == "branching")
    elif method is not None:
        judged.solve_few_neurons(time_limit, method, len(judged.net.u))
    elif fits:
        judged.search(np.inf, time_limit / 2)
    else:
        judged.search(0.0, time_limit / 4)
        judged.solve_few_neurons(time_limit, None, MOST_EXACT)
        judged.relax_many_neurons(time_limit / 2)
    if method is None:
        judged.search(0.0, time_limit)
        judged.raise_bounds()
    return judged.certificate()


def _refuse_method(method: object) -> None:
    if method is not None and method not in METHODS:
        raise InputError(f"method={method!r} does not exist. Pass one of {', '.join(METHODS)}, or leave `method` out.")


class _Judged:
    """Lower and upper bounds of the least parity · output (scaled to [-1, 1]) for each setting of the relevant bits."""

    def __init__(self, W: np.ndarray, b: np.ndarray, u: np.ndarray, relevant_bits: tuple[int, ...], time_limit: float):
        self.begun, self.time_limit = monotonic(), time_limit
        self.arrays, self.relevant_bits, self.signs = (W, b, u), relevant_bits, patterns(len(relevant_bits))
        self.net = net = unit_scale(W, b, u)
        self.n_weighted = len(weighted_bits(net, relevant_bits))
        n_patterns = len(self.signs)
        self.names, self.solved = ["bound"] * n_patterns, [False] * n_patterns
        self.exactly: list[tuple[int, np.ndarray]] = []  # pattern's index, irrelevant bits of its least exact margin
        self.fails = False  # whether one of these exact margins is not positive
        self.searches: dict[int, Search] = {}  # for the sign
        self.searched = 0.0  # seconds

    def look_at_patterns(self) -> None:
        self.lower, self.where = quick_bounds(self.net, self.relevant_bits)
        self.best = np.full(len(self.signs), np.inf)
        for at in range(len(self.signs)):
            self.look_at(at, self.where[at])

    def look_at_inputs(self) -> None:
        cube = whole_cube(self.net, self.relevant_bits, self.begun + self.time_limit)
        self.lower, self.best, self.where = cube.lower, cube.least, cube.where
        self.exactly, self.fails, self.solved = cube.exact, cube.fails, cube.known.tolist()
        self.names = ["inputs" if known else "bound" for known in self.solved]

    def look_at(self, at: int, bits: Int8[np.ndarray, " bit"]) -> None:
        """From `bits`, flip irrelevant bits to reduce the margin at setting `at` of relevant bits; keep the least."""
        margin = restriction(self.net, self.relevant_bits, self.signs[at])
        better = lowered(margin, bits)
        value = float(margin.margins(better[None])[0])
        if value < self.best[at]:
            self.best[at], self.where[at] = value, better

    @property
    def decided(self) -> bool:
        return self.fails or float(self.best.min()) < -self.net.rounding or bool((self.lower > 0).all())

    def left(self, until: float) -> float:
        """Seconds left, at least 0, until the search has run for `until` seconds."""
        return max(self.begun + until - monotonic(), 0.0)

    def search(self, goal: float, until: float, *, prune: bool = True) -> None:
        """Run branch and bound on the margins (parity · output), one search per setting of the relevant bits.

        With `goal` inf, each search looks for the least margin of its setting. With `goal` 0, each search looks only
        for the sign of the least margin, and settings whose margins are already proved to be above 0 have no search.
        If `prune` is False, a search evaluates every input. All searches stop `until` seconds after `certify` began.
        """
        if goal == 0 and self.decided:
            return
        order = np.argsort(self.lower, kind="stable").tolist()
        which = [at for at in order if goal > 0 or self.lower[at] <= 0]
        new = {at: Search(self.net, self.relevant_bits, self.signs[at], prune=prune) for at in which}
        searches = {at: self.searches.get(at, new[at]) for at in which} if goal == 0 else new
        begun = monotonic()
        settle(list(searches.values()), self.begun + until, goal=goal)
        self.keep(searches, goal)
        if goal == 0:
            self.searches, self.searched = self.searches | searches, self.searched + monotonic() - begun

    def keep(self, searches: dict[int, Search], goal: float) -> None:
        """Store the results of searches: each search has a lower bound and a least known value of parity · output.

        `searches` maps the index of a relevant-bit setting to the search of this setting. With `goal` inf, a finished
        search has found the least value. With a finite `goal`, the searches tried to prove that all values exceed it.
        """
        for at, search in searches.items():
            if (bits := search.bits) is not None:
                self.look_at(at, bits)
                if search.exact_least is not None and search.least_exactly is not None:
                    self.exactly.append((at, search.least_exactly))
                    self.fails |= search.exact_least <= 0
            if search.lower > self.lower[at] or (search.finished and goal == np.inf):
                self.names[at] = "branching" if search.branches else "inputs"
            self.lower[at] = max(self.lower[at], search.lower)
            self.solved[at] |= search.finished and goal == np.inf

    def solve_few_neurons(self, until: float, method: Literal["states", "milp"] | None, most: int) -> None:
        """Find or bound the least margin for each setting of the relevant bits that leaves few neurons unstable.

        Few means at most `most`. An unstable neuron is on for some values of the irrelevant bits and off for others.
        The time for MILPs ends `until` seconds after `certify` began. `method` None picks a method per setting.
        """
        for place, at in enumerate(np.argsort(self.lower, kind="stable").tolist()):
            margin = restriction(self.net, self.relevant_bits, self.signs[at])
            if not self.solved[at] and len(margin.v) <= most:
                share = self.left(until) / (len(self.signs) - place)
                answer = least(margin, self.net.rounding, share, method)
                if answer.lower > self.lower[at] or answer.solved:
                    self.names[at] = answer.method
                self.lower[at], self.solved[at] = max(answer.lower, self.lower[at]), answer.solved
                self.look_at(at, answer.bits)

    def relax_many_neurons(self, until: float) -> None:
        """Try to raise each setting's lower bound that is <= 0, up to `until` seconds after `certify` began."""
        net = self.net
        largest = np.argsort(-np.abs(net.u) * (np.abs(net.W).sum(axis=1) + np.abs(net.b)), kind="stable")
        chosen = np.zeros(len(net.u), bool)
        chosen[largest[:MOST_EXACT]] = True
        for place, at in enumerate(np.argsort(self.lower, kind="stable").tolist()):
            share = self.left(until) / (len(self.signs) - place)
            if self.lower[at] <= 0 and not self.decided and share > 0 and not self.solved[at]:
                answer = least(restriction(net, self.relevant_bits, self.signs[at], chosen), net.rounding, share)
                if answer.lower > self.lower[at]:
                    self.lower[at], self.names[at] = answer.lower, answer.method
                self.look_at(at, answer.bits)

    def raise_bounds(self) -> None:
        """Prove larger and larger margins of a certified network, until a proof needs more than about half a second."""
        for share in GOALS:
            goal = share * float(self.best.min())
            which = [at for at in range(len(self.signs)) if self.lower[at] <= goal and not self.solved[at]]
            if goal <= 0 or not (self.lower > 0).all() or not self.left(self.time_limit):
                return
            searches = {at: Search(self.net, self.relevant_bits, self.signs[at]) for at in which}
            reached = settle(list(searches.values()), self.begun + self.time_limit, goal=goal, most=RAISING)
            self.keep(searches, goal)
            if not reached:
                return

    def certificate(self) -> Certificate:
        """The result of `certify`, with the margins of the network as given, not of the network scaled to |f| <= 1."""
        W, b, u = self.arrays
        inputs = np.empty((len(self.signs), W.shape[1]), np.int8)
        inputs[:, list(self.relevant_bits)] = self.signs
        others = irrelevant_bits(W.shape[1], self.relevant_bits)
        inputs[:, others] = self.where
        low = np.argsort(self.best, kind="stable")[:MOST_EXACTLY].tolist()
        exactly = sorted(self.exactly, key=lambda pair: self.best[pair[0]])[:MOST_EXACTLY]
        if self.fails:  # the failing input must be among them
            exactly = self.exactly
        ats = [*low, *(at for at, _ in exactly)]
        tried = inputs[ats]
        tried[len(low) :, others] = [bits for _, bits in exactly] or np.empty((0, len(others)))
        signs = parities(len(self.relevant_bits))[ats].tolist()
        exact = [sign * output for sign, output in zip(signs, exact_outputs(W, b, u, tried), strict=True)]
        margins: dict[int, Fraction] = {}
        for at, x, margin in zip(ats, tried, exact, strict=True):
            if at not in margins or margin < margins[at]:
                margins[at], inputs[at] = margin, x
        worst = min(margins, key=margins.__getitem__)
        with np.errstate(over="ignore", invalid="ignore"):
            upper = np.where(self.best < np.inf, self.best * self.net.scale, np.inf)
        for at, margin in margins.items():
            upper[at] = rounded(margin)
        lower = np.minimum(self.lower * self.net.scale, upper)
        verdict = verdict_of(float(self.lower.min()), margins[worst])
        left = self.seconds_left() if verdict == "undecided" else 0.0
        return Certificate(
            verdict, float(lower.min()), rounded(margins[worst]), inputs[worst], self.relevant_bits, lower, upper,
            inputs, tuple(self.names), tuple(self.solved), self.net.scale, left,
        )  # fmt: skip

    def seconds_left(self) -> float:
        """Estimated seconds until all signs are decided, from the share of decided inputs; NaN before 3 s of search."""
        if self.searched < ENOUGH:
            return float("nan")
        done = sum(search.work for search in self.searches.values())
        to_do = 0.0
        for at, search in self.searches.items():
            if not search.finished and self.lower[at] <= 0:
                closed = min(search.closed, 0.5 if search.closed >= 1 else 1.0)  # some wait for exact arithmetic
                to_do += search.work * (1 - closed) / closed if closed else np.nan
        return self.searched * to_do / done if done and to_do else float("nan")


def float64_output(
    W: Float[np.ndarray, "neuron input"],
    b: Float[np.ndarray, " neuron"],
    u: Float[np.ndarray, " neuron"],
    x: Real[np.ndarray, " input"],
) -> float:
    """f(x) = uᵀ relu(W x + b) in float64 arithmetic.

    Examples
    --------
    >>> float64_output(np.array([[0.5, 0.25]]), np.array([0.0]), np.array([2.0]), np.array([1, -1]))
    0.5
    """
    hidden = np.maximum(W.astype(np.float64) @ x.astype(np.float64) + b.astype(np.float64), 0.0)
    return float(hidden @ u.astype(np.float64))
