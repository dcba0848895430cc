"""What a measurement is: the object that a line of `registry.MEASUREMENTS` points to, in the folder of its family."""

from collections.abc import Callable
from dataclasses import dataclass

import xarray as xr

from circuits.config import Config
from circuits.tabular import Titled


@dataclass(frozen=True)
class Measurement:
    """How something is measured of a run, for which configs, and how it is told.

    Its help, the class of its options and its figures stand in its line of the registry.
    """

    measure: Callable[..., xr.Dataset]
    """(run, options, *, progress=False) -> a labeled result."""
    applies: Callable[[Config], str | None] = lambda config: None
    """Config -> None, or a sentence that says why it cannot be made of such runs."""
    tables: Callable[[xr.Dataset, xr.Dataset], list[Titled]] | None = None
    """(result, phases) -> tables; None: the last checkpoint of every variable over step and seed."""
    on_request: Callable[[Config], bool] = lambda config: False
    """Config -> whether it takes so long that it is made only when it is named."""
