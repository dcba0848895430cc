"""`transitions`: when each measure of a run changes, and how long before or after test accuracy."""

from collections.abc import Mapping

import numpy as np
import xarray as xr

from circuits.analysis.networks.options import PruningOptions
from circuits.analysis.progress.measurement import moved, progress_measures
from circuits.checkpoints.run import Run
from circuits.errors import InputError


def transitions(
    run: Run,
    measures: xr.Dataset | Mapping[str, xr.DataArray] | None = None,
    options: PruningOptions = PruningOptions(),
    *,
    progress: bool = False,
    log_scale: bool | None = None,
) -> xr.Dataset:
    """Change points of the progress measures, accuracies and losses of a run, and of any others.

    Parameters
    ----------
    run, options
        The run, and how to measure.
    measures
        Further ones, each (step, seed) at the same checkpoints, such as the dataset of another measurement; one of a
        name that there is already takes its place. A variable with one more dimension, of at most 16 labels, is taken
        apart; any other is passed over.
    progress
        Progress bars on stderr.
    log_scale
        Whether to take logarithms of measures, of all but accuracies and shares; None: of those that are positive and
        become ten times as large or as small.

    Returns
    -------
    As `circuits.analysis.change_points`: (measure, seed) onset, midpoint and end in epochs with 95 % intervals and
    whether they are censored, lag to test accuracy (NaN for a seed that did not generalize), direction, rank; `share`
    (measure, step, seed); `earliest` (seed), or "" where the intervals do not separate one measure from the others,
    with the shares of eight analysis choices and of the seeds that agree.

    Raises
    ------
    InputError
        A measure is of other checkpoints or seeds.
    """
    measured = progress_measures(run, options, progress=progress)
    others = {} if measures is None else {str(name): values for name, values in measures.items()}
    for name, values in others.items():
        _check(run, name, values, measured)
    return moved(run, options, measured, others, log_scale=log_scale)


def _check(run: Run, name: str, values: xr.DataArray, like: xr.Dataset) -> None:
    """Refuse a measure over steps and seeds whose steps or seeds are not those that are looked at."""
    if not {"step", "seed"} <= set(values.dims):
        return
    for dim in ("step", "seed"):
        if dim not in values.coords or not np.array_equal(values[dim].values, like[dim].values):
            raise InputError(
                f"The measure '{name}' has other {dim}s than the {like.sizes[dim]} of {run.path} that are looked at. "
                f"Measure it with the same options, or pass values with the coordinate '{dim}' of the run."
            )
