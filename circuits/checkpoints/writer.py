"""The writer of a run: it appends checkpoints so that a kill at any moment loses no committed checkpoint.

A checkpoint is committed in two phases: first the writer writes and flushes all its data and their digests; then it
writes the checkpoint's entry in `step`. Readers, and the writer itself after a kill, count the written entries of
`step` (`commits.py`). Both phases write data only, into space that was allocated when the file was created. No metadata
block of HDF5 changes, so the file opens after a kill at any byte. The few other operations that change such blocks can
be undone (`undo.py`). Readers in other processes may keep the file open (HDF5's single-writer-multiple-reader mode).
Files of format version 1 grow with each commit, and have no digests. `resume_point.py` describes how a run resumes.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, KeysView, Mapping
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

import h5py
import numpy as np

from circuits.atomic_write import scratch
from circuits.checkpoints.commits import UNWRITTEN, n_committed, planned_checkpoints, planned_states
from circuits.checkpoints.digests import METRICS, checksum, digest, metrics_as_rows, row_digests
from circuits.checkpoints.layout import COMMIT, in_file, of_state, padded
from circuits.checkpoints.lengths import along_steps, cut_to, uncommitted
from circuits.checkpoints.lock import RunLock
from circuits.checkpoints.overwrite import overwrite, overwrite_rows
from circuits.checkpoints.put_back import copy_of_version_1, put_back
from circuits.checkpoints.resume_point import resume_point
from circuits.checkpoints.undo import undoable
from circuits.checkpoints.unregistered import parsed
from circuits.checkpoints.writable import make_writable, open_for_appending
from circuits.config import Config
from circuits.errors import InputError, RunError, refusal, remedy

BUFFERED_CHECKPOINTS = 8
BUFFERED_SECONDS = 0.5


class Writer:
    """Writer of a run file; a run has one writer at a time.

    Opening mends the file if its last writer was killed, reads the newest intact optimizer state, and drops checkpoints
    after this state. `append` may hold a few checkpoints in memory for up to half a second; `flush` writes them.

    Parameters
    ----------
    path
        A run file that `layout.create` made.
    lock
        The run's lock, if the caller has it already; closing the writer releases it.
    say
        Function that gets one line if checkpoints are dropped or an unusable `.undo` file (metadata copy) is renamed.
    buffered
        Checkpoints that `append` holds in memory at most.

    Attributes
    ----------
    file
        The open HDF5 file.
    metric_names
        Names "metrics/NAME" of a checkpoint's metrics.
    n_checkpoints
        Number of checkpoints completely written so far.
    optimizer_state
        The optimizer's state by name at checkpoint `n_checkpoints - 1`; empty for optimizers without state.

    Raises
    ------
    InputError
        Another process writes the run.
    RunError
        `append` or `flush` could not write; checkpoints written before stay readable and resumable.
    """

    def __init__(
        self,
        path: Path,
        lock: RunLock | None = None,
        *,
        say: Callable[[str], object] = lambda text: None,
        buffered: int = BUFFERED_CHECKPOINTS,
    ) -> None:
        self.path, self._say, self._buffered = path, say, buffered
        self._state: Callable[[], Mapping[str, np.ndarray]] | None = None
        self._lock = lock or RunLock(path)
        self._pending: list[tuple[int, float]] = []  # step and epoch of each checkpoint in the buffers
        self._buffers: dict[str, np.ndarray] = {}
        self._last_commit = time.monotonic()
        self._abandoned, self._copy = False, None
        self._trajectories: dict[str, h5py.Dataset] = {}
        self._digests: dict[str, h5py.Dataset] = {}
        self._slots: list[dict[str, h5py.Dataset]] = []  # arrays of a slot: "sequence", "state/NAME", …
        self.n_checkpoints = 0
        self.metric_names: tuple[str, ...] = ()
        try:
            self._lock.mark()
            make_writable(path, say)
            self._copy = copy_of_version_1(path, say)
            self.file = open_for_appending(path)
            self._take_up()
        except BaseException as error:
            if hasattr(self, "file"):
                self.close(flush=False)
            else:
                self._lock.release()
                if self._copy is not None and isinstance(error, InputError):  # nothing was written
                    self._copy.unlink()
            raise

    def _take_up(self) -> None:
        """Find the checkpoint to continue from, and drop later checkpoints."""
        self._plan(parsed(json.loads(self.file.attrs["config"]), self.file))
        self._step, self._epoch = self.file["step"], self.file["epoch"]
        self._digests = dict(self.file["digests"].items()) if "digests" in self.file else {}
        labels = self._digests["digested"][:].tolist() if self._digests else []
        self._digested_names = [label.decode() for label in labels]
        self._trajectories = {
            f"{group}/{name}": dataset
            for group in ("parameters", "metrics")
            for name, dataset in self.file[group].items()
            if name not in COMMIT and dataset.ndim >= 2
        }
        self.metric_names = tuple(name for name in self._trajectories if name.startswith("metrics/"))
        self._buffers = {
            name: np.empty((self._buffered, *dataset.shape[1:]), dataset.dtype)
            for name, dataset in self._trajectories.items()
        }
        self._slots = [_arrays_in(self.file[f"resume/slot{index}"]) for index in (0, 1)]
        point = resume_point(self.file, self._planned, self._planned_states)
        self.n_checkpoints, self.optimizer_state, self._sequence = point
        n_dropped = n_committed(self._step[:], self._planned) - self.n_checkpoints
        if n_dropped:
            self._say(
                f"{self.path}: the newest intact optimizer state is that of checkpoint {self.n_checkpoints - 1}. "
                f"Checkpoints to compute again: {n_dropped} after it."
                if self.n_checkpoints
                else f"{self.path}: no optimizer state is intact. Checkpoints to compute again: all {n_dropped}."
            )
        with self._explained():
            self._lengthen()
            self._take_back()

    def _plan(self, config: Config) -> None:
        self._config = config
        self._planned, self._planned_states = planned_checkpoints(config), planned_states(config)

    @property
    def names(self) -> KeysView[str]:
        """Names of a checkpoint's arrays in this file: "parameters/NAME" and "metrics/NAME"."""
        return self._trajectories.keys()

    def amend(self, config: Config | None = None, other_numerics_since: int | None = None) -> None:
        """Store a config with more epochs, or the index of the first checkpoint from a machine that rounds differently.

        Both are attributes of constant size, so HDF5 overwrites them in place while other processes read the file.
        """
        attributes = self.file.attrs
        text = None if config is None else padded(config, attributes["config"].dtype.itemsize)
        with self._explained(), undoable(self.path, self.file):
            if text is not None:
                attributes.modify("config", text)
                if "config_digest" in attributes:
                    attributes.modify("config_digest", np.uint64(digest(attributes["config"].tobytes())))
            if other_numerics_since is not None and attributes["other_numerics_since"] < 0:
                attributes.modify("other_numerics_since", np.int64(other_numerics_since))
        if config is not None:
            self._plan(config)
            with self._explained():
                self._lengthen()

    def append(
        self,
        step: int,
        epoch: float,
        values: Mapping[str, np.ndarray],
        state: Callable[[], Mapping[str, np.ndarray]] | None = None,
    ) -> None:
        """Add one checkpoint.

        Parameters
        ----------
        step, epoch
            Optimizer updates, and passes over the training set, so far.
        values
            All arrays of a checkpoint: "parameters/NAME" (seed, …) and "metrics/NAME" (seed,). A missing or unknown
            name raises ValueError, and so does a wrong shape, which HDF5 would broadcast silently.
        state
            Function that returns the optimizer's state at this checkpoint, called when the checkpoint is committed.
        """
        if values.keys() != self._trajectories.keys():
            raise ValueError(f"a checkpoint needs exactly {sorted(self._trajectories)}, got {sorted(values)}")
        for name, buffer in self._buffers.items():
            if values[name].shape != buffer.shape[1:]:
                raise ValueError(f"{name} has shape {values[name].shape}, the run needs {buffer.shape[1:]}")
        for name, buffer in self._buffers.items():
            buffer[len(self._pending)] = values[name]
        self._pending.append((step, epoch))
        self._state = state
        full = len(self._pending) >= self._buffered
        if full or time.monotonic() - self._last_commit > BUFFERED_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write to the file the checkpoints that `append` holds in memory."""
        if self._pending:
            with self._explained():
                self._commit()

    def save_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Save the optimizer's state at the newest checkpoint. The file keeps this state and the one saved before."""
        self.flush()
        if not state:
            return
        with self._explained():
            self._write_state(state, self.n_checkpoints)
            self.file.flush()

    def _write_state(self, state: Mapping[str, np.ndarray], n_checkpoints: int) -> None:
        """Write into the older slot the state at checkpoint `n_checkpoints - 1`, which may not be committed yet."""
        self._sequence += 1
        slot = self._slots[self._sequence % 2]
        for name, values in state.items():
            overwrite(slot[f"state/{self._in_file(name)}"], values)
        overwrite(slot["n_checkpoints"], n_checkpoints)
        overwrite(slot["crc32"], checksum(state, self._sequence, n_checkpoints))
        overwrite(slot["sequence"], self._sequence)

    def reserved_state(self) -> dict[str, np.ndarray]:
        """Every array of the optimizer's state that the file has room for, by name; the values are any."""
        names = [(name.removeprefix("state/"), name) for name in self._slots[0] if name.startswith("state/")]
        return {of_state(short) if self._digests else short: self._slots[0][name][()] for short, name in names}

    def keep_state(self, step: int, state: Mapping[str, np.ndarray]) -> None:
        """Store the optimizer's state after `step` updates, for replay: first its arrays, then its step number."""
        group, at = self.file["optimizer"], self._n_states()
        with self._explained():
            for name, values in state.items():
                overwrite_rows(group[self._in_file(name)], at, values[None])
            if "optimizer" in self._digests:
                names = sorted(state, key=self._in_file)
                digests = [row_digests(state[name][None])[0] for name in names]  # (kept, seed)
                overwrite_rows(self._digests["optimizer"], at, np.stack(digests, axis=-1)[None])
            self.file.flush()
            overwrite_rows(self.file["state_step"], at, np.array([step]))
            self.file.flush()

    def _n_states(self) -> int:
        steps = self.file.get("state_step")
        return 0 if steps is None else n_committed(steps[:], self._planned_states, "state_step")

    def cut(self) -> None:
        """Shorten every array to its completely written rows, for a run that ended earlier than planned."""
        self.flush()
        with self._explained():
            lengths = {"step": self.n_checkpoints, "state_step": self._n_states()}
            cut_to(self.path, self.file, uncommitted(self.file, lengths))

    def close(self, *, flush: bool = True) -> None:
        """Write the checkpoints that `append` holds in memory, close the file, and release the lock."""
        try:
            if flush:
                self.flush()
        finally:
            self._trajectories.clear()
            self._digests.clear()
            self._slots.clear()
            try:
                with suppress(OSError, RuntimeError) if self._abandoned else nullcontext():
                    self.file.close()
                if self._copy is not None and not self._abandoned:
                    self._copy.unlink()
            finally:
                self._lock.release()

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.close(flush=kind is None or not issubclass(kind, RunError))

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn a failed write into a RunError that says how much is saved and how much disk space is needed."""
        try:
            yield
        except (OSError, RuntimeError) as error:
            self._abandon()
            with suppress(OSError, InputError):
                put_back(self.path, keeps=False)  # a change of metadata that was refused half-way
            needed = len(self._pending) * sum(buffer[0].nbytes for buffer in self._buffers.values())
            free = shutil.disk_usage(self.path.parent).free
            raise RunError(
                f"{self.path}: writing failed ({refusal(error)}). The first {self.n_checkpoints} checkpoints are "
                f"saved; the next {len(self._pending) or 1} need {max(needed, 1 << 20) / 1e6:.0f} MB, and "
                f"{free / 1e6:.0f} MB are free. {remedy(error)}, then continue: "
                f"{self._config.resume_hint(self.path)}"
            ) from error

    def _abandon(self) -> None:
        """End all writes to the run file, as if this process were killed now; the file is then safe to read and resume.

        By itself, HDF5 would still write its caches when the file is closed and when the process ends. By then, another
        process may write the file. So the file's descriptor is redirected to scratch memory.
        """
        self._abandoned = True
        with scratch() as nowhere:
            os.dup2(nowhere.fileno(), self.file.id.get_vfd_handle())

    def _commit(self) -> None:
        start, n_rows = self.n_checkpoints, len(self._pending)
        rows = {name: buffer[:n_rows] for name, buffer in self._buffers.items()}
        state = {} if self._state is None else self._state()
        for name, values in rows.items():
            overwrite_rows(self._trajectories[name], start, values)
        overwrite_rows(self._epoch, start, np.array([epoch for _, epoch in self._pending]))
        if "checkpoint" in self._digests:
            overwrite_rows(self._digests["checkpoint"], start, self._digested(rows))
        if state:  # before the commit, so that no committed checkpoint is without its state
            self._write_state(state, start + n_rows)
        self.file.flush()
        overwrite_rows(self._step, start, np.array([step for step, _ in self._pending]))
        self.file.flush()
        self.n_checkpoints = start + n_rows
        self._pending.clear()
        self._last_commit = time.monotonic()

    def _digested(self, rows: Mapping[str, np.ndarray]) -> np.ndarray:
        """(step, seed, digest) digests of `rows`: one digest for each parameter, and one for all metrics together."""
        metrics = {name: values for name, values in rows.items() if name.startswith("metrics/")}
        digests = [
            row_digests(metrics_as_rows(metrics) if name == METRICS else rows[f"parameters/{name}"])
            for name in self._digested_names
        ]
        return np.stack(digests, axis=-1)

    def _in_file(self, state: str) -> str:
        return in_file(state) if self._digests else state  # version 1 has no digests, and the state's own names

    def _lengthen(self) -> None:
        """In a file of version 2, extend every array along `step` or `state_step` to its planned length."""
        if not self._digests:
            return
        lengths = {"step": len(self._planned), "state_step": len(self._planned_states)}
        short = [
            (dataset, lengths[commit]) for commit, dataset in along_steps(self.file) if len(dataset) < lengths[commit]
        ]
        if short:
            with undoable(self.path, self.file):
                for dataset, length in reversed(short):  # `step` last, for live readers
                    dataset.resize(length, axis=0)

    def _take_back(self) -> None:
        """In the arrays `step` and `state_step`, erase all entries of steps later than the newest kept checkpoint.

        Partly written entries are erased too. The erasure starts with the last entry. So a kill leaves at most one
        partly erased entry, which `commits.py` recognizes.
        """
        unwrite(self._step, self.n_checkpoints)
        if "state_step" in self.file:
            last = self._planned[self.n_checkpoints - 1] if self.n_checkpoints else -1
            steps = self.file["state_step"]
            unwrite(steps, int((steps[: self._n_states()] <= last).sum()))
        self.file.flush()


def _arrays_in(group: h5py.Group) -> dict[str, h5py.Dataset]:
    """Every array in a group and its subgroups by its path: in HDF5, a lookup takes longer than a small write."""
    arrays: dict[str, h5py.Dataset] = {}
    group.visititems(lambda path, item: arrays.update({path: item}) if isinstance(item, h5py.Dataset) else None)
    return arrays


def unwrite(steps: h5py.Dataset, n_kept: int) -> None:
    """Keep the first `n_kept` entries of an array; set the others to -1 (unwritten), one by one, the last one first."""
    written = np.flatnonzero(steps[:] != UNWRITTEN)
    for at in written[written >= n_kept][::-1].tolist():
        steps[at] = UNWRITTEN
        steps.file.flush()
