"""The training path "reference": torch autograd and `torch.optim`, one network after the other, on any device.

This path is slow but simple. It serves every model, and the tests compare the other paths with it.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
import xarray as xr

from circuits.config import Config
from circuits.interfaces import untouched
from circuits.models.network import Network
from circuits.training.hooks import training_tap
from circuits.training.losses import per_example
from circuits.training.paths.stepper import Snapshot, example_order, is_random
from circuits.training.paths.torch_stepper import TorchStepper, outputs_on, restore, shrink, state_of
from circuits.training.rates import Rates
from circuits.training.start import Arrays, Start


class Reference(TorchStepper):
    """The networks of all seeds as torch modules, each with its own optimizer."""

    name: ClassVar[str] = "reference"

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
            {name: values for name, values in net.named_parameters() if values.requires_grad} for net in self._networks
        ]
        self._optimizers = [config.optimizer.made(trained.values()) for trained in self._trained]
        for index, (trained, optimizer) in enumerate(zip(self._trained, self._optimizers, strict=True)):
            state = {name: np.asarray(values[index]) for name, values in start.state.items()}
            restore(config, trained, optimizer, state)

    def advance(self, network: int, epoch: int, start: int, stop: int, rates: Rates) -> None:
        config, net, optimizer = self.config, self._networks[network], self._optimizers[network]
        inputs, targets, *_ = self._examples[network]
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
        inputs = self._examples[network].inputs[batch]
        return outputs_on(self.config.model, inputs, len(batch), self.prepares)(parameters)

    def _batches(self, network: int, epoch: int) -> Sequence[Any]:
        """Indices of one network's examples in each update of an epoch."""
        if self.config.batch_size is None:
            return [slice(None)]
        inputs = self._examples[network].inputs
        order = example_order(self.config.seeds[network], epoch, len(inputs))
        return torch.from_numpy(order).to(inputs.device).split(self.config.batch)

    @torch.no_grad()
    def snapshots(self, network: int) -> list[Snapshot]:
        return [self._snapshot(network, dict(self._networks[network].named_parameters()))]

    def optimizer_state(self) -> Arrays:
        states = [state_of(self.config, *pair) for pair in zip(self._trained, self._optimizers, strict=True)]
        return {name: np.stack([state[name] for state in states]) for name in states[0]}
