"""The circuit of one network of a run, and the gates of its neurons along the run.

The circuit is the active subnetwork, at the last checkpoint unless another checkpoint is chosen. A neuron's gate is
the nearest logic gate, such as "at least t of k bits". Neurons are ranked by falling path norm |u|·‖(w, b)‖.
"""

from collections.abc import Mapping

import numpy as np
import xarray as xr
from jaxtyping import Int, Shaped

from circuits.analysis.networks.applies import is_one_relu_layer, require
from circuits.analysis.networks.labels import chosen_checkpoints, trajectory_coords
from circuits.analysis.networks.layers import relu_weights
from circuits.analysis.networks.walk import Network, walk
from circuits.analysis.parity.efficiency import parity_bits
from circuits.analysis.subnetworks.active import active_mask
from circuits.analysis.subnetworks.groups import neuron_groups
from circuits.analysis.subnetworks.options import MergeOptions
from circuits.analysis.subnetworks.pruning import incoming_norms, pruning_order
from circuits.checkpoints.run import Run
from circuits.constructions.building.catalog import constructions_of
from circuits.constructions.building.construction import Construction
from circuits.constructions.reading.circuit import Circuit, read_circuit
from circuits.constructions.reading.gates import nearest_gates
from circuits.errors import InputError


def circuit_of(
    run: Run,
    seed: int | None = None,
    checkpoint: int | str | None = None,
    options: MergeOptions = MergeOptions(),
    constructions: Mapping[str, Construction] | None = None,
) -> Circuit:
    """Circuit of a network's active subnetwork: gates, elements (merged neurons), matches to constructions, path cost.

    `seed` is by default the run's first seed. `checkpoint` is an index or a name, as in `Run.state`. By default,
    the option `final` chooses the checkpoint: the last one, or one of the last 50. `options` also has the settings of
    pruning and of merging neurons.
    `constructions` are the constructions (networks built by hand) to match, by name; by default every registered
    construction on the task's number of bits.

    Raises
    ------
    InputError
        The task is not parity; the model has no hidden layer; the seed or the checkpoint does not exist; or the network
        has collapsed or diverged.
    """
    bits = parity_bits(run)
    index = run.seed_index(seed)
    chosen = neuron_groups(run, options).checkpoint[index] if checkpoint is None else None
    at = run.checkpoint_index(checkpoint, seed=seed) if chosen is None else int(chosen)
    whole = network_of(run, index, at)
    kept = active_mask(run, index, at, options)
    has_collapsed = run.collapsed.values[at, index]
    if has_collapsed or at < 0 or kept is None:
        fate = "collapsed" if has_collapsed else "diverged"
        raise InputError(
            f"{run.path}: seed {run.seeds[index]} has {fate} at this checkpoint, so it has no circuit there. "
            f"Pass an earlier checkpoint."
        )
    candidates = constructions_of(len(bits)) if constructions is None else constructions
    part = neurons_of(whole, ranked(whole, np.flatnonzero(kept)))
    W, b, u = part.values()
    return read_circuit(W, b, u, bits, candidates, cosine=options.merge_cosine, floor=options.merge_floor)


def members(run: Run, options: MergeOptions = MergeOptions()) -> list[Int[np.ndarray, " rank"]]:
    """Indices of neurons kept by pruning at each seed's final checkpoint, by falling path norm; empty if diverged."""
    groups = neuron_groups(run, options)
    return [
        ranked(network_of(run, index, int(groups.checkpoint[index])), np.flatnonzero(groups.kept[0, index]))
        for index in range(len(run.seeds))
    ]


def network_of(run: Run, seed_index: int, checkpoint: int) -> dict[str, np.ndarray]:
    """Parameters W, b, u of the hidden layer of one network."""
    require(run, is_one_relu_layer)
    weights = relu_weights(run.config, run.arrays(run.seeds[seed_index], checkpoint))
    return dict(zip("Wbu", weights, strict=True))


def neurons_of(net: Network, neurons: Int[np.ndarray, " rank"]) -> dict[str, np.ndarray]:
    """Parameters W, b, u of the neurons with the indices `neurons`, in this order."""
    return {name: net[name][neurons] for name in "Wbu"}


def ranked(net: Network, neurons: Int[np.ndarray, " rank"]) -> Int[np.ndarray, " rank"]:
    """The indices `neurons`, sorted by falling path norm."""
    part = neurons_of(net, neurons)
    return neurons[pruning_order(incoming_norms(part["W"], part["b"], part["u"], "path"))]


def padded(values: Shaped[np.ndarray, "..."], length: int, fill: object) -> Shaped[np.ndarray, "..."]:
    """Values padded with `fill` to `length` along the first axis.

    Examples
    --------
    >>> padded(np.array([1, 2]), 3, -1)
    array([ 1,  2, -1])
    """
    result = np.full((length, *values.shape[1:]), fill, values.dtype)
    result[: len(values)] = values
    return result


def gate_history(run: Run, options: MergeOptions = MergeOptions(), *, progress: bool = False) -> xr.Dataset:
    """Nearest logic gate, at every checkpoint, of each neuron that pruning keeps at the final checkpoint.

    Returns
    -------
    gate_cosine
        (step, seed, rank) cosine between the neuron's (w, b), on the relevant bits, and (w, b) of the nearest gate.
        The axis `rank` sorts the neurons by falling path norm |u|·‖(w, b)‖ at the final checkpoint.
    gate_t
        (step, seed, rank) the number t of the nearest gate "at least t of k bits"; -1 if the nearest gate is constant,
        -2 if it is linear, and 0 as padding for seeds with fewer neurons.
    relevant_share
        (step, seed, rank) share of ‖w‖² on the relevant bits, 0..1.
    """
    bits = list(parity_bits(run))
    neurons = members(run, options)
    length = max(map(len, neurons), default=0)

    def one(seed: int, net: Network) -> dict[str, np.ndarray]:
        W, b, _ = (values[neurons[seed]].astype(np.float64) for values in relu_weights(run.config, net))
        gates = nearest_gates(W[:, bits], b)
        with np.errstate(invalid="ignore"):
            share = (W[:, bits] ** 2).sum(axis=1) / (W**2).sum(axis=1)
        named = {"t": gates.t.astype(float), "cosine": gates.cosine, "share": share}
        return {name: padded(values, length, np.nan) for name, values in named.items()}

    checkpoints = chosen_checkpoints(run, options)
    values = walk(run, checkpoints, one, what="gates", progress=progress)
    dims = ("step", "seed", "rank")
    return xr.Dataset(
        {
            "gate_t": (dims, np.nan_to_num(values["t"]).astype(np.int64)),
            "gate_cosine": (dims, values["cosine"], {"long_name": "cosine to the nearest gate"}),
            "relevant_share": (dims, values["share"], {"long_name": "share of ‖w‖² on the relevant bits"}),
        },
        {**trajectory_coords(run, checkpoints), "rank": np.arange(length)},
    )
