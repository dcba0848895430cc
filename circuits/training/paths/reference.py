"""The reference path: torch autograd and `torch.optim`, one network after the other, on any device.

Slow and obvious. It serves every model, and the other paths are held against it in the tests.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
import xarray as xr

from circuits.config import Config
from circuits.interfaces import Model, untouched
from circuits.models.network import Network
from circuits.training.hooks import training_tap
from circuits.training.losses import metrics_of, per_example
from circuits.training.paths.stepper import Snapshot, example_order, is_random
from circuits.training.paths.torch_stepper import EXAMPLES_AT_ONCE, TorchStepper, restore, shrink, state_of
from circuits.training.rates import Rates
from circuits.training.start import Arrays, Start


class Reference(TorchStepper):
    """The networks of all seeds as torch modules, each with its optimizer."""

    name: ClassVar[str] = "reference"
    prepares: ClassVar[bool] = False
    """Whether it takes a model's faster forward pass."""

    @classmethod
    def refusal(cls, config: Config, device: str) -> str | None:
        return None  # it serves every config on every device

    def __init__(self, config: Config, data: xr.Dataset, start: Start, device: str) -> None:
        super().__init__(config, data, start, device)
        self.n_lanes = len(config.seeds)
        self._is_random = is_random(config)
        self._networks = [
            Network(config.model, {name: start.parameters[name][index] for name in config.shapes}).to(device)
            for index in range(len(config.seeds))
        ]
        self._trained = [
            {name: one for name, one in net.named_parameters() if one.requires_grad} for net in self._networks
        ]
        self._optimizers = [config.optimizer.made(trained.values()) for trained in self._trained]
        for index, (trained, optimizer) in enumerate(zip(self._trained, self._optimizers, strict=True)):
            restore(
                config, trained, optimizer, {name: np.asarray(values[index]) for name, values in start.state.items()}
            )
        at_once = config.batch if config.batch_size is None else EXAMPLES_AT_ONCE
        self._on_train = [outputs_on(config.model, inputs, at_once, self.prepares) for inputs, _ in self._train]
        self._on_test = [outputs_on(config.model, inputs, EXAMPLES_AT_ONCE, self.prepares) for inputs, _ in self._test]

    def advance(self, network: int, epoch: int, start: int, stop: int, rates: Rates) -> None:
        config, net, optimizer = self.config, self._networks[network], self._optimizers[network]
        inputs, targets = self._train[network]
        seed = config.seeds[network]
        for group in optimizer.param_groups:
            group["lr"], group["weight_decay"] = rates.lr, rates.weight_decay[0]
        for number, batch in enumerate(self._batches(network, epoch)[start:stop], start):
            tap = training_tap(config, seed, epoch * config.steps_per_epoch + number) if self._is_random else untouched
            optimizer.zero_grad()
            outputs = self._outputs(network, batch) if tap is untouched else net(inputs[batch], tap)
            per_example(outputs, targets[batch], config).mean().backward()
            optimizer.step()
            if config.optimizer.l1:
                shrink(self._trained[network].values(), rates.lr * config.optimizer.l1)

    def _outputs(self, network: int, batch: Any) -> torch.Tensor:
        parameters = dict(self._networks[network].named_parameters())
        if self.config.batch_size is None:
            return self._on_train[network](parameters)
        inputs = self._train[network][0][batch]
        return outputs_on(self.config.model, inputs, len(batch), self.prepares)(parameters)

    def _batches(self, network: int, epoch: int) -> Sequence[Any]:
        """Which examples each update of an epoch is made of."""
        if self.config.batch_size is None:
            return [slice(None)]
        inputs = self._train[network][0]
        order = example_order(self.config.seeds[network], epoch, len(inputs))
        return torch.from_numpy(order).to(inputs.device).split(self.config.batch)

    @torch.no_grad()
    def snapshots(self, network: int) -> list[Snapshot]:
        net, targets, test_targets = self._networks[network], self._train[network][1], self._test[network][1]
        state = dict(net.named_parameters())
        parameters = {name: state[name].cpu().numpy().copy() for name in self.config.shapes}
        outputs, test_outputs = self._on_train[network](state), self._on_test[network](state)
        marks, unseen = self._marks[network], self._unseen[network]
        metrics = metrics_of(self.config, outputs, targets, marks, test_outputs, test_targets, unseen)
        return [(parameters, metrics)]

    def optimizer_state(self) -> Arrays:
        found = [
            state_of(self.config, trained, optimizer)
            for trained, optimizer in zip(self._trained, self._optimizers, strict=True)
        ]
        return {name: np.stack([state[name] for state in found]) for name in found[0]}


def outputs_on(
    model: Model, inputs: torch.Tensor, at_once: int, prepares: bool
) -> Callable[[Mapping[str, torch.Tensor]], torch.Tensor]:
    """The function that gives a model's outputs for these inputs from its parameters; its fastest, if it `prepares`.

    It takes `at_once` inputs at a time, so that what lies between fits in memory.
    """

    def made(part: torch.Tensor) -> Callable[[Mapping[str, torch.Tensor]], torch.Tensor]:
        return (model.prepared(part) if prepares else None) or partial(model.forward, inputs=part)

    parts = [made(part) for part in inputs.split(at_once)]
    return parts[0] if len(parts) == 1 else lambda parameters: torch.cat([part(parameters) for part in parts])
