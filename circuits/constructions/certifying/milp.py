"""The least margin (parity · output) of a network for fixed relevant bits, as a mixed-integer linear program.

The margin is constant + slope·x + Σ_i v_i relu(h_i), with x in ±1 the irrelevant bits. The sum is over the neurons
whose preactivation h_i = c_i + A_i·x can have both signs. A_i holds the weights of neuron i on x. The constant c_i is
the neuron's bias plus the weighted sum of the relevant bits. The factor v_i is the readout weight times the parity. All
other neurons together give constant + slope·x. Every h_i is between l_i = c_i - ‖A_i‖₁ and h'_i = c_i + ‖A_i‖₁.

The program has a variable z_j in {0, 1} for each bit x_j = 2 z_j - 1, and a variable y_i for each relu(h_i). If
v_i > 0, the least margin has the least y_i, so y_i >= 0 and y_i >= h_i suffice. If v_i < 0, a variable d_i in {0, 1}
tells whether neuron i is on, so that y_i <= h'_i d_i and y_i <= h_i - l_i (1 - d_i) (Tjeng, Xiao and Tedrake 2019).

The solver HiGHS allows a gap of 1e-6 between bound and solution, and errors of 1e-7 in constraints. So the program
multiplies the network, scaled to |f| <= 1, by 2^16, and sets `mip_rel_gap` to 0. `least_by_milp` returns HiGHS's bound.
Callers subtract `TOLERANCE`: on networks built to be hard, with near ties and weights over nine decades, the bound was
up to 1.1e-7 above the minimum.
"""

import numpy as np
from jaxtyping import Float, Int8
from scipy.optimize import OptimizeResult

from circuits.constructions.certifying.highs import SOLVED, dual_bound, highs
from circuits.constructions.certifying.restriction import Restriction

UNIT = 2.0**16  # units of the program in a margin of 1 at unit scale
MOST_EXACT = 40  # unstable neurons with which HiGHS needs less than a minute
TOLERANCE = 1e-6  # at unit scale, subtracted from every bound of HiGHS


class Program:
    """A mixed-integer linear program in which the margin (parity · output) is a linear function of the variables.

    A neuron is unstable if its preactivation h can have both signs. The first variables are the irrelevant bits, with 0
    in place of -1. The next variables are y = 2^16 relu(h), one per unstable neuron. The factor makes the solver's
    absolute errors small against y. The last are 1 (on) or 0 (off), one per unstable neuron that lowers the margin.
    """

    def __init__(self, margin: Restriction) -> None:
        n_bits, n_terms = len(margin.slope), len(margin.v)
        held = np.flatnonzero(margin.v < 0)
        pressed = np.flatnonzero(margin.v > 0)
        reach = np.abs(margin.A).sum(axis=1)
        low, high = np.minimum(margin.c - reach, 0.0), np.maximum(margin.c + reach, 0.0)
        offset = margin.c - margin.A.sum(axis=1)  # h = offset + 2 A z
        self.n_bits, self.n_terms, self.n_states = n_bits, n_terms, len(held)
        rows, tops = [], []
        for i in pressed:  # h - y <= 0
            row = np.zeros(self.n_variables)
            row[:n_bits], row[n_bits + i] = 2 * UNIT * margin.A[i], -1.0
            rows.append(row)
            tops.append(-UNIT * offset[i])
        for place, i in enumerate(held):
            state = n_bits + n_terms + place
            row = np.zeros(self.n_variables)  # y - h - l d <= -l
            row[:n_bits], row[n_bits + i], row[state] = -2 * UNIT * margin.A[i], 1.0, -UNIT * low[i]
            rows.append(row)
            tops.append(UNIT * (offset[i] - low[i]))
            row = np.zeros(self.n_variables)  # y - h' d <= 0
            row[n_bits + i], row[state] = 1.0, -UNIT * high[i]
            rows.append(row)
            tops.append(0.0)
        self.rows = np.array(rows).reshape(len(rows), self.n_variables)
        self.tops = np.array(tops)
        self.ceiling = np.concatenate([np.ones(n_bits), UNIT * high, np.ones(self.n_states)])
        self.whole = np.concatenate([np.ones(n_bits), np.zeros(n_terms), np.ones(self.n_states)])
        self.margin_row = np.concatenate([2 * UNIT * margin.slope, margin.v, np.zeros(self.n_states)])
        self.margin_offset = UNIT * (margin.constant - float(margin.slope.sum()))

    @property
    def n_variables(self) -> int:
        """Number of variables: bits, outputs of neurons, states of neurons."""
        return self.n_bits + self.n_terms + self.n_states

    def solved(
        self, objective: Float[np.ndarray, " variable"], time_limit: float, margin_at_most: float | None = None
    ) -> OptimizeResult:
        """HiGHS's answer: minimize objective · variables, subject to margin <= `margin_at_most` unless this is None."""
        rows, tops = self.rows, self.tops
        if margin_at_most is not None:
            rows = np.concatenate([rows, self.margin_row[None]])
            tops = np.append(tops, UNIT * margin_at_most - self.margin_offset)
        low = np.full(len(tops), -np.inf)
        return highs(objective, self.whole, self.ceiling, rows, low, tops, time_limit)

    def bits(self, answer: OptimizeResult) -> Int8[np.ndarray, " bit"] | None:
        """The bits of HiGHS's best solution; None without a solution."""
        return None if answer.x is None else np.where(answer.x[: self.n_bits] > 0.5, 1, -1).astype(np.int8)


def least_by_milp(margin: Restriction, time_limit: float) -> tuple[float, Int8[np.ndarray, " bit"], bool]:
    """HiGHS's lower bound of the margin, the best bits found (all +1 without a solution), and whether HiGHS finished.

    The bound is in the units of `margin`, -inf if HiGHS gives none. Subtract `TOLERANCE` from the bound before use.

    Examples
    --------
    relu(x0 + x1 - 1) - x0 / 2 has its minimum at x = (1, -1).

    >>> one = np.array([1.0])
    >>> margin = Restriction(0.0, np.array([-0.5, 0.0]), np.array([[1.0, 1.0]]), -one, one)
    >>> bound, bits, finished = least_by_milp(margin, 10.0)
    >>> round(bound, 9), bits.tolist(), finished
    (-0.5, [1, -1], True)
    """
    program = Program(margin)
    if not program.n_variables:  # all bits are relevant
        return margin.constant, np.ones(0, np.int8), True
    answer = program.solved(program.margin_row, time_limit)
    bits = program.bits(answer)
    signs = np.ones(program.n_bits, np.int8) if bits is None else bits
    bound = dual_bound(answer)
    if bound == np.inf:  # every input is a solution, so "infeasible" can only be numerical trouble
        bound = -np.inf
    return (bound + program.margin_offset) / UNIT, signs, answer.status == SOLVED
