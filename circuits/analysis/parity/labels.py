"""Circuits of several seeds as labeled variables: what one seed has fewer of is padded.

Padding is -1 for an index, "" for a name, NaN for a number, False for a mask.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from circuits.analysis.parity.circuit import padded
from circuits.constructions.building.construction import Construction
from circuits.constructions.reading.circuit import Circuit
from circuits.constructions.reading.efficiency import Price, efficiency, price
from circuits.constructions.reading.recovered_bits import Support

Variables = dict[str, Any]


def supports_labeled(supports: Sequence[Support], n_inputs: int) -> Variables:
    """`bit_found` (seed, input), `bit_gap` and `bits_ambiguous` (seed,)."""
    bits = np.zeros((len(supports), n_inputs), bool)
    for index, support in enumerate(supports):
        bits[index, list(support.bits)] = True
    gaps = np.array([support.gap for support in supports], np.float64)
    return {
        "bit_found": (("seed", "input"), bits, {"long_name": "bit found relevant from the weights alone"}),
        "bit_gap": ("seed", gaps, {"long_name": "mass of the least relevant bit / of the largest other"}),
        "bits_ambiguous": ("seed", np.array([support.ambiguous for support in supports], bool)),
    }


def gates_labeled(found: Sequence[Circuit | None], neurons: Sequence[np.ndarray], n_patterns: int) -> Variables:
    """Every neuron's gate, (seed, rank) and (seed, rank, pattern)."""
    length = max(map(len, neurons), default=0)
    none = np.zeros((0, n_patterns), bool)

    def each(read: Any, fill: Any, empty: Any) -> np.ndarray:
        return np.array([padded(empty if one is None else np.asarray(read(one)), length, fill) for one in found])

    number, mark, text = np.zeros(0), np.zeros(0, np.int64), np.zeros(0, "<U16")
    of_neuron, of_pattern = ("seed", "rank"), ("seed", "rank", "pattern")
    return {
        "neuron_index": (of_neuron, np.array([padded(ranked, length, -1) for ranked in neurons])),
        "gate": (of_neuron, each(lambda one: np.array(one.gates.names, "<U16"), "", text)),
        "gate_cosine": (of_neuron, each(lambda one: one.gates.cosine, np.nan, number)),
        "sign_agrees": (of_neuron, each(lambda one: one.sign_agrees, 0, mark), {"meaning": "1 yes, -1 no, 0 no sign"}),
        "relevant_ratio": (of_neuron, each(lambda one: one.share, np.nan, number)),
        "element_of": (of_neuron, each(lambda one: one.element, -1, mark)),
        "fires": (of_pattern, each(lambda one: one.fires, False, none)),
        "always_fires": (of_pattern, each(lambda one: one.always, False, none)),
        "can_fire": (of_pattern, each(lambda one: one.can, False, none)),
    }


def elements_labeled(found: Sequence[Circuit | None], k: int, fates: Sequence[str]) -> Variables:
    """Every element's gate and weights, (seed, element[, bit]), and their number (seed,): 0 if the seed collapsed."""
    length = max((len(one.b) for one in found if one is not None), default=0)

    def each(read: Any, fill: Any, empty: Any) -> np.ndarray:
        return np.array([padded(empty if one is None else np.asarray(read(one)), length, fill) for one in found])

    number, of_element = np.zeros(0), ("seed", "element")
    without = [0.0 if fate == "collapsed" else np.nan for fate in fates]
    sizes = np.array([other if one is None else float(len(one.b)) for one, other in zip(found, without, strict=True)])
    names = each(lambda one: np.array(one.element_gates.names, "<U16"), "", np.zeros(0, "<U16"))
    return {
        "merged_size": ("seed", sizes, {"long_name": "elements of the active subnetwork"}),
        "element_gate": (of_element, names),
        "element_cosine": (of_element, each(lambda one: one.element_gates.cosine, np.nan, number)),
        "element_weight": ((*of_element, "bit"), each(lambda one: one.W, np.nan, np.zeros((0, k)))),
        "element_bias": (of_element, each(lambda one: one.b, np.nan, number)),
        "element_readout": (of_element, each(lambda one: one.u, np.nan, number)),
    }


def matches_labeled(
    found: Sequence[Circuit | None], made: Mapping[str, Construction], k: int, fates: Sequence[str]
) -> Variables:
    """How each seed's elements match each construction, (construction, seed[, element or bit]); the verdict (seed,).

    Of a seed without a circuit, the verdict is its fate: "collapsed" or "diverged".
    """
    length = max((len(one.b) for one in found if one is not None), default=0)
    shape = (len(made), len(found))
    neuron_of, residual = np.full((*shape, length), -1), np.full((*shape, length), np.nan)
    missing, extra, overlap = (np.full(shape, np.nan) for _ in range(3))
    permutation, signs = np.tile(np.arange(k), (*shape, 1)), np.ones((*shape, k), np.int64)
    for place, name in enumerate(made):
        for index, one in enumerate(found):
            if one is not None:
                match = one.matches[name]
                neuron_of[place, index] = padded(match.neuron_of, length, -1)
                residual[place, index] = padded(match.residual, length, np.nan)
                missing[place, index], extra[place, index] = len(match.missing), len(match.extra)
                overlap[place, index] = match.overlap
                permutation[place, index], signs[place, index] = match.permutation, match.signs
    both = ("construction", "seed")
    verdicts = [fate if one is None else one.verdict for one, fate in zip(found, fates, strict=True)]
    nearest = ["" if one is None else next(iter(one.matches), "") for one in found]
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


def built_labeled(made: Mapping[str, Construction], least: float) -> Variables:
    """What every construction pays, (construction,)."""
    prices = [price(**one.arrays(), support=range(one.k)) for one in made.values()]
    return prices_labeled(prices, least, "built", ("construction",))


def prices_labeled(prices: Sequence[Price | None], least: float, prefix: str, dims: tuple[str, ...]) -> Variables:
    """Cost per margin as it is and with u re-solved, and efficiency; NaN for None."""
    nan = Price(np.nan, np.nan, np.nan, np.nan)
    filled = [nan if one is None else one for one in prices]
    values = {
        "cost": [one.cost for one in filled],
        "margin": [one.margin for one in filled],
        "cost_per_margin": [one.per_margin for one in filled],
        "resolved": [one.resolved for one in filled],
        "efficiency": [efficiency(one.cost, one.margin, least) for one in filled],
    }
    return {f"{prefix}_{name}": (dims, np.array(amounts, np.float64)) for name, amounts in values.items()}
