"""The config of a recorded run: the caller's module, data, loss and checkpoints, as far as the file can hold them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import nn

from circuits.checkpoints.layout import data_dims
from circuits.config import Config, parse
from circuits.errors import InputError, nearest
from circuits.interfaces import Task
from circuits.models.recorded import Parameter, Recorded
from circuits.recording.evaluate import at_rest
from circuits.recording.layers import layers_of
from circuits.recording.networks import Networks, tensors_of
from circuits.registry import TASKS, lookup
from circuits.tasks.given import loaded, task_of

MOST_DATA = 1 << 30  # bytes that a run file stores
EVERY_STEPS = 100  # between checkpoints, if nothing tells the steps of an epoch
AXES = {nn.Linear: ("out", "in"), nn.Embedding: ("token", "feature")}
PLAIN = (bool, int, float, str, type(None))


@dataclass(frozen=True)
class Described:
    """What does not change while the loop runs; `config` adds how far the loop is planned.

    `data` has the arrays of the run file's /data by name.
    """

    name: str
    task: Task
    model: Recorded
    optimizer: dict[str, Any]
    loss: str
    batch_size: int | None
    seeds: tuple[int, ...]
    dtype: str
    every_steps: int | None
    at_steps: tuple[int, ...]
    data: dict[str, np.ndarray] = field(repr=False)

    def config(self, steps: int, metrics: Iterable[str], extra_steps: Iterable[int] = ()) -> Config:
        """The config of a run of `steps` steps with the caller's `metrics`; `extra_steps` have a checkpoint too."""
        every = self.every_steps
        extra = (step for step in extra_steps if every is None or step % every)
        at_steps = tuple(sorted({step for step in (*self.at_steps, *extra) if 0 < step < steps}))
        return parse(
            {
                "name": self.name, "task": self.task, "model": self.model, "optimizer": self.optimizer,
                "loss": self.loss, "batch_size": self.batch_size, "seeds": self.seeds, "dtype": self.dtype,
                "metrics": tuple(metrics), "epochs": -(-steps // steps_per_epoch(self.task, self.batch_size)),
                "steps": steps or None,
                "checkpoints": {"every_epochs": None, "every_steps": every, "at_steps": at_steps},
            },
            "record",
        )  # fmt: skip

    def dataset(self) -> xr.Dataset:
        """The data with the dimensions that a run gives them."""
        shared = self.task.test_is_shared
        arrays = {name: (data_dims(name, values.ndim, shared), values) for name, values in self.data.items()}
        return xr.Dataset(arrays)


def described(
    name: str,
    model: nn.Module | Sequence[nn.Module],
    optimizer: Any,
    data: Mapping[str, Any] | str | None,
    loss: Any,
    task: Task | Mapping[str, Any] | None,
    every_steps: int | None,
    at_steps: tuple[int, ...],
    batch_size: int | None,
    layers: Any,
    buffers: bool | Iterable[str],
    stateful: Any,
    seeds: tuple[int, ...],
    settings: Mapping[str, Any],
    build: str | None,
    arguments: Mapping[str, Any],
    keep_state: bool,
) -> tuple[Networks, Described]:
    """The caller's networks, and the description of their run; arguments as in `record`."""
    modules = _per_seed(model, len(seeds), "model", nn.Module)
    objects = [
        {**_named(one, "optimizer"), **_named(other, "stateful")}
        for one, other in zip(
            _per_seed(optimizer, len(seeds), "optimizer", object), _per_seed(stateful, len(seeds), "stateful", object),
            strict=True,
        )
    ]  # fmt: skip
    kept_buffers = _buffers(modules[0], buffers)
    kept = [*dict(modules[0].named_parameters()), *kept_buffers]
    _check_tensors(modules, kept)
    networks = Networks(modules, objects, kept, keep_state)
    known = (
        lookup(TASKS, str(task.get("kind")), "task").load().model_validate(dict(task))
        if isinstance(task, Mapping)
        else task
    )
    loader, data = (data, loaded(data)) if isinstance(data, str) else (None, data)
    task, arrays = task_of(data, known, len(seeds), known is not None or _reads_tokens(modules[0], data))
    n_bytes = sum(values.nbytes for values in arrays.values())
    if loader is None and n_bytes > MOST_DATA:
        raise InputError(
            f"The data take {n_bytes >> 20} MiB, more than the {MOST_DATA >> 20} MiB that a run file stores. Pass "
            f"data='package.module:function', a function that returns them; the file then has their digests."
        )
    shape = getattr(task, "input_shape", None)
    sample = None
    if data is not None:
        inputs = arrays["train_inputs"][0]
        sample = torch.from_numpy(np.array(inputs if shape is None else inputs.reshape(-1, *shape)))
        sample = sample.long() if task.signature.d_vocab is not None else sample.float()
    if build is not None and (not isinstance(build, str) or build.count(":") != 1):
        raise InputError(f"build is {build!r}. Pass the import path of the module's class, 'package.module:Class'.")
    tensors = tensors_of(modules[0])
    recorded = Recorded(
        parameters={name: Parameter(dims=dims_of(modules[0], name), shape=tuple(tensors[name].shape)) for name in kept},
        buffers=tuple(kept_buffers), layers=layers_of(modules[0], sample, layers), input_shape=shape,
        tokens=task.signature.d_vocab is not None, build=build, arguments=_plain(arguments, "arguments"),
        settings=_plain(settings, "config"), loader=loader,
    )  # fmt: skip
    if every_steps is None and not at_steps:
        every_steps = EVERY_STEPS if batch_size is None else steps_per_epoch(task, batch_size)
    groups = [
        group for item in objects[0].values() if isinstance(item, torch.optim.Optimizer) for group in item.param_groups
    ]
    classes = [f"{type(item).__module__}.{type(item).__qualname__}" for item in objects[0].values()]
    first = groups[0] if groups else {}
    part = {
        "kind": "recorded", "classes": classes, "lr": float(first.get("lr", 0.0)),
        "weight_decay": float(first.get("weight_decay", 0.0)),
    }  # fmt: skip
    return networks, Described(
        name,
        task,
        recorded,
        part,
        loss_name(loss, task),
        batch_size,
        seeds,
        networks.dtype,
        every_steps,
        at_steps,
        arrays,
    )


def steps_per_epoch(task: Task, batch_size: int | None) -> int:
    """Updates in one pass over the training set; 1 if the batch size is unknown."""
    size = max(1, task.train_size)
    return max(1, -(-size // min(batch_size or size, size)))


def _reads_tokens(module: nn.Module, data: Any) -> bool:
    """Whether the module computes outputs of integer inputs; a `Linear` or convolution takes them as numbers only."""
    try:
        inputs = torch.as_tensor(np.asarray(data["train"][0]))[:2].long()
        device = next(iter(module.parameters())).device
        with at_rest(module):
            module(inputs.to(device))
    except Exception:  # whatever a module of others raises
        return False
    return True


def _per_seed(value: Any, n_seeds: int, what: str, kind: type) -> list[Any]:
    if n_seeds == 1 and (what != "model" or isinstance(value, kind)):
        return [value]
    values = [None] * n_seeds if value is None and what != "model" else value
    if not isinstance(values, Sequence) or len(values) != n_seeds or not all(isinstance(one, kind) for one in values):
        raise InputError(f"{what} must be a list with one for each of the {n_seeds} seeds.")
    return list(values)


def _named(value: Any, what: str) -> dict[str, Any]:
    """Objects with a state by name: one, several in a list or a dictionary, or none."""
    if value is None:
        return {}
    if isinstance(value, Mapping):
        named = dict(value)
    elif isinstance(value, list | tuple):
        named = {f"{what}{at}": item for at, item in enumerate(value)}
    else:
        named = {what: value}
    for name, item in named.items():
        if not (hasattr(item, "load_state_dict") or hasattr(item, "set_state")) or name in ("random", "module"):
            raise InputError(
                f"{what} '{name}' is a {type(item).__name__}, which has no state_dict and load_state_dict."
            )
    return named


def _buffers(module: nn.Module, wanted: bool | Iterable[str]) -> list[str]:
    floating = [name for name, values in module.named_buffers() if values.is_floating_point()]
    if isinstance(wanted, bool):
        return floating if wanted else []
    names = list(wanted)
    for name in names:
        if name not in floating:
            raise InputError(f"The module has no buffer '{name}' of floating-point numbers. {nearest(name, floating)}")
    return names


def _check_tensors(modules: Sequence[nn.Module], kept: Sequence[str]) -> None:
    if not kept:
        raise InputError("The module has no parameters, so there is nothing to record.")
    first = tensors_of(modules[0])
    for name in kept:
        if isinstance(first[name], nn.parameter.UninitializedParameter):
            raise InputError(f"The parameter '{name}' has no shape yet. Run the module once, then record.")
        if not first[name].is_floating_point() or "/" in name or not name.isprintable():
            raise InputError(
                f"The parameter {name!r} is {first[name].dtype}. A run keeps floating-point numbers by names "
                f"without slashes."
            )
    for at, module in enumerate(modules[1:], 1):
        own = tensors_of(module)
        if [*dict(module.named_parameters())] != [*dict(modules[0].named_parameters())] or any(
            own[n].shape != first[n].shape for n in kept
        ):
            raise InputError(
                f"model[{at}] has other parameters than model[0]. The networks of one run have equal shapes."
            )


def _plain(values: Mapping[str, Any], what: str) -> dict[str, Any]:
    """A copy of plain data; raises an `InputError` that names a value of another type."""

    def checked(value: Any, place: str) -> Any:
        if isinstance(value, Mapping):
            return {str(key): checked(one, f"{place}.{key}") for key, one in value.items()}
        if isinstance(value, list | tuple):
            return [checked(one, f"{place}.{at}") for at, one in enumerate(value)]
        if isinstance(value, np.generic):
            value = value.item()
        if not isinstance(value, PLAIN):
            raise InputError(f"{place} is a {type(value).__name__}. Pass numbers, texts, lists and dictionaries.")
        return value

    return {str(key): checked(value, f"{what}.{key}") for key, value in values.items()}


def dims_of(module: nn.Module, name: str) -> tuple[str, ...]:
    """Dimension names of a parameter: those of its module's kind, or its own name with the axis.

    Examples
    --------
    >>> dims_of(nn.Sequential(nn.Linear(3, 2)), "0.weight"), dims_of(nn.Sequential(nn.Linear(3, 2)), "0.bias")
    (('0_out', '0_in'), ('0_out',))
    """
    place, _, leaf = name.rpartition(".")
    part = module.get_submodule(place)
    values = getattr(part, leaf)
    prefix = (place or "module").replace(".", "_")
    axes: tuple[str, ...] = next((axes for kind, axes in AXES.items() if isinstance(part, kind)), ())
    if isinstance(part, nn.Conv1d | nn.Conv2d):
        axes = ("out", "in", "height", "width") if values.ndim == 4 else ("out", "in", "width")
    if leaf == "weight" and len(axes) == values.ndim:
        return tuple(f"{prefix}_{axis}" for axis in axes)
    if leaf == "bias" and axes and values.ndim == 1:
        return (f"{prefix}_out",)
    return tuple(f"{name.replace('.', '_')}_{axis}" for axis in range(values.ndim))


def named_loss(loss: Any) -> Any:
    """The name of a loss of torch with its default settings; any other loss unchanged.

    Examples
    --------
    >>> named_loss(nn.CrossEntropyLoss()), named_loss(torch.nn.functional.mse_loss)
    ('cross_entropy', 'mse')
    """
    if loss is torch.nn.functional.cross_entropy:
        return "cross_entropy"
    if loss is torch.nn.functional.mse_loss or (type(loss) is nn.MSELoss and loss.reduction == "mean"):
        return "mse"
    if type(loss) is nn.CrossEntropyLoss:
        is_plain = loss.weight is None and loss.reduction == "mean" and not loss.label_smoothing
        return "cross_entropy" if is_plain and loss.ignore_index < 0 else loss
    return loss


def loss_name(loss: Any, task: Task) -> str:
    """The config's name for a loss: by default that of the task's targets; "other" for the caller's own function."""
    if loss is None:
        return "mse" if task.has_numbers else "cross_entropy"
    return loss if isinstance(loss, str) else "other"
