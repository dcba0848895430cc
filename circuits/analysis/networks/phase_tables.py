"""Table of when each seed memorized and generalized, in epochs, and of the share of test inputs seen in training."""

import xarray as xr

from circuits.analysis.networks.bounded import delay_text, epoch_text
from circuits.analysis.networks.unseen import seen_remark
from circuits.tabular import Titled, new_table


def phase_tables(phases: xr.Dataset, _: xr.Dataset | None = None) -> list[Titled]:
    """Table of each seed's memorization, generalization and delay in epochs, and of collapse and divergence."""
    fates = [name for name in ("collapsed", "diverged") if phases[name].any()]
    table = new_table("seed", "memorized", "generalized", "delay", *fates, *seen_column(phases))
    for seed in phases["seed"].values:
        at = phases.sel(seed=seed)
        marks = (name if at[name] else "" for name in fates)
        table.add_row(str(seed), *phase_cells(at), delay_text(at), *marks, *seen_cell(phases, at))
    return [("Phases, in epochs", table)]


def phase_cells(at: xr.Dataset) -> list[str]:
    return [epoch_text(at, phase) for phase in ("memorization", "generalization")]


def seen_column(phases: xr.Dataset) -> list[str]:
    """Title, in a list, of the column for the share of test inputs seen in training; [] if no share is above 5 %."""
    share = phases.get("test_seen_share")
    return ["test\nseen"] if share is not None and any(map(seen_remark, share.values)) else []


def seen_cell(phases: xr.Dataset, at: xr.Dataset) -> list[str]:
    if not seen_column(phases):
        return []
    share = float(at["test_seen_share"])
    return [f"{100 * share:.3g} %" if seen_remark(share) else ""]
