"""Memorization and generalization: the first checkpoint at which an accuracy exceeds a threshold.

The code and Figure 5 of Merrill et al. 2023 use train accuracy > .98. Numbers of right answers are compared as exact
fractions, so 98 of 100 never exceeds 0.98. The grokking delay is generalization minus memorization, in epochs.
"""

from fractions import Fraction
from math import floor
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float

from circuits.analysis.networks.options import WalkOptions
from circuits.checkpoints.run import Run


def exceeds(accuracy: Float[np.ndarray, "*any"], n_examples: int, threshold: float) -> Bool[np.ndarray, "*any"]:
    """Mask of the accuracies whose number of right answers is above `threshold` times `n_examples`.

    `accuracy` is the share of right answers out of `n_examples`, in 0..1. The code reads `threshold`, also in 0..1, as
    the decimal number that Python prints for it.

    Examples
    --------
    >>> exceeds(np.array([0.97, 0.98, 0.99]), 100, 0.98)
    array([False, False,  True])
    """
    return np.rint(accuracy * n_examples) > floor(Fraction(str(threshold)) * n_examples)


def first_true(condition: Bool[np.ndarray, "step seed"]) -> Float[np.ndarray, " seed"]:
    """Index along `step` of each seed's first True; NaN for a seed without a True.

    Examples
    --------
    >>> first_true(np.array([[False, False], [True, False]]))
    array([ 1., nan])
    """
    if not len(condition):
        return np.full(condition.shape[1], np.nan)
    return np.where(condition.any(axis=0), condition.argmax(axis=0), np.nan)


def phase_checkpoints(run: Run, options: WalkOptions) -> tuple[Float[np.ndarray, " seed"], Float[np.ndarray, " seed"]]:
    """Indices of the memorization and the generalization checkpoint of each seed; NaN if the phase is never reached.

    All indices are NaN for a run without a training step, such as a hand-built network: it has learned nothing.
    """
    if not run.config.total_steps:
        return np.full(len(run.seeds), np.nan), np.full(len(run.seeds), np.nan)
    n_train, n_test = run.all_data.sizes["example"], run.all_data.sizes["test_example"]
    memorized = exceeds(run.metrics["train_accuracy"].values, n_train, options.memorization_threshold)
    generalized = exceeds(run.metrics["test_accuracy"].values, n_test, options.generalization_threshold)
    return first_true(memorized), first_true(generalized)


def phases(run: Run, options: WalkOptions = WalkOptions()) -> xr.Dataset:
    """When each seed memorized and generalized, and whether the seed collapsed or diverged.

    Returns
    -------
    memorization_epoch
        (seed,) float: epoch of the first checkpoint with a train accuracy above `options.memorization_threshold`, NaN
        if there is none.
    generalization_epoch
        (seed,) float: epoch of the first checkpoint with a test accuracy above `options.generalization_threshold`, NaN
        if there is none. For a run without a training step, both epochs are NaN, and their attribute `untrained` is 1.
    memorization_censored, generalization_censored
        (seed,) bool: whether the epoch is only an upper bound on the true epoch. This is so if the accuracy exceeds its
        threshold already at the first stored checkpoint, and this checkpoint is after step 0. Step 0 may be missing in
        a run converted from other code, and in a replay, which repeats a later part of another run.
    grokking_delay
        (seed,) float: generalization epoch minus memorization epoch; NaN if one of them is NaN or censored. (If only
        memorization is censored, the true delay is still at least the difference of the two stored epochs.)
    collapsed
        (seed,) bool: at the last checkpoint all outputs on the training set are within 0.001 of 0, or the logits of
        each example are within 0.001 nats of each other (`circuits.collapse`). The accuracy is then 0, not chance. The
        attribute `recomputed` is 1 if some network collapsed and the run did not store which networks collapsed.
    diverged
        (seed,) bool: the last training loss is not finite.
    """
    reached = dict(zip(("memorization", "generalization"), phase_checkpoints(run, options), strict=True))
    epochs = {phase: epoch_at(run, checkpoints) for phase, checkpoints in reached.items()}
    is_bound = {phase: censored(run, checkpoints) for phase, checkpoints in reached.items()}
    untrained = {} if run.config.total_steps else {"untrained": 1}
    recomputed = int(run.collapsed.attrs["recomputed"] and run.collapsed.any())
    any_bound = is_bound["memorization"] | is_bound["generalization"]
    delay = np.where(any_bound, np.nan, epochs["generalization"] - epochs["memorization"])
    variables: dict[str, Any] = {
        f"{name}_epoch": ("seed", at, {"long_name": f"{name} epoch"} | untrained) for name, at in epochs.items()
    }
    for phase, bound in is_bound.items():
        variables[f"{phase}_censored"] = ("seed", bound, {"long_name": f"{phase} at or before its epoch"})
    variables |= {
        "grokking_delay": ("seed", delay, {"long_name": "grokking delay"}),
        "collapsed": ("seed", run.collapsed.values[-1], {"recomputed": recomputed}),
        "diverged": ("seed", diverged(run), {}),
    }
    thresholds = {f"{phase}_threshold": getattr(options, f"{phase}_threshold") for phase in reached}
    return xr.Dataset(variables, {"seed": list(run.seeds)}, thresholds)


def diverged(run: Run) -> Bool[np.ndarray, " seed"]:
    """Mask of the seeds whose last training loss is not finite; of runs of other loops, whose last parameters are not.

    A recorded or converted run may have no loss at its last checkpoint: then NaN means that it was not computed.
    """
    loss = run.metrics["train_loss"].values[-1]
    if not (run.config.model.is_recorded or run.numerics.get("path") == "imported"):
        return ~np.isfinite(loss)
    finite = [all(np.isfinite(values).all() for values in run.arrays(seed).values()) for seed in run.seeds]
    return np.isinf(loss) | ~np.array(finite)


def censored(run: Run, checkpoints: Float[np.ndarray, " seed"]) -> Bool[np.ndarray, " seed"]:
    """Mask of the seeds whose epoch of memorization, or of generalization, is only an upper bound.

    `checkpoints` is one of the two results of `phase_checkpoints`. The epoch is an upper bound if the index in
    `checkpoints` is 0 and the first stored checkpoint is after step 0. Nothing precedes step 0, so epoch 0 is exact.
    """
    return (checkpoints == 0) & bool(len(run.steps) and run.steps[0] > 0)


def epoch_at(run: Run, checkpoints: Float[np.ndarray, " seed"]) -> Float[np.ndarray, " seed"]:
    """Epoch of each checkpoint index; NaN stays NaN."""
    return np.array([np.nan if np.isnan(index) else run.epochs[int(index)] for index in checkpoints])
