"""The factor on the interval of a breakpoint: closed forms, slow oracles, and what it must not depend on."""

import numpy as np
import pytest

from circuits.analysis.progress.breakpoint_errors import (
    _correlated_square,
    _expected_autocorrelation,
    _projected,
    autocorrelation,
    breakpoint_inflation,
    effective_number,
    local_sizes,
    ramp_slopes,
    unbiased_autocorrelation,
)

N = 60
T = np.sort(np.random.default_rng(0).uniform(0, 1, N))
BASIS = np.linalg.qr(ramp_slopes(T, 0.3, 0.6, 2.0))[0]


def correlations(rho):
    at = np.arange(N)
    return rho ** np.abs(at[:, None] - at)


def level(t, before, after, onset, end):
    return before + (after - before) * np.clip((t - onset) / (end - onset), 0, 1)


def test_slopes_are_the_derivatives_of_the_ramp():
    at = np.array([0.5, 2.5, 0.31, 0.62])
    slopes = ramp_slopes(T, 0.31, 0.62, 2.0)
    for parameter in range(4):
        step = 1e-7 * np.eye(4)[parameter]
        numeric = (level(T, *(at + step)) - level(T, *(at - step))) / 2e-7
        np.testing.assert_allclose(slopes[:, parameter], numeric, atol=1e-5)


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.95])
def test_what_a_fit_takes_from_correlated_noise_is_that_of_the_matrices(rho):
    R, H = correlations(rho), BASIS @ BASIS.T
    D = 0.5 * (np.eye(N, k=1) + np.eye(N, k=-1))
    rest = (np.eye(N) - H) @ R @ (np.eye(N) - H)
    removed, _ = _projected(BASIS, rho)
    assert removed == pytest.approx(np.trace(H @ R))
    assert _expected_autocorrelation(BASIS, rho) == pytest.approx(np.trace(D @ rest) / np.trace(rest))
    x = np.random.default_rng(1).normal(size=(3, N))
    np.testing.assert_allclose(_correlated_square(x, rho), np.einsum("ki,ij,kj->k", x, R, x))


@pytest.mark.parametrize("rho", [0.3, 0.8, 0.95])
def test_the_correlation_is_the_one_before_the_fit(rho):
    random, factor = np.random.default_rng(2), np.linalg.cholesky(correlations(rho))
    biased, found = [], []
    for _ in range(300):
        noise = factor @ random.normal(size=N)
        rest = noise - BASIS @ (BASIS.T @ noise)
        biased.append(autocorrelation(rest))
        found.append(unbiased_autocorrelation(rest, BASIS))
    assert np.median(biased) < rho - 0.03
    assert np.median(found) == pytest.approx(rho, abs=0.05)


def test_white_noise_needs_no_factor_and_correlated_noise_that_of_its_correlation():
    t, random = np.arange(3000.0), np.random.default_rng(3)
    white = random.normal(size=3000)
    np.testing.assert_allclose(breakpoint_inflation(t, white, 1000.0, 2000.0, 5.0), 1, rtol=0.15)
    correlated = np.empty(3000)
    last = 0.0
    for i, step in enumerate(white):
        correlated[i] = last = 0.8 * last + 0.6 * step
    np.testing.assert_allclose(breakpoint_inflation(t, correlated, 1000.0, 2000.0, 5.0), 9, rtol=0.25)


def test_noise_on_one_side_widens_the_breakpoint_on_that_side():
    t, random = np.arange(300.0), np.random.default_rng(4)
    left = np.where(t < 150, 1.0, 0.05) * random.normal(size=300)
    onset, _, end = breakpoint_inflation(t, left, 100.0, 200.0, 5.0)
    assert onset > 1.5 > 0.5 > end
    onset, _, end = breakpoint_inflation(t, left[::-1].copy(), 100.0, 200.0, 5.0)
    assert end > 1.5 > 0.5 > onset


def test_the_factor_depends_neither_on_the_units_of_the_curve_nor_on_those_of_t():
    residuals = np.random.default_rng(5).normal(size=N)
    plain = breakpoint_inflation(T, residuals, T[20], T[40], 2.0)
    np.testing.assert_allclose(breakpoint_inflation(T, 1e6 * residuals, T[20], T[40], 2e6), plain, rtol=1e-6)
    np.testing.assert_allclose(
        breakpoint_inflation(1e3 * T, residuals, 1e3 * T[20], 1e3 * T[40], 2.0), plain, rtol=1e-6
    )


@pytest.mark.parametrize(("onset", "end"), [(0, 1), (0, N - 1), (N - 2, N - 1), (30, 31)])
def test_breakpoints_at_the_ends_and_beside_each_other_have_finite_factors(onset, end):
    found = breakpoint_inflation(T, np.random.default_rng(6).normal(size=N), T[onset], T[end], 2.0)
    assert (np.isfinite(found) & (found > 0)).all()


def test_a_perfect_fit_has_the_factor_1():
    assert breakpoint_inflation(T, np.zeros(N), T[10], T[20], 1.0).tolist() == [1, 1, 1]


def test_residuals_that_correlate_count_for_fewer():
    assert effective_number(100, 0.0) == 100
    assert effective_number(100, 0.6) == pytest.approx(25)
    assert effective_number(100, 0.999) == 2


def test_the_size_of_noise_is_measured_around_each_point():
    random = np.random.default_rng(7)
    sizes = local_sizes(np.concatenate([random.normal(size=500), 10 * random.normal(size=500)]))
    assert sizes[250] == pytest.approx(1, rel=0.2)
    assert sizes[750] == pytest.approx(10, rel=0.2)
    assert (local_sizes(np.r_[np.ones(50), np.zeros(50)]) > 0).all()
