"""Memorization and generalization: the first checkpoint at which an accuracy exceeds a threshold.

Merrill et al. 2023's code and Figure 5: train accuracy > .98. Right answers are counted and compared as exact
fractions, so that 98 of 100 does not exceed 0.98 by a rounding. The grokking delay is generalization minus
memorization, in epochs.

An epoch is *censored* where the first stored checkpoint exceeds the threshold and is not the initialization: the seed
crossed it at or before that epoch. At step 0 there is nothing before, so epoch 0 is exact.

A run without a training step, such as a network written by hand, has no phases: its epochs and delays are NaN.
"""

from fractions import Fraction
from math import floor

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float

from circuits.analysis.networks.options import WalkOptions
from circuits.checkpoints.run import Run


def exceeds(accuracy: Float[np.ndarray, "*any"], n_examples: int, threshold: float) -> Bool[np.ndarray, "*any"]:
    """Where the number of right answers is more than the threshold's share.

    Parameters
    ----------
    accuracy
        Share of right answers out of `n_examples`, in 0..1.
    n_examples
        Size of the set.
    threshold
        A share in 0..1, taken as the decimal it is written as.

    Examples
    --------
    >>> exceeds(np.array([0.97, 0.98, 0.99]), 100, 0.98)
    array([False, False,  True])
    """
    return np.rint(accuracy * n_examples) > floor(Fraction(str(threshold)) * n_examples)


def first_true(condition: Bool[np.ndarray, "step seed"]) -> Float[np.ndarray, " seed"]:
    """Index along `step` of the first True of each seed; NaN where there is none.

    Examples
    --------
    >>> first_true(np.array([[False, False], [True, False]]))
    array([ 1., nan])
    """
    return (
        np.where(condition.any(axis=0), condition.argmax(axis=0), np.nan)
        if len(condition)
        else np.full(condition.shape[1], np.nan)
    )


def phase_checkpoints(run: Run, options: WalkOptions) -> tuple[Float[np.ndarray, " seed"], Float[np.ndarray, " seed"]]:
    """Indices of the memorization and the generalization checkpoint of each seed, NaN where there is none.

    Without a training step there is none: an accuracy above the threshold was not learned.
    """
    if not run.config.total_steps:
        return np.full(len(run.seeds), np.nan), np.full(len(run.seeds), np.nan)
    n_train, n_test = run.all_data.sizes["example"], run.all_data.sizes["test_example"]
    memorized = exceeds(run.metrics["train_accuracy"].values, n_train, options.memorization_threshold)
    generalized = exceeds(run.metrics["test_accuracy"].values, n_test, options.generalization_threshold)
    return first_true(memorized), first_true(generalized)


def phases(run: Run, options: WalkOptions = WalkOptions()) -> xr.Dataset:
    """When each seed memorized and generalized, and whether it collapsed or diverged.

    Returns
    -------
    memorization_epoch, generalization_epoch
        (seed,) float, in epochs; NaN when it never happens. Without a training step all are NaN, and their attribute
        `untrained` is 1.
    memorization_censored, generalization_censored
        (seed,) bool: the epoch is an upper bound, since the first stored checkpoint, after step 0, exceeds already. So
        it is in imported runs without their initialization, and in replays.
    grokking_delay
        (seed,) float, in epochs; NaN where either never happens or is censored. A bound may follow from the epochs:
        g - M at least, if memorization is at or before M and generalization exactly at g.
    collapsed
        (seed,) bool: at the last checkpoint every output is 0 to within a thousandth of what the loss asks for, as
        `circuits.collapse` defines it. The accuracy is then 0, not chance. Its attribute `recomputed` is 1 if the run
        did not store which networks have collapsed, and one of any checkpoint has.
    diverged
        (seed,) bool: the last training loss is not finite.
    """
    memorized, generalized = phase_checkpoints(run, options)
    untrained = {} if run.config.total_steps else {"untrained": 1}
    recomputed = int(run.collapsed.attrs["recomputed"] and run.collapsed.any())
    early, late = (censored(run, checkpoints) for checkpoints in (memorized, generalized))
    delay = epoch_at(run, generalized) - epoch_at(run, memorized)
    last = run.metrics.isel(step=-1)
    attrs = {
        "memorization_threshold": options.memorization_threshold,
        "generalization_threshold": options.generalization_threshold,
    }
    return xr.Dataset(
        {
            "memorization_epoch": ("seed", epoch_at(run, memorized), {"long_name": "memorization epoch"} | untrained),
            "generalization_epoch": (
                "seed",
                epoch_at(run, generalized),
                {"long_name": "generalization epoch"} | untrained,
            ),
            "memorization_censored": ("seed", early, {"long_name": "memorization at or before its epoch"}),
            "generalization_censored": ("seed", late, {"long_name": "generalization at or before its epoch"}),
            "grokking_delay": ("seed", np.where(early | late, np.nan, delay), {"long_name": "grokking delay"}),
            "collapsed": ("seed", run.collapsed.values[-1], {"recomputed": recomputed}),
            "diverged": ("seed", ~np.isfinite(last["train_loss"].values)),
        },
        {"seed": list(run.seeds)},
        attrs,
    )


def censored(run: Run, checkpoints: Float[np.ndarray, " seed"]) -> Bool[np.ndarray, " seed"]:
    """Where a phase's checkpoint is the first that is stored, and not the initialization."""
    return (checkpoints == 0) & bool(len(run.steps) and run.steps[0] > 0)


def epoch_at(run: Run, checkpoints: Float[np.ndarray, " seed"]) -> Float[np.ndarray, " seed"]:
    """Epochs of checkpoint indices, NaN staying NaN."""
    return np.array([np.nan if np.isnan(index) else run.epochs[int(index)] for index in checkpoints])
