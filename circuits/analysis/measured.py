"""Results of `circuits.analyze`: a dictionary of datasets that a notebook displays as tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import xarray as xr

from circuits.analysis.tables import tables
from circuits.checkpoints.labeled import labeled
from circuits.notebook import folded, framed, table_html


class Measured(dict[str, xr.Dataset]):
    """A labeled dataset per measurement, by name; a notebook shows the tables that `circuits analyze` prints.

    Examples
    --------
    >>> Measured({"gap": xr.Dataset({"gap": ("step", [1.0, 2.0])}, {"step": [0, 32]})})["gap"].sel(step=30)
    Traceback (most recent call last):
    circuits.checkpoints.labeled.MissingLabel: There is no step 30. The nearest is step 32; method="nearest" selects it.
    """

    def __init__(self, datasets: Mapping[str, xr.Dataset]) -> None:
        super().__init__({name: labeled(dataset) for name, dataset in datasets.items()})

    def _repr_html_(self) -> str:
        return results_html(self)


def results_html(results: Mapping[str, xr.Dataset], *facts: str) -> str:
    """Tables of all results, then each dataset to unfold; `facts` are HTML above them."""
    shown = tables(results) if "phases" in results else []
    whole: list[Any] = [folded(f'["{name}"]', dataset._repr_html_()) for name, dataset in results.items()]
    return framed("Results of circuits.analyze", *facts, *(table_html(*one) for one in shown), *whole)
