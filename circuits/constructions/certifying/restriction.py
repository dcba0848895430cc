"""Margin (parity · output) of a network as a function of its irrelevant bits x in ±1, for fixed relevant bits.

The margin is m(x) = Σ_i v_i relu(c_i + A_i·x). The row A_i holds the weights of neuron i on the irrelevant bits. The
constant c_i is the bias of neuron i plus its weighted sum of the fixed relevant bits. The factor v_i is the readout
weight of neuron i times the parity. The preactivation c_i + A_i·x is always between c_i - ‖A_i‖₁ and c_i + ‖A_i‖₁. If
this range has no negative number, the neuron is linear for every x. If the range has no positive number, the neuron is
off. Only the other neurons, called *unstable*, keep a relu term. `unit_scale` first multiplies the weights by powers of
two, without rounding. Then |output| <= 1, and a solver with absolute tolerances treats large and small networks alike.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int8, Real

from circuits.errors import InputError

MOST_RELEVANT = 16  # the code loops over 2^k patterns


@dataclass(frozen=True)
class UnitScale:
    """A network f(x) = 2^exponent · Σ u_i relu(W_i·x + b_i), at unit scale: Σ|u_i|·(‖W_i‖₁ + |b_i|) is at most 1.

    Weights more than 2^1000 times smaller than the largest may underflow. `raw` holds the original W, b and u, for
    exact arithmetic. `alive` marks the neurons whose raw u is not 0 and whose raw (W, b) is not all 0.
    """

    W: Float[np.ndarray, "neuron input"]
    b: Float[np.ndarray, " neuron"]
    u: Float[np.ndarray, " neuron"]
    exponent: int
    raw: tuple[Float[np.ndarray, "neuron input"], Float[np.ndarray, " neuron"], Float[np.ndarray, " neuron"]]
    alive: Bool[np.ndarray, " neuron"]

    @property
    def scale(self) -> float:
        """Factor by which `unit_scale` divided the network's output: 2^`exponent`; inf if too large for a float64."""
        with np.errstate(over="ignore"):
            return float(np.ldexp(1.0, self.exponent))

    @property
    def rounding(self) -> float:
        """Bound on float64 rounding errors in Σ u_i relu(W_i·x + b_i), with this object's W, b and u, for x in ±1."""
        return 4.0 * sum(self.W.shape) * float(np.finfo(np.float64).eps)


def unit_scale(
    W: Float[np.ndarray, "neuron input"], b: Float[np.ndarray, " neuron"], u: Float[np.ndarray, " neuron"]
) -> UnitScale:
    """The network at unit scale: each ‖w_i‖₁ + |b_i| in [1/2, 1), Σ|u_i|·(‖w_i‖₁ + |b_i|) in [1/2, 1]; zeros stay 0.

    Raises
    ------
    InputError
        A weight is not finite.

    Examples
    --------
    >>> at_unit = unit_scale(np.array([[3e-6, 1e-6]]), np.array([0.0]), np.array([-1e-3]))
    >>> float(np.abs(at_unit.W).sum()), bool(at_unit.scale * at_unit.u[0] * at_unit.W[0, 0] == -3e-9)
    (0.52..., True)
    """
    if not all(np.isfinite(part).all() for part in (W, b, u)):
        raise InputError("The network has weights that are not finite: it has diverged. Pass an earlier checkpoint.")
    both = np.concatenate([W.astype(np.float64), b.astype(np.float64)[:, None]], axis=1)
    first = np.frexp(np.abs(both).max(axis=1))[1]
    both = np.ldexp(both, -first[:, None])
    second = np.frexp(np.abs(both).sum(axis=1))[1]
    both = np.ldexp(both, -second[:, None])
    digits, powers = np.frexp(u.astype(np.float64))
    alive = (digits != 0) & both.any(axis=1)
    powers = powers + first + second
    top = int(powers[alive].max()) if alive.any() else 0
    readout = np.where(alive, np.ldexp(digits, np.where(alive, powers - top, 0)), 0.0)
    more = int(np.frexp(np.abs(readout) @ np.abs(both).sum(axis=1))[1])
    return UnitScale(both[:, :-1], both[:, -1], np.ldexp(readout, -more), top + more, (W, b, u), alive)


@dataclass(frozen=True)
class Restriction:
    """The margin (parity · output) for fixed relevant bits, or a lower bound of it, as a function of the other bits x.

    The function is m(x) = constant + slope·x + Σ_i v_i relu(c_i + A_i·x). Only neurons that can be on or off (unstable)
    have a relu term. If a linear lower bound replaces any unstable neuron's relu, m is a lower bound of the margin.
    """

    constant: float
    slope: Float[np.ndarray, " bit"]
    A: Float[np.ndarray, "unstable bit"]
    c: Float[np.ndarray, " unstable"]
    v: Float[np.ndarray, " unstable"]

    def margins(self, bits: Real[np.ndarray, "example bit"]) -> Float[np.ndarray, " example"]:
        """Margin (parity · output) at each row of irrelevant bits, ±1; a lower bound if linear bounds replace relus."""
        x = bits.astype(np.float64)
        return self.constant + x @ self.slope + np.maximum(x @ self.A.T + self.c, 0.0) @ self.v


def restriction(
    net: UnitScale,
    relevant_bits: Sequence[int],
    pattern: Int8[np.ndarray, " k"],
    exact: Bool[np.ndarray, " neuron"] | None = None,
) -> Restriction:
    """The margin (parity · output) for one setting of the relevant bits, as a function of the irrelevant bits.

    Parameters
    ----------
    relevant_bits, pattern
        (k,) the relevant bits and their values.
    exact
        (neuron,) mask, all True by default. If a neuron's entry is False and its preactivation can have both signs, a
        linear lower bound (see the notes) replaces its relu term.

    Notes
    -----
    A neuron adds v·relu(h) to the margin: v is its readout weight times the parity, h its preactivation. Let the least
    h be low < 0, and the largest high > 0. If v > 0, the linear lower bound of v·relu(h) is 0 or v·h: the one with the
    smaller area between it and v·relu(h). If v < 0, the bound is the chord v·high·(h - low)/(high - low), since relu is
    convex (Zhang et al. 2018, "Efficient neural network robustness certification with general activation functions").
    """
    irrelevant = irrelevant_bits(net.W.shape[1], relevant_bits)
    parity = float(pattern.prod())
    v = parity * net.u
    c = net.b + net.W[:, list(relevant_bits)] @ pattern.astype(np.float64)
    A = net.W[:, irrelevant]
    reach = np.abs(A).sum(axis=1)
    low, high = c - reach, c + reach
    unstable = (low < 0) & (high > 0) & (v != 0)
    own = unstable if exact is None else unstable & exact
    steep = np.where(low >= 0, 1.0, 0.0)
    lift = np.zeros(len(v))
    relaxed = unstable & ~own
    if relaxed.any():
        chord = np.where(relaxed, high / np.where(relaxed, high - low, 1.0), 0.0)
        steep = np.where(relaxed, np.where(v > 0, (high > -low) * 1.0, chord), steep)
        lift = np.where(relaxed & (v < 0), -chord * low, 0.0)
    line = np.where(own, 0.0, v * steep)
    constant = float((line * c).sum() + (np.where(own, 0.0, v) * lift).sum())
    return Restriction(constant, line @ A, A[own], c[own], v[own])


def irrelevant_bits(n_inputs: int, relevant_bits: Sequence[int]) -> list[int]:
    """Indices of the input bits that are not relevant, ascending.

    Raises
    ------
    InputError
        `relevant_bits` does not name between 1 and 16 different bits of the input.

    Examples
    --------
    >>> irrelevant_bits(5, [3, 0])
    [1, 2, 4]
    """
    relevant = set(map(int, relevant_bits))
    are_different = len(relevant) == len(relevant_bits)
    if not (1 <= len(relevant) <= MOST_RELEVANT and are_different and relevant <= set(range(n_inputs))):
        raise InputError(
            f"relevant_bits {list(map(int, relevant_bits))} must name 1 to {MOST_RELEVANT} different bits of "
            f"0..{n_inputs - 1}."
        )
    return [bit for bit in range(n_inputs) if bit not in relevant]


def weighted_bits(net: UnitScale, relevant_bits: Sequence[int]) -> list[int]:
    """Indices of the irrelevant bits to which at least one neuron gives a weight, however small.

    Examples
    --------
    >>> net = unit_scale(np.array([[1.0, 0.0, 5e-324]]), np.zeros(1), np.array([1.0]))
    >>> weighted_bits(net, [0])
    [2]
    """
    W = net.raw[0][net.alive]
    return [bit for bit in irrelevant_bits(W.shape[1], relevant_bits) if W[:, bit].any()]
