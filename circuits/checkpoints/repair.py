"""Repair of a killed run's file, so that every HDF5 tool opens it.

`circuits.open` reads this file without a repair, unless the kill interrupted a write of HDF5's metadata. `h5dump`,
netCDF4 and plain xarray refuse the file, because the killed writer left it marked as open. Repair clears this mark and
removes rows of incomplete checkpoints. It drops no complete checkpoint, changes no value, and the run can be resumed as
before. It refuses a file in which entries of `step`, the numbers of updates at the checkpoints, are damaged.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np

from circuits.atomic_write import remove_left_behind
from circuits.checkpoints.commits import n_committed, planned_checkpoints, planned_states
from circuits.checkpoints.lengths import cut_to, is_packed, uncommitted
from circuits.checkpoints.lock import RunLock, writer_pid
from circuits.checkpoints.put_back import kept_copy
from circuits.checkpoints.recover import was_cut, was_killed
from circuits.checkpoints.run import open_run
from circuits.checkpoints.undo import has_undo
from circuits.checkpoints.unregistered import parsed
from circuits.checkpoints.writable import complete, make_writable, open_for_appending
from circuits.checkpoints.writer import BUFFERED_CHECKPOINTS, unwrite
from circuits.errors import InputError, RunError, error_number, refusal, remedy


class Repaired(NamedTuple):
    """The changes that a repair made.

    Attributes
    ----------
    was_killed
        Whether a killed writer had left the file open, or had not completed a write of the file's metadata.
    is_shorter
        Whether array rows of incompletely written checkpoints or optimizer states were removed.
    copy
        Path of a copy of the file from before rows were removed; None if `repair` made no copy.
    """

    was_killed: bool
    is_shorter: bool
    copy: Path | None

    def __bool__(self) -> bool:
        return self.was_killed or self.is_shorter


def repair(path: str | Path, *, say: Callable[[str], object] = lambda text: None) -> Repaired:
    """Repair a run file that a killed process was writing, so that any HDF5 tool can open the file.

    The kill leaves the file with the flag "open for writing". It may also leave partly written metadata, and array rows
    of checkpoints or optimizer states that were not completed. The function clears the flag, mends the metadata and
    removes these rows. Before it removes rows, it copies the file to RUN.h5.before-repair (then .1, .2, …) if such a
    row has values, or if any array in the file is compressed.

    Parameters
    ----------
    say
        Function that gets one line of text if an unusable `.undo` file (metadata copy) is renamed.

    Returns
    -------
    The changes. bool(changes) is False if the file needed no repair.

    Raises
    ------
    InputError
        The file is not a run, is damaged, or is being written by a process.
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
    with _explained(path):
        mended = mend(path, say)
        open_run(path).close()  # refuses a file that is not a run before it changes anything else
        if (process := writer_pid(path)) is not None:
            raise InputError(
                f"{path} is being written by process {process}, so it is not broken: circuits.open reads it as it is. "
                "Stop that process first if other tools must open the file."
            )
        remove_left_behind(path)
        if not (was_killed(path) or is_longer(path)):
            return Repaired(mended, False, None)  # without a lock, which a read-only folder refuses
        with RunLock(path):
            done = make_plain(path)
            return done._replace(was_killed=done.was_killed or mended)


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn a refusal by the file system, which HDF5 may report as a RuntimeError, into a RunError with a remedy."""
    try:
        yield
    except RunError:
        raise
    except (KeyError, OSError, RuntimeError) as error:
        if isinstance(error, KeyError) and not error_number(error):  # not a failed read
            raise
        raise RunError(
            f"{path} could not be repaired ({refusal(error)}). No checkpoint is lost. {remedy(error)}, then try again."
        ) from error


def mend(path: Path, say: Callable[[str], object] = lambda text: None) -> bool:
    """If the last write of a file's metadata was interrupted, mend the metadata; return whether they were mended."""
    if writer_pid(path) is not None or not (was_cut(path) or has_undo(path)):
        return False
    if not was_cut(path):
        open_run(path).close()  # refuses a file that is not a run, and leaves the file beside it
    with RunLock(path):
        return complete(path, say)


def is_longer(path: Path) -> bool:
    """Whether any array of a run has rows after its last complete checkpoint or optimizer state."""
    with open_run(path) as run:
        return bool(_uncommitted(run.hdf5))


def make_plain(path: Path) -> Repaired:
    """Clear the flag "open for writing", remove incomplete rows, return the changes. The caller holds a `RunLock`."""
    killed = was_killed(path)
    make_writable(path)
    with h5py.File(path, "r", locking=False) as file:
        rows = _uncommitted(file)
        is_risky = is_packed(file) or any(_has_values(dataset, length) for dataset, length in rows)
    if not rows:
        return Repaired(killed, False, None)  # without opening a sound file for writing
    copy = kept_copy(path) if is_risky else None
    with _explained(path), open_for_appending(path) as file:
        rows = _uncommitted(file)
        for dataset, length in rows:
            if dataset.name in ("/step", "/state_step"):
                unwrite(dataset, length)  # a partly written entry is erased before the change that can be undone
        cut_to(path, file, rows)
    return Repaired(killed, True, copy)


def _uncommitted(file: h5py.File) -> list[tuple[h5py.Dataset, int]]:
    """Arrays with rows of incomplete checkpoints or optimizer states, each with its number of complete rows."""
    config = parsed(json.loads(file.attrs["config"]), file)
    lengths = {"step": n_committed(file["step"][:], planned_checkpoints(config)), "state_step": 0}
    if "state_step" in file:
        lengths["state_step"] = n_committed(file["state_step"][:], planned_states(config), "state_step")
    return uncommitted(file, lengths)


def _has_values(dataset: h5py.Dataset, length: int) -> bool:
    """Whether rows after the first `length` hold values; the search covers only rows that a writer may have written."""
    rows = dataset[length : length + 2 * BUFFERED_CHECKPOINTS]
    is_fill = np.isnan(rows) if rows.dtype.kind == "f" else rows == dataset.fillvalue
    return bool((~is_fill & (rows != 0)).any())
