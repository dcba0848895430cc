"""Circuits of several seeds as labeled variables, padded to the size of the largest circuit.

Padding is -1 for an index, "" for a name, NaN for a number, False for a mask.
"""

from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import Any

import numpy as np

from circuits.analysis.parity.circuit import padded
from circuits.constructions.building.construction import Construction
from circuits.constructions.reading.circuit import Circuit
from circuits.constructions.reading.efficiency import Price, efficiency, price
from circuits.constructions.reading.recovered_bits import RecoveredBits

Variables = dict[str, Any]
Circuits = Sequence[Circuit | None]


def recovered_bits_labeled(recovered: Sequence[RecoveredBits], n_inputs: int) -> Variables:
    """Variables `bit_found` (seed, input), `bit_gap` (seed,) and `bits_ambiguous` (seed,); see `RecoveredBits`.

    `bit_found` is True if the weights show that the bit is relevant. The mass of bit i is Σ_j |u_j| |w_ji|, for neurons
    j with the weight w_ji from bit i and the readout weight u_j. `bit_gap` is the least mass of a relevant bit, divided
    by the largest mass of a bit that is not relevant. `bits_ambiguous` is True if `bit_gap` is below 2.
    """
    bits = np.zeros((len(recovered), n_inputs), bool)
    for index, seed_bits in enumerate(recovered):
        bits[index, list(seed_bits.bits)] = True
    gaps = np.array([seed_bits.gap for seed_bits in recovered], np.float64)
    return {
        "bit_found": (("seed", "input"), bits, {"long_name": "bit found relevant from the weights alone"}),
        "bit_gap": ("seed", gaps, {"long_name": "mass of the least relevant bit / of the largest other"}),
        "bits_ambiguous": ("seed", np.array([seed_bits.ambiguous for seed_bits in recovered], bool)),
    }


def gates_labeled(circuits: Circuits, neurons: Sequence[np.ndarray], n_patterns: int) -> Variables:
    """Variables (seed, rank) on each neuron and its nearest logic gate, such as "at least 2 of 3 bits".

    Variables (seed, rank, pattern) say whether the neuron fires at each setting (pattern) of the relevant bits.
    `neurons` has each seed's neurons, as indices, ranked by falling path norm |u|·‖(w, b)‖; rank 0 has the largest.
    """
    length = max(map(len, neurons), default=0)
    of_neuron, of_pattern = ("seed", "rank"), ("seed", "rank", "pattern")
    signs = _stacked(circuits, "sign_agrees", (length,), 0)
    return {
        "neuron_index": (of_neuron, np.array([padded(ranked, length, -1) for ranked in neurons])),
        "gate": (of_neuron, _stacked(circuits, "gates.names", (length,), "")),
        "gate_cosine": (of_neuron, _stacked(circuits, "gates.cosine", (length,), np.nan)),
        "sign_agrees": (of_neuron, signs, {"meaning": "1 yes, -1 no, 0 no sign"}),
        "relevant_ratio": (of_neuron, _stacked(circuits, "share", (length,), np.nan)),
        "element_of": (of_neuron, _stacked(circuits, "element", (length,), -1)),
        "fires": (of_pattern, _stacked(circuits, "fires", (length, n_patterns), False)),
        "always_fires": (of_pattern, _stacked(circuits, "always", (length, n_patterns), False)),
        "can_fire": (of_pattern, _stacked(circuits, "can", (length, n_patterns), False)),
    }


def elements_labeled(circuits: Circuits, k: int, fates: Sequence[str]) -> Variables:
    """Variables on the elements of each seed's circuit; an element is a group of neurons merged into one neuron.

    For each element, there are its weights and its nearest logic gate. `merged_size` (seed,) is the number of elements:
    0 if the seed's entry in `fates` is "collapsed", NaN if "diverged".
    """
    shape, of_element = (_n_elements(circuits),), ("seed", "element")
    without = [0.0 if fate == "collapsed" else np.nan for fate in fates]
    sizes = [size if one is None else float(len(one.b)) for one, size in zip(circuits, without, strict=True)]
    return {
        "merged_size": ("seed", np.array(sizes), {"long_name": "elements of the active subnetwork"}),
        "element_gate": (of_element, _stacked(circuits, "element_gates.names", shape, "")),
        "element_cosine": (of_element, _stacked(circuits, "element_gates.cosine", shape, np.nan)),
        "element_weight": ((*of_element, "bit"), _stacked(circuits, "W", (*shape, k), np.nan)),
        "element_bias": (of_element, _stacked(circuits, "b", shape, np.nan)),
        "element_readout": (of_element, _stacked(circuits, "u", shape, np.nan)),
    }


def _n_elements(circuits: Circuits) -> int:
    return max((len(circuit.b) for circuit in circuits if circuit is not None), default=0)


def _stacked(circuits: Circuits, name: str, shape: tuple[int, ...], fill: Any) -> np.ndarray:
    """Attribute `name` of all circuits, (seed, *shape), padded with `fill`; the type of `fill` gives the dtype."""
    result = np.full((len(circuits), *shape), fill, "<U16" if fill == "" else None)
    for row, circuit in zip(result, circuits, strict=True):
        if circuit is not None:
            values = attrgetter(name)(circuit)
            row[: len(values)] = values
    return result


def matches_labeled(
    circuits: Circuits, constructions: Mapping[str, Construction], k: int, fates: Sequence[str]
) -> Variables:
    """Variables on how each seed's circuit matches each construction (a network built by hand).

    Variables on pairs of a construction and a circuit are (construction, seed). Some have a third axis: `element`, for
    the circuit's elements (merged neurons), or `bit`, for the k relevant bits. `nearest` (seed,) is the construction
    most like the circuit. `verdict` (seed,) describes the circuit in words; a seed without a circuit has its fate,
    "collapsed" or "diverged", as its verdict.
    """
    shape, length = (len(constructions), len(circuits)), _n_elements(circuits)
    neuron_of, residual = np.full((*shape, length), -1), np.full((*shape, length), np.nan)
    missing, extra, overlap = (np.full(shape, np.nan) for _ in range(3))
    permutation, signs = np.tile(np.arange(k), (*shape, 1)), np.ones((*shape, k), np.int64)
    for row, name in enumerate(constructions):
        for index, circuit in enumerate(circuits):
            if circuit is not None:
                match, at = circuit.matches[name], (row, index)
                neuron_of[at] = padded(match.neuron_of, length, -1)
                residual[at] = padded(match.residual, length, np.nan)
                missing[at], extra[at], overlap[at] = len(match.missing), len(match.extra), match.overlap
                permutation[at], signs[at] = match.permutation, match.signs
    both = ("construction", "seed")
    verdicts = [fate if one is None else one.verdict for one, fate in zip(circuits, fates, strict=True)]
    nearest = ["" if one is None else next(iter(one.matches), "") for one in circuits]
    return {
        "construction_neuron": ((*both, "element"), neuron_of),
        "residual": ((*both, "element"), residual, {"long_name": "difference of the unit vectors (w, b)"}),
        "n_missing": (both, missing),
        "n_extra": (both, extra),
        "overlap": (both, overlap, {"long_name": "matched / all elements and neurons"}),
        "permutation": ((*both, "bit"), permutation),
        "bit_sign": ((*both, "bit"), signs),
        "nearest": ("seed", np.array(nearest, str)),
        "verdict": ("seed", np.array(verdicts, str)),
    }


def built_labeled(constructions: Mapping[str, Construction], least: float) -> Variables:
    """The five variables of `prices_labeled` for constructions (networks built by hand); `least` is explained there."""
    prices = [price(**one.arrays(), relevant_bits=range(one.k)) for one in constructions.values()]
    return prices_labeled(prices, least, "built", ("construction",))


def prices_labeled(prices: Sequence[Price | None], least: float, prefix: str, dims: tuple[str, ...]) -> Variables:
    """Five variables along `dims`, with names that begin with `prefix`. A price describes one network; None gives NaN.

    `…_cost` is the path cost Σ|u|·‖(w, b)‖, for neurons with incoming weights w, bias b, readout weight u. `…_margin`
    is the margin: the least parity × output, with irrelevant bits averaged out. `…_cost_per_margin` is path cost /
    margin. `…_resolved` is path cost / margin with the cheapest readout weights in place of the network's own.
    `…_efficiency` is `least` / `…_cost_per_margin`; `least` is C*, the least path cost / margin of any network.
    """
    known = [Price(np.nan, np.nan, np.nan, np.nan) if one is None else one for one in prices]
    rows = np.array([(*one, efficiency(one.cost, one.margin, least)) for one in known], np.float64).reshape(-1, 5)
    names = ("cost", "margin", "cost_per_margin", "resolved", "efficiency")
    return {f"{prefix}_{name}": (dims, column) for name, column in zip(names, rows.T, strict=True)}
