"""Tables of subnetworks, their faithfulness, and the smallest subnetworks."""

import math
from collections.abc import Iterable

import xarray as xr

from circuits.analysis.networks.phase_tables import phase_cells, seen_cell, seen_column
from circuits.analysis.subnetworks.groups import last_checkpoints
from circuits.tabular import Titled, new_table, number


def subnetwork_tables(dataset: xr.Dataset, phases: xr.Dataset) -> list[Titled]:
    """Table of epochs and subnetwork sizes; table of the overlap of the memorizing and the generalizing subnetwork."""
    statistics = [str(name) for name in dataset["statistic"].values]
    sizes = new_table("seed", "memorized", "generalized", "final size", *statistics, *seen_column(phases))
    overlap = new_table("seed", "memorizing size", "generalizing size", "overlap", "at random")
    for seed in dataset["seed"].values:
        at = dataset.sel(seed=seed)
        late = (number(at["late_sparsity"].sel(statistic=statistic)) for statistic in statistics)
        when = phases.sel(seed=seed)
        seen = seen_cell(phases, when)
        sizes.add_row(str(seed), *phase_cells(when), number(at["final_sparsity"]), *late, *seen)
        both = number(at["memorizing_sparsity"]), number(at["final_sparsity"])
        overlap.add_row(str(seed), *both, number(at["overlap"], ".3f"), number(at["overlap_expected"], ".3f"))
    late_checkpoints = last_checkpoints(dataset["late_sparsity"].attrs["of"])
    title = f"Phases (epochs); size of the active subnetwork (neurons), final and over the\n{late_checkpoints}"
    return [(title, sizes), ("Overlap of the two subnetworks (Jaccard index), and its mean for random ones", overlap)]


def agreement_tables(dataset: xr.Dataset, phases: xr.Dataset) -> list[Titled]:
    """Table of neuron groups' agreement with the whole network, at memorization and at the last measured checkpoint."""
    groups = [str(group) for group in dataset["group"].values]
    table = new_table("at", "seed", *groups)
    epochs = dataset["epoch"].values.tolist()
    memorized = {seed: float(phases["memorization_epoch"].sel(seed=seed)) for seed in dataset["seed"].values.tolist()}
    last = dict.fromkeys(memorized, epochs[-1])
    for label, epoch_of in (("memorized", memorized), (f"epoch {epochs[-1]:g}", last)):
        rows: list[list[float]] = []
        for seed, epoch in epoch_of.items():
            at = dataset["agreement"].sel(seed=seed)
            agreement = at.isel(step=epochs.index(epoch)) if epoch in epochs else None
            rows.append([math.nan if agreement is None else float(agreement.sel(group=group)) for group in groups])
            table.add_row("" if len(rows) > 1 else label, str(seed), *(number(value, ".3f") for value in rows[-1]))
        counts = {sum(not math.isnan(value) for value in column) for column in zip(*rows, strict=True)}
        of = "" if counts == {len(rows)} else f" of {' or '.join(map(str, sorted(counts)))}"
        table.add_row("", f"mean{of}", *(_mean(column) for column in zip(*rows, strict=True)), end_section=True)
    title = "Agreement with the full network on the test set, of each group of neurons alone"
    if any(not math.isnan(epoch) and epoch not in epochs for epoch in memorized.values()):
        title += "\n(– at memorization: that checkpoint is not among the measured ones)"
    return [(title, table)]


def smallest_tables(dataset: xr.Dataset, phases: xr.Dataset) -> list[Titled]:
    """Table of subnetwork sizes at the last measured checkpoint: active, smallest known, proved lower bound."""
    table = new_table("seed", "norm prefix", "smallest known", "none below", "proved smallest")
    last = dataset.isel(step=-1)
    for seed in dataset["seed"].values:
        at = last.sel(seed=seed)
        sizes = (number(at[name]) for name in ("prefix_size", "smallest_size", "smallest_bound"))
        table.add_row(str(seed), *sizes, "yes" if bool(at["smallest_proved"]) else "no")
    return [(f"Neurons of the smallest subnetwork, any subset, at epoch {float(dataset['epoch'][-1]):g}", table)]


def _mean(values: Iterable[float]) -> str:
    defined = [value for value in values if not math.isnan(value)]
    return number(sum(defined) / len(defined), ".3f") if defined else "–"
