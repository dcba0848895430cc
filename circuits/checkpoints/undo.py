"""Changing a file's metadata so that a kill undoes the change.

Commits write nothing but data (`writer.py`). What changes metadata is rare: a larger plan, an early stop, a repair.
HDF5 then rewrites blocks in place, and a write that a kill cuts in the middle of a block makes the file unreadable. So
all bytes of the file that are not data are first copied into `RUN.h5.undo`, which appears whole or not at all, and
removed after the change. Whoever finds it puts the bytes back. Doing so again, after being killed in it, does no harm.

The file may have changed otherwise in the meantime: another run in its place, commits under another name. So the copy
names bytes that its change leaves alone, all of /data and the entries of `step`, with their digest. Where they differ,
nothing is put back, and the copy is renamed to `RUN.h5.undo.stale`.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py

from circuits.atomic_write import remove_left_behind, sync, written_whole
from circuits.checkpoints.commits import UNWRITTEN
from circuits.errors import InputError

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
    remove_left_behind(undo_path(path))
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
    remove_left_behind(beside)
    if not has_undo(path):
        return False
    header, values = _parsed(beside.read_bytes())
    if not header or header["size"] > path.stat().st_size or _witness(path, header["witness"]) != header["digest"]:
        beside.rename(beside.with_name(beside.name + ".stale"))
        return False
    with path.open("r+b") as file:
        for start, length in header["extents"]:
            file.seek(start)
            file.write(values[:length])
            values = values[length:]
        file.flush()
        file.truncate(header["size"])
        os.fsync(file.fileno())
    beside.unlink()
    return True


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
    unchanged = _unchanged(file)
    header = {
        "format": FORMAT, "size": size, "extents": extents, "witness": unchanged, "digest": _witness(path, unchanged),
    }  # fmt: skip
    return json.dumps(header).encode() + b"\n" + bytes(values)


def _unchanged(file: h5py.File) -> list[tuple[int, int]]:
    """Where bytes lie that no change of metadata touches: all of /data, and the chunks of `step` with a checkpoint."""
    found = []
    for item in file["data"].values():
        if item.chunks is None and item.id.get_offset() is not None:
            found.append((item.id.get_offset(), item.id.get_storage_size()))
    step = file["step"]
    n_written = int((step[:] != UNWRITTEN).sum())

    def look(one: h5py.h5d.StoreInfo) -> None:
        if one.chunk_offset[0] < max(n_written, 1):
            found.append((one.byte_offset, one.size))

    step.id.chunk_iter(look)
    return sorted(found)


def _witness(path: Path, extents: Sequence[Sequence[int]]) -> str:
    seen = hashlib.sha256()
    with path.open("rb") as file:
        for start, length in extents:
            file.seek(start)
            seen.update(file.read(length))
    return seen.hexdigest()


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


def _parsed(found: bytes) -> tuple[dict[str, Any], bytes]:
    """What the first line says, and the bytes; nothing if the seal does not hold."""
    kept, seal = found[:-SEAL_BYTES], found[-SEAL_BYTES:]
    if hashlib.sha256(kept).digest() != seal:
        return {}, b""
    header, _, values = kept.partition(b"\n")
    told = json.loads(header)
    return (told, values) if told.get("format") == FORMAT else ({}, b"")
