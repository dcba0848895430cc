"""Circuit elements: neurons that are near-parallel in (w, b), with readouts of one sign, count as one.

Training often splits one gate over several neurons. relu(αv·x) = α relu(v·x) for α > 0, so parallel neurons with
readouts of one sign are together the single neuron Σ|u_j| (w_j, b_j) with readout ±1. Elements are the connected
components of "cosine of (w, b) above .9, same sign of u" among the neurons whose path norm |u|·‖(w, b)‖ exceeds 2 % of
the largest. They are ordered by summed path norm.

Neurons are first brought into an order of their own (falling path norm, then their weights), so that the result does
not depend on how they are numbered, to the last bit. The floor is relative to the largest neuron: splitting that one
lowers the floor, and pieces of a small one may fall below it.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from circuits.constructions.reading.efficiency import neuron_sizes

MERGE_COSINE, MERGE_FLOOR = 0.9, 0.02


class Elements(NamedTuple):
    """`labels` (neuron,) the element of each neuron, 0.. by falling summed path norm, -1 below the floor; `path_norms`
    (element,); `order` (neuron,) all neurons by falling path norm, ties by their weights.
    """

    labels: Int[np.ndarray, " neuron"]
    path_norms: Float[np.ndarray, " element"]
    order: Int[np.ndarray, " neuron"]


def elements(
    W: Float[np.ndarray, "neuron input"],
    b: Float[np.ndarray, " neuron"],
    u: Float[np.ndarray, " neuron"],
    cosine: float = MERGE_COSINE,
    floor: float = MERGE_FLOOR,
) -> Elements | None:
    """The circuit elements of a network; None for a diverged one.

    Parameters
    ----------
    W, b, u
        (neuron, input), (neuron,), (neuron,).
    cosine
        Two neurons are linked when the cosine of their (w, b) is above this.
    floor
        A neuron counts when its path norm is above this share of the largest.

    Examples
    --------
    Two parallel neurons are one element; the third has a readout of the other sign, the fourth is too small.

    >>> W, u = np.array([[1.0], [2.0], [2.0], [1.0]]), np.array([1.0, 1.0, -1.0, 0.01])
    >>> elements(W, np.zeros(4), u).labels.tolist()
    [0, 0, 1, -1]
    """
    sizes = neuron_sizes(W, b)
    path_norms = np.abs(u).astype(np.float64) * sizes
    if not np.isfinite(path_norms).all():
        return None
    order = _own_order(W, b, u, path_norms)
    labels = np.full(len(u), -1)
    largest = path_norms.max(initial=0.0)
    members = order[path_norms[order] > floor * largest]
    components = np.full(len(members), -1)
    n_found = 0
    for sign in (1, -1):
        alike = np.flatnonzero(np.sign(u[members]) == sign)
        if alike.size:
            rows = np.c_[W[members[alike]], b[members[alike]]].astype(np.float64) / sizes[members[alike], None]
            n_new, found = connected_components(_linked(rows, cosine), directed=False)
            components[alike] = found + n_found
            n_found += n_new
    sums = np.bincount(components, weights=path_norms[members], minlength=n_found)
    firsts = np.unique(components, return_index=True)[1] if n_found else np.zeros(0, int)
    ranking = np.lexsort((firsts, -sums))  # ties to the element of the larger, or earlier, first neuron
    rank = np.empty(n_found, int)
    rank[ranking] = np.arange(n_found)
    labels[members] = rank[components]
    return Elements(labels, sums[ranking], order)


def merged_network(
    W: Float[np.ndarray, "neuron input"],
    b: Float[np.ndarray, " neuron"],
    u: Float[np.ndarray, " neuron"],
    found: Elements,
) -> tuple[Float[np.ndarray, "element input"], Float[np.ndarray, " element"], Float[np.ndarray, " element"]]:
    """One neuron per element: (w, b) the sum of |u_j| (w_j, b_j), u = ±1. Equal to its neurons where they are parallel.

    Examples
    --------
    >>> W, b, u = np.array([[1.0], [2.0]]), np.array([0.0, 0.0]), np.array([-1.0, -3.0])
    >>> merged_network(W, b, u, elements(W, b, u))
    (array([[7.]]), array([0.]), array([-1.]))
    """
    n = len(found.path_norms)
    inside = found.order[found.labels[found.order] >= 0]
    weighted = np.abs(u[inside, None]).astype(np.float64) * np.c_[W[inside], b[inside]].astype(np.float64)
    summed = np.zeros((n, W.shape[1] + 1))
    np.add.at(summed, found.labels[inside], weighted)
    signs = np.zeros(n)
    signs[found.labels[inside]] = np.sign(u[inside])
    return summed[:, :-1], summed[:, -1], signs


def _linked(rows: np.ndarray, cosine: float) -> coo_array:
    first, second = np.nonzero(rows @ rows.T > cosine)
    return coo_array((np.ones(len(first), bool), (first, second)), shape=(len(rows), len(rows)))


def _own_order(W: np.ndarray, b: np.ndarray, u: np.ndarray, path_norms: np.ndarray) -> np.ndarray:
    order = np.argsort(-path_norms, kind="stable")
    falling = path_norms[order]
    if (falling[1:] == falling[:-1]).any():
        order = np.lexsort((*W.T, b, u, -path_norms))
    return order
