"""Collapse: all outputs f(x) of a network are closer to 0 than a fixed share of the scale that the loss sets.

    collapsed  ⟺  max over the training set of |f(x)|  <  COLLAPSED_SHARE = 10⁻³

The scale is 1 for every loss: the hinge loss asks for a margin of 1, squared error for an output of ±1, cross-entropy
for log-odds of about one nat. With a logit per class, |f(x)| is the largest logit minus the smallest: a constant added
to all logits changes no probability.

The usual cause is too much weight decay. The outputs then shrink by a constant factor per update and never grow again;
in float32 they reach exactly 0 after some hundred updates, in float64 much later. The threshold of 10⁻³ gives the same
answer in both precisions. A collapsed network predicts nothing: its accuracy is 0, its active subnetwork is empty, and
ratios of its outputs are NaN.
"""

import numpy as np
from jaxtyping import Bool, Float, Real

COLLAPSED_SHARE = 1e-3
LARGEST_OUTPUT = "train_largest_output"  # the metric that training stores at every checkpoint


def largest_output(outputs: Real[np.ndarray, "example ..."], has_classes: bool) -> float:
    """Largest |output| or, with classes, largest spread of one example's logits; 0 without examples, NaN if any is NaN.

    `outputs` has the shape (example,) or, if `has_classes` is True, (example, class) with one logit per class.

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
    """Whether a network has collapsed: its largest |output| or logit spread, `largest`, is < 0.001. False for NaN.

    Examples
    --------
    >>> is_collapsed(np.array([0.0, 9e-4, 1e-3, np.nan])), is_collapsed(0.5)
    (array([ True,  True, False, False]), False)
    """
    return largest < COLLAPSED_SHARE


def loss_range(loss: str, n_classes: int | None) -> tuple[float, float] | None:
    """Least and greatest training loss of a collapsed network; None for mse with classes, which has no such range.

    With one output, a collapsed network has outputs near 0. With classes, all logits of an input are nearly equal. The
    logits can be near any number, and the mse depends on this number. The range saves forward passes: if a run does not
    store its largest outputs, only networks whose loss is in the range are checked by a forward pass.

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
