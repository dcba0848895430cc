"""What a run is: a validated, frozen, JSON-serialisable description, from which the run follows bit for bit.

A config names a task, a model and an optimizer by their `kind`; the registry says which class describes that kind.
`Task` and `Model` are the interfaces such a class fills. Only pydantic is imported here, so that reading a config, or
printing a command's help, costs no torch and no numpy.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, SerializeAsAny, ValidationError, field_validator, model_validator

from circuits.errors import InputError, nearest
from circuits.registry import METRICS, MODELS, OPTIMIZERS, TASKS, lookup

if TYPE_CHECKING:
    import numpy as np
    import torch

Shapes = dict[str, tuple[tuple[str, ...], tuple[int, ...]]]  # parameter -> (its dimensions' names, its shape)

PositiveInt = Annotated[int, Field(ge=1)]
NonNegativeInt = Annotated[int, Field(ge=0)]
NonNegativeFloat = Annotated[float, Field(ge=0)]
PositiveFloat = Annotated[float, Field(gt=0)]


class Part(BaseModel):
    """Base of every piece of a config: unknown fields are refused, and nothing changes after validation."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)


class Task(Part, ABC):
    """What is learned: the inputs, their targets, and how they are split.

    `train_data` and `test_data` give arrays by name: `inputs` (example, input), `targets` (example,), and any further
    mark per example. All of them are stored in the run.
    """

    inputs_are_signs: ClassVar[bool] = False
    """Whether every input is -1 or 1, and every target: the fused step adds up signs."""
    kind: str
    n_train: PositiveInt

    @property
    @abstractmethod
    def n_inputs(self) -> int:
        """Length of one input."""

    @abstractmethod
    def train_data(self, seed: int) -> dict[str, np.ndarray]:
        """The training set of one seed."""

    @abstractmethod
    def test_data(self) -> dict[str, np.ndarray]:
        """The test set, one for all seeds."""


class Model(Part, ABC):
    """What learns: its parameters' shapes, their initial values, and the torch module made of them."""

    kind: str
    hidden_layer: ClassVar[tuple[str, str, str] | None] = None
    """Names of W, b, u if the model has a layer that can be pruned; the model is then exactly uᵀ relu(W x + b)."""

    @abstractmethod
    def shapes(self, n_inputs: int) -> Shapes:
        """Dimensions and shape of every parameter."""

    @abstractmethod
    def initial(self, n_inputs: int, seed: int) -> dict[str, np.ndarray]:
        """Parameters before any update, in float64."""

    @abstractmethod
    def forward(self, parameters: Mapping[str, torch.Tensor], inputs: torch.Tensor) -> torch.Tensor:
        """Outputs (example,) for inputs (example, input)."""

    def module(self, parameters: Mapping[str, np.ndarray]) -> torch.nn.Module:
        """A torch module that holds these parameters under their names."""
        from circuits.models.network import Network

        return Network(self, parameters)


class Optimizer(Part):
    """How parameters are updated."""

    moments: ClassVar[tuple[str, ...]] = ()
    """Running means that it keeps of every parameter, by torch's names; none: every checkpoint can be gone on from."""
    kind: str
    lr: PositiveFloat
    weight_decay: NonNegativeFloat
    l1: NonNegativeFloat = 0.0
    """Coefficient of Σ|θ|, applied after each update as a proximal step: weights that it takes to 0 are exactly 0."""


class SGD(Optimizer):
    """Stochastic gradient descent with L2 weight decay on all parameters, as `torch.optim.SGD` applies it."""

    kind: Literal["sgd"] = "sgd"
    lr: PositiveFloat = 0.1
    """Learning rate."""
    weight_decay: NonNegativeFloat = 0.01
    """L2 coefficient λ, added to the gradient as λθ."""


class AdamW(Optimizer):
    """Adam with decoupled weight decay, as `torch.optim.AdamW` applies it (Loshchilov and Hutter 2019)."""

    moments: ClassVar[tuple[str, ...]] = ("exp_avg", "exp_avg_sq")
    kind: Literal["adamw"] = "adamw"
    lr: PositiveFloat = 0.001
    """Learning rate."""
    weight_decay: NonNegativeFloat = 0.01
    """Decoupled coefficient λ: θ is multiplied by 1 - lr λ at every update."""
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (0.9, 0.999)
    """Decay of the running means of the gradient and of its square."""
    eps: PositiveFloat = 1e-8
    """Added to the denominator."""


class Checkpoints(Part):
    """When the parameters are kept. The initialisation and the last step always are."""

    every_epochs: PositiveInt | None = 1
    """A checkpoint every so many epochs."""
    every_steps: PositiveInt | None = None
    """A checkpoint every so many optimizer updates; instead of, or on top of, every_epochs."""
    at_steps: tuple[NonNegativeInt, ...] = ()
    """Further optimizer steps at which to keep one."""
    from_step: NonNegativeInt = 0
    """Keep none before this step; more than 0 only in a replay of another run."""
    to_step: NonNegativeInt | None = None
    """Stop after this step, before the last epoch is over."""
    optimizer_state_every: PositiveInt | None = None
    """Keep the optimizer's state at every so many checkpoints, for `circuits replay`; SGD has none and needs none."""


class Config(Part):
    """One run: what is learned, by what, how, for how long, and what is kept."""

    name: str = "run"
    """Name of the preset this came from, or your own."""
    source: str = ""
    """The paper and section that this reproduces."""
    task: SerializeAsAny[Task]
    model: SerializeAsAny[Model]
    optimizer: SerializeAsAny[Optimizer] = SGD()
    loss: Literal["hinge"] = "hinge"
    """hinge: mean of max(0, 1 - f(x) y) over the batch."""
    batch_size: PositiveInt = 32
    """Examples per update; the last partial batch of an epoch is kept."""
    epochs: NonNegativeInt = 300
    """Passes over the training set."""
    seeds: Annotated[tuple[NonNegativeInt, ...], Field(min_length=1)] = (0, 1, 2, 3, 4)
    """Each seed has its own training set, initialisation and order; the test set is shared."""
    checkpoints: Checkpoints = Checkpoints()
    metrics: tuple[str, ...] = ()
    """Measured at every checkpoint besides losses and accuracies: effective_sparsity, zero_weights, small_weights."""
    dtype: Literal["float32", "float64"] = "float32"
    """Precision of the parameters and of the arithmetic."""

    @field_validator("task", mode="before")
    @classmethod
    def _task_of_its_kind(cls, value: Any) -> Any:
        return _of_its_kind(value, TASKS, "task")

    @field_validator("model", mode="before")
    @classmethod
    def _model_of_its_kind(cls, value: Any) -> Any:
        return _of_its_kind(value, MODELS, "model")

    @field_validator("optimizer", mode="before")
    @classmethod
    def _optimizer_of_its_kind(cls, value: Any) -> Any:
        return _of_its_kind(value, OPTIMIZERS, "optimizer")

    @model_validator(mode="after")
    def _metrics_apply(self) -> Config:
        for name in self.metrics:
            needs = lookup(METRICS, name, "metric").needs
            if needs is not None and getattr(self.model, needs) is None:
                raise ValueError(f"metric '{name}' needs a model with {needs}, which '{self.model.kind}' has not")
        if len(set(self.metrics)) != len(self.metrics):
            raise ValueError(f"metrics {list(self.metrics)} names one twice; give each once")
        return self

    @model_validator(mode="after")
    def _consistent(self) -> Config:
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"seeds {list(self.seeds)} names one twice; give each once")
        beyond = [step for step in self.checkpoints.at_steps if step > self.total_steps]
        if beyond:
            raise ValueError(f"checkpoints.at_steps has {beyond[0]}, but the run ends at step {self.total_steps}")
        if self.checkpoints.from_step > self.total_steps:
            raise ValueError(
                f"checkpoints.from_step is {self.checkpoints.from_step}, but the run ends at step {self.total_steps}"
            )
        return self

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer updates in one pass over the training set."""
        return -(-self.task.n_train // self.batch_size)

    @property
    def total_steps(self) -> int:
        """Optimizer updates in the whole run."""
        planned = self.epochs * self.steps_per_epoch
        return planned if self.checkpoints.to_step is None else min(planned, self.checkpoints.to_step)

    @property
    def shapes(self) -> Shapes:
        """Dimensions and shape of every parameter of one network."""
        return self.model.shapes(self.task.n_inputs)

    def checkpoint_steps(self) -> list[int]:
        """Every step at which a checkpoint is kept, ascending; the first is 0, the initialisation, but in a replay.

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
        """A copy with some fields changed, validated; dots reach inside, written as double underscores.

        Examples
        --------
        >>> import circuits
        >>> circuits.preset("merrill-2023").replace(epochs=2, task__k=4).task.k
        4
        """
        data = self.model_dump(mode="json")
        for key, value in changes.items():
            assign(data, key.replace("__", "."), value)
        return parse(data)

    def to_json(self) -> str:
        """JSON that `circuits train --config` accepts; reading it back gives an equal config."""
        return self.model_dump_json(indent=2)


def _of_its_kind(value: Any, table: Mapping[str, Any], what: str) -> Any:
    if not isinstance(value, Mapping):
        return value
    if not isinstance(value.get("kind"), str):
        raise InputError(f"{what} needs a 'kind'. There are: {', '.join(sorted(table))}.")
    return lookup(table, value["kind"], what).load().model_validate(dict(value))


def parse(data: Any) -> Config:
    """A config from plain data, or an `InputError` of one line that names the field.

    Examples
    --------
    >>> parse({"task": {"kind": "parity", "n": 40, "k": 50}, "model": {"kind": "relu"}})
    Traceback (most recent call last):
    circuits.errors.InputError: config: task: k = 50 relevant bits do not fit in n = 40 inputs
    """
    try:
        return Config.model_validate(data)
    except ValidationError as error:
        raise InputError(f"config: {one_line(error, data)}") from None


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
    try:
        return parse(data)
    except InputError as error:
        raise InputError(f"{path}: {str(error).removeprefix('config: ')}") from None


def assign(data: dict[str, Any], key: str, value: Any) -> None:
    """Set `data["a"]["b"] = value` for the key "a.b"; a new kind drops the fields of the old one.

    Examples
    --------
    >>> data = {"model": {"kind": "relu", "width": 10}}
    >>> assign(data, "model.kind", "linear")
    >>> data
    {'model': {'kind': 'linear'}}
    """
    *parents, leaf = key.split(".")
    place = data
    for parent in parents:
        if not isinstance(place.get(parent), dict):
            raise InputError(f"There is no '{key}' in the config. {nearest(parent, place)}")
        place = place[parent]
    if leaf == "kind" and place.get("kind") != value:
        place.clear()
    place[leaf] = value


_WORDING = {
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "string_type": "must be text",
    "tuple_type": "must be a list",
    "model_type": "must be an object with its fields",
    "literal_error": "must be one of {expected}",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "too_short": "needs at least {min_length}",
}


def _fields_beside(data: Any, place: tuple[int | str, ...]) -> list[str]:
    """Names of the fields that the part of a config has in which `place` lies."""
    part: Any = Config
    tables = {"task": TASKS, "model": MODELS, "optimizer": OPTIMIZERS}
    for name in place[:-1]:
        data = data.get(name) if isinstance(data, Mapping) else None
        if name in tables and isinstance(data, Mapping):
            part = lookup(tables[str(name)], data["kind"], str(name)).load()
        else:
            part = part.model_fields[name].annotation
    return list(part.model_fields)


def one_line(error: ValidationError, data: Any = None) -> str:
    """The first problem that pydantic found in `data`, in one line: field, what is wrong, what was given."""
    first = error.errors(include_url=False)[0]
    field = ".".join(str(part) for part in first["loc"] if not str(part).startswith("function-"))
    given = first.get("input")
    if first["type"] == "extra_forbidden":
        hint = f". {nearest(str(first['loc'][-1]), _fields_beside(data, first['loc']))}" if data else ""
        return f"there is no field '{field}'{hint}"
    if first["type"] == "missing":
        return f"'{field}' is missing"
    text = first["msg"].removeprefix("Value error, ")
    if first["type"] in _WORDING:
        text = _WORDING[first["type"]].format(**first.get("ctx", {}))
    shown = f" (given: {given!r})" if isinstance(given, str | int | float | bool | type(None)) else ""
    more = len(error.errors()) - 1
    line = f"{field + ': ' if field else ''}{text[0].lower() + text[1:]}{shown}"
    return f"{line.rstrip('.')}; and {more} more" if more else line
