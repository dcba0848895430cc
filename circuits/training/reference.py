"""The reference path: torch autograd and `torch.optim`, one network after the other, on any device.

Slow and obvious. It serves every model, and the other paths are held against it in the tests. As the path "prepared" it
takes a model's faster forward pass (`Model.prepared`) where there is one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
import xarray as xr

from circuits.config import Config
from circuits.interfaces import Model, untouched
from circuits.threads import one_blas_thread
from circuits.training.hooks import training_tap
from circuits.training.losses import metrics_of, per_example
from circuits.training.steppers import Arrays, Rates, Snapshot, example_order, is_random, threads_per_step
from circuits.training.unseen import unseen_of

EXAMPLES_AT_ONCE = 8192  # when measuring


class Reference:
    """The networks of all seeds as torch modules, each with its optimizer."""

    def __init__(
        self, config: Config, data: xr.Dataset, parameters: Mapping[str, np.ndarray], state: Mapping[str, np.ndarray],
        device: str, *, prepares: bool = False,
    ) -> None:  # fmt: skip
        self.config = config
        self.preparing = ""
        self._prepares = prepares
        self.n_lanes, self.n_threads = len(config.seeds), 0  # its optimizers' state is that of the row before
        self._lent = Threads(threads_per_step(config, "reference"))
        self._is_random = is_random(config)
        self._networks = [
            config.model.network({name: parameters[name][index] for name in config.shapes}).to(device)
            for index in range(len(config.seeds))
        ]
        self._trained = [
            {name: one for name, one in net.named_parameters() if one.requires_grad} for net in self._networks
        ]
        self._optimizers = [config.optimizer.made(trained.values()) for trained in self._trained]
        for index, (trained, optimizer) in enumerate(zip(self._trained, self._optimizers, strict=True)):
            restore(config, trained, optimizer, {name: np.asarray(values[index]) for name, values in state.items()})
        self._train, self._test, self._marks, self._unseen = (
            tensors(config, data, what, device) for what in ("train", "test", "marks", "unseen")
        )
        at_once = config.batch if config.batch_size is None else EXAMPLES_AT_ONCE
        self._on_train = [outputs_on(config.model, inputs, at_once, prepares) for inputs, _ in self._train]
        self._on_test = [outputs_on(config.model, inputs, EXAMPLES_AT_ONCE, prepares) for inputs, _ in self._test]

    def advance(self, network: int, epoch: int, start: int, stop: int, rates: Rates) -> None:
        """Take updates `start` to `stop` of an epoch, for one network."""
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
        return outputs_on(self.config.model, inputs, len(batch), self._prepares)(parameters)

    def _batches(self, network: int, epoch: int) -> Sequence[Any]:
        """Which examples each update of an epoch is made of."""
        if self.config.batch_size is None:
            return [slice(None)]
        inputs = self._train[network][0]
        order = example_order(self.config.seeds[network], epoch, len(inputs))
        return torch.from_numpy(order).to(inputs.device).split(self.config.batch)

    @torch.no_grad()
    def snapshots(self, network: int) -> list[Snapshot]:
        """Copies of a network's parameters, and its metrics as it is now, by name."""
        net, targets, test_targets = self._networks[network], self._train[network][1], self._test[network][1]
        state = dict(net.named_parameters())
        parameters = {name: state[name].cpu().numpy().copy() for name in self.config.shapes}
        outputs, test_outputs = self._on_train[network](state), self._on_test[network](state)
        marks, unseen = self._marks[network], self._unseen[network]
        metrics = metrics_of(self.config, outputs, targets, marks, test_outputs, test_targets, unseen)
        return [(parameters, metrics)]

    def optimizer_state(self) -> Arrays:
        """What each optimizer keeps, (seed, …); nothing for plain SGD."""
        found = [
            state_of(self.config, trained, optimizer)
            for trained, optimizer in zip(self._trained, self._optimizers, strict=True)
        ]
        return {name: np.stack([state[name] for state in found]) for name in found[0]}

    def close(self) -> None:
        """Give torch and BLAS their threads back."""
        self._lent.give_back()


class Threads:
    """The threads of torch and BLAS, as many as one step is spread over: sums depend on how many they are."""

    def __init__(self, n_threads: int) -> None:
        self._limits = one_blas_thread()
        self._threads = torch.get_num_threads()
        torch.set_num_threads(n_threads)

    def give_back(self) -> None:
        """Set them as they were."""
        self._limits.restore_original_limits()
        torch.set_num_threads(self._threads)


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


def tensors(config: Config, data: xr.Dataset, which: str, device: str) -> list[Any]:
    """Each seed's inputs and targets of the training or the test set; of "marks", its marks by name; of "unseen", the
    mask of its test inputs outside the training set, None if that is not told apart.
    """
    seeds = range(len(config.seeds))
    if which == "unseen":
        masks = unseen_of(data)
        return [None] * len(seeds) if masks is None else [torch.from_numpy(mask).to(device) for mask in masks]
    if which == "marks":
        marks = {name: torch.from_numpy(data[f"train_{name}"].values.astype(bool)) for name in config.task.marks}
        return [{name: values[seed].to(device) for name, values in marks.items()} for seed in seeds]
    dtype = getattr(torch, config.dtype)
    inputs, targets = (data[f"{which}_{name}"].values for name in ("inputs", "targets"))
    is_token, is_class = config.model.reads == "tokens", config.task.signature.n_classes is not None

    def pair(inputs: np.ndarray, targets: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        as_read, as_judged = torch.from_numpy(np.array(inputs)), torch.from_numpy(np.array(targets))
        return as_read.to(device, torch.long if is_token else dtype), as_judged.to(
            device, torch.long if is_class else dtype
        )

    if "seed" in data[f"{which}_targets"].dims:
        return [pair(inputs[seed], targets[seed]) for seed in seeds]
    return [pair(inputs, targets)] * len(seeds)


@torch.no_grad()
def shrink(parameters: Iterable[torch.Tensor], threshold: float) -> None:
    """The proximal step of an L1 penalty: θ ← sign θ · max(0, |θ| - threshold)."""
    for parameter in parameters:
        parameter.copy_(parameter.sign() * (parameter.abs() - threshold).clamp(min=0))


def state_of(config: Config, trained: Mapping[str, torch.Tensor], optimizer: torch.optim.Optimizer) -> Arrays:
    """An optimizer's state by name, with zeros where no update was made yet."""
    state: Arrays = {}
    for name, parameter in trained.items():
        known = optimizer.state.get(parameter, {})
        for moment in config.optimizer.moments:
            values = known.get(moment)
            kept = torch.zeros_like(parameter) if values is None else values
            state[f"{moment}.{name}"] = kept.detach().cpu().numpy().copy()
        if config.optimizer.counts_updates:
            state["step"] = np.asarray(float(known.get("step", 0.0)), np.float32)
    return state


def restore(
    config: Config,
    trained: Mapping[str, torch.Tensor],
    optimizer: torch.optim.Optimizer,
    state: Mapping[str, np.ndarray],
) -> None:
    """Give an optimizer the state that `state_of` gave; an empty one is that of the beginning."""
    for name, parameter in trained.items() if state else ():
        moments = {
            moment: torch.from_numpy(np.array(state[f"{moment}.{name}"])).to(parameter.device)
            for moment in config.optimizer.moments
        }
        count = (
            {"step": torch.tensor(float(state["step"]), dtype=torch.float32)} if config.optimizer.counts_updates else {}
        )
        optimizer.state[parameter] = count | moments


def numerics(config: Config, path: str, device: str) -> dict[str, Any]:
    """Torch's version and the instructions it uses, and the threads of one step."""
    compiled = {name: version(name) for name in ("numba", "llvmlite")} if path == "prepared" else {}
    return {
        **compiled,
        "threads_per_step": threads_per_step(config, path),
        "hardware": torch.cuda.get_device_name() if device == "cuda" else str(torch.backends.cpu.get_cpu_capability()),
        "torch": version("torch"),
    }
