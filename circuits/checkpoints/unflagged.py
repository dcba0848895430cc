"""Hide the flag "open for writing" of a run file from HDF5; the file itself does not change.

A killed writer leaves this flag set. HDF5 opens a file with this flag only in single-writer-multiple-reader mode. In
this mode HDF5 takes a wrong checksum for a write in progress, and reads again after ever longer waits, for years.
"""

from __future__ import annotations

import errno
import io
import os
import struct
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py

from circuits.checkpoints.recover import changed, completed, lookup3
from circuits.checkpoints.undo import has_undo, kept

WRITING_FLAG = 11  # position in the superblock of the flag "open for writing"


def is_flagged(path: str | Path) -> bool:
    """Whether an HDF5 file has its flag "open for writing" set: a writer has the file open, or was killed."""
    with open(path, "rb") as raw:
        block = raw.read(48)
    return len(block) == 48 and block[8] >= 3 and block[WRITING_FLAG] != 0


def open_for_reading(path: str | Path, **mode: Any) -> h5py.File:
    """Open a file for reading; if the file system has no locks, open it without HDF5's lock."""
    try:
        return h5py.File(path, "r", **mode)
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
            raise
        return h5py.File(path, "r", locking=False, **mode)


@contextmanager
def opened_for_verdict(path: str, *, undone: bool = False) -> Iterator[h5py.File]:
    """Open an HDF5 file to judge whether it is sound: HDF5 reports a wrong checksum at once. The file does not change.

    HDF5 gets the file's bytes, but with the flag "open for writing" cleared, which a killed writer leaves set.
    If `undone` is True, HDF5 gets the bytes that the file will have after the next writer has repaired it:
    - If a file PATH.undo exists, this copy of older metadata takes the place of the file's metadata. If the copy is
      damaged or does not fit the file, the function raises ValueError.
    - Otherwise, if a kill interrupted the write of the superblock (first 48 bytes of the file), HDF5 gets a valid one.
    """
    if not undone and not is_flagged(path):
        with h5py.File(path, "r", rdcc_nbytes=0, locking=False) as file:
            yield file
        return
    with_copy = undone and has_undo(Path(path))
    copy = kept(Path(path)) if with_copy else None
    if with_copy and copy is None:
        raise ValueError("the run's '.undo' file is damaged or is not a copy of this run's metadata")
    with open(path, "rb", buffering=0) as raw:
        block = completed(raw) if undone and copy is None else None
        patches = [(0, block)] if block is not None else [] if copy is None else copy.patches()
        shown = _Shown(raw, 0 if copy is None else copy.size, patches)
        with h5py.File(shown, "r", rdcc_nbytes=0) as file:
            yield file
            if copy is not None and not copy.fits(file):
                raise ValueError("the byte ranges listed in the run's '.undo' file do not fit the run")


class _Shown:
    """Read-only file object: a file with `patches` (position, bytes) applied and the flag "open for writing" off."""

    def __init__(self, raw: io.FileIO, size: int = 0, patches: Sequence[tuple[int, bytes]] = ()) -> None:
        self._raw, self._position = raw, 0
        values = patches[0][1] if patches else os.pread(raw.fileno(), 48, 0)
        block = values[:48]
        self._end = max(size or os.fstat(raw.fileno()).st_size, struct.unpack_from("<Q", block, 28)[0])
        if lookup3(block[:44]) == struct.unpack_from("<I", block, 44)[0]:  # otherwise HDF5 reports the error
            block = changed(block, flag=0, end=self._end)
        self._patches = [(0, block + values[48:]), *patches[1:]]
        self._starts = [start for start, _ in self._patches]

    def seek(self, offset: int, whence: int = 0) -> int:
        self._position = offset + (self._end if whence == 2 else 0)
        return self._position

    def tell(self) -> int:
        return self._position

    def read(self, n_bytes: int) -> bytes:
        begin, end = self._position, self._position + n_bytes
        content = bytearray(os.pread(self._raw.fileno(), n_bytes, begin).ljust(n_bytes, b"\0"))
        for start, values in self._patches[bisect_right(self._starts, begin) - 1 : bisect_right(self._starts, end)]:
            low, high = max(start, begin), min(start + len(values), end)
            if low < high:
                content[low - begin : high - begin] = values[low - start : high - start]
        return bytes(content)

    def readinto(self, buffer: Any) -> int:
        buffer[:] = self.read(len(buffer))
        return len(buffer)
