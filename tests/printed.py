"""The papers' networks as printed, written down apart from the package: what `circuits.constructions` must build."""

from fractions import Fraction

from circuits.constructions.building.construction import Construction
from circuits.constructions.patterns import parities, patterns

DNF = Construction(
    "dnf",
    W=tuple(tuple(int(bit) for bit in row) for row in patterns(3)),
    b=(-2,) * 8,
    u=tuple(int(parity) for parity in parities(3)),
    source="Prop. 1",
)
SIX = Construction(
    "six_neuron",
    W=((-1, -1, 10), (-1, -1, 1), (1, 1, 1), (1, -1, -10), (-1, 1, -1), (1, -1, -1)),
    b=(-9, -2, -2, -9, -2, -2),
    u=(-1, 10, 10, -1, 10, 10),
    source="Prop. 2",
)
FOUR = Construction(
    "four_neuron",
    W=((0, 0, 0), (1, 1, 1), (1, 1, 1), (-1, -1, -1)),
    b=(1, -1, 1, -1),
    u=(1, 2, -1, -1),
    source="Prop. 3",
)
half = Fraction(1, 2)
TWO = Construction("two_neuron", W=((half, half), (-half, -half)), b=(0, 0), u=(1, 1), source="thesis, 4.2")
