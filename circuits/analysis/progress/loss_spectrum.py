"""The spectrum of a loss curve early in training: its low-frequency oscillations may announce grokking.

Notsawo et al. 2023, "Predicting grokking long before it happens", take the Fourier transform of the loss of the first
epochs and sum its power as Hjorth's activity. Here the curve is log10 loss at evenly spaced checkpoints, minus its
least-squares line:

    P(ν) = power at ν cycles per epoch,   activity = Σ P(ν) = variance,   mobility = √(Σ (2πν)² P(ν) / Σ P(ν))

The mobility is a mean angular frequency, so 2π / mobility is the typical period in epochs. If the curve falls along a
bend, not along a straight line, the bend counts as power at the lowest frequencies.
"""

import math
from typing import NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Float

from circuits.analysis.networks.options import WalkOptions
from circuits.analysis.networks.phases import phase_checkpoints
from circuits.checkpoints.run import Run

LEAST_CHECKPOINTS, CHECKPOINTS = 16, 32
CURVES = ("train", "test")


class Spectrum(NamedTuple):
    """Spectrum of a curve: frequencies, power at each, total power (activity), mean angular frequency (mobility)."""

    frequencies: Float[np.ndarray, " frequency"]
    power: Float[np.ndarray, " frequency"]
    activity: float
    mobility: float


def spectrum(curve: Float[np.ndarray, " point"], spacing: float) -> Spectrum:
    """Power spectrum of a curve after its least-squares line is subtracted, with two summaries of the spectrum.

    The points of `curve` are `spacing` apart. If `spacing` is in epochs, frequencies are in cycles per epoch. If a
    point is not finite, power, `activity` (total power) and `mobility` (mean angular frequency) are NaN.

    Examples
    --------
    >>> wave = np.sin(2 * np.pi * np.arange(64) / 8)
    >>> of_wave = spectrum(wave, spacing=10.0)
    >>> float(of_wave.frequencies[of_wave.power.argmax()])  # one cycle in 80
    0.0125
    """
    from scipy.signal import detrend, periodogram  # a second of imports

    frequencies, power = periodogram(
        detrend(np.nan_to_num(curve, posinf=0.0, neginf=0.0)), 1 / spacing, scaling="spectrum", detrend=False
    )
    frequencies, power = frequencies[1:], power[1:]  # the mean is 0
    if not np.isfinite(curve).all():
        return Spectrum(frequencies, np.full(len(power), np.nan), math.nan, math.nan)
    activity = float(power.sum())
    mobility = math.sqrt(float(((2 * np.pi * frequencies) ** 2 * power).sum()) / activity) if activity else math.nan
    return Spectrum(frequencies, power, activity, mobility)


def loss_spectra(run: Run, options: WalkOptions = WalkOptions()) -> xr.Dataset | None:
    """Spectra of training and test loss of a run in a window of early checkpoints; None if fewer than 16 are in it.

    The window is the first 32 checkpoints after the initialization. It is extended to the checkpoint at which every
    seed that memorizes has memorized, and cut where the spacing of the checkpoints changes.

    Returns
    -------
    loss_spectrum
        (curve, seed, curve_frequency) power of log10 loss minus its fitted line, by frequency in cycles per epoch.
    loss_activity, loss_mobility
        (curve, seed) sum of the power, and mean angular frequency per epoch; NaN if a loss is 0 or not finite.
    """
    memorized, _ = phase_checkpoints(run, options)
    wanted = max([CHECKPOINTS, *(int(at) for at in memorized if not np.isnan(at))])
    steps = run.steps[1:]
    uneven = np.flatnonzero(np.diff(steps) != np.diff(steps[:2]))
    n = min(wanted, int(uneven[0]) + 1 if uneven.size else len(steps))
    if n < LEAST_CHECKPOINTS:
        return None
    spacing = float(run.epochs[2] - run.epochs[1])
    with np.errstate(divide="ignore", invalid="ignore"):
        curves = {name: np.log10(run.metrics[f"{name}_loss"].values[1 : n + 1].astype(np.float64)) for name in CURVES}
    spectra = [[spectrum(of_seed, spacing) for of_seed in curves[name].T] for name in CURVES]
    window = {"first_epoch": float(run.epochs[1]), "last_epoch": float(run.epochs[n])}

    def labeled(name: str, long_name: str, *dims: str, **attrs: object) -> tuple:
        values = np.array([[getattr(of_seed, name) for of_seed in of_curve] for of_curve in spectra])
        return ("curve", "seed", *dims), values, {"long_name": long_name, **attrs}

    return xr.Dataset(
        {
            "loss_spectrum": labeled("power", "power of log10 loss", "curve_frequency", **window),
            "loss_activity": labeled("activity", "variance of log10 loss about its line"),
            "loss_mobility": labeled("mobility", "mean angular frequency of the loss curve", units="1/epoch"),
        },
        {
            "curve": list(CURVES), "seed": list(run.seeds),
            "curve_frequency": ("curve_frequency", spectra[0][0].frequencies, {"long_name": "cycles per epoch"}),
        },
    )  # fmt: skip
