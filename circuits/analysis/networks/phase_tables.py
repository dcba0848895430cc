"""When each seed memorized and generalized, as a table; every measurement has its phases in these words."""

import xarray as xr

from circuits.analysis.networks.bounded import delay_in_words, epoch_in_words
from circuits.analysis.networks.unseen import seen_remark
from circuits.tabular import Titled, new_table


def phase_tables(phases: xr.Dataset, _: xr.Dataset | None = None) -> list[Titled]:
    """When each seed memorized and generalized, in epochs; and which seed collapsed or diverged."""
    fates = [name for name in ("collapsed", "diverged") if phases[name].any()]
    table = new_table("seed", "memorized", "generalized", "delay", *fates, *seen_column(phases))
    for seed in phases["seed"].values:
        at = phases.sel(seed=seed)
        marks = (name if at[name] else "" for name in fates)
        table.add_row(str(seed), *phase_cells(at), delay_in_words(at), *marks, *seen_cell(phases, at))
    return [("Phases, in epochs", table)]


def phase_cells(at: xr.Dataset) -> list[str]:
    return [epoch_in_words(at, phase) for phase in ("memorization", "generalization")]


def seen_column(phases: xr.Dataset) -> list[str]:
    """A column's title if what a seed generalized to is partly its training set (`unseen.with_seen_share`)."""
    share = phases.get("test_seen_share")
    return ["test\nseen"] if share is not None and any(map(seen_remark, share.values)) else []


def seen_cell(phases: xr.Dataset, at: xr.Dataset) -> list[str]:
    if not seen_column(phases):
        return []
    share = float(at["test_seen_share"])
    return [f"{100 * share:.3g} %" if seen_remark(share) else ""]
