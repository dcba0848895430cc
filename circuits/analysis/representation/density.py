"""The distribution of a parameter's weights, as a smooth density.

    density(w) = mean over weights w_i of Normal(w; w_i, h),   h = std(w) n^(-1/5)

Each of n weights has a Gaussian kernel with Scott's bandwidth h, as in seaborn's `kdeplot`. A thesis, Fuangkawinsombut
2024, draws such a density in Figure 2.3. The figure's caption names the weights of the hidden layer, but the thesis
code draws those of the output layer. Here every parameter except biases has a density. The weights of a sparse circuit
have a narrow peak at 0 and a few large values. The large values determine h, so the density shows the peak too wide.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

N_PLACES = 401  # points at which a density is evaluated
BEYOND = 3  # bandwidths beyond the extreme weights, as in seaborn


class Density(NamedTuple):
    """Density of a parameter's weights, evaluated at `places`: evenly spaced values on the weight axis."""

    places: Float[np.ndarray, " place"]
    density: Float[np.ndarray, " place"]


def weight_density(weights: Float[np.ndarray, " weight"], n_places: int = N_PLACES) -> Density:
    """Density of weights, from 3 bandwidths below the smallest weight to 3 bandwidths above the largest.

    Its integral over all real numbers is 1. Weights that are not finite, or all equal, give NaN.

    Examples
    --------
    >>> density = weight_density(np.array([-1.0, 1.0]), 7)
    >>> density.places.round(2)
    array([-4.69, -3.13, -1.56,  0.  ,  1.56,  3.13,  4.69])
    """
    from scipy.stats import gaussian_kde

    weights = weights.astype(np.float64)
    if len(weights) < 2 or not np.isfinite(weights).all() or not weights.std() > 0:
        return Density(*np.full((2, n_places), np.nan))
    kernels = gaussian_kde(weights, bw_method="scott")
    bandwidth = float(np.sqrt(kernels.covariance[0, 0]))
    places = np.linspace(weights.min() - BEYOND * bandwidth, weights.max() + BEYOND * bandwidth, n_places)
    return Density(places, kernels(places))


def weights_of(names: list[str]) -> list[str]:
    """Names of the parameters that are weights: all except biases.

    Examples
    --------
    >>> weights_of(["W", "b", "u", "hidden.0.W", "hidden.0.b", "blocks.0.attn.b_Q", "bias_ih_l0", "embed"])
    ['W', 'u', 'hidden.0.W', 'embed']
    """
    return [name for name in names if not name.rpartition(".")[2].startswith("b")]
