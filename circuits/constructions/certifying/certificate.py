"""What is proved of a network on all inputs: the result of `certify`, and in which words an open question is left."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import numpy as np
from jaxtyping import Float, Int8

from circuits.errors import InputError

Verdict = Literal["certified", "refuted", "undecided"]
LONG = 7 * 24 * 3600.0  # seconds; nobody waits longer for a proof


@dataclass(frozen=True)
class Certificate:
    """What is known of the margin parity·f over all inputs.

    Attributes
    ----------
    verdict
        certified: the margin is above 0 on every input; refuted: `input` has the wrong sign, or 0; undecided: neither
        was shown in time.
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
        (pattern,) where each lower bound is from: "bound" (instant), "inputs" (all were evaluated), "branching",
        "states" or "milp".
    solved
        (pattern,) whether that pattern's least margin was found exactly, up to the tolerance of its method.
    scale
        The network's unit, at least its largest conceivable output and at most twice that: tolerances are of it.
    seconds_left
        An upper guess of how much longer the search would have taken, from its pace; 0 once decided, NaN where too
        little was searched to tell.
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
    seconds_left: float = 0.0

    @property
    def exact(self) -> bool:
        """Whether `margin` is the worst case itself: every pattern is solved, or lies above it."""
        return all(
            done or lower >= self.margin for done, lower in zip(self.solved, self.pattern_lower.tolist(), strict=True)
        )


def verdict_of(lower: float, margin: Fraction) -> Verdict:
    """The verdict on a network none of whose margins is below `lower`, and one of whose margins is `margin`.

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
    """Refuse a time limit that is no number of seconds.

    Raises
    ------
    InputError
        It is negative or NaN.
    """
    if not time_limit >= 0:
        raise InputError(f"time_limit={time_limit:g} is not a number of seconds. Pass 0 or more.")


def what_would_decide(seconds_left: float, time_limit: float) -> str:
    """What to do about an undecided network: a longer limit where one can help, else what there is instead.

    Parameters
    ----------
    seconds_left
        As in `Certificate`.
    time_limit
        What was given.

    Examples
    --------
    >>> what_would_decide(90.0, 60.0)
    'The search needs about 90 s more (an upper guess from its pace). Pass --time-limit 240.'
    >>> what_would_decide(1e12, 60.0)
    'The search needs about 3e+04 years more (an upper guess from its pace). A longer --time-limit may not decide it.'
    >>> what_would_decide(float("nan"), 0.1)
    'The time limit is too short to tell how long the search takes. Pass --time-limit 60.'
    """
    if np.isnan(seconds_left):
        longer = max(60.0, 2 * time_limit)
        return f"The time limit is too short to tell how long the search takes. Pass --time-limit {longer:.10g}."
    guess = "more (an upper guess from its pace)"
    if seconds_left > LONG:
        years = seconds_left / (365.25 * 24 * 3600)
        return f"The search needs about {years:.1g} years {guess}. A longer --time-limit may not decide it."
    generous = int(float(f"{time_limit + 2 * seconds_left:.2g}")) + (time_limit + 2 * seconds_left < 10)
    return f"The search needs about {seconds_left:.2g} s {guess}. Pass --time-limit {generous}."
