"""Finds the arrays with a row per checkpoint or per optimizer state; cuts off rows that are not completely written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import h5py

from circuits.checkpoints.undo import undoable


def along_steps(file: h5py.File) -> Iterator[tuple[str, h5py.Dataset]]:
    """Pairs ("step", array with a row per checkpoint) and ("state_step", array with a row per optimizer state)."""
    for commit, groups in (("step", ("parameters", "metrics")), ("state_step", ("optimizer",))):
        if commit in file:
            yield commit, file[commit]
            for group in groups:
                for name in file[group]:
                    if name != commit and file[group][name].maxshape[:1] == (None,):
                        yield commit, file[group][name]
    for commit, name in (("step", "checkpoint"), ("state_step", "optimizer")):
        if f"digests/{name}" in file:
            yield commit, file[f"digests/{name}"]


def uncommitted(file: h5py.File, lengths: Mapping[str, int]) -> list[tuple[h5py.Dataset, int]]:
    """Arrays with incomplete rows, each with its number of complete rows: lengths["step"] or lengths["state_step"]."""
    return [(dataset, lengths[commit]) for commit, dataset in along_steps(file) if len(dataset) > lengths[commit]]


def is_packed(file: h5py.File) -> bool:
    """Whether any array has a filter, such as compression. HDF5 then rewrites other rows and metadata to add a row."""
    arrays: list[h5py.Dataset] = []
    file.visititems(lambda _, item: arrays.append(item) if isinstance(item, h5py.Dataset) else None)
    return any(array.id.get_create_plist().get_nfilters() for array in arrays)


def cut_to(path: Path, file: h5py.File, datasets: list[tuple[h5py.Dataset, int]]) -> None:
    """Shorten arrays to the lengths paired with them. The next writer or `repair` undoes an interrupted cut."""
    if datasets:
        with undoable(path, file):
            for dataset, length in datasets:
                dataset.resize(length, axis=0)
