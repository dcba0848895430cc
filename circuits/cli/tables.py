"""Labelled results as tables for a terminal: rows are seeds, and every number is one that the results hold.

`OWN` lists the measurements that have tables of their own; any other measurement shows the last
checkpoint of each of its (step, seed) variables, so that a new line in the registry needs none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import xarray as xr
from rich.table import Table

from circuits.analysis.networks.bounded import delay_in_words, epoch_in_words
from circuits.analysis.networks.unseen import seen_remark
from circuits.analysis.subnetworks.groups import last_checkpoints
from circuits.cli.console import new_table
from circuits.cli.onset_tables import bounds_legend, earliest_table, onset_table

Titled = tuple[str, Table]

MOST_LISTED = 6  # key frequencies in a table, the strongest first
AT_PHASES = {"memorized": "memorization", "generalized": "generalization"}  # rows by their phase
FEW_LABELS = 8  # a further dimension of at most so many labels is spread over columns


def tables(results: dict[str, xr.Dataset], phases: xr.Dataset) -> list[Titled]:
    """The tables of every measurement, under their titles; the phases first when no other table has them."""
    shown = [] if "subnetwork" in results else [phase_table(phases)]
    for name, dataset in results.items():
        shown += OWN[name](dataset, phases) if name in OWN else [last_checkpoint_table(name, dataset)]
    return shown


def phase_table(phases: xr.Dataset) -> Titled:
    """When each seed memorized and generalized, in epochs; and which seed collapsed or diverged."""
    fates = [name for name in ("collapsed", "diverged") if phases[name].any()]
    table = new_table("seed", "memorized", "generalized", "delay", *fates, *_seen_column(phases))
    for seed in phases["seed"].values:
        at = phases.sel(seed=seed)
        said = (name if at[name] else "" for name in fates)
        table.add_row(str(seed), *_phase_cells(at), delay_in_words(at), *said, *_seen_cell(phases, at))
    return "Phases, in epochs", table


def subnetwork_tables(dataset: xr.Dataset, phases: xr.Dataset) -> list[Titled]:
    """Phases and sizes; then how far the memorizing and the generalizing subnetwork overlap."""
    statistics = [str(name) for name in dataset["statistic"].values]
    sizes = new_table("seed", "memorized", "generalized", "final size", *statistics, *_seen_column(phases))
    overlap = new_table("seed", "memorizing size", "generalizing size", "overlap", "at random")
    for seed in dataset["seed"].values:
        at = dataset.sel(seed=seed)
        late = (number(at["late_sparsity"].sel(statistic=statistic)) for statistic in statistics)
        when = phases.sel(seed=seed)
        seen = _seen_cell(phases, when)
        sizes.add_row(str(seed), *_phase_cells(when), number(at["final_sparsity"]), *late, *seen)
        both = number(at["memorizing_sparsity"]), number(at["final_sparsity"])
        overlap.add_row(str(seed), *both, number(at["overlap"], ".3f"), number(at["overlap_expected"], ".3f"))
    return [
        (
            "Phases (epochs); size of the active subnetwork (neurons), final and over the\n"
            + last_checkpoints(dataset["late_sparsity"].attrs["of"]),
            sizes,
        ),
        ("Overlap of the two subnetworks (Jaccard index), and its mean for random ones", overlap),
    ]


def agreement_tables(dataset: xr.Dataset, phases: xr.Dataset) -> list[Titled]:
    """Agreement of each group at the memorization checkpoint and at the last one measured."""
    groups = [str(group) for group in dataset["group"].values]
    table = new_table("at", "seed", *groups)
    epochs = dataset["epoch"].values.tolist()
    memorized = {seed: float(phases["memorization_epoch"].sel(seed=seed)) for seed in dataset["seed"].values.tolist()}
    last = dict.fromkeys(memorized, epochs[-1])
    for label, epoch_of in (("memorized", memorized), (f"epoch {epochs[-1]:g}", last)):
        rows: list[list[float]] = []
        for seed, epoch in epoch_of.items():
            at = dataset["agreement"].sel(seed=seed)
            found = at.isel(step=epochs.index(epoch)) if epoch in epochs else None
            rows.append([math.nan if found is None else float(found.sel(group=group)) for group in groups])
            table.add_row("" if len(rows) > 1 else label, str(seed), *(number(value, ".3f") for value in rows[-1]))
        known = {sum(not math.isnan(value) for value in column) for column in zip(*rows, strict=True)}
        of = "" if known == {len(rows)} else f" of {' or '.join(map(str, sorted(known)))}"
        table.add_row("", f"mean{of}", *(_mean(column) for column in zip(*rows, strict=True)), end_section=True)
    title = "Agreement with the full network on the test set, of each group of neurons alone"
    if any(not math.isnan(epoch) and epoch not in epochs for epoch in memorized.values()):
        title += "\n(– at memorization: that checkpoint is not among the measured ones)"
    return [(title, table)]


def construction_tables(dataset: xr.Dataset, phases: xr.Dataset) -> list[Titled]:
    """What each seed's active subnetwork is, in sizes, words and price; then what each construction costs."""
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
            paid = (at[f"final_{name}"].sel(part=part) for name in ("cost_per_margin", "resolved", "efficiency"))
            prices.add_row(f"seed {seed}, {part}", *(number(value, ".3f") for value in paid))
    words.columns[1].justify = "left"
    for name in dataset["construction"].values:
        at = dataset.sel(construction=name)
        paid = (at[f"built_{name}"] for name in ("cost_per_margin", "resolved", "efficiency"))
        prices.add_row(str(name), *(number(value, ".3f") for value in paid))
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


def last_checkpoint_table(name: str, dataset: xr.Dataset) -> Titled:
    """The last checkpoint of every variable over step and seed, a row per seed."""
    columns = last_checkpoint(dataset)
    table = new_table("seed", *columns)
    for seed in dataset["seed"].values:
        table.add_row(str(seed), *(number(values.sel(seed=seed), ".4g") for values in columns.values()))
    return f"{name}, at epoch {float(dataset['epoch'][-1]):g}", table


def last_checkpoint(dataset: xr.Dataset) -> dict[str, xr.DataArray]:
    """Every variable (step, seed) at the last checkpoint, also each part of those with one further short dimension."""
    columns: dict[str, xr.DataArray] = {}
    for variable, values in dataset.data_vars.items():
        if values.dtype.kind not in "fiub":
            continue
        others = [dim for dim in values.dims if dim not in ("step", "seed")]
        if {"step", "seed"} <= set(values.dims) and not others:
            columns[str(variable)] = values.isel(step=-1)
        elif {"step", "seed"} <= set(values.dims) and len(others) == 1 and values.sizes[others[0]] <= FEW_LABELS:
            for index, label in enumerate(values[others[0]].values):
                columns[f"{variable}\n{label}"] = values.isel({"step": -1, others[0]: index})
    return columns


def certificate_tables(dataset: xr.Dataset, phases: xr.Dataset) -> list[Titled]:
    """What is proved at the last checkpoint measured, of the active subnetwork and of the whole network."""
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


def walsh_tables(dataset: xr.Dataset, phases: xr.Dataset) -> list[Titled]:
    """Where the weight lies at memorization, generalization and the end; then the progress measures."""
    shares = new_table("at", "seed", "epoch", "parity", "subsets", "rest", "prediction's\nparity")
    progress = new_table(
        "at", "seed", "layer\ngap", "least\ngap", "median\ngap", "moved,\nrelevant", "moved,\nirrelevant"
    )
    epochs = dataset["epoch"].values.tolist()
    last = dict.fromkeys(dataset["seed"].values.tolist(), epochs[-1])
    moments = [
        (name, {seed: float(phases[f"{phase}_epoch"].sel(seed=seed)) for seed in last})
        for name, phase in AT_PHASES.items()
    ]
    for label, epoch_of in [*moments, ("last", last)]:
        for place, (seed, epoch) in enumerate(epoch_of.items()):
            name = label if place == 0 else ""
            if epoch not in epochs:
                shares.add_row(name, str(seed), *["–"] * 5)
                progress.add_row(name, str(seed), *["–"] * 5)
                continue
            at = dataset.sel(seed=seed).isel(step=epochs.index(epoch))
            parity, *parts = (number(value, ".3g") for value in at["share"])
            low, high = (at[f"share_{end}"].sel(part="parity") for end in ("low", "high"))
            parity += interval(low, high, ".3g")
            predicted = number(at["sign_parity"], ".3f") + interval(
                at["sign_parity_low"], at["sign_parity_high"], ".3f"
            )
            when = epoch_in_words(phases.sel(seed=seed), AT_PHASES[label]) if label in AT_PHASES else f"{epoch:g}"
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
    return [
        (title, shares),
        (
            "Fourier gap of the population gradient, of the layer and of the\n"
            "generalizing neurons; largest change of a weight in the first layer\n"
            "(–: not taken at that checkpoint, or the network has collapsed)",
            progress,
        ),
    ]


def smallest_tables(dataset: xr.Dataset, phases: xr.Dataset) -> list[Titled]:
    """The smallest subset known at the last checkpoint measured, and what is proved of it."""
    table = new_table("seed", "norm prefix", "smallest known", "none below", "proved smallest")
    last = dataset.isel(step=-1)
    for seed in dataset["seed"].values:
        at = last.sel(seed=seed)
        sizes = (number(at[name]) for name in ("prefix_size", "smallest_size", "smallest_bound"))
        table.add_row(str(seed), *sizes, "yes" if bool(at["smallest_proved"]) else "no")
    return [(f"Neurons of the smallest subnetwork, any subset, at epoch {float(dataset['epoch'][-1]):g}", table)]


def fourier_tables(dataset: xr.Dataset, phases: xr.Dataset) -> list[Titled]:
    """Key frequencies and what they carry, then the losses with and without them, at the last checkpoint measured."""
    attrs, last = dataset.attrs, dataset.isel(step=-1)
    table = new_table("seed", "key frequencies", "cosines", "biases", "waves", "neurons", "phases", "Gini")
    losses = new_table("seed", "loss, test", "restricted, test", "excluded, train")
    table.columns[1].justify = "left"
    for seed in dataset["seed"].values:
        at = last.sel(seed=seed)
        strongest = at["frequency"].values[at["logit_share"].where(at["key"], -1).argsort().values[::-1]]
        n_key = int(at["key"].sum())
        listed = " ".join(map(str, strongest[: min(n_key, MOST_LISTED)])) or "none"
        cells = [number(at[name], ".3f") for name in ("key_logit_share", "bias_share", "key_wave_share")]
        cells += [number(at["cluster_size"].where(at["key"], 0).sum()) if "cluster_size" in at else "–"]
        for name in ("phase_agreement", "embedding_gini"):
            cells.append(number(at[name].mean(), ".3f") if name in at else "–")
        table.add_row(str(seed), listed + (" …" if n_key > MOST_LISTED else ""), *cells)
        found = (("loss", "test"), ("restricted_loss", "test"), ("excluded_loss", "train"))
        losses.add_row(str(seed), *(number(at[name].sel(set=which), ".3g") for name, which in found))
    summed = attrs["sum"]
    title = (
        f"Fourier analysis of {attrs['operation']} on {attrs['group']}, at epoch {float(dataset['epoch'][-1]):g}.\n"
        f"Cosines, biases: shares of the logits' sum of squares on cos ω({summed} - c) of the\nkey frequencies, and in "
        f"constant class biases. Key: a cosine of at least {attrs['key_share']:.3g} of it\nat the end. Waves: share of "
        f"the logits' variance over tuples on the key frequencies\nof {summed}, in any direction of the classes. "
        "Neurons: how many are of key frequencies.\nPhases: mean cosine of the residuals. Gini: of the embedding"
    )
    of_losses = (
        f"Cross-entropy: of the network; restricted, with the biases and the key waves of\n{summed} only; excluded, "
        "without these waves. Waves in any direction of the\nclasses, not the cosines alone"
    )
    return [(title, table), (of_losses, losses)]


def representation_tables(dataset: xr.Dataset, phases: xr.Dataset) -> list[Titled]:
    """Silhouettes of every seed when it memorized, generalized and at the end; then of what is pictured of one."""
    epochs = dataset["epoch"].values.tolist()
    table = new_table("seed", "at memorization", "at generalization", "at the end")
    for seed in dataset["seed"].values.tolist():
        at = dataset["silhouette"].sel(seed=seed)
        when = [float(phases[f"{phase}_epoch"].sel(seed=seed)) for phase in ("memorization", "generalization")]
        found = [float(at[epochs.index(epoch)]) if epoch in epochs else math.nan for epoch in (*when, epochs[-1])]
        table.add_row(str(seed), *(number(value, ".3f") for value in found))
    pictured = new_table("epoch", "activations", "two components", "t-SNE", "variance of the two")
    for panel in range(dataset.sizes["panel"]):
        scores = (number(value, ".3f") for value in dataset["panel_silhouette"][:, panel])
        share = number(dataset["pca_explained"][panel, :2].sum(skipna=False), ".3f")
        pictured.add_row(number(dataset["panel_epoch"][panel]), *scores, share)
    what = f"by {dataset.attrs['labels']}, -1 to 1"
    return [
        (f"Silhouette of the hidden activations {what}", table),
        (f"Seed {int(dataset['pictured_seed'])}, pictured: silhouettes {what}", pictured),
    ]


def progress_tables(dataset: xr.Dataset, phases: xr.Dataset) -> list[Titled]:
    """The last checkpoint of what each network measures; onsets and lags; the earliest measure; a column per seed."""
    seeds = dataset["seed"].values.tolist()[:FEW_LABELS]
    of = "" if len(seeds) == dataset.sizes["seed"] else f"; the first {len(seeds)} of {dataset.sizes['seed']} seeds"
    values = new_table("measure", *(f"seed {seed}" for seed in seeds))
    hidden = ("share", "sparsity_ratio", "frobenius_norm", "layer_norm", "sensitivity_low", "sensitivity_high")
    for name, measure in last_checkpoint(dataset.drop_vars(hidden, errors="ignore")).items():
        cells = [number(measure.sel(seed=seed), ".4g") for seed in seeds]
        if f"{name}_low" in dataset:
            low, high = (dataset[f"{name}_{end}"].isel(step=-1) for end in ("low", "high"))
            cells = [
                cell + interval(low.sel(seed=seed), high.sel(seed=seed), ".3g")
                for cell, seed in zip(cells, seeds, strict=True)
            ]
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


OWN: dict[str, Callable[[xr.Dataset, xr.Dataset], list[Titled]]] = {
    "subnetwork": subnetwork_tables,
    "faithfulness": agreement_tables,
    "constructions": construction_tables,
    "walsh": walsh_tables,
    "certify": certificate_tables,
    "exact": smallest_tables,
    "fourier": fourier_tables,
    "representation": representation_tables,
    "progress": progress_tables,
}


def number(value: xr.DataArray | float, form: str = "g") -> str:
    """A number as a cell; NaN is a dash.

    Examples
    --------
    >>> number(31.0), number(float("nan")), number(-0.0001, ".3f")
    ('31', '–', '0.000')
    """
    value = float(value)
    return "–" if math.isnan(value) else format(value, f"z{form}")  # z: what rounds to 0 has no sign


def top_aligned(table: Table) -> None:
    """Align a table's cells at their first lines, where cells have intervals on a second one."""
    for column in table.columns:
        column.vertical = "top"


def interval(low: xr.DataArray | float, high: xr.DataArray | float, form: str = "g") -> str:
    r"""The interval of a number, on a line below it in its cell; nothing where it has no width or is not known.

    Examples
    --------
    >>> interval(0.5, 0.75), interval(0.5, 0.5), interval(float("nan"), float("nan"))
    ('\n0.5–0.75', '', '')
    """
    return f"\n{number(low, form)}–{number(high, form)}" if float(low) < float(high) else ""


def _phase_cells(at: xr.Dataset) -> list[str]:
    return [epoch_in_words(at, phase) for phase in ("memorization", "generalization")]


def _seen_column(phases: xr.Dataset) -> list[str]:
    """A column's title if what a seed generalized to is partly its training set (`unseen.with_seen_share`)."""
    share = phases.get("test_seen_share")
    return ["test\nseen"] if share is not None and any(map(seen_remark, share.values)) else []


def _seen_cell(phases: xr.Dataset, at: xr.Dataset) -> list[str]:
    if not _seen_column(phases):
        return []
    share = float(at["test_seen_share"])
    return [f"{100 * share:.3g} %" if seen_remark(share) else ""]


def _mean(values: Iterable[float]) -> str:
    known = [value for value in values if not math.isnan(value)]
    return number(sum(known) / len(known), ".3f") if known else "–"
