"""The class of measurements; every line of `registry.MEASUREMENTS` has the path of one."""

from collections.abc import Callable
from dataclasses import dataclass

import xarray as xr

from circuits.config import Config
from circuits.tabular import Titled


@dataclass(frozen=True)
class Measurement:
    """A measurement of runs: its function, the configs that it applies to, and its tables.

    Its help, the class of its options and its figures are in the registry.
    """

    measure: Callable[..., xr.Dataset]
    """(run, options, *, progress=False) -> a labeled result."""
    applies: Callable[[Config], str | None] = lambda config: None
    """Config -> None, or a sentence that says why the measurement does not apply."""
    tables: Callable[[xr.Dataset, xr.Dataset], list[Titled]] | None = None
    """(result, phases) -> tables; None: a table of all variables (step, seed) at the last checkpoint."""
    on_request: Callable[[Config], bool] = lambda config: False
    """Config -> whether the measurement takes so long that it must be requested by name."""
