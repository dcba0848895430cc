"""Replay: trains a stretch of a run again and keeps every step, to show a transition at full resolution.

Random draws depend only on (seed, epoch) or (seed, step), so training from a stored checkpoint repeats the original
updates, which `compare` checks. The replay is an ordinary run file that names the original run, its parent.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from circuits.checkpoints.run import Run
from circuits.errors import InputError
from circuits.training.loop import begin
from circuits.training.paths.choice import choose_path
from circuits.training.start import nearest_start


class Comparison(NamedTuple):
    """Comparison of a replay with its parent, the original run, at their common checkpoints.

    `steps` are the common steps. `equal` (common step,) tells whether every parameter of every seed has the same bits.
    `differing` lists the hardware and libraries that differ, as "name: value of the parent, value of the replay".
    """

    steps: np.ndarray
    equal: np.ndarray
    differing: list[str]

    def __str__(self) -> str:
        """One line: whether a replay equals the original run at all common checkpoints; if not, where and why."""
        n = len(self.steps)
        if not n:
            return "no common checkpoint to compare."
        common = "the only common checkpoint, step" if n == 1 else f"all {n} common checkpoints, the last at step"
        if self.equal.all():
            return f"equal bit for bit at {common} {self.steps[-1]}."
        first = self.steps[np.argmin(self.equal)]
        why = "; ".join(self.differing) or "though numerics are the same: the run was made or changed by other means"
        return f"differs from the run's checkpoint at step {first} ({why})."


def replay(
    run: Run,
    path: str | Path,
    *,
    from_step: int,
    to_step: int,
    every: int = 1,
    device: str = "auto",
    kernel: str = "auto",
    overwrite: bool = False,
    progress: bool = True,
) -> Run:
    """Train the stretch from `from_step` to `to_step` of a run again, keeping a checkpoint every `every` steps.

    The replay starts from the last stored checkpoint at or before `from_step` whose optimizer state is known. For SGD
    without momentum this may be any checkpoint; otherwise it is one of `run.state_steps` or the initialization.

    Parameters
    ----------
    run, path
        `run` is the original run, which is only read. `path` is the run file to write.
    from_step, to_step
        First and last step to keep, 0 <= from_step <= to_step <= the last step the run holds.
    every
        Steps between checkpoints, >= 1; the last step is always kept.
    device, kernel, overwrite, progress
        As in `circuits.train`.

    Returns
    -------
    The replay, opened for reading; `compare(run, replay)` compares it with the original.

    Raises
    ------
    InputError
        The stretch lies outside the run, `path` exists, or the disk has no room.

    Examples
    --------
    >>> import circuits, tempfile
    >>> config = circuits.preset("merrill-2023").replace(model__width=8, task__n_train=64, epochs=9, seeds=[0])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     run = circuits.train(config, f"{folder}/run.h5", progress=False)
    ...     zoom = circuits.replay(run, f"{folder}/zoom.h5", from_step=5, to_step=8, progress=False)
    ...     print(zoom.steps.tolist(), compare(run, zoom))
    [5, 6, 7, 8] equal bit for bit at all 2 common checkpoints, the last at step 8.
    """
    path = Path(path)
    last = int(run.steps[run.checkpoint_index()])
    if not 0 <= from_step <= to_step <= last:
        raise InputError(
            f"{run.path} holds steps 0..{last}, so the stretch {from_step}..{to_step} cannot be replayed. "
            f"Choose 0 <= from-step <= to-step <= {last}."
        )
    if every < 1:
        raise InputError(f"`every` is the number of steps between checkpoints. It must be at least 1, not {every}.")
    checkpoints = {"every_epochs": None, "every_steps": every, "from_step": from_step, "to_step": to_step}
    checkpoints["optimizer_state_every"] = run.config.checkpoints.optimizer_state_every
    config = run.config.replace(stop=None, checkpoints=checkpoints)  # the stop rule must not end it
    start = nearest_start(run, from_step)
    choice = choose_path(config, device, kernel)
    parent = {"path": str(run.path), "fingerprint": run.fingerprint, "step": start.step}
    return begin(path, config, choice, parent=parent, start=start, overwrite=overwrite, progress=progress)


def compare(run: Run, other: Run) -> Comparison:
    """Comparison of a replay with the original run, checkpoint by checkpoint, bit for bit."""
    steps = np.intersect1d(run.steps, other.steps)
    equal = np.ones(len(steps), bool)
    for place, step in enumerate(steps):
        a, b = (which.parameters.isel(step=int(np.searchsorted(which.steps, step))).load() for which in (run, other))
        equal[place] = all(a[name].values.tobytes() == b[name].values.tobytes() for name in a)
    keys = sorted(run.numerics.keys() | other.numerics.keys())
    first, here = run.numerics, other.numerics
    differing = [f"{key}: {first.get(key)!r}, {here.get(key)!r}" for key in keys if first.get(key) != here.get(key)]
    for which, what in ((run, "the run"), (other, "the replay")):
        if which.other_numerics_since >= 0:
            differing.append(f"{what} has other numerics from its checkpoint {which.other_numerics_since} on")
    return Comparison(steps, equal, differing)
