"""A dataset of a run as an xarray variable that reads only what is asked of it.

Slices become HDF5 selections, at most one axis by a list of indices; the rest is done in memory. The length along
`step` is the number of committed checkpoints at the moment the variable was made, so that a run that is still being
written shows a consistent prefix.
"""

from __future__ import annotations

from typing import Any

import h5py
import numpy as np
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing


class _Committed(BackendArray):
    """The first `length` entries of an HDF5 dataset, or all of it."""

    def __init__(self, dataset: h5py.Dataset, length: int | None) -> None:
        self._dataset = dataset
        self.shape = dataset.shape if length is None else (length, *dataset.shape[1:])
        self.dtype = dataset.dtype

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.OUTER_1VECTOR, self._read)

    def _read(self, key: tuple[Any, ...]) -> np.ndarray:
        first = key[0] if key else None
        if isinstance(first, slice):  # the dataset may be longer than what is committed
            key = (slice(*first.indices(self.shape[0])), *key[1:])
        return np.asarray(self._dataset[key])


def lazy_variable(dims: tuple[str, ...], dataset: h5py.Dataset, length: int | None = None) -> xr.Variable:
    """A labelled variable over `dataset`, cut to `length` along its first axis, that reads when it is indexed.

    Parameters
    ----------
    dims
        Name of each dimension.
    dataset
        The HDF5 dataset; its file must stay open.
    length
        Entries along the first axis that exist, None for all.
    """
    return xr.Variable(dims, indexing.LazilyIndexedArray(_Committed(dataset, length)))
