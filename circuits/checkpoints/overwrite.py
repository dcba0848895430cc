"""Writes of whole arrays and whole rows into datasets, without the selection objects of h5py.

A commit writes many small arrays. `dataset[start:end] = rows` then spends most of its time in Python, on the general
rules of indexing; the functions of HDF5 below it write the same bytes.
"""

from __future__ import annotations

import h5py
import numpy as np
from h5py import h5s


def overwrite(dataset: h5py.Dataset, values: np.ndarray | int) -> None:
    """Replace all values of a dataset, which has the shape of `values`, or one to which `values` broadcast."""
    array = np.asarray(values, order="C")
    if array.shape == dataset.shape:
        _write(dataset, h5s.ALL, h5s.ALL, array)
    else:
        dataset[...] = values


def overwrite_rows(dataset: h5py.Dataset, start: int, rows: np.ndarray) -> None:
    """Write rows into a dataset from index `start`; in a file of version 1 the dataset grows first.

    Raises
    ------
    ValueError
        The dataset has rows of another shape.
    """
    space, end = dataset.id.get_space(), start + len(rows)
    n_rows, *shape = space.get_simple_extent_dims()
    if rows.shape[1:] != tuple(shape):
        raise ValueError(f"{dataset.name} has rows of shape {tuple(shape)}, got {rows.shape[1:]}")
    if n_rows < end:
        dataset.resize(end, axis=0)
        space = dataset.id.get_space()
    if rows.size:
        space.select_hyperslab((start, *(0 for _ in shape)), rows.shape)
        _write(dataset, h5s.create_simple(rows.shape), space, np.asarray(rows, order="C"))


def _write(dataset: h5py.Dataset, memory: h5s.SpaceID | int, file: h5s.SpaceID | int, values: np.ndarray) -> None:
    dataset.id.write(memory, file, values)
