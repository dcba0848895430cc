"""Labeled values of a run: xarray's `Dataset` and `DataArray`, whose `sel` names what there is if a label is missing.

    run.parameters["W"].sel(step=3210)
    InputError: There is no step 3210. The nearest is step 3200; method="nearest" selects it.

The two classes change this error only. They keep xarray's names, which its displays show. Selections, arithmetic and
reductions keep the classes; where xarray makes a plain object, as in `where`, its own error appears. `xr.testing`
compares classes too, so apply `labeled` to a plain dataset first. A subclass of `xarray.Index` instead would not align
with the plain indexes of other data.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

import numpy as np
import xarray as xr

from circuits.errors import InputError, nearest

MOST_LABELS = 20  # an error lists at most this many labels

Selected = TypeVar("Selected")


class MissingLabel(InputError, KeyError):
    """No value has this label; also a `KeyError`, as in xarray."""

    __str__ = Exception.__str__  # that of KeyError quotes the message


class DataArray(xr.DataArray):
    """An `xarray.DataArray`; see the module."""

    __slots__ = ()

    def sel(
        self,
        indexers: Mapping[Any, Any] | None = None,
        method: Any = None,
        tolerance: Any = None,
        drop: bool = False,
        **indexers_kwargs: Any,
    ) -> DataArray:
        """The values at labels, as `xarray.DataArray.sel`; a missing label raises an `InputError` of one line."""
        return _selected(super().sel, self, indexers, indexers_kwargs, method, tolerance, drop)

    def to_dataset(self, *arguments: Any, **keywords: Any) -> Dataset:
        """As `xarray.DataArray.to_dataset`."""
        return labeled(super().to_dataset(*arguments, **keywords))


class Dataset(xr.Dataset):
    """An `xarray.Dataset`; see the module."""

    __slots__ = ()

    def sel(
        self,
        indexers: Mapping[Any, Any] | None = None,
        method: Any = None,
        tolerance: Any = None,
        drop: bool = False,
        **indexers_kwargs: Any,
    ) -> Dataset:
        """The values at labels, as `xarray.Dataset.sel`; a missing label raises an `InputError` of one line."""
        return _selected(super().sel, self, indexers, indexers_kwargs, method, tolerance, drop)

    def __getitem__(self, key: Any) -> Any:
        values = super().__getitem__(key)
        if type(values) is xr.DataArray:
            values.__class__ = DataArray  # made by the call above, and of equal layout: no value is read or copied
        return values


def labeled(dataset: xr.Dataset) -> Dataset:
    """The dataset as a `Dataset` of this module; no value is read or copied.

    Examples
    --------
    >>> losses = labeled(xr.Dataset({"loss": ("step", [2.0, 1.0])}, {"step": [0, 32]}))
    >>> float(losses["loss"].sel(step=32))
    1.0
    >>> losses["loss"].sel(step=20)
    Traceback (most recent call last):
    circuits.checkpoints.labeled.MissingLabel: There is no step 20. The nearest is step 32; method="nearest" selects it.
    """
    if isinstance(dataset, Dataset):
        return dataset
    shared = dataset.copy(deep=False)
    shared.__class__ = Dataset
    return cast(Dataset, shared)


def _selected(
    select: Callable[..., Selected],
    values: xr.Dataset | xr.DataArray,
    indexers: Mapping[Any, Any] | None,
    keywords: Mapping[str, Any],
    method: Any,
    tolerance: Any,
    drop: bool,
) -> Selected:
    try:
        return select(indexers, method, tolerance, drop, **keywords)
    except KeyError as error:
        if isinstance(error, MissingLabel):
            raise
        for dim, wanted in {**(indexers or {}), **keywords}.items():
            if message := _missing(values, dim, wanted, method, tolerance):
                raise MissingLabel(message) from None
        raise


def _missing(values: xr.Dataset | xr.DataArray, dim: Any, wanted: Any, method: Any, tolerance: Any) -> str | None:
    """The message for a label that is missing along `dim`; None if none is missing, or for a kind of label unknown."""
    if dim not in values.coords or values.coords[dim].ndim != 1 or isinstance(wanted, slice):
        return None
    if isinstance(values.xindexes.get(dim), xr.indexes.PandasMultiIndex):
        return None
    labels = values.coords[dim].to_numpy()
    for label in np.ravel(np.asarray(wanted)).tolist():
        if method is None and (labels == label).any():
            continue
        on_scale = labels.dtype.kind in "iuf" and isinstance(label, int | float) and math.isfinite(label)
        if not on_scale or not len(labels) or dim == "seed":
            return _unlisted(str(dim), label, labels.tolist())
        near = labels[np.abs(labels - label).argmin()].item()
        if method is not None and tolerance is None and method != "nearest":
            return f'{dim} {label} has no label on the side that method="{method}" takes. The nearest is {dim} {near}.'
        if method is None:
            return f'There is no {dim} {label}. The nearest is {dim} {near}; method="nearest" selects it.'
        if abs(near - label) > np.max(tolerance):
            return f"There is no {dim} within {tolerance} of {label}. The nearest is {dim} {near}."
    return None


def _unlisted(dim: str, label: Any, labels: list[Any]) -> str:
    if len(labels) > MOST_LABELS:
        return f"There is no {dim} {label!r}. There are {len(labels)}, such as {labels[0]!r} and {labels[-1]!r}."
    if isinstance(label, str) and all(isinstance(one, str) for one in labels):
        return f"There is no {dim} '{label}'. {nearest(label, labels)}"
    return f"There is no {dim} {label!r}. There are: {', '.join(map(str, labels)) or 'none'}."
