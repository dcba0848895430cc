"""The checkpoint from which a run resumes: the newest checkpoint with an intact optimizer state.

Two slots of the file hold the newest states. The writer alternates between them, so an interrupted write leaves the
other slot intact. A run may also store states for `circuits replay`. It resumes from the newest intact state of
either kind. A state is intact if its checksum (in a slot) or digest (for replay) matches.
"""

from __future__ import annotations

from typing import NamedTuple

import h5py
import numpy as np
from jaxtyping import Int64

from circuits.checkpoints.commits import n_committed
from circuits.checkpoints.digests import checksum, row_digests
from circuits.checkpoints.layout import of_state

State = dict[str, np.ndarray]
LARGEST_SEQUENCE = 1 << 62


class ResumePoint(NamedTuple):
    """Number of checkpoints to keep, the optimizer's state at the last of them, and the state's sequence number."""

    n_checkpoints: int
    state: State
    sequence: int


def resume_point(
    file: h5py.File, planned: Int64[np.ndarray, " step"], planned_states: Int64[np.ndarray, " state"]
) -> ResumePoint:
    """The checkpoint and optimizer state from which a run resumes.

    Parameters
    ----------
    planned, planned_states
        Steps at which the config plans checkpoints, and steps at which it plans to store optimizer states for replay.

    Returns
    -------
    The resume point. Its `n_checkpoints` counts the checkpoints up to the newest one with an intact optimizer state. If
    no stored state is intact, `n_checkpoints` is 0. For an optimizer without state, `n_checkpoints` counts all.
    """
    n_there = n_committed(file["step"][:], planned)
    slots = [file[f"resume/slot{index}"] for index in (0, 1)]
    if "state" not in slots[0]:
        return ResumePoint(n_there, {}, -1)
    best = ResumePoint(0, {}, -1)
    for slot in slots:
        sequence, n_checkpoints, crc32 = (int(slot[key][()]) for key in ("sequence", "n_checkpoints", "crc32"))
        if not best.sequence < sequence < LARGEST_SEQUENCE or not 0 <= n_checkpoints <= n_there:
            continue
        state = {of_state(name): dataset[()] for name, dataset in slot["state"].items()}
        if checksum(state, sequence, n_checkpoints) == crc32:
            best = ResumePoint(n_checkpoints, state, sequence)
    if best.n_checkpoints < n_there and "digests" in file and "optimizer" in file["digests"]:
        return _newest_kept(file, best, planned[:n_there], planned_states)
    return best


def _newest_kept(
    file: h5py.File, best: ResumePoint, kept_steps: Int64[np.ndarray, " step"], planned: Int64[np.ndarray, " state"]
) -> ResumePoint:
    """The newest intact optimizer state stored for replay if it is newer than `best`, else `best`.

    `planned`: steps at which the config stores states for replay. `kept_steps`: steps of the checkpoints in the file.
    """
    steps = file["state_step"][:]
    names = sorted(name for name in file["optimizer"] if name not in ("state_step", "seed"))
    for at in reversed(range(n_committed(steps, planned, "state_step"))):
        n_checkpoints = int(np.searchsorted(kept_steps, steps[at], side="right"))
        if n_checkpoints <= best.n_checkpoints:
            break
        rows = [file[f"optimizer/{name}"][at] for name in names]
        actual = np.stack([row_digests(row[None])[0] for row in rows], axis=-1)  # (seed, name)
        if np.array_equal(actual, file["digests/optimizer"][at]):
            state = {of_state(name): row for name, row in zip(names, rows, strict=True)}
            return ResumePoint(n_checkpoints, state, best.sequence)
    return best
