"""A dataset of a run as an xarray variable that reads only the values that are indexed.

HDF5 selects slices, and a list of indices on at most one axis; xarray applies other indices in memory. The length
along `step` is the number of complete checkpoints when the variable is created. So during training, no variable shows
a partly written checkpoint.

A row is the part of an array at one checkpoint and seed. Reading whole rows checks their digests. Reading a part of a
row, such as one neuron over all checkpoints, checks nothing: the digest needs the rest of the row.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing

from circuits.checkpoints.digests import check_rows
from circuits.checkpoints.handles import OpenedFile
from circuits.checkpoints.policy import one_line
from circuits.checkpoints.schema import dimensions
from circuits.errors import InputError, damaged


class _Committed(BackendArray):
    """The first `length` entries of an HDF5 dataset along its first axis; all entries if `length` is None."""

    def __init__(self, opened: OpenedFile, name: str, length: int | None, digested: bool) -> None:
        self._opened, self._name, self._digested = opened, name, digested
        with opened.dataset(name) as dataset:
            self.shape = dataset.shape if length is None else (length, *dataset.shape[1:])
            self.dtype = dataset.dtype
            self.dims = dimensions(dataset)
        self._path = opened.file.filename

    def __deepcopy__(self, memo: dict[int, object]) -> _Committed:
        return self  # a copy shares the open file

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.OUTER_1VECTOR, self._read)

    def _read(self, key: tuple[Any, ...]) -> np.ndarray:
        first = key[0] if key else None
        if isinstance(first, slice):  # the dataset may have uncommitted entries
            key = (slice(*first.indices(self.shape[0])), *key[1:])
        if not self._opened.file:
            raise InputError(
                f"{self._path} was closed, so {self._name} can no longer be read. Call .load() before closing."
            )
        try:
            with self._opened.dataset(self._name) as dataset:
                values = np.asarray(dataset[key])
            if self._digested:
                self._check(key, values)
            return values
        except (OSError, RuntimeError) as error:
            raise damaged(self._path, f"{self._name} cannot be read: {one_line(error)}") from error

    def _check(self, key: tuple[Any, ...], values: np.ndarray) -> None:
        """Compare `values` with their digests, which are per network; do nothing if `key` selects parts of networks."""
        parts = zip(key[2:], self.shape[2:], strict=True)
        if any(not isinstance(part, slice) or range(*part.indices(n)) != range(n) for part, n in parts):
            return
        rows, seeds = (np.atleast_1d(np.arange(n)[part]) for part, n in zip(key[:2], self.shape[:2], strict=True))
        expected = self._opened.digests(self._name, self.shape[0])
        if expected is None or not rows.size:
            return

        def where(row: int, seed: int) -> str:
            steps, numbers = self._opened.file["step"], self._opened.file["seed"]
            return f"of seed {numbers[seeds[seed]]} at step {steps[rows[row]]}"

        whole = values.reshape(len(rows), len(seeds), *self.shape[2:])
        check_rows(self._path, self._name, whole, expected[rows][:, seeds], where)


def lazy_variable(opened: OpenedFile, name: str, length: int | None = None, *, digested: bool = False) -> xr.Variable:
    """Labeled variable for a dataset, cut to `length` along its first axis; it reads values only when it is indexed.

    Parameters
    ----------
    opened, name
        The open file, and the dataset in it.
    length
        Number of completely written entries along the first axis; None for all entries.
    digested
        Whether the file stores a digest of the dataset for each checkpoint and seed, as a run of format version 2 does.
    """
    array = _Committed(opened, name, length, digested)
    return xr.Variable(array.dims, indexing.LazilyIndexedArray(array))


class _Elsewhere(BackendArray):
    """An array that a function returns when values are needed first."""

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype, values: Callable[[], np.ndarray]) -> None:
        self.shape, self.dtype, self._values = shape, dtype, values

    def __deepcopy__(self, memo: dict[int, object]) -> _Elsewhere:
        return self

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.BASIC, lambda index: self._values()[index]
        )


def variable_elsewhere(dims: tuple[str, ...], dataset: Any, values: Callable[[], np.ndarray]) -> xr.Variable:
    """Variable of the shape and type of a dataset whose values are not in the file but come from a function."""
    return xr.Variable(dims, indexing.LazilyIndexedArray(_Elsewhere(dataset.shape, dataset.dtype, values)))
