"""Magnitude pruning of hidden neurons: their norms, the order of pruning, the kept neurons.

Neurons of smallest norm are pruned first (Merrill et al. 2023, section 2.1; a variant of Mozer and Smolensky 1989).
"""

import numpy as np
from jaxtyping import Bool, Float, Int

from circuits.analysis.networks.options import Norm


def incoming_norms(
    W: Float[np.ndarray, "neuron input"],
    b: Float[np.ndarray, " neuron"],
    u: Float[np.ndarray, " neuron"] | Float[np.ndarray, "neuron output"] | None = None,
    norm: Norm = "incoming",
) -> Float[np.ndarray, " neuron"]:
    """Norm of each neuron, (neuron,) float64, >= 0; NaN if a weight of the neuron is NaN.

    Parameters
    ----------
    W, b, u
        (neuron, input), (neuron,), (neuron,) of f(x) = uᵀ relu(W x + b). For u (neuron, output), |u_j| is the norm
        of row j; only "path" needs u.
    norm
        "incoming" ‖w‖, without the bias (as in Merrill et al. 2023 and their code); "incoming+bias" ‖(w, b)‖; "path"
        |u|·‖(w, b)‖, which is invariant under rescaling of a neuron.

    Raises
    ------
    ValueError
        The norm is "path", and `u` is missing.

    Examples
    --------
    >>> W, b, u = np.array([[3.0, 4.0]]), np.array([12.0]), np.array([-2.0])
    >>> [float(incoming_norms(W, b, u, norm)[0]) for norm in ("incoming", "incoming+bias", "path")]
    [5.0, 13.0, 26.0]
    """
    squares = (W.astype(np.float64) ** 2).sum(axis=1)
    if norm == "incoming":
        return np.sqrt(squares)
    size = np.sqrt(squares + b.astype(np.float64) ** 2)
    if norm == "incoming+bias":
        return size
    if u is None:
        raise ValueError("norm 'path' needs the readout: pass u")
    readout = np.abs(u) if u.ndim == 1 else np.linalg.norm(u, axis=1)
    return readout.astype(np.float64) * size


def pruning_order(norms: Float[np.ndarray, " neuron"]) -> Int[np.ndarray, " neuron"]:
    """Indices of the neurons by descending norm; ties go to the lower index. The last neuron is pruned first.

    Examples
    --------
    >>> pruning_order(np.array([1.0, 3.0, 1.0])).tolist()
    [1, 0, 2]
    """
    return np.argsort(-norms, kind="stable")


def kept_neurons(norms: Float[np.ndarray, " neuron"], n_kept: int) -> Bool[np.ndarray, " neuron"]:
    """Mask of the `n_kept` neurons of largest norm; ties go to the lower index.

    Parameters
    ----------
    norms
        (neuron,) norm of each neuron, >= 0, no NaN.
    n_kept
        How many to keep, 0 <= n_kept <= neuron.

    Returns
    -------
    (neuron,) exactly n_kept True.

    Raises
    ------
    ValueError
        n_kept out of range, or NaN in norms.

    References
    ----------
    Merrill et al. 2023, section 2.1.

    Examples
    --------
    >>> kept_neurons(np.array([3.0, 1.0, 2.0]), 2)
    array([ True, False,  True])
    """
    if not 0 <= n_kept <= len(norms):
        raise ValueError(f"n_kept = {n_kept} is not in 0..{len(norms)}, the number of neurons")
    if np.isnan(norms).any():
        raise ValueError(f"norms has {np.isnan(norms).sum()} NaN: a diverged network has no pruning order")
    kept = np.zeros(len(norms), bool)
    kept[pruning_order(norms)[:n_kept]] = True
    return kept
