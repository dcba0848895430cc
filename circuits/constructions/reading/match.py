"""Comparison of a trained network with a hand-built network for parity (a construction), neuron by neuron.

Both networks compute Σ_j u_j relu(w_j·z + b_j) from the k relevant bits z. Parallel neurons of the trained network are
already merged; a merged neuron is called an element. The code pairs elements with neurons of the construction:

1. A network still computes parity if its bits are permuted, or if one bit and all u_j change sign. The networks
   that these changes make from the construction are its forms. The code tries every form. A network that depends only
   on the sum of the bits has at most 2^k forms. The network `dnf`, an AND gate for every bit setting, has one form.
2. An element and a neuron with the same sign of u may be paired in two cases: if the cosine between their (w, b) is
   above .9, or if they have the same nearest logic gate and fire on the same bit settings. AND gates need the second
   case: their biases are smaller in papers than in learned networks.
3. The best match has the most pairs. Among matches with equally many pairs, the best has the largest sum of cosines
   (linear assignment problem). The sizes of (w, b) and u do not count.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment

from circuits.constructions.building.construction import Construction
from circuits.constructions.reading.efficiency import neuron_sizes
from circuits.constructions.reading.elements import MERGE_COSINE
from circuits.constructions.reading.gates import firing_sets, nearest_gates


@dataclass(frozen=True)
class Match:
    """Correspondence of a circuit's elements (groups of parallel neurons) to a construction's neurons.

    Attributes
    ----------
    name, n_neurons, missing
        `name` and `n_neurons` describe the construction. `missing` holds the indices of its neurons without a match.
    neuron_of, residual
        (element,) each. `neuron_of` is the index of the matched neuron; -1 for an extra element, without a match.
        `residual` is the distance between the unit vectors (w, b) of element and neuron, 0..2; NaN without a match.
    permutation, signs
        (k,) bit i of the circuit is bit `permutation[i]` of the construction, times `signs[i]`.
    """

    name: str
    n_neurons: int
    neuron_of: Int[np.ndarray, " element"]
    residual: Float[np.ndarray, " element"]
    missing: tuple[int, ...]
    permutation: tuple[int, ...]
    signs: tuple[int, ...]

    @property
    def extra(self) -> tuple[int, ...]:
        """Elements (groups of parallel neurons) without a match."""
        return tuple(np.flatnonzero(self.neuron_of < 0).tolist())

    @property
    def overlap(self) -> float:
        """Matched pairs / (pairs + unmatched neurons of the circuit + unmatched neurons of the construction), 0..1."""
        n_matched = self.n_neurons - len(self.missing)
        return n_matched / (len(self.neuron_of) + len(self.missing)) if self.n_neurons else 0.0

    @property
    def verdict(self) -> str:
        """The match in words: "a DNF", or "not a DNF: 5 of its terms are missing, 1 neuron is extra"."""
        title, part = ("a DNF", "terms") if self.name == "dnf" else (f"the {self.name} network", "neurons")
        wrong = []
        if self.missing:
            n = len(self.missing)
            wrong.append(f"{n} of its {part} {'is' if n == 1 else 'are'} missing")
        if n := len(self.extra):
            wrong.append(f"{n} {'neuron is' if n == 1 else 'neurons are'} extra")
        return f"not {title}: {', '.join(wrong)}" if wrong else title


def match(
    W: Float[np.ndarray, "element k"],
    b: Float[np.ndarray, " element"],
    u: Float[np.ndarray, " element"],
    construction: Construction,
    cosine: float = MERGE_COSINE,
) -> Match:
    """The best correspondence of a circuit's elements to a construction's neurons, up to permuted or flipped bits.

    Parameters
    ----------
    W, b, u, cosine
        W (element, k), b (element,) and u (element,) are the result of `merged_network`, with only the weights on the
        relevant bits. Two directions (w, b) match if their cosine is above `cosine`.

    Raises
    ------
    ValueError
        The construction and the circuit have different numbers of bits.

    Examples
    --------
    >>> pair = Construction("pair", W=((1, 1), (-1, -1)), b=(-1, 0), u=(1, 1), source="")
    >>> nearest = match(np.array([[2.0, -2.0]]), np.array([0.1]), np.array([-3.0]), pair)
    >>> nearest.missing, nearest.neuron_of.tolist(), nearest.verdict
    ((0,), [1], 'not the pair network: 1 of its neurons is missing')
    """
    if W.shape[1] != construction.k:
        raise ValueError(f"{construction.name} has {construction.k} bits, but the circuit has {W.shape[1]} bits")
    learned = _Directions(W.astype(np.float64), b.astype(np.float64), u)
    candidates = (_assigned(learned, construction, cosine, *form) for form in forms(construction))
    least, best = next(candidates)  # the form as printed
    for cost, candidate in candidates:
        if cost < least - 1e-12:
            least, best = cost, candidate
    return best


def matches(
    W: Float[np.ndarray, "element k"],
    b: Float[np.ndarray, " element"],
    u: Float[np.ndarray, " element"],
    constructions: Mapping[str, Construction],
    cosine: float = MERGE_COSINE,
) -> dict[str, Match]:
    """The best match of a circuit (weights W, biases b, readout u) to each construction, by the construction's name.

    Matches with the largest share of matched neurons (`overlap`) come first; ties keep the order of `constructions`.
    """
    nearest = sorted((match(W, b, u, one, cosine) for one in constructions.values()), key=lambda one: -one.overlap)
    return {one.name: one for one in nearest}


Form = tuple[np.ndarray, np.ndarray, np.ndarray]


def forms(construction: Construction) -> Iterator[tuple[tuple[int, ...], tuple[int, ...], Form]]:
    """Every distinct network from permuting and flipping a construction's bits, as (permutation, signs, (W, b, u)).

    The first result is the construction itself. Networks with exactly the same neurons, in any order, count as one.

    Examples
    --------
    >>> net = Construction("", W=((1, 1),), b=(0,), u=(1,), source="")
    >>> len(list(forms(net)))
    4
    """
    k = construction.k
    W, b, u = construction.arrays().values()
    start = (tuple(range(k)), (1,) * k)
    seen, waiting = {_key(construction, *start)}, [start]
    while waiting:
        permutation, signs = waiting.pop(0)
        yield permutation, signs, (W[:, permutation] * signs, b, u * np.prod(signs))
        swaps = ([*range(i), i + 1, i, *range(i + 2, k)] for i in range(k - 1))
        swapped = [(tuple(permutation[j] for j in order), tuple(signs[j] for j in order)) for order in swaps]
        for symmetry in [*swapped, (permutation, (-signs[0], *signs[1:]))]:
            key = _key(construction, *symmetry)
            if key not in seen:
                seen.add(key)
                waiting.append(symmetry)


def _key(construction: Construction, permutation: tuple[int, ...], signs: tuple[int, ...]) -> tuple:
    """Sorted neurons of the permuted and flipped construction: two keys are equal iff the networks are the same."""
    flip = int(np.prod(signs))
    rows = zip(construction.W, construction.b, construction.u, strict=True)
    return tuple(
        sorted(
            (*(row[i] * s for i, s in zip(permutation, signs, strict=True)), bias, out * flip)
            for row, bias, out in rows
        )
    )


class _Directions:
    """Neurons u·relu(W·z + b) of one network, prepared for a comparison with the neurons of another network."""

    def __init__(self, W: np.ndarray, b: np.ndarray, u: np.ndarray) -> None:
        sizes = neuron_sizes(W, b)
        self.rows = np.c_[W, b] / np.where(sizes > 0, sizes, 1.0)[:, None]
        self.sign = np.sign(u)
        gates = nearest_gates(W, b)
        fires = firing_sets(W, b, range(W.shape[1]))[0]
        self._gate = np.c_[gates.t, gates.signs, fires]

    def same_gate(self, other: "_Directions") -> np.ndarray:
        return (self._gate[:, None] == other._gate[None]).all(axis=2)


def _assigned(
    learned: _Directions,
    construction: Construction,
    cosine: float,
    permutation: tuple[int, ...],
    signs: tuple[int, ...],
    form: Form,
) -> tuple[float, Match]:
    """Pair neurons of a trained network with neurons of a hand-built network; return the cost and the `Match`.

    `form` is the hand-built network (W, b, u) after `permutation` and `signs` have changed its bits. Two neurons may be
    paired if their u have the same sign, and either the cosine of their (w, b) is above `cosine`, or they have the same
    nearest logic gate and firing set. More pairs cost less. Among equally many pairs, larger cosines cost less.
    """
    built = _Directions(*form)
    n_learned, n_built = len(learned.rows), construction.n_neurons
    unmatched = 2.0 * min(n_learned, n_built) + 1  # more than all cosines together can gain
    cosines = learned.rows @ built.rows.T
    allowed = (learned.sign[:, None] == built.sign) & ((cosines > cosine) | learned.same_gate(built))
    pairs = linear_sum_assignment(np.where(allowed, 1 - cosines, unmatched))
    chosen = [(e, c) for e, c in zip(*pairs, strict=True) if allowed[e, c]]
    neuron_of, residual = np.full(n_learned, -1), np.full(n_learned, np.nan)
    for e, c in chosen:
        neuron_of[e], residual[e] = c, np.linalg.norm(learned.rows[e] - built.rows[c])
    missing = tuple(sorted(set(range(n_built)) - {int(c) for _, c in chosen}))
    cost = float(sum(1 - cosines[e, c] for e, c in chosen) - unmatched * len(chosen))
    return cost, Match(construction.name, n_built, neuron_of, residual, missing, permutation, signs)
