"""The checkpoint that an argument means: by index, by step, or by the names "last", "best", "memorized", "generalized".

A name means a checkpoint of one seed.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from circuits.errors import InputError, nearest

Run = Any  # a circuits.Run, whose module imports this one

PHASES = {"memorized": "memorization", "generalized": "generalization"}
NAMES = ("last", "best", *PHASES)


def checkpoint_index(run: Run, checkpoint: int | str | None, step: int | None, seed: int | None) -> int:
    """Position of a checkpoint along the `step` dimension; see `Run.checkpoint_index`."""
    if run.n_checkpoints == 0:
        raise InputError(f"{run.path} has no checkpoint yet. Train it: {run.config.resume_hint(run.path)}")
    if step is not None:
        if checkpoint is not None:
            raise InputError("Pass checkpoint or step, not both.")
        places = np.flatnonzero(run.steps == step)
        if not places.size:
            near = int(run.steps[np.abs(run.steps - step).argmin()])
            raise InputError(f"{run.path} keeps no checkpoint at step {step}. The nearest is step {near}.")
        return int(places[0])
    if isinstance(checkpoint, str):
        return named_checkpoint(run, checkpoint, run.seed_index(seed))
    if checkpoint is not None and (isinstance(checkpoint, bool) or not isinstance(checkpoint, int | np.integer)):
        raise InputError(f"A checkpoint is an index or one of the names {', '.join(NAMES)}, not {checkpoint!r}.")
    index = -1 if checkpoint is None else int(checkpoint)
    if not -run.n_checkpoints <= index < run.n_checkpoints:
        raise InputError(
            f"{run.path} has {run.n_checkpoints} checkpoints, so checkpoint {checkpoint} does not exist. "
            f"Pass 0..{run.n_checkpoints - 1}, -1 for the last, or a name: {', '.join(NAMES)}."
        )
    return index % run.n_checkpoints


def named_checkpoint(run: Run, name: str, seed_index: int) -> int:
    """Index of the checkpoint that `name` names for the seed at position `seed_index`.

    - "last": the last checkpoint.
    - "best": the checkpoint of highest test accuracy; of several, that of lowest test loss; of several, the earliest.
    - "memorized", "generalized": the first checkpoint whose train or test accuracy exceeds its threshold, 0.98, as
      `run.phases()` finds it.

    Raises
    ------
    InputError
        There is no such name, or the seed has no such checkpoint.
    """
    if name not in NAMES:
        raise InputError(f"There is no checkpoint '{name}'. {nearest(name, NAMES)} Or pass an index.")
    if name == "last":
        return run.n_checkpoints - 1
    seed = run.seeds[seed_index]
    if name == "best":
        return _best(run, seed_index)
    found: Any = run.phases()[f"{PHASES[name]}_epoch"].sel(seed=seed)
    if np.isnan(found):
        raise InputError(
            f"{run.path}: seed {seed} has no checkpoint '{name}': it never {name}. Pass an index, or last."
        )
    return int(np.flatnonzero(run.epochs == float(found))[0])


def _best(run: Run, seed_index: int) -> int:
    accuracy, loss = (run.metrics[f"test_{name}"].values[:, seed_index].astype(float) for name in ("accuracy", "loss"))
    if np.isnan(accuracy).all():
        raise InputError(f"{run.path} has no test accuracy, so none of its checkpoints is the best. Pass an index.")
    candidates = np.flatnonzero(accuracy == np.nanmax(accuracy))
    return int(candidates[np.where(np.isnan(loss[candidates]), np.inf, loss[candidates]).argmin()])
