"""The class `Measurement`; each entry of `registry.MEASUREMENTS` has the import path of an instance."""

from collections.abc import Callable
from dataclasses import dataclass

import xarray as xr

from circuits.config import Config
from circuits.tabular import Titled


@dataclass(frozen=True)
class Measurement:
    """A measurement of runs: its function, its tables, and for which configs it runs by default, on request or never.

    `registry.MEASUREMENTS` has the help text, the class of options and the figures of each measurement.
    """

    measure: Callable[..., xr.Dataset]
    """(run, options, *, progress=False) -> a labeled result."""
    applies: Callable[[Config], str | None] = lambda config: None
    """Config -> None, or a sentence that says why the measurement does not apply."""
    tables: Callable[[xr.Dataset, xr.Dataset], list[Titled]] | None = None
    """(result, each seed's epochs of memorization and generalization) -> tables. If `tables` is None, there is one
    table, with a row per seed and the values at the last checkpoint."""
    on_request: Callable[[Config], bool] = lambda config: False
    """Config -> whether the measurement runs only if requested by name, because it takes long."""
    defined: Callable[..., xr.Dataset] | None = None
    """The function that a caller registered, if the measurement is not this package's own."""
