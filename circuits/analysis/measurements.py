"""`analyze`: the named measurements of a run; without names, all default measurements that apply to the run."""

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
        The run; its file stays unchanged.
    measurements
        Names of measurements, as in `circuits analyze --help`. Without names: all default measurements that apply.
    options
        Options of all measurements.
    progress
        Whether to show progress bars on stderr.

    Returns
    -------
    A labeled dataset per measurement, in the order of `circuits.registry.MEASUREMENTS`: "phases" comes first.

    Raises
    ------
    InputError
        A measurement or `options.layer` does not exist, a measurement does not apply, or the run has no checkpoint.
    """
    wanted = chosen(run, *measurements)
    if options.layer is not None:
        layer_of(run, options)  # raises if the model has no such layer
    measures = {name: MEASUREMENTS[name].load().measure for name in wanted}
    return {name: measure(run, options_of(name, options), progress=progress) for name, measure in measures.items()}


def options_of(name: str, options: Options) -> WalkOptions:
    """The options that the measurement `name` reads, out of all `options`."""
    return options.of(load(MEASUREMENTS[name].options))


def chosen(run: Run, *measurements: str) -> list[str]:
    """Names of the measurements to run: `measurements` and "phases", in the order of `circuits.registry.MEASUREMENTS`.

    If `measurements` is empty, the result has all default measurements that apply to the run.

    Raises
    ------
    InputError
        A measurement does not exist or does not apply to the run's config, or the run has no checkpoint.
    """
    for name in measurements:
        lookup(MEASUREMENTS, name, "measurement")
    run.checkpoint_index()  # raises if the run has no checkpoint
    for name in measurements:
        if reason := MEASUREMENTS[name].load().applies(run.config):
            raise InputError(f"{run.path}: {reason} Leave --{name} out.")
    if not measurements:
        return usual(run.config)
    return [name for name in MEASUREMENTS if name == "phases" or name in measurements]


def usual(config: Config) -> list[str]:
    """Default measurements of a config: all that apply, except the measurements that run only on request."""
    return [
        name
        for name, entry in MEASUREMENTS.items()
        if not (measurement := entry.load()).applies(config) and not measurement.on_request(config)
    ]
