"""The training path "batched": the networks of all seeds train as one network; every tensor has a seed dimension.

`torch.vmap` runs the model's forward pass over the seeds, and the losses are added. Since a network appears in its own
loss only, each network gets its own gradient. Optimizers update each number independently, so one optimizer serves all
seeds. Only weight decay may differ between seeds; this path applies the decay itself.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
import xarray as xr

from circuits.config import Config
from circuits.training.losses import per_example
from circuits.training.paths.stepper import FLOPS_WORTH_THREADS, Snapshot, example_order, flops_per_step, is_random
from circuits.training.paths.torch_stepper import TorchStepper, restore, shrink, state_of
from circuits.training.rates import Rates
from circuits.training.start import Arrays, Start


class Batched(TorchStepper):
    """The networks of all seeds, updated in lockstep, on any torch device."""

    name: ClassVar[str] = "batched"
    in_lockstep: ClassVar[bool] = True

    @classmethod
    def refusal(cls, config: Config, device: str) -> str | None:
        if config.model.lockstep and not is_random(config):
            return None
        return f"The networks of this config ('{config.model.kind}', dropout or input noise) cannot train as one"

    @classmethod
    def pays(cls, config: Config, device: str) -> bool:
        """Whether few large operations, for all seeds at once, are faster than many small ones, for one seed each.

        The large operations are faster on a GPU. On the CPU, they are faster if an update of one seed's network takes
        at most 10⁹ flops and the model is neither relu nor linear.
        """
        small = config.model.kind not in ("relu", "linear") and flops_per_step(config) <= FLOPS_WORTH_THREADS
        return device != "cpu" or small

    def __init__(self, config: Config, data: xr.Dataset, start: Start, device: str) -> None:
        super().__init__(config, data, start, device)
        self.n_lanes = 1
        self._parameters = {
            name: torch.from_numpy(np.array(start.parameters[name])).to(device)
            for name in config.shapes  # in this order, which may differ on disk
        }
        for name, values in self._parameters.items():
            values.requires_grad_(name not in config.model.frozen)
        self._trained = {name: values for name, values in self._parameters.items() if values.requires_grad}
        self._optimizer = config.optimizer.made(self._trained.values())
        count = {"step": np.asarray(start.state["step"][0])} if "step" in start.state else {}
        restore(config, self._trained, self._optimizer, start.state | count)
        self._inputs = torch.stack([examples.inputs for examples in self._examples])
        self._targets = torch.stack([examples.targets for examples in self._examples])
        self._outputs = torch.vmap(config.model.forward)

    def advance(self, lane: int, epoch: int, start: int, stop: int, rates: Rates) -> None:
        config = self.config
        for group in self._optimizer.param_groups:
            group["lr"], group["weight_decay"] = rates.lr, 0.0
        for batch in self._batches(epoch)[start:stop]:
            self._optimizer.zero_grad()
            losses = per_example(self._outputs(self._parameters, self._inputs[batch]), self._targets[batch], config)
            losses.mean(dim=1).sum().backward()  # of (seed, example)
            self._decay(rates)
            self._optimizer.step()
            if config.optimizer.l1:
                shrink(self._trained.values(), rates.lr * config.optimizer.l1)

    def _batches(self, epoch: int) -> Sequence[Any]:
        """For each update of an epoch, the index that selects the batch of every seed from a (seed, example) tensor."""
        if self.config.batch_size is None:
            return [slice(None)]
        device, n_examples = self._targets.device, self._targets.shape[1]
        orders = np.stack([example_order(seed, epoch, n_examples) for seed in self.config.seeds])
        seeds = torch.arange(len(orders), device=device)[:, None]
        return [(seeds, batch) for batch in torch.from_numpy(orders).to(device).split(self.config.batch, dim=1)]

    @torch.no_grad()
    def _decay(self, rates: Rates) -> None:
        """Apply each network's own weight decay: to the parameters for decoupled decay, otherwise to the gradients."""
        if not any(rates.weight_decay):
            return
        for values in self._trained.values():
            decay = torch.tensor(rates.weight_decay, dtype=values.dtype, device=values.device)
            decay = decay.view(-1, *[1] * (values.ndim - 1))
            if self.config.optimizer.decoupled:
                values.mul_(1 - rates.lr * decay)
            elif values.grad is not None:
                values.grad.add_(decay * values)

    @torch.no_grad()
    def snapshots(self, lane: int) -> list[Snapshot]:
        return [
            self._snapshot(network, {name: values[network] for name, values in self._parameters.items()})
            for network in range(len(self.config.seeds))
        ]

    def optimizer_state(self) -> Arrays:
        state = state_of(self.config, self._trained, self._optimizer)
        return state | ({"step": np.full(len(self.config.seeds), state["step"])} if "step" in state else {})
