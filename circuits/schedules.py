"""Changes of weight decay, at a given epoch or step or once an accuracy is reached; and early stops.

Fuangkawinsombut 2024, section 3.1, raises weight decay after memorization. Ahmed 2024, chapter 5, removes it early or
late, or introduces it late. If a change waits for an accuracy, the accuracy of each seed is checked at the end of every
epoch. So the change does not depend on the number of checkpoints.
"""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, model_validator

from circuits.config_base import NonNegativeFloat, NonNegativeInt, Part, PositiveInt

if TYPE_CHECKING:
    import numpy as np

Accuracy = Annotated[float, Field(gt=0, le=1)]


class WeightDecayChange(Part):
    """A change of the weight decay; give its time by exactly one of epoch, step, train_accuracy and test_accuracy."""

    value: NonNegativeFloat
    """The new weight decay."""
    epoch: NonNegativeInt | None = None
    """Number of epochs before the change."""
    step: NonNegativeInt | None = None
    """Number of optimizer updates before the change."""
    train_accuracy: Accuracy | None = None
    """Least training accuracy, at the end of an epoch, that triggers the change."""
    test_accuracy: Accuracy | None = None
    """Least test accuracy, at the end of an epoch, that triggers the change."""
    delay_epochs: NonNegativeInt = 0
    """Number of epochs between reaching the accuracy and the change."""

    @model_validator(mode="after")
    def _one_moment(self) -> WeightDecayChange:
        given = [
            name for name in ("epoch", "step", "train_accuracy", "test_accuracy") if getattr(self, name) is not None
        ]
        if len(given) != 1:
            raise ValueError(
                f"a weight-decay change needs exactly one of epoch, step, train_accuracy and test_accuracy; "
                f"given: {', '.join(given) or 'none'}"
            )
        if self.delay_epochs and not self.awaits:
            raise ValueError("delay_epochs needs train_accuracy or test_accuracy; otherwise give a later epoch or step")
        return self

    @property
    def awaits(self) -> str | None:
        """Name of the accuracy that triggers the change; None if the change has a fixed epoch or step."""
        return next((name for name in ("train_accuracy", "test_accuracy") if getattr(self, name) is not None), None)

    def is_met(self, accuracy: float, n_examples: int) -> bool:
        """Whether an accuracy on `n_examples` triggers the change; the method compares counts of correct answers.

        Examples
        --------
        >>> WeightDecayChange(value=0.1, train_accuracy=0.98).is_met(0.98, n_examples=100)
        True
        """
        wanted = getattr(self, self.awaits) if self.awaits else None
        return wanted is not None and round(accuracy * n_examples) >= ceil(wanted * n_examples - 1e-9)


class Stop(Part):
    """Stop before the last epoch, once every seed has kept a high test accuracy for some checkpoints."""

    test_accuracy: Accuracy
    """Least test accuracy that every seed must reach and keep."""
    checkpoints: PositiveInt = 1
    """Number of further consecutive checkpoints at which a seed must keep `test_accuracy` after reaching it."""

    def is_met(self, test_accuracy: np.ndarray) -> np.ndarray:
        """Mask (seed,) of seeds that have kept the accuracy long enough, from all test accuracies (step, seed) so far.

        Examples
        --------
        >>> import numpy as np
        >>> Stop(test_accuracy=0.9, checkpoints=1).is_met(np.array([[1.0, 1.0], [1.0, 0.5], [0.2, 1.0]]))
        array([ True, False])
        """
        import numpy as np

        in_a_row = np.zeros(test_accuracy.shape[1], int)
        met = np.zeros(test_accuracy.shape[1], bool)
        for high in test_accuracy >= self.test_accuracy - 1e-12:
            in_a_row = np.where(high, in_a_row + 1, 0)
            met |= in_a_row > self.checkpoints
        return met
