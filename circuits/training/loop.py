"""The training loop: it trains all seeds from checkpoint to checkpoint and writes each checkpoint to the file.

While the file writer stores a checkpoint (parameters and metrics of all seeds), the networks may train further.
Random draws depend only on (seed, epoch) or (seed, step), so a resumed run equals an uninterrupted run bit for bit.
"""

from __future__ import annotations

import errno
import resource
import shutil
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from platform import platform, python_version
from typing import Any

import numpy as np
from tqdm import tqdm

from circuits.atomic_write import make_folder
from circuits.bars import in_notebook, progress_bar
from circuits.checkpoints import layout
from circuits.checkpoints.lengths import is_packed
from circuits.checkpoints.lock import RunLock, being_written, writer_pid
from circuits.checkpoints.recover import was_killed
from circuits.checkpoints.repair import is_longer, make_plain, mend
from circuits.checkpoints.run import Run, open_run
from circuits.checkpoints.undo import set_aside
from circuits.checkpoints.writer import Writer
from circuits.config import Config
from circuits.errors import REMEDIES, InputError, Interrupted
from circuits.notebook import show
from circuits.presets.resolve import as_config
from circuits.printable import printable
from circuits.registry import MEASUREMENTS
from circuits.training.early_stop import EarlyStop
from circuits.training.extra_metrics import further_metrics
from circuits.training.paths.choice import Choice, choose_path
from circuits.training.rates import Pace
from circuits.training.start import Start, initial_state, metrics_at, start_of
from circuits.training.stopping import saying_how_to_resume, stop_requests
from circuits.training.trajectory import Row, trajectory

SPARE_BYTES = 16 << 20
STATE_SECONDS = 1.0  # training time that a kill may lose, for optimizers with state


def train(
    config: Config | Mapping[str, Any] | str | None,
    path: str | Path,
    *,
    resume: bool | str = False,
    overwrite: bool = False,
    device: str = "auto",
    kernel: str = "auto",
    allow_different_numerics: bool = False,
    progress: bool = True,
) -> Run:
    """Train the networks of a config into the run file `path`, keeping every checkpoint.

    Parameters
    ----------
    config
        The run's config, the name of a preset, or a dictionary of the config's fields. With `resume`, it may be None,
        or the file's config with the same or more epochs.
    path
        The run file; its folder is created if it is missing.
    resume
        Continue an interrupted run, or extend a finished one. A complete run is returned unchanged. "auto" begins the
        run if `path` does not exist, otherwise continues it.
    overwrite
        Replace an existing run file, unless a process is writing to it.
    device
        "auto" takes the CPU for the kernel "fused"; for the other kernels cuda if there is one, else the CPU.
    kernel
        Implementation of the update: "fused" (compiled, CPU only), "batched" (torch, all seeds as one network),
        "prepared" (torch, faster forward pass) or "reference" (torch autograd, slow but simple). "auto" chooses one.
    allow_different_numerics
        Resume even if arithmetic, processor or libraries differ; the bits may then differ from an uninterrupted run.
    progress
        Show a progress bar on stderr if that is a terminal. In a notebook, show a bar, and at the end the epochs
        at which each seed memorized and generalized.

    Returns
    -------
    The finished run, opened for reading.

    Raises
    ------
    InputError
        The file exists, is being written, or does not fit the config; the device does not exist; the disk has no room.
    RunError
        The file system refused a write; the checkpoints before this write are saved.
    Interrupted
        Ctrl-C or SIGTERM; the training up to the last checkpoint is saved.

    Examples
    --------
    >>> import circuits, tempfile
    >>> config = circuits.preset("merrill-2023").replace(model__width=8, task__n_train=32, epochs=2, seeds=[0])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     run = circuits.train(config, f"{folder}/tiny.h5", progress=False)
    ...     run.steps.tolist()
    [0, 1, 2]
    """
    path, config = Path(path), None if config is None else as_config(config)
    if resume == "auto":
        resume = path.exists() and not overwrite
    elif not isinstance(resume, bool):
        raise InputError(f"resume is {resume!r}. Pass True, False or 'auto'.")
    if resume and overwrite:
        raise InputError("Pass resume or overwrite, not both.")
    if not resume:
        if config is None:
            raise InputError("A new run needs a config. Pass one, such as circuits.preset('merrill-2023').")
        run = begin(path, config, choose_path(config, device, kernel), overwrite=overwrite, progress=progress)
        return displayed(run, progress)
    mend(path, say)
    with open_run(path):  # refuses a bad file before a lock file appears; stays open, since a second check takes time
        lock = RunLock(path)
        with released_on_error(lock):
            config, choice = _resumable(config, path, device, kernel, allow_different_numerics)
    with released_on_error(lock):
        if choice is not None:
            refuse_without_examples(config)
            check_room(path, layout.size_on_disk(config))
        elif (was_killed(path) or is_longer(path)) and (copy := make_plain(path).copy):  # killed after its last step
            say(f"{path}: rows after the last committed checkpoint were removed. Copy of the original file: {copy}.")
    if choice is None:
        lock.release()
        return displayed(open_run(path), progress)
    return displayed(advance_to_the_end(lock, config, choice, progress=progress), progress)


def displayed(run: Run, shown: bool = True) -> Run:
    """The run; in a notebook, if `shown`, the cell displays when each seed memorized and generalized."""
    if shown and in_notebook() and run.n_checkpoints:
        phases = run.phases()
        show(MEASUREMENTS["phases"].load().tables(phases, phases))
    return run


def begin(
    path: Path,
    config: Config,
    choice: Choice,
    *,
    parent: dict[str, Any] | None = None,
    start: Start | None = None,
    overwrite: bool = False,
    progress: bool = True,
) -> Run:
    """Create a run file and train its networks to the end, from the initialization or a checkpoint of another run.

    `parent` and `start` are None, unless training starts from a checkpoint of an original run. Then `parent` has the
    path, fingerprint and step of the original run, and `start` is the state to start from.
    """
    if parent and path.exists() and path.samefile(parent["path"]):
        raise InputError(f"{path} is the original run, which the new run must not replace. Pass another path.")
    refuse_without_examples(config)
    if reason := config.task.unregistered or config.model.unregistered or config.model.no_outputs:
        raise InputError(reason)
    make_folder(path)
    refuse_to_replace(path, overwrite)
    check_room(path, layout.size_on_disk(config))
    lock = RunLock(path)
    with released_on_error(lock):
        numerics, state = choice.numerics(config), initial_state(config)
        layout.create(path, config, versions(), numerics, state, parent=parent, replace=overwrite)
        set_aside(path, say)  # it belongs to an earlier file of this name
    return advance_to_the_end(lock, config, choice, start=start, progress=progress)


def refuse_without_examples(config: Config) -> None:
    """Raise an `InputError` if the task has no training examples, such as one whose split is unknown."""
    if not config.task.train_size:
        config.task.train_data(config.seeds[0])  # the task 'arrays' says what it needs
        raise InputError(f"The task '{config.task.kind}' has no training examples here. Set task.draw or the data.")


def versions() -> dict[str, str]:
    """Versions of Python, the platform and the libraries that compute or store data, recorded in every run."""
    installed = {"python": python_version(), "platform": platform()}
    for name in ("grokking-circuits", "torch", "numpy", "scipy", "numba", "h5py", "xarray"):
        try:
            installed[name] = version(name)
        except PackageNotFoundError:
            installed[name] = "not installed"
    return installed


def advance_to_the_end(
    lock: RunLock, config: Config, choice: Choice, *, start: Start | None = None, progress: bool = True
) -> Run:
    """Train an existing run file from its last checkpoint to the last step of its config or an early stop.

    If the file has no checkpoint, training starts from `start`. If `start` is None too, training starts from a
    checkpoint of the run that the file names as its parent, or from the initialization if the file names no parent. The
    file's lock is released when training ends.
    """
    path = lock.path_of_run
    with (
        saying_how_to_resume(path),
        Writer(path, lock, say=say) as writer,
        stop_requests() as stop,
        closing(Session(writer, config, choice, start, progress)) as session,
    ):
        if not session.iterate(stop):
            writer.flush()
            saved = f"{writer.n_checkpoints} of {len(config.checkpoint_steps())} checkpoints are saved"
            raise Interrupted(f"Stopped; {saved}. Continue: circuits train --resume --out {path}")
        writer.cut()
    return open_run(path)


class Session:
    """Trains the networks of a run file from its last checkpoint on; the file's `writer` stores each new checkpoint.

    If the file has no checkpoint, training begins at the argument `start`, or at `start_of(run)` if `start` is None.
    If epochs, device, hardware or libraries differ from those in the file, `writer` records the change in the file.
    """

    def __init__(self, writer: Writer, config: Config, choice: Choice, start: Start | None, progress: bool) -> None:
        run = Run(writer.path, writer.file)
        if run.n_checkpoints:
            parameters = {str(name): values[-1].values for name, values in run.parameters.items()}
            start = Start(int(run.steps[-1]), parameters, writer.optimizer_state, metrics_at(run, -1))
        self._start = start or start_of(run)
        self._writer, self._config, self._data = writer, config, run.all_data
        self._early_stop = EarlyStop(config, run.metrics["test_accuracy"].values)
        longer, elsewhere = config != run.config, choice.numerics(config) != run.numerics
        if longer or elsewhere:  # after every damaged file has been refused
            writer.amend(config if longer else None, writer.n_checkpoints if elsewhere else None)
        self._stepper = choice.path(config, run.all_data, self._start, choice.device)
        self._bar = progress_bar(
            total=config.total_steps, initial=self._start.step, desc=config.name, unit="step", shown=progress
        )
        self._bar.set_postfix_str(self._stepper.preparing)
        self._saved = time.monotonic()

    def iterate(self, stop: threading.Event) -> bool:
        """Train to each checkpoint and write it to file, until `stop` is set; return whether the run is finished."""
        config, start = self._config, self._start
        n_kept, targets = self._writer.n_checkpoints, config.checkpoint_steps()[self._writer.n_checkpoints :]
        further, pace = further_metrics(config, self._data), Pace(config, start.metrics)
        rows = trajectory(self._stepper, config, start.step, targets, stop, self._moved, pace, further)
        with closing(rows):
            for index, (step, row) in enumerate(zip(targets, rows, strict=False), n_kept):  # a stop ends the rows early
                if self._keep(index, step, row):
                    return True
        return not targets

    def _keep(self, index: int, step: int, row: Row) -> bool:
        """Write a checkpoint, and the optimizer's state when due, to the file; return whether the run is finished."""
        config, writer, accuracy = self._config, self._writer, row["metrics/test_accuracy"]
        kept = {name: row[name] for name in writer.names}  # a file of an earlier version has fewer metrics
        writer.append(step, step / config.steps_per_epoch, kept)
        self._bar.set_postfix_str(f"test accuracy {accuracy.min():.2f} to {accuracy.max():.2f}", refresh=False)
        every = config.checkpoints.optimizer_state_every if config.optimizer.moments else None
        if every and index % every == 0:
            writer.flush()
            writer.keep_state(step, self._stepper.optimizer_state())
        finished = step == config.total_steps or self._early_stop.after(accuracy)
        if finished or time.monotonic() - self._saved > STATE_SECONDS:
            writer.save_state(self._stepper.optimizer_state())
            self._saved = time.monotonic()
        return finished

    def _moved(self, step: int) -> None:
        bar = self._bar
        if step > bar.n and bar.postfix == self._stepper.preparing:
            bar.set_postfix_str("", refresh=False)
        bar.update(step - bar.n)

    def close(self) -> None:
        """Close the progress bar and the stepper, the object that holds and updates the networks."""
        self._bar.close()
        self._stepper.close()


def say(text: str) -> None:
    tqdm.write(printable(text), file=sys.stderr)


def _resumable(
    config: Config | None, path: Path, device: str, kernel: str, allow_different_numerics: bool
) -> tuple[Config, Choice | None]:
    """The config to resume with, and the `Choice` of device and kernel, which is None if the run is complete."""
    with open_run(path) as run:
        stored = run.config
        if reason := stored.task.unregistered or stored.model.unregistered:
            raise InputError(f"{path} cannot be resumed: {reason}")
        config = stored if config is None else config.replace(source=stored.source)  # a text that changes no number
        if config != stored.replace(epochs=config.epochs):
            raise InputError(
                f"{path} was made with another config ({_first_difference(stored, config)}). "
                f"resume=True takes its config from the file; only more epochs may differ."
            )
        if config.task.has_data:
            for name, values in layout.run_data(config):
                if not np.array_equal(run.all_data[name].values, values):
                    raise InputError(
                        f"{path} was trained on other data: {name} differs from the arrays of the task "
                        f"'{config.task.kind}'. Pass the same arrays, or another path for a new run."
                    )
        if config.epochs < stored.epochs:
            raise InputError(
                f"{path} plans {stored.epochs} epochs; epochs={config.epochs} cannot shorten it. Pass more epochs."
            )
        if run.is_complete and config == stored:
            return config, None
        if run.stopped_early:
            raise InputError(f"{path} has met its stop rule ({stored.stop!r}): more epochs would change nothing.")
        if config != stored and stored.optimizer.lr_cosine:
            raise InputError(
                f"{path} has a learning rate that falls to 0 at its last step, so more epochs would change every "
                f"update. Train a new run instead."
            )
        if config != stored and int(stored.total_steps) not in config.checkpoint_steps():
            raise InputError(
                f"{path} cannot be extended to {config.epochs} epochs: it ends with a checkpoint at step "
                f"{stored.total_steps}, but a run of {config.epochs} epochs has no checkpoint at this step. "
                f"Train a new run instead."
            )
        if is_packed(run.hdf5):
            raise InputError(
                f"{path} is compressed, so a kill while it is written could damage it. Unpack it, then resume NEW.h5: "
                f"h5repack -j 2 -k 2 -f NONE {path} NEW.h5"
            )
        choice = choose_path(config, device, kernel)
        before, here = run.numerics, choice.numerics(config)
        changed = sorted(key for key in before.keys() | here.keys() if before.get(key) != here.get(key))
        if changed and not allow_different_numerics:
            key = changed[0]
            raise InputError(
                f"{path} was computed with {key} {before.get(key)!r}; here {key} is {here.get(key)!r}, so the bits "
                f"would differ from an uninterrupted run. Pass allow_different_numerics=True to resume nevertheless."
            )
        return config, choice


def _first_difference(stored: Config, wanted: Config) -> str:
    old, new = stored.leaves(), wanted.leaves()
    key = next(key for key in [*old, *new] if key != "epochs" and old.get(key) != new.get(key))
    return f"{key}: {old.get(key)!r} there, {new.get(key)!r} asked"


def refuse_to_replace(path: Path, overwrite: bool) -> None:
    """Raise an `InputError` if `path` exists, unless `overwrite` is True and it is a run file not being written."""
    if path.is_dir():
        raise InputError(f"{path} is a folder. Pass a file in it, such as {path / 'run.h5'}.")
    if path.exists():
        if not overwrite:
            raise layout.already_there(path)
        if (process := writer_pid(path)) is not None:
            raise being_written(path, process)
        try:
            open_run(path).close()
        except InputError as error:
            raise InputError(f"overwrite=True replaces runs only: {error}") from None


def check_room(path: Path, needed: int) -> None:
    """Refuse a run whose `needed` bytes exceed the file-size limit or free space; a replaced file counts as free."""
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    if limit != resource.RLIM_INFINITY and needed > limit:
        raise InputError(
            f"{path} needs {needed / 1e3:.0f} kB, but the limit for a file is {limit / 1e3:.0f} kB. "
            f"{REMEDIES[errno.EFBIG]}, or keep fewer checkpoints (checkpoints.every_epochs=10)."
        )
    free = shutil.disk_usage(path.parent).free + (path.stat().st_blocks * 512 if path.exists() else 0)
    if needed + SPARE_BYTES > free:
        raise InputError(
            f"{path} needs {max(needed, 1e6) / 1e6:.0f} MB and {SPARE_BYTES / 1e6:.0f} MB of spare room, "
            f"but {path.parent} has {free / 1e6:.0f} MB free. Make room, pass another path, or keep fewer "
            f"checkpoints (checkpoints.every_epochs=10)."
        )


@contextmanager
def released_on_error(lock: RunLock) -> Iterator[None]:
    """Release the lock of a run file if the `with` block fails."""
    try:
        yield
    except BaseException:
        lock.release()
        raise
