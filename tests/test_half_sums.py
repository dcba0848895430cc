"""How the sums of ±weights are listed in two halves, and how wide a kink is made."""

import math

import numpy as np
import pytest

from circuits.constructions.verifying.half_sums import half_laws
from circuits.constructions.verifying.kink_series import END, MOST_TERMS, smoothing


def lists(weights, most):
    """The two halves' values and shares, and their lengths."""
    values, shares = np.zeros((2, 2, most)), np.zeros((2, 2, most))
    counts, place = half_laws(np.array(weights, float), 0, len(weights), values, shares, most)
    return counts.tolist(), [(values[i, place[i], : counts[i]], shares[i, place[i], : counts[i]]) for i in (0, 1)]


def test_the_shorter_list_takes_the_next_weight():
    counts, halves = lists([3, 2, 2, 2, 0.7], 64)
    assert counts == [4, 4]
    np.testing.assert_allclose(halves[0][0], [-3.7, -2.3, 2.3, 3.7])
    np.testing.assert_allclose(halves[1][0], [-6, -2, 2, 6])
    np.testing.assert_allclose(halves[1][1], np.array([1, 3, 3, 1]) / 8)


def test_a_weight_that_does_not_fit_the_shorter_list_goes_to_the_other():
    counts, halves = lists([7.3, 6, 5.1, 4, 2], 7)  # ±7.3 ± 5.1 ± 2 has 8 values, ±6 ± 4 ± 2 only 7
    assert counts == [4, 7]
    np.testing.assert_allclose(halves[1][0], [-12, -8, -4, 0, 4, 8, 12])
    np.testing.assert_allclose(halves[1][1], np.array([1, 1, 1, 2, 1, 1, 1]) / 8)
    assert lists([7.3, 6, 5.1, 4, 2], 6)[0][0] == -1


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e9])
def test_sums_that_differ_by_rounding_are_one_at_any_scale(scale):
    counts, _ = lists(np.array([0.9, 0.3, 0.3, 0.2, 0.1, 0.1]) * scale, 64)
    exact, _ = lists([9, 3, 3, 2, 1, 1], 64)
    assert counts == exact


@pytest.mark.parametrize(("reach", "spread", "farthest"), [(3.0, 0.5, 0.2), (1e6, 1.0, 1e5), (40.0, 5.0, 60.0)])
def test_a_series_has_terms_to_its_end_and_not_more_than_the_most(reach, spread, farthest):
    width, half_period, n_terms = smoothing(reach, spread, farthest, 1e-6)
    assert 2 * math.pi * width * n_terms >= END * half_period > 2 * math.pi * width * (n_terms - 1)
    assert n_terms <= MOST_TERMS
