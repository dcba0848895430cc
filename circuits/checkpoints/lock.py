"""One writer per run: an advisory lock beside the file, with the writer's process id inside, and a mark on the file.

The lock is there before the file is; the mark (`mark.py`) is seen through every name that the file has.

HDF5's own locks are not used: a reader that died holding one would keep a run from being resumed.
"""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

from circuits.checkpoints.mark import Mark, marked_by
from circuits.errors import InputError

ATTEMPTS = 100  # at a lock that somebody looks at


class RunLock:
    """Held while a run is written; a second writer is refused, naming the first.

    Raises
    ------
    InputError
        Another process holds it.
    """

    def __init__(self, path: Path) -> None:
        self.path_of_run, self.path = path, lock_path(path)
        self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        holder = self._holder()
        if holder is not None:
            os.close(self._descriptor)
            raise being_written(path, holder)
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, str(os.getpid()).encode(), 0)
        self._mark: Mark | None = None
        if path.exists():
            try:
                self.mark()
            except BaseException:
                self.release()
                raise

    def mark(self) -> None:
        """Mark the file that is there now; to be called again once it has been made or replaced."""
        before, self._mark = self._mark, Mark(self.path_of_run)
        if before is not None:
            before.release()
        if (process := self._mark.other()) is not None:
            raise being_written(self.path_of_run, process)

    def _holder(self) -> str | None:
        """Take the lock, or tell who has it. `writer_pid` has it for an instant, without a name: then try again."""
        for _ in range(ATTEMPTS):
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                name = os.pread(self._descriptor, 100, 0).decode()
                if name:
                    return name
                time.sleep(0.01)
            else:
                return None
        return "unknown"

    def release(self) -> None:
        """Let the next writer in. The lock file stays: removing it would race with a writer that just opened it."""
        if self._mark is not None:
            self._mark.release()
        os.ftruncate(self._descriptor, 0)
        os.close(self._descriptor)

    def __enter__(self) -> RunLock:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def being_written(path: Path, holder: str | int) -> InputError:
    """The error for a file that another process is writing."""
    return InputError(
        f"{path} is being written by process {holder}. Wait for it, stop it, or pass --out for another file."
    )


def lock_path(path: Path) -> Path:
    """Where the lock of a run lies: beside the file itself, whatever symbolic link leads to it.

    Examples
    --------
    >>> lock_path(Path("checkpoints/a.h5")).name
    'a.h5.lock'
    """
    path = path.resolve()
    return path.with_name(path.name + ".lock")


def writer_pid(path: Path) -> int | None:
    """Process that is writing the run now, or None."""
    try:
        descriptor = os.open(lock_path(path), os.O_RDONLY)
    except OSError:
        return marked_by(path)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        text = os.read(descriptor, 100).decode()
        return int(text) if text.isdigit() else None
    finally:
        os.close(descriptor)
    return marked_by(path)
