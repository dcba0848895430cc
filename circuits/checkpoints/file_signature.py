"""The writer's mark on the run file itself, visible through every name of the file, hard links included.

The mark is a lock on one byte far beyond the end of the file: byte 2⁴⁰ + process id. It is a shared "open file
description" lock of Linux: it disturbs neither HDF5's own locks nor readers, and always ends with the process. The
number of the locked byte tells which process writes. On other systems, and on file systems without such locks, a run
has no mark, and only the lock file beside the run keeps a second writer away.
"""

import fcntl
import os
import struct
import sys
from contextlib import suppress
from pathlib import Path

FIRST = 1 << 40
_FLOCK = struct.Struct("@hhqqi4x")  # l_type, l_whence, l_start, l_len, l_pid


class Mark:
    """The mark on a run file during writing: a lock on one byte, which other processes can see.

    A writer looks for `other` marks after it sets its own, so of two writers at least one sees the other.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile() as file:
    ...     mark = Mark(Path(file.name))
    ...     mark.other()
    ...     mark.release()
    """

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDONLY) if sys.platform == "linux" else None
        if self._descriptor is not None:
            try:
                fcntl.fcntl(self._descriptor, fcntl.F_OFD_SETLK, _request(fcntl.F_RDLCK, FIRST + os.getpid(), 1))
            except OSError:  # a file system without such locks
                self.release()

    def other(self) -> int | None:
        """Process id of another writer of the file; None if there is no other writer."""
        return None if self._descriptor is None else _marked(self._descriptor)

    def release(self) -> None:
        """Remove this writer's mark, a lock on one byte of the run file."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def marked_by(path: Path) -> int | None:
    """Id of the process that writes the file, from its mark (a lock on one byte); None if the file has no mark."""
    if sys.platform == "linux":
        with suppress(OSError), path.open("rb") as file:
            return _marked(file.fileno())
    return None


def _marked(descriptor: int) -> int | None:
    """Id of a process whose mark (lock) was set through another descriptor of the file; None if there is none."""
    try:
        answer = fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, _request(fcntl.F_WRLCK, FIRST, 0))
    except OSError:  # a file system without such locks
        return None
    kind, _, start, _, _ = _FLOCK.unpack(answer)
    return None if kind == fcntl.F_UNLCK else int(start - FIRST)


def _request(kind: int, start: int, length: int) -> bytes:
    return _FLOCK.pack(kind, os.SEEK_SET, start, length, 0)
