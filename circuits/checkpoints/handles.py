"""One open file per path and process, shared by every `Run` of this file, with one handle per dataset.

HDF5 keeps one state of a file per process. A dataset must be refreshed to show data that another process has added. If
a second handle of this dataset is open, the refresh corrupts the state of the file. A notebook opens the same run many
times. So this module opens the file once and counts its users; each dataset has one handle, used by one read at a time.
A new handle for each read would locate the chunks again, which takes longer than reading one checkpoint.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

from circuits.checkpoints.layout import COMMIT, FORMAT, FORMAT_VERSION, LIBRARY_VERSIONS
from circuits.checkpoints.lock import writer_pid
from circuits.checkpoints.policy import one_line
from circuits.checkpoints.recover import was_cut
from circuits.checkpoints.sandbox import validate
from circuits.checkpoints.unflagged import open_for_reading
from circuits.errors import InputError, damaged

SETTLED_NS = 2_000_000_000  # if the last change is older, the file's time stamp shows every change

_lock = threading.RLock()
_opened: dict[tuple[int, int], OpenedFile] = {}


class OpenedFile:
    """An HDF5 file open for reading, shared by all its `Run` objects."""

    def __init__(self, file: h5py.File, key: tuple[int, int] | None = None) -> None:
        self.file = file
        self._key = key
        self._users = 1
        self._handles: dict[str, h5py.Dataset] = {}
        self._digests: np.ndarray | None = None
        self._digested: list[str] = []
        self._looked_at = self._change()

    @contextmanager
    def dataset(self, name: str) -> Iterator[h5py.Dataset]:
        """Yield a dataset for one read, while other threads wait."""
        with _lock:
            if name not in self._handles:
                self._handles[name] = self.file[name]
            yield self._handles[name]

    def trajectories(self, group: str) -> list[str]:
        """Names of the group's arrays that have a row per checkpoint or, in the group "optimizer", per stored state."""
        with _lock:
            return [
                name
                for name, dataset in self.file[group].items()
                if name not in (*COMMIT, "state_step") and isinstance(dataset, h5py.Dataset) and dataset.ndim >= 2
            ]

    def digests(self, name: str, length: int) -> np.ndarray | None:
        """Digests (step, seed) of "parameters/NAME" or "metrics" at the first `length` checkpoints; None if absent."""
        with _lock:
            if "digests" not in self.file:
                return None
            if self._digests is None or len(self._digests) < length:
                with self.dataset("digests/checkpoint") as dataset:
                    self._digests = dataset[:length]
                self._digested = [name.decode() for name in self.file["digests/digested"][:].tolist()]
            return self._digests[:length, :, self._digested.index(name.removeprefix("parameters/"))]

    def refresh(self) -> None:
        """Update the lengths of all arrays if the file has changed."""
        with _lock:
            change = self._change()
            if change == self._looked_at and change[2]:
                return
            growing = [f"{group}/{name}" for group in ("parameters", "metrics") for name in self.trajectories(group)]
            if "optimizer" in self.file:
                growing += ["state_step", *(f"optimizer/{name}" for name in self.trajectories("optimizer"))]
            self._digests = None  # a resumed writer may have dropped checkpoints
            with self.dataset("step") as step:
                before = len(step)
                step.refresh()
                if len(step) != before:  # the plan has changed, but HDF5 keeps old attributes while a file is open
                    self._handles.clear()
                    if self._key is not None:  # otherwise it is the writer's own file
                        path = Path(self.file.filename)
                        self.file.close()
                        self.file = _open(path)
            for name in ("step", *growing, *(("digests/checkpoint",) if "digests" in self.file else ())):
                with self.dataset(name) as dataset:
                    dataset.refresh()
            self._looked_at = change

    def release(self) -> None:
        """Unregister one user of the file; the last user's release closes the file."""
        with _lock:
            self._users -= 1
            if self._users == 0 and self._key is not None:
                _opened.pop(self._key, None)
                self._handles.clear()
                self.file.close()

    def _change(self) -> tuple[int, int, bool]:
        """File size, time of the last change in ns, and whether this change is older than SETTLED_NS (2 s)."""
        status = os.fstat(self.file.id.get_vfd_handle())
        return status.st_size, status.st_mtime_ns, time.time_ns() - status.st_mtime_ns > SETTLED_NS


def opened(path: Path) -> OpenedFile:
    """The open run file, which all its readers in this process share. The file is checked before it is opened.

    Raises
    ------
    InputError
        There is no such file, it is not a run, it is damaged, or this process has opened it in another mode.
    """
    if not path.exists():
        beside = sorted(str(other) for other in path.parent.glob("*.h5")) if path.parent.is_dir() else []
        hint = f"There are: {', '.join(beside)}." if beside else "`circuits train` makes runs."
        raise InputError(f"{path} does not exist. {hint}")
    if path.is_dir():
        raise InputError(f"{path} is a folder. Pass the run file in it, such as {path / 'run.h5'}.")
    with _lock:
        status = os.stat(path)
        key = (status.st_dev, status.st_ino)
        if key in _opened:
            _opened[key]._users += 1
            _opened[key].refresh()
            return _opened[key]
        if was_cut(path) and writer_pid(path) is None and was_cut(path):  # a writer may just have ended
            raise InputError(f"{path}: a kill interrupted the last change of this file. Run `circuits repair {path}`.")
        validate(path, FORMAT, FORMAT_VERSION)
        try:
            file = _open(path)
        except (OSError, RuntimeError) as error:
            raise InputError(
                f"{path} cannot be opened: {one_line(error)}. If this process has it open with another library, or for "
                f"writing, close it there first."
            ) from error
        try:
            _opened[key] = OpenedFile(file, key)
        except (KeyError, OSError, RuntimeError) as error:
            file.close()
            raise damaged(path, one_line(error)) from error
        return _opened[key]


def _open(path: Path) -> h5py.File:
    """Open a file for reading in SWMR mode, or in plain mode if another library in this process uses plain mode."""
    try:
        return open_for_reading(path, swmr=True, rdcc_nbytes=0, libver=LIBRARY_VERSIONS)
    except OSError as error:
        if "SWMR read access flag not the same" not in str(error):
            raise
        return open_for_reading(path)


def _forget() -> None:
    """Drop all handles in a forked process, which opens new ones: processes must not share a file position."""
    global _lock
    _lock = threading.RLock()
    _opened.clear()


os.register_at_fork(after_in_child=_forget)
