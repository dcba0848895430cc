"""`analyze`: the named measurements of a run; without names, all default measurements that apply to the run."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from textwrap import indent
from typing import Any

from circuits.analysis.measured import Measured
from circuits.analysis.networks.layers import layer_of
from circuits.analysis.networks.options import WalkOptions
from circuits.analysis.options import Options, as_options
from circuits.checkpoints.run import Run, open_run
from circuits.config import Config
from circuits.errors import InputError
from circuits.registry import MEASUREMENTS, load, lookup


def analyze(
    run: Run | str | Path,
    *measurements: str | Sequence[str],
    options: Options | Mapping[str, Any] = Options(),
    progress: bool = False,
) -> Measured:
    """Measure a run.

    Parameters
    ----------
    run
        The run, or its file, which stays unchanged.
    measurements
        Names of measurements, from the list below, one by one or as a list. Without names: all default measurements
        that apply.
    options
        Options of all measurements, as an object or as a dictionary such as {"norm": "path"}.
    progress
        Whether to show progress bars on stderr.

    Returns
    -------
    A labeled dataset per measurement, by name, in the order of the list below: "phases" comes first. A notebook
    displays the tables that `circuits analyze` prints.

    Raises
    ------
    InputError
        A measurement, an option or `options.layer` does not exist, a measurement does not apply, or the run has no
        checkpoint.
    """
    options = as_options(options)
    if not isinstance(run, Run):
        with open_run(run) as opened:
            return analyze(opened, *measurements, options=options, progress=progress)
    wanted = chosen(run, *named(measurements))
    if options.layer is not None:
        layer_of(run, options)  # raises if the model has no such layer
    measures = {name: MEASUREMENTS[name].load().measure for name in wanted}
    return Measured(
        {name: measure(run, options_of(name, options), progress=progress) for name, measure in measures.items()}
    )


def named(measurements: Iterable[str | Sequence[str]]) -> list[str]:
    """The names of measurements that were passed one by one, in lists, or both.

    Raises
    ------
    InputError
        A name is not text.

    Examples
    --------
    >>> named(["phases", ["norms", "subnetwork"]])
    ['phases', 'norms', 'subnetwork']
    """
    names: list[Any] = []
    for one in measurements:
        names += one if isinstance(one, list | tuple | set) else [one]
    for name in names:
        if not isinstance(name, str):
            raise InputError(f"A measurement is a name, not {name!r}. There are: {', '.join(MEASUREMENTS)}.")
    return names


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
            raise InputError(f"{run.path}: {reason} Leave '{name}' out.")
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


def _list_measurements() -> None:
    """List every registered measurement in the docstring of `analyze`, which `help` shows."""
    lines = ["Notes", "-----", "The measurements:", ""]
    lines += [f"- {name}: {entry.help}" for name, entry in MEASUREMENTS.items()]
    analyze.__doc__ = _DOCSTRING + indent("\n".join(lines), " " * 4) + "\n    "


_DOCSTRING = (analyze.__doc__ or "").rstrip() + "\n\n"
MEASUREMENTS.watch(_list_measurements)  # now, and whenever a notebook or a plugin registers a measurement
