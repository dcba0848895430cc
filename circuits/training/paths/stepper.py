"""The base class of training paths. A training path is one implementation of the updates that train networks."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
import xarray as xr

from circuits.config import Config
from circuits.randomness import generator
from circuits.training.rates import Rates
from circuits.training.start import Arrays, Start

Snapshot = tuple[Arrays, dict[str, float]]  # a network's parameters and its metrics, by name
FLOPS_WORTH_THREADS = 1e9  # in one step; below, threads cost more than they save, most when several steps run at once


class Stepper(ABC):
    """Holds and trains the networks of all seeds, in lanes. Each lane has one network, or one lane has all networks."""

    name: ClassVar[str]
    """Name of this implementation of the update, as in `--kernel` and `run.numerics["path"]`."""
    n_lanes: int
    n_threads: int = 0
    """Number of worker threads that train networks; 0 if the thread that runs the training loop trains all networks."""
    preparing: str = ""
    """Text that the progress bar shows until the first update is done; "" shows no text."""

    @abstractmethod
    def __init__(self, config: Config, data: xr.Dataset, start: Start, device: str) -> None: ...

    @classmethod
    @abstractmethod
    def device(cls, config: Config, wanted: str) -> str:
        """The device on which this training path runs if the user asks for `wanted`; "auto" may give "cpu".

        Raise an `InputError` if this machine lacks the device, or the device lacks the precision of the config.
        """

    @classmethod
    @abstractmethod
    def refusal(cls, config: Config, device: str) -> str | None:
        """Reason why this class cannot train a config on a device, without a final period; None if this class can."""

    @classmethod
    def pays(cls, config: Config, device: str) -> bool:
        """Whether this implementation of updates, if it can train the config, is faster than later ones in `PATHS`."""
        return True

    @classmethod
    @abstractmethod
    def numerics(cls, config: Config, device: str) -> dict[str, Any]:
        """All properties of hardware, software and threads that can change the last bits of results with this class."""

    @abstractmethod
    def advance(self, lane: int, epoch: int, start: int, stop: int, rates: Rates) -> None:
        """Take updates `start` to `stop` - 1 of an epoch in a lane, with `rates`. A lane is one network or all."""

    @abstractmethod
    def snapshots(self, lane: int) -> list[Snapshot]:
        """Copies of the parameters and metrics of each network in a lane. A lane is one network or all networks."""

    @abstractmethod
    def optimizer_state(self) -> Arrays:
        """Optimizer state that a resumed run needs: name -> array (seed, …); empty for plain SGD."""

    @abstractmethod
    def close(self) -> None:
        """Restore the thread limits of the process."""


def example_order(seed: int, epoch: int, n_examples: int) -> np.ndarray:
    """The order in which a seed sees its training examples in an epoch of minibatches: (example,) int64.

    Examples
    --------
    >>> sorted(example_order(seed=3, epoch=7, n_examples=4).tolist())
    [0, 1, 2, 3]
    """
    return generator("order", seed, epoch).permutation(n_examples)


def flops_per_step(config: Config) -> float:
    """Approximate floating-point operations of one update of one network."""
    positions = config.task.signature.n_inputs if config.model.reads == "tokens" else 1
    n_parameters = sum(int(np.prod(shape)) for _, shape in config.shapes.values())
    return 6.0 * n_parameters * config.batch * positions


def is_random(config: Config) -> bool:
    """Whether a training step draws random numbers, for input noise or dropout."""
    return config.input_noise > 0 or any(config.model.dropout_at.values())
