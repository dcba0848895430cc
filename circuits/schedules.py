"""Schedules: the steps of checkpoints, changes of weight decay (at an epoch, a step or an accuracy), and early stops.

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


class Checkpoints(Part):
    """Steps of the checkpoints; they include the first step, by default 0 (the initialization), and the last step."""

    every_epochs: PositiveInt | None = 1
    """Epochs from one checkpoint to the next."""
    every_steps: PositiveInt | None = None
    """Optimizer updates from one checkpoint to the next; instead of every_epochs or in addition to it."""
    at_steps: tuple[NonNegativeInt, ...] = ()
    """Further optimizer steps at which a checkpoint is stored."""
    from_step: NonNegativeInt = 0
    """First step with a checkpoint. It is above 0 only in a replay, or in a run converted from files of other code."""
    to_step: NonNegativeInt | None = None
    """Stop after this step, if the run has not ended before."""
    optimizer_state_every: PositiveInt | None = None
    """At every n-th checkpoint, store the optimizer state for replays; n is this number. Plain SGD needs no state."""


class WeightDecayChange(Part):
    """A change of the weight decay; give its time by exactly one of epoch, step, train_accuracy and test_accuracy."""

    value: NonNegativeFloat
    """The new weight decay."""
    epoch: NonNegativeInt | None = None
    """Number of epochs after which the weight decay changes to `value`."""
    step: NonNegativeInt | None = None
    """Number of optimizer updates after which the weight decay changes to `value`."""
    train_accuracy: Accuracy | None = None
    """The weight decay changes once the training accuracy at an epoch's end is at least this (see `delay_epochs`)."""
    test_accuracy: Accuracy | None = None
    """The weight decay changes once the test accuracy at an epoch's end is at least this (see `delay_epochs`)."""
    delay_epochs: NonNegativeInt = 0
    """Number of epochs from reaching `train_accuracy` or `test_accuracy` until the weight decay changes."""

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
            raise ValueError(
                "delay_epochs needs train_accuracy or test_accuracy. Leave delay_epochs out and increase epoch or step"
            )
        return self

    @property
    def awaits(self) -> str | None:
        """Accuracy that makes the weight decay change, "train_accuracy" or "test_accuracy"; None for a fixed time."""
        return next((name for name in ("train_accuracy", "test_accuracy") if getattr(self, name) is not None), None)

    def is_met(self, accuracy: float, n_examples: int) -> bool:
        """Whether an accuracy on `n_examples` makes the weight decay change. Counts of right answers are compared.

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
    """The run stops once every seed has reached at least this test accuracy and kept it for some checkpoints."""
    checkpoints: PositiveInt = 1
    """Number of checkpoints at which the test accuracy must stay >= `test_accuracy` after it has reached this value."""

    def is_met(self, test_accuracy: np.ndarray) -> np.ndarray:
        """Mask (seed,) of the seeds that had the wanted test accuracy at `checkpoints` + 1 checkpoints in a row.

        The argument has the test accuracies (step, seed) at all checkpoints so far. The example wants 0.9 at two
        checkpoints in a row. Seed 0 has 1.0, 1.0, 0.2, so its entry is True. Seed 1 has 1.0, 0.5, 1.0: False.

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
