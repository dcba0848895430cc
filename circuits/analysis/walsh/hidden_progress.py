"""The progress measures of Barak et al. 2022: movement of the weights, and the Fourier gap of their gradient.

Movement: the paper takes ρ = ‖w_t - w_0‖_∞ for the weights w_t of a neuron. For a network with a hidden layer, it takes
the ∞-norm over the whole first layer (appendix C.3, Figure 13). Here this is the largest entry of |W_t - W_0|, also for
relevant and irrelevant inputs separately, as in the paper. W_0 is taken at checkpoint 0, the beginning of this run.

Fourier gap of a neuron: the least |g_i| of the relevant inputs i minus the greatest |g_i| of the others. Here g_i is
the derivative of the mean loss with respect to weight i, without the factor of the neuron's output weight. As in the
paper, the loss is the correlation loss -y f(x), for label y and output f(x). The hinge loss has the same gradient while
all margins are below 1, as at initialization. The paper trains on fresh examples, not on a memorized training set.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from circuits.analysis.walsh.population_gradient import fourier_gaps, halfspace_gradient
from circuits.lazy import renamed_keyword

MOVED = ("all", "relevant", "irrelevant")


@renamed_keyword("support", "relevant_bits")
def movement(
    W: Float[np.ndarray, "neuron input"], W_0: Float[np.ndarray, "neuron input"], relevant_bits: Sequence[int]
) -> Float[np.ndarray, "moved neuron"]:
    """Largest |W - W_0| of each neuron: over all inputs, over the relevant inputs, over the irrelevant inputs; float64.

    Examples
    --------
    >>> movement(np.array([[1.0, 5.0]]), np.array([[3.0, 5.5]]), [1]).T
    array([[2. , 0.5, 2. ]])
    """
    moved = np.abs(W.astype(np.float64) - W_0)
    relevant = np.isin(np.arange(W.shape[1]), list(relevant_bits))
    parts = (moved, moved[:, relevant], moved[:, ~relevant])
    return np.stack([part.max(axis=1, initial=0.0) for part in parts])


@renamed_keyword("support", "relevant_bits")
def layer_gap(
    W: Float[np.ndarray, "neuron input"],
    b: Float[np.ndarray, " neuron"],
    u: Float[np.ndarray, " neuron"],
    relevant_bits: Sequence[int],
) -> float:
    """Fourier gap of a relu layer (our definition): how much larger its gradient is at relevant bits than at others.

    The network is f(x) = Σ_j u_j relu(w_j·x + b_j). Row j of `W` is w_j, the weights of neuron j. The loss at an input
    x is -y f(x), where y is the parity of the relevant bits. G_ji is the derivative of the mean loss over all inputs x
    with respect to weight i of neuron j. Let s_i = √(Σ_j G_ji²) be the size of the gradient at input bit i. The gap is
    the least s_i of the relevant bits minus the greatest s_i of the other bits.

    Examples
    --------
    >>> layer_gap(np.ones((2, 3)), np.zeros(2), np.array([2.0, 0.0]), [0, 1])
    0.0
    """
    gradient = halfspace_gradient(W, b, relevant_bits) * u[:, None].astype(np.float64)
    return float(fourier_gaps(np.sqrt((gradient**2).sum(axis=0)), relevant_bits))
