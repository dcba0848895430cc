import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from waves import each, plain_losses, subset, wave_logits, waves_of_the_sum

from circuits.analysis import cyclic_group, excluded_losses, key_frequencies, logit_frequencies, restricted_losses
from circuits.analysis.fourier.basis import n_frequencies
from circuits.analysis.fourier.logit_frequencies import least_key_share
from circuits.analysis.fourier.restricted_loss import cross_entropies, mean_losses, wave_components

GROUPS = [("x+y", 7, 2), ("x+y", 8, 2), ("x-y", 9, 2), ("x*y", 7, 2), ("x/y", 11, 2), ("x+y", 5, 3), ("x+y", 4, 3)]


@pytest.fixture(params=GROUPS, ids=lambda of: f"{of[0]} mod {of[1]}, {of[2]} operands")
def group(request):
    return cyclic_group(*request.param)


@pytest.fixture
def logits(group):
    """Random, of all classes, 0 too."""
    return np.random.default_rng(len(group.sums)).normal(size=(len(group.sums), group.classes.max() + 1))


def key_of(group, logits):
    share = logit_frequencies(logits[group.by_sum], group.classes).share
    return (1 + np.flatnonzero(key_frequencies(share, least_key_share(group.order)))).tolist()


@pytest.mark.parametrize("frequencies", [(1,), (2, 5), (3, 6, 9, 14), tuple(range(1, 16))])
@pytest.mark.parametrize("p", [31, 32, 113])
def test_a_network_of_cosines_has_exactly_its_frequencies_as_key(p, frequencies):
    group = cyclic_group("x+y", p)
    logits = wave_logits(group, dict.fromkeys(frequencies, 1.0))
    assert key_of(group, logits) == list(frequencies)


@pytest.mark.parametrize("operation", ["x-y", "x*y", "x/y"])
def test_so_has_one_that_subtracts_multiplies_or_divides(operation):
    group = cyclic_group(operation, 13)
    logits = wave_logits(group, {2: 5.0, 6: 3.0}, n_classes=13)
    found = logit_frequencies(logits[group.by_sum], group.classes)
    np.testing.assert_allclose(found.cosine, [0, 5, 0, 0, 0, 3], atol=1e-12)
    np.testing.assert_allclose(found.sine, 0, atol=1e-12)
    assert found.share.sum() == pytest.approx(1)
    assert key_of(group, logits) == [2, 6]


def test_random_logits_have_no_key_frequency():
    for seed in range(20):
        group = cyclic_group("x+y", 31)
        assert key_of(group, np.random.default_rng(seed).normal(size=(31**2, 31))) == []


def test_a_lookup_table_of_a_third_of_the_pairs_has_no_key_frequency_but_the_share_that_is_said():
    group = cyclic_group("x+y", 31)
    seen = np.random.default_rng(0).random((31, 31)).argsort(axis=1) < 10  # 10 of the 31 pairs of each sum
    by_sum = 20.0 * np.eye(31)[:, None] * seen[:, :, None]
    share = logit_frequencies(by_sum, group.classes).share
    np.testing.assert_allclose(share, 2 * (10 / 31) / 30)
    assert not key_frequencies(share, least_key_share(31)).any()


@pytest.mark.parametrize("amplitude", [0.5, 40.0])
def test_cosines_alone_restricted_to_them_have_their_own_loss_and_without_them_chance(amplitude):
    group = cyclic_group("x+y", 31)
    logits = wave_logits(group, {3: amplitude, 7: amplitude})
    full = plain_losses(logits, group.sums)
    key = subset(31, 3, 7)
    by_sum = logits[group.by_sum]
    np.testing.assert_allclose(excluded_losses(by_sum, group.classes, key), np.log(31), rtol=1e-12)
    restricted = restricted_losses(by_sum, group.classes, key)[:, 0]
    np.testing.assert_allclose(restricted[group.sums], full, rtol=1e-9, atol=1e-14)


def test_excluded_losses_equal_those_of_logits_less_their_projection_matrix(group, logits):
    targets = group.classes[group.sums]
    subsets = np.vstack([each(group.order), subset(group.order), subset(group.order, 1, 2)])
    found = excluded_losses(logits[group.by_sum], group.classes, subsets)
    for of, losses in zip(subsets, np.moveaxis(found, 2, 0), strict=True):
        waves = waves_of_the_sum(group, 1 + np.flatnonzero(of))
        projection = waves @ waves.T
        expected = plain_losses(logits - projection @ logits, targets)
        np.testing.assert_allclose(losses, expected[group.by_sum], rtol=1e-10)


def test_restricted_losses_equal_those_of_the_mean_and_the_projection_matrix(group, logits):
    targets = group.classes[group.sums]
    subsets = np.vstack([each(group.order), subset(group.order), subset(group.order, 1, 2)])
    found = restricted_losses(logits[group.by_sum], group.classes, subsets)
    for of, losses in zip(subsets, found.T, strict=True):
        waves = waves_of_the_sum(group, 1 + np.flatnonzero(of))
        projection = waves @ waves.T + 1 / len(logits)
        np.testing.assert_allclose(losses[group.sums], plain_losses(projection @ logits, targets), rtol=1e-10)


def test_with_all_frequencies_restricted_is_the_loss_of_logits_averaged_over_equal_sums(group, logits):
    averaged = np.stack([logits[group.sums == s].mean(axis=0) for s in range(group.order)])
    everything = np.ones((1, n_frequencies(group.order)), bool)
    found = restricted_losses(logits[group.by_sum], group.classes, everything)[:, 0]
    np.testing.assert_allclose(found, plain_losses(averaged, group.classes), rtol=1e-10)
    full = plain_losses(logits, group.classes[group.sums])
    assert not np.allclose(found[group.sums], full)
    of_the_sum_alone = averaged[group.sums]
    found = restricted_losses(of_the_sum_alone[group.by_sum], group.classes, everything)[:, 0]
    np.testing.assert_allclose(found[group.sums], plain_losses(of_the_sum_alone, group.classes[group.sums]), rtol=1e-10)


def test_without_any_frequency_excluded_is_the_loss_itself(group, logits):
    found = excluded_losses(logits[group.by_sum], group.classes, subset(group.order))[:, :, 0]
    np.testing.assert_allclose(found, plain_losses(logits, group.classes[group.sums])[group.by_sum], rtol=1e-12)


def test_what_all_classes_have_in_common_changes_no_loss_and_no_wave(group, logits):
    shifted = logits + np.random.default_rng(1).normal(size=(len(logits), 1)) * 30
    both = [logits[group.by_sum], shifted[group.by_sum]]
    for losses in (restricted_losses, excluded_losses):
        np.testing.assert_allclose(*(losses(by_sum, group.classes, each(group.order)) for by_sum in both), rtol=1e-9)
    for first, second in zip(*(logit_frequencies(by_sum, group.classes) for by_sum in both), strict=True):
        np.testing.assert_allclose(first, second, atol=1e-12)


def test_amplitudes_and_shares_equal_the_sums_that_define_them(group, logits):
    m, targets = group.order, logits[:, group.classes]
    centered = targets - targets.mean(axis=1, keepdims=True)
    found = logit_frequencies(logits[group.by_sum], group.classes)
    for k in range(1, n_frequencies(m) + 1):
        angle = 2 * np.pi * k * (group.sums[:, None] - np.arange(m)) / m
        norm = (np.cos(angle) ** 2).sum()
        amplitude = (np.cos(angle) * centered).sum() / norm
        assert found.cosine[k - 1] == pytest.approx(amplitude, abs=1e-12)
        assert found.share[k - 1] == pytest.approx(amplitude**2 * norm / (centered**2).sum(), abs=1e-12)
        if 2 * k != m:
            assert found.sine[k - 1] == pytest.approx((np.sin(angle) * centered).sum() / (np.sin(angle) ** 2).sum())
    assert 0 < found.share.sum() < 1


@given(st.integers(1, 12), st.integers(0, 3))
def test_relabelling_by_a_unit_permutes_the_waves_and_the_losses_of_each_frequency_by_its_inverse(u, seed):
    m = 13
    group = cyclic_group("x+y", m)
    logits = np.random.default_rng(seed).normal(size=(m, m, m))
    places = u * np.arange(m) % m
    relabeled = np.empty_like(logits)
    relabeled[np.ix_(places, places, places)] = logits
    moved = pow(u, -1, m) * (1 + np.arange(m // 2)) % m
    at = np.minimum(moved, m - moved) - 1
    by_sum, other = (values.reshape(m * m, m)[group.by_sum] for values in (logits, relabeled))
    first, second = (logit_frequencies(values, group.classes) for values in (by_sum, other))
    np.testing.assert_allclose(second.cosine[at], first.cosine, atol=1e-12)
    np.testing.assert_allclose(second.share[at], first.share, atol=1e-12)
    for losses in (restricted_losses, excluded_losses):
        means = (losses(values, group.classes, each(m)).reshape(-1, m // 2).mean(axis=0) for values in (by_sum, other))
        first_mean, second_mean = means
        np.testing.assert_allclose(second_mean[at], first_mean)


def test_components_and_mean_add_up_to_the_averaged_logits(group, logits):
    averaged = logits[group.by_sum].mean(axis=1)
    np.testing.assert_allclose(wave_components(averaged).sum(axis=0) + averaged.mean(axis=0), averaged, atol=1e-12)


@pytest.mark.parametrize("scale", [1.0, 100.0, 2000.0])
def test_logits_too_large_for_an_exponential_have_their_losses_too(scale):
    group = cyclic_group("x+y", 5)
    logits = scale * np.random.default_rng(0).normal(size=(25, 5))
    found = excluded_losses(logits[group.by_sum], group.classes, each(5))
    for k in (1, 2):
        waves = waves_of_the_sum(group, [k])
        expected = plain_losses(logits - waves @ waves.T @ logits, group.sums)
        np.testing.assert_allclose(found[:, :, k - 1], expected[group.by_sum], rtol=1e-9, atol=1e-10)


def test_a_diverged_network_has_no_loss():
    group = cyclic_group("x+y", 5)
    logits = np.full((25, 5), np.nan)
    with np.errstate(invalid="ignore"):
        assert np.isnan(excluded_losses(logits[group.by_sum], group.classes, each(5))).all()
        assert np.isnan(restricted_losses(logits[group.by_sum], group.classes, each(5))).all()
    assert not key_frequencies(logit_frequencies(logits[group.by_sum], group.classes).share, 0.2).any()


@pytest.mark.parametrize("margin", [1.0, 10.0, 40.0, 600.0])
def test_small_losses_keep_their_digits(margin):
    group = cyclic_group("x+y", 5)
    logits = margin * np.eye(5)[group.sums]
    found = excluded_losses(logits[group.by_sum], group.classes, subset(5))
    np.testing.assert_allclose(found, np.log1p(4 * np.exp(-margin)), rtol=1e-13)
    np.testing.assert_allclose(cross_entropies(logits, group.sums), np.log1p(4 * np.exp(-margin)), rtol=1e-13)


def test_mean_losses_are_those_of_the_members():
    losses = np.random.default_rng(0).random((3, 4, 2))
    members = np.random.default_rng(1).random((2, 3, 4)) < 0.5
    expected = [[losses[member][:, i].mean() for i in range(2)] for member in members]
    np.testing.assert_allclose(mean_losses(losses, members), expected)
