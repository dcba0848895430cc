"""Circuit elements: neurons with near-parallel (w, b) and readout weights of the same sign count as one element.

Training often splits one gate over several neurons. relu(αv·x) = α relu(v·x) for α > 0, so parallel neurons whose
readout weights have the same sign equal the single neuron Σ|u_j| (w_j, b_j) with readout ±1.

The path norm of a neuron is |u|·‖(w, b)‖. A neuron counts if its path norm is above 2 % of the network's largest path
norm, so pieces of a split small neuron may not count. Two neurons that count are linked if the cosine of their (w, b)
is above .9 and their u have the same sign. Neurons that are linked, directly or through others, form one element.
Elements are sorted by summed path norm. The order of the neurons has no effect at all: the code sorts them first.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from circuits.constructions.reading.efficiency import neuron_sizes

MERGE_COSINE, MERGE_FLOOR = 0.9, 0.02


class Elements(NamedTuple):
    """Elements (groups of parallel neurons): label per neuron, summed path norm per element, and order of the neurons.

    `labels` number the elements 0, 1, … by falling summed path norm; -1 marks a neuron too small for any element.
    `order` lists the neurons by falling path norm, ties by weights.
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
    """The circuit elements of a network, that is, its groups of near-parallel neurons; None if a weight is not finite.

    Parameters
    ----------
    cosine
        Two neurons belong to one element if their u have the same sign and the cosine of their (w, b) is above this.
    floor
        A neuron counts if its path norm |u|·‖(w, b)‖ is above this share of the largest path norm.

    Examples
    --------
    Two parallel neurons are one element; the third neuron has a readout of the other sign, the fourth is too small.

    >>> W, u = np.array([[1.0], [2.0], [2.0], [1.0]]), np.array([1.0, 1.0, -1.0, 0.01])
    >>> elements(W, np.zeros(4), u).labels.tolist()
    [0, 0, 1, -1]
    """
    sizes = neuron_sizes(W, b)
    path_norms = np.abs(u).astype(np.float64) * sizes
    if not np.isfinite(path_norms).all():
        return None
    order = np.argsort(-path_norms, kind="stable")
    if (np.diff(path_norms[order]) == 0).any():
        order = np.lexsort((*W.T, b, u, -path_norms))
    labels = np.full(len(u), -1)
    members = order[path_norms[order] > floor * path_norms.max(initial=0.0)]
    components = np.full(len(members), -1)
    n_elements = 0
    for sign in (1, -1):
        alike = np.flatnonzero(np.sign(u[members]) == sign)
        if alike.size:
            rows = np.c_[W[members[alike]], b[members[alike]]].astype(np.float64) / sizes[members[alike], None]
            n_new, component = connected_components(csr_array(rows @ rows.T > cosine), directed=False)
            components[alike] = component + n_elements
            n_elements += n_new
    sums = np.bincount(components, weights=path_norms[members], minlength=n_elements)
    firsts = np.unique(components, return_index=True)[1]
    ranking = np.lexsort((firsts, -sums))  # ties to the element of the larger, or earlier, first neuron
    labels[members] = np.argsort(ranking)[components]
    return Elements(labels, sums[ranking], order)


def merged_network(
    W: Float[np.ndarray, "neuron input"],
    b: Float[np.ndarray, " neuron"],
    u: Float[np.ndarray, " neuron"],
    merged: Elements,
) -> tuple[Float[np.ndarray, "element input"], Float[np.ndarray, " element"], Float[np.ndarray, " element"]]:
    """One neuron per element, that is, per group of parallel neurons: (w, b) = Σ|u_j| (w_j, b_j), u = ±1.

    Merging exactly parallel neurons does not change the network's output. Neurons of negligible weights are left out.

    Examples
    --------
    >>> W, b, u = np.array([[1.0], [2.0]]), np.array([0.0, 0.0]), np.array([-1.0, -3.0])
    >>> merged_network(W, b, u, elements(W, b, u))
    (array([[7.]]), array([0.]), array([-1.]))
    """
    members = merged.order[merged.labels[merged.order] >= 0]
    labels, n_elements = merged.labels[members], len(merged.path_norms)
    weighted = np.abs(u[members, None]).astype(np.float64) * np.c_[W[members], b[members]].astype(np.float64)
    summed, signs = np.zeros((n_elements, W.shape[1] + 1)), np.zeros(n_elements)
    np.add.at(summed, labels, weighted)
    signs[labels] = np.sign(u[members])
    return summed[:, :-1], summed[:, -1], signs
