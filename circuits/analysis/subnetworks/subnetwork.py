"""The measurement `subnetwork`: the active subnetwork at every checkpoint, and the generalizing subnetwork."""

import numpy as np
import xarray as xr
from jaxtyping import Bool

from circuits.analysis.measurement import Measurement
from circuits.analysis.networks.applies import has_prunable_layer
from circuits.analysis.networks.labels import chosen_checkpoints, trajectory_coords
from circuits.analysis.networks.layers import layer_of
from circuits.analysis.networks.options import PruningOptions
from circuits.analysis.networks.phases import phases
from circuits.analysis.networks.remarks import phase_remarks
from circuits.analysis.subnetworks.active import sparsity_at
from circuits.analysis.subnetworks.groups import LATE_CHECKPOINTS, expected_jaccard, jaccard, neuron_groups
from circuits.analysis.subnetworks.tables import subnetwork_tables
from circuits.checkpoints.run import Run
from circuits.collapse import COLLAPSED_SHARE

STATISTICS = ("min", "median", "max")
COLLAPSED = {  # outputs of a collapsed network, by kind of prediction
    "sign": f"all outputs on the training set are within {COLLAPSED_SHARE:g} of 0, so accuracy counts as 0.",
    "class": f"logits of each training example differ by less than {COLLAPSED_SHARE:g} nats, so accuracy counts as 0.",
}


def measure(run: Run, options: PruningOptions, *, progress: bool = False) -> xr.Dataset:
    """Active subnetworks (neurons that predictions need), and when seeds grok. The attribute `warnings` lists caveats.

    Returns
    -------
    effective_sparsity, sparsity_ratio
        (step, seed) size of the active subnetwork, and its share of the width (Liu, Chi and Wu, section 5.2).
    kept, kept_step, final_sparsity
        The generalizing subnetwork: by default the active subnetwork of the last checkpoint. `kept` (seed, neuron):
        mask. `kept_step` (seed,): step of that checkpoint, -1 if diverged. `final_sparsity` (seed,): number of neurons.
    memorizing_sparsity
        (seed,) size of the memorizing subnetwork: the active subnetwork at `memorization_epoch`; NaN if there is none.
    late_sparsity
        (statistic, seed) least, median and greatest size over the last 50 checkpoints (all, if there are fewer); the
        attribute `of` is the number of these checkpoints. NaN if the network has diverged at any of them.
    overlap, overlap_expected
        `overlap` (seed,): Jaccard index, in 0..1, of the memorizing and the generalizing subnetwork. `overlap_expected`
        (seed,): mean Jaccard index of two random groups of neurons that have the sizes of these two subnetworks.
    memorization_epoch, memorization_censored
        (seed,) epoch of the first checkpoint with train accuracy above a threshold, NaN if there is none. The
        epoch is censored if this checkpoint is the first in the file, but not step 0: the true epoch may be earlier.
    generalization_epoch, generalization_censored, grokking_delay
        (seed,) the same for test accuracy; `grokking_delay` is the difference of both epochs, NaN if one is censored.
    collapsed, diverged
        `collapsed` (seed,): whether the outputs at the last checkpoint are near 0 (or the logits of each example nearly
        equal). `diverged` (seed,): whether the last training loss is not finite.
    """
    chosen = chosen_checkpoints(run, options)
    late = np.arange(max(0, run.n_checkpoints - LATE_CHECKPOINTS), run.n_checkpoints)
    needed = np.union1d(chosen, late)
    sizes = sparsity_at(run, needed, options, progress=progress)
    late_sizes = sizes[np.isin(needed, late)]
    sizes = sizes[np.isin(needed, chosen)]

    groups = neuron_groups(run, options)
    width = groups.kept.shape[-1]
    n_members = np.where(groups.defined, groups.kept.sum(axis=2), np.nan)  # (group, seed)
    overlap, expected = np.full((2, len(run.seeds)), np.nan)
    for seed in np.flatnonzero(groups.defined[0] & groups.defined[1]):
        overlap[seed] = jaccard(groups.kept[0, seed], groups.kept[1, seed])
        expected[seed] = expected_jaccard(int(n_members[0, seed]), int(n_members[1, seed]), width)
    late_statistics = np.stack([statistic(late_sizes, axis=0) for statistic in (np.min, np.median, np.max)])
    result = xr.Dataset(
        {
            "effective_sparsity": (("step", "seed"), sizes, {"long_name": "neurons in the active subnetwork"}),
            "sparsity_ratio": (("step", "seed"), sizes / width, {"long_name": "effective sparsity / width"}),
            "kept": (("seed", "neuron"), groups.kept[0], {"long_name": "generalizing subnetwork"}),
            "kept_step": ("seed", np.where(groups.checkpoint >= 0, run.steps[groups.checkpoint], -1)),
            "final_sparsity": ("seed", n_members[0]),
            "memorizing_sparsity": ("seed", n_members[1]),
            "late_sparsity": (("statistic", "seed"), late_statistics, {"of": len(late)}),
            "overlap": ("seed", overlap, {"long_name": "Jaccard index of the two subnetworks"}),
            "overlap_expected": ("seed", expected),
        },
        {**trajectory_coords(run, chosen), "statistic": list(STATISTICS)},
    )
    result = result.merge(phases(run, options))
    layer = layer_of(run, options)
    result.attrs |= {"layer": layer.hook, "prediction": layer.prediction}
    result.attrs["warnings"] = [*phase_remarks(result), *warnings_about(run.seeds, result), *empty_remarks(run, result)]
    return result


def is_of_collapsed(run: Run, result: xr.Dataset) -> Bool[np.ndarray, " seed"]:
    """Mask of the seeds whose generalizing subnetwork is empty because its network had collapsed (outputs near 0)."""
    steps = result["kept_step"].values  # -1: diverged
    at = np.searchsorted(run.steps, np.maximum(steps, 0))
    return (steps >= 0) & run.collapsed.values[at, np.arange(len(steps))]


def empty_remarks(run: Run, result: xr.Dataset) -> list[str]:
    """Warning for each seed whose generalizing subnetwork is empty, but whose last outputs are not all near 0."""
    dead = is_of_collapsed(run, result) & ~result["collapsed"].values
    epochs = run.epochs[np.searchsorted(run.steps, result["kept_step"].values)]
    return [
        f"seed {run.seeds[index]}: the final subnetwork is that of epoch {epochs[index]:g}, where the network had "
        f"collapsed, so it is empty. The last checkpoint has not collapsed. Consider --final last."
        for index in np.flatnonzero(dead)
    ]


def warnings_about(seeds: tuple[int, ...], result: xr.Dataset) -> list[str]:
    """Warnings about seeds that diverged, collapsed (outputs near 0), never memorized, or need unusually many neurons.

    Unusually many means: the final subnetwork has over twice as many as the median of the last 50 checkpoints.
    """
    lines = []
    for index, seed in enumerate(seeds):
        at = result.isel(seed=index)
        final, median = float(at["final_sparsity"]), float(at["late_sparsity"].sel(statistic="median"))
        if bool(at["diverged"]):
            lines.append(
                f"seed {seed} diverged: the last training loss is not finite, so there is no final subnetwork."
            )
        if bool(at["collapsed"]):
            lines.append(f"seed {seed} collapsed: {COLLAPSED[result.attrs.get('prediction', 'sign')]}")
        if final > 2 * median > 0:
            n_late = result["late_sparsity"].attrs.get("of", LATE_CHECKPOINTS)
            lines.append(
                f"seed {seed}: the last checkpoint needs {final:.0f} neurons, the median of the last {n_late} is "
                f"{median:.0f}: one input of the agreement set near zero is enough. Consider --final median."
            )
        if np.isnan(at["memorization_epoch"]) and not result["memorization_epoch"].attrs.get("untrained"):
            lines.append(f"seed {seed} never memorized, so the memorizing group is NaN.")
    return lines


SUBNETWORK = Measurement(measure, has_prunable_layer, subnetwork_tables)
