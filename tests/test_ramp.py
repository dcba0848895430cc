"""Ramps: known breakpoints are found, inside their intervals as often as is said, and noise alone has none."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from circuits.analysis.progress.ramp import LEAST_POINTS, all_ramps, fitted_ramp

N, REPEATS = 200, 120
T = np.log10(np.arange(30.0, 30.0 + N))


def ramp(t, onset, end):
    return np.clip((t - onset) / (end - onset), 0, 1)


def noise(random, rho, size, n=N):
    """AR(1) of standard deviation `size`, stationary from its first value."""
    steps = random.normal(size=n) * size
    found = np.empty(n)
    found[0] = steps[0]
    for i in range(1, n):
        found[i] = rho * found[i - 1] + np.sqrt(1 - rho**2) * steps[i]
    return found


def somewhere(random):
    onset = T[0] + np.ptp(T) * random.uniform(0.2, 0.5)
    return onset, onset + np.ptp(T) * random.uniform(0.1, 0.4)


@given(st.integers(0, 60), st.integers(1, 39), st.floats(-20, 20), st.floats(0.1, 50), st.sampled_from([-1, 1]))
def test_a_ramp_without_noise_is_found_exactly(first, length, level, height, sign):
    t = np.sort(np.random.default_rng(first).uniform(0, 10, 120))
    last = first + length
    found = fitted_ramp(t, level + sign * height * ramp(t, t[first], t[last]))
    assert found.moves
    assert (found.onset[0], found.end[0]) == (t[first], t[last])
    assert found.middle[0] == pytest.approx((t[first] + t[last]) / 2)
    assert (found.before, found.after) == (
        pytest.approx(level, abs=1e-5 * height),
        pytest.approx(level + sign * height, abs=1e-5 * height),
    )
    assert found.explained == pytest.approx(1)


def test_the_residuals_of_every_pair_are_those_of_least_squares():
    random = np.random.default_rng(0)
    t = np.sort(random.uniform(0, 3, 17))
    y = random.normal(size=17)
    y -= y.mean()
    first, last, rss, rise = all_ramps(t, y, np.arange(17))
    assert len(first) == 17 * 16 / 2
    for i, j, residual, slope in zip(first, last, rss, rise, strict=True):
        design = np.stack([np.ones(17), ramp(t, t[i], t[j])], axis=1)
        solution, expected, *_ = np.linalg.lstsq(design, y, rcond=None)
        assert residual == pytest.approx(float(expected[0]), rel=1e-8)
        assert slope == pytest.approx(solution[1], rel=1e-8)


def uneven(random, kind, share):
    """Noise of a curve that has come this share of its way: by name, one of `COVERED`."""
    white, correlated = random.normal(size=N), noise(random, 0.9, 1.0)
    if kind == "white":
        return 0.05 * white
    if kind == "AR(0.9)":
        return 0.1 * correlated
    if kind == "shrinks":
        return (0.2 * (1 - share) + 0.01 * share) * white
    if kind == "shrinks, AR(0.9)":
        return (0.1 * (1 - share) + 0.01 * share) * correlated
    if kind == "grows, AR(0.9)":
        return (0.1 * share + 0.01 * (1 - share)) * correlated
    if kind == "in the ramp, AR(0.8)":
        return 0.1 * np.sqrt(4 * share * (1 - share) + 0.001) * noise(random, 0.8, 1.0)
    if kind == "ends with the ramp, AR(0.9)":
        return np.where(share < 1, 0.05, 0.0) * correlated
    if kind == "t with 2 degrees of freedom":
        return 0.05 * random.standard_t(2, size=N)
    if kind == "of an accuracy":
        return 2 * random.binomial(100, 0.5 + 0.5 * share) / 100 - 1 - share
    raise KeyError(kind)


COVERED = {  # what the intervals of onset, middle and end cover at least, of 95 %
    "white": 0.95, "AR(0.9)": 0.91, "shrinks": 0.94, "shrinks, AR(0.9)": 0.94, "grows, AR(0.9)": 0.94,
    "in the ramp, AR(0.8)": 0.91, "ends with the ramp, AR(0.9)": 0.81, "t with 2 degrees of freedom": 0.94,
    "of an accuracy": 0.95,
}  # fmt: skip


def coverage(kind, repeats):
    """Share of the intervals of onset, middle and end that hold the truth."""
    random = np.random.default_rng(sorted(COVERED).index(kind))
    held = np.zeros(3)
    for _ in range(repeats):
        onset, end = somewhere(random)
        share = ramp(T, onset, end)
        found = fitted_ramp(T, share + uneven(random, kind, share))
        truths = onset, (onset + end) / 2, end
        for place, ((_, low, high), truth) in enumerate(zip(found[:3], truths, strict=True)):
            held[place] += low <= truth <= high
    return held / repeats


@pytest.mark.parametrize("kind", COVERED)
def test_the_intervals_hold_the_truth_in_even_and_uneven_white_and_correlated_noise(kind):
    slack = 2.5 * np.sqrt(0.06 * 0.94 / REPEATS)  # of the binomial
    assert (coverage(kind, REPEATS) >= COVERED[kind] - slack).all()


@pytest.mark.slow
@pytest.mark.parametrize("kind", COVERED)
def test_the_intervals_hold_the_truth_as_often_as_the_documentation_says(kind):
    assert (coverage(kind, 1000) >= COVERED[kind] - 0.015).all()


def test_the_interval_is_no_wider_than_it_has_to_be_in_white_noise():
    random = np.random.default_rng(9)
    missed = 0
    for _ in range(2 * REPEATS):
        onset, end = somewhere(random)
        _, low, high = fitted_ramp(T, ramp(T, onset, end) + 0.3 * random.normal(size=N)).onset
        missed += not low <= onset <= high
    assert missed >= 3  # of about 12


@pytest.mark.parametrize(("rho", "most"), [(0.0, 0.05), (0.6, 0.06), (0.8, 0.08), (0.9, 0.1), (0.99, 0.5)])
def test_noise_alone_does_not_move_unless_it_is_nearly_a_random_walk(rho, most):
    random = np.random.default_rng(int(10 * rho))
    assert sum(fitted_ramp(T, noise(random, rho, 1.0)).moves for _ in range(REPEATS)) <= most * REPEATS


def test_a_random_walk_often_moves_but_is_seldom_well_explained():
    random = np.random.default_rng(12)
    found = [fitted_ramp(T[:150], np.cumsum(random.normal(size=150))) for _ in range(REPEATS)]
    assert 0.3 < np.mean([ramp.moves for ramp in found]) < 0.68  # of a ramp's residuals alone: 0.68
    assert np.mean([ramp.moves and ramp.explained >= 0.9 for ramp in found]) < 0.25


@pytest.mark.parametrize(("rho", "size"), [(0.0, 0.5), (0.6, 0.2), (0.9, 0.2)])
def test_true_ramps_move_in_moderate_noise(rho, size):
    random = np.random.default_rng(5)
    found = [fitted_ramp(T, ramp(T, *somewhere(random)) + noise(random, rho, size)).moves for _ in range(REPEATS)]
    assert np.mean(found) >= 0.95


@given(st.floats(-1e3, 1e3), st.sampled_from([-1e6, -0.01, 3.0, 1e9]), st.integers(0, 99))
def test_shifting_and_scaling_the_curve_moves_no_breakpoint(shift, scale, seed):
    random = np.random.default_rng(seed)
    y = ramp(T, *somewhere(random)) + noise(random, 0.3, 0.1)
    plain, changed = fitted_ramp(T, y), fitted_ramp(T, shift * abs(scale) + scale * y)
    for one, other in ((plain.onset, changed.onset), (plain.middle, changed.middle), (plain.end, changed.end)):
        assert other == pytest.approx(one, abs=1e-6)
    assert np.sign(changed.after - changed.before) == np.sign(scale) * np.sign(plain.after - plain.before)
    assert changed.explained == pytest.approx(plain.explained, abs=1e-6)


def test_a_steady_trend_is_a_ramp_from_the_first_point_to_the_last():
    found = fitted_ramp(T, 5 - 2 * T)
    assert found.moves
    assert (found.onset[0], found.end[0]) == (T[0], T[-1])
    assert found.after < found.before


def test_a_step_is_a_ramp_between_two_neighbors():
    found = fitted_ramp(T, (np.arange(N) >= 70).astype(float))
    assert (found.onset[0], found.end[0]) == (T[69], T[70])


def test_more_noise_gives_a_wider_interval():
    random = np.random.default_rng(3)
    plain = noise(random, 0.0, 1.0)
    widths = [np.ptp(fitted_ramp(T, ramp(T, 1.8, 2.0) + size * plain).onset[1:]) for size in (0.01, 0.1, 0.5)]
    assert widths == sorted(widths)
    assert widths[0] < widths[-1] / 2


def test_points_that_are_not_finite_are_left_out():
    y = ramp(T, T[60], T[90])
    y[[3, 40, 120]] = np.nan, np.inf, -np.inf
    assert fitted_ramp(T, y).onset[0] == T[60]


@pytest.mark.parametrize(
    "y", [np.ones(50), np.full(50, np.nan), np.r_[np.arange(LEAST_POINTS - 1.0), np.full(30, np.nan)]]
)
def test_a_constant_and_too_few_points_have_no_ramp(y):
    assert fitted_ramp(np.arange(float(len(y))), y) is None


def test_with_many_points_breakpoints_are_on_a_grid_and_intervals_hold_the_truth():
    t = np.linspace(0, 1, 2000)
    random = np.random.default_rng(8)
    found = fitted_ramp(t, ramp(t, 0.41, 0.53) + 0.05 * random.normal(size=2000))
    assert found.onset[1] <= 0.41 <= found.onset[2]
    assert found.end[1] <= 0.53 <= found.end[2]
    assert np.ptp(found.onset[1:]) < 0.03
