"""Which construction a learned circuit is: neuron for neuron, up to the symmetries that keep parity.

Parity is kept by permuting the k relevant bits, by flipping any of them with u -> u · Π s, and by rescaling a neuron,
(αw, αb, u/α). So a construction is compared in every form that the first two give it (those that differ: the DNF has
one, a network of the sum of the bits at most 2^k), and neurons by the direction of (w_S, b) and the sign of u. An
element can be a construction's neuron when the signs of u agree and either the cosine is above .9 or both are the same
gate with the same firing set: the printed AND gates have smaller biases than learned ones. Of all forms and all
assignments (Kuhn's algorithm), the one with the most matches counts, then the one with the largest cosines. How
strongly each neuron is read out is not compared: that is what `efficiency.py` prices.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment

from circuits.constructions.building.construction import Construction
from circuits.constructions.reading.efficiency import neuron_sizes
from circuits.constructions.reading.elements import MERGE_COSINE
from circuits.constructions.reading.gates import Gates, firing_sets, gates_in_words, nearest_gates


@dataclass(frozen=True)
class Match:
    """How a circuit's elements correspond to a construction's neurons.

    Attributes
    ----------
    name, n_neurons
        Of the construction.
    neuron_of
        (element,) index of the construction's neuron that each element is, -1 for none: it is extra.
    residual
        (element,) length of the difference of the unit vectors (w_S, b), 0..2, 0 is equal; NaN for an extra one.
    missing
        The construction's neurons that no element is.
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
        """Elements that are no neuron of the construction."""
        return tuple(np.flatnonzero(self.neuron_of < 0).tolist())

    @property
    def overlap(self) -> float:
        """Matched / (elements and neurons together), 0..1, higher is better; 1 when all match."""
        n_matched = self.n_neurons - len(self.missing)
        return n_matched / (len(self.neuron_of) + len(self.missing)) if self.n_neurons else 0.0

    @property
    def verdict(self) -> str:
        """In words: "a DNF", or "not a DNF: 5 of its terms are missing, 1 neuron is extra"."""
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
    """The best correspondence of a circuit's elements to a construction's neurons, over all symmetries of parity.

    Parameters
    ----------
    W, b, u
        (element, k) weights on the relevant bits, (element,), (element,): merged, see `elements.py`.
    construction
        On the same number of bits.
    cosine
        Above which directions are the same.

    Raises
    ------
    ValueError
        The construction has another number of bits.

    Examples
    --------
    >>> two = Construction("two", W=((1, 1), (-1, -1)), b=(-1, 0), u=(1, 1), source="")
    >>> found = match(np.array([[2.0, -2.0]]), np.array([0.1]), np.array([-3.0]), two)
    >>> found.missing, found.neuron_of.tolist(), found.verdict
    ((0,), [1], 'not the two network: 1 of its neurons is missing')
    """
    if W.shape[1] != construction.k:
        raise ValueError(f"{construction.name} has {construction.k} bits, the circuit {W.shape[1]}")
    learned = _Directions(W.astype(np.float64), b.astype(np.float64), np.sign(u))
    candidates = (_assigned(learned, construction, cosine, *form) for form in forms(construction))
    least, best = next(candidates)  # there is always the form as printed
    for total, one in candidates:
        if total < least - 1e-12:
            least, best = total, one
    return best


def matches(
    W: Float[np.ndarray, "element k"],
    b: Float[np.ndarray, " element"],
    u: Float[np.ndarray, " element"],
    constructions: Mapping[str, Construction],
    cosine: float = MERGE_COSINE,
) -> dict[str, Match]:
    """The match to each construction, the largest overlap first; of equals, the earlier in `constructions`."""
    each = [match(W, b, u, one, cosine) for one in constructions.values()]
    return {one.name: one for one in sorted(each, key=lambda one: -one.overlap)}


def verdict(gates: Gates, found: Mapping[str, Match]) -> str:
    """What a circuit is, in words: its gates, and the construction that it is nearest to.

    Examples
    --------
    >>> verdict(nearest_gates(np.array([[1.0, 1.0]]), np.array([0.0])), {})
    '1 AND gate'
    """
    first = next(iter(found.values()), None)
    return gates_in_words(gates) + (f"; {first.verdict}" if first else "")


Form = tuple[np.ndarray, np.ndarray, np.ndarray]


def forms(construction: Construction) -> Iterator[tuple[tuple[int, ...], tuple[int, ...], Form]]:
    """The different networks that permuting and flipping bits makes of a construction: (permutation, signs, (W, b, u)).

    Found by swapping neighbors and flipping the first bit until nothing new comes, in exact arithmetic; the
    construction as printed is the first.

    Examples
    --------
    >>> nets = [Construction("", W=((1, 1),), b=(b,), u=(1,), source="") for b in (0, 1)]
    >>> [len(list(forms(one))) for one in nets]
    [4, 4]
    """
    k = construction.k
    start = (tuple(range(k)), (1,) * k)
    seen, waiting = {_key(construction, *start)}, [start]
    while waiting:
        permutation, signs = waiting.pop(0)
        W, b, u = (construction.arrays()[name] for name in "Wbu")
        yield permutation, signs, (W[:, permutation] * signs, b, u * np.prod(signs))
        for i in range(k - 1):
            order = [*range(i), i + 1, i, *range(i + 2, k)]
            _add(construction, tuple(permutation[j] for j in order), tuple(signs[j] for j in order), seen, waiting)
        _add(construction, permutation, (-signs[0], *signs[1:]), seen, waiting)


def _add(construction: Construction, permutation: tuple, signs: tuple, seen: set, waiting: list) -> None:
    key = _key(construction, permutation, signs)
    if key not in seen:
        seen.add(key)
        waiting.append((permutation, signs))


def _key(construction: Construction, permutation: tuple[int, ...], signs: tuple[int, ...]) -> tuple:
    """A network as its neurons, whatever their order."""
    flip = int(np.prod(signs))
    rows = zip(construction.W, construction.b, construction.u, strict=True)
    return tuple(
        sorted(
            (*(row[i] * s for i, s in zip(permutation, signs, strict=True)), bias, out * flip)
            for row, bias, out in rows
        )
    )


class _Directions:
    """Unit rows (w_S, b), signs of u, and gates with their firing sets, of some neurons."""

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
    """What the best assignment to one form of a construction costs, and that: most pairs first, then the nearest."""
    built = _Directions(*form)
    n_learned, n_built = len(learned.rows), construction.n_neurons
    unmatched = 2.0 * min(n_learned, n_built) + 1  # dearer than any two-sided gain in cosine
    cosines = learned.rows @ built.rows.T
    allowed = (learned.sign[:, None] == built.sign) & ((cosines > cosine) | learned.same_gate(built))
    pairs = linear_sum_assignment(np.where(allowed, 1 - cosines, unmatched))
    chosen = [(e, c) for e, c in zip(*pairs, strict=True) if allowed[e, c]]
    neuron_of, residual = np.full(n_learned, -1), np.full(n_learned, np.nan)
    for e, c in chosen:
        neuron_of[e], residual[e] = c, np.linalg.norm(learned.rows[e] - built.rows[c])
    missing = tuple(sorted(set(range(n_built)) - {int(c) for _, c in chosen}))
    total = float(sum(1 - cosines[e, c] for e, c in chosen) - unmatched * len(chosen))
    return total, Match(construction.name, n_built, neuron_of, residual, missing, permutation, signs)
