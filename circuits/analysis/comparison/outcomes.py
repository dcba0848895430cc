"""What became of several runs, side by side: when their seeds memorized and generalized, and how well they ended.

Figures that have a run's setting across, such as the thesis's Figure 3.1 or Figure 4 of Liu, Chi and Wu, are drawn of
this by `circuits.figures.against`.
"""

from collections.abc import Mapping

import numpy as np
import xarray as xr

from circuits.analysis.networks.options import WalkOptions
from circuits.analysis.networks.phases import phases
from circuits.checkpoints.run import Run
from circuits.errors import InputError

PHASES = ("memorization_epoch", "generalization_epoch", "grokking_delay")
CENSORED = ("memorization_censored", "generalization_censored")


def outcomes(runs: Mapping[str, Run], options: WalkOptions = WalkOptions()) -> xr.Dataset:
    """Phases and accuracies of every seed of several runs.

    Parameters
    ----------
    runs
        Runs by name. They may have different seeds: NaN where a run lacks one.
    options
        Thresholds of memorization and generalization.

    Returns
    -------
    memorization_epoch, generalization_epoch, grokking_delay
        (run, seed) in epochs; NaN when it never happened, and a delay that is not known. The coordinates
        `memorization_censored` and `generalization_censored` (run, seed) mark epochs that are upper bounds.
    best_test_accuracy, last_test_accuracy, last_train_accuracy
        (run, seed) in 0..1.

    Raises
    ------
    InputError
        There is no run, or one without a checkpoint.
    """
    if not runs:
        raise InputError("There is no run to compare. Pass one or more runs.")
    datasets = []
    for run in runs.values():
        if run.n_checkpoints == 0:
            raise InputError(f"{run.path} has no checkpoint yet. Train it: circuits train --resume --out {run.path}")
        metrics, when = run.metrics, phases(run, options)
        ends = {
            "best_test_accuracy": metrics["test_accuracy"].max("step"),
            "last_test_accuracy": metrics["test_accuracy"].isel(step=-1, drop=True),
            "last_train_accuracy": metrics["train_accuracy"].isel(step=-1, drop=True),
        }
        columns = {name: ("seed", when[name].values) for name in PHASES}
        columns |= {name: ("seed", values.values) for name, values in ends.items()}
        columns |= {name: ("seed", when[name].values) for name in CENSORED}
        datasets.append(xr.Dataset(columns, {"seed": np.array(run.seeds)}))
    joined = xr.concat(datasets, dim="run", join="outer", fill_value=dict.fromkeys(CENSORED, False))
    joined = joined.set_coords(CENSORED)
    for name in joined:
        joined[name].attrs = {"long_name": str(name).replace("_", " ")}
    return joined.assign_coords(run=list(runs))
