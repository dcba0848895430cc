"""Does a network's sign equal the parity of its support on **all** 2^n inputs? Proved, refuted, or neither.

The margin of an input is m(x) = π(x)·f(x), with π the parity of the relevant bits: the network computes parity if m > 0
everywhere (Merrill et al. 2023, appendix D; an output of 0 is neither). For each pattern of the relevant bits:

1. an instant bound, the better of the interval and the linear one (`interval.py`), and a local search from where the
   linear bound is attained;
2. where at most 40 neurons are unstable, the exact least margin (`worst.py`); in larger networks, only for patterns
   still open, the 40 largest neurons exactly and a line below each other one.

Bounds are of the network with its float64 weights in exact arithmetic. Inputs that attain a margin are evaluated in
rational arithmetic, and a counterexample must fail in float64 as well.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Literal

import numpy as np
from jaxtyping import Float, Int8, Real

from circuits.constructions.exactly import exact_outputs, rounded
from circuits.constructions.interval import quick_bounds
from circuits.constructions.milp import MOST_EXACT
from circuits.constructions.patterns import parities, patterns
from circuits.constructions.restriction import UnitScale, irrelevant_bits, restriction, unit_scale
from circuits.constructions.worst import least, lowered

Verdict = Literal["certified", "refuted", "undecided"]


@dataclass(frozen=True)
class Certificate:
    """What is known of the margin parity·f over all inputs.

    Attributes
    ----------
    verdict
        certified: the margin is positive on every input; refuted: `input` has the wrong sign, or 0; undecided: neither
        is shown.
    lower, margin
        No input has a margin below `lower`; `input` has exactly `margin` (rational arithmetic, rounded once). Both are
        in the network's own units. The worst-case margin lies between.
    input
        (input,) ±1, the worst input found.
    support
        The relevant bits.
    pattern_lower, pattern_margin, pattern_input
        (pattern,), (pattern,), (pattern, input): the same on each pattern, in the order of `patterns(k)`.
    method
        (pattern,) where each lower bound is from: "bound" (instant), "states", "inputs" or "milp".
    solved
        (pattern,) whether that pattern's least margin was found exactly, up to the tolerance of its method.
    scale
        The network's unit, at least its largest conceivable output and at most twice that: tolerances are of it.
    """

    verdict: Verdict
    lower: float
    margin: float
    input: Int8[np.ndarray, " input"]
    support: tuple[int, ...]
    pattern_lower: Float[np.ndarray, " pattern"]
    pattern_margin: Float[np.ndarray, " pattern"]
    pattern_input: Int8[np.ndarray, "pattern input"]
    method: tuple[str, ...]
    solved: tuple[bool, ...]
    scale: float

    @property
    def exact(self) -> bool:
        """Whether `margin` is the worst case itself: every pattern is solved, or lies above it."""
        return all(
            done or lower >= self.margin for done, lower in zip(self.solved, self.pattern_lower.tolist(), strict=True)
        )


def certify(
    W: Float[np.ndarray, "neuron input"],
    b: Float[np.ndarray, " neuron"],
    u: Float[np.ndarray, " neuron"],
    support: Sequence[int],
    *,
    time_limit: float = 60.0,
    method: Literal["states", "inputs", "milp"] | None = None,
) -> Certificate:
    """Whether sign f(x) is the parity of the support on all inputs of f(x) = uᵀ relu(W x + b).

    Parameters
    ----------
    W, b, u
        (neuron, input), (neuron,), (neuron,), of a network or of a subnetwork.
    support
        (k,) the relevant bits, k <= 16.
    time_limit
        Seconds that solvers may take in all; the instant bounds are always computed.
    method
        How the least margin on a pattern is found; by default the fastest way that applies (see `worst.least`).

    Raises
    ------
    InputError
        A weight is not finite, or the support does not name bits of the input.

    References
    ----------
    Merrill et al. 2023, appendix D, for what computing parity means.

    Examples
    --------
    x0 from two neurons, disturbed by bit 1: by 0.25 it survives, by 1.5 it does not, for there an output is 0.

    >>> W, b, u = np.array([[1.0, 0.25], [-1.0, 0.25]]), np.zeros(2), np.array([1.0, -1.0])
    >>> proof = certify(W, b, u, [0])
    >>> proof.verdict, proof.margin, proof.input.tolist()
    ('certified', 0.75, [-1, -1])
    >>> refuted = certify(W * [1.0, 6.0], b, u, [0])
    >>> refuted.verdict, refuted.margin, refuted.input.tolist()
    ('refuted', 0.0, [-1, -1])
    """
    deadline = monotonic() + time_limit
    support = tuple(map(int, support))
    net = unit_scale(W, b, u)
    signs = patterns(len(support))
    lower, where = quick_bounds(net, support)
    n_patterns = len(signs)
    names, solved = ["bound"] * n_patterns, [False] * n_patterns
    best = np.full(n_patterns, np.inf)

    def look_at(at: int, bits: Int8[np.ndarray, " bit"]) -> None:
        margin = restriction(net, support, signs[at])
        better = lowered(margin, bits)
        value = float(margin.margins(better[None])[0])
        if value < best[at]:
            best[at], where[at] = value, better

    for at in range(n_patterns):
        look_at(at, where[at])
    largest = np.argsort(-np.abs(net.u) * (np.abs(net.W).sum(axis=1) + np.abs(net.b)), kind="stable")
    for place, at in enumerate(np.argsort(lower, kind="stable").tolist()):
        margin = restriction(net, support, signs[at])
        small = len(margin.v) <= MOST_EXACT
        if not small:
            if lower[at] > 0 or best.min() <= 0:  # nothing is open
                continue
            chosen = np.zeros(len(net.u), bool)
            chosen[largest[:MOST_EXACT]] = True
            margin = restriction(net, support, signs[at], chosen)
        share = max(deadline - monotonic(), 0.0) / (n_patterns - place)
        found = least(margin, net.rounding, share, method)
        if found.lower > lower[at] or (small and found.solved):
            lower[at], names[at] = max(found.lower, lower[at]), found.method
        solved[at] = small and found.solved
        look_at(at, found.bits)
    return _judged(W, b, u, support, net, lower, where, names, solved)


def _judged(
    W: np.ndarray,
    b: np.ndarray,
    u: np.ndarray,
    support: tuple[int, ...],
    net: UnitScale,
    lower: np.ndarray,
    where: np.ndarray,
    names: list[str],
    solved: list[bool],
) -> Certificate:
    inputs = np.empty((len(lower), W.shape[1]), np.int8)
    inputs[:, list(support)] = patterns(len(support))
    inputs[:, irrelevant_bits(W.shape[1], support)] = where
    signs = parities(len(support)).tolist()
    exact = [sign * output for sign, output in zip(signs, exact_outputs(W, b, u, inputs), strict=True)]
    worst = min(range(len(exact)), key=exact.__getitem__)
    failing = exact[worst] <= 0 and signs[worst] * float64_output(W, b, u, inputs[worst]) <= 0
    verdict: Verdict = "refuted" if failing else ("certified" if lower.min() > 0 else "undecided")
    return Certificate(
        verdict,
        float(lower.min()) * net.scale,
        rounded(exact[worst]),
        inputs[worst],
        support,
        lower * net.scale,
        np.array([rounded(value) for value in exact]),
        inputs,
        tuple(names),
        tuple(solved),
        net.scale,
    )


def float64_output(
    W: Float[np.ndarray, "neuron input"],
    b: Float[np.ndarray, " neuron"],
    u: Float[np.ndarray, " neuron"],
    x: Real[np.ndarray, " input"],
) -> float:
    """f(x) in float64, as a program that uses the network would have it.

    Examples
    --------
    >>> float64_output(np.array([[0.5, 0.25]]), np.array([0.0]), np.array([2.0]), np.array([1, -1]))
    0.5
    """
    hidden = np.maximum(W.astype(np.float64) @ x.astype(np.float64) + b.astype(np.float64), 0.0)
    return float(hidden @ u.astype(np.float64))
