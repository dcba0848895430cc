"""A file whose writer was killed, shown to HDF5 as one that nobody is writing; the file itself is only read.

A file whose flag says that it is being written opens only in single-writer-multiple-reader mode, and there HDF5 takes
a wrong checksum for a write under way and waits, longer each time, for years. So to find what is damaged it is shown to
HDF5 with the flag cleared, in memory.
"""

from __future__ import annotations

import errno
import io
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py

from circuits.checkpoints.recover import lookup3

WRITING_FLAG = 11  # where the superblock says that the file is open for writing


def _is_flagged(path: str | Path) -> bool:
    """Whether the superblock says "open for writing": by a writer at work, or by one that was killed."""
    with open(path, "rb") as raw:
        block = raw.read(48)
    return len(block) == 48 and block[8] >= 3 and block[WRITING_FLAG] != 0


def open_for_reading(path: str | Path, **mode: Any) -> h5py.File:
    """Open a file for reading, also on a file system without locks: HDF5 asks for a lock that reading does not need."""
    try:
        return h5py.File(path, "r", **mode)
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
            raise
        return h5py.File(path, "r", locking=False, **mode)


@contextmanager
def opened_for_verdict(path: str) -> Iterator[h5py.File]:
    """The file in plain mode, which says at once that a checksum is wrong."""
    if not _is_flagged(path):
        with h5py.File(path, "r", rdcc_nbytes=0, locking=False) as file:
            yield file
        return
    with open(path, "rb", buffering=0) as raw, h5py.File(_Unflagged(raw), "r", rdcc_nbytes=0) as file:
        yield file


class _Unflagged:
    """A file's bytes with the writer's flag cleared, as `recover` would leave them; nothing is written."""

    def __init__(self, raw: io.FileIO) -> None:
        self._raw, self._position = raw, 0
        block = bytearray(raw.read(48))
        self._end = max(os.fstat(raw.fileno()).st_size, struct.unpack_from("<Q", block, 28)[0])
        if lookup3(bytes(block[:44])) == struct.unpack_from("<I", block, 44)[0]:  # else HDF5 shall say that it is not
            block[WRITING_FLAG] = 0
            struct.pack_into("<Q", block, 28, self._end)
            struct.pack_into("<I", block, 44, lookup3(bytes(block[:44])))
        self._block = bytes(block)

    def seek(self, offset: int, whence: int = 0) -> int:
        self._position = offset + (self._end if whence == 2 else 0)
        return self._position

    def tell(self) -> int:
        return self._position

    def read(self, n_bytes: int) -> bytes:
        content = os.pread(self._raw.fileno(), n_bytes, self._position).ljust(n_bytes, b"\0")
        covered = self._block[self._position : self._position + n_bytes]
        return covered + content[len(covered) :]

    def readinto(self, buffer: Any) -> int:
        buffer[:] = self.read(len(buffer))
        return len(buffer)
