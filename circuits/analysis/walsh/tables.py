"""Walsh spectra as tables."""

import math

import xarray as xr

from circuits.analysis.networks.bounded import epoch_text
from circuits.tabular import Titled, interval, new_table, number, top_aligned

AT_PHASES = {"memorized": "memorization", "generalized": "generalization"}  # rows by their phase


def walsh_tables(dataset: xr.Dataset, phases: xr.Dataset) -> list[Titled]:
    """Two tables; each seed has three rows: at memorization, at generalization and at the last checkpoint.

    The first has shares of the output's variance: the parity, the other subsets of the relevant bits, and the rest. The
    second has Fourier gaps (loss gradient at relevant bits minus that at other bits) and largest changes of weights.
    """
    shares = new_table("at", "seed", "epoch", "parity", "subsets", "rest", "prediction's\nparity")
    gap_columns = ("layer\ngap", "least\ngap", "median\ngap")
    progress = new_table("at", "seed", *gap_columns, "moved,\nrelevant", "moved,\nirrelevant")
    epochs = dataset["epoch"].values.tolist()
    for label, phase in [*AT_PHASES.items(), ("last", "")]:
        for place, seed in enumerate(dataset["seed"].values.tolist()):
            epoch = float(phases[f"{phase}_epoch"].sel(seed=seed)) if phase else epochs[-1]
            name = label if place == 0 else ""
            if epoch not in epochs:
                shares.add_row(name, str(seed), *["–"] * 5)
                progress.add_row(name, str(seed), *["–"] * 5)
                continue
            at = dataset.sel(seed=seed).isel(step=epochs.index(epoch))
            parity, *parts = (number(value, ".3g") for value in at["share"])
            low, high = (at[f"share_{end}"].sel(part="parity") for end in ("low", "high"))
            parity += interval(low, high, ".3g")
            predicted = number(at["sign_parity"], ".3f")
            predicted += interval(at["sign_parity_low"], at["sign_parity_high"], ".3f")
            when = epoch_text(phases.sel(seed=seed), phase) if phase else f"{epoch:g}"
            shares.add_row(name, str(seed), when, parity, *parts, predicted)
            gaps = [at["layer_gap"], *at["fourier_gap"][:2]] if "fourier_gap" in at else [math.nan] * 3
            moved = (number(at["movement"].sel(moved=part), ".3g") for part in ("relevant", "irrelevant"))
            progress.add_row(name, str(seed), *(number(gap, ".2g") for gap in gaps), *moved)
        shares.add_section()
        progress.add_section()
    top_aligned(shares)
    title = "Share of the output's variance on the parity, its subsets, everything else"
    if not dataset.attrs["exact"]:
        title += f"\n(95 % intervals, of {dataset.attrs['examples']:,} random inputs)"
    gap_title = (
        "Fourier gap of the population gradient, of the layer and of the\n"
        "generalizing neurons; largest change of a weight in the first layer\n"
        "(–: not taken at that checkpoint, or the network has collapsed)"
    )
    return [(title, shares), (gap_title, progress)]
