"""Tables of the progress measures, of when each begins to change, and of the measure that surely changes first."""

import math

import xarray as xr
from rich.table import Table

from circuits.analysis.networks.bounded import UNKNOWN, bounded
from circuits.analysis.progress.earliest import tied
from circuits.analysis.progress.ramp import LEAST_POINTS
from circuits.analysis.tables import FEW_LABELS, last_checkpoint
from circuits.tabular import Titled, count, interval, new_table, number, top_aligned

MOST_TIED = 5  # most names in a cell


def progress_tables(dataset: xr.Dataset, phases: xr.Dataset) -> list[Titled]:
    """Tables: the measures at the last checkpoint, when each begins to change, and which one surely changes first."""
    seeds = dataset["seed"].values.tolist()[:FEW_LABELS]
    of = "" if len(seeds) == dataset.sizes["seed"] else f"; the first {len(seeds)} of {dataset.sizes['seed']} seeds"
    values = new_table("measure", *(f"seed {seed}" for seed in seeds))
    hidden = ("share", "sparsity_ratio", "frobenius_norm", "layer_norm", "sensitivity_low", "sensitivity_high")
    for name, measure in last_checkpoint(dataset.drop_vars(hidden, errors="ignore")).items():
        cells = [number(measure.sel(seed=seed), ".4g") for seed in seeds]
        if f"{name}_low" in dataset:
            low, high = (dataset[f"{name}_{end}"].isel(step=-1) for end in ("low", "high"))
            ends = [interval(low.sel(seed=seed), high.sel(seed=seed), ".3g") for seed in seeds]
            cells = [cell + end for cell, end in zip(cells, ends, strict=True)]
        values.add_row(name.replace("\n", " "), *cells)
    top_aligned(values)
    reference = str(dataset.attrs["reference"]).replace("_", " ")
    epochs = phases["memorization_epoch"]
    never = [str(seed) for seed in seeds if math.isnan(float(epochs.sel(seed=seed)))]
    after = "initialization" if len(never) == len(seeds) else "memorization"
    when = (
        f"When each measure begins to change, ↑ or ↓, after {after}, in epochs,\n"
        f"and how long after {reference} (95 %){of}."
    )
    when = "\n".join([when, *bounds_legend(dataset, seeds)])
    if never and len(never) < len(seeds):
        when += f"\nNever memorized, so from the first update: seed {', '.join(never)}"
    shown = [
        (f"progress, at epoch {float(dataset['epoch'][-1]):g}{of}", values),
        (when, onset_table(dataset, phases, seeds)),
    ]
    if not bool(dataset["onset"].isnull().all()):
        title = (
            f"Earliest measure: the 95 % interval of its onset lies before all others{of}.\n"
            "Choices: memorization threshold .9 to .9999, each linear and logarithmic"
        )
        shown.append((title, earliest_table(dataset, seeds)))
    return shown


def onset_table(dataset: xr.Dataset, phases: xr.Dataset, seeds: list[int]) -> Table:
    """Table that says when each measure (row) begins to change in each seed (column), in epochs.

    A cell also says how long after test accuracy (the reference) the change begins. If nothing changes, a line says so.
    """
    if bool(dataset["onset"].isnull().all()):
        return Table(_why_nothing_changes(dataset, phases), box=None)
    table = new_table("measure", *(f"seed {seed}" for seed in seeds))
    for name in dataset["measure"].values:
        at = dataset.sel(measure=name)
        table.add_row(str(name), *(lag_cell(at.sel(seed=seed)) for seed in seeds))
    return table


def earliest_table(dataset: xr.Dataset, seeds: list[int]) -> Table:
    """Table with a row per seed: the earliest measure, that is, the one that surely begins to change before all others.

    The measure is searched for with several memorization thresholds, each with the measures' values on a linear and on
    a log scale. "choices that agree" counts the searches that find the row's measure. "seeds that agree" counts the
    seeds with this earliest measure. For a seed without one, the last column names the measures that may be the first.
    """
    n_choices, n_seeds = int(dataset["earliest_choices"].attrs["n_choices"]), dataset.sizes["seed"]
    table = new_table("seed", "earliest", "choices that agree", "seeds that agree", "tied: none is surely before them")
    table.columns[-1].justify = "left"
    for seed in seeds:
        at, names = dataset.sel(seed=seed), tied(dataset, seed)
        name = str(at["earliest"].values)
        more = f" and {len(names) - MOST_TIED} more" if len(names) > MOST_TIED else ""
        listed = ", ".join(names[:MOST_TIED]) + more
        agree = [_of(at["earliest_choices"], n_choices), _of(at["earliest_seeds"], n_seeds)] if name else ["–", "–"]
        table.add_row(str(seed), name or "none", *agree, "" if name else listed or "no measure changes")
    return table


def lag_cell(at: xr.Dataset) -> str:
    """Text that says when one measure begins to change in one seed, and how long after the reference measure.

    The text "88 ↑: -13 (-19 to -6)" means: the measure begins to rise at epoch 88, 13 epochs before the reference, with
    the 95 % interval from 19 to 6 epochs before. The text "≤ 14 ↓: ≤ -50" means: the measure begins to fall at epoch 14
    or earlier, at least 50 epochs before the reference. Here the 95 % intervals have only high ends, 14 and -50. A lag
    after ≤ is rounded up, a lag after ≥ down. `at` has the variables of `circuits.analysis.change_points`.
    """
    onset, lag, low, high = (float(at[name]) for name in ("onset", "lag", "lag_low", "lag_high"))
    if math.isnan(onset):
        return "–"
    censored = bool(at["onset_censored"])
    cell = f"{bounded(float(at['onset_high']) if censored else onset, censored)} {'↑' if at['direction'] > 0 else '↓'}"
    if math.isinf(low) and math.isinf(high):
        return f"{cell}: {UNKNOWN}"
    if math.isnan(lag):
        return cell
    if math.isinf(low):
        return f"{cell}: {bounded(float(math.ceil(high)), True)}"
    if math.isinf(high):
        return f"{cell}: {bounded(float(math.floor(low)), True, sign='≥')}"
    return f"{cell}: {lag:+z,.0f} ({low:z,.0f} to {high:z,.0f})"


def bounds_legend(dataset: xr.Dataset, seeds: list[int]) -> list[str]:
    """Lines that explain "≤", "≥" and "unknown", each only if a table cell of `seeds` contains the sign or word."""
    at = dataset.sel(seed=seeds)
    reference = str(dataset.attrs["reference"]).replace("_", " ")
    changes, below, above = at["onset"].notnull(), at["lag_low"] == -math.inf, at["lag_high"] == math.inf
    lines = {
        "≤: the measure may have begun before the window; 95 % interval ends there": at["onset_censored"],
        f"≥: {reference} may have begun before the window; 95 % interval begins there": above & ~below,
        f"{UNKNOWN}: both may have begun before the window": above & below,
    }
    return [line for line, used in lines.items() if bool((used & changes).any())]


def _of(share: xr.DataArray, n: int) -> str:
    return f"{round(float(share) * n)} of {n}" if n else "–"


def _why_nothing_changes(dataset: xr.Dataset, phases: xr.Dataset) -> str:
    begin = phases["memorization_epoch"].sel(seed=dataset["seed"]).fillna(0)
    later = int(((dataset["epoch"] >= begin) & (dataset["epoch"] > 0)).sum("step").max())
    if later < LEAST_POINTS:
        some = phases["memorization_epoch"].sel(seed=dataset["seed"]).notnull().any()
        after = "memorization" if some else "initialization"
        return f"Only {count(later, 'checkpoint')} after {after}; to see a measure change takes {LEAST_POINTS}."
    return "No measure changes."
