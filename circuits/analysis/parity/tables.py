"""Constructions and certificates as tables."""

import math

import xarray as xr

from circuits.analysis.subnetworks.groups import last_checkpoints
from circuits.tabular import Titled, new_table, number


def construction_tables(dataset: xr.Dataset, phases: xr.Dataset) -> list[Titled]:
    """Tables: circuit size per seed; gates and nearest construction per seed; path costs of seeds and constructions."""
    sizes = new_table("seed", "bits found", "neurons", "merged", "min", "median", "max", "defined")
    words = new_table("seed", "gates, and the nearest construction")
    prices = new_table("", "cost per margin", "u re-solved", "efficiency")
    least, among = float(dataset["least_cost"]), dataset["late_merged_defined"].attrs["of"]
    for seed in dataset["seed"].values:
        at = dataset.sel(seed=seed)
        bits = "?" if at["bits_ambiguous"] else " ".join(map(str, at["bit_found"].values.nonzero()[0]))
        neurons = int((at["neuron_index"] >= 0).sum())
        late = (number(value) for value in at["late_merged"])
        merged, defined = number(at["merged_size"]), f"{int(at['late_merged_defined'])} of {among}"
        sizes.add_row(str(seed), bits, str(neurons), merged, *late, defined)
        words.add_row(str(seed), str(at["verdict"].values))
        for part in dataset["part"].values:
            costs = (at[f"final_{name}"].sel(part=part) for name in ("cost_per_margin", "resolved", "efficiency"))
            prices.add_row(f"seed {seed}, {part}", *(number(value, ".3f") for value in costs))
    words.columns[1].justify = "left"
    for name in dataset["construction"].values:
        at = dataset.sel(construction=name)
        costs = (at[f"built_{name}"] for name in ("cost_per_margin", "resolved", "efficiency"))
        prices.add_row(str(name), *(number(value, ".3f") for value in costs))
    merge = f"cosine > {dataset.attrs['merge_cosine']:g}, path norm > {dataset.attrs['merge_floor']:g} of the largest"
    price = "Path cost per unit of margin"
    if not math.isnan(least):
        price += (
            f"; least possible C* = {least:.4g}\n(1/C* = {1 / least:.3g}: weight decay above which parity is not worth "
            f"its norm,\nnumerical, in the population limit; a finite train set memorizes beyond it)"
        )
    over = f"merged sparsity over the {last_checkpoints(among)}"
    return [
        (f"Active subnetwork, neurons and merged elements\n({merge});\n{over}", sizes),
        ("What the active subnetworks are", words),
        (price, prices),
    ]


def certificate_tables(dataset: xr.Dataset, phases: xr.Dataset) -> list[Titled]:
    """Tables of proved margins and failure rates of subnetwork and whole network, at the last measured checkpoint."""
    last = dataset.isel(step=-1)
    shown = []
    for name, begins in (("Active subnetwork", ""), ("Whole network", "whole_")):
        own = ("neurons", "flips min", "median") if not begins else ()
        table = new_table("seed", "all inputs", "margin from", "to", "failures", "95 % interval", *own)
        for seed in dataset["seed"].values:
            at = last.sel(seed=seed)
            rate = number(at[f"{begins}failure_rate"], ".4g")
            low, high = (number(at[f"{begins}failure_{end}"], ".4g") for end in ("low", "high"))
            between = low if low == high == "–" else f"{low}–{high}"
            margins = (number(at[f"{begins}margin_{end}"], ".4g") for end in ("lower", "upper"))
            of_own = [number(at[part]) for part in ("n_kept", "fewest_flips_min", "fewest_flips_median") if own]
            table.add_row(str(seed), str(at[f"{begins}verdict"].values), *margins, rate, between, *of_own)
        shown.append((f"{name} at epoch {float(dataset['epoch'][-1]):g}: worst-case margin, failures on inputs", table))
    return shown
