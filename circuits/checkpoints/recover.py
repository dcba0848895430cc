"""Making the file of a killed writer writable again.

A writer that is killed leaves two traces in the first 48 bytes of the file, the superblock: a flag that says "open
for writing", which refuses every other writer, and an end-of-file address that may be behind what is on disk, so that
a naive re-open would write over live blocks. Recovery clears the flag, moves the end-of-file past everything that was
written or was about to be, and renews the superblock's checksum. It is idempotent: killed itself, it is simply run
again.

The superblock (HDF5 file format specification, version 3): signature at byte 0, version at 8, sizes of offsets and
lengths at 9 and 10, consistency flags at 11, end-of-file address at 28, checksum of bytes 0..43 at 44 (Bob Jenkins'
lookup3).
"""

from __future__ import annotations

import os
import struct
from pathlib import Path

from circuits.errors import InputError

SIGNATURE = b"\x89HDF\r\n\x1a\n"
_MASK = 0xFFFFFFFF
_MIX = ((0, 2, 1, 4), (1, 0, 2, 6), (2, 1, 0, 8), (0, 2, 1, 16), (1, 0, 2, 19), (2, 1, 0, 4))
_FINAL = ((2, 1, 14), (0, 2, 11), (1, 0, 25), (2, 1, 16), (0, 2, 4), (1, 0, 14), (2, 1, 24))


def was_killed(path: Path) -> bool:
    """Whether the file still carries a writer's flag; call it under the run's lock."""
    with path.open("rb") as file:
        return _superblock(path, file.read(48))[11] != 0


def recover(path: Path, slack: int) -> bool:
    """Clear the flag a killed writer left; call it under the run's lock.

    Parameters
    ----------
    path
        The run file.
    slack
        Bytes to leave free behind what is on disk, for blocks that were allocated but never written.

    Returns
    -------
    Whether there was something to recover.
    """
    with path.open("r+b") as file:
        block = bytearray(_superblock(path, file.read(48)))
        if block[11] == 0:
            return False
        end = max(os.fstat(file.fileno()).st_size, struct.unpack_from("<Q", block, 28)[0]) + slack
        file.truncate(end)  # sparse: takes no room
        block[11] = 0
        struct.pack_into("<Q", block, 28, end)
        struct.pack_into("<I", block, 44, lookup3(bytes(block[:44])))
        file.seek(0)
        file.write(block)
        file.flush()
        os.fsync(file.fileno())
    return True


def _superblock(path: Path, block: bytes) -> bytes:
    sound = (
        len(block) == 48
        and block[:8] == SIGNATURE
        and block[8] == 3
        and block[9:11] == b"\x08\x08"
        and lookup3(block[:44]) == struct.unpack_from("<I", block, 44)[0]
    )
    if not sound:
        raise InputError(f"{path} is not a run file: its HDF5 superblock is damaged or of another version")
    return block


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
        for target, other, last, turn in ((a, b, c, k) for (a, b, c, k) in _MIX):
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
