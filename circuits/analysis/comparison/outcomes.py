"""Outcomes of several runs: when each seed memorized and generalized, and its best and last accuracies.

`circuits.figures.against` draws the outcomes against a setting of the runs, as in Figure 3.1 of Fuangkawinsombut 2024
or in Figure 4 of Liu, Chi and Wu.
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
    """Memorization epoch, generalization epoch and accuracies of every seed of several runs.

    Parameters
    ----------
    runs
        Runs by name. They may have different seeds; a seed that a run lacks has NaN.
    options
        Thresholds of memorization and generalization.

    Returns
    -------
    memorization_epoch, generalization_epoch, grokking_delay
        (run, seed) in epochs. An epoch is NaN if the seed never reached the threshold. The coordinate
        `memorization_censored` (run, seed) is True if `memorization_epoch` is only an upper bound: the accuracy exceeds
        the threshold already at the first stored checkpoint, which is after step 0. `generalization_censored` is the
        same for `generalization_epoch`. The delay is NaN if one of the two epochs is NaN or an upper bound.
    best_test_accuracy, last_test_accuracy, last_train_accuracy
        (run, seed) in 0..1.

    Raises
    ------
    InputError
        There is no run, or a run has no checkpoint.
    """
    if not runs:
        raise InputError("There is no run to compare. Pass one or more runs.")
    datasets = []
    for run in runs.values():
        if run.n_checkpoints == 0:
            raise InputError(f"{run.path} has no checkpoint yet. Train it: {run.config.resume_hint(run.path)}")
        metrics, when = run.metrics, phases(run, options)
        ends = {
            "best_test_accuracy": metrics["test_accuracy"].max("step"),
            "last_test_accuracy": metrics["test_accuracy"].isel(step=-1, drop=True),
            "last_train_accuracy": metrics["train_accuracy"].isel(step=-1, drop=True),
        }
        values = {name: when[name] for name in PHASES} | ends | {name: when[name] for name in CENSORED}
        columns = {name: ("seed", of_seeds.values) for name, of_seeds in values.items()}
        datasets.append(xr.Dataset(columns, {"seed": np.array(run.seeds)}))
    joined = xr.concat(datasets, dim="run", join="outer", fill_value=dict.fromkeys(CENSORED, False))
    joined = joined.set_coords(CENSORED)
    for name in joined:
        joined[name].attrs = {"long_name": str(name).replace("_", " ")}
    return joined.assign_coords(run=list(runs))
