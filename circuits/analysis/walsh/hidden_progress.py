"""The progress measures of Barak et al. 2022: how far the weights moved, and the Fourier gap of their gradient.

Movement: for the weights w_t of a neuron the paper takes ρ = ‖w_t - w_0‖_∞, and for a network with a hidden layer the
∞-norm over the whole first layer (appendix C.3, Figure 13): here the largest entry of |W_t - W_0|. It is also told
apart by relevant and irrelevant inputs, whose weights the paper looks at first (ibid.). w_0 is checkpoint 0, so
movement counts from the beginning of this run.

The gap: see `population_gradient`. The paper defines it for one neuron. For a layer this takes the size of each input's
gradient over all neurons, √(Σ_j u_j² g_ji²), and the gap of these sizes: that is ours. The gradient is that of the
correlation loss -y f(x), as in the paper; the hinge loss has the same one for as long as all margins are below 1, as at
initialization. The paper studies these measures on fresh examples at every step, not on a training set that is
memorized.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from circuits.analysis.walsh.population_gradient import fourier_gaps, halfspace_gradient
from circuits.checkpoints.run import Run
from circuits.config import Config

MOVED = ("all", "relevant", "irrelevant")


def movement(
    W: Float[np.ndarray, "neuron input"], W_0: Float[np.ndarray, "neuron input"], support: Sequence[int]
) -> Float[np.ndarray, "moved neuron"]:
    """‖w_t - w_0‖_∞ of each neuron, over all inputs, the relevant and the irrelevant ones, float64.

    Examples
    --------
    >>> movement(np.array([[1.0, 5.0]]), np.array([[3.0, 5.5]]), [1]).T
    array([[2. , 0.5, 2. ]])
    """
    moved = np.abs(W.astype(np.float64) - W_0)
    relevant = np.isin(np.arange(W.shape[1]), list(support))
    parts = (moved, moved[:, relevant], moved[:, ~relevant])
    return np.stack([part.max(axis=1, initial=0.0) for part in parts])


def layer_gap(
    W: Float[np.ndarray, "neuron input"],
    b: Float[np.ndarray, " neuron"],
    u: Float[np.ndarray, " neuron"],
    support: Sequence[int],
) -> float:
    """Fourier gap of the sizes √(Σ_j u_j² g_ji²) of the population gradient at each input; ours, not the paper's.

    Examples
    --------
    >>> layer_gap(np.ones((2, 3)), np.zeros(2), np.array([2.0, 0.0]), [0, 1])
    0.0
    """
    gradient = halfspace_gradient(W, b, support) * u[:, None].astype(np.float64)
    return float(fourier_gaps(np.sqrt((gradient**2).sum(axis=0)), support))


def first_weights(config: Config) -> str:
    """Name of the parameter whose last dimension is the inputs.

    Examples
    --------
    >>> import circuits
    >>> first_weights(circuits.preset("merrill-2023"))
    'W'
    """
    return next(name for name, (dims, _) in config.shapes.items() if dims and dims[-1] == "input")


def initial_weights(run: Run, name: str) -> list[Float[np.ndarray, "neuron input"]]:
    """The first layer of every seed at checkpoint 0."""
    return [np.atleast_2d(run.arrays(seed, 0)[name]) for seed in run.seeds]


def as_layer(net: Mapping[str, np.ndarray], name: str) -> Float[np.ndarray, "neuron input"]:
    """First weights as a matrix; a linear model has one row."""
    return np.atleast_2d(net[name])
