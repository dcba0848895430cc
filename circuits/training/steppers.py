"""How a network takes its steps: what every path offers to the loop, and which path serves a config.

A stepper holds the networks of all seeds. It takes updates of one epoch with one of them, and hands out parameters,
metrics and the optimizer's state; when to do which is the business of `trajectory`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import xarray as xr

from circuits.config import Config
from circuits.errors import InputError
from circuits.randomness import generator
from circuits.threads import usable_cores

Arrays = dict[str, np.ndarray]
Snapshot = tuple[Arrays, dict[str, float]]  # a network's parameters and its metrics, by name
KERNELS = ("auto", "fused", "batched", "prepared", "reference")
DEVICES = ("auto", "cpu", "cuda", "mps")
FLOPS_WORTH_THREADS = 1e9  # in one step: below, threads cost more than they save, most of all in company


class Rates(NamedTuple):
    """What updates are taken with: the learning rate, and the weight decay of each network in the lane."""

    lr: float
    weight_decay: tuple[float, ...]


@runtime_checkable
class Stepper(Protocol):
    """The networks of all seeds, in lanes: a lane is one network, or all of them in lockstep."""

    n_lanes: int
    n_threads: int
    """How many threads may advance lanes side by side; 0 where the caller's thread must do it."""
    preparing: str
    """What the first update waits for, to be shown until it is taken; empty if nothing."""

    def advance(self, lane: int, epoch: int, start: int, stop: int, rates: Rates) -> None:
        """Take updates `start` to `stop` of an epoch with the same rates, for one lane."""
        ...

    def snapshots(self, lane: int) -> list[Snapshot]:
        """Of each network in a lane: copies of its parameters, and its metrics as it is now, by name."""
        ...

    def optimizer_state(self) -> Arrays:
        """What must be kept of all networks besides the parameters to go on, (seed, …); empty for plain SGD."""
        ...

    def close(self) -> None:
        """Give back what the process lent."""
        ...


def example_order(seed: int, epoch: int, n_examples: int) -> np.ndarray:
    """The order in which a seed sees its training examples in an epoch of minibatches: (example,) int64.

    Examples
    --------
    >>> sorted(example_order(seed=3, epoch=7, n_examples=4).tolist())
    [0, 1, 2, 3]
    """
    return generator("order", seed, epoch).permutation(n_examples)


def initial_parameters(config: Config) -> Arrays:
    """Parameters of checkpoint 0, each (seed, …), in the config's dtype."""
    networks = [config.model.initial(config.task.signature, seed) for seed in config.seeds]
    scale = config.model.init_scale
    return {name: np.stack([scale * net[name] for net in networks]).astype(config.dtype) for name in config.shapes}


def initial_state(config: Config) -> Arrays:
    """The optimizer's state before any update, each (seed, …): nothing for plain SGD, zeros for the others."""
    n_seeds = len(config.seeds)
    state: Arrays = {
        f"{moment}.{name}": np.zeros((n_seeds, *shape), config.dtype)
        for moment in config.optimizer.moments
        for name, (_, shape) in config.shapes.items()
        if name not in config.model.frozen
    }
    return state | ({"step": np.zeros(n_seeds, np.float32)} if config.optimizer.counts_updates else {})


def threads_per_step(config: Config, path: str) -> int:
    """How many cores one update is spread over: 1 where that would not pay. Part of what the bits depend on."""
    together = len(config.seeds) if path == "batched" else 1
    return usable_cores() if together * flops_per_step(config) > FLOPS_WORTH_THREADS else 1


def flops_per_step(config: Config) -> float:
    """Roughly, of one update of one network."""
    positions = config.task.signature.n_inputs if config.model.reads == "tokens" else 1
    n_parameters = sum(int(np.prod(shape)) for _, shape in config.shapes.values())
    return 6.0 * n_parameters * config.batch * positions


def choose_kernel(config: Config, device: str, kernel: str) -> tuple[str, str]:
    """The path and device that serve a config.

    "fused" where it applies; "batched" for what can train as one, on cuda or in small steps; "prepared" where the model
    has a faster forward pass; else "reference".

    Raises
    ------
    InputError
        An unknown name, a device this machine lacks, or "fused" where it does not apply.
    """
    if device not in DEVICES:
        raise InputError(f"There is no device '{device}'. There are: {', '.join(DEVICES)}.")
    if kernel not in KERNELS:
        raise InputError(f"There is no kernel '{kernel}'. There are: {', '.join(KERNELS)}.")
    fits = _is_fusable(config)
    if kernel == "fused" and not (fits and device in ("auto", "cpu")):
        raise InputError(
            "The fused kernel serves the relu model with hinge loss and SGD on inputs of ±1, on cpu, "
            "with the loss in the precision of the parameters: pass --kernel auto"
        )
    if fits and device in ("auto", "cpu") and kernel in ("auto", "fused"):
        return "fused", "cpu"
    in_lockstep = config.model.lockstep and not is_random(config)
    if kernel == "batched" and not in_lockstep:
        raise InputError(
            f"The networks of this config ('{config.model.kind}', dropout or input noise) cannot train as one: pass "
            f"--kernel auto"
        )
    found = _available(device, "float64" if "float64" in (config.dtype, config.loss_dtype) else config.dtype)
    small = config.model.kind not in ("relu", "linear") and flops_per_step(config) <= FLOPS_WORTH_THREADS
    if kernel == "auto" and in_lockstep and (found != "cpu" or small):  # a large step fills the cores by itself
        return "batched", found
    prepares = config.model.can_prepare and found == "cpu"
    if kernel == "prepared" and not prepares:
        raise InputError(
            f"The model '{config.model.kind}' has no faster forward pass with these settings on {found}: pass "
            f"--kernel auto"
        )
    if kernel == "auto":
        return ("prepared" if prepares else "reference"), found
    return kernel, found


def is_random(config: Config) -> bool:
    """Whether a training step draws anything: input noise or dropout."""
    return config.input_noise > 0 or any(config.model.dropout_at.values())


def _is_fusable(config: Config) -> bool:
    plain = not config.input_noise and not config.optimizer.moments and config.batch_size is not None
    plain = plain and config.loss_dtype in (None, config.dtype)  # the kernel knows one precision
    kinds = (config.model.kind, config.loss, config.optimizer.kind)
    return plain and kinds == ("relu", "hinge", "sgd") and config.task.inputs_are_signs


def _available(device: str, dtype: str) -> str:
    if device == "cpu":
        return device
    import torch

    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if device == "auto":
        return "cuda" if there["cuda"] else "cpu"
    if not there[device]:
        has = ", ".join(name for name, present in there.items() if present)
        raise InputError(f"This machine's torch has no device '{device}'. It has: {has}.")
    if device == "mps" and dtype == "float64":
        raise InputError("Device 'mps' has no float64. Pass --dtype and --loss-dtype float32, or another device.")
    return device


def make_stepper(
    config: Config,
    data: xr.Dataset,
    parameters: Mapping[str, np.ndarray],
    state: Mapping[str, np.ndarray],
    path: str,
    device: str,
) -> Stepper:
    """The stepper of a path, starting from `parameters` and an optimizer `state` (empty at the beginning)."""
    if path == "fused":
        from circuits.training.fused import FusedRelu

        return FusedRelu(config, data, parameters)
    if path == "batched":
        from circuits.training.batched import Batched

        return Batched(config, data, parameters, state, device)
    from circuits.training.reference import Reference

    return Reference(config, data, parameters, state, device, prepares=path == "prepared")


def numerics(config: Config, path: str, device: str) -> dict[str, Any]:
    """What the bits of a run depend on besides its config: libraries, processor, arithmetic, threads inside a step."""
    if path == "fused":
        from circuits.training.fused import numerics

        return {"path": path, "device": device, **numerics()}
    from circuits.training.reference import numerics as numerics_of_torch

    return {"path": path, "device": device, **numerics_of_torch(config, path, device)}
