"""Changing a file's metadata so that a kill undoes the change.

Commits write nothing but data (`writer.py`). What changes metadata is rare: a larger plan, an early stop, a repair.
HDF5 then rewrites blocks in place, and a write that a kill cuts in the middle of a block makes the file unreadable. So
all bytes of the file that are not data are first copied into `RUN.h5.undo`, which appears whole or not at all, and
removed after the change. Whoever finds it puts the bytes back. Doing so again, after being killed in it, does no harm.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py

from circuits.whole import sync, written_whole

FORMAT = "circuits-undo"
SEAL_BYTES = 32


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
    """Change metadata of an open file in the block; killed in it, `undo` restores them as they were before.

    Call it under the run's lock. If the block fails, the change stays to be undone by the next writer.
    """
    file.flush()
    kept = _metadata(path, file)
    with written_whole(undo_path(path), replace=True) as temporary:
        temporary.write_bytes(kept + hashlib.sha256(kept).digest())
    yield
    file.flush()
    sync(path)
    undo_path(path).unlink()
    sync(path.resolve().parent)


def undo(path: Path) -> bool:
    """Put back what a killed change left half done; call it under the run's lock. Whether there was anything."""
    beside = undo_path(path)
    try:
        found = beside.read_bytes()
    except FileNotFoundError:
        return False
    size, extents, values = _parsed(found)
    if extents and size <= path.stat().st_size:
        with path.open("r+b") as file:
            for start, length in extents:
                file.seek(start)
                file.write(values[:length])
                values = values[length:]
            file.flush()
            file.truncate(size)
            os.fsync(file.fileno())
    beside.unlink()
    return bool(extents)


def _metadata(path: Path, file: h5py.File) -> bytes:
    """Every byte that is not data, with a line before them that says where they belong."""
    size = path.stat().st_size
    extents, end = [], 0
    for start, length in [*sorted(_data(file)), (size, 0)]:
        if start > end:
            extents.append((end, start - end))
        end = max(end, start + length)
    values = bytearray()
    with path.open("rb") as raw:
        for start, length in extents:
            raw.seek(start)
            values += raw.read(length)
    header = json.dumps({"format": FORMAT, "size": size, "extents": extents})
    return header.encode() + b"\n" + bytes(values)


def _data(file: h5py.File) -> list[tuple[int, int]]:
    """Where the values of every array lie: offset and length of each chunk, or of the whole."""
    found: dict[int, int] = {}

    def look(_: str, item: h5py.Dataset | h5py.Group) -> None:
        if not isinstance(item, h5py.Dataset):
            return
        if item.chunks is not None:
            item.id.chunk_iter(lambda one: found.__setitem__(one.byte_offset, one.size))
        elif item.id.get_offset() is not None:
            found[item.id.get_offset()] = item.id.get_storage_size()

    file.visititems(look)
    return list(found.items())


def _parsed(found: bytes) -> tuple[int, list[tuple[int, int]], bytes]:
    """Size of the file, where the bytes belong, and the bytes; no extents if the seal does not hold."""
    kept, seal = found[:-SEAL_BYTES], found[-SEAL_BYTES:]
    if hashlib.sha256(kept).digest() != seal:
        return 0, [], b""
    header, _, values = kept.partition(b"\n")
    told = json.loads(header)
    return told["size"], [(start, length) for start, length in told["extents"]], values
