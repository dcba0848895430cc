"""How verifications and their rationals are worded: exactly while that is short."""

from fractions import Fraction

import pytest

from circuits.constructions.building.construction import Construction
from circuits.constructions.patterns import parities, patterns
from circuits.constructions.verifying.rational import as_float, number
from circuits.constructions.verifying.verify import verify


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Fraction(0), "0"), (Fraction(-1, 3), "-1/3"), (Fraction(1, 99), "1/99"), (Fraction(1, 100), "0.01"),
        (Fraction(1, 101), "0.009901"), (Fraction(999_999), "999999"), (Fraction(-999_999), "-999999"),
        (Fraction(10**6), "1e+06"), (Fraction(-(10**6)), "-1e+06"), (Fraction(1_000_001), "1e+06"),
        (Fraction(10**400), "beyond 1e308"), (Fraction(-1, 10**400), "about 0"),
    ],
)  # fmt: skip
def test_a_rational_of_small_denominator_and_size_is_printed_exactly(value, text):
    assert number(value) == text


def test_a_rational_beyond_the_floats_has_none():
    assert as_float(Fraction(10**400)) is None
    assert as_float(Fraction(-7, 4)) == -1.75


@pytest.mark.parametrize(
    ("outputs", "text"),
    [((1, 1, 1, 1), "1"), ((1, 2, 1, 2), "1 or 2"), ((1, 2, 1, 3), "1 to 3"), ((4, 2, 1, 3), "1 to 4")],
)
def test_two_outputs_are_both_named_and_more_are_a_range(outputs, text):
    rows, parity = patterns(3), parities(3)
    u = dict(
        zip(map(tuple, rows[parity == 1].tolist()), outputs, strict=True)
    )  # a neuron per pattern, 0 where it is -1
    W = tuple(map(tuple, rows.tolist()))
    network = Construction("gates", W, (-2,) * 8, tuple(u.get(row, 0) for row in W), source="a test")
    expected = (
        f"gates: does not compute parity. Its output is {text} where the parity is 1, 0 where it is -1, never negative."
    )
    assert verify(network).verdict()[0] == expected
