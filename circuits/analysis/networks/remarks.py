"""Remarks on the epochs of memorization and generalization, on collapsed networks, and on losses that round to 0."""

import numpy as np
import xarray as xr
from jaxtyping import Int

from circuits.analysis.networks.bounded import NONE, UNKNOWN, bounded, delay_text
from circuits.checkpoints.run import Run

RECOMPUTED = (
    "The run was made before the present definition of collapse. Which networks have collapsed, and their accuracies, "
    "are recomputed."
)
PHASES = {"memorization": ("train", "memorized"), "generalization": ("test", "generalized")}


def phase_remarks(phases: xr.Dataset) -> list[str]:
    """Remarks on the result of `circuits.analysis.phases`, one line each, seed by seed.

    Examples
    --------
    >>> data = {"memorization_epoch": ("seed", [30.0]), "generalization_epoch": ("seed", [10.0])}
    >>> data |= {"memorization_censored": ("seed", [False]), "generalization_censored": ("seed", [False])}
    >>> phase_remarks(xr.Dataset(data | {"grokking_delay": ("seed", [-20.0])}, {"seed": [4]}))[0][:71]
    'seed 4: test accuracy exceeds its threshold before train accuracy does,'
    """
    lines = []
    for seed in phases["seed"].values:
        at = phases.sel(seed=seed)
        censored = [phase for phase in PHASES if bool(at[f"{phase}_censored"])]
        if censored:
            sets, verbs = (" and ".join(PHASES[phase][index] for phase in censored) for index in (0, 1))
            first = bounded(float(at[f"{censored[0]}_epoch"]))
            both = "exceed" if len(censored) > 1 else "exceeds"
            delay = delay_text(at)
            of_delay = "" if delay == NONE else f"; the grokking delay is {delay}{' epochs' * (delay != UNKNOWN)}"
            lines.append(
                f"seed {seed}: {sets} accuracy {both} the threshold at the first stored checkpoint (epoch {first}), so "
                f"it {verbs} at or before that epoch{of_delay}."
            )
        if float(at["grokking_delay"]) < 0:
            lines.append(
                f"seed {seed}: test accuracy exceeds its threshold before train accuracy does, so the delay is "
                f"negative, {bounded(float(at['grokking_delay']))} epochs: there is no grokking."
            )
    if "collapsed" in phases and phases["collapsed"].attrs.get("recomputed"):
        lines.append(RECOMPUTED)
    return lines


def zero_losses(run: Run) -> Int[np.ndarray, " seed"]:
    """Number of checkpoints of each seed at which the training loss rounds to exactly 0, (seed,) int.

    The number is 0 unless the loss is cross-entropy, whose exact value is above 0 for every network. Other losses can
    really be 0: the hinge loss is 0 once every margin is at least 1.
    """
    losses = run.metrics["train_loss"].values  # (step, seed)
    return (losses == 0).sum(axis=0) if run.config.loss == "cross_entropy" else np.zeros(losses.shape[1], int)


def loss_remarks(run: Run) -> list[str]:
    """Remarks on training losses that round to 0, one line per seed, with the remedy."""
    config = run.config
    dtype = config.loss_dtype or config.dtype
    output = "sigmoid" if config.task.signature.n_classes is None else "softmax"
    todo = " Train with --loss-dtype float64: it takes the loss of the same outputs in double precision."
    todo = todo if dtype == "float32" else ""
    return [
        f"seed {seed}: the training loss rounds to exactly 0 at {count:,} of {run.n_checkpoints:,} checkpoints: the "
        f"{output} saturates in {dtype}, and differences between small losses are lost.{todo}"
        for seed, count in zip(run.seeds, zero_losses(run).tolist(), strict=True)
        if count
    ]
