"""Four groups of hidden neurons, fixed over a run (Merrill et al. 2023, section 3.2 and Figure 3)."""

import math
from typing import NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
from jaxtyping import Bool, Float, Int

from circuits.analysis.networks.layers import layer_of
from circuits.analysis.networks.options import PruningOptions
from circuits.analysis.networks.phases import phase_checkpoints
from circuits.analysis.subnetworks.active import sparsity_at
from circuits.analysis.subnetworks.pruning import kept_neurons
from circuits.checkpoints.run import Run
from circuits.randomness import generator

GROUPS = ("generalizing", "memorizing", "complementary", "control")
LATE_CHECKPOINTS = 50


class NeuronGroups(NamedTuple):
    """Four groups of hidden neurons in every seed.

    The groups are: generalizing (neurons that predictions need at the end), memorizing (needed at memorization),
    complementary (all but the generalizing), control (random, as many as the generalizing). `kept` (group, seed,
    neuron): masks. `defined` (group, seed): False if the network had diverged at the checkpoint that determines the
    group. The memorizing group is also undefined if the network never memorized. `checkpoint` (seed,): index of the
    checkpoint that determines the generalizing group; -1 if the network had diverged.
    """

    kept: Bool[np.ndarray, "group seed neuron"]
    defined: Bool[np.ndarray, "group seed"]
    checkpoint: Int[np.ndarray, " seed"]


_cache: WeakKeyDictionary[Run, dict[tuple[int, PruningOptions], NeuronGroups]] = WeakKeyDictionary()


def neuron_groups(run: Run, options: PruningOptions = PruningOptions()) -> NeuronGroups:
    """Four groups of hidden neurons of every seed; cached while the run is open.

    - Generalizing: the active subnetwork (the neurons that predictions need) of the last checkpoint. With
      `--final median`, the active subnetwork of median size among the last 50 checkpoints (or all, if fewer).
    - Memorizing: the active subnetwork of the first checkpoint with train accuracy above a threshold.
    - Complementary: all neurons outside the generalizing group.
    - Control: neurons drawn at random from all neurons, as many as the generalizing group has.
    """
    cached = _cache.setdefault(run, {})
    options = options.of(PruningOptions)
    key = (run.n_checkpoints, options)
    if key not in cached:
        cached[key] = _find(run, options)
    return cached[key]


def _find(run: Run, options: PruningOptions) -> NeuronGroups:
    width = layer_of(run, options).width
    final, final_sizes = _final_checkpoints(run, options)
    memorized, _ = phase_checkpoints(run, options)
    kept = np.zeros((len(GROUPS), len(run.seeds), width), bool)
    defined = np.zeros((len(GROUPS), len(run.seeds)), bool)
    for index, seed in enumerate(run.seeds):
        if not np.isnan(final_sizes[index]):
            size = int(final_sizes[index])
            kept[0, index] = _largest(run, options, index, int(final[index]), size)
            kept[2, index] = ~kept[0, index]
            kept[3, index, generator("control", seed).permutation(width)[:size]] = True
            defined[[0, 2, 3], index] = True
        if not np.isnan(memorized[index]):
            at = int(memorized[index])
            early_size = sparsity_at(run, np.array([at]), options)[0, index]
            if not np.isnan(early_size):
                kept[1, index] = _largest(run, options, index, at, int(early_size))
                defined[1, index] = True
    return NeuronGroups(kept, defined, np.where(defined[0], final, -1))


def _final_checkpoints(
    run: Run, options: PruningOptions
) -> tuple[Int[np.ndarray, " seed"], Float[np.ndarray, " seed"]]:
    """Per seed: index of the checkpoint that `options.final` selects, and number of neurons that predictions need."""
    first = run.n_checkpoints - (LATE_CHECKPOINTS if options.final == "median" else 1)
    late = np.arange(max(first, 0), run.n_checkpoints)
    sizes = sparsity_at(run, late, options)  # (late, seed)
    chosen = [len(late) - 1 if options.final == "last" else median_place(column) for column in sizes.T]
    return late[chosen], sizes[chosen, np.arange(len(chosen))]


def median_place(sizes: Float[np.ndarray, " step"]) -> int:
    """Last index at which the size is the lower median of all sizes that are not NaN; the last index if all are NaN.

    Examples
    --------
    >>> median_place(np.array([9.0, 6.0, 400.0, 6.0]))
    3
    """
    defined = np.sort(sizes[~np.isnan(sizes)])
    if not defined.size:
        return len(sizes) - 1
    return int(np.flatnonzero(sizes == defined[(defined.size - 1) // 2])[-1])


def _largest(
    run: Run, options: PruningOptions, seed_index: int, checkpoint: int, size: int
) -> Bool[np.ndarray, " neuron"]:
    net = run.arrays(run.seeds[seed_index], checkpoint)
    return kept_neurons(layer_of(run, options).norms(net, options.norm), size)


def last_checkpoints(number: int) -> str:
    """Text for the last 50 checkpoints of a run, or for all checkpoints if their `number` is below 50.

    Examples
    --------
    >>> last_checkpoints(50), last_checkpoints(4), last_checkpoints(1)
    ('last 50 checkpoints', 'last 4 checkpoints (all there are)', 'only checkpoint')
    """
    if number == 1:
        return "only checkpoint"
    return f"last {number} checkpoints" + (" (all there are)" if number < LATE_CHECKPOINTS else "")


def jaccard(first: Bool[np.ndarray, " neuron"], second: Bool[np.ndarray, " neuron"]) -> float:
    """Jaccard index |A ∩ B| / |A ∪ B| of two groups, in 0..1; NaN if both are empty.

    Examples
    --------
    >>> jaccard(np.array([True, True, False]), np.array([False, True, True])) == 1 / 3
    True
    """
    union = (first | second).sum()
    return float((first & second).sum() / union) if union else float("nan")


def expected_jaccard(first: int, second: int, width: int) -> float:
    """Mean Jaccard index |A ∩ B| / |A ∪ B| of two random groups A and B of neurons; NaN if both are empty.

    A has `first` and B has `second` neurons, drawn independently from the same `width` neurons. The mean is exact.

    Examples
    --------
    >>> expected_jaccard(1, 1, 4)
    0.25
    """
    if first + second == 0:
        return float("nan")
    least, total, mean = max(0, first + second - width), math.comb(width, second), 0.0
    ways = math.comb(first, least) * math.comb(width - first, second - least)  # groups B that share `least` with A
    for shared in range(least, min(first, second) + 1):
        mean += ways / total * shared / (first + second - shared)
        ways = ways * (first - shared) * (second - shared) // ((shared + 1) * (width - first - second + shared + 1))
    return mean
