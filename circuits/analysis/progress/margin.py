"""Margins of a network's answers, and its degree of homogeneity, by which margins are normalized.

With one output the margin is y f(x); with several, it is the target's logit minus the largest other logit. A margin is
positive exactly if the answer is right. A homogeneous network, f(αθ) = α^L f(θ) in its parameters θ, has margins q_i
that grow with ‖θ‖. Gradient descent slowly increases the normalized margin min_i q_i / ‖θ‖^L (Lyu and Li 2020).
"""

from collections.abc import Callable, Mapping

import numpy as np
from jaxtyping import Float, Int

MOST_DEGREE = 64


def margins(
    outputs: Float[np.ndarray, "example ..."], targets: Int[np.ndarray, " example"]
) -> Float[np.ndarray, " example"]:
    """Margin on each example, y f(x) or the target's logit minus the largest other logit; NaN if an output is NaN.

    Parameters
    ----------
    outputs
        (example,) for one output, or (example, class).
    targets
        (example,) ±1, or classes from 0 on.

    Examples
    --------
    >>> margins(np.array([2.0, 3.0]), np.array([1, -1])), margins(np.array([[1.0, 4.0, 2.0]]), np.array([1]))
    (array([ 2., -3.]), array([2.]))
    """
    if outputs.ndim == 1:
        return outputs * targets
    at = np.arange(len(outputs)), targets.astype(np.int64)
    others = outputs.copy()
    others[at] = -np.inf
    return outputs[at] - others.max(axis=1)


def degree_of_homogeneity(
    outputs: Callable[[Mapping[str, np.ndarray]], np.ndarray], net: Mapping[str, np.ndarray]
) -> int | None:
    """Degree L with f(2θ) = 2^L f(θ) exactly, for parameters θ; None if no L fits. Doubling has no rounding error.

    Parameters
    ----------
    outputs
        Function from parameters to outputs on a few inputs.
    net
        One network's parameters, such as the initial ones.

    Examples
    --------
    >>> degree_of_homogeneity(lambda net: net["a"] * net["b"], {"a": np.array([3.0]), "b": np.array([0.7])})
    2
    >>> degree_of_homogeneity(lambda net: np.tanh(net["a"]), {"a": np.array([3.0])})
    """
    net = {name: np.asarray(values) for name, values in net.items()}
    once, twice = outputs(net), outputs({name: np.asarray(2 * values) for name, values in net.items()})
    if not once.any() or not np.isfinite(once).all():
        return None
    return next((degree for degree in range(1, MOST_DEGREE) if np.array_equal(twice, once * 2.0**degree)), None)
