"""What the paths on torch share: devices, threads, the data as tensors, and the state of an optimizer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from importlib.metadata import version
from typing import Any, ClassVar

import numpy as np
import torch
import xarray as xr

from circuits.config import Config
from circuits.errors import InputError
from circuits.interfaces import Model
from circuits.threads import one_blas_thread, usable_cores
from circuits.training.losses import Examples, metrics_of
from circuits.training.paths.stepper import FLOPS_WORTH_THREADS, Snapshot, Stepper, flops_per_step
from circuits.training.start import Arrays, Start
from circuits.training.unseen import unseen_of

EXAMPLES_AT_ONCE = 8192  # when measuring


class TorchStepper(Stepper):
    """Networks stepped by torch, on any device that it has."""

    in_lockstep: ClassVar[bool] = False
    """Whether one update is of the networks of all seeds."""
    prepares: ClassVar[bool] = False
    """Whether it takes a model's faster forward pass."""

    def __init__(self, config: Config, data: xr.Dataset, start: Start, device: str) -> None:
        self.config = config
        self._limits, self._threads = one_blas_thread(), torch.get_num_threads()
        torch.set_num_threads(self.threads_per_step(config))
        self._examples = examples_of(config, data, device)
        full_batch = config.batch_size is None and not self.in_lockstep  # its outputs are those that train
        at_once = config.batch if full_batch else EXAMPLES_AT_ONCE
        model, prepares = config.model, self.prepares
        self._on_train = [outputs_on(model, each.inputs, at_once, prepares) for each in self._examples]
        self._on_test = [outputs_on(model, each.test_inputs, EXAMPLES_AT_ONCE, prepares) for each in self._examples]

    @classmethod
    def device(cls, config: Config, wanted: str) -> str:
        """The device itself if this machine has it; for "auto" the GPU, else the CPU."""
        if wanted == "cpu":
            return wanted
        available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
        if wanted == "auto":
            return "cuda" if available["cuda"] else "cpu"
        if not available[wanted]:
            has = ", ".join(name for name, present in available.items() if present)
            raise InputError(f"This machine's torch has no device '{wanted}'. It has: {has}.")
        if wanted == "mps" and "float64" in (config.dtype, config.loss_dtype):
            raise InputError("Device 'mps' has no float64. Pass --dtype and --loss-dtype float32, or another device.")
        return wanted

    @classmethod
    def threads_per_step(cls, config: Config) -> int:
        """How many cores one update is spread over, on which sums depend: 1 where more would not pay."""
        together = len(config.seeds) if cls.in_lockstep else 1
        return usable_cores() if together * flops_per_step(config) > FLOPS_WORTH_THREADS else 1

    @classmethod
    def numerics(cls, config: Config, device: str) -> dict[str, Any]:
        """Torch's version and the instructions it uses, and the threads of one step."""
        capability = torch.backends.cpu.get_cpu_capability()
        return {
            "threads_per_step": cls.threads_per_step(config),
            "hardware": torch.cuda.get_device_name() if device == "cuda" else str(capability),
            "torch": version("torch"),
        }

    def _snapshot(self, network: int, parameters: Mapping[str, torch.Tensor]) -> Snapshot:
        outputs, test_outputs = self._on_train[network](parameters), self._on_test[network](parameters)
        metrics = metrics_of(self.config, self._examples[network], outputs, test_outputs)
        return {name: parameters[name].cpu().numpy().copy() for name in self.config.shapes}, metrics

    def close(self) -> None:
        """Give torch and BLAS their threads back."""
        self._limits.restore_original_limits()
        torch.set_num_threads(self._threads)


def examples_of(config: Config, data: xr.Dataset, device: str) -> list[Examples]:
    """The examples of each seed, as tensors on a device."""
    n_seeds, dtype = len(config.seeds), getattr(torch, config.dtype)
    read = torch.long if config.model.reads == "tokens" else dtype
    judged = torch.long if config.task.signature.n_classes is not None else dtype

    def tensors(name: str, dtype: torch.dtype) -> list[torch.Tensor]:
        values = data[name].values if "seed" in data[name].dims else data[name].values[None]
        each = [torch.from_numpy(np.array(one)).to(device, dtype) for one in values]
        return each if len(each) == n_seeds else each * n_seeds  # seeds may share one test set

    inputs, targets = tensors("train_inputs", read), tensors("train_targets", judged)
    test_inputs, test_targets = tensors("test_inputs", read), tensors("test_targets", judged)
    marks = {name: tensors(f"train_{name}", torch.bool) for name in config.task.marks}
    own_marks = [{name: values[seed] for name, values in marks.items()} for seed in range(n_seeds)]
    masks = unseen_of(data)
    unseen = [None] * n_seeds if masks is None else [torch.from_numpy(mask).to(device) for mask in masks]
    each = zip(inputs, targets, test_inputs, test_targets, own_marks, unseen, strict=True)
    return [Examples(*examples) for examples in each]


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


@torch.no_grad()
def shrink(parameters: Iterable[torch.Tensor], threshold: float) -> None:
    """The proximal step of an L1 penalty: θ ← sign θ · max(0, |θ| - threshold)."""
    for parameter in parameters:
        parameter.copy_(parameter.sign() * (parameter.abs() - threshold).clamp(min=0))


def state_of(config: Config, trained: Mapping[str, torch.Tensor], optimizer: torch.optim.Optimizer) -> Arrays:
    """An optimizer's state by name, with zeros where no update was made yet."""
    state: Arrays = {}
    for name, parameter in trained.items():
        of_parameter = optimizer.state.get(parameter, {})
        for moment in config.optimizer.moments:
            values = of_parameter.get(moment)
            kept = torch.zeros_like(parameter) if values is None else values
            state[f"{moment}.{name}"] = kept.detach().cpu().numpy().copy()
        if config.optimizer.counts_updates:
            state["step"] = np.asarray(float(of_parameter.get("step", 0.0)), np.float32)
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
