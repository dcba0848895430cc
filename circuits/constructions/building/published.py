"""The networks that the papers print, with their printed weights.

    six_neuron    k = 3, Merrill et al. 2023, Prop. 2
    four_neuron   k = 3, Merrill et al. 2023, Prop. 3
    two_neuron    k = 2, Fuangkawinsombut 2024, section 4.2; never negative, so not parity as Merrill et al. define it

If the paper states firing conditions, the construction's field `printed` holds them, for comparison with exact ones.
Bits and neurons are numbered from 0, as arrays index them: the papers' x1, x2, x3 are x0, x1, x2, and their h1 is h0.
"""

from fractions import Fraction

from circuits.constructions.building.construction import Construction


def six_neuron() -> Construction:
    """Network for k = 3: four AND gates for the bit settings of parity 1; two neurons make all other outputs negative.

    Examples
    --------
    >>> six_neuron().W[0], six_neuron().b[0], six_neuron().u
    ((-1, -1, 10), -9, (-1, 10, 10, -1, 10, 10))
    """
    return Construction(
        name="six_neuron",
        W=((-1, -1, 10), (-1, -1, 1), (1, 1, 1), (1, -1, -10), (-1, 1, -1), (1, -1, -1)),
        b=(-9, -2, -2, -9, -2, -2),
        u=(-1, 10, 10, -1, 10, 10),
        source="Merrill et al. 2023, Prop. 2",
        printed=(
            "(x0 = -1 ∨ x1 = -1) ∧ x2 = 1",
            "x0 = -1 ∧ x1 = -1 ∧ x2 = 1",
            "x0 = 1 ∧ x1 = 1 ∧ x2 = 1",
            "(x0 = 1 ∨ x1 = -1) ∧ x2 = -1",
            "x0 = -1 ∧ x1 = 1 ∧ x2 = -1",
            "x0 = 1 ∧ x1 = -1 ∧ x2 = -1",
        ),
    )


def four_neuron() -> Construction:
    """Network 1 + 2σ(X - 1) - σ(X + 1) - σ(-X - 1) for parity of 3 bits; X is the sum of the bits, and σ is relu.

    The constant 1 is a neuron with bias 1 and no incoming weight. So pruning by incoming norm drops this neuron first.

    Examples
    --------
    >>> four_neuron().W[0], four_neuron().b, four_neuron().u
    ((0, 0, 0), (1, -1, 1, -1), (1, 2, -1, -1))
    """
    W = ((0, 0, 0), (1, 1, 1), (1, 1, 1), (-1, -1, -1))
    return Construction("four_neuron", W, b=(1, -1, 1, -1), u=(1, 2, -1, -1), source="Merrill et al. 2023, Prop. 3")


def two_neuron() -> Construction:
    """Network of two neurons for k = 2 bits x0, x1: the output |x0 + x1| / 2 is 1 for parity 1, and 0 for parity -1.

    Examples
    --------
    >>> two_neuron().W[0], two_neuron().b, two_neuron().u
    ((Fraction(1, 2), Fraction(1, 2)), (0, 0), (1, 1))
    """
    half, source = Fraction(1, 2), "Fuangkawinsombut 2024, section 4.2"
    printed = ("x0 = 1 ∧ x1 = 1", "x0 = -1 ∧ x1 = -1")
    return Construction(
        "two_neuron", W=((half, half), (-half, -half)), b=(0, 0), u=(1, 1), source=source, printed=printed
    )
