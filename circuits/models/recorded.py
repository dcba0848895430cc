"""A user's own torch module as a model: the shapes of its parameters, its layers, and how to build it again.

The stored config names no code that runs by itself. `build` is the import path of a class, such as "my_nets:MLP". The
class is imported when outputs are first needed, and only a subclass of `torch.nn.Module` is called. Or the caller
supplies the module: `circuits.open("run.h5", model=MyNet())`.

A layer is the output of a submodule. Its units are the last axis, or the channels of an image. `value` names the
submodule whose output or input has the units' values: for `fc2(relu(fc1(x)))` the layer "fc1" has its values at the
input of "fc2".
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from math import prod
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import Field, PrivateAttr

from circuits.config_base import NonNegativeInt, Part, PositiveInt
from circuits.errors import InputError
from circuits.interfaces import Model, PrunableLayer, Shapes, Signature, Tap, untouched
from circuits.registry import load

if TYPE_CHECKING:
    import torch


class LayerOf(Part):
    """A layer whose units can be pruned, and the parameters of the linear maps into it and out of it."""

    width: PositiveInt
    """Number of units: neurons, or channels."""
    value: str
    """Submodule at which the units' values are."""
    at: Literal["output", "input"] = "output"
    """Whether the values are the output of the submodule `value` or its input."""
    channels: bool = False
    """Whether the units are axis 1 (the channels of an image), not the last axis."""
    heads: bool = False
    """Whether the units are attention heads: equal parts of the last axis."""
    incoming: tuple[str, ...] = ()
    """Parameters of the linear map into the units: its weight, and its bias if it has one; of heads, those of several
    maps. Empty if it is unknown."""
    readout: str | None = None
    """Weight of the linear map from the units to the outputs; None if the outputs are not linear in the units."""


class Parameter(Part):
    """Dimensions of one parameter."""

    dims: tuple[str, ...]
    shape: tuple[NonNegativeInt, ...]


class Recorded(Model):
    """A module that the caller trained and `circuits.record` recorded."""

    lockstep: ClassVar[bool] = False
    is_recorded: ClassVar[bool] = True
    reads_anything: ClassVar[bool] = True
    kind: Literal["recorded"] = "recorded"
    parameters: dict[str, Parameter] = Field(default_factory=dict)
    """Every parameter, and every buffer that was asked for."""
    buffers: tuple[str, ...] = ()
    """Names in `parameters` that are buffers."""
    layers: dict[str, LayerOf] = Field(default_factory=dict)
    """Layers that can be pruned, by the submodule that the caller named."""
    input_shape: tuple[PositiveInt, ...] | None = None
    """Shape of one input, if it has several axes."""
    tokens: bool = False
    """Whether inputs are integers."""
    build: str | None = None
    """Import path of the module's class, `package.module:Class`."""
    arguments: dict[str, Any] = Field(default_factory=dict)
    """Keyword arguments of the class."""
    loader: str | None = None
    """Import path of a function that returns the data; the file then holds only their digests."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """The caller's own settings, as given to `circuits.record(config=…)`."""
    _module: Any = PrivateAttr(None)
    _copies: Any = PrivateAttr(None)

    @property
    def frozen(self) -> tuple[str, ...]:
        """The buffers, which no gradient changes."""
        return self.buffers

    @property
    def reads(self) -> Literal["numbers", "tokens"]:  # type: ignore[override]
        """Whether the module's inputs are numbers or tokens."""
        return "tokens" if self.tokens else "numbers"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Recorded) and self.model_dump() == other.model_dump()

    def __hash__(self) -> int:
        return hash(self.model_dump_json())

    @property
    def no_outputs(self) -> str | None:
        """None if the module is supplied or can be built; otherwise how to supply it."""
        if self._module is not None or self.build is not None:
            return None
        return (
            "The run does not say how to build its module, so its outputs cannot be computed. Pass the module: "
            "circuits.open(path, model=MyNet()), or record with build='my_package.my_module:MyNet'."
        )

    def supplied(self, module: torch.nn.Module) -> Recorded:
        """Return this model with the module that computes its outputs.

        Raises
        ------
        InputError
            The module lacks a parameter, or has one of another shape.
        """
        import torch

        if not isinstance(module, torch.nn.Module):
            raise InputError(f"model is a {type(module).__name__}. Pass the torch module that was recorded.")
        own = {name: tuple(values.shape) for name, values in _tensors(module).items()}
        for name, parameter in self.parameters.items():
            if own.get(name) != parameter.shape:
                what = f"of shape {own[name]}" if name in own else "missing"
                raise InputError(
                    f"The module's parameter '{name}' is {what}; the run has shape {parameter.shape}. Pass a module "
                    f"built as the recorded one."
                )
        model = self.model_copy()
        model._module, model._copies = module, threading.local()
        return model

    def summary(self) -> dict[str, Any]:
        """The facts to show of this model: numbers of parameters, its layers, its class and the caller's settings."""
        facts: dict[str, Any] = {"parameters": sum(prod(one.shape) for one in self.parameters.values())}
        facts |= {"layers": ", ".join(self.layers) or "none"} | ({"class": self.build} if self.build else {})
        return facts | self.settings

    def shapes(self, signature: Signature) -> Shapes:
        """Dimension names and shape of every parameter."""
        return {name: (one.dims, one.shape) for name, one in self.parameters.items()}

    def initial(self, signature: Signature, seed: int) -> dict[str, np.ndarray]:
        raise InputError("The model 'recorded' is trained by your own loop: circuits.record(…, resume=True).")

    def forward(self, parameters: Mapping[str, torch.Tensor], inputs: torch.Tensor, tap: Tap = untouched) -> Any:
        """Outputs (example,) or (example, output) of the module; of a sequence of outputs, the last.

        `tap` sees the values of each layer under the layer's name, with the units as the last axis.
        """
        import torch

        module = self._own_copy(next(iter(parameters.values())).dtype)
        handles = [self._hook(module, name, layer, tap) for name, layer in self.layers.items() if tap is not untouched]
        shaped = inputs if self.input_shape is None else inputs.reshape(len(inputs), *self.input_shape)
        try:
            outputs = torch.func.functional_call(module, dict(parameters), (shaped,))
        finally:
            for handle in handles:
                handle.remove()
        return read_outputs(outputs)

    def prunable_layers(self, signature: Signature) -> dict[str, PrunableLayer]:
        """The layers that the recorder was given, if the linear map into their units is known."""

        def part(layer: LayerOf) -> PrunableLayer:
            def incoming(net: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
                if layer.heads:
                    W = np.concatenate([net[name].reshape(layer.width, -1) for name in layer.incoming], axis=1)
                    return W, np.zeros(layer.width, W.dtype)
                W = net[layer.incoming[0]].reshape(layer.width, -1)
                return W, net[layer.incoming[1]] if len(layer.incoming) > 1 else np.zeros(layer.width, W.dtype)

            def readout(net: Mapping[str, np.ndarray]) -> np.ndarray:
                return net[str(layer.readout)].T

            axis = -2 if layer.heads else -1
            return PrunableLayer(layer.width, incoming, None if layer.readout is None else readout, axis)

        return {name: part(layer) for name, layer in self.layers.items() if layer.incoming}

    def _own_copy(self, dtype: torch.dtype) -> torch.nn.Module:
        """The module in evaluation mode and in this precision, as a copy of the calling thread."""
        import copy

        if self._module is None:
            built = self.supplied(self._built())
            self._module, self._copies = built._module, built._copies
        if getattr(self._copies, "dtype", None) != dtype:
            self._copies.module = copy.deepcopy(self._module).cpu().to(dtype).eval()
            self._copies.dtype = dtype
        return self._copies.module

    def _built(self) -> torch.nn.Module:
        import torch

        if self.build is None:
            raise InputError(str(self.no_outputs))
        try:
            made = load(self.build)
            if not (isinstance(made, type) and issubclass(made, torch.nn.Module)):
                raise TypeError("it is not a subclass of torch.nn.Module")
            return made(**self.arguments)
        except Exception as error:
            raise InputError(
                f"The run's module {self.build} cannot be built ({type(error).__name__}: {error}). Make it importable, "
                f"or pass the module: circuits.open(path, model=MyNet())."
            ) from error

    def _hook(self, module: torch.nn.Module, name: str, layer: LayerOf, tap: Tap) -> Any:
        place = module.get_submodule(layer.value)

        def tapped(values: torch.Tensor) -> torch.Tensor:
            if layer.heads:
                return tap(name, values.unflatten(-1, (layer.width, -1))).flatten(-2)
            moved = values.movedim(1, -1) if layer.channels else values
            seen = tap(name, moved)
            return seen.movedim(-1, 1) if layer.channels else seen

        if layer.at == "output":
            return place.register_forward_hook(lambda _, arguments, output: tapped(output))
        return place.register_forward_pre_hook(lambda _, arguments: (tapped(arguments[0]), *arguments[1:]))


def read_outputs(outputs: Any) -> Any:
    """Outputs that are compared with targets: of a tuple the first, of a sequence the last, one number as (example,).

    Examples
    --------
    >>> import torch
    >>> read_outputs(torch.zeros(5, 1)).shape, read_outputs(torch.zeros(5, 3, 7)).shape
    (torch.Size([5]), torch.Size([5, 7]))
    """
    outputs = outputs["logits"] if isinstance(outputs, Mapping) else getattr(outputs, "logits", outputs)
    outputs = outputs[0] if isinstance(outputs, tuple | list) else outputs
    outputs = outputs[:, -1] if outputs.ndim > 2 else outputs
    return outputs[:, 0] if outputs.ndim == 2 and outputs.shape[1] == 1 else outputs


def _tensors(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}
