"""The spectrum of a loss curve early in training: do low-frequency oscillations announce grokking?

Notsawo et al. 2023, "Predicting grokking long before it happens", take the Fourier transform of the first epochs' loss
and sum its power up as Hjorth's activity. Here: log10 loss at evenly spaced checkpoints, minus its straight line,

    P(ν) = power at ν cycles per epoch,   activity = Σ P(ν) = variance,   mobility = √(Σ (2πν)² P(ν) / Σ P(ν))

The mobility is a mean angular frequency, so 2π / mobility is the typical period in epochs. What is not straight about
the curve's fall counts as power at the lowest frequencies.
"""

import math
from typing import NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Float
from scipy.signal import detrend, periodogram

from circuits.analysis.networks.options import WalkOptions
from circuits.analysis.networks.phases import phase_checkpoints
from circuits.checkpoints.run import Run

LEAST_CHECKPOINTS, CHECKPOINTS = 16, 32
CURVES = ("train", "test")


class Spectrum(NamedTuple):
    """Power at each frequency, in cycles per unit of `spacing`; its sum, and the mean angular frequency."""

    frequencies: Float[np.ndarray, " frequency"]
    power: Float[np.ndarray, " frequency"]
    activity: float
    mobility: float


def spectrum(curve: Float[np.ndarray, " point"], spacing: float) -> Spectrum:
    """Spectrum of a curve without its straight line; NaN where a point is not finite.

    Parameters
    ----------
    curve
        (point,) at even distances.
    spacing
        From one point to the next.

    Examples
    --------
    >>> wave = np.sin(2 * np.pi * np.arange(64) / 8)
    >>> found = spectrum(wave, spacing=10.0)
    >>> float(found.frequencies[found.power.argmax()])  # one cycle in 80
    0.0125
    """
    frequencies, power = periodogram(
        detrend(np.nan_to_num(curve, posinf=0.0, neginf=0.0)), 1 / spacing, scaling="spectrum", detrend=False
    )
    if not np.isfinite(curve).all():
        return Spectrum(frequencies[1:], np.full(len(power) - 1, np.nan), math.nan, math.nan)
    frequencies, power = frequencies[1:], power[1:]  # the mean is 0
    activity = float(power.sum())
    mobility = math.sqrt(float(((2 * np.pi * frequencies) ** 2 * power).sum()) / activity) if activity else math.nan
    return Spectrum(frequencies, power, activity, mobility)


def loss_spectra(run: Run, options: WalkOptions = WalkOptions()) -> xr.Dataset | None:
    """Spectra of both loss curves of a run; None where too few of its checkpoints are evenly spaced.

    The window is the first 32 checkpoints after the initialization, or as many as the last seed takes to memorize if
    that is more, as far as they are evenly spaced; at least 16.

    Returns
    -------
    loss_spectrum
        (curve, seed, curve_frequency) power of log10 loss, in cycles per epoch; the mean level is left out.
    loss_activity, loss_mobility
        (curve, seed) its sum, and the mean angular frequency per epoch. NaN where a loss is 0 or not finite.
    """
    memorized, _ = phase_checkpoints(run, options)
    wanted = max([CHECKPOINTS, *(int(at) for at in memorized if not np.isnan(at))])
    steps = run.steps[1:]
    even = np.flatnonzero(np.diff(steps) != np.diff(steps[:2]))
    n_even = int(even[0]) + 1 if even.size else len(steps)
    n = min(wanted, n_even)
    if n < LEAST_CHECKPOINTS:
        return None
    spacing = float(run.epochs[2] - run.epochs[1])
    with np.errstate(divide="ignore", invalid="ignore"):
        curves = {name: np.log10(run.metrics[f"{name}_loss"].values[1 : n + 1].astype(np.float64)) for name in CURVES}
    spectra = [[spectrum(of_seed, spacing) for of_seed in curves[name].T] for name in CURVES]
    along = {
        "long_name": "power of log10 loss",
        "first_epoch": float(run.epochs[1]),
        "last_epoch": float(run.epochs[n]),
    }
    return xr.Dataset(
        {
            "loss_spectrum": (
                ("curve", "seed", "curve_frequency"), np.array([[one.power for one in row] for row in spectra]), along
            ),
            "loss_activity": (
                ("curve", "seed"), np.array([[one.activity for one in row] for row in spectra]),
                {"long_name": "variance of log10 loss about its line"},
            ),
            "loss_mobility": (
                ("curve", "seed"), np.array([[one.mobility for one in row] for row in spectra]),
                {"long_name": "mean angular frequency of the loss curve", "units": "1/epoch"},
            ),
        },
        {
            "curve": list(CURVES), "seed": list(run.seeds),
            "curve_frequency": ("curve_frequency", spectra[0][0].frequencies, {"long_name": "cycles per epoch"}),
        },
    )  # fmt: skip
