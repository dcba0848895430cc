"""The price of parity in a network: path cost P = Σ|u|·‖(w, b)‖, margin m, and P/m relative to its minimum.

The margin m is the least π(z) f(z) over the 2^k settings z of the relevant bits, with π the parity. Here f(z) is the
mean of f(x) over all values of the other bits (`averaging.py`), not f at their mean. Rescaling a neuron changes neither
P nor m. Rescaling the readout multiplies both by the same factor. So m/P is a property of the circuit, and so is

    efficiency = C* m / P   in (0, 1],  higher is better,  NaN when m <= 0

with C* the least P/m of any network for parity. The efficiency is at most 1 even if other bits have weights:

1. The margin m is a least value over z, so it is at most the mean of π f over all inputs. This mean is Σ_j u_j M_j,
   where M_j is the mean of π relu(w_j·x + b_j) over all inputs x.
2. Fix the other bits. Let y be their weighted sum in neuron j, and w' the neuron's weights on z. The neuron is then
   relu(w'·z + b_j + y). By `least_norm.py`, the mean of π relu(w'·z + b_j + y) over all z has an absolute value of at
   most ‖(w', b_j + y)‖ / C*.
3. The mean of ‖(w', b_j + y)‖² over all y is ‖(w_j, b_j)‖². A mean is at most the root of the mean square. So the mean
   of ‖(w', b_j + y)‖ is at most ‖(w_j, b_j)‖.
4. Hence |M_j| <= ‖(w_j, b_j)‖ / C*, and m <= P / C*.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.optimize import linprog

from circuits.constructions.patterns import parities
from circuits.constructions.verifying.averaging import averaged_activations


class Price(NamedTuple):
    """Path cost Σ|u|·‖(w, b)‖ and margin of a network Σ u·relu(w·x + b) for parity, and the ratio cost / margin.

    `margin` is the least parity × output over the relevant bits' settings; outputs are means over the other bits.
    `per_margin` is the ratio, NaN if margin <= 0. `resolved` is the least ratio over all u, NaN if none has margin > 0.
    """

    cost: float
    margin: float
    per_margin: float
    resolved: float


def price(
    W: Float[np.ndarray, "neuron input"],
    b: Float[np.ndarray, " neuron"],
    u: Float[np.ndarray, " neuron"],
    relevant_bits: Sequence[int],
) -> Price:
    """Path cost Σ|u|·‖(w, b)‖, margin, cost per margin, and the cost per margin with the cheapest readout.

    Examples
    --------
    The AND gates of Merrill et al.'s DNF are not the cheapest: the best bias for k = 2 is 0, not -1.

    >>> W = np.array([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]])
    >>> u = np.array([1.0, -1.0, -1.0, 1.0])
    >>> [round(price(W, np.full(4, bias), u, [0, 1]).per_margin, 3) for bias in (-1.0, 0.0)]
    [6.928, 2.828]
    """
    activations = averaged_activations(W, b, relevant_bits)
    cost, least = path_cost(W, b, u), margin(activations, u)
    readout = resolved_readout(activations, neuron_sizes(W, b))
    resolved = np.nan if readout is None else path_cost(W, b, readout)
    return Price(cost, least, cost / least if least > 0 else np.nan, resolved)


def neuron_sizes(W: Float[np.ndarray, "neuron input"], b: Float[np.ndarray, " neuron"]) -> Float[np.ndarray, " neuron"]:
    """L2 norm ‖(w, b)‖ of the incoming weights and the bias of each neuron, float64.

    Examples
    --------
    >>> neuron_sizes(np.array([[3.0, 4.0]]), np.array([12.0]))
    array([13.])
    """
    return np.sqrt((W.astype(np.float64) ** 2).sum(axis=1) + b.astype(np.float64) ** 2)


def path_cost(
    W: Float[np.ndarray, "neuron input"], b: Float[np.ndarray, " neuron"], u: Float[np.ndarray, " neuron"]
) -> float:
    """Path cost P = Σ|u|·‖(w, b)‖, >= 0; L2 weight decay penalizes P once every neuron is balanced: |u| = ‖(w, b)‖.

    Examples
    --------
    >>> path_cost(np.array([[3.0, 4.0]]), np.array([12.0]), np.array([-2.0]))
    26.0
    """
    return float((np.abs(u).astype(np.float64) * neuron_sizes(W, b)).sum())


def margin(activations: Float[np.ndarray, "neuron pattern"], u: Float[np.ndarray, " neuron"]) -> float:
    """Least parity × (u·activations) over the bit settings (patterns); > 0 iff every output has the sign of the parity.

    Examples
    --------
    >>> margin(np.array([[0.0, 0.0, 0.0, 2.0], [2.0, 0.0, 0.0, 0.0]]), np.array([1.0, 0.5]))
    0.0
    """
    outputs = u.astype(np.float64) @ activations
    return float((parities(_n_bits(activations)) * outputs).min()) + 0.0  # no -0.0


def efficiency(cost: float, margin: float, k_cost: float) -> float:
    """Efficiency `k_cost` · `margin` / `cost` in (0, 1], higher is better; NaN if the margin is not positive.

    `cost` is the network's path cost. `k_cost` is the least cost / margin of any network for k bits (`least_cost(k)`).

    Examples
    --------
    >>> efficiency(16.0, 1.0, 8.0), efficiency(16.0, -1.0, 8.0)
    (0.5, nan)
    """
    return k_cost * margin / cost if margin > 0 else float("nan")


def resolved_readout(
    activations: Float[np.ndarray, "neuron pattern"], sizes: Float[np.ndarray, " neuron"]
) -> Float[np.ndarray, " neuron"] | None:
    """The readout u of least Σ|u|·size with parity × output >= 1, by a linear program; None if no u has margin > 0.

    Patterns are the 2^k settings of the relevant bits, and `sizes` are the norms ‖(w, b)‖.

    Examples
    --------
    >>> resolved_readout(np.array([[0.0, 2.0], [2.0, 0.0], [1.0, 0.0]]), np.ones(3))
    array([ 0.5, -0.5,  0. ])
    """
    if not np.isfinite(activations).all() or not len(activations):
        return None
    signed = parities(_n_bits(activations)) * activations  # (neuron, pattern)
    both = np.concatenate([signed, -signed])  # u = u⁺ - u⁻, each >= 0
    solution = linprog(np.tile(sizes, 2), A_ub=-both.T, b_ub=-np.ones(activations.shape[1]), method="highs")
    if not solution.success:
        return None
    positive, negative = np.split(solution.x, 2)
    return positive - negative


def _n_bits(activations: np.ndarray) -> int:
    return activations.shape[1].bit_length() - 1
