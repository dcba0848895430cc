"""The writer's mark on a run file itself, so that it is seen through every name of the file, hard links too.

The mark is a lock on one byte far beyond the file's end: byte FIRST + process id. It is a shared lock of the open file
(Linux's "open file description" lock): it disturbs neither HDF5's own locks nor readers, ends with the process
whatever happens, and whoever asks which byte is locked learns which process it is. Elsewhere, and on file systems
without such locks, there is none, and only the lock file beside the run protects it.
"""

import fcntl
import os
import struct
import sys
from pathlib import Path

FIRST = 1 << 40
_FLOCK = struct.Struct("@hhqqi4x")  # l_type, l_whence, l_start, l_len, l_pid


class Mark:
    """Held on a file while it is written; `others` are looked for after it is set, so that of two one always sees it.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile() as file:
    ...     mark = Mark(Path(file.name))
    ...     mark.other()
    ...     mark.release()
    """

    def __init__(self, path: Path) -> None:
        self._descriptor: int | None = None
        if sys.platform == "linux":
            descriptor = os.open(path, os.O_RDONLY)
            try:
                fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _request(fcntl.F_RDLCK, FIRST + os.getpid(), 1))
            except OSError:  # a file system without such locks
                os.close(descriptor)
            else:
                self._descriptor = descriptor

    def other(self) -> int | None:
        """Another process that writes the file, or None."""
        if self._descriptor is None:
            return None
        return _marked(self._descriptor)

    def release(self) -> None:
        """Take the mark away."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def marked_by(path: Path) -> int | None:
    """Process that has its mark on the file, or None."""
    if sys.platform != "linux":
        return None
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return None
    try:
        return _marked(descriptor)
    finally:
        os.close(descriptor)


def _marked(descriptor: int) -> int | None:
    """Whose mark is on the file, besides one of this descriptor's own."""
    try:
        answer = fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, _request(fcntl.F_WRLCK, FIRST, 0))
    except OSError:  # a file system without such locks
        return None
    kind, _, start, _, _ = _FLOCK.unpack(answer)
    return None if kind == fcntl.F_UNLCK else int(start - FIRST)


def _request(kind: int, start: int, length: int) -> bytes:
    return _FLOCK.pack(kind, os.SEEK_SET, start, length, 0)
