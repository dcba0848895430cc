"""Change points of a run's measures: onsets, midpoints, ends, and lags behind test accuracy."""

from collections.abc import Mapping

import numpy as np
import xarray as xr

from circuits.analysis.networks.options import PruningOptions
from circuits.analysis.progress.measurement import progress_measures, run_change_points
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
    """Onsets, midpoints, ends and lags of a run's progress measures, test accuracy and losses, and of further measures.

    Parameters
    ----------
    measures
        Further measures, each (step, seed) at the same checkpoints, such as the dataset of another measurement. A
        measure replaces a progress measure of the same name. A variable with one more dimension, of at most 16 labels,
        is split into one measure per label; any other variable is skipped.
    log_scale
        Which measures, except accuracies and shares, are fitted as logarithms. True: all. False: none. None: each
        positive measure whose largest value, in some seed, is more than ten times the smallest.

    Returns
    -------
    The dataset of `circuits.analysis.change_points`. The analysis of a seed begins at the first epoch with train
    accuracy above a threshold, else after epoch 0. `onset`, `midpoint`, `end` (measure, seed) are epochs with a
    95 % interval. Flags mark an onset or end that may lie outside the analyzed epochs. `direction` is 1 for a rise, -1
    for a fall, 0 for no change. `rank` is 1 plus the number of measures that surely begin to change earlier; 0 means no
    change. `lag` is the onset minus the onset of test accuracy; NaN if the seed did not generalize. `share` (measure,
    step, seed) is the completed share of the change. `earliest` (seed) is the measure that surely changes first, or "".
    `earliest_seeds` (seed) is the share of the seeds with the same `earliest`. `earliest_choices` (seed) is the share
    of eight analyses with the same `earliest`: thresholds 0.9, 0.99, 0.999, 0.9999, each with a linear and a log scale.

    Raises
    ------
    InputError
        A measure has other checkpoints or seeds than the run's progress measures.
    """
    measured = progress_measures(run, options, progress=progress)
    others = {} if measures is None else {str(name): values for name, values in measures.items()}
    for name, values in others.items():
        for dim in ("step", "seed") if {"step", "seed"} <= set(values.dims) else ():
            if dim not in values.coords or not np.array_equal(values[dim].values, measured[dim].values):
                raise InputError(
                    f"The {dim}s of the measure '{name}' differ from the {measured.sizes[dim]} {dim}s of the progress "
                    f"measures of {run.path}. Compute both with the same options, or pass values with the run's "
                    f"coordinate '{dim}'."
                )
    return run_change_points(run, options, measured, others, log_scale=log_scale)
