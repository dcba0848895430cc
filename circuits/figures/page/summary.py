"""Head of a run's page: the results in a sentence, a table with a row per seed, caveats and definitions."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
import xarray as xr

from circuits.analysis.networks.bounded import bounded, delay_text
from circuits.analysis.networks.phase_tables import phase_cells
from circuits.analysis.networks.remarks import loss_remarks, phase_remarks
from circuits.analysis.networks.unseen import memory_share, seen_remark, seen_sentence, seen_warnings
from circuits.analysis.options import Options
from circuits.analysis.subnetworks.groups import last_checkpoints
from circuits.analysis.subnetworks.subnetwork import COLLAPSED, is_of_collapsed
from circuits.checkpoints.run import Run
from circuits.tabular import count, number


@dataclass(frozen=True)
class Table:
    """Column groups (title, number of columns), column titles, and rows of cells; each row starts with its seed."""

    groups: Sequence[tuple[str, int]]
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]

    @property
    def edges(self) -> set[int]:
        """Indices of the columns with a line at their left edge: the first column of each group except the first."""
        return set(accumulate(span for _, span in self.groups[:-1]))


def seed_table(run: Run, phases: xr.Dataset, results: Mapping[str, xr.Dataset]) -> Table:
    """Row per seed: memorization, generalization, final accuracy; size and overlap of subnetworks, if measured."""
    sizes = results.get("subnetwork")
    groups = [("", 1), ("epoch", 3), ("final accuracy", 2)]
    columns = ["seed", "memorized", "generalized", "delay", "train", "test"]
    if sizes is not None:
        statistics, late = sizes["statistic"].values.tolist(), last_checkpoints(sizes["late_sparsity"].attrs["of"])
        groups += [("active subnetwork", 2), (f"size, {late}", len(statistics)), ("overlap", 2)]
        columns += ["memorizing", "final", *statistics, "found", "at random"]
    seen = {seed: seen_remark(share) for seed, share in zip(run.seeds, memory_share(run).values, strict=True)}
    if remarkable := bool((phases["collapsed"] | phases["diverged"]).any()) or any(seen.values()):
        groups, columns = [*groups, ("", 1)], [*columns, "remark"]
    last = run.metrics.isel(step=-1)
    rows = []
    for seed in run.seeds:
        at, metrics = phases.sel(seed=seed), last.sel(seed=seed)
        row = [str(seed), *phase_cells(at), delay_text(at)]
        row += [number(metrics[f"{part}_accuracy"], ".3f") for part in ("train", "test")]
        if sizes is not None:
            size = sizes.sel(seed=seed)
            row += [number(size["memorizing_sparsity"]), number(size["final_sparsity"])]
            row += [number(value) for value in size["late_sparsity"]]
            row += [number(size["overlap"], ".3f"), number(size["overlap_expected"], ".3f")]
        if remarkable:
            fates = [fate for fate in ("collapsed", "diverged") if bool(at[fate])]
            row.append(", ".join([*fates, *filter(None, [seen[seed]])]))
        rows.append(row)
    return Table(groups, columns, rows)


def headline(run: Run, phases: xr.Dataset, results: Mapping[str, xr.Dataset]) -> str:
    """The results of a run in one or two sentences."""
    n_seeds = len(run.seeds)
    parts = []
    for name, verb in (("memorization", "memorized"), ("generalization", "generalized")):
        epochs, bounds = phases[f"{name}_epoch"].values, phases[f"{name}_censored"].values
        finite, n_bounds = epochs[np.isfinite(epochs)], int(bounds.sum())
        when = f", at epoch {between(finite, n_bounds == finite.size)}" if finite.size else ""
        if 0 < n_bounds < finite.size:
            when += f" ({n_bounds} of them at or before the first checkpoint, epoch {between(epochs[bounds])})"
        parts.append(f"{finite.size} of {count(n_seeds, 'seed')} {verb}{when}")
    for fate in ("collapsed", "diverged"):
        if n_marked := len(_marked(phases, fate)):
            parts.append(f"{n_marked} of {count(n_seeds, 'seed')} {fate}")
    sentence = "; ".join(parts) + "."
    if not run.config.total_steps:
        sentence = "Nothing was trained, so there are no phases."
    if seen := seen_sentence(run):
        sentence += f" But {seen}."
    if "subnetwork" in results:
        sizes = results["subnetwork"]["final_sparsity"].values
        collapsed = phases["collapsed"].values | is_of_collapsed(run, results["subnetwork"])
        sizes = sizes[np.isfinite(sizes) & ~collapsed]
        of_width = f"of {results['subnetwork'].sizes['neuron']} neurons"
        if sizes.size:
            seeds = " of the other seeds" if sizes.size < n_seeds else ""
            sentence += (
                f" At the end {between(sizes)} {of_width} suffice for the predictions{seeds} on the agreement set."
            )
    return sentence


def cautions(run: Run, phases: xr.Dataset, results: Mapping[str, xr.Dataset]) -> list[str]:
    """Caveats: an unfinished run, and results of a seed that are missing or doubtful."""
    lines = []
    if not run.is_complete:
        planned = len(run.config.checkpoint_steps())
        lines.append(
            f"The run holds {run.n_checkpoints} of {planned} planned checkpoints: it was interrupted, or it is still "
            f"being written. Everything below is about these checkpoints."
        )
    if run.other_numerics_since >= 0:
        lines.append(
            f"From checkpoint {run.other_numerics_since} on, a machine with other numerics continued the run: "
            f"its bits are not those of an uninterrupted run."
        )
    lines += [*phase_remarks(phases), *loss_remarks(run), *seen_warnings(run)]
    for dataset in results.values():
        lines += [text for text in dataset.attrs.get("warnings", []) if text not in lines]
    if "subnetwork" not in results:
        remark = COLLAPSED["sign" if run.config.task.signature.n_classes is None else "class"]
        diverged, collapsed = (_marked(phases, fate) for fate in ("diverged", "collapsed"))
        lines += [f"seed {seed} diverged: the last training loss is not finite." for seed in diverged]
        lines += [f"seed {seed} collapsed: {remark}" for seed in collapsed]
    return merged(lines)


def merged(lines: Sequence[str]) -> list[str]:
    """Replace remarks that differ only in the seed by one remark about all their seeds, and keep all other remarks.

    A remark about one seed begins with the word "seed" and the number of the seed. Any text may follow.

    Examples
    --------
    >>> merged(["seed 0 diverged.", "seed 1: twice.", "seed 2 diverged."])
    ['seeds 0, 2 diverged.', 'seed 1: twice.']
    """
    seeds: dict[str, list[str]] = {}
    for text in lines:
        matched = re.fullmatch(r"seed (\d+)(.*)", text, re.DOTALL)
        seeds.setdefault(matched[2] if matched else text, []).extend([matched[1]] if matched else [])
    return [f"seed{'s' * (len(of) > 1)} {', '.join(of)}{rest}" if of else rest for rest, of in seeds.items()]


def definitions(options: Options, results: Mapping[str, xr.Dataset]) -> list[tuple[str, str]]:
    """The terms that a run's page uses, each with its definition under these options."""
    rows = [
        (
            "memorized, generalized",
            f"first checkpoint with train accuracy above {options.memorization_threshold:g}, and with test accuracy "
            f"above {options.generalization_threshold:g}; the delay is the number of epochs between them; ≤ if the "
            "first stored checkpoint, after step 0, is already above",
        )
    ]
    if "subnetwork" in results:
        attrs = results["subnetwork"].attrs
        prediction, layer = attrs.get("prediction", "sign"), attrs.get("layer")
        agree = f"give the same {prediction}" if options.criterion == "prediction" else "have the same accuracy"
        norm = {"incoming": "‖w‖", "incoming+bias": "‖(w, b)‖", "path": "|u|·‖(w, b)‖"}[options.norm]
        late = last_checkpoints(results["subnetwork"]["late_sparsity"].attrs["of"])
        final = "the last checkpoint" if options.final == "last" else f"the checkpoint of median size among the {late}"
        where = f" in the layer {layer}" if layer not in (None, "hook_post") else ""  # a relu model has one layer
        rows += [
            (
                "active subnetwork",
                f"the fewest neurons of largest norm {norm}{where} that {agree} as the whole network on the agreement "
                f"set ({options.agreement_set}); its size is the effective sparsity",
            ),
            (
                "groups",
                f"generalizing: the active subnetwork of {final}; memorizing: that of the memorization checkpoint; "
                "complementary: all neurons outside the generalizing group; control: random neurons, as many as the "
                "generalizing group has",
            ),
            (
                "overlap",
                "|A ∩ B| / |A ∪ B| of the memorizing and the generalizing group, from 0 to 1; "
                "“at random” is the mean overlap of random groups of the same sizes",
            ),
        ]
    return rows


def between(values: np.ndarray, censored: bool = False) -> str:
    """Least and greatest of several numbers as text; if `censored`, all numbers are upper bounds.

    Examples
    --------
    >>> between(np.array([36.0, 29.0, 41.0])), between(np.array([6.0, 6.0])), between(np.array([107791.0]), True)
    ('29–41', '6', '≤ 107,791')
    """
    low, high = float(values.min()), float(values.max())
    return bounded(low, censored) if low == high else f"{bounded(low, censored)}–{bounded(high)}"


def _marked(phases: xr.Dataset, name: str) -> list[int]:
    return phases["seed"].values[phases[name].values].tolist()
