"""Outputs in exact arithmetic: a float64 is an integer times a power of two, and so is f(x).

f(x) = uᵀ relu(W x + b) for x in ±1 needs only sums and products of the weights. With W and b as integers times one
power of two, and u as integers times another, no operation rounds.
"""

from fractions import Fraction

import numpy as np
from jaxtyping import Float, Real

SMALLEST = 5e-324


def exact_outputs(
    W: Float[np.ndarray, "neuron input"],
    b: Float[np.ndarray, " neuron"],
    u: Float[np.ndarray, " neuron"],
    inputs: Real[np.ndarray, "example input"],
) -> list[Fraction]:
    """Exact output f(x) = uᵀ relu(W x + b) at each row x of `inputs`, whose entries are ±1.

    Examples
    --------
    >>> exact_outputs(np.array([[0.5, 2.0**-60]]), np.array([0.0]), np.array([1.0]), np.array([[1, -1]]))
    [Fraction(576460752303423487, 1152921504606846976)]
    """
    layer, layer_power = _integers(np.concatenate([W, b[:, None]], axis=1))
    readout, readout_power = _integers(u)
    outputs = []
    for x in inputs:
        on = x > 0
        hidden = layer[:, :-1][:, on].sum(axis=1) - layer[:, :-1][:, ~on].sum(axis=1) + layer[:, -1]
        total = sum(int(weight) * max(int(value), 0) for weight, value in zip(readout, hidden, strict=True))
        outputs.append(Fraction(total) * Fraction(2) ** (layer_power + readout_power))
    return outputs


def rounded(value: Fraction) -> float:
    """The nearest float64 of the same sign: ±inf beyond the range of float64, ±5e-324 for values that round to ±0.

    Examples
    --------
    >>> rounded(Fraction(1, 4)), rounded(Fraction(-(10**400)))
    (0.25, -inf)
    >>> rounded(Fraction(-1, 10**400)), rounded(Fraction(0))
    (-5e-324, 0.0)
    """
    try:
        nearest = float(value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")
    return nearest if nearest or not value else SMALLEST if value > 0 else -SMALLEST


def floor64(value: Fraction) -> float:
    """The largest float64 that is at most `value`. Exception: a positive value below 5e-324 gives 5e-324 and not 0.

    Examples
    --------
    >>> floor64(Fraction(1, 10)) < Fraction(1, 10), floor64(Fraction(1, 10**400)), floor64(Fraction(-1, 10**400))
    (True, 5e-324, -5e-324)
    """
    nearest = rounded(value)
    if nearest == SMALLEST or Fraction(nearest) <= value:
        return nearest
    return float(np.nextafter(nearest, -np.inf))


def _integers(values: Real[np.ndarray, "*any"]) -> tuple[np.ndarray, int]:
    """Return an array of Python integers and an exponent e: each value is its integer times 2^e."""
    digits, powers = np.frexp(values.astype(np.float64))
    least = int(powers[digits != 0].min()) if digits.any() else 0
    whole = np.ldexp(digits, 53).astype(np.int64).astype(object)
    return whole * (2 ** np.where(digits != 0, powers - least, 0).astype(object)), least - 53
