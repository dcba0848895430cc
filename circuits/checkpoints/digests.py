"""Digests of the arrays of a run: 64-bit xxh3 of an array's bytes, for each checkpoint and seed.

A row is an array's values at one checkpoint and seed. Its digest, written with it, reveals a flipped bit or a misplaced
row. It protects against accidents, not against a person who can write the file: xxh3 is not a cryptographic hash.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping

import numpy as np
import xxhash
from jaxtyping import Shaped, UInt64

from circuits.errors import InputError

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
    """Digest of an array's values at each row (a checkpoint or stored optimizer state) and seed.

    Examples
    --------
    >>> rows = np.zeros((2, 3, 4))
    >>> bool((row_digests(rows) == digest(rows[0, 0])).all())
    True
    """
    digests = [[digest(values) for values in seeds] for seeds in np.ascontiguousarray(rows)[..., None]]
    return np.array(digests, np.uint64).reshape(rows.shape[:2])


def check_rows(
    path: object,
    name: str,
    rows: Shaped[np.ndarray, "row seed *any"],
    expected: UInt64[np.ndarray, "row seed"],
    where: Callable[[int, int], str],
) -> None:
    """Raise an InputError if the values at any checkpoint (row) and seed do not match their stored digest.

    The message names the file `path`, the array `name`, and the seed and step of the first such values. The text of the
    seed and step comes from where(row index, seed index), such as "of seed 3 at step 1".
    """
    wrong = np.argwhere(row_digests(rows) != expected)
    if wrong.size:
        raise digest_error(path, f"{name} {where(*wrong[0].tolist())}")  # "parameters/W of seed 3 at step 1"


def digest_error(path: object, what: str) -> InputError:
    """The error for values that do not match their digest; `what` names them, such as "metrics of seed 3 at step 1"."""
    return InputError(
        f"{path} is damaged: {what} is not what was written: its digest differs. `circuits show --verify` lists all "
        f"damaged values; the rest can be read."
    )


def metrics_as_rows(metrics: Mapping[str, Shaped[np.ndarray, "row seed"]]) -> Shaped[np.ndarray, "row seed metric"]:
    """All metrics, stacked alphabetically along a last axis; one digest covers all metrics of a checkpoint and seed."""
    return np.stack([metrics[name] for name in sorted(metrics)], axis=-1)


def checksum(state: Mapping[str, np.ndarray], sequence: int, n_checkpoints: int) -> int:
    """CRC-32 of one saved optimizer state, together with its sequence number and the number of checkpoints so far."""
    crc = zlib.crc32(f"{sequence} {n_checkpoints}".encode())
    for name in sorted(state):
        crc = zlib.crc32(state[name].tobytes(), crc)
    return crc
