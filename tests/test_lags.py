"""Intervals of lags: the closed form, side by side; simulated coverage; infinite ends."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from circuits.analysis.progress.lags import difference, lags

SIZES = st.floats(0, 1e6)


def bounded(value, below, above):
    return np.array(float(value)), np.array(float(value - below)), np.array(float(value + above))


def test_each_end_takes_the_side_that_counts():
    # a: 3 below, 5 above; b: 12 below, 4 above; right triangles 3-4-5 and 5-12-13
    assert difference(bounded(10, 3, 5), bounded(4, 12, 4)) == (6, 6 - 5, 6 + 13)
    assert difference(bounded(4, 12, 4), bounded(10, 3, 5)) == (-6, -6 - 13, -6 + 5)


@settings(max_examples=40)
@given(st.floats(-1e6, 1e6), SIZES, SIZES, st.floats(-1e6, 1e6))
def test_against_a_number_that_is_known_the_interval_is_only_shifted(value, below, above, known):
    one, exact = bounded(value, below, above), bounded(known, 0, 0)
    np.testing.assert_allclose(difference(one, exact), np.array(one) - known, atol=1e-6)
    np.testing.assert_allclose(difference(exact, one), known - np.array(one)[[0, 2, 1]], atol=1e-6)


@settings(max_examples=40)
@given(SIZES, SIZES, SIZES, SIZES)
def test_exchanging_the_two_mirrors_the_interval(a_below, a_above, b_below, b_above):
    one, other = bounded(7, a_below, a_above), bounded(-2, b_below, b_above)
    value, low, high = difference(one, other)
    assert difference(other, one) == (-value, -high, -low)


def test_an_infinite_end_makes_a_bound_and_two_nothing():
    censored, known = (np.array(12.0), np.array(-np.inf), np.array(15.0)), bounded(50, 4, 4)
    assert difference(censored, known) == (-38, -np.inf, -38 + 5)
    assert difference(known, censored) == (38, 38 - 5, np.inf)
    value, low, high = difference(censored, censored)
    assert np.isnan(value)
    assert (low, high) == (-np.inf, np.inf)
    assert np.isnan(difference(bounded(np.nan, 0, 0), known)).all()


def test_lags_are_differences_to_the_reference_and_0_to_itself_where_it_counts():
    ends = {"": [[10.0, 10.0], [4.0, 4.0]], "_low": [[7.0, 7.0], [-8.0, -8.0]], "_high": [[15.0, 15.0], [8.0, 8.0]]}
    found = {f"{place}{part}": np.array(of) for place in ("onset", "midpoint") for part, of in ends.items()}
    result = lags(found, 1, np.array([True, False]))
    for name in ("lag", "midpoint_lag"):
        for part, expected in (("", 6), ("_low", 1), ("_high", 19)):
            np.testing.assert_array_equal(result[name + part], [[expected, np.nan], [0, np.nan]])


@pytest.mark.parametrize(
    ("one", "other"), [((1.0, 4.0), (3.0, 0.5)), ((5.0, 0.5), (0.5, 2.0)), ((2.0, 2.0), (2.0, 2.0))]
)
def test_the_interval_holds_the_difference_as_often_as_each_its_own(one, other):
    """Split normal errors, large on one side: an interval taken from the wrong side would miss far more often."""
    random, n = np.random.default_rng(3), 4000

    def estimates(below, above):
        error = random.normal(size=n)  # the truth is 0: an estimate too high by a below-size error is covered below
        return np.where(error > 0, below, above) * error, 1.96 * below, 1.96 * above

    values = []
    for below, above in (one, other):
        value, down, up = estimates(below, above)
        values.append((value, value - down, value + up))
    _, low, high = difference(*values)
    missed_below, missed_above = (low > 0).mean(), (high < 0).mean()
    assert 0.935 <= ((low <= 0) & (high >= 0)).mean() <= 0.985
    assert max(missed_below, missed_above) <= 0.045
