"""How much of the logits waves, cosines and class biases are, held against networks made of known ones."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from waves import plain_losses, subset, waves_of_the_sum

import circuits
from circuits.analysis import cyclic_group, excluded_losses, key_frequencies, logit_frequencies, restricted_losses
from circuits.analysis.fourier.logit_frequencies import least_key_share, wave_shares
from circuits.cli.main import main
from circuits.config import parse
from circuits.constructions import modular_addition
from circuits.convert.imported import write_run

M = 13
BIAS, MEMORISED = 4.0, 3.0
COSINES = {2: 3.0, 5: 2.2, 6: 0.2}  # amplitudes of cos ω(x + y - c)
OTHERS = {2: 2.0, 4: 6.0, 5: 0.5}  # of cos ω(x + y) · cos 2π·j c/m with j another frequency: no cosine of x + y - c
KEY = (2, 5)  # 6 is below 1/m, 4 has waves but no cosine


def cos(turns):
    return np.cos(2 * np.pi * turns / M)


def made_logits(group, offset=0.0, biases=True, key=KEY, rest=True):
    """Logits (tuple, class) of the parts above; `key`: frequencies whose waves are there."""
    s, c = group.sums[:, None], np.arange(M)
    logits = np.zeros((len(s), M)) + (BIAS * cos(3 * c) if biases else 0.0)
    for k in {*key} | ({4, 6} if rest else set()):
        logits += COSINES.get(k, 0.0) * cos(k * (s - c)) + OTHERS.get(k, 0.0) * cos(k * s) * cos((k % 6 + 1) * c)
    if rest:
        logits += MEMORISED * cos(group.elements[:, :1]) * cos(c)  # of x alone: no wave of x + y
    return logits + offset * group.elements[:, :1]  # the same for all classes: a softmax does not see it


@pytest.fixture
def group():
    return cyclic_group("x+y", M)


@pytest.mark.parametrize("offset", [0.0, 50.0])
def test_both_shares_and_that_of_the_biases_have_a_closed_form(group, offset):
    found = logit_frequencies(made_logits(group, offset)[group.by_sum], group.classes)
    waves = {k: COSINES.get(k, 0.0) ** 2 / 2 + OTHERS.get(k, 0.0) ** 2 / 4 for k in range(1, 7)}  # mean squares
    variance = sum(waves.values()) + MEMORISED**2 / 4
    squares = variance + BIAS**2 / 2
    cosines = [COSINES.get(k, 0.0) ** 2 / 2 / squares for k in range(1, 7)]
    np.testing.assert_allclose(found.share, cosines, atol=1e-12)
    np.testing.assert_allclose(found.wave_share, [waves[k] / variance for k in range(1, 7)], atol=1e-12)
    assert found.bias_share == pytest.approx(BIAS**2 / 2 / squares)
    assert key_frequencies(found.share, least_key_share(M)).nonzero()[0].tolist() == [k - 1 for k in KEY]


def test_the_restricted_loss_keeps_the_biases_and_every_class_direction_and_the_excluded_loss_loses_the_waves(group):
    by_sum, key = made_logits(group)[group.by_sum], subset(M, *KEY)
    restricted = restricted_losses(by_sum, group.classes, key)[group.sums, 0]
    kept = plain_losses(made_logits(group, rest=False), group.sums)
    np.testing.assert_allclose(restricted, kept, rtol=1e-10)
    assert abs(restricted.mean() - plain_losses(made_logits(group, rest=False, biases=False), group.sums).mean()) > 0.1
    excluded = np.empty(len(group.sums))
    excluded[group.by_sum] = excluded_losses(by_sum, group.classes, key)[:, :, 0]
    np.testing.assert_allclose(excluded, plain_losses(made_logits(group, key=()), group.sums), rtol=1e-10)


@given(st.integers(2, 12), st.integers(1, 3), st.integers(0, 2**32 - 1))
def test_wave_shares_are_those_of_a_projection_on_the_waves(m, n_operands, seed):
    group = cyclic_group("x+y", m, max(2, n_operands))
    logits = np.random.default_rng(seed).normal(size=(len(group.sums), m)) + np.arange(m)
    about_mean = logits - logits.mean(axis=0)
    waves = [waves_of_the_sum(group, [k]) for k in range(1, m // 2 + 1)]  # the slow way
    expected = [((wave.T @ about_mean) ** 2).sum() / (about_mean**2).sum() for wave in waves]
    np.testing.assert_allclose(wave_shares(logits[group.by_sum]), expected, atol=1e-12)


@given(st.integers(2, 9), st.integers(0, 2**32 - 1))
def test_shares_are_in_order_and_functions_of_the_sum_alone_are_all_waves(m, seed):
    group = cyclic_group("x+y", m)
    random = np.random.default_rng(seed)
    found = logit_frequencies(random.normal(size=(m**2, m))[group.by_sum], group.classes)
    assert found.share.sum() + found.bias_share <= 1 + 1e-12
    assert found.wave_share.sum() <= 1 + 1e-12
    assert (found.share <= (1 - found.bias_share) * found.wave_share + 1e-12).all()
    of_sum = np.repeat(random.normal(size=(m, 1, m)), m, axis=1)
    assert logit_frequencies(of_sum, group.classes).wave_share.sum() == pytest.approx(1)


def test_logits_that_do_not_vary_have_no_wave_share_and_equal_ones_no_share_at_all(group):
    biases = np.tile(0.1 * np.arange(M) ** 2, (M, M, 1))
    found = logit_frequencies(biases, group.classes)
    assert np.isnan(found.wave_share).all()
    assert found.bias_share == pytest.approx(1)
    np.testing.assert_allclose(found.share, 0, atol=1e-12)
    found = logit_frequencies(np.full((M, M, M), 0.1), group.classes)
    assert np.isnan([*found.share, *found.wave_share, found.bias_share]).all()


@pytest.fixture
def biased_run(tmp_path):
    """`modular_addition` with class biases, and with waves of its frequency 2 in one more direction of the classes."""
    net = modular_addition(M, KEY, amplitude=1.0)
    arrays, c = net.arrays(), np.arange(M)
    further = 2.0 * np.outer(cos(3 * c), cos(2 * c)) * 2 / M  # adds 2 cos ω(x + y) · cos 2π·3c/m to the logits
    arrays["readout.W"] = (np.eye(M) + further) @ arrays["readout.W"]
    arrays |= {"hidden.0.b": np.zeros(net.n_neurons), "readout.b": 2 * cos(3 * c)}
    config = parse(
        {
            "name": "biased", "task": {"kind": "modular", "p": M, "operation": "x+y", "encoding": "one-hot"},
            "model": {"kind": "mlp", "widths": [net.n_neurons], "activation": "square"}, "loss": "cross_entropy",
            "batch_size": None, "epochs": 0, "seeds": [0], "dtype": "float64",
        }
    )  # fmt: skip
    with write_run(tmp_path / "biased.h5", config, lambda _: [arrays], "a test", progress=False) as run:
        yield run


def test_a_hand_built_network_with_biases_is_measured_as_it_was_made(biased_run):
    found = circuits.analyze(biased_run, "fourier")["fourier"].isel(step=0, seed=0)
    variance = 1 / 2 + 1 / 2 + 2.0**2 / 4
    squares = variance + 2.0**2 / 2
    assert found["frequency"].values[found["key"].values].tolist() == list(KEY)
    assert found["logit_share"].sel(frequency=[2, 5]).values == pytest.approx(0.5 / squares)
    assert found["wave_share"].sel(frequency=[2, 5]).values == pytest.approx([1.5 / variance, 0.5 / variance])
    assert float(found["key_logit_share"]) == pytest.approx(1 / squares)
    assert float(found["key_wave_share"]) == pytest.approx(1)
    assert float(found["bias_share"]) == pytest.approx(2 / squares)
    assert found["restricted_loss"].values == pytest.approx(found["loss"].values)


@pytest.mark.slow
def test_the_table_prints_both_shares_and_the_biases_and_says_which_each_loss_uses(biased_run, capsys):
    assert main(["analyze", str(biased_run.path), "--fourier", "--quiet"]) == 0
    said = capsys.readouterr().out
    row = next(line.split() for line in said.splitlines() if line.split()[:3] in (["0", "2", "5"], ["0", "5", "2"]))
    assert row[3:6] == ["0.250", "0.500", "1.000"]  # cosines, biases, waves
    words = " ".join(said.split())
    assert "restricted, with the biases and the key waves of x + y only; excluded, without these waves" in words
    assert "on cos ω(x + y - c) of the key frequencies" in words
