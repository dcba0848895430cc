"""Base class of the training paths that use torch: devices, threads, data as tensors, and the optimizer's state."""

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

EXAMPLES_AT_ONCE = 8192  # in the forward pass of the metrics


class TorchStepper(Stepper):
    """Networks that torch trains, on any torch device."""

    in_lockstep: ClassVar[bool] = False
    """Whether one update changes the networks of all seeds."""
    prepares: ClassVar[bool] = False
    """Whether outputs come from `Model.prepared`, a faster `Model.forward` that some models have."""

    def __init__(self, config: Config, data: xr.Dataset, start: Start, device: str) -> None:
        self.config = config
        self._limits, self._threads = one_blas_thread(), torch.get_num_threads()
        torch.set_num_threads(self.threads_per_step(config))
        self._examples = examples_of(config, data, device)
        full_batch = config.batch_size is None and not self.in_lockstep  # training uses the same outputs
        at_once = config.batch if full_batch else EXAMPLES_AT_ONCE
        model, prepares = config.model, self.prepares
        self._on_train = [outputs_on(model, data.inputs, at_once, prepares) for data in self._examples]
        self._on_test = [outputs_on(model, data.test_inputs, EXAMPLES_AT_ONCE, prepares) for data in self._examples]

    @classmethod
    def device(cls, config: Config, wanted: str) -> str:
        """The wanted device if this machine has it; for "auto" cuda if there is one, else the CPU."""
        if wanted == "cpu":
            return wanted
        available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
        if wanted == "auto":
            return "cuda" if available["cuda"] else "cpu"
        if not available[wanted]:
            has = ", ".join(name for name, present in available.items() if present)
            raise InputError(f"This machine's torch has no device '{wanted}'. It has: {has}.")
        if wanted == "mps" and "float64" in (config.dtype, config.loss_dtype):
            raise InputError(
                "Device 'mps' has no float64. Pass dtype='float32' and loss_dtype='float32', or another device."
            )
        return wanted

    @classmethod
    def threads_per_step(cls, config: Config) -> int:
        """Number of threads in one update; 1 if more would not be faster. The number changes the rounding of sums."""
        together = len(config.seeds) if cls.in_lockstep else 1
        return usable_cores() if together * flops_per_step(config) > FLOPS_WORTH_THREADS else 1

    @classmethod
    def numerics(cls, config: Config, device: str) -> dict[str, Any]:
        """Torch version, CUDA GPU (else CPU instruction set), number of threads; they decide an update's last bits."""
        hardware = torch.cuda.get_device_name() if device == "cuda" else str(torch.backends.cpu.get_cpu_capability())
        return {"threads_per_step": cls.threads_per_step(config), "hardware": hardware, "torch": version("torch")}

    def _snapshot(self, network: int, parameters: Mapping[str, torch.Tensor]) -> Snapshot:
        outputs, test_outputs = self._on_train[network](parameters), self._on_test[network](parameters)
        metrics = metrics_of(self.config, self._examples[network], outputs, test_outputs)
        return {name: parameters[name].cpu().numpy().copy() for name in self.config.shapes}, metrics

    def close(self) -> None:
        """Restore the numbers of threads of torch and BLAS."""
        self._limits.restore_original_limits()
        torch.set_num_threads(self._threads)


def examples_of(config: Config, data: xr.Dataset, device: str) -> list[Examples]:
    """The examples of each seed, as tensors on a device."""
    n_seeds, dtype = len(config.seeds), getattr(torch, config.dtype)
    read = torch.long if config.model.reads == "tokens" else dtype
    judged = torch.long if config.task.signature.n_classes is not None and not config.task.has_numbers else dtype

    def tensors(name: str, dtype: torch.dtype) -> list[torch.Tensor]:
        values = data[name].values if "seed" in data[name].dims else data[name].values[None]
        by_seed = [torch.from_numpy(np.array(part)).to(device, dtype) for part in values]
        return by_seed if len(by_seed) == n_seeds else by_seed * n_seeds  # seeds may share one test set

    inputs, targets = tensors("train_inputs", read), tensors("train_targets", judged)
    test_inputs, test_targets = tensors("test_inputs", read), tensors("test_targets", judged)
    marks = {name: tensors(f"train_{name}", torch.bool) for name in config.task.marks}
    own_marks = [{name: values[seed] for name, values in marks.items()} for seed in range(n_seeds)]
    masks = unseen_of(data)
    unseen = [None] * n_seeds if masks is None else [torch.from_numpy(mask).to(device) for mask in masks]
    by_seed = zip(inputs, targets, test_inputs, test_targets, own_marks, unseen, strict=True)
    return [Examples(*examples) for examples in by_seed]


def outputs_on(
    model: Model, inputs: torch.Tensor, at_once: int, prepares: bool
) -> Callable[[Mapping[str, torch.Tensor]], torch.Tensor]:
    """Function of the parameters that returns a model's outputs for `inputs`.

    The function uses the model's faster forward pass if `prepares` is true and the model offers one. It computes
    `at_once` inputs at a time, so that intermediate values fit in memory.
    """
    parts: list[Callable[[Mapping[str, torch.Tensor]], torch.Tensor]] = [
        (model.prepared(part) if prepares else None) or partial(model.forward, inputs=part)
        for part in inputs.split(at_once)
    ]
    return parts[0] if len(parts) == 1 else lambda parameters: torch.cat([part(parameters) for part in parts])


@torch.no_grad()
def shrink(parameters: Iterable[torch.Tensor], threshold: float) -> None:
    """The proximal step of an L1 penalty: θ ← sign θ · max(0, |θ| - threshold)."""
    for parameter in parameters:
        parameter.copy_(parameter.sign() * (parameter.abs() - threshold).clamp(min=0))


def state_of(config: Config, trained: Mapping[str, torch.Tensor], optimizer: torch.optim.Optimizer) -> Arrays:
    """An optimizer's state, name -> array; zeros before the first update."""
    state: Arrays = {}
    for name, parameter in trained.items():
        of_parameter = optimizer.state.get(parameter, {})
        for moment in config.optimizer.moments:
            values = of_parameter.get(moment)
            values = torch.zeros_like(parameter) if values is None else values
            state[f"{moment}.{name}"] = values.detach().cpu().numpy().copy()
        if config.optimizer.counts_updates:
            state["step"] = np.asarray(float(of_parameter.get("step", 0.0)), np.float32)
    return state


def restore(
    config: Config, trained: Mapping[str, torch.Tensor], optimizer: torch.optim.Optimizer, state: Arrays
) -> None:
    """Set an optimizer's state to `state`, as `state_of` returns it; an empty state changes nothing."""
    counts_updates = config.optimizer.counts_updates
    for name, parameter in trained.items() if state else ():
        moments = {
            moment: torch.from_numpy(np.array(state[f"{moment}.{name}"])).to(parameter.device)
            for moment in config.optimizer.moments
        }
        count = {"step": torch.tensor(float(state["step"]), dtype=torch.float32)} if counts_updates else {}
        optimizer.state[parameter] = count | moments
