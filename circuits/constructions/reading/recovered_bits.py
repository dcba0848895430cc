"""Which input bits a network uses, from its weights alone.

A bit's mass is Σ_j |u_j| |w_ji|, what the network has invested in it; rescaling neurons does not change it. With the
bits in falling order of mass the relevant ones end where the ratio of two neighbors is largest. The reading is
ambiguous when that ratio, the gap, is below 2: in an untrained network the masses differ by a few per cent.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

CLEAR_GAP = 2.0


class Support(NamedTuple):
    """The bits found, ascending; the mass of the least of them over the largest other one; whether that is below 2."""

    bits: tuple[int, ...]
    gap: float
    ambiguous: bool


def bit_masses(W: Float[np.ndarray, "neuron input"], u: Float[np.ndarray, " neuron"]) -> Float[np.ndarray, " input"]:
    """Σ_j |u_j| |w_ji| of each bit, float64, >= 0.

    Examples
    --------
    >>> bit_masses(np.array([[1.0, -2.0], [0.0, 3.0]]), np.array([1.0, -0.5]))
    array([1. , 3.5])
    """
    return np.abs(u).astype(np.float64) @ np.abs(W).astype(np.float64)


def relevant_bits(
    W: Float[np.ndarray, "neuron input"], u: Float[np.ndarray, " neuron"], k: int | None = None
) -> Support:
    """The bits that a network uses.

    Parameters
    ----------
    W, u
        (neuron, input), (neuron,).
    k
        How many there are, if known; otherwise they end at the largest gap. Not all bits can then be relevant.

    Raises
    ------
    ValueError
        k is not in 1..input.

    Examples
    --------
    >>> relevant_bits(np.array([[0.1, 2.0, 0.0, -2.0], [0.1, 2.0, 0.1, 2.0]]), np.array([1.0, -1.0]))
    Support(bits=(1, 3), gap=20.0, ambiguous=False)
    """
    masses = bit_masses(W, u)
    n = len(masses)
    if k is not None and not 1 <= k <= n:
        raise ValueError(f"k = {k} relevant bits do not fit in {n} inputs")
    order = np.argsort(-masses, kind="stable")
    falling = masses[order]
    with np.errstate(divide="ignore", invalid="ignore"):
        # After the last bit there is none that it could stand out from.
        gaps = np.append(falling[:-1] / falling[1:], np.inf if k == n else 1.0)
    gaps = np.where(np.isnan(gaps), 1.0, gaps)  # 0/0, or a diverged network
    n_bits = int(gaps.argmax()) + 1 if k is None else k
    gap = float(gaps[n_bits - 1])
    return Support(tuple(sorted(int(bit) for bit in order[:n_bits])), gap, gap < CLEAR_GAP)


def relevant_share(W: Float[np.ndarray, "neuron input"], support: tuple[int, ...]) -> Float[np.ndarray, " neuron"]:
    """Σ|w_i| over the relevant bits, divided by that over the others, of each neuron; inf when the others have none.

    Examples
    --------
    >>> relevant_share(np.array([[3.0, 1.0], [1.0, 0.0], [0.0, 0.0]]), (0,))
    array([ 3., inf, nan])
    """
    sizes = np.abs(W).astype(np.float64)
    relevant = sizes[:, list(support)].sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return relevant / np.delete(sizes, list(support), axis=1).sum(axis=1)
