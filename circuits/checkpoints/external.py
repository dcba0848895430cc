"""Data that a run file lacks: a function of the caller returns them, and the file has their digests."""

from __future__ import annotations

from functools import cache, partial
from typing import Any

import h5py
import numpy as np
import xarray as xr

from circuits.checkpoints.digests import digest
from circuits.checkpoints.layout import has_values
from circuits.checkpoints.lazy import variable_elsewhere
from circuits.checkpoints.schema import dimensions
from circuits.config import Config
from circuits.errors import InputError
from circuits.tasks.given import loaded, task_of


def external_data(config: Config, group: h5py.Group) -> dict[str, xr.Variable]:
    """Variables for the data that the file lacks, by name; the first that is read calls the run's loader.

    Reading raises an `InputError` if the loader cannot be called, or returns other data than those recorded.
    """
    model: Any = config.model

    @cache
    def arrays() -> dict[str, np.ndarray]:
        task = None if config.task.kind == "arrays" else config.task
        return task_of(loaded(model.loader), task, len(config.seeds), model.tokens)[1]

    def values(name: str, expected: int) -> np.ndarray:
        array = arrays().get(name)
        if array is None or digest(array) != expected:
            raise InputError(
                f"The loader {model.loader} returns other data than the recorded ones: {name} has another digest."
            )
        return array

    names = [name for name, item in group.items() if "digest" in item.attrs and not has_values(config, name)]
    return {
        name: variable_elsewhere(
            dimensions(group[name]), group[name], partial(values, name, int(group[name].attrs["digest"]))
        )
        for name in names
    }
