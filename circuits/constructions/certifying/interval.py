"""Instant lower bounds of the margin (parity · output) for every pattern (relevant-bit setting), without a solver.

For a given pattern, the margin is a sum Σ_i v_i relu(h_i) over the neurons i. The factor v_i is the parity times the
readout weight. The irrelevant bits move the preactivation h_i by at most the sum of their |weights| in neuron i.

The *interval* bound takes the worst h_i of each neuron separately, as if the neurons had different inputs. The *linear*
bound replaces each term v_i relu(h_i) by a linear function of h_i that is never above the term. The sum is then a
linear function constant + slope·x of the irrelevant bits x. Its least value over all x in ±1 is constant - ‖slope‖₁. If
a bit raises some terms and lowers others, these effects cancel in the slope, as in the network. So the linear bound can
be positive for a network of a thousand neurons even where the interval bound is negative. Both bounds hold for any
network (Zhang et al. 2018, CROWN; Gowal et al. 2018, interval bound propagation).
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int8

from circuits.constructions.certifying.restriction import UnitScale, irrelevant_bits, restriction, unit_scale
from circuits.constructions.patterns import parities, patterns


def interval_bounds(
    W: Float[np.ndarray, "neuron input"],
    b: Float[np.ndarray, " neuron"],
    u: Float[np.ndarray, " neuron"],
    relevant_bits: Sequence[int],
) -> Float[np.ndarray, " pattern"]:
    """Lower bound of parity·f over all inputs of each relevant-bit setting, from each neuron's worst preactivation.

    The network is f(x) = uᵀ relu(W x + b). The settings of the k relevant bits are in the order of `patterns(k)`.

    Examples
    --------
    One neuron for each sign of bit 0. Bit 1 can lower either neuron by 0.25; the neuron of the wrong sign stays off.

    >>> W = np.array([[1.0, 0.25], [-1.0, 0.25]])
    >>> interval_bounds(W, np.zeros(2), np.array([1.0, -1.0]), [0]).round(6)
    array([0.75, 0.75])
    """
    net = unit_scale(W, b, u)
    return net.scale * _interval(net, relevant_bits)


def quick_bounds(
    net: UnitScale, relevant_bits: Sequence[int]
) -> tuple[Float[np.ndarray, " pattern"], Int8[np.ndarray, "pattern bit"]]:
    """For each relevant-bit setting: a lower bound of the margin, and an input from which to search for small margins.

    The margin is parity · output, with the output scaled to absolute values <= 1. Each setting has a linear function g
    of the irrelevant bits that is never above the margin. The lower bound is the minimum of g (linear bound) or, if
    larger, the bound of `interval_bounds` (interval bound). The second result holds the irrelevant bits' values at
    which g is least, since the margin is often least near these values.

    Examples
    --------
    Bit 1 lowers one neuron by as much as it raises the other. The linear bound uses this, the interval bound cannot.

    >>> W, b, u = np.array([[1.0, 0.5], [1.0, -0.5]]), np.array([2.0, 2.0]), np.array([1.0, 1.0])
    >>> net = unit_scale(W, b, u)
    >>> (net.scale * quick_bounds(net, [0])[0]).round(6), interval_bounds(W, b, u, [0]).round(6)
    (array([-2.,  6.]), array([-3.,  5.]))
    """
    none = np.zeros(len(net.u), bool)
    lines = [restriction(net, relevant_bits, pattern, none) for pattern in patterns(len(relevant_bits))]
    linear = np.array([line.constant - np.abs(line.slope).sum() for line in lines]) - net.rounding
    where = np.stack([np.where(line.slope > 0, -1, 1) for line in lines]).astype(np.int8)
    return np.maximum(linear, _interval(net, relevant_bits)), where


def _interval(net: UnitScale, relevant_bits: Sequence[int]) -> Float[np.ndarray, " pattern"]:
    reach = np.abs(net.W[:, irrelevant_bits(net.W.shape[1], relevant_bits)]).sum(axis=1)
    signs = patterns(len(relevant_bits)).astype(np.float64)
    centers = net.b + signs @ net.W[:, list(relevant_bits)].T  # (pattern, neuron)
    v = parities(len(relevant_bits))[:, None] * net.u
    worst = np.where(v > 0, centers - reach, centers + reach)
    return (v * np.maximum(worst, 0.0)).sum(axis=1) - net.rounding
