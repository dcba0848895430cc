"""The logic gates that a trained network has learned, and the hand-built networks (constructions) that it resembles."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from circuits.constructions.building.construction import Construction
from circuits.constructions.reading.efficiency import Price, price
from circuits.constructions.reading.elements import MERGE_COSINE, MERGE_FLOOR, elements, merged_network
from circuits.constructions.reading.gates import Gates, firing_sets, gates_text, nearest_gates
from circuits.constructions.reading.match import Match, matches
from circuits.constructions.reading.recovered_bits import relevant_share


@dataclass(frozen=True)
class Circuit:
    """The logic gates in a network: result of `read_circuit`.

    A neuron has the weights w, the bias b and the readout weight u. Neurons with near-parallel (w, b) and the same sign
    of u form an *element*. They are merged into one neuron with (w, b) = Σ|u_j|·(w_j, b_j) and the readout ±1.

    Attributes
    ----------
    gates
        Gate of each neuron.
    sign_agrees
        (neuron,) 1 if u has the sign that parity needs for the gate, -1 for the other sign, 0 if the gate needs none.
    fires, always, can
        (neuron, pattern) A pattern sets the relevant bits (those in the parity). `fires`: the neuron fires with the
        other bits at 0, their mean. `always`: it fires for all values of the other bits. `can`: it fires for some.
    share
        (neuron,) Σ|weight| over the relevant bits / Σ|weight| over the other bits.
    element
        (neuron,) index of the neuron's element; -1 if the neuron is too small for any element. The elements are in the
        order of falling path norm, the sum of |u|·‖(w, b)‖ over an element's neurons.
    W, b, u
        (element, k), (element,), (element,): weights on the relevant bits, bias and readout ±1 of each merged neuron.
    element_gates
        Gate of each element's merged neuron.
    matches
        Comparison with each hand-built network (construction) given to `read_circuit`, by name; the nearest first.
    price
        Path cost Σ|u|·‖(w, b)‖ and margin of the network. Neurons are not merged; w has the weights on all inputs.
    """

    gates: Gates
    sign_agrees: Int[np.ndarray, " neuron"]
    fires: Bool[np.ndarray, "neuron pattern"]
    always: Bool[np.ndarray, "neuron pattern"]
    can: Bool[np.ndarray, "neuron pattern"]
    share: Float[np.ndarray, " neuron"]
    element: Int[np.ndarray, " neuron"]
    W: Float[np.ndarray, "element k"]
    b: Float[np.ndarray, " element"]
    u: Float[np.ndarray, " element"]
    element_gates: Gates
    matches: dict[str, Match]
    price: Price

    @property
    def verdict(self) -> str:
        """The circuit in words: its gates, and the nearest construction."""
        nearest = next(iter(self.matches.values()), None)
        return gates_text(self.element_gates) + (f"; {nearest.verdict}" if nearest else "")


def read_circuit(
    W: Float[np.ndarray, "neuron input"],
    b: Float[np.ndarray, " neuron"],
    u: Float[np.ndarray, " neuron"],
    relevant_bits: Sequence[int],
    constructions: Mapping[str, Construction],
    *,
    cosine: float = MERGE_COSINE,
    floor: float = MERGE_FLOOR,
) -> Circuit:
    """The circuit that a network, or its active subnetwork, has learned.

    Parameters
    ----------
    constructions
        Constructions for the same number of relevant bits, by name, to compare with.
    cosine, floor
        Neurons merge if the cosine of their (w, b) is above `cosine`. A neuron counts if its path norm is above `floor`
        times the largest path norm. `cosine` is also the threshold for matching merged neurons to constructions.

    Raises
    ------
    ValueError
        A weight is not finite.

    Examples
    --------
    Two AND gates, one of them split over two neurons; the third bit is irrelevant.

    >>> W = np.array([[1.0, 1.0, 0.1], [0.5, 0.5, 0.0], [-1.0, 1.0, 0.1]])
    >>> circuit = read_circuit(W, np.zeros(3), np.array([1.0, 1.0, -2.0]), [0, 1], {})
    >>> circuit.verdict, circuit.element.tolist(), circuit.gates.names
    ('2 AND gates', [1, 1, 0], ['A(++)', 'A(++)', 'A(-+)'])
    """
    merged = elements(W, b, u, cosine, floor)
    if merged is None:
        raise ValueError("a weight is not finite: a diverged network has no circuit. Pass an earlier checkpoint")
    bits = list(relevant_bits)
    merged_W, merged_b, merged_u = merged_network(W, b, u, merged)
    merged_W = merged_W[:, bits]
    gates = nearest_gates(W[:, bits].astype(np.float64), b.astype(np.float64))
    fires, always, can = firing_sets(W, b, bits)
    return Circuit(
        gates=gates,
        sign_agrees=(gates.expected * np.sign(u)).astype(np.int64),
        fires=fires,
        always=always,
        can=can,
        share=relevant_share(W, tuple(bits)),
        element=merged.labels,
        W=merged_W,
        b=merged_b,
        u=merged_u,
        element_gates=nearest_gates(merged_W, merged_b),
        matches=matches(merged_W, merged_b, merged_u, constructions, cosine),
        price=price(W, b, u, bits),
    )
