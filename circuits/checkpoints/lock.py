"""One writer per run: an advisory lock beside the file, with the writer's process id inside.

HDF5's own locks are not used: a reader that died holding one would keep a run from being resumed.
"""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

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
        self.path = lock_path(path)
        self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        holder = self._holder()
        if holder is not None:
            os.close(self._descriptor)
            raise being_written(path, holder)
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, str(os.getpid()).encode(), 0)

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
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        text = os.read(descriptor, 100).decode()
        return int(text) if text.isdigit() else None
    finally:
        os.close(descriptor)
    return None
