"""A Lightning callback that records a training (extra `lightning`)."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from circuits.errors import InputError
from circuits.recording.record import record
from circuits.recording.recorder import Recorder
from circuits.recording.resumed import check_steps, steps_done

try:
    from lightning.pytorch import Callback
except ImportError:
    raise InputError(
        "The Lightning callback needs Lightning. Install it: pip install 'grokking-circuits[lightning]'"
    ) from None


class LightningCallback(Callback):
    """Records a `Trainer.fit` into the run file `path`: one step per batch that updates the module.

    With `resume=True`, a new fit continues the run after a kill. The callback restores the module, its optimizers,
    their learning-rate schedulers, random numbers and `trainer.global_step`, all of the newest committed checkpoint.
    Two things are left to you. Pass `max_steps`, the same as before, to the trainer, since it counts epochs from 0
    again. And let the data loader begin with the batch after `callback.step_done`; only then does the resumed fit give
    equal bits. Pass no `ckpt_path`, unless that checkpoint is of the same step. State of other callbacks is not kept.

    Parameters
    ----------
    path
        The run file.
    metrics
        Logged metrics (`trainer.callback_metrics`) to store at each checkpoint, by name.
    options
        Further arguments of `circuits.record`, except the model and its optimizers, which the trainer gives. `stateful`
        replaces the schedulers as the further objects to restore.

    Raises
    ------
    InputError
        When the fit starts: the run cannot be recorded, or `ckpt_path` is of another step than the run.
    """

    def __init__(self, path: str | Path, *, metrics: Iterable[str] = (), **options: Any) -> None:
        self._path, self._metrics, self._options = Path(path), tuple(metrics), options
        self._recorder: Recorder | None = None
        self._n_updates = 0

    @property
    def step_done(self) -> int:
        """Updates that the run has seen; before a fit that resumes, those up to its newest committed checkpoint."""
        return steps_done(self._path, self._recorder, self._options)

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Open the run file; if it is resumed, restore the state and count updates from its newest checkpoint."""
        optimizers = list(trainer.optimizers)
        optimizer = optimizers[0] if len(optimizers) == 1 else optimizers
        schedulers = {f"lr_scheduler_{at}": one.scheduler for at, one in enumerate(trainer.lr_scheduler_configs)}
        options = {"stateful": schedulers, **self._options}
        check_steps(self._path, trainer.global_step, self.step_done, "ckpt_path")
        self._recorder = record(self._path, pl_module, optimizer=optimizer, **options).__enter__()
        if self._recorder.step_done:
            loop = trainer.fit_loop.epoch_loop
            loop.automatic_optimization.optim_progress.optimizer.step.total.completed = self._recorder.step_done
            loop.manual_optimization.optim_step_progress.total.completed = self._recorder.step_done
        self._n_updates = trainer.global_step

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *_: Any) -> None:
        """Count the update of this batch; batches whose gradients are only accumulated have none."""
        if self._recorder is None or trainer.global_step == self._n_updates:
            return
        self._n_updates = trainer.global_step
        logged = trainer.callback_metrics
        self._recorder.step({name: logged.get(name, float("nan")) for name in self._metrics})

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Finish the run."""
        self._close(None)

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Leave the run so that it can be resumed."""
        self._close(type(exception))

    def _close(self, kind: type[BaseException] | None) -> None:
        recorder, self._recorder = self._recorder, None
        if recorder is not None:
            recorder.__exit__(kind, None, None)
