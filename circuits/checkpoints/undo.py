"""Changing a file's metadata so that a kill undoes the change.

Commits write nothing but data (`writer.py`). What changes metadata is rare: a larger plan, an early stop, a repair.
HDF5 then rewrites blocks in place, and a write that a kill cuts in the middle of a block makes the file unreadable. So
all bytes of the file that are not data are first copied into `RUN.h5.undo`, which appears whole or not at all, and
removed after the change. Whoever finds it puts the bytes back. Doing so again, after being killed in it, does no harm.

The file may have changed otherwise in the meantime: another run in its place, commits under another name. So the copy
names bytes that its change leaves alone, all of /data and the entries of `step`, with their digest. `put_back.py` puts
the bytes back only if those are the same, and what comes out is a sound run.
"""

from __future__ import annotations

import hashlib
import json
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import h5py

from circuits.atomic_write import remove_left_behind, sync, written_whole
from circuits.checkpoints.commits import UNWRITTEN
from circuits.errors import InputError

FORMAT = "circuits-undo"
SEAL_BYTES = 32
HEADER_BYTES = 1 << 24  # at most, in a copy of little else

Ranges = list[list[int]]  # start and length of each, ascending


class Kept(NamedTuple):
    """What to put back: bytes of the extents, into a file of this size; and bytes that show that it is this file."""

    size: int
    extents: Ranges
    witness: Ranges
    digest: str
    values: bytes

    def patches(self) -> list[tuple[int, bytes]]:
        """Where to put which bytes."""
        end, pieces = 0, []
        for start, length in self.extents:
            pieces.append((start, self.values[end : end + length]))
            end += length
        return pieces

    def fits(self, file: h5py.File) -> bool:
        """Whether the run that comes out, open, has data and metadata where the copy says."""
        return self.extents == _extents(file, self.size) and self.witness == _unchanged(file)


def undo_path(path: Path) -> Path:
    """Where the bytes to put back lie: beside the file itself, whatever symbolic link leads to it.

    Examples
    --------
    >>> undo_path(Path("checkpoints/a.h5")).name
    'a.h5.undo'
    """
    path = path.resolve()
    return path.with_name(path.name + ".undo")


@contextmanager
def undoable(path: Path, file: h5py.File) -> Iterator[None]:
    """Change metadata of an open file in the block; killed in it, `put_back` restores them as they were before.

    Call it under the run's lock. If the block fails, the change stays to be undone by the next writer.
    """
    file.flush()
    kept = _metadata(path, file)
    remove_left_behind(undo_path(path))
    with written_whole(undo_path(path), replace=True) as temporary:
        temporary.write_bytes(kept + hashlib.sha256(kept).digest())
    yield
    file.flush()
    sync(path)
    undo_path(path).unlink()
    sync(path.resolve().parent)


def kept(path: Path) -> Kept | None:
    """What lies beside a run to be put back; None if it is not as it was written, or is of another file."""
    beside, size = undo_path(path), path.stat().st_size
    if beside.stat().st_size > size + HEADER_BYTES:
        return None
    content = beside.read_bytes()
    content, seal = content[:-SEAL_BYTES], content[-SEAL_BYTES:]
    if hashlib.sha256(content).digest() != seal:
        return None
    line, _, values = content.partition(b"\n")
    try:
        header = json.loads(line)
        copy = Kept(header["size"], header["extents"], header["witness"], header["digest"], values)
    except (ValueError, RecursionError, TypeError, KeyError):
        return None
    is_whole = (
        header["format"] == FORMAT
        and type(copy.size) is int
        and copy.size <= size
        and _are_ranges(copy.extents, copy.size)
        and _are_ranges(copy.witness, copy.size)
        and copy.extents[0][0] == 0
        and sum(length for _, length in copy.extents) == len(values)
        and _witness(path, copy.witness) == copy.digest
    )
    return copy if is_whole else None


def has_undo(path: Path) -> bool:
    """Whether bytes to put back lie beside the file.

    Raises
    ------
    InputError
        What lies there is no file.
    """
    beside = undo_path(path)
    try:
        mode = beside.lstat().st_mode
    except FileNotFoundError:
        return False
    if not stat.S_ISREG(mode):  # reading from a pipe or a device may never end
        raise InputError(f"{beside} is in the way of changing {path}: it is no file of ours. Move it away.")
    return True


def _metadata(path: Path, file: h5py.File) -> bytes:
    """Every byte that is not data, with a line before them that says where they belong."""
    size = path.stat().st_size
    extents, unchanged = _extents(file, size), _unchanged(file)
    values = bytearray()
    with path.open("rb") as raw:
        for start, length in extents:
            raw.seek(start)
            values += raw.read(length)
    header = {
        "format": FORMAT, "size": size, "extents": extents, "witness": unchanged, "digest": _witness(path, unchanged),
    }  # fmt: skip
    return json.dumps(header).encode() + b"\n" + bytes(values)


def _extents(file: h5py.File, size: int) -> Ranges:
    """Where the bytes of a file of this size lie that are not data."""
    ranges, end = [], 0
    for start, length in [*sorted(_data(file)), (size, 0)]:
        if start > end:
            ranges.append([end, start - end])
        end = max(end, start + length)
    return ranges


def _unchanged(file: h5py.File) -> Ranges:
    """Where bytes lie that no change of metadata touches: all of /data, and the chunks of `step` with a checkpoint."""
    ranges = []
    for item in file["data"].values():
        if item.chunks is None and item.id.get_offset() is not None:
            ranges.append([item.id.get_offset(), item.id.get_storage_size()])
    step = file["step"]
    n_written = int((step[:] != UNWRITTEN).sum())

    def look(one: h5py.h5d.StoreInfo) -> None:
        if one.chunk_offset[0] < max(n_written, 1):
            ranges.append([one.byte_offset, one.size])

    step.id.chunk_iter(look)
    return sorted(ranges)


def _witness(path: Path, extents: Ranges) -> str:
    seen = hashlib.sha256()
    with path.open("rb") as file:
        for start, length in extents:
            file.seek(start)
            seen.update(file.read(length))
    return seen.hexdigest()


def _data(file: h5py.File) -> list[tuple[int, int]]:
    """Where the values of every array lie: offset and length of each chunk, or of the whole."""
    chunks: dict[int, int] = {}

    def look(_: str, item: h5py.Dataset | h5py.Group) -> None:
        if not isinstance(item, h5py.Dataset):
            return
        if item.chunks is not None:
            item.id.chunk_iter(lambda one: chunks.__setitem__(one.byte_offset, one.size))
        elif item.id.get_offset() is not None:
            chunks[item.id.get_offset()] = item.id.get_storage_size()

    file.visititems(look)
    return list(chunks.items())


def _are_ranges(found: Any, size: int) -> bool:
    """Whether it is a list of ranges of a file of this size, one after the other, and not empty."""
    end = 0
    if not isinstance(found, list) or not found:
        return False
    for one in found:
        if not isinstance(one, list) or [type(number) for number in one] != [int, int] or one[0] < end or one[1] <= 0:
            return False
        end = one[0] + one[1]
    return end <= size
