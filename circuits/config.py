"""The config of a run: validated, frozen, JSON-serializable. It determines the run bit for bit.

A config names a task, a model and an optimizer by their `kind`. `registry.py` lists the class of each kind, and
`interfaces.py` declares what these classes implement. Only pydantic is imported here, so that reading a config, or
printing a command's help, loads neither torch nor numpy.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, SerializeAsAny, ValidationError, field_validator, model_validator

from circuits.config_base import NonNegativeFloat, NonNegativeInt, Part, PositiveInt
from circuits.errors import InputError, nearest
from circuits.field_errors import problem
from circuits.interfaces import Model, PrunableLayer, Shapes, Task
from circuits.optimizers import SGD, Optimizer
from circuits.registry import METRICS, MODELS, OPTIMIZERS, TASKS, lookup
from circuits.schedules import Checkpoints, Stop, WeightDecayChange

PARTS = {"task": TASKS, "model": MODELS, "optimizer": OPTIMIZERS}  # fields whose class follows from their kind
LONGEST_NAME = 200  # bytes; file systems take 255, and endings are added
MAX_CHECKPOINTS = 20_000_000  # of one config; to list this many takes a second
MAX_PARAMETERS = 1 << 28  # numbers in one network; an HDF5 chunk holds at most 4 GiB
MAX_INPUTS = 1 << 30  # values in the inputs of one seed, training and test examples together


class Config(Part):
    """Config of one run: its task, model, optimizer, loss, duration, and the values to store.

    `task`, `model` and `optimizer` are objects, dictionaries with a `kind`, or a kind alone. The default task and model
    are those of the command line. A field that is a list takes a single item too, such as `seeds=0`. A wrong field
    raises an `InputError` of one line.

    Examples
    --------
    >>> Config(task={"kind": "parity", "k": 2}, epochs=10).model.kind
    'relu'
    >>> Config(epoch=10)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    circuits.errors.InputError: config: there is no field 'epoch'. Did you mean 'epochs'? There are: ...
    """

    name: str = "run"
    """Name of the run and, by default, of the run file; a preset sets its own name. A slash separates folders."""
    source: str = ""
    """The paper and section that this run reproduces."""
    task: SerializeAsAny[Task]
    model: SerializeAsAny[Model]
    optimizer: SerializeAsAny[Optimizer] = SGD()
    loss: Literal["hinge", "cross_entropy", "mse", "other"] = "hinge"
    """hinge: max(0, 1 - output · y), targets y = ±1; cross_entropy and mse: for ±1 or classes. Mean over the batch.
    other: a function of a recorded training loop."""
    loss_dtype: Literal["float32", "float64"] | None = None
    """Precision of the loss; by default the precision of the parameters."""
    batch_size: PositiveInt | None = 32
    """Examples per update; the last batch of an epoch may have fewer. None: all examples, in the stored order."""
    input_noise: NonNegativeFloat = 0.0
    """Standard deviation of Gaussian noise on the inputs, or on their embeddings, in training only."""
    epochs: NonNegativeInt = 300
    """Passes over the training set."""
    steps: PositiveInt | None = None
    """Stop after this many updates, if the last epoch has not ended before."""
    stop: Stop | None = None
    """Stop once every seed has kept a high test accuracy long enough: {"test_accuracy": 0.99, "checkpoints": 5}."""
    weight_decay_changes: tuple[WeightDecayChange, ...] = ()
    """A change {"train_accuracy": 0.98, "value": 0.1} sets the weight decay to 0.1 at a training accuracy of 0.98. Of
    all changes whose time has come, the last in the list applies."""
    seeds: Annotated[tuple[NonNegativeInt, ...], Field(min_length=1)] = (0, 1, 2, 3, 4)
    """Each seed has its own training set, initialization and order of examples; in some tasks also its own test set."""
    checkpoints: Checkpoints = Checkpoints()
    metrics: tuple[str, ...] = ()
    """Metrics stored at every checkpoint in addition to losses and accuracies: effective_sparsity, parameter_norm,
    zero_weights, small_weights."""
    dtype: Literal["float32", "float64"] = "float32"
    """Precision of the parameters and of the arithmetic."""

    def __init__(self, **fields: Any) -> None:
        first = {part: {"kind": next(iter(PARTS[part]))} for part in ("task", "model") if part not in fields}
        try:
            super().__init__(**first, **fields)
        except ValidationError as error:
            raise InputError(f"config: {one_line(error, fields)}") from None

    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]  # model_validate raises pydantic's own errors

    @field_validator("name", "source")
    @classmethod
    def _prints(cls, value: str) -> str:
        if any("\ud800" <= letter <= "\udfff" for letter in value):
            raise ValueError("the current locale cannot read some letters. Set a UTF-8 locale, such as LC_ALL=C.UTF-8")
        if not value.isprintable():
            raise ValueError("must not contain control characters")
        return value

    @field_validator("name")
    @classmethod
    def _names_a_file(cls, value: str) -> str:
        parts = value.split("/")
        if any(part in ("", ".", "..") for part in parts):
            raise ValueError("must be a relative path: names separated by single slashes, none of them '.' or '..'")
        if any(len(part.encode()) > LONGEST_NAME for part in parts):
            raise ValueError(f"each part of the name, split at slashes, must have at most {LONGEST_NAME} bytes")
        return value

    @field_validator(*PARTS, mode="before")
    @classmethod
    def _of_its_kind(cls, value: Any, info: Any) -> Any:  # pydantic.ValidationInfo, which isinstance cannot check
        if isinstance(value, str):  # a kind alone, with the defaults of its fields
            value = {"kind": value}
        if not isinstance(value, Mapping):
            return value
        part = str(info.field_name)
        if not isinstance(value.get("kind"), str):
            raise InputError(f"{part} needs a 'kind'. There are: {', '.join(sorted(PARTS[part]))}.")
        return lookup(PARTS[part], value["kind"], part).load().model_validate(dict(value))

    @model_validator(mode="after")
    def _parts_fit(self) -> Config:
        task, model, signature = self.task.kind, self.model.kind, self.task.signature
        if self.model.reads_anything:
            return self
        given = "numbers" if signature.d_vocab is None else "tokens"
        if given != self.model.reads:
            raise ValueError(f"the task '{task}' gives {given}, but the model '{model}' reads {self.model.reads}")
        if signature.n_classes is not None and not self.model.gives_classes:
            raise ValueError(f"the task '{task}' has {signature.n_classes} classes, but model '{model}' has one output")
        if self.loss == "other" and not self.model.is_recorded:
            raise ValueError("loss 'other' belongs to a recorded training loop: use hinge, cross_entropy or mse")
        if self.task.has_numbers and self.loss in ("hinge", "cross_entropy"):
            raise ValueError(f"loss '{self.loss}' needs signs or classes, but task '{task}' has numbers: use mse")
        if signature.n_classes is not None and self.loss == "hinge":
            raise ValueError(f"loss 'hinge' needs targets ±1, but task '{task}' has classes: use cross_entropy or mse")
        return self

    @model_validator(mode="after")
    def _metrics_apply(self) -> Config:
        for name in () if self.model.is_recorded else self.metrics:
            if lookup(METRICS, name, "metric").needs_prunable_layer and not self.prunable_layers:
                raise ValueError(f"metric '{name}' needs a prunable layer; the model '{self.model.kind}' has none")
        if len(set(self.metrics)) != len(self.metrics):
            raise ValueError(f"metrics {list(self.metrics)} repeats a metric; list each metric once")
        return self

    @model_validator(mode="after")
    def _consistent(self) -> Config:
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"seeds {list(self.seeds)} repeats a seed; list each seed once")
        self.task.check_seeds(self.seeds)
        if (planned := self.most_checkpoints) > MAX_CHECKPOINTS:
            raise ValueError(
                f"the config plans up to {planned:,} checkpoints, more than {MAX_CHECKPOINTS:,}. Lower epochs, or "
                f"raise checkpoints.every_epochs or checkpoints.every_steps"
            )
        n_parameters = sum(prod(shape) for _, shape in self.shapes.values())
        if n_parameters > MAX_PARAMETERS:
            raise ValueError(
                f"a network of {n_parameters:,} parameters exceeds the limit {MAX_PARAMETERS:,}: use a smaller one"
            )
        n_values = (self.task.train_size + self.task.test_size) * self.task.signature.n_inputs
        if n_values > MAX_INPUTS:
            raise ValueError(
                f"the inputs of one seed have {n_values:,} values, more than {MAX_INPUTS:,}: use fewer examples"
            )
        beyond = [step for step in self.checkpoints.at_steps if step > self.total_steps]
        if beyond:
            raise ValueError(f"checkpoints.at_steps has {beyond[0]}, but the run ends at step {self.total_steps}")
        if self.checkpoints.from_step > self.total_steps:
            raise ValueError(
                f"checkpoints.from_step is {self.checkpoints.from_step}, but the run ends at step {self.total_steps}"
            )
        return self

    @property
    def batch(self) -> int:
        """Examples per update, at most the size of the training set."""
        size = max(1, self.task.train_size)
        return size if self.batch_size is None else min(self.batch_size, size)

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer updates in one pass over the training set."""
        return max(1, -(-self.task.train_size // self.batch))

    @property
    def total_steps(self) -> int:
        """Optimizer updates in the whole run."""
        end = self.checkpoints.to_step
        return self.planned_steps if end is None else min(self.planned_steps, end)

    @property
    def most_checkpoints(self) -> int:
        """Upper bound on the number of checkpoints, computed without listing them.

        Examples
        --------
        >>> import circuits
        >>> circuits.preset("merrill-2023").most_checkpoints
        303
        """
        kept = self.checkpoints
        by_epoch = 0 if kept.every_epochs is None else self.epochs // kept.every_epochs + 1
        by_step = 0 if kept.every_steps is None else self.total_steps // kept.every_steps + 1
        return 2 + len(kept.at_steps) + by_epoch + by_step

    @property
    def planned_steps(self) -> int:
        """Optimizer updates over which the learning rate is scheduled; a replay may end earlier."""
        planned = self.epochs * self.steps_per_epoch
        return planned if self.steps is None else min(planned, self.steps)

    @property
    def shapes(self) -> Shapes:
        """Dimension names and shape of every parameter of one network."""
        return self.model.shapes(self.task.signature)

    @property
    def prunable_layers(self) -> dict[str, PrunableLayer]:
        """Layers that can be pruned, from first to last; each key is the hook point of the layer's neurons."""
        return self.model.prunable_layers(self.task.signature)

    @property
    def hidden_layers(self) -> dict[str, PrunableLayer]:
        """Former name of `prunable_layers`."""
        warnings.warn("Config.hidden_layers is now prunable_layers, and goes in the next version", FutureWarning, 2)
        return self.prunable_layers

    def checkpoint_steps(self) -> list[int]:
        """Optimizer steps with a checkpoint, in ascending order; by default from step 0, the initialization.

        Examples
        --------
        >>> import circuits
        >>> circuits.preset("merrill-2023").checkpoint_steps()[:4]
        [0, 32, 64, 96]
        """
        first = self.checkpoints.from_step
        kept = {first, self.total_steps, *self.checkpoints.at_steps}
        if self.checkpoints.every_epochs is not None:
            kept.update(range(0, self.total_steps + 1, self.checkpoints.every_epochs * self.steps_per_epoch))
        if self.checkpoints.every_steps is not None:
            kept.update(range(first, self.total_steps + 1, self.checkpoints.every_steps))
        return sorted(step for step in kept if step >= first)

    def replace(self, **changes: Any) -> Config:
        """A validated copy with some fields changed; `task__k` is the field `k` of the task.

        Examples
        --------
        >>> import circuits
        >>> circuits.preset("merrill-2023").replace(epochs=2, task__k=4).task.k
        4
        """
        data = self.model_dump(mode="json")
        for part in PARTS:  # an object may hold more than its fields, such as arrays
            if not any(key.partition("__")[0] == part for key in changes):
                data[part] = getattr(self, part)
        for key, value in changes.items():
            assign(data, key.replace("__", "."), value)
        return parse(data)

    def resume_hint(self, path: str | Path) -> str:
        """What continues the run in the file `path`: a command, or a call in the caller's own training loop."""
        if self.model.is_recorded:
            return f"circuits.record({str(path)!r}, …, resume=True) in its training loop"
        return f"circuits train --resume --out {path}"

    def with_module(self, module: Any) -> Config:
        """A copy whose outputs the torch module computes, for the config of a recorded run."""
        if not self.model.is_recorded:
            raise InputError(f"The model '{self.model.kind}' computes its own outputs, so it takes no module.")
        return self.model_copy(update={"model": self.model.supplied(module)})

    def to_json(self) -> str:
        """JSON that `circuits train --config` accepts; reading it back gives an equal config."""
        return self.model_dump_json(indent=2)


def default_part(name: str, kind: Any) -> dict[str, Any]:
    """The default fields of a kind of task, model or optimizer, as plain data.

    Examples
    --------
    >>> default_part("model", "linear")
    {'kind': 'linear', 'init_scale': 1.0}
    """
    part: Part = lookup(PARTS[name], str(kind), name).load()()
    return part.model_dump(mode="json")


def parse(data: Any, where: str | Path = "config") -> Config:
    """Config from plain data such as parsed JSON; a one-line `InputError` names the source `where` and the wrong field.

    Examples
    --------
    >>> parse({"task": {"kind": "parity", "n": 40, "k": 50}, "model": {"kind": "relu"}})
    Traceback (most recent call last):
    circuits.errors.InputError: config: task: k = 50 relevant bits do not fit in n = 40 inputs
    """
    for part in ("task", "model") if isinstance(data, Mapping) else ():
        if part not in data:
            raise InputError(f"{where}: '{part}' is missing" if where else f"'{part}' is missing")
    try:
        return Config.model_validate(data)
    except ValidationError as error:
        line = one_line(error, data).removeprefix("config: ")
        raise InputError(f"{where}: {line}" if where else line) from None


def read_config(path: str | Path) -> Config:
    """The config in a JSON file, as `circuits presets NAME` prints it."""
    import json

    try:
        data = json.loads(Path(path).read_text())
    except OSError as error:
        raise InputError(
            f"{path}: {error.strerror or error}. Pass a JSON file, as `circuits presets NAME` prints it."
        ) from None
    except ValueError as error:
        raise InputError(f"{path} is not JSON: {error}.") from None
    except RecursionError:
        raise InputError(f"{path} is nested too deeply for a config.") from None
    return parse(data, path)


def assign(data: dict[str, Any], key: str, value: Any) -> None:
    """Set `data["a"]["b"] = value` for the key "a.b"; a new "a.kind" first removes all fields of "a".

    Examples
    --------
    >>> data = {"model": {"kind": "relu", "width": 10}}
    >>> assign(data, "model.kind", "linear")
    >>> data
    {'model': {'kind': 'linear'}}
    """
    *parents, leaf = key.split(".")
    place = data
    if key in PARTS and isinstance(value, str):  # a kind alone
        value = {"kind": value}
    for parent in parents:
        if not isinstance(place.get(parent), dict):
            raise InputError(f"There is no '{key}' in the config. {nearest(parent, place)}")
        place = place[parent]
    if leaf == "kind" and place.get("kind") != value:
        place.clear()
    place[leaf] = value


def _fields_beside(data: Any, place: tuple[int | str, ...]) -> list[str]:
    """Names of all fields in the part of a config that contains the field at `place`."""
    part: Any = Config
    for name in place[:-1]:
        if isinstance(name, int):
            continue  # the index of one of several parts
        data = data.get(name) if isinstance(data, Mapping) else None
        if name in PARTS and isinstance(data, Mapping):
            part = lookup(PARTS[name], data["kind"], name).load()
        else:
            part = _part_in(part.model_fields[name].annotation)
    return list(part.model_fields)


def _part_in(annotation: Any) -> Any:
    """The `Part` class in a type such as `Stop | None` or `tuple[WeightDecayChange, ...]`; None if it has none."""
    if isinstance(annotation, type) and issubclass(annotation, Part):
        return annotation
    return next((part for inner in get_args(annotation) if (part := _part_in(inner)) is not None), None)


def one_line(error: ValidationError, data: Any = None) -> str:
    """Pydantic's first error about `data` in one line: the field, the problem and the given value."""
    first = error.errors(include_url=False)[0]
    field = ".".join(str(part) for part in first["loc"] if not str(part).startswith("function-"))
    given = first.get("input")
    if first["type"] == "extra_forbidden":
        hint = f". {nearest(str(first['loc'][-1]), _fields_beside(data, first['loc']))}" if data else ""
        return f"there is no field '{field}'{hint}"
    if first["type"] == "missing":
        return f"'{field}' is missing"
    text = problem(first)
    is_plain = isinstance(given, str | int | float | bool | type(None)) and f"'{given}'" not in text
    shown = f" (given: {given!r})" if is_plain else ""
    more = len(error.errors()) - 1
    line = f"{field + ': ' if field else ''}{text[0].lower() + text[1:]}{shown}"
    return f"{line.rstrip('.')}; and {more} more" if more else line
