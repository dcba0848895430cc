"""The result of `certify`: proof or refutation of parity on all inputs, and advice if the network stays undecided."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import numpy as np
from jaxtyping import Float, Int8

from circuits.errors import InputError

Verdict = Literal["certified", "refuted", "undecided"]
LONG = 7 * 24 * 3600.0  # seconds; the advice names no longer time limit


@dataclass(frozen=True)
class Certificate:
    """Bounds of the margin parity·f over all inputs x of a network f(x) = Σ_i u_i relu(w_i·x + b_i).

    Attributes
    ----------
    verdict
        certified: the margin is above 0 on every input; refuted: the output at `input` is 0 or has the wrong sign;
        undecided: neither is proved.
    lower, margin
        The worst-case margin lies between `lower`, a bound for all inputs, and `margin`, the margin at `input`
        (rational arithmetic, rounded once). Both are in the network's own units.
    input
        (input,) ±1, the worst input found.
    pattern_lower, pattern_margin, pattern_input
        (pattern, …) `lower`, `margin` and `input` for each setting of the relevant bits. The settings count up in
        binary, with -1 as the digit 0. For two relevant bits, the order is (-1, -1), (-1, 1), (1, -1), (1, 1).
    method
        (pattern,) method of each lower bound: "bound" (no search), "inputs" (all inputs evaluated), "branching" (branch
        and bound), "states" (on/off states of neurons) or "milp".
    solved
        (pattern,) whether `pattern_margin` is the exact minimum, up to the tolerance of its method.
    scale
        A power of two with s <= scale <= 2s, where s = Σ|u_i|·(‖w_i‖₁ + |b_i|) is an upper bound of |f|. The tolerance
        of each method is proportional to `scale`.
    seconds_left
        Upper estimate of the seconds still needed, from the search's pace; 0 if decided, NaN after too short a search.
    """

    verdict: Verdict
    lower: float
    margin: float
    input: Int8[np.ndarray, " input"]
    relevant_bits: tuple[int, ...]
    pattern_lower: Float[np.ndarray, " pattern"]
    pattern_margin: Float[np.ndarray, " pattern"]
    pattern_input: Int8[np.ndarray, "pattern input"]
    method: tuple[str, ...]
    solved: tuple[bool, ...]
    scale: float
    seconds_left: float = 0.0

    @property
    def exact(self) -> bool:
        """Whether `margin`, the least parity·f found, is proved to be the least on all inputs, up to a tolerance."""
        return bool((np.array(self.solved) | (self.pattern_lower >= self.margin)).all())


def verdict_of(lower: float, margin: Fraction) -> Verdict:
    """The verdict from a lower bound of all margins (parity · f) and the margin of one input.

    An output of 0 has no sign, so a margin of 0 refutes, and a lower bound of 0 proves nothing.

    Examples
    --------
    >>> verdict_of(0.5, Fraction(1)), verdict_of(-1.0, Fraction(0)), verdict_of(0.0, Fraction(1))
    ('certified', 'refuted', 'undecided')
    """
    if margin <= 0:
        return "refuted"
    return "certified" if lower > 0 else "undecided"


def refuse_time_limit(time_limit: float) -> None:
    """Raise an InputError for a time limit that is negative or NaN."""
    if not time_limit >= 0:
        raise InputError(f"time_limit={time_limit:g} is not a number of seconds. Pass 0 or more.")


def what_would_decide(seconds_left: float, time_limit: float) -> str:
    """Advice for an undecided network: a longer time limit, if it can help.

    A search of `time_limit` seconds did not decide; it would need about `seconds_left` seconds more, NaN if unknown.

    Examples
    --------
    >>> what_would_decide(90.0, 60.0)
    'The search needs about 90 s more (an upper guess from its pace). Pass time_limit=240.'
    >>> what_would_decide(1e12, 60.0)
    'The search needs about 3e+04 years more (an upper guess from its pace). A longer time_limit may not decide it.'
    >>> what_would_decide(float("nan"), 0.1)
    'The time limit is too short to tell how long the search takes. Pass time_limit=60.'
    """
    if np.isnan(seconds_left):
        longer = max(60.0, 2 * time_limit)
        return f"The time limit is too short to tell how long the search takes. Pass time_limit={longer:.10g}."
    guess = "more (an upper guess from its pace)"
    if seconds_left > LONG:
        years = seconds_left / (365.25 * 24 * 3600)
        return f"The search needs about {years:.1g} years {guess}. A longer time_limit may not decide it."
    generous = int(float(f"{time_limit + 2 * seconds_left:.2g}")) + (time_limit + 2 * seconds_left < 10)
    return f"The search needs about {seconds_left:.2g} s {guess}. Pass time_limit={generous}."
