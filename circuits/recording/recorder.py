"""The object that `circuits.record` returns: it keeps the trajectory of a training loop that it does not run.

A checkpoint is committed together with the state of optimizers, buffers and random numbers at its step. So a loop that
is killed goes on from its newest committed checkpoint, and nothing that was committed is lost.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from circuits.atomic_write import make_folder
from circuits.checkpoints import layout
from circuits.checkpoints.lock import RunLock
from circuits.checkpoints.repair import mend
from circuits.checkpoints.run import Run, open_run
from circuits.checkpoints.undo import set_aside
from circuits.checkpoints.writer import Writer
from circuits.config import Config
from circuits.errors import InputError
from circuits.recording.described import Described
from circuits.recording.evaluate import Evaluation, LossFunction
from circuits.recording.networks import Arrays, Networks
from circuits.training.loop import refuse_to_replace, say, versions

ROWS_AHEAD = 1000  # checkpoints reserved at a time for a loop of unknown length
BYTES_AHEAD = 1 << 30


class Recorder:
    """The recorder of one run; use it in a `with` block, and call `step` after each update.

    Attributes
    ----------
    step_done
        Updates that the run has seen, before a resume and after it; the caller's loop goes on from here.
    """

    def __init__(
        self,
        path: Path,
        networks: Networks,
        plan: Described,
        *,
        loss: LossFunction | None,
        evaluate_every: int | None,
        metrics: tuple[str, ...],
        resume: bool | str,
        overwrite: bool,
        buffer: int,
    ) -> None:
        self.path, self.step_done = path, 0
        self._networks, self._plan = networks, plan
        self._loss, self._evaluate_every = loss, evaluate_every
        self._resume, self._overwrite, self._buffer = resume, overwrite, buffer
        self._awaited, self._left_out = metrics, set[str]()  # metrics to come, and those that came too late
        self._evaluation: Evaluation | None = None
        self._config: Config | None = None
        self._lock: RunLock | None = None
        self._writer: Writer | None = None
        self._own_metrics: tuple[str, ...] | None = None
        self._is_begun = False  # whether checkpoint 0 is kept
        self._planned: frozenset[int] = frozenset()
        self._last_planned = 0
        self._extra_steps: set[int] = set()
        self._last_metrics: Mapping[str, Any] = {}
        self._before: tuple[Arrays, Arrays, Arrays] = {}, {}, {}  # row, metrics and state before the first step

    def __enter__(self) -> Recorder:
        if self._lock is not None or self._is_begun:
            raise InputError(
                f"This recorder of {self.path} was used. Call circuits.record(…, resume=True) for a new one."
            )
        resume = self.path.exists() and not self._overwrite if self._resume == "auto" else self._resume
        if resume:
            self._take_up()
        else:
            make_folder(self.path)
            refuse_to_replace(self.path, self._overwrite)
            self._lock = RunLock(self.path)
        try:
            self._evaluation = self._evaluating()
            if not self._is_begun:
                row = {name: values.copy() for name, values in self._networks.row().items()}
                self._before = row, self._evaluated(0), self._networks.state()
        except BaseException:
            self._release()
            raise
        return self

    def step(self, metrics: Mapping[str, Any] | None = None) -> None:
        """Count one update of the loop; at steps that have a checkpoint, keep the networks and `metrics`.

        Parameters
        ----------
        metrics
            Numbers to store at this checkpoint, by name: one number, or one per seed. The file has the metrics of the
            first call and those of `record(metrics=…)`. One that is missing at a checkpoint is NaN there. A metric
            with another name is not stored, and a warning says so once.

        Raises
        ------
        InputError
            A metric is not a number, or the recorder computes a metric of this name.
        RunError
            The file system refused a write; the checkpoints before this write are saved.
        """
        if self._lock is None:
            raise InputError(f"The recorder of {self.path} is not open. Write: with circuits.record(…) as rec.")
        self.step_done += 1
        self._last_metrics = metrics or {}
        if not self._is_begun:
            self._begin(metrics or {})
        if self.step_done > self._last_planned:
            self._plan_to(self._next_end(self.step_done))
        if self.step_done in self._planned:
            self._keep(metrics or {})

    @property
    def run(self) -> Run:
        """The run so far, for the process that records it; others open the file.

        Raises
        ------
        InputError
            Nothing is recorded yet, or the recorder is closed.
        """
        if self._writer is None:
            raise InputError(f"{self.path} is not being written now. Before the first step there is nothing to read.")
        return Run(self.path, self._writer.file)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None and self._lock is not None:
                if not self._is_begun:
                    self._begin({})
                self._finish()
            elif self._writer is not None and not self._networks.keeps_state:
                self._writer.flush()
        finally:
            self._release()

    def _release(self) -> None:
        """Close the file without writing what it does not hold yet, and release the lock."""
        writer, lock, self._writer, self._lock = self._writer, self._lock, None, None
        if writer is not None:
            writer.close(flush=False)
        elif lock is not None:
            lock.release()

    def _take_up(self) -> None:
        """Open the run file, and give the caller's objects back what it holds of its newest checkpoint."""
        mend(self.path, say)
        with open_run(self.path) as run:
            self._check(run)
            self._lock = RunLock(self.path)
        try:
            self._writer = writer = Writer(self.path, self._lock, say=say, buffered=self._buffer)
            run = Run(self.path, writer.file)
            self._plan_is(run.config)
            self._own_metrics = run.config.metrics
            known = set(self._plan.at_steps)
            self._extra_steps = {step for step in run.config.checkpoints.at_steps if step not in known}
            row = {}
            if run.n_checkpoints:
                self.step_done, self._is_begun = int(run.steps[-1]), True
                row = {f"parameters/{name}": values[-1].values for name, values in run.parameters.items()}
            self._networks.load(row, writer.optimizer_state, writer.reserved_state())
            if run.n_checkpoints and self._networks.numerics() != run.numerics:
                writer.amend(None, run.n_checkpoints)
        except BaseException:
            self._release()
            raise

    def _check(self, run: Run) -> None:
        """Raise an `InputError` unless the run was recorded from the same module, data and checkpoints."""
        stored, plan = run.config, self._plan
        if not stored.model.is_recorded:
            raise InputError(
                f"{self.path} was made by circuits.train. Resume it there: circuits.train(None, path, resume=True)."
            )
        if "state" not in run.hdf5["resume/slot0"]:
            raise InputError(f"{self.path} was recorded with keep_state=False, so it cannot be resumed.")
        wanted = plan.config(stored.total_steps, stored.metrics)
        differing = [
            f"{what}: {theirs!r} in the file, {ours!r} here"
            for what, theirs, ours in (
                ("seeds", stored.seeds, wanted.seeds),
                ("loss", stored.loss, wanted.loss),
                ("optimizer", stored.optimizer.model_dump()["classes"], wanted.optimizer.model_dump()["classes"]),
                ("batch_size", stored.batch_size, wanted.batch_size),
                ("every_steps", stored.checkpoints.every_steps, wanted.checkpoints.every_steps),
                ("parameters", _sizes(stored), _sizes(wanted)),
            )
            if theirs != ours
        ]
        if not differing:
            differing = [f"the array {name} of the data" for name in _other_data(run, plan.data)]
        if differing:
            raise InputError(
                f"{self.path} was recorded with other arguments ({differing[0]}). Pass the same arguments to resume, "
                f"or overwrite=True to begin again."
            )

    def _begin(self, metrics: Mapping[str, Any]) -> None:
        """Create the run file, unless it is there, and keep checkpoint 0: the networks before the first step."""
        row, computed, state = self._before
        if self._writer is None:
            self._own_metrics = self._named([*metrics, *self._awaited])
            self._networks.reserve(state, self._networks.state())
            config = self._plan.config(self._next_end(1), self._own_metrics)
            layout.create(
                self.path, config, versions(), self._networks.numerics(), self._networks.reserved,
                data=self._plan.data, replace=self._overwrite,
            )  # fmt: skip
            set_aside(self.path, say)
            self._writer = Writer(self.path, self._lock, say=say, buffered=self._buffer)
            self._plan_is(config)
        first = self._networks.padded(state)
        self._writer.append(0, 0.0, {**row, **self._metrics(computed, {})}, state=lambda: first)
        self._is_begun = True

    def _keep(self, metrics: Mapping[str, Any], *, is_last: bool = False) -> None:
        writer, config = self._writer, self._config
        assert writer is not None
        assert config is not None
        values = self._metrics(self._evaluated(self.step_done, is_last=is_last), metrics)
        epoch = self.step_done / config.steps_per_epoch
        writer.append(self.step_done, epoch, {**self._networks.row(), **values}, state=self._networks.state)

    def _finish(self) -> None:
        """Keep the current networks, and end the plan here."""
        writer, is_kept = self._writer, self.step_done in self._planned
        assert writer is not None
        if self.step_done != self._last_planned:
            self._plan_to(self.step_done)
        if not is_kept:
            self._keep(self._last_metrics, is_last=True)
        writer.flush()
        writer.cut()

    def _plan_to(self, steps: int) -> None:
        """Change the file's plan so that it ends at `steps`; checkpoints so far stay in it."""
        assert self._writer is not None
        assert self._own_metrics is not None
        if self._last_planned < steps:
            self._extra_steps.add(self._last_planned)
        config = self._plan.config(steps, self._own_metrics, self._extra_steps)
        self._writer.amend(config)
        self._plan_is(config)

    def _plan_is(self, config: Config) -> None:
        self._config = config
        self._planned, self._last_planned = frozenset(config.checkpoint_steps()), config.total_steps

    def _next_end(self, step: int) -> int:
        """The step to which the plan reaches next if it must reach `step`; a multiple of `every_steps` if it is set."""
        bytes_of_row = sum(values.nbytes for values in self._networks.row().values())
        rows = int(np.clip(BYTES_AHEAD // max(1, bytes_of_row), 16, ROWS_AHEAD))
        every, last = self._plan.every_steps, max(self._plan.at_steps, default=0)
        if every is None:
            return last if step <= last else 2 * step
        return every * -(-max(2 * step, every * rows, last) // every)

    def _evaluating(self) -> Evaluation | None:
        plan = self._plan
        if not plan.data or self._evaluate_every == 0 or not plan.task.train_size:
            return None
        return Evaluation(plan.config(1, ()), plan.dataset(), self._loss, self._networks.device)

    def _evaluated(self, step: int, *, is_last: bool = False) -> Arrays:
        """Metrics that the recorder computes at `step`; empty at steps at which it computes none."""
        every = self._evaluate_every or self._plan.every_steps
        if self._evaluation is None or (every is not None and step % every and not is_last):
            return {}
        return self._evaluation.metrics(self._networks.modules)

    def _named(self, metrics: Sequence[Any]) -> tuple[str, ...]:
        """Names of the caller's metrics that are not among those of every run."""
        standard = layout.metrics_of(self._plan.config(1, ()))
        for name in metrics:
            if not isinstance(name, str) or not name.isprintable() or not name or "/" in name or name in layout.COMMIT:
                raise InputError(f"A metric cannot be called {name!r}. Pass a printable name without slashes.")
            if self._evaluation is not None and name in standard:
                raise InputError(
                    f"The recorder computes '{name}' itself. Give yours another name, or pass evaluate_every=0."
                )
        return tuple(dict.fromkeys(name for name in metrics if name not in standard))

    def _metrics(self, computed: Arrays, metrics: Mapping[str, Any]) -> Arrays:
        """Every metric of a checkpoint, (seed,); NaN for those that are neither computed nor given."""
        assert self._writer is not None
        n_seeds = len(self._networks.modules)
        values = dict.fromkeys(self._writer.metric_names, np.full(n_seeds, np.nan))
        for name, value in metrics.items():
            key = f"metrics/{name}"
            if name not in (self._own_metrics or ()) and (self._evaluation is not None or key not in values):
                if name not in self._left_out:
                    self._left_out.add(name)
                    say(
                        f"warning: your metric '{name}' is not stored, since the first step did not have it. Announce "
                        f"it: circuits.record(…, metrics=['{name}'])."
                    )
                continue
            try:
                numbers = np.asarray(_number(value), np.float64)
            except (TypeError, ValueError):
                raise InputError(f"Metric '{name}' is {value!r}. Pass one number, or one per seed.") from None
            if numbers.shape not in ((), (n_seeds,)):
                raise InputError(f"Metric '{name}' has shape {numbers.shape}. Pass one number, or one per seed.")
            values[key] = np.broadcast_to(numbers, (n_seeds,))
        return values | computed


def _number(value: Any) -> Any:
    """A metric as NumPy reads it: tensors are detached and moved to the CPU."""
    if isinstance(value, list | tuple):
        return [_number(one) for one in value]
    return value.detach().cpu().numpy() if hasattr(value, "detach") else value


def _sizes(config: Config) -> dict[str, tuple[int, ...]]:
    return {name: shape for name, (_, shape) in config.shapes.items()}


def _other_data(run: Run, data: Mapping[str, np.ndarray]) -> list[str]:
    """Names of the arrays of the data that differ from the run's."""
    stored = run.all_data
    names = [name for name in data if name.startswith(("train_", "test_"))]
    return [name for name in names if name not in stored or not np.array_equal(stored[name].values, data[name])]
