"""Where a trainer that counts its own updates continues a recorded run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from circuits.checkpoints.repair import mend
from circuits.checkpoints.writer import Writer
from circuits.errors import InputError
from circuits.recording.recorder import Recorder
from circuits.training.loop import say


def steps_done(path: Path, recorder: Recorder | None, options: Mapping[str, Any]) -> int:
    """Updates that the run at `path` has seen: those of the open recorder, or those that a resume would start from.

    The steps to start from are those of the newest checkpoint whose state is intact, which after a kill need not be the
    newest checkpoint; the file is mended to find it. 0 if `options` do not resume, or the file does not exist.

    Raises
    ------
    InputError
        The file is not a run, or another process is writing to it.
    """
    if recorder is not None:
        return recorder.step_done
    if options.get("resume", False) not in (True, "auto") or options.get("overwrite") or not path.exists():
        return 0
    mend(path, say)
    with Writer(path, say=say) as writer:
        return int(writer.file["step"][writer.n_checkpoints - 1]) if writer.n_checkpoints else 0


def check_steps(path: Path, trainer_steps: int, run_steps: int, argument: str) -> None:
    """Raise an `InputError` if trainer and run both resume, the trainer by `argument`, and from different steps."""
    if run_steps and trainer_steps not in (0, run_steps):
        raise InputError(
            f"The trainer's own checkpoint is of step {trainer_steps}, and {path} continues from step {run_steps}. "
            f"Leave out {argument}: the callback restores what the run holds."
        )
