"""Recovery of a file whose writer was killed, so that it can be written again.

A killed writer leaves two traces in the superblock, the first 48 bytes of the file. The flag "open for writing" makes
HDF5 refuse every other writer. The end-of-file address may lie before the end of the data on disk, so a writer that
trusts this address overwrites live blocks. Recovery clears the flag, moves the end-of-file address past all blocks,
written or only allocated, and renews the superblock's checksum. If a kill interrupts this, the next writer repeats it.
A kill can also interrupt the write of the superblock itself. Such a write changes only the flag, the end-of-file
address and the checksum. So all other bytes are valid, and recovery writes these three fields anew.

Bytes of the superblock (HDF5 file format specification, version 3): signature at 0, version at 8, size of offsets at
9, size of lengths at 10, consistency flags at 11. Addresses: base at 12, extension at 20, end of file at 28, root group
at 36. The checksum of bytes 0..43 (Bob Jenkins' lookup3) is at 44.
"""

from __future__ import annotations

import os
import stat
import struct
from pathlib import Path
from typing import BinaryIO

from circuits.checkpoints.undo import has_undo, kept
from circuits.errors import InputError

SIGNATURE = b"\x89HDF\r\n\x1a\n"
BASE_AND_EXTENSION = bytes(8) + b"\xff" * 8  # the file begins at 0; there is no extension
OBJECT_HEADER = b"OHDR"
WRITING = 5  # open for writing, with readers
_MASK = 0xFFFFFFFF
_LARGEST_OFFSET = (1 << 62) - 1
_MIX = ((0, 2, 1, 4), (1, 0, 2, 6), (2, 1, 0, 8), (0, 2, 1, 16), (1, 0, 2, 19), (2, 1, 0, 4))
_FINAL = ((2, 1, 14), (0, 2, 11), (1, 0, 25), (2, 1, 16), (0, 2, 4), (1, 0, 14), (2, 1, 24))


def was_killed(path: Path) -> bool:
    """Whether the superblock (first 48 bytes) is incomplete or says "open for writing"; ask only if nobody writes."""
    with path.open("rb") as file:
        block = file.read(48)
        has_flag = block[8:9] >= b"\x03"  # an older version, which h5repack writes, has none
        return is_cut(file, block) or (has_flag and _superblock(path, block)[11] != 0)


def was_cut(path: Path) -> bool:
    """Whether a kill may have interrupted a write of HDF5's own metadata; HDF5 may be unable to open such a file."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # reading from a pipe or a device may never end
            return False
        with path.open("rb") as file:
            return is_cut(file, file.read(48)) or (has_undo(path) and kept(path) is not None)
    except OSError:  # what is no copy of metadata is no trace of a kill
        return False


def is_cut(file: BinaryIO, block: bytes) -> bool:
    """Whether the write of this superblock was interrupted, so that only the checksum is wrong."""
    if not _is_superblock(block) or _checksum_fits(block) or block[12:28] != BASE_AND_EXTENSION:
        return False
    file.seek(struct.unpack_from("<Q", block, 36)[0] & _LARGEST_OFFSET)
    return file.read(4) == OBJECT_HEADER


def recover(path: Path, slack: int) -> bool:
    """Clear a killed writer's flag "open for writing" and mend the end-of-file address; call it under the run's lock.

    `slack`: bytes to leave free after the file's data, for blocks that a writer allocated but never wrote.
    The function returns whether the file had a killed writer's flag.
    """
    with path.open("r+b") as file:
        block = _superblock(path, file.read(48))
        if block[11] == 0:
            return False
        end = max(os.fstat(file.fileno()).st_size, struct.unpack_from("<Q", block, 28)[0]) + slack
        file.truncate(end)  # sparse: takes no room
        rewrite(file, changed(block, flag=0, end=end))
    return True


def completed(file: BinaryIO) -> bytes | None:
    """Repaired superblock (first 48 bytes of a file) if a kill interrupted its write; else None. Nothing is written."""
    file.seek(0)
    block = file.read(48)  # the repaired superblock has the flag "open for writing"
    return changed(block, flag=WRITING, end=os.fstat(file.fileno()).st_size) if is_cut(file, block) else None


def rewrite(file: BinaryIO, block: bytes) -> None:
    """Write and sync a superblock; to be called under the run's lock."""
    file.seek(0)
    file.write(block)
    file.flush()
    os.fsync(file.fileno())


def changed(block: bytes, flag: int, end: int) -> bytes:
    """A copy of an HDF5 superblock with this flag (5: open for writing), end-of-file address `end` and new checksum."""
    fields = block[:11] + bytes([flag]) + block[12:28] + struct.pack("<Q", end) + block[36:44]
    return fields + struct.pack("<I", lookup3(fields))


def _superblock(path: Path, block: bytes) -> bytes:
    if block[:8] == SIGNATURE and b"\x00" <= block[8:9] < b"\x03":
        raise InputError(
            f"{path} has HDF5 superblock version {block[8]}, but only version 3 can be written to. Convert the file: "
            f"h5repack -j 2 -k 2 {path} NEW.h5"
        )
    if not (_is_superblock(block) and _checksum_fits(block)):
        raise InputError(f"{path} is not a run file: its HDF5 superblock is damaged or of another version")
    return block


def _is_superblock(block: bytes) -> bool:
    return len(block) == 48 and block[:8] == SIGNATURE and block[8] == 3 and block[9:11] == b"\x08\x08"


def _checksum_fits(block: bytes) -> bool:
    return lookup3(block[:44]) == struct.unpack_from("<I", block, 44)[0]


def lookup3(data: bytes) -> int:
    """HDF5's metadata checksum: Bob Jenkins' lookup3 with initial value 0.

    Examples
    --------
    >>> hex(lookup3(b"Four score and seven years ago"))
    '0x17770551'
    """
    state = [(0xDEADBEEF + len(data)) & _MASK] * 3
    while len(data) > 12:
        state = [(s + w) & _MASK for s, w in zip(state, struct.unpack_from("<III", data), strict=True)]
        for target, other, last, turn in _MIX:
            state[target] = ((state[target] - state[other]) & _MASK) ^ _rotate(state[other], turn)
            state[other] = (state[other] + state[last]) & _MASK
        data = data[12:]
    if data:
        words = struct.unpack("<III", data.ljust(12, b"\0"))
        state = [(s + w) & _MASK for s, w in zip(state, words, strict=True)]
        for target, other, turn in _FINAL:
            state[target] = ((state[target] ^ state[other]) - _rotate(state[other], turn)) & _MASK
    return state[2]


def _rotate(word: int, turn: int) -> int:
    return ((word << turn) | (word >> (32 - turn))) & _MASK
