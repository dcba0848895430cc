"""Predictions of a network from its outputs, and whether the predictions are right.

A single output predicts by its sign; sign 0 is neither class. Several outputs predict by their argmax. A prediction is
right if the target's output exceeds all others, so a tie is wrong, as in training.
"""

import numpy as np
from jaxtyping import Bool, Float, Int

NO_PREDICTION = -2  # for NaN outputs


def predictions(outputs: Float[np.ndarray, "*outputs"], has_classes: bool) -> Int[np.ndarray, "*examples"]:
    """Sign -1, 0 or 1 of outputs (…, example), or `numpy.argmax` over the classes of (…, example, class); -2 for NaN.

    Examples
    --------
    >>> predictions(np.array([[0.5, 2.0], [1.0, 1.0]]), True), predictions(np.array([-0.5, 0.0]), False)
    (array([1, 0]), array([-1,  0]))
    """
    if has_classes:
        return np.where(np.isnan(outputs).any(axis=-1), NO_PREDICTION, outputs.argmax(axis=-1))
    return np.nan_to_num(np.sign(outputs), nan=NO_PREDICTION).astype(np.int64)


def is_right(
    outputs: Float[np.ndarray, "*outputs"], targets: Int[np.ndarray, " example"], has_classes: bool
) -> Bool[np.ndarray, "*examples"]:
    """Mask of right predictions: outputs (…, example) by sign, or (…, example, class) by the largest output.

    Examples
    --------
    >>> is_right(np.array([[0.5, 2.0], [1.0, 1.0]]), np.array([1, 0]), True)
    array([ True, False])
    """
    if not has_classes:
        return np.sign(outputs) == targets
    own = np.take_along_axis(outputs, np.broadcast_to(targets.astype(np.int64)[:, None], (*outputs.shape[:-1], 1)), -1)
    return (outputs < own).sum(axis=-1) == outputs.shape[-1] - 1
