"""Learning rate and weight decay of every update. Weight decay may change during training, per network.

A change of weight decay may wait for an accuracy, which is checked at the end of each epoch. The changes of a config
have numbers I = 0, 1, …. For a change that waits, every checkpoint stores the metric `decay_change_I_step`: the step of
the first check at which the network had this accuracy, NaN before. So a resumed run knows which changes were triggered.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from circuits.config import Config


class Rates(NamedTuple):
    """Rates of an update: the learning rate, and the weight decay of each network that the update changes."""

    lr: float
    weight_decay: tuple[float, ...]


class Pace:
    """Learning rate and weight decay of each network at every step of a run.

    `Pace(config, metrics)` takes the stored metrics, each (seed,), of the step where training starts; {} if none exist.
    """

    def __init__(self, config: Config, metrics: Mapping[str, np.ndarray]) -> None:
        self.config = config
        self._changes = config.weight_decay_changes
        names = [met_at(i) for i in range(len(self._changes))]
        self._met = [
            [float(metrics[name][network]) if name in metrics else math.nan for name in names]
            for network in range(len(config.seeds))
        ]  # step at which each network reached the accuracy of each change
        self._sizes = {"train_accuracy": config.task.train_size, "test_accuracy": config.task.test_size}

    def rates(self, networks: Sequence[int], step: int) -> Rates:
        """Learning rate and weight decays of the update that follows `step` earlier updates."""
        config = self.config
        lr = config.optimizer.lr_at(step, step // config.steps_per_epoch, config.planned_steps)
        return Rates(lr, tuple(self.weight_decay(network, step) for network in networks))

    def weight_decay(self, network: int, step: int) -> float:
        """Weight decay of a network at update `step`, counted from 0.

        The value is from the last entry of the config's `weight_decay_changes` that applies at this update. If no entry
        applies, the value is the optimizer's weight decay.
        """
        value = self.config.optimizer.weight_decay
        for change, due in zip(self._changes, self._due(network), strict=True):
            if step >= due:
                value = change.value
        return value

    def end_of_stretch(self, networks: Sequence[int], step: int, target: int) -> int:
        """A step e such that all updates from `step` to e - 1 have equal rates.

        If the learning rate may change at each update, e is step + 1. Otherwise e is the earliest of three steps:
        `target`, the end of the epoch, and the next change of weight decay of one of the `networks`.
        """
        if self.config.optimizer.lr_varies_after(step):
            return step + 1
        per_epoch = self.config.steps_per_epoch
        ends = [target, (step // per_epoch + 1) * per_epoch]
        ends += [int(due) for network in networks for due in self._due(network) if step < due < math.inf]
        return min(ends)

    def awaits(self, networks: Sequence[int], step: int) -> bool:
        """Whether the accuracies of `networks` must be checked at `step`, since they may trigger a weight-decay change.

        Some changes wait until a network reaches an accuracy. The result is True if at least one of `networks` has not
        triggered all of these changes, and if `step` is 0 or ends an epoch.
        """
        return step % self.config.steps_per_epoch == 0 and any(
            change.awaits and math.isnan(met)
            for network in networks
            for change, met in zip(self._changes, self._met[network], strict=True)
        )

    def look(self, network: int, step: int, metrics: Mapping[str, float]) -> None:
        """Record the changes of weight decay that a network's accuracies trigger at the end of an epoch."""
        for i, change in enumerate(self._changes):
            name = change.awaits
            if name and math.isnan(self._met[network][i]) and change.is_met(metrics[name], self._sizes[name]):
                self._met[network][i] = float(step)

    def metrics(self, network: int, step: int) -> dict[str, float]:
        """Metrics of a checkpoint: the weight decay, and the steps at which accuracies triggered its changes."""
        met = self._met[network]
        triggered = {met_at(i): met[i] for i, change in enumerate(self._changes) if change.awaits}
        return ({"weight_decay": self.weight_decay(network, step)} if self._changes else {}) | triggered

    def _due(self, network: int) -> list[float]:
        """Step from which each change of weight decay applies; infinity for a change that is not yet triggered."""
        due = []
        for change, met in zip(self._changes, self._met[network], strict=True):
            if change.step is not None:
                due.append(float(change.step))
            elif change.epoch is not None:
                due.append(float(change.epoch * self.config.steps_per_epoch))
            else:
                due.append(math.inf if math.isnan(met) else met + change.delay_epochs * self.config.steps_per_epoch)
        return due


def met_at(change: int) -> str:
    """Name of the metric that stores the step at which a change of weight decay was triggered."""
    return f"decay_change_{change}_step"
