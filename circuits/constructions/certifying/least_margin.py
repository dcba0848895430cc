"""The least margin, over all irrelevant bits, for one setting of the relevant bits (pattern): the worst case there.

A neuron is unstable if its preactivation h can have both signs. It adds the term v·relu(h) to the margin; v is its
readout weight times the parity. All other neurons add a linear function. The default is the first method that applies:

1. *states* applies if at most 12 neurons are unstable, and each of these has v < 0. A term is then min(0, v·h). So the
   margin is the minimum of 2^t linear functions, one for each on/off state of the t unstable neurons. A linear function
   a + s·x has the minimum a - ‖s‖₁ over x in ±1. So only rounding makes the result inexact.
2. *inputs* applies if m <= 16 irrelevant bits have a weight. It evaluates all 2^m settings of these bits.
3. *milp* always applies. HiGHS solves a mixed-integer program over bits and neurons' on/off states (`milp.py`).
"""

from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float, Int8

from circuits.constructions.certifying.halves import all_margins, bits_of
from circuits.constructions.certifying.milp import TOLERANCE, least_by_milp
from circuits.constructions.certifying.restriction import Restriction
from circuits.constructions.patterns import patterns
from circuits.errors import InputError

MOST_STATES, MOST_BITS = 12, 16  # neurons and bits with a list of all combinations
MOST_LISTED = 18  # neurons, if the caller forces `states`: 2^18 slopes of 37 bits make 80 MB
BLOCK = 12  # bits whose inputs are evaluated at a time

Method = Literal["states", "inputs", "milp"]


class Least(NamedTuple):
    """Lower bound (`lower`) of parity · output for fixed relevant bits, and the input with the least value found.

    `bits` are the irrelevant bits of this input. `solved` tells whether its value is the minimum, up to a tolerance.
    """

    lower: float
    bits: Int8[np.ndarray, " bit"]
    method: Method
    solved: bool


def least(margin: Restriction, rounding: float, time_limit: float = 60.0, method: Method | None = None) -> Least:
    """For fixed relevant bits: a lower bound of parity · output, and the input with the least value found.

    Parameters
    ----------
    margin, rounding, time_limit
        `margin` is parity · output as a function of the irrelevant bits. `rounding` bounds the float64 rounding error
        of this function's values. `time_limit` is the limit of a MILP, in seconds.
    method
        "states" lists the on/off states of neurons, "inputs" evaluates all inputs, "milp" solves a MILP. The default is
        "states" if there are at most 12 relu terms v·relu(h) and all have v < 0; else "inputs" if at most 16 irrelevant
        bits have nonzero weights; else "milp". "states" raises an InputError for more than 18 terms, or if any v > 0.

    Examples
    --------
    The margin 1 + x1 - relu(x0 + x1) is 2 at x = (-1, 1), and 0 at the three other x.

    >>> one = np.array([1.0])
    >>> least(Restriction(1.0, np.array([0.0, 1.0]), np.array([[1.0, 1.0]]), np.array([0.0]), -one), 1e-15)
    Least(lower=-1e-15, bits=array([ 1, -1], dtype=int8), method='states', solved=True)
    """
    if method is None:
        weighted = (margin.slope != 0) | margin.A.any(axis=0)
        otherwise: Method = "inputs" if weighted.sum() <= MOST_BITS else "milp"
        method = "states" if can_list_states(margin) else otherwise
    if method == "states":
        _refuse_states(margin)
        value, bits = _least_of_states(margin)
    elif method == "inputs":
        value, bits = _least_of_inputs(margin)
    else:
        bound, bits, solved = least_by_milp(margin, time_limit)
        return Least(bound - TOLERANCE, lowered(margin, bits), method, solved)
    return Least(value - rounding, bits, method, True)


def can_list_states(margin: Restriction) -> bool:
    """Whether the method "states" applies: the margin has at most 12 relu terms v·relu(h), and every v is below 0."""
    return len(margin.v) <= MOST_STATES and bool((margin.v < 0).all())


def states(margin: Restriction) -> tuple[Float[np.ndarray, " state"], Float[np.ndarray, "state bit"]]:
    """Constants and slopes of linear functions of the bits, one per choice of the unstable neurons that are on.

    A neuron is unstable if its preactivation h can have both signs; its term in the margin is v·relu(h). In the linear
    function, this term is v·h if the neuron is on, else 0. If every v (`margin.v`) is negative, the margin of an input
    is the least value of these functions at the input.
    """
    on = (patterns(len(margin.v)) + 1) / 2.0  # (state, unstable)
    weighted = on * margin.v
    return margin.constant + weighted @ margin.c, margin.slope + weighted @ margin.A


def lowered(margin: Restriction, bits: Int8[np.ndarray, " bit"]) -> Int8[np.ndarray, " bit"]:
    """A local minimum of the margin near `bits`: flips the bit that lowers the margin most, until no flip lowers it."""
    x = bits.astype(np.float64)
    hidden = margin.A @ x + margin.c
    while x.size:
        flipped = np.maximum(hidden[:, None] - 2 * margin.A * x, 0.0)  # (unstable, bit)
        change = margin.v @ (flipped - np.maximum(hidden, 0.0)[:, None]) - 2 * margin.slope * x
        best = int(change.argmin())
        if change[best] >= -1e-15:
            break
        hidden -= 2 * margin.A[:, best] * x[best]
        x[best] = -x[best]
    return x.astype(np.int8)


def _least_of_states(margin: Restriction) -> tuple[float, Int8[np.ndarray, " bit"]]:
    constants, slopes = states(margin)
    values = constants - np.abs(slopes).sum(axis=1)
    best = int(values.argmin())
    return float(values[best]), np.where(slopes[best] > 0, -1, 1).astype(np.int8)


def _least_of_inputs(margin: Restriction) -> tuple[float, Int8[np.ndarray, " bit"]]:
    weighted = np.flatnonzero((margin.slope != 0) | margin.A.any(axis=0))
    low, high = weighted[:BLOCK], weighted[BLOCK:]
    slope, A = margin.slope[low], np.ascontiguousarray(margin.A[:, low])
    best, where = np.inf, np.ones(len(margin.slope), np.int8)
    values = np.empty(2 ** len(low))
    for entry in range(2 ** len(high)):
        fixed = bits_of(np.array(entry), len(high)).astype(np.float64)
        constant = margin.constant + float(margin.slope[high] @ fixed)
        all_margins(constant, slope, A, margin.c + margin.A[:, high] @ fixed, margin.v, len(low), len(A), values)
        if values.min() < best:
            best = float(values.min())
            where[high], where[low] = fixed, bits_of(np.array(values.argmin()), len(low))
    return best, where


def _refuse_states(margin: Restriction) -> None:
    n_terms, n_raising = len(margin.v), int((margin.v > 0).sum())
    if n_raising:
        raise InputError(
            f"method='states' allows no unstable neuron (on for some inputs, off for others) that raises "
            f"parity · output. Here, {n_raising} of {n_terms} unstable neurons raise parity · output. "
            f"Leave `method` out: branch and bound allows these neurons."
        )
    if n_terms > MOST_LISTED:
        size = 8 * len(margin.slope) * 2.0**n_terms / 2**30
        raise InputError(
            f"method='states' lists at most 2^{MOST_LISTED} on/off states. Here, {n_terms} neurons can be on or off: "
            f"2^{n_terms} states need {size:.3g} GiB. Leave `method` out: branch and bound needs no list."
        )
