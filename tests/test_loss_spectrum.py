"""The spectrum of loss curves: Parseval, a sine's place, and which checkpoints are taken."""

import numpy as np
import pytest
from scipy.signal import detrend

import circuits
from circuits.analysis.progress.loss_spectrum import loss_spectra, spectrum


@pytest.mark.parametrize("n", [16, 31, 32, 41])
def test_the_power_of_all_frequencies_is_the_variance_about_the_line(n):
    curve = np.random.default_rng(n).normal(size=n).cumsum()
    found = spectrum(curve, 3.0)
    assert found.power.sum() == pytest.approx(detrend(curve).var())
    assert found.activity == found.power.sum()


def test_a_sine_has_its_power_at_its_frequency_and_its_mobility_is_its_angular_frequency():
    found = spectrum(3 * np.sin(2 * np.pi * np.arange(4000) / 20), spacing=5.0)
    peak = int(found.power.argmax())
    assert found.frequencies[peak] == pytest.approx(0.01)
    assert found.power[peak] == pytest.approx(4.5, rel=1e-3)
    assert found.mobility == pytest.approx(2 * np.pi * 0.01, rel=1e-2)


def test_a_straight_line_has_no_power_and_its_slope_none_either():
    wave = np.sin(np.arange(40.0))
    np.testing.assert_allclose(
        spectrum(wave + 3 - 0.7 * np.arange(40), 1.0).power, spectrum(wave, 1.0).power, atol=1e-12
    )


def test_a_point_that_is_not_finite_has_no_spectrum():
    found = spectrum(np.r_[np.arange(20.0), -np.inf], 1.0)
    assert np.isnan(found.power).all()
    assert np.isnan(found.activity)


def test_a_runs_spectrum_is_of_its_first_checkpoints_in_cycles_per_epoch(tmp_path, make_config):
    config = make_config(task__n=40, task__n_train=150, task__n_test=100, model__width=100, epochs=40, seeds=[0, 1])
    with circuits.train(config, tmp_path / "a.h5", progress=False) as run:
        found = loss_spectra(run)
        first = run.metrics["train_loss"].values[1:33, 1].astype(float)
    assert float(found["loss_activity"].sel(curve="train").values[1]) == pytest.approx(detrend(np.log10(first)).var())
    assert found["curve_frequency"].values[-1] == pytest.approx(0.5)  # a checkpoint per epoch
    assert (found["loss_spectrum"].attrs["first_epoch"], found["loss_spectrum"].attrs["last_epoch"]) == (1, 32)
    np.testing.assert_allclose(found["loss_spectrum"].sum("curve_frequency"), found["loss_activity"])


def test_only_evenly_spaced_checkpoints_are_taken_and_too_few_have_no_spectrum(tmp_path, make_config, tiny_run):
    assert loss_spectra(tiny_run) is None
    config = make_config(epochs=30, checkpoints={"every_epochs": 1, "at_steps": [150]})  # between epochs 21 and 22
    with circuits.train(config, tmp_path / "a.h5", progress=False) as run:
        found = loss_spectra(run)
        assert found["loss_spectrum"].attrs["last_epoch"] == 21
