"""`analyze`: the measurements asked for, by name, or all that apply to the run and do not wait to be named."""

import xarray as xr

from circuits.analysis.networks.layers import layer_of
from circuits.analysis.networks.walk import hidden_layer
from circuits.checkpoints.run import Run
from circuits.errors import InputError
from circuits.interfaces import Task
from circuits.options import Options
from circuits.registry import MEASUREMENTS, Entry, load, lookup


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
    A labelled dataset per measurement, in the registry's order.

    Raises
    ------
    InputError
        There is no such measurement, it does not apply to the run's model, or the run has no checkpoint.
    """
    wanted = chosen(run, *measurements)
    if not wanted or options.layer is not None:
        layer_of(run, options)  # says so if there is none, or not this one
    return {name: MEASUREMENTS[name].load()(run, options, progress=progress) for name in wanted}


def chosen(run: Run, *measurements: str) -> list[str]:
    """The measurements that `analyze` makes when it is asked for these, in the registry's order.

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
        if not applies(run, name):
            _refuse(run, name)
    return [name for name in MEASUREMENTS if name in measurements] if measurements else usual(run)


def applies(run: Run, measurement: str) -> bool:
    """Whether a measurement can be made of this run."""
    entry = MEASUREMENTS[measurement]
    return run.config.offers(entry.needs) and _is_about(entry, run.config.task) and _refusal(run, measurement) is None


def _is_about(entry: Entry, task: Task) -> bool:
    """Whether the measurement is about this task; one about parity is about every task that is a parity."""
    return task.parity_bits is not None if entry.task == "parity" else entry.task in (None, task.kind)


def _refusal(run: Run, measurement: str) -> str | None:
    """Why a measurement cannot be made of a run that has its task and layers, if so."""
    entry = MEASUREMENTS[measurement]
    return None if entry.refusal is None else load(entry.refusal)(run.config)


def _refuse(run: Run, measurement: str) -> None:
    """Say why a measurement does not apply."""
    entry = MEASUREMENTS[measurement]
    if not run.config.offers(entry.needs):
        hidden_layer(run)
    if not _is_about(entry, run.config.task):
        raise InputError(
            f"{run.path} holds the task '{run.config.task.kind}', and the measurement '{measurement}' is about the "
            f"task '{entry.task}'. Leave --{measurement} out."
        )
    raise InputError(f"{run.path}: {_refusal(run, measurement)}")


def usual(run: Run) -> list[str]:
    """The measurements that are made of this run without being named: those that apply, but for the long ones."""
    n_bits = len(run.config.task.parity_bits or ())
    return [
        name
        for name, entry in MEASUREMENTS.items()
        if applies(run, name) and not entry.on_request and (entry.most_bits is None or n_bits <= entry.most_bits)
    ]
