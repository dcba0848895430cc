"""Instant lower bounds of the margin on every pattern: sound for all inputs, of any network, without a solver.

The *interval* bound takes each neuron's worst preactivation, within ±‖w_irrelevant‖₁ of its value on the pattern, as if
the neurons saw different inputs. The *linear* bound replaces each unstable neuron by a line below its term; the lines
add up to one linear function of the irrelevant bits, whose least value is exact: constant - ‖slope‖₁. Errors of many
neurons then cancel, as they do in the network, so that it can prove a network of a thousand neurons where the interval
bound proves none (Zhang et al. 2018, CROWN; Gowal et al. 2018, interval bound propagation).
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int8

from circuits.constructions.certifying.restriction import (
    Restriction,
    UnitScale,
    irrelevant_bits,
    restriction,
    unit_scale,
)
from circuits.constructions.patterns import parities, patterns


def interval_bounds(
    W: Float[np.ndarray, "neuron input"],
    b: Float[np.ndarray, " neuron"],
    u: Float[np.ndarray, " neuron"],
    support: Sequence[int],
) -> Float[np.ndarray, " pattern"]:
    """Lower bound of parity·f over all inputs with each pattern, each neuron at its own worst.

    Parameters
    ----------
    W, b, u
        (neuron, input), (neuron,), (neuron,) of f(x) = uᵀ relu(W x + b).
    support
        (k,) relevant bits; patterns come in the order of `patterns(k)`.

    Examples
    --------
    A neuron for each sign of bit 0; bit 1 can take 0.25 away, and add 0.25 to the wrong one, which is off.

    >>> W = np.array([[1.0, 0.25], [-1.0, 0.25]])
    >>> interval_bounds(W, np.zeros(2), np.array([1.0, -1.0]), [0]).round(6)
    array([0.75, 0.75])
    """
    net = unit_scale(W, b, u)
    return net.scale * _interval(net, support)


def linear_bounds(
    W: Float[np.ndarray, "neuron input"],
    b: Float[np.ndarray, " neuron"],
    u: Float[np.ndarray, " neuron"],
    support: Sequence[int],
) -> Float[np.ndarray, " pattern"]:
    """Lower bound of parity·f over all inputs with each pattern, from one line below each unstable neuron.

    Parameters as in `interval_bounds`.

    Examples
    --------
    Two neurons that bit 1 moves alike: what one loses, the other gives back. Interval bounds cannot see it.

    >>> W, b, u = np.array([[1.0, 0.5], [1.0, -0.5]]), np.array([2.0, 2.0]), np.array([1.0, 1.0])
    >>> linear_bounds(W, b, u, [0]).round(6), interval_bounds(W, b, u, [0]).round(6)
    (array([-2.,  6.]), array([-3.,  5.]))
    """
    net = unit_scale(W, b, u)
    return net.scale * _linear(net, support)


def quick_bounds(
    net: UnitScale, support: Sequence[int]
) -> tuple[Float[np.ndarray, " pattern"], Int8[np.ndarray, "pattern bit"]]:
    """The better of both bounds for each pattern, in the net's unit, and the irrelevant bits where the line is least.

    Those bits are a good place to look for the true worst case.
    """
    where = np.stack([np.where(line.slope > 0, -1, 1) for line in _lines(net, support)]).astype(np.int8)
    return np.maximum(_linear(net, support), _interval(net, support)), where


def _interval(net: UnitScale, support: Sequence[int]) -> Float[np.ndarray, " pattern"]:
    reach = np.abs(net.W[:, irrelevant_bits(net.W.shape[1], support)]).sum(axis=1)
    centers = net.b + patterns(len(support)).astype(np.float64) @ net.W[:, list(support)].T  # (pattern, neuron)
    v = parities(len(support))[:, None] * net.u
    worst = np.where(v > 0, centers - reach, centers + reach)
    return (v * np.maximum(worst, 0.0)).sum(axis=1) - net.rounding


def _linear(net: UnitScale, support: Sequence[int]) -> Float[np.ndarray, " pattern"]:
    return np.array([line.constant - np.abs(line.slope).sum() for line in _lines(net, support)]) - net.rounding


def _lines(net: UnitScale, support: Sequence[int]) -> list[Restriction]:
    nobody = np.zeros(len(net.u), bool)
    return [restriction(net, support, pattern, nobody) for pattern in patterns(len(support))]
