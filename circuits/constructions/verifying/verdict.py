"""What a verification says, in sentences: whether it computes parity, why not, and of which inputs that is true."""

from fractions import Fraction

import numpy as np

from circuits.constructions.verifying.verification import Verification

FEW = 2


def verdict(verification: Verification, *, scope: bool = True) -> list[str]:
    """One line per finding, the answer first; with `scope`, also of which inputs that is true.

    Examples
    --------
    >>> from circuits.constructions import two_neuron, verify
    >>> for line in verdict(verify(two_neuron())):
    ...     print(line)
    two_neuron: does not compute parity. Its output is 1 where the parity is 1, 0 where it is -1, never negative.
    It does with a threshold in (0, 1), or with a further neuron that is constant: bias 1, readout weight in (-1, 0).
    Every neuron fires exactly when its source says.
    """
    lines = [_answer(verification)]
    if not (verification.computes_parity or verification.collapsed) and verification.thresholds is not None:
        low, high = verification.thresholds
        lines.append(
            f"It does with a threshold in ({number(low)}, {number(high)}), or with a further neuron that is constant: "
            f"bias 1, readout weight in ({number(-high)}, {number(-low)})."
        )
    lines += [
        f"{one.neuron} fires when {one.found}; printed in the source: {one.printed}."
        for one in verification.disagreements
    ]
    if verification.printed and not verification.disagreements:
        lines.append("Every neuron fires exactly when its source says.")
    if scope and verification.n_inputs > verification.k:
        lines.append(_scope(verification))
    return lines


def number(value: Fraction) -> str:
    """A rational as a person reads it: exactly when it is short, else four digits.

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
    """The nearest float; None for what is beyond them.

    Examples
    --------
    >>> as_float(Fraction(1, 2)), as_float(Fraction(10**400))
    (0.5, None)
    """
    try:
        return float(value)
    except OverflowError:
        return None


def _answer(verification: Verification) -> str:
    name, n_patterns = verification.name, len(verification.parities)
    if verification.collapsed:
        largest = verification.train_largest_output
        of_data = largest is not None
        whose = "The network's" if of_data else "Its"
        where = "its training set" if of_data else f"the {n_patterns} patterns"
        size = Fraction(largest) if largest is not None else verification.largest_output
        return (
            f"{name}: has collapsed. {whose} largest output on {where} is {number(size)}, where the loss asks for 1: "
            f"it computes nothing."
        )
    if verification.computes_parity:
        return (
            f"{name}: computes parity. Its output is positive on every pattern of parity 1, negative on every one of "
            f"parity -1. Margin {number(verification.margin)}."
        )
    where_one, where_minus_one = (_described(verification, parity) for parity in (1, -1))
    outputs = f"Its output is {where_one} where the parity is 1, {where_minus_one} where it is -1"
    never = _never(verification)
    how = (
        f"never {never}" if never else f"of the wrong sign on {int(verification.wrong.sum())} of {n_patterns} patterns"
    )
    return f"{name}: does not compute parity. {outputs}, {how}."


def _described(verification: Verification, parity: int) -> str:
    """The outputs on the patterns of this parity: the values when they are few, else the range."""
    over = verification.values.output_over
    found = np.unique(verification.values.output[verification.parities == parity]).tolist()
    texts = [number(Fraction(value, over)) for value in found]
    return " or ".join(texts) if len(texts) <= FEW else f"{texts[0]} to {texts[-1]}"


def _never(verification: Verification) -> str | None:
    output = verification.values.output
    return "negative" if (output >= 0).all() else "positive" if (output <= 0).all() else None


def _scope(verification: Verification) -> str:
    k, n = verification.k, verification.n_inputs
    where = f"Relevant {'bit' if k == 1 else 'bits'}: {' '.join(map(str, verification.inputs))}"
    if not verification.n_left_out:
        return f"{where}. No neuron has a weight on any other input, so this holds for all 2^{n} inputs."
    return (
        f"{where}. The other {n - k} inputs are held at 0, their mean: this is about the network restricted to its "
        f"{k} relevant bits, and proves nothing for the 2^{n} inputs it has."
    )
