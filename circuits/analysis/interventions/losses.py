"""Accuracy and mean loss of outputs, in float64, as training defines them."""

import numpy as np
from jaxtyping import Float, Shaped
from scipy.special import log_softmax

from circuits.analysis.networks.predictions import is_right
from circuits.config import Config


def mean_loss(
    config: Config, outputs: Float[np.ndarray, "*outputs"], targets: Shaped[np.ndarray, " example"]
) -> Float[np.ndarray, "*group"]:
    """Mean loss of outputs (…, example) or (…, example, class); NaN if the loss is a function of the recorded loop.

    Examples
    --------
    >>> import circuits
    >>> config = circuits.preset("merrill-2023")
    >>> mean_loss(config, np.array([[2.0, 0.5], [0.0, 0.0]]), np.array([1, -1])).tolist()
    [0.75, 1.0]
    """
    has_classes = config.task.signature.n_classes is not None
    return np.asarray(_losses(config, outputs, targets, has_classes).mean(axis=(-2, -1) if has_classes else -1))


def _losses(config: Config, outputs: np.ndarray, targets: np.ndarray, has_classes: bool) -> np.ndarray:
    """Loss of every example, or of every example and class."""
    match config.loss:
        case "other":
            return np.full(outputs.shape, np.nan)
        case "hinge":
            return np.maximum(0, 1 - outputs * targets)
        case "mse":
            wanted = np.eye(outputs.shape[-1])[targets.astype(np.int64)] if has_classes else targets
            return (outputs - wanted) ** 2
    if not has_classes:
        return np.logaddexp(0, -outputs * targets)
    logs = log_softmax(outputs, axis=-1)
    own = np.broadcast_to(targets.astype(np.int64)[:, None], (*outputs.shape[:-1], 1))
    return -np.take_along_axis(logs, own, axis=-1)


def accuracy_and_loss(
    config: Config, outputs: Float[np.ndarray, "*outputs"], targets: Shaped[np.ndarray, " example"]
) -> tuple[Float[np.ndarray, "*group"], Float[np.ndarray, "*group"]]:
    """Accuracy in 0..1 and mean loss of the outputs (…, example) or (…, example, class); NaN for a diverged network."""
    has_classes = config.task.signature.n_classes is not None
    axes = (-2, -1) if has_classes else (-1,)
    diverged = np.isnan(outputs).any(axis=axes)
    accuracy = is_right(outputs, targets, has_classes).mean(axis=-1)
    return np.where(diverged, np.nan, accuracy), np.where(diverged, np.nan, mean_loss(config, outputs, targets))
