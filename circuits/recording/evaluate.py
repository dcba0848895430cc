"""Losses and accuracies of the caller's modules on given data, computed without a trace in the modules."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
import xarray as xr

from circuits.config import Config
from circuits.errors import InputError
from circuits.models.recorded import read_outputs
from circuits.training.losses import Examples, metrics_of
from circuits.training.paths.torch_stepper import EXAMPLES_AT_ONCE, examples_of

LossFunction = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


class Evaluation:
    """Metrics of one module per seed, on each seed's training and test set.

    `loss` is the caller's own function of (outputs, targets) with the mean as its value; None for the config's loss.
    """

    def __init__(self, config: Config, data: xr.Dataset, loss: LossFunction | None, device: torch.device) -> None:
        self._config, self._loss = config, loss
        self._examples = examples_of(config, data, str(device))

    def metrics(self, modules: Sequence[torch.nn.Module]) -> dict[str, np.ndarray]:
        """Metrics of the current modules by name, (seed,) each."""
        each = [self._of(module, examples) for module, examples in zip(modules, self._examples, strict=True)]
        return {f"metrics/{name}": np.array([one[name] for one in each]) for name in each[0]}

    def _of(self, module: torch.nn.Module, examples: Examples) -> dict[str, float]:
        with at_rest(module):
            outputs = self._outputs(module, examples.inputs)
            check_outputs(self._config, outputs)
            test_outputs = self._outputs(module, examples.test_inputs) if len(examples.test_inputs) else outputs[:0]
            return metrics_of(self._config, examples, outputs, test_outputs, self._loss)

    def _outputs(self, module: torch.nn.Module, inputs: torch.Tensor) -> torch.Tensor:
        shape = getattr(self._config.task, "input_shape", None)
        if inputs.is_floating_point():
            kinds = (values.dtype for values in module.parameters() if values.is_floating_point())
            inputs = inputs.to(next(kinds, inputs.dtype))
        parts = (inputs if shape is None else inputs.reshape(-1, *shape)).split(EXAMPLES_AT_ONCE)
        outputs = torch.cat([read_outputs(module(part)) for part in parts])
        return outputs if outputs.dtype == torch.float64 else outputs.float()


def check_outputs(config: Config, outputs: torch.Tensor) -> None:
    """Raise an `InputError` if the outputs (example,) or (example, output) do not fit the targets of the data.

    Examples
    --------
    >>> import circuits
    >>> check_outputs(circuits.preset("merrill-2023"), torch.zeros(5, 2))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    circuits.errors.InputError: The module has 2 outputs per example, and the targets are ±1, which need 1. ...
    """
    n_outputs = 1 if outputs.ndim == 1 else outputs.shape[1]
    wanted = config.task.signature.n_classes
    has = f"The module has {n_outputs} output{'' if n_outputs == 1 else 's'} per example, and the targets are"
    if config.task.has_numbers:
        if n_outputs != (wanted or 1):
            raise InputError(f"{has} {wanted or 1} numbers each. Pass as many numbers as outputs.")
    elif wanted is None:
        if n_outputs != 1:
            raise InputError(f"{has} ±1, which need 1. Pass classes 0, 1, … as targets.")
    elif outputs.ndim == 1:
        raise InputError(
            f"{has} classes, which need one output each. Pass targets ±1, or a module with {wanted} outputs."
        )
    elif n_outputs < wanted:
        raise InputError(f"{has} classes up to {wanted - 1}, which need {wanted} outputs.")


@contextmanager
def at_rest(module: torch.nn.Module) -> Iterator[None]:
    """The module in evaluation mode, without gradients; its modes and torch's random numbers are restored after."""
    training = [part for part in module.modules() if part.training]
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    module.eval()
    try:
        with torch.no_grad(), torch.random.fork_rng(devices):
            yield
    finally:
        for part in training:
            part.training = True
