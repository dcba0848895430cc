"""Data for pictures of `fourier` at a few checkpoints: neurons on all pairs (x, y), logits in the 2-D Fourier basis.

Up to five checkpoints are shown: the first, the last, the median over seeds of the memorization checkpoint, the median
over seeds of the generalization checkpoint, and the checkpoint halfway between these two medians.
"""

import numpy as np
import xarray as xr
from einops import rearrange
from jaxtyping import Bool, Float, Int

from circuits.analysis.fourier.all_tuples import AllTuples
from circuits.analysis.fourier.basis import basis_labels
from circuits.analysis.fourier.neuron_frequencies import spectrum
from circuits.analysis.fourier.options import FourierOptions
from circuits.analysis.networks.phases import phase_checkpoints
from circuits.analysis.networks.walk import Network, walk
from circuits.checkpoints.run import Run

SHOWN_NEURONS = 6


def shown_checkpoints(run: Run, options: FourierOptions) -> Int[np.ndarray, " shown"]:
    """Indices of the checkpoints to picture, ascending and unique."""
    reached = [of_phase[~np.isnan(of_phase)] for of_phase in phase_checkpoints(run, options)]
    medians = [float(np.median(of_phase)) for of_phase in reached if of_phase.size]
    between = [sum(medians) / 2] if len(medians) == 2 else []
    return np.unique(np.rint([0, *medians, *between, run.n_checkpoints - 1]).astype(np.int64))


def shown_neurons(
    frequency: Int[np.ndarray, " neuron"],
    share: Float[np.ndarray, " neuron"],
    key: Bool[np.ndarray, " frequency"],
    n_shown: int,
) -> Int[np.ndarray, " shown_neuron"]:
    """Indices of the `n_shown` neurons to picture. `share` is the share of each neuron's variance at its `frequency`.

    First, each key frequency gives its neuron of largest share. Then each key frequency gives its neuron of second
    largest share, and so on. Neurons of other frequencies come last.

    Examples
    --------
    >>> frequency, share = np.array([1, 1, 3, 2]), np.array([0.9, 0.8, 0.7, 0.99])
    >>> shown_neurons(frequency, share, np.array([True, False, True]), 4)
    array([0, 2, 1, 3])
    """
    share = np.nan_to_num(share, nan=-1.0)
    best = np.argsort(-share, kind="stable")
    rank = np.empty(len(best), np.int64)  # among the neurons of the same frequency
    for k in np.unique(frequency):
        cluster = best[frequency[best] == k]
        rank[cluster] = np.arange(len(cluster))
    is_key = np.isin(frequency, 1 + np.flatnonzero(key))
    return np.lexsort((-share, rank, ~is_key))[:n_shown]


def shown(
    run: Run,
    tuples: AllTuples,
    options: FourierOptions,
    at_end: dict[str, np.ndarray],
    key: Bool[np.ndarray, "seed frequency"],
) -> xr.Dataset:
    """Data for pictures of a few checkpoints of a run with two operands x and y; empty for other numbers of operands.

    The coordinate `shown` is the step of each checkpoint that `shown_checkpoints` chooses.
    `shown_activation` (shown, seed, shown_neuron, x, y) has the values of up to 6 neurons on all pairs (x, y).
    `shown_neurons` chooses these neurons from `key`, the mask of the key frequencies, and from `at_end`. If the model
    has neurons, `at_end` has their `neuron_frequency` and `neuron_share` (seed, neuron) at the last checkpoint.

    For `shown_logits` (shown, seed, x_wave, y_wave), each pair's mean logit over classes is subtracted from its logits.
    The rest is expanded in products of a Fourier basis function of x (`x_wave`) and one of y (`y_wave`). An entry is
    the norm, over classes, of the coefficients of one product.
    """
    if tuples.group.n_operands != 2:
        return xr.Dataset()
    checkpoints, m = shown_checkpoints(run, options), tuples.group.order
    neurons = None
    if "neuron_frequency" in at_end:
        frequency, share = at_end["neuron_frequency"], at_end["neuron_share"]
        n_shown = min(SHOWN_NEURONS, frequency.shape[1])
        neurons = np.stack([shown_neurons(*of_seed, n_shown) for of_seed in zip(frequency, share, key, strict=True)])

    def one(seed: int, net: Network) -> dict[str, np.ndarray]:
        activations, logits = tuples.values(net)
        logits = logits[:, tuples.group.classes]
        waves = spectrum((logits - logits.mean(axis=1, keepdims=True)).reshape(m, m, -1))
        values = {"logits": np.sqrt((waves**2).sum(axis=2)).astype(np.float32)}
        if activations is not None and neurons is not None:
            some = rearrange(activations[:, :, neurons[seed]], "x y neuron -> neuron x y")
            values["activation"] = some.astype(np.float32)
        return values

    pictures = walk(run, checkpoints, one, what="shown")
    labels = basis_labels(m)
    coords = {"shown": run.steps[checkpoints], "seed": list(run.seeds), "x_wave": labels, "y_wave": labels}
    coords |= {"shown_epoch": ("shown", run.epochs[checkpoints])}
    attrs = {"long_name": "norm of the logits over classes, in the 2-D basis"}
    result = xr.Dataset({"shown_logits": (("shown", "seed", "x_wave", "y_wave"), pictures["logits"], attrs)}, coords)
    if neurons is None:
        return result
    at = np.take_along_axis(at_end["neuron_frequency"], neurons, axis=1)
    dims = ("shown", "seed", "shown_neuron", "x", "y")
    return result.assign(
        shown_activation=(dims, pictures["activation"], {"long_name": "activation of a neuron"}),
        shown_neuron_index=(("seed", "shown_neuron"), neurons),
        shown_neuron_frequency=(("seed", "shown_neuron"), at),
    ).assign_coords(x=tuples.group.residues[0], y=tuples.group.residues[1])
