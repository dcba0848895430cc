"""Fewest flips of irrelevant bits after which the output's sign is not the parity: an input's distance from failure.

An input fails if its margin (parity · f) is not positive. The first of these methods that applies is used:

1. If at most 20 irrelevant bits have a weight, `nearest.py` evaluates all values of these bits.
2. If the margin is the minimum of a few linear functions (`least_margin.states`), no search is needed: flip first the
   bits that lower a function most, and count the flips until it is <= 0. The result is the least count of any function.
3. If at most 40 neurons can be on or off, a mixed-integer program (`milp.py`) finds the fewest flips to a margin <= 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic

import numpy as np
from jaxtyping import Float, Int8, Real

from circuits.constructions.certifying.certificate import refuse_time_limit
from circuits.constructions.certifying.exact_outputs import exact_outputs
from circuits.constructions.certifying.highs import dual_bound
from circuits.constructions.certifying.least_margin import can_list_states, states
from circuits.constructions.certifying.milp import MOST_EXACT, TOLERANCE, Program
from circuits.constructions.certifying.nearest import MOST_BITS, flips_to_failure
from circuits.constructions.certifying.restriction import (
    Restriction,
    irrelevant_bits,
    restriction,
    unit_scale,
    weighted_bits,
)


@dataclass(frozen=True)
class Flips:
    """Fewest flips of irrelevant bits after which an example fails: the output's sign is not the parity.

    Attributes
    ----------
    lower, upper
        (example,) bounds of the fewest flips, equal if this number is known. Both are 0 if the example itself fails.
        Both are inf if no set of flips makes the example fail. If it is unknown whether the example can fail, `lower`
        is finite and `upper` is inf. The reason can be a lack of time. Another reason is a network too large to search:
        more than 20 irrelevant bits have a weight, and more than 40 neurons are unstable. An unstable neuron is on for
        some values of the irrelevant bits and off for others, while the relevant bits are those of the example.
    """

    lower: Float[np.ndarray, " example"]
    upper: Float[np.ndarray, " example"]

    @property
    def fewest(self) -> Float[np.ndarray, " example"]:
        """(example,) fewest flips of irrelevant bits until the output's sign is not the parity; NaN if unknown."""
        return np.where(self.lower == self.upper, self.upper, np.nan)

    @property
    def least(self) -> float:
        """Fewest flips of irrelevant bits until some example's output sign is not the parity; NaN if unknown."""
        return _if_equal(float(self.lower.min()), float(self.upper.min()))

    @property
    def median(self) -> float:
        """Median over examples of the fewest flips of irrelevant bits until the sign is not the parity; NaN if unknown.

        Examples
        --------
        Three examples need 0 flips, 2 flips, and an unknown number >= 1. The median is between 1 and 2: unknown.
        Three other examples need 0 flips, 1 flip, and an unknown number >= 3. Their median is 1.

        >>> flips = Flips(np.array([0.0, 2.0, 1.0]), np.array([0.0, 2.0, np.inf]))
        >>> flips.least, flips.median, Flips(np.array([0.0, 1.0, 3.0]), np.array([0.0, 1.0, np.inf])).median
        (0.0, nan, 1.0)
        """
        return _if_equal(float(np.median(self.lower)), float(np.median(self.upper)))


def fewest_flips(
    W: Float[np.ndarray, "neuron input"],
    b: Float[np.ndarray, " neuron"],
    u: Float[np.ndarray, " neuron"],
    relevant_bits: Sequence[int],
    inputs: Real[np.ndarray, "example input"],
    *,
    time_limit: float = 60.0,
    certified: bool = False,
) -> Flips:
    """Fewest flips of irrelevant bits until the sign of f(x) = uᵀ relu(W x + b) is not the parity of the relevant bits.

    Parameters
    ----------
    inputs, time_limit
        `inputs` (example, input) are in ±1. `time_limit` is the total time in seconds, >= 0.
    certified
        Whether `certify` has proved that no input fails. If True, the answer is inf for every example, without search.

    Raises
    ------
    InputError
        A weight is not finite; `relevant_bits` does not name input bits; the time limit (seconds) is negative or NaN.

    Examples
    --------
    The output is x0 + (x1 + x2 + x3) / 2. If all bits are 1, the network fails after three flips.

    >>> W = np.array([[1.0, 0.5, 0.5, 0.5], [-1.0, -0.5, -0.5, -0.5]])
    >>> fewest_flips(W, np.zeros(2), np.array([1.0, -1.0]), [0], np.array([[1, 1, 1, 1], [1, -1, 1, -1]])).fewest
    array([3., 1.])
    """
    refuse_time_limit(time_limit)
    if certified:
        return Flips(np.full(len(inputs), np.inf), np.full(len(inputs), np.inf))
    deadline = monotonic() + time_limit
    net = unit_scale(W, b, u)
    others = irrelevant_bits(W.shape[1], relevant_bits)
    signs = inputs[:, list(relevant_bits)].astype(np.int8)
    lower, upper = np.zeros(len(inputs)), np.zeros(len(inputs))
    outputs = zip(signs, exact_outputs(W, b, u, inputs), strict=True)
    right = np.array([int(pattern.prod()) * output > 0 for pattern, output in outputs], bool)
    if len(weighted_bits(net, relevant_bits)) <= MOST_BITS:
        for pattern in np.unique(signs[right], axis=0):
            here = right & (signs == pattern).all(axis=1)
            lower[here], upper[here] = 1.0, np.inf
            if monotonic() < deadline:
                bits = inputs[here][:, others].astype(np.int8)
                lower[here], upper[here] = flips_to_failure(net, relevant_bits, pattern, bits, deadline)
        return Flips(lower, upper)
    margins: dict[bytes, Restriction] = {}
    for at in np.flatnonzero(right):
        pattern, key = signs[at], signs[at].tobytes()
        if key not in margins:
            margins[key] = restriction(net, relevant_bits, pattern)
        bits = inputs[at, others].astype(np.int8)
        if can_list_states(margins[key]):
            lower[at], failing = _by_states(margins[key], bits, net.rounding)
        elif len(margins[key].v) <= MOST_EXACT:
            lower[at], failing = _by_milp(margins[key], bits, (deadline - monotonic()) / (len(inputs) - at))
        else:
            lower[at], failing = 1.0, None
        upper[at] = np.inf
        if failing is not None:
            x = inputs[at].astype(np.int8)
            x[others] = failing
            if int(pattern.prod()) * exact_outputs(W, b, u, x[None])[0] <= 0:
                upper[at] = float((failing != bits).sum())
    return Flips(lower, upper)


def _if_equal(low: float, high: float) -> float:
    return low if low == high else float("nan")


def _by_states(
    margin: Restriction, bits: Int8[np.ndarray, " bit"], rounding: float
) -> tuple[float, Int8[np.ndarray, " bit"] | None]:
    """Fewest flips in `bits` (values of the irrelevant bits) after which parity · output is <= 0, up to `rounding`.

    A float64 value up to `rounding`, the largest rounding error, counts as <= 0. The second result is `bits` after the
    flips. If no flips suffice, the result is (inf, None). `margin` is parity · output as a function of the irrelevant
    bits, with one term v·relu(h) for each neuron whose preactivation h can have both signs. Every v must be negative.
    """
    constants, slopes = states(margin)
    x = bits.astype(np.float64)
    gains = np.maximum(2 * slopes * x, 0.0)  # (state, bit)
    order = np.argsort(-gains, axis=1, kind="stable")
    left = (constants + slopes @ x)[:, None] - np.cumsum(np.take_along_axis(gains, order, axis=1), axis=1)
    reached = np.flatnonzero((left <= rounding).any(axis=0))
    if not reached.size:
        return np.inf, None
    n_flips = int(reached[0]) + 1
    failing = bits.copy()
    failing[order[left[:, n_flips - 1].argmin(), :n_flips]] *= -1
    return float(n_flips), failing


def _by_milp(
    margin: Restriction, bits: Int8[np.ndarray, " bit"], time_limit: float
) -> tuple[float, Int8[np.ndarray, " bit"] | None]:
    """Lower bound of the fewest flips in `bits` (irrelevant bits) that make the margin <= 1e-6, and HiGHS's solution.

    The bound is inf if no flips make the margin so small. The solution is the bits after the flips, or None.
    """
    program = Program(margin)
    flips = np.zeros(program.n_variables)  # z flips down where x = 1, up where x = -1
    flips[: program.n_bits] = -bits
    already = int((bits > 0).sum())
    answer = program.solved(flips, time_limit, margin_at_most=TOLERANCE)
    fewest = np.ceil(dual_bound(answer) + already - 1e-6)
    return max(1.0, float(fewest)), program.bits(answer)
