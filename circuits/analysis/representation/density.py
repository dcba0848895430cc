"""How a parameter's weights are distributed: a smooth density, instead of a histogram.

    density(w) = mean over weights w_i of Normal(w; w_i, h),   h = std(w) n^(-1/5)

Gaussian kernels with Scott's bandwidth, as seaborn's `kdeplot` draws them in Fuangkawinsombut 2024, Figure 2.3. The
thesis says that these are the weights of the hidden layer; its code draws those of the output layer. Here every weight
matrix and readout has its density, under its own name. A sparse circuit has a narrow peak at 0 and a few weights far
out: h follows these few, so the peak is drawn wider than it is.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

N_PLACES = 401  # where a density is evaluated
BEYOND = 3  # bandwidths beyond the extreme weights, as seaborn


class Density(NamedTuple):
    """A density at evenly spaced places."""

    places: Float[np.ndarray, " place"]
    density: Float[np.ndarray, " place"]


def weight_density(weights: Float[np.ndarray, " weight"], n_places: int = N_PLACES) -> Density:
    """Density of weights, from three bandwidths below the least to three above the largest; its integral is 1.

    NaN where there is none: weights that are not finite, or all equal.

    Examples
    --------
    >>> found = weight_density(np.array([-1.0, 1.0]), 7)
    >>> found.places.round(2)
    array([-4.69, -3.13, -1.56,  0.  ,  1.56,  3.13,  4.69])
    """
    from scipy.stats import gaussian_kde

    weights = weights.astype(np.float64)
    if len(weights) < 2 or not np.isfinite(weights).all() or not weights.std() > 0:
        return Density(np.full(n_places, np.nan), np.full(n_places, np.nan))
    kernels = gaussian_kde(weights, bw_method="scott")
    bandwidth = float(np.sqrt(kernels.covariance[0, 0]))
    places = np.linspace(weights.min() - BEYOND * bandwidth, weights.max() + BEYOND * bandwidth, n_places)
    return Density(places, kernels(places))


def weights_of(names: list[str]) -> list[str]:
    """The parameters that are weights: all but the biases.

    Examples
    --------
    >>> weights_of(["W", "b", "u", "hidden.0.W", "hidden.0.b", "blocks.0.attn.b_Q", "bias_ih_l0", "embed"])
    ['W', 'u', 'hidden.0.W', 'embed']
    """
    return [name for name in names if not name.rpartition(".")[2].startswith("b")]
