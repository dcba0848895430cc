"""Verification of a run: compares all stored parameters, metrics, data and optimizer states with their digests."""

from __future__ import annotations

from collections.abc import Iterator

import h5py
import numpy as np

from circuits.bars import progress_bar
from circuits.checkpoints.digests import METRICS, checksum, digest, metrics_as_rows, row_digests
from circuits.checkpoints.layout import has_values, of_state
from circuits.checkpoints.run import BLOCK_BYTES, Run
from circuits.errors import InputError


def damage(run: Run, *, progress: bool = False) -> list[str]:
    """Descriptions of all values of a run that changed after they were written, one line each; empty if none changed.

    If `progress` is True and stderr is a terminal, the function shows a progress bar.

    Raises
    ------
    InputError
        The run is of version 1, which has no digests.

    Examples
    --------
    >>> import circuits, tempfile
    >>> config = circuits.preset("merrill-2023").replace(model__width=8, task__n_train=32, epochs=2, seeds=[0])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     damage(circuits.train(config, f"{folder}/tiny.h5", progress=False))
    []
    """
    if not run.has_digests:
        raise InputError(
            f"{run.path} is of format version 1, which has no digests, so its values cannot be verified. New runs "
            f"have digests."
        )
    return [*_checkpoints(run, progress), *_data(run), *_states(run), *_slots(run), *_scales(run)]


def _checkpoints(run: Run, progress: bool) -> Iterator[str]:
    file, n = run.hdf5, run.n_checkpoints
    groups = [(name, [f"parameters/{name}"]) for name in run.config.shapes]
    groups.append((METRICS, sorted(f"metrics/{name}" for name in run.metric_names)))
    names = [name.decode() for name in file["digests/digested"][:].tolist()]
    bar = progress_bar(total=n * len(groups), desc="verifying", unit="row", shown=progress)
    with bar:
        for name, arrays in groups:
            expected = file["digests/checkpoint"][:n, :, names.index(name)]
            row_bytes = sum(file[array].dtype.itemsize * int(np.prod(file[array].shape[1:])) for array in arrays)
            length = max(1, BLOCK_BYTES // max(1, row_bytes))
            for start in range(0, n, length):
                stop = min(start + length, n)
                rows = {array: file[array][start:stop] for array in arrays}
                actual = row_digests(metrics_as_rows(rows) if name == METRICS else rows[arrays[0]])
                for row, seed in np.argwhere(actual != expected[start:stop]).tolist():
                    what = "metrics" if name == METRICS else arrays[0]
                    yield f"{what} of seed {run.seeds[seed]} at step {run.steps[start + row]}"
                bar.update(stop - start)
    wrong = np.flatnonzero(file["epoch"][:n] != run.epochs)
    yield from (f"epoch at step {run.steps[at]}" for at in wrong.tolist())


def _data(run: Run) -> Iterator[str]:
    for name, item in run.hdf5["data"].items():
        if name not in run.hdf5 and has_values(run.config, name) and digest(item[()]) != item.attrs["digest"]:
            yield f"data/{name}"


def _states(run: Run) -> Iterator[str]:
    if "optimizer" not in run.hdf5:
        return
    names = [name.decode() for name in run.hdf5["digests/kept"][:].tolist()]
    for index, step in enumerate(run.state_steps.tolist()):
        for place, name in enumerate(names):
            actual = row_digests(run.hdf5[f"optimizer/{name}"][index][None])[0]
            wrong = np.flatnonzero(actual != run.hdf5["digests/optimizer"][index, :, place])
            yield from (f"optimizer/{name} of seed {run.seeds[seed]} at step {step}" for seed in wrong.tolist())


def _slots(run: Run) -> Iterator[str]:
    """Description of each resume slot (a saved optimizer state) with a wrong checksum, due to damage or to a kill."""
    for name in ("resume/slot0", "resume/slot1"):
        slot = run.hdf5[name]
        sequence, n_checkpoints, crc32 = (int(slot[key][()]) for key in ("sequence", "n_checkpoints", "crc32"))
        if "state" in slot and sequence != -1:  # -1 until it is written
            state = {of_state(array): dataset[()] for array, dataset in slot["state"].items()}
            if checksum(state, sequence, n_checkpoints) != crc32:
                yield f"{name}, to resume from"


def _scales(run: Run) -> Iterator[str]:
    """Names of the dimension scales whose values should be 0, 1, 2, … but are not."""
    for name, item in run.hdf5.items():
        counts = isinstance(item, h5py.Dataset) and name not in ("step", "epoch", "seed", "state_step")
        if counts and not np.array_equal(item[()], np.arange(len(item))):
            yield name
