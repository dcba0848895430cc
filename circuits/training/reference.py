"""The reference path: torch autograd and `torch.optim`, one network after the other, on any device.

Slow and obvious. It serves every model, and the fused path is held against it in the tests.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
import xarray as xr

from circuits.config import SGD, AdamW, Config
from circuits.errors import InputError
from circuits.threads import one_blas_thread
from circuits.training.steppers import Arrays, Snapshot, example_order


class Reference:
    """The networks of all seeds as torch modules, each with its optimizer."""

    def __init__(
        self, config: Config, data: xr.Dataset, parameters: Mapping[str, np.ndarray], state: Mapping[str, np.ndarray],
        device: str,
    ) -> None:  # fmt: skip
        self.config = config
        self.preparing = ""
        self.n_lanes, self.n_threads = len(config.seeds), 0  # its optimizers' state is that of the row before
        self._limits = one_blas_thread()
        self._threads = torch.get_num_threads()
        torch.set_num_threads(1)  # sums inside a step must not depend on the number of cores
        dtype = getattr(torch, config.dtype)

        def tensor(values: np.ndarray) -> torch.Tensor:
            return torch.from_numpy(np.array(values)).to(device, dtype)

        self._networks = [
            config.model.module({name: values[index] for name, values in parameters.items()}).to(device)
            for index in range(len(config.seeds))
        ]
        self._optimizers = [torch_optimizer(config, net.parameters()) for net in self._networks]
        for index, (net, optimizer) in enumerate(zip(self._networks, self._optimizers, strict=True)):
            _restore(net, optimizer, {name: values[index] for name, values in state.items()})
        inputs, targets = data["train_inputs"].values, data["train_targets"].values
        self._train = [(tensor(x), tensor(y)) for x, y in zip(inputs, targets, strict=True)]
        self._test = (tensor(data["test_inputs"].values), tensor(data["test_targets"].values))

    def advance(self, network: int, epoch: int, start: int, stop: int) -> None:
        """Take updates `start` to `stop` of an epoch, for one network."""
        net, optimizer, (inputs, targets) = self._networks[network], self._optimizers[network], self._train[network]
        order = torch.from_numpy(example_order(self.config.seeds[network], epoch, len(targets))).to(inputs.device)
        for batch in order.split(self.config.batch_size)[start:stop]:
            optimizer.zero_grad()
            hinge(net(inputs[batch]), targets[batch]).mean().backward()
            optimizer.step()
            if self.config.optimizer.l1:
                shrink(net.parameters(), self.config.optimizer.lr * self.config.optimizer.l1)

    @torch.no_grad()
    def snapshots(self, network: int) -> list[Snapshot]:
        """Copies of a network's parameters, and its metrics as it is now, by name."""
        net, (inputs, targets), (test_inputs, test_targets) = self._networks[network], self._train[network], self._test
        state = net.state_dict()
        parameters = {name: state[name].cpu().numpy().copy() for name in self.config.shapes}
        return [(parameters, metrics_of(net(inputs), targets, net(test_inputs), test_targets))]

    def optimizer_state(self) -> Arrays:
        """Adam's running means and step count, each (seed, …); nothing for SGD."""
        if not self.config.optimizer.moments:
            return {}
        found = [_state_of(net, optimizer) for net, optimizer in zip(self._networks, self._optimizers, strict=True)]
        return {name: np.stack([state[name] for state in found]) for name in found[0]}

    def close(self) -> None:
        """Give torch and BLAS their threads back."""
        self._limits.restore_original_limits()
        torch.set_num_threads(self._threads)


@torch.no_grad()
def shrink(parameters: Iterable[torch.Tensor], threshold: float) -> None:
    """The proximal step of an L1 penalty: θ ← sign θ · max(0, |θ| - threshold)."""
    for parameter in parameters:
        parameter.copy_(parameter.sign() * (parameter.abs() - threshold).clamp(min=0))


def metrics_of(
    outputs: torch.Tensor, targets: torch.Tensor, test_outputs: torch.Tensor, test_targets: torch.Tensor
) -> dict[str, float]:
    """Losses and accuracies of one network, from its outputs on both sets."""
    return {
        "train_loss": hinge(outputs, targets).double().mean().item(),
        "test_loss": hinge(test_outputs, test_targets).double().mean().item(),
        "train_accuracy": (outputs * targets > 0).sum().item() / len(targets),
        "test_accuracy": (test_outputs * test_targets > 0).sum().item() / len(test_outputs),
        "train_zero_outputs": float((outputs == 0).sum().item()),
    }


def torch_optimizer(config: Config, parameters: Iterable[torch.Tensor]) -> torch.optim.Optimizer:
    """The torch optimizer that a config describes."""
    chosen = config.optimizer
    if isinstance(chosen, SGD):
        return torch.optim.SGD(parameters, lr=chosen.lr, weight_decay=chosen.weight_decay)
    if not isinstance(chosen, AdamW):
        raise InputError(f"There is no torch optimizer for '{chosen.kind}'.")
    return torch.optim.AdamW(
        parameters, lr=chosen.lr, weight_decay=chosen.weight_decay, betas=chosen.betas, eps=chosen.eps
    )


def _state_of(network: torch.nn.Module, optimizer: torch.optim.Optimizer) -> Arrays:
    """One network's state by name, with zeros where no update was made yet."""
    state: Arrays = {"step": np.zeros((), np.float32)}
    for name, parameter in network.named_parameters():
        known = optimizer.state.get(parameter, {})
        for moment in ("exp_avg", "exp_avg_sq"):
            state[f"{moment}.{name}"] = known.get(moment, torch.zeros_like(parameter)).detach().cpu().numpy().copy()
        state["step"] = np.asarray(known.get("step", torch.zeros(())).cpu().numpy(), np.float32)
    return state


def _restore(network: torch.nn.Module, optimizer: torch.optim.Optimizer, state: Mapping[str, np.ndarray]) -> None:
    for name, parameter in network.named_parameters() if state else ():
        moments = {key: torch.from_numpy(np.array(state[f"{key}.{name}"])) for key in ("exp_avg", "exp_avg_sq")}
        optimizer.state[parameter] = {
            "step": torch.tensor(float(state["step"]), dtype=torch.float32),
            **{key: values.to(parameter.device) for key, values in moments.items()},
        }


def hinge(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """max(0, 1 - f(x) y) per example, with subgradient 0 at the kink."""
    return (1 - outputs * targets).relu()


def numerics(device: str) -> dict[str, Any]:
    """Torch's version and the instructions it uses."""
    return {"threads_per_step": 1, "hardware": hardware(device), "torch": version("torch")}


def hardware(device: str) -> str:
    """The device's name, or the processor's instructions that torch uses."""
    return torch.cuda.get_device_name() if device == "cuda" else str(torch.backends.cpu.get_cpu_capability())
