"""Making a killed run's file an ordinary HDF5 file again, for tools that know nothing of live files.

`circuits.open` reads the file of a killed writer as it is. `h5dump`, netCDF4 and plain xarray refuse it, because its
superblock still says "open for writing", and they would show rows of a checkpoint that was never committed. Repair
clears the one and cuts the other. It drops no committed checkpoint, and the run can be resumed as before.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import h5py

from circuits.checkpoints.lock import RunLock, writer_pid
from circuits.checkpoints.recover import was_killed
from circuits.checkpoints.run import open_run
from circuits.checkpoints.writer import committed, make_writable, open_for_appending
from circuits.errors import InputError


def repair(path: str | Path) -> bool:
    """Make the file of a killed writer open in any HDF5 tool.

    Parameters
    ----------
    path
        The run file.

    Returns
    -------
    Whether there was something to repair.

    Raises
    ------
    InputError
        It is not a run, it is damaged, or a process is writing it now.

    Examples
    --------
    >>> import circuits, tempfile
    >>> config = circuits.preset("merrill-2023").replace(model__width=8, task__n_train=32, epochs=2, seeds=[0])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     circuits.train(config, f"{folder}/tiny.h5", progress=False).close()
    ...     repair(f"{folder}/tiny.h5")
    False
    """
    path = Path(path)
    open_run(path).close()  # refuses what is not a run before anything is changed
    process = writer_pid(path)
    if process is not None:
        raise InputError(
            f"{path} is being written by process {process}, so it is not broken: circuits.open reads it as it is. "
            "Stop that process first if other tools must open the file."
        )
    with RunLock(path):
        return make_plain(path)


def make_plain(path: Path) -> bool:
    """Clear what a killed writer left, and say whether there was any; call it under the run's lock."""
    killed = was_killed(path)
    make_writable(path)
    return _cut_to_committed(path) or killed


def _cut_to_committed(path: Path) -> bool:
    """Drop rows behind the last committed checkpoint; whether there were any."""
    with h5py.File(path, "r", locking=False) as file:
        if not list(_uncommitted(file)):
            return False  # a sound file is not even opened for writing
    with open_for_appending(path) as file:
        for dataset, length in _uncommitted(file):
            dataset.resize(length, axis=0)
            file.flush()
    return True


def _uncommitted(file: h5py.File) -> Iterator[tuple[h5py.Dataset, int]]:
    """Datasets with rows that were never committed, and how many rows were; what commits the others comes first."""
    for commit, groups in (("step", ("parameters", "metrics")), ("state_step", ("optimizer",))):
        if commit in file:
            length = committed(file[commit])
            for dataset in (file[commit], *(dataset for name in groups for dataset in file[name].values())):
                if dataset.maxshape[:1] == (None,) and dataset.shape[0] > length:
                    yield dataset, length
