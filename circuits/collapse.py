"""Collapse: a network whose outputs are 0, to within a stated share of what the loss asks for.

    collapsed  ⟺  max over the training set of |f(x)|  <  COLLAPSED_SHARE = 10⁻³

The unit is what every loss here asks for: the hinge loss a margin of 1, squared error an output of ±1, cross-entropy a
log-odds of about one nat. With a logit per class, |f(x)| is the spread of the logits, the largest minus the smallest:
a constant added to all of them changes no probability.

Too much weight decay is the usual cause. The outputs then shrink by a constant factor per update and never come back;
in float32 they reach exactly 0 after some hundred updates, in float64 much later. A share decides the same in both. A
collapsed network predicts nothing: its accuracy is 0, its active subnetwork empty, and ratios of its outputs are NaN.
"""

import numpy as np
from jaxtyping import Bool, Float, Real

COLLAPSED_SHARE = 1e-3
LARGEST_OUTPUT = "train_largest_output"  # the metric that training stores of every checkpoint


def largest_output(outputs: Real[np.ndarray, "example ..."], has_classes: bool) -> float:
    """Largest |f(x)|, or largest spread of the logits of one example; 0 for no example, NaN if an output is NaN.

    Parameters
    ----------
    outputs
        (example,) of one output, or (example, class).
    has_classes
        Whether the outputs are logits.

    Examples
    --------
    >>> largest_output(np.array([0.5, -2.0]), False), largest_output(np.array([[7.0, 7.5], [1.0, 1.0]]), True)
    (2.0, 0.5)
    """
    if not outputs.size:
        return 0.0
    with np.errstate(invalid="ignore"):  # inf - inf of a diverged network is NaN
        return float((np.ptp(outputs, axis=-1) if has_classes else np.abs(outputs)).max())


def is_collapsed(largest: Float[np.ndarray, "*networks"] | float) -> Bool[np.ndarray, "*networks"] | bool:
    """Whether a network with this largest output has collapsed; never one that has diverged (NaN).

    Parameters
    ----------
    largest
        What `largest_output` says of one network, or of many.

    Examples
    --------
    >>> is_collapsed(np.array([0.0, 9e-4, 1e-3, np.nan])), is_collapsed(0.5)
    (array([ True,  True, False, False]), False)
    """
    return largest < COLLAPSED_SHARE


def loss_range(loss: str, n_classes: int | None) -> tuple[float, float] | None:
    """Between which training losses a collapsed network must lie; None if its loss says nothing.

    Used to look for collapsed networks in runs that did not store their largest output: the others need no forward
    pass.

    Examples
    --------
    >>> loss_range("hinge", None)
    (0.998, 1.002)
    >>> loss_range("mse", 31) is None
    True
    """
    if loss == "mse" and n_classes is not None:
        return None  # a constant added to all logits changes this loss
    middle = np.log(n_classes or 2) if loss == "cross_entropy" else 1.0
    width = 2 * COLLAPSED_SHARE + (COLLAPSED_SHARE**2 if loss == "mse" else 0.0)  # the slope of each loss is at most 2
    return float(middle - width), float(middle + width)
