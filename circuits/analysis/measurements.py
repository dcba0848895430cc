"""`analyze`: the measurements asked for, by name, or all that apply to the run and do not wait to be named."""

import xarray as xr

from circuits.analysis.networks.layers import layer_of
from circuits.analysis.networks.options import WalkOptions
from circuits.analysis.options import Options
from circuits.checkpoints.run import Run
from circuits.config import Config
from circuits.errors import InputError
from circuits.registry import MEASUREMENTS, load, lookup


def analyze(
    run: Run, *measurements: str, options: Options = Options(), progress: bool = False
) -> dict[str, xr.Dataset]:
    """Measure a run.

    Parameters
    ----------
    run
        The run; it is only read.
    measurements
        Names as in `circuits analyze --help`; none means all that `usual` lists.
    options
        How to measure.
    progress
        Progress bars on stderr.

    Returns
    -------
    A labeled dataset per measurement, in the registry's order, the phases first.

    Raises
    ------
    InputError
        There is no such measurement, it does not apply to the run's model, or the run has no checkpoint.
    """
    wanted = chosen(run, *measurements)
    if options.layer is not None:
        layer_of(run, options)  # says so if there is none, or not this one
    return {name: measured(run, name, options, progress=progress) for name in wanted}


def measured(run: Run, name: str, options: Options, *, progress: bool = False) -> xr.Dataset:
    """One measurement, with the options that it has; it applies to the run."""
    return MEASUREMENTS[name].load().measure(run, options_of(name, options), progress=progress)


def options_of(name: str, options: Options) -> WalkOptions:
    """The part of the options that a measurement has."""
    return options.of(load(MEASUREMENTS[name].options))


def chosen(run: Run, *measurements: str) -> list[str]:
    """The measurements that `analyze` makes when it is asked for these, in the registry's order; phases always.

    Raises
    ------
    InputError
        As `analyze`.
    """
    for name in measurements:
        lookup(MEASUREMENTS, name, "measurement")
    if run.n_checkpoints == 0:
        raise InputError(f"{run.path} has no checkpoint yet. Train it: circuits train --resume --out {run.path}")
    for name in measurements:
        if reason := MEASUREMENTS[name].load().applies(run.config):
            raise InputError(f"{run.path}: {reason} Leave --{name} out.")
    if not measurements:
        return usual(run.config)
    return [name for name in MEASUREMENTS if name == "phases" or name in measurements]


def usual(config: Config) -> list[str]:
    """The measurements that are made of a run without being named: those that apply, but for the long ones."""
    return [
        name
        for name, entry in MEASUREMENTS.items()
        if not (measurement := entry.load()).applies(config) and not measurement.on_request(config)
    ]
