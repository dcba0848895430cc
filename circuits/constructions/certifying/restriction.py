"""A network on one pattern of its relevant bits: what is left is a function of the irrelevant bits alone.

With parity π on the pattern, the margin is m(x) = π·f(x) = Σ v_i relu(c_i + A_i·x) over the irrelevant bits x in ±1,
where v = π·u and c holds the pattern's share of the preactivation. A preactivation stays within ±‖A_i‖₁ of c_i: if that
interval leaves 0 to one side, the neuron is linear, or off, for every x. Only the *unstable* neurons are left.

Neurons are first brought to unit scale, by powers of two and so without rounding: Σ|u_i|·(‖w_i‖₁ + |b_i|) is then in
(1/2, 1]. No neuron, and no output, is small or large any more when a solver's absolute tolerances meet it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int8, Real

from circuits.errors import InputError

MOST_RELEVANT = 16  # 2^k patterns are gone through one by one


@dataclass(frozen=True)
class UnitScale:
    """A network at unit scale: f(x) = 2^exponent · Σ u_i relu(W_i·x + b_i).

    What is 2^-1000 times smaller than the largest may be lost in it; `raw` has W, b and u as they were given, for exact
    arithmetic. `alive` are the neurons of `raw` with a readout weight, and an input weight or a bias.
    """

    W: Float[np.ndarray, "neuron input"]
    b: Float[np.ndarray, " neuron"]
    u: Float[np.ndarray, " neuron"]
    exponent: int
    raw: tuple[Float[np.ndarray, "neuron input"], Float[np.ndarray, " neuron"], Float[np.ndarray, " neuron"]]
    alive: Bool[np.ndarray, " neuron"]

    @property
    def scale(self) -> float:
        """2^exponent, the unit in which the output is measured; inf beyond float64."""
        with np.errstate(over="ignore"):
            return float(np.ldexp(1.0, self.exponent))

    @property
    def rounding(self) -> float:
        """What float64 can lose, in this unit, in an output: each of its sums totals at most 1."""
        return 4.0 * sum(self.W.shape) * float(np.finfo(np.float64).eps)


def unit_scale(
    W: Float[np.ndarray, "neuron input"], b: Float[np.ndarray, " neuron"], u: Float[np.ndarray, " neuron"]
) -> UnitScale:
    """The network with every ‖w_i‖₁ + |b_i| in [1/2, 1) and Σ|u_i|·(‖w_i‖₁ + |b_i|) in (0, 1]; zeros stay zero.

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
    """The margin, or a lower bound of it, on one pattern: m(x) = constant + slope·x + Σ v_i relu(c_i + A_i·x).

    Only unstable neurons have a term of their own. Where other neurons were relaxed, m(x) is a lower bound.
    """

    constant: float
    slope: Float[np.ndarray, " bit"]
    A: Float[np.ndarray, "unstable bit"]
    c: Float[np.ndarray, " unstable"]
    v: Float[np.ndarray, " unstable"]

    def margins(self, bits: Real[np.ndarray, "example bit"]) -> Float[np.ndarray, " example"]:
        """The value at each row of ±1."""
        x = bits.astype(np.float64)
        return self.constant + x @ self.slope + np.maximum(x @ self.A.T + self.c, 0.0) @ self.v


def restriction(
    net: UnitScale,
    support: Sequence[int],
    pattern: Int8[np.ndarray, " k"],
    exact: Bool[np.ndarray, " neuron"] | None = None,
) -> Restriction:
    """The margin on one pattern of the relevant bits.

    Parameters
    ----------
    net
        The network at unit scale.
    support, pattern
        (k,) the relevant bits and their values.
    exact
        (neuron,) unstable neurons that keep their own term; the others are relaxed to a line below the term. All by
        default.

    Notes
    -----
    The line below v·relu(h) on l <= h <= h', l < 0 < h': for v > 0 it is 0 or v·h, whichever leaves the smaller area
    (both are below); for v < 0 the chord v·h'(h - l)/(h' - l), for relu is convex (Zhang et al. 2018, "Efficient neural
    network robustness certification with general activation functions").
    """
    irrelevant = irrelevant_bits(net.W.shape[1], support)
    parity = float(pattern.prod())
    v = parity * net.u
    c = net.b + net.W[:, list(support)] @ pattern.astype(np.float64)
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


def irrelevant_bits(n_inputs: int, support: Sequence[int]) -> list[int]:
    """The bits outside the support, ascending.

    Raises
    ------
    InputError
        The support does not name between 1 and 16 different bits of the input.

    Examples
    --------
    >>> irrelevant_bits(5, [3, 0])
    [1, 2, 4]
    """
    relevant = set(map(int, support))
    if (
        not relevant
        or len(relevant) != len(support)
        or not relevant <= set(range(n_inputs))
        or len(relevant) > MOST_RELEVANT
    ):
        raise InputError(
            f"The support {list(map(int, support))} must name 1 to {MOST_RELEVANT} different bits of 0..{n_inputs - 1}."
        )
    return [bit for bit in range(n_inputs) if bit not in relevant]


def weighted_bits(net: UnitScale, support: Sequence[int]) -> list[int]:
    """The irrelevant bits on which a neuron has a weight, however small.

    Examples
    --------
    >>> net = unit_scale(np.array([[1.0, 0.0, 5e-324]]), np.zeros(1), np.array([1.0]))
    >>> weighted_bits(net, [0])
    [2]
    """
    W = net.raw[0][net.alive]
    return [bit for bit in irrelevant_bits(W.shape[1], support) if W[:, bit].any()]
