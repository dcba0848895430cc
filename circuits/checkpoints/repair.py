"""Making a killed run's file an ordinary HDF5 file again, for tools that know nothing of live files.

`circuits.open` reads the file of a killed writer as it is, unless the kill cut a write of HDF5's own metadata.
`h5dump`, netCDF4 and plain xarray refuse it, because its superblock still says "open for writing", and show rows of
checkpoints that were never committed. Repair mends the metadata, clears the flag and cuts the rows. It drops no
committed checkpoint, and the run can be resumed as before. It refuses a file with damaged steps, and changes no value.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np

from circuits.atomic_write import copy_sparse, unused, written_whole
from circuits.checkpoints.commits import n_committed, planned_checkpoints, planned_states
from circuits.checkpoints.lengths import cut_to, uncommitted
from circuits.checkpoints.lock import RunLock, writer_pid
from circuits.checkpoints.recover import was_cut, was_killed
from circuits.checkpoints.run import open_run
from circuits.checkpoints.writer import (
    BUFFERED_CHECKPOINTS,
    make_writable,
    open_for_appending,
    unwrite,
)
from circuits.config import parse
from circuits.errors import InputError, RunError


class Repaired(NamedTuple):
    """What a repair did.

    Attributes
    ----------
    was_killed
        Whether a killed writer had left the file open, or a write of its metadata cut.
    is_shorter
        Whether rows were cut that belong to no checkpoint.
    copy
        Where the file as it was is kept; None if what was cut was empty.
    """

    was_killed: bool
    is_shorter: bool
    copy: Path | None

    def __bool__(self) -> bool:
        return self.was_killed or self.is_shorter


def repair(path: str | Path, *, say: Callable[[str], object] = lambda text: None) -> Repaired:
    """Make the file of a killed writer open in any HDF5 tool.

    The file as it was is kept beside, as RUN.h5.before-repair (then .1, .2, …), if rows are cut that hold something.

    Parameters
    ----------
    path
        The run file.
    say
        Called with a line on a copy of bytes beside it that is set aside.

    Returns
    -------
    What was repaired; false if there was nothing.

    Raises
    ------
    InputError
        It is not a run, it is damaged, or a process is writing it now.
    RunError
        The file system refused a write; no checkpoint is lost.

    Examples
    --------
    >>> import circuits, tempfile
    >>> config = circuits.preset("merrill-2023").replace(model__width=8, task__n_train=32, epochs=2, seeds=[0])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     circuits.train(config, f"{folder}/tiny.h5", progress=False).close()
    ...     bool(repair(f"{folder}/tiny.h5"))
    False
    """
    path = Path(path)
    mended = mend(path, say)
    open_run(path).close()  # refuses what is not a run before anything else is changed
    process = writer_pid(path)
    if process is not None:
        raise InputError(
            f"{path} is being written by process {process}, so it is not broken: circuits.open reads it as it is. "
            "Stop that process first if other tools must open the file."
        )
    try:
        with RunLock(path):
            done = make_plain(path)
            return done._replace(was_killed=done.was_killed or mended)
    except OSError as error:
        raise RunError(
            f"{path} could not be repaired ({error.strerror or error}). No checkpoint is lost. Make room, then repair "
            f"it again."
        ) from error


def mend(path: Path, say: Callable[[str], object] = lambda text: None) -> bool:
    """Mend the metadata of a file whose last write was cut, if it is such a file; whether it was."""
    if not was_cut(path) or writer_pid(path) is not None:
        return False
    with RunLock(path):
        return make_writable(path, say)


def is_longer(path: Path) -> bool:
    """Whether a run has rows behind its last checkpoint."""
    with open_run(path) as run:
        return bool(_uncommitted(run.hdf5))


def make_plain(path: Path) -> Repaired:
    """Clear what a killed writer left, and say what it was; call it under the run's lock."""
    killed = was_killed(path)
    make_writable(path)
    with h5py.File(path, "r", locking=False) as file:
        rows = _uncommitted(file)
        something = any(_holds_something(dataset, length) for dataset, length in rows)
    if not rows:
        return Repaired(killed, False, None)  # a sound file is not even opened for writing
    copy = _kept_copy(path) if something else None
    with open_for_appending(path) as file:
        rows = _uncommitted(file)
        for dataset, length in rows:
            if dataset.name in (
                "/step",
                "/state_step",
            ):  # an entry that was cut: no part of a change that can be undone
                unwrite(dataset, length)
        cut_to(path, file, rows)
    return Repaired(killed, True, copy)


def _kept_copy(path: Path) -> Path:
    """A copy of the file beside it, under the first name that is free: that of an earlier repair stays."""
    while True:
        copy = unused(path.with_name(f"{path.name}.before-repair"))
        with suppress(FileExistsError), path.open("rb") as whole, written_whole(copy, replace=False) as temporary:
            temporary.unlink()
            copy_sparse(whole, temporary)
            return copy


def _uncommitted(file: h5py.File) -> list[tuple[h5py.Dataset, int]]:
    """Arrays with rows that were never committed, and how many rows were."""
    config = parse(json.loads(file.attrs["config"]))
    lengths = {"step": n_committed(file["step"][:], planned_checkpoints(config)), "state_step": 0}
    if "state_step" in file:
        lengths["state_step"] = n_committed(file["state_step"][:], planned_states(config), "state_step")
    return uncommitted(file, lengths)


def _holds_something(dataset: h5py.Dataset, length: int) -> bool:
    """Whether rows behind the committed ones were written, as far as a writer may be ahead."""
    rows = dataset[length : length + 2 * BUFFERED_CHECKPOINTS]
    is_filled = np.isnan(rows) if rows.dtype.kind == "f" else rows == dataset.fillvalue
    return bool((~is_filled & (rows != 0)).any())
