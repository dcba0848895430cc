"""The rates of every update: the learning rate's schedule, and the weight decay of each network, which may change.

A change of weight decay that waits for an accuracy is decided at the ends of epochs, for each network by itself. What
was decided is stored with every checkpoint as a metric, `decay_change_I_step`: the step at whose end change I was
triggered, NaN before. So a run that goes on from a checkpoint knows all that happened before it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from circuits.config import Config


class Rates(NamedTuple):
    """What updates are taken with: the learning rate, and the weight decay of each network in the lane."""

    lr: float
    weight_decay: tuple[float, ...]


class Pace:
    """When each network of a run takes its updates with which rates.

    Parameters
    ----------
    config
        The run's.
    metrics
        Metrics (seed,) of the checkpoint that training goes on from; empty at the beginning.
    """

    def __init__(self, config: Config, metrics: Mapping[str, np.ndarray]) -> None:
        self.config = config
        self._changes = config.weight_decay_changes
        n_networks = len(config.seeds)
        self._met = [
            [
                float(metrics[met_at(i)][network]) if met_at(i) in metrics else math.nan
                for i in range(len(self._changes))
            ]
            for network in range(n_networks)
        ]  # step at which what a change waits for was reached
        self._sizes = {"train_accuracy": config.task.train_size, "test_accuracy": config.task.test_size}

    def rates(self, networks: Sequence[int], step: int) -> Rates:
        """The rates of the update that follows `step` others."""
        config = self.config
        lr = config.optimizer.lr_at(step, step // config.steps_per_epoch, config.planned_steps)
        return Rates(lr, tuple(self.weight_decay(network, step) for network in networks))

    def weight_decay(self, network: int, step: int) -> float:
        """Weight decay in force for the update that follows `step` others: that of the last change that is due."""
        value = self.config.optimizer.weight_decay
        for change, due in zip(self._changes, self._due(network), strict=True):
            if step >= due:
                value = change.value
        return value

    def end_of_stretch(self, networks: Sequence[int], step: int, target: int) -> int:
        """Up to where updates have the same rates: at most the end of the epoch, or `target`."""
        if self.config.optimizer.lr_varies_after(step):
            return step + 1
        per_epoch = self.config.steps_per_epoch
        ends = [target, (step // per_epoch + 1) * per_epoch]
        ends += [int(due) for network in networks for due in self._due(network) if step < due < math.inf]
        return min(ends)

    def awaits(self, networks: Sequence[int], step: int) -> bool:
        """Whether a network must be looked at here, at the end of an epoch, because a change waits for it."""
        if step % self.config.steps_per_epoch:
            return False
        return any(
            change.awaits and math.isnan(met)
            for network in networks
            for change, met in zip(self._changes, self._met[network], strict=True)
        )

    def look(self, network: int, step: int, metrics: Mapping[str, float]) -> None:
        """Take note of a network's accuracies at the end of an epoch."""
        for i, change in enumerate(self._changes):
            name = change.awaits
            if name and math.isnan(self._met[network][i]) and change.is_met(metrics[name], self._sizes[name]):
                self._met[network][i] = float(step)

    def metrics(self, network: int, step: int) -> dict[str, float]:
        """What a checkpoint stores of it: the rates in force, and when changes were triggered."""
        rates: dict[str, float] = {}
        if self._changes:
            rates["weight_decay"] = self.weight_decay(network, step)
        for i, change in enumerate(self._changes):
            if change.awaits:
                rates[met_at(i)] = self._met[network][i]
        return rates

    def _due(self, network: int) -> list[float]:
        """Step from which each change holds; infinity if that is not known yet."""
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
    """Name of the metric that says when a change was triggered."""
    return f"decay_change_{change}_step"
