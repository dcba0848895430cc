"""Changes of a file's metadata that can be undone after a kill.

A new checkpoint writes data only (`writer.py`). HDF5's metadata are rewritten in four cases: a run gets more epochs, a
run moves to a machine that rounds differently, a run stops early, or a user repairs the file. A kill within a rewritten
block makes the file unreadable. So all bytes of the file that are not data are first copied to `RUN.h5.undo`, which
appears only when complete and is removed after the change. The next writer that finds this copy restores the bytes, and
a later writer does so again if another kill interrupts the restore.

Between kill and restore, another run may replace the file, or a writer may add checkpoints under another name of the
same file (a link). So the copy also has a digest of byte ranges that no change of metadata touches. `put_back.py`
restores only if the digest matches and the run is then sound.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

import h5py

from circuits.atomic_write import COPIED_BYTES, sync, unused, written_whole
from circuits.checkpoints.commits import UNWRITTEN
from circuits.errors import InputError, RunError, refusal, remedy

FORMAT = "circuits-undo"
SEAL_BYTES = 32
HEADER_BYTES = 1 << 24  # upper bound
METADATA_BYTES = 3 << 29  # upper bound; the sandbox process, limited to 4 GiB, holds them twice
WITNESS_BYTES = 1 << 33  # upper bound; hashing more takes longer than the sandbox process may compute

Ranges = list[list[int]]  # start and length of each, ascending


class Kept(NamedTuple):
    """Copy of the bytes of a run file that are not values of arrays; HDF5's metadata are among these bytes.

    The file has `size` bytes. A byte range is [start, length].
    `extents`: all byte ranges outside the arrays. One array at bytes 40 to 59 of 100 leaves [[0, 40], [60, 40]].
    `stored`: the parts of `extents` that take room on the disk. The other parts are holes of a sparse file.
    `values`: the bytes at the ranges `stored`, one range after the other.
    `witness`: byte ranges of arrays, to recognize the file; no metadata change touches them. `digest`: their SHA-256.
    """

    size: int
    extents: Ranges
    witness: Ranges
    digest: str
    values: bytes
    stored: Ranges

    def patches(self) -> list[tuple[int, bytes]]:
        """Position in the file, and bytes, of each copied byte range."""
        ends = accumulate(length for _, length in self.stored)
        return [(at, self.values[end - n : end]) for (at, n), end in zip(self.stored, ends, strict=True)]

    def fits(self, file: h5py.File) -> bool:
        """Whether the arrays of a run file lie where this copy of the file's metadata says.

        `file` is the run file, opened as if the copied bytes were already restored. The result is True if all of this
        holds: `self.extents` are the byte ranges outside all arrays; `self.witness` has the byte ranges of /data, of
        the last checkpoint's parameters and of the written part of /step; arrays lie within the file and overlap
        neither each other nor the copied bytes.
        """
        apart = _are_ranges(sorted([*self.stored, *(span for span in _data(file) if span[1])]), self.size)
        return apart and self.extents == _extents(file, self.size) and self.witness == _unchanged(file)


def undo_path(path: Path) -> Path:
    """Path of the copy of a run's metadata: beside the run file itself, with symbolic links resolved."""
    path = path.resolve()
    return path.with_name(path.name + ".undo")


def set_aside(path: Path, say: Callable[[str], object]) -> None:
    """Rename `RUN.h5.undo`, a copy of metadata that does not fit `RUN.h5`, to `RUN.h5.undo.stale`, and tell `say`."""
    beside = undo_path(path)
    if os.path.lexists(beside):
        aside = unused(beside.with_name(beside.name + ".stale"))
        try:
            beside.rename(aside)
        except OSError as error:
            raise RunError(f"{beside} cannot be renamed to {aside} ({refusal(error)}). {remedy(error)}.") from error
        say(f"{beside} does not match {path}, so no metadata is restored. {beside.name} is renamed to {aside}.")


@contextmanager
def undoable(path: Path, file: h5py.File) -> Iterator[None]:
    """Context for a change of an open file's metadata; if a kill interrupts it, `put_back` restores the metadata.

    Call it under the run's lock. If the code in the context raises an error, the next writer undoes the change.
    """
    file.flush()
    copy = _metadata(path, file)
    with written_whole(undo_path(path), replace=True) as temporary:
        temporary.write_bytes(copy + hashlib.sha256(copy).digest())
    yield
    file.flush()
    sync(path)
    undo_path(path).unlink()
    sync(path.resolve().parent)


def kept(path: Path) -> Kept | None:
    """The copy of a run's metadata, from its `.undo` file; None if this file is damaged or belongs to another run."""
    beside, size = undo_path(path), path.stat().st_size
    status = beside.lstat()
    largest = min(size, METADATA_BYTES) + HEADER_BYTES
    if not stat.S_ISREG(status.st_mode) or status.st_size > largest:  # reading from a pipe may never end
        return None
    content = beside.read_bytes()
    content, seal = content[:-SEAL_BYTES], content[-SEAL_BYTES:]
    if hashlib.sha256(content).digest() != seal:
        return None
    line, _, values = content.partition(b"\n")
    try:
        header = json.loads(line)
        stored = header.get("stored", header["extents"])  # absent in copies that an earlier version made
        copy = Kept(header["size"], header["extents"], header["witness"], header["digest"], values, stored)
        is_copy = header["format"] == FORMAT
    except (AttributeError, ValueError, RecursionError, TypeError, KeyError):
        return None
    is_whole = (
        is_copy
        and type(copy.size) is int
        and copy.size <= size
        and _are_ranges(copy.extents, copy.size)
        and _are_ranges(copy.witness, copy.size)
        and _are_ranges(copy.stored, copy.size)
        and copy.stored[0][0] == 0
        and sum(length for _, length in copy.stored) == len(values)
        and sum(length for _, length in copy.witness) <= WITNESS_BYTES
        and _witness(path, copy.witness) == copy.digest
    )
    return copy if is_whole else None


def has_undo(path: Path) -> bool:
    """Whether a file, or even a broken link, exists at `RUN.h5.undo`, the path for a copy of the run's metadata."""
    return os.path.lexists(undo_path(path))


def _metadata(path: Path, file: h5py.File) -> bytes:
    """A copy of all bytes of a run file that are not values of arrays, to restore HDF5's metadata after a kill.

    A line of JSON before these bytes lists their byte ranges. Parts that a sparse file does not store are left out.
    """
    size = path.stat().st_size
    extents, unchanged = _extents(file, size), _unchanged(file)
    values = bytearray()
    with path.open("rb") as raw:
        os.fsync(raw.fileno())  # some file systems show holes where written bytes are not yet on disk
        stored = _stored_parts(raw.fileno(), extents)
        if (needed := sum(length for _, length in stored)) > METADATA_BYTES:
            raise InputError(
                f"{path} was not changed: {needed} bytes outside its arrays must be copied before a change, but "
                f"the limit is {METADATA_BYTES}. In a sparse file, blocks of zeros need no copy. Make a sparse file "
                f"and use it instead: cp --sparse=always {path} NEW.h5"
            )
        for start, length in stored:
            raw.seek(start)
            values += raw.read(length)
    header = {
        "format": FORMAT, "size": size, "extents": extents, "stored": stored,
        "witness": unchanged, "digest": _witness(path, unchanged),
    }  # fmt: skip
    return json.dumps(header).encode() + b"\n" + bytes(values)


def _stored_parts(descriptor: int, ranges: Ranges) -> Ranges:
    """The parts of byte ranges that are not holes of a sparse file."""
    parts: Ranges = []
    for start, length in ranges:
        at, end = start, start + length
        while at < end:
            try:
                at = os.lseek(descriptor, at, os.SEEK_DATA)
                hole = min(os.lseek(descriptor, at, os.SEEK_HOLE), end)
            except OSError as error:
                if error.errno not in (errno.ENXIO, errno.EINVAL):
                    raise
                if error.errno == errno.ENXIO:
                    break  # only a hole is left
                hole = end  # a file system that knows no holes
            if at < end:
                parts.append([at, hole - at])
            at = hole
    return parts


def _extents(file: h5py.File, size: int) -> Ranges:
    """Byte ranges of a file of `size` bytes that lie outside the values of all arrays, such as HDF5's metadata."""
    ranges, end = [], 0
    for start, length in [*sorted(_data(file)), (size, 0)]:
        if start > end:
            ranges.append([end, start - end])
        end = max(end, start + length)
    return ranges


def _unchanged(file: h5py.File) -> Ranges:
    """Byte ranges by which to recognize a run: /data, parameters of the last checkpoint, written chunks of /step."""
    ranges = [chunk[:2] for item in file["data"].values() if item.chunks is None for chunk in _stored(item)]
    n_written = int((file["step"][:] != UNWRITTEN).sum())
    for item in file["parameters"].values():  # the last checkpoint, which tells apart runs with the same data and steps
        in_rows = item.ndim > 1 and item.chunks and not item.compression  # as circuits writes them
        for start, size, row in _stored(item) if in_rows else ():
            if row < n_written <= row + item.chunks[0]:
                ranges.append([start + (n_written - 1 - row) * (size // item.chunks[0]), size // item.chunks[0]])
    ranges += [chunk[:2] for chunk in _stored(file["step"]) if chunk[2] < max(n_written, 1)]
    return sorted(ranges)


def _witness(path: Path, extents: Ranges) -> str:
    content = hashlib.sha256()
    with path.open("rb") as file:
        for start, length in extents:
            file.seek(start)
            while length and (part := file.read(min(length, COPIED_BYTES))):
                content.update(part)
                length -= len(part)
    return content.hexdigest()


def _data(file: h5py.File) -> Ranges:
    """Byte ranges of the values of every array."""
    ranges: Ranges = []

    def visit(_: str, item: h5py.Dataset | h5py.Group) -> None:
        if isinstance(item, h5py.Dataset):
            ranges.extend(chunk[:2] for chunk in _stored(item))

    file.visititems(visit)
    return ranges


def _stored(dataset: h5py.Dataset) -> Ranges:
    """[position in the file, number of bytes, first row] of each stored chunk; an array without chunks is one chunk."""
    chunks: Ranges = []
    if dataset.chunks is not None:
        dataset.id.chunk_iter(lambda chunk: chunks.append([chunk.byte_offset, chunk.size, chunk.chunk_offset[0]]))
    elif dataset.id.get_offset() is not None:
        chunks.append([dataset.id.get_offset(), dataset.id.get_storage_size(), 0])
    return chunks


def _are_ranges(ranges: Any, size: int) -> bool:
    """Whether `ranges` is a non-empty list of ascending, disjoint byte ranges within a file of `size` bytes."""
    end = 0
    if not isinstance(ranges, list) or not ranges:
        return False
    for span in ranges:
        if not isinstance(span, list) or [type(n) for n in span] != [int, int] or span[0] < end or span[1] <= 0:
            return False
        end = span[0] + span[1]
    return end <= size
