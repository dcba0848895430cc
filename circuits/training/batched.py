"""The batched path: the networks of all seeds as one, a seed being a further dimension of every tensor.

`torch.vmap` runs the model's forward pass over the seeds, the losses are added up, and as no network appears in
another's loss each gets its own gradient. Optimizers act on each number by itself, so one serves all. This is the way
of devices that want few large operations rather than many small ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
import xarray as xr

from circuits.config import Config
from circuits.threads import one_blas_thread
from circuits.training.reference import hardware, hinge, metrics_of, shrink, torch_optimizer
from circuits.training.steppers import Arrays, Snapshot, example_order


class Batched:
    """All networks in lockstep, on any device."""

    def __init__(
        self, config: Config, data: xr.Dataset, parameters: Mapping[str, np.ndarray], state: Mapping[str, np.ndarray],
        device: str,
    ) -> None:  # fmt: skip
        self.config = config
        self.n_lanes, self.n_threads, self.preparing = 1, 0, ""
        self._limits = one_blas_thread()
        self._threads = torch.get_num_threads()
        torch.set_num_threads(1)  # sums inside a step must not depend on the number of cores
        dtype = getattr(torch, config.dtype)

        def tensor(values: np.ndarray) -> torch.Tensor:
            return torch.from_numpy(np.array(values)).to(device, dtype)

        self._parameters = {name: tensor(values).requires_grad_() for name, values in parameters.items()}
        self._optimizer = torch_optimizer(config, self._parameters.values())
        if state:
            for name, parameter in self._parameters.items():
                self._optimizer.state[parameter] = {
                    "step": torch.tensor(float(state["step"][0]), dtype=torch.float32),
                    **{moment: tensor(state[f"{moment}.{name}"]) for moment in config.optimizer.moments},
                }
        self._train = tensor(data["train_inputs"].values), tensor(data["train_targets"].values)
        self._test = tensor(data["test_inputs"].values), tensor(data["test_targets"].values)
        self._outputs = torch.vmap(config.model.forward)
        self._outputs_on_one_set = torch.vmap(config.model.forward, in_dims=(0, None))

    def advance(self, lane: int, epoch: int, start: int, stop: int) -> None:
        """Take updates `start` to `stop` of an epoch, for every network."""
        inputs, targets = self._train
        orders = np.stack([example_order(seed, epoch, targets.shape[1]) for seed in self.config.seeds])
        seeds = torch.arange(len(orders), device=inputs.device)[:, None]
        for batch in torch.from_numpy(orders).to(inputs.device).split(self.config.batch_size, dim=1)[start:stop]:
            self._optimizer.zero_grad()
            outputs = self._outputs(self._parameters, inputs[seeds, batch])  # (seed, example)
            hinge(outputs, targets[seeds, batch]).mean(dim=1).sum().backward()
            self._optimizer.step()
            if self.config.optimizer.l1:
                shrink(self._parameters.values(), self.config.optimizer.lr * self.config.optimizer.l1)

    @torch.no_grad()
    def snapshots(self, lane: int) -> list[Snapshot]:
        """Copies of every network's parameters, and its metrics as it is now, by name."""
        outputs, targets = self._outputs(self._parameters, self._train[0]), self._train[1]
        test_outputs, test_targets = self._outputs_on_one_set(self._parameters, self._test[0]), self._test[1]
        arrays = {name: values.cpu().numpy() for name, values in self._parameters.items()}
        return [
            (
                {name: values[index].copy() for name, values in arrays.items()},
                metrics_of(outputs[index], targets[index], test_outputs[index], test_targets),
            )
            for index in range(len(outputs))
        ]

    def optimizer_state(self) -> Arrays:
        """Adam's running means and step count, each (seed, …); nothing for SGD."""
        moments = self.config.optimizer.moments
        if not moments:
            return {}
        state: Arrays = {}
        step = 0.0
        for name, parameter in self._parameters.items():
            known = self._optimizer.state.get(parameter, {})
            for moment in moments:
                state[f"{moment}.{name}"] = known.get(moment, torch.zeros_like(parameter)).detach().cpu().numpy().copy()
            step = float(known.get("step", 0.0))
        return state | {"step": np.full(len(self.config.seeds), step, np.float32)}

    def close(self) -> None:
        """Give torch and BLAS their threads back."""
        self._limits.restore_original_limits()
        torch.set_num_threads(self._threads)


def numerics(device: str) -> dict[str, Any]:
    """Torch's version and the instructions it uses."""
    return {"threads_per_step": 1, "hardware": hardware(device), "torch": version("torch")}
