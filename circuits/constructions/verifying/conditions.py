"""Firing condition of a neuron: a boolean formula for the settings of the bits on which the neuron is positive.

The formula is the minimal sum of products or the minimal product of sums (Quine and McCluskey, by sympy), whichever has
fewer literals. Both become unreadable with many bits. So a t-of-k gate, which fires when at least t of its k literals
hold, is written as "at least t of: …" once its formula exceeds twelve literals.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool

from circuits.constructions.patterns import patterns

if TYPE_CHECKING:
    from sympy.logic.boolalg import Boolean

FORMULA_BITS = 6
MOST_LITERALS = 12  # in the formula of a t-of-k gate; the majority of three has 6, two of four 12
ALWAYS, NEVER = "always", "never"


def firing_condition(fires: Bool[np.ndarray, " pattern"], bits: Sequence[str]) -> str:
    """When a neuron fires, as text: "always", "never", or a formula in the names of the bits.

    Above six bits, only conjunctions and thresholds ("at least 2 of: …") have a formula. Others become the number of
    settings on which the neuron fires, such as "5 of 128 patterns". `fires` is in the order of `patterns(len(bits))`.

    Examples
    --------
    >>> firing_condition(np.array([False, True, True, True]), ["x0", "x1"])
    'x0 = 1 ∨ x1 = 1'
    >>> firing_condition(np.array([False, False, True, False]), ["x0", "x1"])
    'x0 = 1 ∧ x1 = -1'
    """
    if not fires.any():
        return NEVER
    if fires.all():
        return ALWAYS
    if len(bits) <= FORMULA_BITS:
        text, n_literals = _shortest_formula(tuple(np.flatnonzero(fires).tolist()), tuple(bits))
        return (_at_least(fires, bits) if n_literals > MOST_LITERALS else None) or text
    return _conjunction(fires, bits) or _at_least(fires, bits) or f"{int(fires.sum())} of {len(fires)} patterns"


def fires_as_printed(condition: str, bits: Sequence[str]) -> Bool[np.ndarray, " pattern"]:
    """Mask of the bit settings that meet a paper's condition of the form (a ∨ b) ∧ c with literals such as `x0 = -1`.

    Examples
    --------
    >>> fires_as_printed("(x0 = -1 ∨ x1 = -1) ∧ x2 = 1", ["x0", "x1", "x2"]).astype(int).tolist()
    [0, 1, 0, 1, 0, 1, 0, 0]
    """
    every = patterns(len(bits))
    met = np.ones(len(every), bool)
    for clause in condition.split("∧"):
        literals = re.findall(r"(\w+) = (-?1)", clause)
        met &= np.any([every[:, list(bits).index(bit)] == int(value) for bit, value in literals], axis=0)
    return met


@lru_cache(maxsize=4096)
def _shortest_formula(minterms: tuple[int, ...], bits: tuple[str, ...]) -> tuple[str, int]:
    """Shortest formula true only at the settings `minterms` of the bits (in binary, 0 for -1); its literal count."""
    from sympy import Symbol
    from sympy.logic.boolalg import POSform, SOPform

    symbols = [Symbol(bit) for bit in bits]
    terms = [[term >> place & 1 for place in reversed(range(len(bits)))] for term in minterms]
    formulas = [form(symbols, terms) for form in (SOPform, POSform)]
    shortest = min(formulas, key=_n_literals)
    return _text(shortest, bits), _n_literals(shortest)


def _n_literals(formula: Boolean) -> int:
    return sum(map(_n_literals, formula.args)) if formula.func.__name__ in ("And", "Or") else 1


def _text(formula: Boolean, bits: Sequence[str]) -> str:
    kind = formula.func.__name__
    if kind == "Symbol":
        return f"{formula} = 1"
    if kind == "Not":
        return f"{formula.args[0]} = -1"
    parts = sorted(formula.args, key=lambda part: sorted(bits.index(str(bit)) for bit in part.free_symbols))
    words = [f"({_text(part, bits)})" if part.func.__name__ in ("And", "Or") else _text(part, bits) for part in parts]
    return {"And": " ∧ ", "Or": " ∨ "}[kind].join(words)


def _conjunction(fires: Bool[np.ndarray, " pattern"], bits: Sequence[str]) -> str | None:
    """The firing condition as a conjunction, such as "x0 = 1 ∧ x2 = -1"; None if it is not a conjunction."""
    met = patterns(len(bits))[fires]
    fixed = np.flatnonzero((met == met[0]).all(axis=0))
    if len(met) != 2 ** (len(bits) - len(fixed)):
        return None
    return " ∧ ".join(f"{bits[bit]} = {met[0, bit]}" for bit in fixed.tolist())


def _at_least(fires: Bool[np.ndarray, " pattern"], bits: Sequence[str]) -> str | None:
    """The firing condition, if it is a threshold over all bits: "at least 2 of: x0 = 1, x1 = -1, x2 = 1"; else None."""
    every = patterns(len(bits))
    signs = np.sign(every[fires].sum(axis=0, dtype=np.int64))
    n_true = (every == signs).sum(axis=1)
    least = n_true[fires].min()
    if not signs.all() or (fires != (n_true >= least)).any():
        return None
    literals = ", ".join(f"{bit} = {sign}" for bit, sign in zip(bits, signs, strict=True))
    return f"at least {least} of: {literals}"
