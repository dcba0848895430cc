"""The input bits that a network uses, from its weights alone.

The mass of a bit sums |readout weight|·|weight on the bit| over all neurons. Rescaling a neuron does not change a mass.
The relevant bits have the largest masses. In an untrained network, the masses differ by a few percent.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

CLEAR_GAP = 2.0


class RecoveredBits(NamedTuple):
    """Indices of the relevant `bits`, ascending, and how clearly they differ from the other bits.

    The mass of a bit sums |readout weight|·|weight on the bit| over all neurons. `gap` is the least mass of a relevant
    bit divided by the largest mass of another bit; `ambiguous` tells if gap < 2.
    """

    bits: tuple[int, ...]
    gap: float
    ambiguous: bool


def relevant_bits(
    W: Float[np.ndarray, "neuron input"], u: Float[np.ndarray, " neuron"], k: int | None = None
) -> RecoveredBits:
    """The bits that a network uses.

    Parameters
    ----------
    k
        Number of relevant bits. By default, the largest drop of the bits' masses decides. The mass of bit i is
        Σ_j |u_j| |W_ji|. The code sorts the masses, largest first, and divides each mass by the next. The largest of
        these ratios separates the relevant bits from the others. At most n - 1 of n > 1 inputs count as relevant.

    Raises
    ------
    ValueError
        k is not in 1..n, with n the number of inputs.

    Examples
    --------
    >>> relevant_bits(np.array([[0.1, 2.0, 0.0, -2.0], [0.1, 2.0, 0.1, 2.0]]), np.array([1.0, -1.0]))
    RecoveredBits(bits=(1, 3), gap=20.0, ambiguous=False)
    """
    masses = np.abs(u).astype(np.float64) @ np.abs(W).astype(np.float64)
    n = len(masses)
    if k is not None and not 1 <= k <= n:
        raise ValueError(f"k = {k} relevant bits do not fit in {n} inputs: pass k in 1..{n}")
    order = np.argsort(-masses, kind="stable")
    falling = masses[order]
    with np.errstate(divide="ignore", invalid="ignore"):
        gaps = np.append(falling[:-1] / falling[1:], np.inf if k == n else 1.0)  # no bit follows the last
    gaps = np.where(np.isnan(gaps), 1.0, gaps)  # 0/0, or a diverged network
    n_bits = int(gaps.argmax()) + 1 if k is None else k
    gap = float(gaps[n_bits - 1])
    return RecoveredBits(tuple(sorted(int(bit) for bit in order[:n_bits])), gap, gap < CLEAR_GAP)


def relevant_share(
    W: Float[np.ndarray, "neuron input"], relevant_bits: tuple[int, ...]
) -> Float[np.ndarray, " neuron"]:
    """For each neuron, Σ|w_i| over relevant bits / Σ|w_i| over other bits; inf if only the second sum is 0.

    Examples
    --------
    >>> relevant_share(np.array([[3.0, 1.0], [1.0, 0.0], [0.0, 0.0]]), (0,))
    array([ 3., inf, nan])
    """
    sizes = np.abs(W).astype(np.float64)
    relevant = sizes[:, list(relevant_bits)].sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return relevant / np.delete(sizes, list(relevant_bits), axis=1).sum(axis=1)
