"""Labeled results as tables for a terminal, mostly with a row per seed."""

from collections.abc import Mapping

import xarray as xr

from circuits.analysis.progress.change_points import flattened
from circuits.registry import MEASUREMENTS
from circuits.tabular import Titled, new_table, number

FEW_LABELS = 8  # a further dimension with at most this many labels gets a column for each label


def tables(results: Mapping[str, xr.Dataset]) -> list[Titled]:
    """Tables, each with a title, of all measurements in `results`, the datasets by name from `circuits.analyze`.

    `results` must have "phases", the epochs of memorization and generalization. If `results` also have "subnetwork",
    its table shows these epochs too, and the table of "phases" is left out.
    """
    shown: list[Titled] = []
    for name, dataset in results.items():
        own = MEASUREMENTS[name].load().tables
        if name != "phases" or "subnetwork" not in results:
            shown += own(dataset, results["phases"]) if own else [last_checkpoint_table(name, dataset)]
    return shown


def last_checkpoint_table(name: str, dataset: xr.Dataset) -> Titled:
    """Table of the variables with dimensions (step, seed) at the last checkpoint, a row per seed."""
    columns = last_checkpoint(dataset)
    table = new_table("seed", *columns)
    for seed in dataset["seed"].values:
        table.add_row(str(seed), *(number(values.sel(seed=seed), ".4g") for values in columns.values()))
    return f"{name}, at epoch {float(dataset['epoch'][-1]):g}", table


def last_checkpoint(dataset: xr.Dataset) -> dict[str, xr.DataArray]:
    """Table columns by name: values (seed,) of the numeric variables with dimensions step and seed, at the last step.

    A variable with one more dimension, of at most 8 labels, gives a column for each label.
    """
    columns = flattened(dataset, FEW_LABELS, "\n")
    return {name: values.isel(step=-1) for name, values in columns.items()}
