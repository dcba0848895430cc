"""Intervals hold what they claim, by simulation: of sampled shares, means of bounded counts, shares of variance."""

import numpy as np
import pytest
from scipy.stats import binomtest

from circuits.analysis.progress.mean_interval import mean_interval
from circuits.analysis.walsh.sign_weights import sign_counts, sign_weights
from circuits.analysis.walsh.weights import cube_weights
from circuits.constructions.certifying.binomial import share_intervals
from circuits.constructions.patterns import parities
from circuits.randomness import generator

SAMPLES = 1500
LEAST = 0.95 - 3 * np.sqrt(0.05 * 0.95 / SAMPLES)  # what 1,500 samples of an interval of 95 % may show


def test_intervals_of_shares_are_those_of_scipy():
    for successes, trials in ((0, 10), (3, 10), (10, 10), (0, 0), (999, 1000)):
        found = share_intervals(np.array([successes]), np.array([trials]))[:, 0]
        expected = binomtest(successes, trials).proportion_ci(0.95) if trials else (0, 1)
        assert found == pytest.approx(tuple(expected))


def predictions(failure, n_samples: int, n_draws: int, zero: float = 0.0):
    """Outputs of networks that fail on a share of each pattern's inputs, (sample, pattern, draw)."""
    random = generator("test", 1)
    k = len(failure).bit_length() - 1
    wrong = random.random((n_samples, len(failure), n_draws)) < np.asarray(failure)[:, None]
    values = np.where(wrong, -1.0, 1.0) * parities(k)[:, None]
    return np.where(random.random(values.shape) < zero, 0.0, values)


def truth(failure, zero: float = 0.0) -> tuple[float, np.ndarray]:
    """Coefficient at the parity, and shares of the variance, of such a prediction."""
    failure = np.asarray(failure)
    k = len(failure).bit_length() - 1
    means = (1 - zero) * (1 - 2 * failure) * parities(k)
    within = (1 - zero) - means**2
    parity = float((means * parities(k)).mean())
    variance = (1 - zero) - means.mean() ** 2
    with np.errstate(invalid="ignore"):
        shares = np.array([parity**2, variance - parity**2 - within.mean(), within.mean()]) / variance
    return parity, shares


FAILURES = {
    "never": np.zeros(8), "one in ten thousand": np.full(8, 1e-4), "one in a thousand": np.full(8, 1e-3),
    "on one pattern only": np.r_[0.01, np.zeros(7)], "often": np.full(4, 0.2), "at random": np.full(8, 0.5),
    "on most inputs": np.full(4, 0.999), "always positive": (1 - parities(3)) / 2,
    "unequal": np.array([0.0, 0.3, 0.9, 0.05]),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", FAILURES)
@pytest.mark.parametrize("zero", [0.0, 0.02])
def test_intervals_of_a_prediction_hold_its_parity_and_its_shares(name, zero):
    failure = FAILURES[name]
    counts = np.array([sign_counts(values) for values in predictions(failure, SAMPLES, 1024 // len(failure), zero)])
    found = sign_weights(counts)
    parity, shares = truth(failure, zero)
    assert np.mean((found.parity_low <= parity) & (parity <= found.parity_high)) >= LEAST
    if not np.isfinite(shares).all():  # the prediction is constant
        return
    held = (found.share_low <= shares[:, None] + 1e-12) & (shares[:, None] - 1e-12 <= found.share_high)
    assert held.mean(axis=1).min() >= LEAST
    assert (found.parity_low < found.parity_high).all()


def test_no_failure_drawn_is_no_proof():
    found = sign_weights(sign_counts(predictions(np.zeros(8), 1, 128)[0]))
    assert (found.parity, found.parity_high) == (1.0, 1.0)
    assert float(found.parity_low) == pytest.approx(1 - 2 * (1 - 0.025 ** (1 / 1024)))
    assert found.share_high.tolist()[1:] > [0.0, 0.0]


def test_a_diverged_prediction_has_no_intervals():
    assert np.isnan(sign_weights(sign_counts(np.full((4, 8), np.nan))).parity_low)


LAWS = {
    "always 3": ([3], [1.0]), "rarely all bits": ([3, 40], [0.999, 0.001]), "rarely none": ([0, 3], [0.003, 0.997]),
    "two of many": ([2, 3, 4], [0.05, 0.9, 0.05]), "spread": (np.arange(41), np.full(41, 1 / 41)),
    "skewed": (np.arange(41), 0.6 ** np.arange(41) / (0.6 ** np.arange(41)).sum()), "none": ([0], [1.0]),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("n", [20, 100])
def test_intervals_of_a_bounded_mean_hold_it(law, n):
    values, chances = (np.asarray(part) for part in LAWS[law])
    random = generator("test", 2)
    mean = float(values @ chances)
    held = []
    for _ in range(300):
        low, high = mean_interval(random.choice(values, n, p=chances), 0, 40)
        held.append(low <= mean <= high)
        assert 0 <= low < high <= 40 or low == high == 40
    assert np.mean(held) >= 0.95 - 3 * np.sqrt(0.05 * 0.95 / 300)


def test_of_zeros_and_ones_the_interval_is_that_of_a_share():
    counts = np.r_[np.ones(7, int), np.zeros(33, int)]
    expected = share_intervals(np.array(7), np.array(40))
    assert mean_interval(counts, 0, 1) == pytest.approx(tuple(expected), abs=0.01)


DRAWN = {"normal": (lambda random, shape: random.normal(size=shape), 0.923), "skewed": (  # 600 samples of .95, and less
    lambda random, shape: random.standard_exponential(shape) - 1, 0.9)}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("noise", [0.02, 0.3, 3.0])
@pytest.mark.parametrize("law", DRAWN)
def test_intervals_of_shares_of_the_variance_hold_them(known, noise, law):
    """A parity, two of its subsets, and a rest that differs between the patterns; 256 draws of each."""
    draw, least = DRAWN[law]
    random = generator("test", 3)
    means = np.array([0.2, -0.9, -1.3, 1.1])
    scale = noise * np.array([0.2, 1.0, 1.5, 0.5])
    whole = cube_weights(np.repeat(means[:, None], 2, axis=1), True)
    weights = np.r_[whole.weight[:2], (scale**2).mean()]
    shares = weights / weights.sum()
    held = []
    for _ in range(600):
        values = means[:, None] + scale[:, None] * draw(random, (4, 256))
        found = cube_weights(values, means=means if known else None)
        held.append((found.share_low <= shares) & (shares <= found.share_high))
    assert np.mean(held, axis=0).min() >= least


def test_a_sample_without_variation_does_not_know_its_error():
    found = cube_weights(np.array([[1.0] * 8, [-1.0] * 8]))
    assert np.isnan(found.error)
    assert np.isnan(found.weight_error[-1])
    assert (found.share_low.tolist(), found.share_high.tolist()) == ([0.0] * 3, [1.0] * 3)
    known = cube_weights(np.array([[1.0] * 8, [-1.0] * 8]), is_constant=True)
    assert (known.error, known.share_low[0], known.share_high[0]) == (0.0, 1.0, 1.0)


def test_the_bound_of_the_means_is_in_every_error():
    values = generator("test", 4).normal(size=(4, 64)) + parities(2)[:, None]
    means = values.mean(axis=1)
    without, bounded = (cube_weights(values, means=means, bound=bound) for bound in (0.0, 1e-3))
    assert bounded.error == pytest.approx(1e-3)
    assert bounded.weight_error[0] == pytest.approx(2e-3 * abs(without.coefficients[-1]) + 1e-6)
    assert (bounded.share_error > without.share_error).all()


def test_errors_of_weights_shrink_with_the_root_of_the_draws():
    random = np.random.default_rng(0)
    f = lambda n: random.choice([-1.0, 1.0], (4, n)) * 0.5 + np.array([[1.0], [-0.8], [-0.9], [1.1]])  # noqa: E731
    few, many = (np.mean([cube_weights(f(n)).weight_error for _ in range(20)], axis=0) for n in (100, 1600))
    assert few[:2] / many[:2] == pytest.approx(4.0, rel=0.15)
    spread = np.std([cube_weights(f(100)).weight[0] for _ in range(400)])
    assert few[0] == pytest.approx(spread, rel=0.15)


def test_where_all_coefficients_are_estimated_as_0_a_weight_has_the_error_of_its_squares():
    values = np.tile([1.0, -1.0], (8, 5))  # (8, 10), each mean 0 and each variance 10/9
    found = cube_weights(values)
    square = 10 / 9 / 80  # squared error of a coefficient; its square varies by 2 square², and 6 subsets have one each
    assert found.weight_error[:2] == pytest.approx(np.sqrt([2 * square**2, 6 * 2 * square**2]))


def test_one_input_alone_has_a_sign_that_agrees_or_not():
    assert sign_weights(np.array([1.0, 0, 1, 0, 0, 1, 0, 0, 0])).parity == 1
    assert sign_weights(np.array([0.0, 1, 1, 0, 0, 1, 0, 0, 0])).parity == -1
