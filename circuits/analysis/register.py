"""Registration of your own measurements, as `circuits.register` registers tasks and models."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from circuits.analysis.measurement import Measurement
from circuits.errors import InputError
from circuits.register import first_line, refuse_taken
from circuits.registry import MEASUREMENTS, MeasurementEntry

Function = TypeVar("Function", bound=Callable[..., Any])


def register_measurement(
    measure: Function | None = None,
    *,
    name: str | None = None,
    help: str | None = None,
    applies: Callable[[Any], str | None] = lambda config: None,
    tables: Callable[..., Any] | None = None,
    on_request: Callable[[Any], bool] = lambda config: False,
    options: Any = MeasurementEntry.options,
    figures: Any = MeasurementEntry.figures,
) -> Any:
    """Add a measurement, a function (run, options) -> xarray.Dataset; also a decorator, with or without arguments.

    Parameters
    ----------
    measure
        The function. A parameter `progress` is passed if it has one.
    name, help
        By default the function's name, and the first line of its docstring.
    applies, tables, on_request
        As in `circuits.analysis.measurement.Measurement`.
    options, figures
        Class of the options, and function (run, dataset) -> list of figures, or the import path of either.

    Raises
    ------
    InputError
        The name is taken or is not a Python name.
    """
    if measure is None:
        return lambda measure: register_measurement(
            measure, name=name, help=help, applies=applies, tables=tables, on_request=on_request, options=options,
            figures=figures,
        )  # fmt: skip
    chosen = name or measure.__name__
    if not chosen.isidentifier():
        raise InputError(f"A measurement cannot be called '{chosen}': its name becomes a flag. Pass name='…'.")
    refuse_taken(MEASUREMENTS, chosen, measure, "measurement")
    takes_progress = "progress" in inspect.signature(measure).parameters

    def measured(run: Any, options: Any, *, progress: bool = False) -> Any:
        return measure(run, options, **({"progress": progress} if takes_progress else {}))

    made = Measurement(measured, applies, tables, on_request, defined=measure)
    MEASUREMENTS[chosen] = MeasurementEntry(help or first_line(measure), made, options, figures)
    return measure
