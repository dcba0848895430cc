"""The training loop: from checkpoint to checkpoint, every seed, nothing lost on the way.

A row of all seeds at a checkpoint goes to the writer, while the networks may already be on their way to the next ones.
Because every draw is a function of (seed, epoch) or (seed, step), going on from a stored checkpoint gives the same bits
as never having stopped.
"""

from __future__ import annotations

import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from platform import platform, python_version
from typing import Any

from tqdm import tqdm

from circuits.atomic_write import make_folder
from circuits.checkpoints import layout
from circuits.checkpoints.lock import RunLock, being_written, writer_pid
from circuits.checkpoints.recover import was_killed
from circuits.checkpoints.repair import is_longer, make_plain, mend
from circuits.checkpoints.run import Run, open_run
from circuits.checkpoints.writer import Writer
from circuits.config import Config
from circuits.errors import InputError, Interrupted
from circuits.training.early_stop import EarlyStop
from circuits.training.extra_metrics import further_metrics
from circuits.training.rates import Pace
from circuits.training.start import Start, metrics_at, start_of
from circuits.training.steppers import choose_kernel, initial_state, make_stepper, numerics
from circuits.training.trajectory import trajectory

SPARE_BYTES = 16 << 20
STATE_SECONDS = 1.0  # how much training a kill may cost, where the optimizer has state


def train(
    config: Config | None,
    path: str | Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    device: str = "auto",
    kernel: str = "auto",
    allow_different_numerics: bool = False,
    progress: bool = True,
) -> Run:
    """Train what `config` describes into the run file `path`, keeping every checkpoint.

    Parameters
    ----------
    config
        What to run. With `resume` it may be None; otherwise it may differ from the file's only by more epochs.
    path
        The run file; its folder is made if need be.
    resume
        Go on with an interrupted run, or extend a finished one. A complete run is returned as it is.
    overwrite
        Replace an existing file; never one that is being written.
    device
        "auto" takes the fused CPU path where it applies and otherwise the best torch device there is: batched on cuda.
    kernel
        "auto", "fused", "batched" (torch, all seeds as one), "prepared" (torch, a model's faster forward pass), or
        "reference": torch autograd, slow and obvious.
    allow_different_numerics
        Resume although arithmetic, processor or libraries differ: the bits are then not those of an uninterrupted run.
    progress
        A progress bar on stderr, when that is a terminal.

    Returns
    -------
    The finished run, opened for reading.

    Raises
    ------
    InputError
        The file exists, is being written, or does not fit the config; the device does not exist; no room on disk.
    RunError
        The file system refused a write; what was committed is saved.
    Interrupted
        Ctrl-C or SIGTERM; what was trained up to the last checkpoint is saved.

    Examples
    --------
    >>> import circuits, tempfile
    >>> config = circuits.preset("merrill-2023").replace(model__width=8, task__n_train=32, epochs=2, seeds=[0])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     run = circuits.train(config, f"{folder}/tiny.h5", progress=False)
    ...     run.steps.tolist()
    [0, 1, 2]
    """
    path = Path(path)
    if resume and overwrite:
        raise InputError("Pass resume or overwrite, not both.")
    if resume:
        mend(path)
        open_run(path).close()  # says what is wrong with it, before a lock file is left beside
        lock = RunLock(path)
        with released_on_error(lock):
            config, numbers, others = _resumable(config, path, device, kernel, allow_different_numerics)
            if numbers is None and (was_killed(path) or is_longer(path)):  # after its last checkpoint
                make_plain(path)
            if numbers is not None:
                check_room(path, layout.size_on_disk(config))
        if numbers is None:
            lock.release()
            return open_run(path)
    else:
        if config is None:
            raise InputError("A new run needs a config; circuits.preset('merrill-2023') is one.")
        numbers = numerics(config, *choose_kernel(config, device, kernel))
        return begin(path, config, numbers, overwrite=overwrite, progress=progress)
    advance_to_the_end(path, lock, config, numbers, other_numerics=others, progress=progress)
    return open_run(path)


def begin(
    path: Path,
    config: Config,
    numbers: dict[str, Any],
    *,
    parent: dict[str, Any] | None = None,
    start: Start | None = None,
    overwrite: bool = False,
    progress: bool = True,
) -> Run:
    """Make a run file and train it to its end: a new run, or one that begins where its `parent` was.

    Parameters
    ----------
    path, config, numbers
        The file, what to run, and the numerics that serve it.
    parent, start
        What the file says of the run it comes from, and where it begins; by default at the initialization.
    overwrite, progress
        As in `train`.
    """
    make_folder(path)
    refuse_to_replace(path, overwrite)
    check_room(path, layout.size_on_disk(config))
    lock = RunLock(path)
    with released_on_error(lock):
        layout.create(path, config, versions(), numbers, initial_state(config), parent=parent, replace=overwrite)
    advance_to_the_end(path, lock, config, numbers, start=start, progress=progress)
    return open_run(path)


def versions() -> dict[str, str]:
    """Versions of Python, the platform and the libraries that matter, as stored in every run."""
    names = ("grokking-circuits", "torch", "numpy", "scipy", "numba", "h5py", "xarray")
    found = {"python": python_version(), "platform": platform()}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def advance_to_the_end(
    path: Path,
    lock: RunLock,
    config: Config,
    numbers: dict[str, Any],
    *,
    start: Start | None = None,
    other_numerics: bool = False,
    progress: bool = True,
) -> None:
    """Train a run file that exists from its last checkpoint to the last step of its config.

    Parameters
    ----------
    path, lock
        The run file and its lock, which is released at the end.
    config, numbers
        What to run, and the numerics that serve it.
    start
        Where a file without checkpoints begins; by default at the initialization.
    other_numerics
        Whether `numbers` are others than the file's: where they begin is then recorded there.
    progress
        A progress bar on stderr.
    """
    with _saying_how_to_resume(path), Writer(path, lock, say=_say) as writer, _stop_requests() as stop:
        run = Run(path, writer.file)
        if config != run.config or other_numerics:
            writer.amend(config if config != run.config else None, writer.n_checkpoints if other_numerics else None)
        if run.n_checkpoints:
            parameters = {str(name): values[-1].values for name, values in run.parameters.items()}
            start = Start(int(run.steps[-1]), parameters, writer.optimizer_state, metrics_at(run, -1))
        elif start is None:
            start = start_of(run)
        step = start.step
        stepper = make_stepper(config, run.all_data, start.parameters, start.state, numbers["path"], numbers["device"])
        bar = tqdm(
            total=config.total_steps, initial=step, desc=config.name, unit="step", file=sys.stderr,
            disable=None if progress else True,
        )  # fmt: skip
        bar.set_postfix_str(stepper.preparing)
        saved = time.monotonic()
        keeps_state = config.checkpoints.optimizer_state_every if config.optimizer.moments else None

        def moved(step: int) -> None:
            if step > bar.n and bar.postfix == stepper.preparing:
                bar.set_postfix_str("", refresh=False)
            bar.update(step - bar.n)

        targets = list(enumerate(config.checkpoint_steps()))[writer.n_checkpoints :]
        further = further_metrics(config, run.all_data)
        pace = Pace(config, start.metrics)
        rows = trajectory(stepper, config, step, [step for _, step in targets], stop, moved, pace, further)
        done = EarlyStop(config, run.metrics["test_accuracy"].values)
        finished = step == config.total_steps and writer.n_checkpoints > 0
        try:
            for (index, target), row in zip(targets, rows, strict=False):  # a stop leaves targets over
                step = target
                kept = {name: row[name] for name in writer.names}  # a file of an earlier version has fewer metrics
                writer.append(step, step / config.steps_per_epoch, kept)
                accuracy = row["metrics/test_accuracy"]
                finished = step == config.total_steps or done.after(accuracy)
                bar.set_postfix_str(f"test accuracy {accuracy.min():.2f} to {accuracy.max():.2f}", refresh=False)
                if keeps_state and index % keeps_state == 0:
                    writer.flush()
                    writer.keep_state(step, stepper.optimizer_state())
                if time.monotonic() - saved > STATE_SECONDS or finished:
                    writer.save_state(stepper.optimizer_state())
                    saved = time.monotonic()
                if finished:
                    break
            if finished:
                writer.cut()
            else:
                writer.flush()
                raise Interrupted(_how_to_resume(path, writer.n_checkpoints, config))
        finally:
            rows.close()
            bar.close()
            stepper.close()


def _say(text: str) -> None:
    tqdm.write(text, file=sys.stderr)


def _resumable(
    config: Config | None, path: Path, device: str, kernel: str, allow_different_numerics: bool
) -> tuple[Config, dict[str, Any] | None, bool]:
    """The config to go on with; the numerics here, None when nothing is left to do; whether they are others."""
    with open_run(path) as run:
        stored = run.config
        config = stored if config is None else config
        if config != stored.replace(epochs=config.epochs):
            raise InputError(
                f"{path} was made with another config ({_first_difference(stored, config)}). "
                f"--resume takes its config from the file; only a larger --epochs may differ."
            )
        if config.epochs < stored.epochs:
            raise InputError(
                f"{path} is planned for {stored.epochs} epochs; --epochs {config.epochs} cannot shorten it."
            )
        if run.is_complete and config == stored:
            return config, None, False
        if run.stopped_early:
            raise InputError(f"{path} has met its stop rule ({stored.stop!r}): more --epochs would change nothing.")
        if config != stored and stored.optimizer.lr_cosine:
            raise InputError(
                f"{path} has a learning rate that falls to 0 at its last step: with more --epochs it would have been "
                f"another run from the beginning. Train that instead."
            )
        if config != stored and int(stored.total_steps) not in config.checkpoint_steps():
            raise InputError(
                f"{path} keeps its last step, {stored.total_steps}, which is no checkpoint of {config.epochs} epochs. "
                f"Choose --epochs so that the checkpoints continue evenly."
            )
        numbers = numerics(config, *choose_kernel(config, device, kernel))
        changed = [key for key in run.numerics.keys() | numbers.keys() if run.numerics.get(key) != numbers.get(key)]
        if changed and not allow_different_numerics:
            key = sorted(changed)[0]
            raise InputError(
                f"{path} was computed with {key} {run.numerics.get(key)!r}, here it is {numbers.get(key)!r}: the bits "
                f"would differ from an uninterrupted run. Pass --allow-different-numerics to go on all the same."
            )
        return config, numbers, bool(changed)


def _first_difference(stored: Config, wanted: Config) -> str:
    def flat(data: dict[str, Any], prefix: str = "") -> dict[str, Any]:
        items: dict[str, Any] = {}
        for key, value in data.items():
            items |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
        return items

    old, new = flat(stored.model_dump()), flat(wanted.model_dump())
    key = next(key for key in [*old, *new] if key != "epochs" and old.get(key) != new.get(key))
    return f"{key}: {old.get(key)!r} there, {new.get(key)!r} asked"


def refuse_to_replace(path: Path, overwrite: bool) -> None:
    """Refuse an output that exists: unless it is a run that may be overwritten."""
    if path.is_dir():
        raise InputError(f"{path} is a folder. Pass a file in it to --out, such as {path / 'run.h5'}.")
    if path.exists():
        if not overwrite:
            raise layout.already_there(path)
        if (process := writer_pid(path)) is not None:
            raise being_written(path, process)
        try:
            open_run(path).close()
        except InputError as error:
            raise InputError(f"--overwrite replaces runs only: {error}") from None


def check_room(path: Path, needed: int) -> None:
    """Refuse to begin what will not fit on the disk, beside what is there or in its place."""
    free = shutil.disk_usage(path.parent).free + (path.stat().st_blocks * 512 if path.exists() else 0)
    if needed + SPARE_BYTES > free:
        raise InputError(
            f"{path} will take {needed / 1e6:.0f} MB and wants {SPARE_BYTES / 1e6:.0f} MB more to be free, but "
            f"{path.parent} has {free / 1e6:.0f} MB free. Make room, pass --out elsewhere, or keep fewer checkpoints "
            f"(--checkpoints.every-epochs)."
        )


def _how_to_resume(path: Path, n_checkpoints: int, config: Config) -> str:
    planned = len(config.checkpoint_steps())
    return (
        f"Stopped; {n_checkpoints} of {planned} checkpoints are saved. Continue: circuits train --resume --out {path}"
    )


@contextmanager
def _saying_how_to_resume(path: Path) -> Iterator[None]:
    try:
        yield
    except Interrupted:
        raise
    except KeyboardInterrupt:
        raise Interrupted(
            f"Stopped at once; every committed checkpoint is saved. Continue: circuits train --resume --out {path}"
        ) from None


@contextmanager
def _stop_requests() -> Iterator[threading.Event]:
    """Turn Ctrl-C and SIGTERM into an event while training; a second one interrupts at once."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    signals = (signal.SIGINT, signal.SIGTERM)
    before = {which: signal.getsignal(which) for which in signals}

    def restore() -> None:
        for which, handler in before.items():
            signal.signal(which, handler)

    def request(*_: object) -> None:
        stop.set()
        restore()

    for which in signals:
        signal.signal(which, request)
    try:
        yield stop
    finally:
        restore()


@contextmanager
def released_on_error(lock: RunLock) -> Iterator[None]:
    """Give the lock back if what follows fails."""
    try:
        yield
    except BaseException:
        lock.release()
        raise
