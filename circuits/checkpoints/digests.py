"""Digests of what a run holds: xxh3, 64 bits, of the bytes of an array, for each checkpoint and seed.

A digest is written with its row, so that a flipped bit, or a row in another's place, is seen when the row is read. It
protects against accidents, not against somebody who can write the file: xxh3 is no cryptographic hash.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping

import numpy as np
import xxhash
from jaxtyping import Shaped, UInt64

METRICS = "metrics"  # all metrics of a checkpoint and seed have one digest


def digest(values: Shaped[np.ndarray, "*any"] | bytes) -> int:
    """Digest of an array's bytes, in C order.

    Examples
    --------
    >>> digest(np.arange(3)) == digest(np.arange(3).tobytes()), digest(b"") == digest(b"0")
    (True, False)
    """
    return xxhash.xxh3_64_intdigest(values if isinstance(values, bytes) else np.ascontiguousarray(values).data)


def row_digests(rows: Shaped[np.ndarray, "row seed *any"]) -> UInt64[np.ndarray, "row seed"]:
    """Digest of each row and seed of an array.

    Examples
    --------
    >>> rows = np.zeros((2, 3, 4))
    >>> bool((row_digests(rows) == digest(rows[0, 0])).all())
    True
    """
    whole = np.ascontiguousarray(rows)
    digests = np.empty(whole.shape[:2], np.uint64)
    for row, seeds in enumerate(whole):
        for seed, values in enumerate(seeds):
            digests[row, seed] = xxhash.xxh3_64_intdigest(values.data if values.shape else values.tobytes())
    return digests


def check_rows(
    name: str,
    rows: Shaped[np.ndarray, "row seed *any"],
    expected: UInt64[np.ndarray, "row seed"],
    where: Callable[[int, int], str],
) -> None:
    """Return if every row has its digest.

    Parameters
    ----------
    name
        What the rows are of, for errors.
    rows, expected
        The array, and what its digests should be.
    where
        Names a row and a seed by their places in `rows`.

    Raises
    ------
    DigestError
        The first that has not.
    """
    wrong = np.argwhere(row_digests(rows) != expected)
    if wrong.size:
        row, seed = wrong[0].tolist()
        raise DigestError(f"{name} {where(row, seed)} is not what was written: its digest differs")


class DigestError(ValueError):
    """Values are not those that were written."""


def metrics_as_rows(metrics: Mapping[str, Shaped[np.ndarray, "row seed"]]) -> Shaped[np.ndarray, "row seed metric"]:
    """All metrics side by side, in alphabetical order, whose digest is theirs."""
    return np.stack([metrics[name] for name in sorted(metrics)], axis=-1)


def checksum(state: Mapping[str, np.ndarray], sequence: int, n_checkpoints: int) -> int:
    """CRC-32 of a state to resume from, with what else its slot says."""
    crc = zlib.crc32(f"{sequence} {n_checkpoints}".encode())
    for name in sorted(state):
        crc = zlib.crc32(state[name].tobytes(), crc)
    return crc
