"""What the paths on torch share: devices, threads, the data as tensors, and the state of an optimizer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.metadata import version
from typing import Any, ClassVar

import numpy as np
import torch
import xarray as xr

from circuits.config import Config
from circuits.errors import InputError
from circuits.threads import one_blas_thread, usable_cores
from circuits.training.paths.stepper import FLOPS_WORTH_THREADS, Stepper, flops_per_step
from circuits.training.start import Arrays, Start
from circuits.training.unseen import unseen_of

EXAMPLES_AT_ONCE = 8192  # when measuring


class TorchStepper(Stepper):
    """Networks stepped by torch, on any device that it has."""

    in_lockstep: ClassVar[bool] = False
    """Whether one update is of the networks of all seeds."""

    def __init__(self, config: Config, data: xr.Dataset, start: Start, device: str) -> None:
        self.config = config
        self._limits, self._threads = one_blas_thread(), torch.get_num_threads()
        torch.set_num_threads(self.threads_per_step(config))
        self._train, self._test, self._marks, self._unseen = (
            tensors(config, data, what, device) for what in ("train", "test", "marks", "unseen")
        )

    @classmethod
    def device(cls, config: Config, wanted: str) -> str:
        """The device itself if this machine has it; for "auto" the GPU, else the CPU."""
        if wanted == "cpu":
            return wanted
        there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
        if wanted == "auto":
            return "cuda" if there["cuda"] else "cpu"
        if not there[wanted]:
            has = ", ".join(name for name, present in there.items() if present)
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

    def close(self) -> None:
        """Give torch and BLAS their threads back."""
        self._limits.restore_original_limits()
        torch.set_num_threads(self._threads)


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
