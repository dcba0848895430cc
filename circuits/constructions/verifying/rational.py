"""Activations and outputs of a network on every setting of its relevant bits, without rounding.

Every float is a rational. Over a common denominator, f(x) = uᵀ relu(W x + b) needs integers only: machine integers if a
bound shows that they suffice, otherwise Python integers.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import lcm
from typing import Any

import numpy as np

from circuits.constructions.building.construction import Rational
from circuits.constructions.patterns import patterns
from circuits.errors import InputError

MOST_VALUES = 1 << 24  # activations in memory: 128 MB of machine integers


@dataclass(frozen=True, eq=False)
class ExactValues:
    """Exact activations and outputs on each setting of the bits (pattern), as integers over a common denominator.

    Attributes
    ----------
    hidden, hidden_over
        (pattern, neuron) activations times their denominator, `hidden_over`.
    output, output_over
        (pattern,) outputs times their denominator, `output_over`.
    """

    hidden: np.ndarray
    hidden_over: int
    output: np.ndarray
    output_over: int


def exact_values(
    W: Sequence[Sequence[Rational | float]], b: Sequence[Rational | float], u: Sequence[Rational | float], k: int
) -> ExactValues:
    """Activations and outputs of uᵀ relu(W x + b) on the 2^k settings x of k relevant bits, ordered as `patterns(k)`.

    Raises
    ------
    InputError
        A weight is NaN or infinite, or the values need too much memory.

    Examples
    --------
    The activations have the common denominator 4 (`hidden_over`), and so have the outputs (`output_over`).

    >>> values = exact_values([[Fraction(1, 2)], [-0.25]], [0, 0.5], [1, 3], k=1)
    >>> values.hidden.tolist(), values.hidden_over, values.output.tolist(), values.output_over
    ([[0, 3], [2, 1]], 4, [9, 5], 4)
    """
    if 2**k * max(len(b), k) > MOST_VALUES:
        raise InputError(
            f"k = {k} relevant bits and {len(b)} neurons make 2^{k} × {max(len(b), k)} values; the limit is "
            f"2^{MOST_VALUES.bit_length() - 1}. Pass fewer relevant bits or neurons."
        )
    rows = zip(W, b, strict=True)
    weights, hidden_over = over_common_denominator(value for row, bias in rows for value in (*row, bias))
    readout, readout_over = over_common_denominator(u)
    size = k + 1
    largest = max((sum(map(abs, weights[at : at + size])) for at in range(0, len(weights), size)), default=0)
    bound = max(largest, 1) * max(sum(map(abs, readout)), 1)
    dtype: Any = np.int64 if bound < 2**63 else object
    affine = np.array(weights, dtype).reshape(len(b), size)
    hidden = np.maximum(patterns(k).astype(dtype) @ affine[:, :k].T + affine[:, k], 0)  # (pattern, neuron)
    output = hidden @ np.array(readout, dtype) if readout else np.zeros(2**k, np.int64)
    return ExactValues(hidden, hidden_over, output, hidden_over * readout_over)


def over_common_denominator(values: Iterable[Rational | float]) -> tuple[list[int], int]:
    """Numerators of the values over their least common denominator, and this denominator.

    Examples
    --------
    >>> over_common_denominator([Fraction(1, 2), 0.75, 2])
    ([2, 3, 8], 4)
    """
    try:
        fractions = [Fraction(value) for value in values]
    except (ValueError, OverflowError):  # raised by Fraction for NaN and infinity
        raise InputError("the network has diverged: a weight is NaN or infinite. Pass an earlier checkpoint.") from None
    common = lcm(*(one.denominator for one in fractions))
    return [one.numerator * (common // one.denominator) for one in fractions], common


def number(value: Fraction) -> str:
    """A rational as text: exact if denominator < 100 and size < 10^6, else to four digits; "about 0" if its float is 0.

    Examples
    --------
    >>> number(Fraction(7)), number(Fraction(1, 3)), number(Fraction(1.1)), number(Fraction(1, 10**400))
    ('7', '1/3', '1.1', 'about 0')
    """
    if value.denominator < 100 and abs(value) < 10**6:
        return str(value)
    rounded = as_float(value)
    return "beyond 1e308" if rounded is None else f"{rounded:.4g}" if rounded else "about 0"


def as_float(value: Fraction) -> float | None:
    """The nearest float; None if the value is beyond the range of floats.

    Examples
    --------
    >>> as_float(Fraction(1, 2)), as_float(Fraction(10**400))
    (0.5, None)
    """
    try:
        return float(value)
    except OverflowError:
        return None
