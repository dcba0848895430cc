"""The measurement `constructions`: the circuit that each seed has learned, matched to circuits built by hand.

A circuit is a network's active subnetwork: the neurons that the predictions need. Groups of its near-parallel neurons
are merged; each group is one *element*. A match pairs elements with neurons of a construction. Patterns (settings of
the relevant bits to ±1) are named by their signs, first bit first: "+-" is 1 for the first bit, then -1.
"""

from collections.abc import Mapping

import numpy as np
import xarray as xr
from jaxtyping import Float

from circuits.analysis.measurement import Measurement
from circuits.analysis.networks.applies import all_of, is_one_relu_layer, makes_predictions, require
from circuits.analysis.networks.labels import chosen_checkpoints
from circuits.analysis.networks.walk import Network
from circuits.analysis.parity.circuit import members, network_of, neurons_of
from circuits.analysis.parity.efficiency import known_least_cost, of_few_bits, parity_bits, prices
from circuits.analysis.parity.labels import (
    Variables,
    built_labeled,
    elements_labeled,
    gates_labeled,
    matches_labeled,
    prices_labeled,
    recovered_bits_labeled,
)
from circuits.analysis.parity.tables import construction_tables
from circuits.analysis.subnetworks.groups import LATE_CHECKPOINTS, neuron_groups
from circuits.analysis.subnetworks.merged import merged_at
from circuits.analysis.subnetworks.options import MergeOptions
from circuits.analysis.subnetworks.subnetwork import STATISTICS
from circuits.checkpoints.run import Run
from circuits.constructions.building.catalog import constructions_of
from circuits.constructions.building.construction import Construction
from circuits.constructions.patterns import parities, patterns
from circuits.constructions.reading.circuit import Circuit, read_circuit
from circuits.constructions.reading.efficiency import Price, price
from circuits.constructions.reading.recovered_bits import RecoveredBits, relevant_bits
from circuits.constructions.verifying.averaging import averaged_activations

PARTS = ("network", "subnetwork")
MERGED = {"long_name": "merged elements needed", "units": "elements"}


def measure(
    run: Run, options: MergeOptions, *, progress: bool = False, constructions: Mapping[str, Construction] | None = None
) -> xr.Dataset:
    """Circuit of each seed, its matches to constructions (networks built by hand), and the path cost and margin.

    A neuron has incoming weights w, a bias b, a readout weight u and the path norm |u|·‖(w, b)‖. The *active
    subnetwork* consists of the neurons that the predictions need. Near-parallel neurons with the same sign of u are
    merged into one *element*. Neurons and elements are ranked by path norm; rank 0 has the largest. A *gate* is an
    ideal neuron for a logic function of the relevant bits, such as AND, OR or majority; see `nearest_gates`. The
    circuit is read at the *final checkpoint*: by default the last. If the option `final` is "median", the final
    checkpoint is a late checkpoint at which pruning keeps the median number of neurons.

    Returns
    -------
    merged_sparsity
        (step, seed) number of elements of the whole network, not of the active subnetwork, that the predictions need.
    path_cost
        (step, seed) Σ|u|·‖(w, b)‖ over the neurons of the whole network.
    margin
        (step, seed) For each of the 2^k settings of the k relevant bits, the whole network's parity × output is
        averaged over all values of the other bits. The margin is the least of these 2^k averages.
    efficiency
        (step, seed) `least_cost` · `margin` / `path_cost`; NaN if the margin is not positive.
    late_merged
        (statistic, seed) least, median and greatest merged sparsity in the last 50 checkpoints, without NaN values;
        `late_merged_defined` (seed,) is the number of these checkpoints whose merged sparsity is not NaN.
    bit_found
        (seed, input) whether the weights alone show that the input bit is relevant; see `relevant_bits`.
    bit_gap
        (seed,) a ratio of masses; the mass of bit i is Σ_j |u_j| |w_ji|. The numerator is the least mass of a bit that
        `bit_found` marks as relevant. The denominator is the largest mass of an unmarked bit. `bits_ambiguous` (seed,)
        says whether the ratio is below 2.
    neuron_index, gate, gate_cosine, sign_agrees, relevant_ratio, element_of
        (seed, rank) for each neuron of the active subnetwork. `neuron_index`: index in the network (-1: padding).
        `gate`: name of the nearest gate. `gate_cosine`: cosine to this gate. `sign_agrees`: 1 if the readout weight u
        has the sign that the gate needs for parity, -1 if u has the other sign, 0 if the gate needs no sign or u is 0.
        `relevant_ratio`: Σ|w_i| over relevant bits / Σ|w_i| over the others. `element_of`: index of the element to
        which the neuron belongs; -1 if the neuron's path norm is too small.
    fires, always_fires, can_fire
        (seed, rank, pattern) `fires`: whether the neuron fires if all irrelevant bits are at their mean 0.
        `always_fires`, `can_fire`: whether the neuron fires for all, or for some, values of the irrelevant bits.
    merged_size
        (seed,) number of elements of the active subnetwork; 0 if all outputs ≈ 0, NaN if the network diverged.
    element_gate, element_cosine, element_bias, element_readout
        (seed, element) `element_gate`: name of the element's nearest gate. `element_cosine`: cosine to this gate.
        `element_bias`: bias of the element. `element_readout`: weight from the element to the output.
    element_weight
        (seed, element, bit) weights of the element on the relevant bits.
    construction_neuron, residual
        (construction, seed, element) `construction_neuron`: the construction's neuron that matches the element.
        `residual`: distance between the element and this neuron; see `match`.
    n_missing, n_extra, overlap
        (construction, seed) `n_missing`: number of the construction's neurons without a match. `n_extra`: number of
        elements without a match. `overlap`: matches / (elements + the construction's unmatched neurons).
    permutation, bit_sign
        (construction, seed, bit) permutation and flips of bits that give the match.
    nearest, verdict
        (seed,) `nearest`: construction of largest overlap. `verdict`: circuit in words, or "collapsed" or "diverged".
    final_cost, final_margin, final_cost_per_margin, final_resolved, final_efficiency, pattern_margin
        (seed, part[, pattern]) path cost, margin and efficiency at the final checkpoint, for two parts: the whole
        network and its active subnetwork. `final_cost_per_margin` is path cost / margin. `final_resolved` is the least
        path cost / margin of networks with the same neurons and any readout weights. `pattern_margin` has the average
        parity × output for each setting (pattern) of the relevant bits.
    built_cost, built_margin, built_cost_per_margin, built_resolved, built_efficiency
        (construction,) the same numbers for every construction.
    least_cost, critical_weight_decay
        `least_cost`: least path cost per unit of margin on k relevant bits, C*(k); NaN for k > 6.
        `critical_weight_decay`: 1 / `least_cost`. The attribute `warnings` lists caveats.
    """
    require(run, is_one_relu_layer)
    bits = parity_bits(run)
    k = len(bits)
    candidates = constructions_of(k) if constructions is None else dict(constructions)
    least = known_least_cost(k)
    chosen = chosen_checkpoints(run, options)
    late = np.arange(max(0, run.n_checkpoints - LATE_CHECKPOINTS), run.n_checkpoints)
    needed = np.union1d(chosen, late)
    sizes = merged_at(run, needed, options, progress=progress)

    groups = neuron_groups(run, options)
    neurons = members(run, options)
    circuits: list[Circuit | None] = []
    of_parts: list[Price | None] = []
    recovered, margins, fates = [], [], []
    for index, inside in enumerate(neurons):
        has_collapsed = run.collapsed.values[groups.checkpoint[index], index]
        fates.append("diverged" if not groups.defined[0, index] else "collapsed" if has_collapsed else "")
        if fates[-1]:
            circuits.append(None)
            recovered.append(RecoveredBits((), np.nan, True))
            of_parts += [None, None]
            margins += [np.full(2**k, np.nan)] * 2
            continue
        whole = network_of(run, index, int(groups.checkpoint[index]))
        part = neurons_of(whole, inside)
        W, b, u = part.values()
        circuit = read_circuit(W, b, u, bits, candidates, cosine=options.merge_cosine, floor=options.merge_floor)
        circuits.append(circuit)
        recovered.append(relevant_bits(whole["W"], whole["u"]))
        of_parts += [price(**whole, relevant_bits=bits), circuit.price]
        margins += [pattern_margins(net, bits) for net in (whole, part)]

    n_seeds = len(run.seeds)
    final = prices_labeled(of_parts, least, "final", ("place",))
    variables: Variables = {
        "merged_sparsity": (("step", "seed"), sizes[np.isin(needed, chosen)], MERGED),
        **late_labeled(sizes[np.isin(needed, late)]),
        **recovered_bits_labeled(recovered, run.config.task.signature.n_inputs),
        **gates_labeled(circuits, neurons, 2**k),
        **elements_labeled(circuits, k, fates),
        **matches_labeled(circuits, candidates, k, fates),
        **built_labeled(candidates, least),
        **{name: (("seed", "part"), values.reshape(n_seeds, -1)) for name, (_, values) in final.items()},
        "pattern_margin": (("seed", "part", "pattern"), np.array(margins).reshape(n_seeds, -1, 2**k)),
        "least_cost": ((), least, {"long_name": "C*(k), the least path cost per margin"}),
        "critical_weight_decay": ((), 1 / least, {"long_name": "1 / C*, numerical, in the population limit"}),
    }
    result = prices(run, options, progress=progress).assign(variables)
    result = result.assign_coords(
        statistic=list(STATISTICS),
        part=list(PARTS),
        construction=list(candidates),
        pattern=["".join("+" if sign > 0 else "-" for sign in row) for row in patterns(k)],
        bit=list(bits),
    )
    result.attrs = {"merge_cosine": options.merge_cosine, "merge_floor": options.merge_floor}
    result.attrs["warnings"] = warnings_about(run, result)
    return result


def pattern_margins(net: Network, bits: tuple[int, ...]) -> Float[np.ndarray, " pattern"]:
    """Parity × output, averaged over the other bits, for each setting of `bits`; the margin is the least of these."""
    return parities(len(bits)) * (net["u"].astype(np.float64) @ averaged_activations(net["W"], net["b"], bits))


def late_labeled(sizes: Float[np.ndarray, "step seed"]) -> Variables:
    """Least, median and greatest of `sizes` over the steps, for each seed, and how many of the sizes are not NaN.

    A size is a number of elements (groups of merged neurons), at one of the last checkpoints of a run.

    Examples
    --------
    >>> late_labeled(np.array([[6.0, np.nan], [np.nan, np.nan], [4.0, np.nan]]))["late_merged"][1]
    array([[ 4., nan],
           [ 5., nan],
           [ 6., nan]])
    """
    counts = (~np.isnan(sizes)).sum(axis=0)
    statistics = np.full((len(STATISTICS), len(counts)), np.nan)
    some = counts > 0
    statistics[:, some] = [f(sizes[:, some], axis=0) for f in (np.nanmin, np.nanmedian, np.nanmax)]
    return {
        "late_merged": (("statistic", "seed"), statistics),
        "late_merged_defined": ("seed", counts, {"of": len(sizes)}),
    }


def warnings_about(run: Run, result: xr.Dataset) -> list[str]:
    """Caveats about the result, one line each."""
    lines = []
    relevant = set(result["bit"].values.tolist())
    for index, seed in enumerate(run.seeds):
        at = result.isel(seed=index)
        if (fate := str(at["verdict"].values)) in ("collapsed", "diverged"):
            lines.append(f"seed {seed} {fate}, so there is no circuit.")
            continue
        bits = np.flatnonzero(at["bit_found"].values).tolist()
        if bool(at["bits_ambiguous"]):
            lines.append(
                f"seed {seed}: the weights do not say which bits are relevant, the clearest gap is "
                f"{float(at['bit_gap']):.2f}; its gates are read on the task's bits and mean little."
            )
        elif set(bits) != relevant:
            lines.append(f"seed {seed}: the weights single out the bits {bits}, the task's are {sorted(relevant)}.")
        if not float(at["final_margin"].sel(part="network")) > 0:
            lines.append(f"seed {seed}: averaged over the other bits, its network does not compute parity.")
    if np.isnan(result["least_cost"]):
        lines.append(f"The least cost is solved for k up to 6, so for k = {len(relevant)} there is no efficiency.")
    return lines


CONSTRUCTIONS = Measurement(measure, all_of(is_one_relu_layer, makes_predictions, of_few_bits), construction_tables)
