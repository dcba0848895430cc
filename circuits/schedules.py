"""When weight decay changes, and when a run stops early: by the clock, or by what a network has reached.

Thesis, section 3.1 (decay raised after memorization); Ahmed 2024, chapter 5 (removed early, removed late, introduced
late). A change that waits for an accuracy is decided for each seed by itself, at the ends of epochs, so that it does
not depend on how many checkpoints are kept.
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
    """A new weight decay, from some moment on: give exactly one of epoch, step, train_accuracy and test_accuracy."""

    value: NonNegativeFloat
    """Weight decay from then on."""
    epoch: NonNegativeInt | None = None
    """After so many epochs."""
    step: NonNegativeInt | None = None
    """After so many optimizer updates."""
    train_accuracy: Accuracy | None = None
    """Once the training accuracy at the end of an epoch is at least this."""
    test_accuracy: Accuracy | None = None
    """Once the test accuracy at the end of an epoch is at least this."""
    delay_epochs: NonNegativeInt = 0
    """So many epochs after the accuracy was reached."""

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
            raise ValueError("delay_epochs counts from an accuracy; for a fixed moment give a later epoch or step")
        return self

    @property
    def awaits(self) -> str | None:
        """The metric that it waits for, if any."""
        if self.train_accuracy is not None:
            return "train_accuracy"
        return "test_accuracy" if self.test_accuracy is not None else None

    def is_met(self, accuracy: float, n_examples: int) -> bool:
        """Whether that share of right answers out of `n_examples` is enough, counted in whole examples.

        Examples
        --------
        >>> WeightDecayChange(value=0.1, train_accuracy=0.98).is_met(0.98, n_examples=100)
        True
        """
        wanted = self.train_accuracy if self.train_accuracy is not None else self.test_accuracy
        return wanted is not None and round(accuracy * n_examples) >= ceil(wanted * n_examples - 1e-9)


class Stop(Part):
    """Stop before the last epoch, once the test accuracy of every seed has stayed high."""

    test_accuracy: Accuracy
    """It must be at least this..."""
    checkpoints: PositiveInt = 1
    """... at one checkpoint, and at so many more in a row."""

    def is_met(self, test_accuracy: np.ndarray) -> np.ndarray:
        """Which seeds have met the rule, given their test accuracy (step, seed) so far; (seed,) bool.

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
