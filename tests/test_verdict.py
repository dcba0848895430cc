"""How rationals are worded: exactly while they are short."""

from fractions import Fraction

import pytest

from circuits.constructions.verdict import as_float, number


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
