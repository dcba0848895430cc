"""A callback of the Hugging Face `Trainer` that records a training (extra `trainer`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from circuits.errors import InputError
from circuits.recording.record import record
from circuits.recording.recorder import Recorder
from circuits.recording.resumed import check_steps, steps_done
from circuits.recording.state import random_state, set_random_state

try:
    from transformers import TrainerCallback as Callback
except ImportError:
    raise InputError(
        "The Trainer callback needs transformers. Install it: pip install 'grokking-circuits[trainer]'"
    ) from None


class TrainerCallback(Callback):
    """Records `Trainer.train` into the run file `path`; use it in a `with` block, so that a failure closes the file.

    Each checkpoint has the metric `learning_rate`. With `resume=True`, a new `Trainer.train` continues the run after a
    kill. The callback restores the module, its optimizer, the learning-rate scheduler, random numbers and
    `state.global_step`, all of the newest committed checkpoint. Two things are left to you. Pass `max_steps`, the same
    as before, since the trainer counts epochs from 0 again. And let the data set begin with the batch after
    `callback.step_done`; only then does the resumed training give equal bits. Pass no `resume_from_checkpoint`, unless
    that checkpoint is of the same step. State of other callbacks is not kept.

        with TrainerCallback("run.h5", every_steps=10) as callback:
            Trainer(model, arguments, train_dataset=data, callbacks=[callback]).train()

    Parameters
    ----------
    path
        The run file.
    options
        Further arguments of `circuits.record`, except the model and its optimizer, which the trainer gives. `stateful`
        replaces the scheduler as the further object to restore.

    Raises
    ------
    InputError
        When training starts: the run cannot be recorded, it has all `max_steps` already, or `resume_from_checkpoint` is
        of another step than the run.
    """

    def __init__(self, path: str | Path, **options: Any) -> None:
        self._path, self._options = Path(path), options
        self._recorder: Recorder | None = None
        self._random: dict[str, Any] | None = None

    def __enter__(self) -> TrainerCallback:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._close(kind)

    @property
    def step_done(self) -> int:
        """Updates that the run has seen; before a resumed training, those up to its newest committed checkpoint."""
        return steps_done(self._path, self._recorder, self._options)

    def on_train_begin(self, args: Any, state: Any, control: Any, **trained: Any) -> None:
        """Open the run file; if it is resumed, restore the state and count updates from its newest checkpoint."""
        optimizer = getattr(trained["optimizer"], "optimizer", trained["optimizer"])  # accelerate wraps it
        scheduler, done = trained.get("lr_scheduler"), self.step_done
        options = {"stateful": {} if scheduler is None else {"lr_scheduler": scheduler}, **self._options}
        check_steps(self._path, state.global_step, done, "resume_from_checkpoint")
        if done >= state.max_steps:
            raise InputError(f"{self._path} has all {state.max_steps} steps already. Pass more max_steps to go on.")
        self._recorder = record(self._path, trained["model"], optimizer=optimizer, **options).__enter__()
        state.global_step = self._recorder.step_done or state.global_step
        self._random = random_state() if done else None

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Before the first update of a resumed training, restore random numbers: the new data loader has drawn some."""
        if self._random is not None:
            set_random_state(self._random)
            self._random = None

    def on_step_end(self, args: Any, state: Any, control: Any, lr_scheduler: Any = None, **_: Any) -> None:
        """Count an update."""
        if self._recorder is not None:
            rate = float("nan") if lr_scheduler is None else lr_scheduler.get_last_lr()[0]
            self._recorder.step({"learning_rate": rate})

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Finish the run."""
        self._close(None)

    def _close(self, kind: type[BaseException] | None) -> None:
        recorder, self._recorder = self._recorder, None
        if recorder is not None:
            recorder.__exit__(kind, None, None)
