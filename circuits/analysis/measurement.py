"""The class `Measurement`; each entry of `registry.MEASUREMENTS` has the import path of an instance."""

from collections.abc import Callable
from dataclasses import dataclass

import xarray as xr

from circuits.config import Config
from circuits.tabular import Titled


@dataclass(frozen=True)
class Measurement:
    """A measurement of runs: its function, the configs that it applies to, and its tables.

    Its help text, its class of options and its figures are in `registry.MEASUREMENTS`.
    """

    measure: Callable[..., xr.Dataset]
    """(run, options, *, progress=False) -> a labeled result."""
    applies: Callable[[Config], str | None] = lambda config: None
    """Config -> None, or a sentence that says why the measurement does not apply."""
    tables: Callable[[xr.Dataset, xr.Dataset], list[Titled]] | None = None
    """(result, each seed's epochs of memorization and generalization) -> tables. None in place of a function gives one
    table: a row per seed, values at the last checkpoint."""
    on_request: Callable[[Config], bool] = lambda config: False
    """Config -> whether the measurement runs only if requested by name, because it takes long."""
