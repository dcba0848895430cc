"""The number of complete checkpoints of a run. The array `step` has one entry per checkpoint: the number of optimizer
updates so far. The writer writes this entry last, and only this write makes the checkpoint complete ("committed").

A kill can interrupt the write of an entry; this entry does not count. If any other entry differs from the config's
plan, the file is damaged: `n_committed` raises an error, and no writer removes the entry.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Int64

if TYPE_CHECKING:
    from circuits.config import Config

UNWRITTEN = -1


def planned_checkpoints(config: Config) -> Int64[np.ndarray, " checkpoint"]:
    """Steps at which a config plans a checkpoint, in ascending order."""
    return np.array(config.checkpoint_steps(), np.int64)


def planned_states(config: Config) -> Int64[np.ndarray, " state"]:
    """Steps at which a config plans to store the optimizer's state for replay, in ascending order."""
    every = config.checkpoints.optimizer_state_every
    return planned_checkpoints(config)[:: every or 1] if every else np.zeros(0, np.int64)


def n_committed(
    steps: Int64[np.ndarray, " entry"], planned: Int64[np.ndarray, " checkpoint"], what: str = "step"
) -> int:
    """Number of committed (completely written) entries of `steps`, which holds the optimizer step of each checkpoint.

    `planned` has the steps that the config plans, in ascending order. `what` is the name of `steps` in error messages.

    Raises
    ------
    ValueError
        An entry differs from the plan or follows an unwritten entry (-1). The message does not name the file. A kill
        can interrupt the write of the last entry that is not -1. This entry then has bytes of the planned step and
        bytes 0xFF (all bytes of -1 are 0xFF). It raises no error, but does not count.

    Examples
    --------
    >>> planned = np.array([0, 7, 14, 300])
    >>> n_committed(np.array([0, 7, -1, -1]), planned)
    2
    >>> n_committed(np.array([0, 7, 14, -212]), planned)  # a kill cut the write of 300 after its first byte, 0x2c
    3
    """
    unwritten = steps == UNWRITTEN
    n_before = int(unwritten.argmax()) if unwritten.any() else len(steps)
    later = np.flatnonzero(~unwritten[n_before:])
    if later.size:
        at = n_before + int(later[0])
        raise ValueError(f"{what}[{n_before}] is -1 (not written), but the later entry {what}[{at}] is {steps[at]}")
    if n_before > len(planned):
        raise ValueError(f"{what} has {n_before} entries, but the config plans {len(planned)}")
    wrong = np.flatnonzero(steps[:n_before] != planned[:n_before])
    if not wrong.size:
        return n_before
    at = int(wrong[0])
    if at == n_before - 1 and _is_cut(int(steps[at]), int(planned[at])):
        return at
    raise ValueError(f"{what}[{at}] is {steps[at]}, but the config plans {planned[at]}")


def _is_cut(stored: int, planned: int) -> bool:
    """Whether each byte of `stored` is that of `planned` or 0xFF. An interrupted write or erasure leaves such bytes."""
    stored_bytes, planned_bytes = (value.to_bytes(8, "little", signed=True) for value in (stored, planned))
    return all(byte in (expected, 0xFF) for byte, expected in zip(stored_bytes, planned_bytes, strict=True))
