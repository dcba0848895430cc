"""The layers of a module that can be pruned: where the units' values are, and the weights into and out of them.

The module is probed in double precision on a few examples; its code is not read. A later `Linear` reads the units if a
change of one unit changes the same input of this `Linear` and no other, and if its inputs depend on nothing but the
units. The outputs are linear in the units if random values of all units change them as the readout weights say.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import nn

from circuits.errors import InputError, nearest
from circuits.models.recorded import LayerOf, read_outputs
from circuits.recording.networks import tensors_of

MAPS = (nn.Linear, nn.Conv1d, nn.Conv2d)
N_PROBED = 8  # examples, and units
TOLERANCE = 1e-9  # relative, in double precision


def layers_of(
    module: nn.Module, inputs: torch.Tensor | None, wanted: Mapping[str, Any] | Iterable[str] | None
) -> dict[str, LayerOf]:
    """The layers `wanted`, by the names of submodules; None: every `Linear` or convolution whose units are read later.

    Parameters
    ----------
    module
        The module; it is copied, so its parameters, buffers and hooks stay unchanged.
    inputs
        (example, …) some inputs of the module. None gives no layer.
    wanted
        Names of submodules, or of TransformerLens hooks. In a dictionary, a value of `...` or None lets this function
        find the maps. A dictionary {"incoming": NAME, "readout": NAME} names the modules of the linear maps into and
        out of the units. {"heads": n} makes n attention heads of the last axis, such as that of "blocks.0.attn.hook_z".

    Raises
    ------
    InputError
        There is no such submodule, it is not called, or its output is not a tensor with units.
    """
    if inputs is None:
        if wanted:
            raise InputError("layers need data: pass data={'train': (inputs, targets)}, so that the module can be run.")
        return {}
    probe = _Probe(module, inputs)
    if wanted is None:
        maps = [name for name, part in probe.module.named_modules() if isinstance(part, MAPS) and name in probe.order]
        found = {shortened(name): _found(probe, name, {}) for name in maps}
        return {name: layer for name, layer in found.items() if layer.at == "input" or layer.readout}
    given = dict(wanted) if isinstance(wanted, Mapping) else dict.fromkeys(wanted)
    layers = {}
    for name, maps_given in given.items():
        options = {} if maps_given is None or maps_given is ... else maps_given
        if not isinstance(options, Mapping) or not set(options) <= {"incoming", "readout", "heads"}:
            raise InputError(
                f"layers['{name}'] is {maps_given!r}. Pass ..., or a dictionary with 'incoming', 'readout' or 'heads'."
            )
        layers[name] = _found(probe, probe.called(name), options)
    return layers


def shortened(name: str) -> str:
    """The name of a submodule without the parts that wrappers insert, such as TransformerLens and `torch.compile`.

    Examples
    --------
    >>> shortened("blocks.0._original_component.mlp")
    'blocks.0.mlp'
    """
    return ".".join(part for part in name.split(".") if part not in ("_original_component", "_orig_mod"))


class _Probe:
    """A copy of a module in double precision, with the outputs of its submodules on some inputs."""

    def __init__(self, module: nn.Module, inputs: torch.Tensor) -> None:
        self.module = copy.deepcopy(module).cpu().double().eval()
        for part in self.module.modules():
            for hooks in (part._forward_hooks, part._forward_pre_hooks):
                hooks.clear()
        sample = inputs[:N_PROBED].detach().cpu()
        self.inputs = sample.double() if sample.is_floating_point() else sample
        self.random = torch.Generator().manual_seed(0)
        own = {id(part): name for name, part in self.module.named_modules() if name}
        hooks = getattr(self.module, "hook_dict", {})
        self.names = {name: name for name in own.values()}  # every name of a submodule -> the one that torch gives it
        for name, hook in hooks.items() if isinstance(hooks, Mapping) else ():
            self.names.setdefault(name, own.get(id(hook), ""))
        for name in own.values():
            self.names.setdefault(shortened(name), name)
        self.order: list[str] = []  # submodules in the order of their calls
        self.read: dict[str, Any] = {}
        self.given: dict[str, Any] = {}
        handles = [
            part.register_forward_hook(lambda _, arguments, output, name=name: self._note(name, arguments, output))
            for name, part in self.module.named_modules()
            if name
        ]
        self.outputs = self.run()
        for handle in handles:
            handle.remove()

    def run(self, inputs: torch.Tensor | None = None) -> torch.Tensor:
        with torch.no_grad():
            return read_outputs(self.module(self.inputs if inputs is None else inputs))

    def _note(self, name: str, arguments: tuple[Any, ...], output: Any) -> None:
        self.order.append(name)
        self.read[name] = arguments[0].clone() if arguments and isinstance(arguments[0], torch.Tensor) else None
        self.given[name] = output.clone() if isinstance(output, torch.Tensor) else None

    def called(self, name: str) -> str:
        """The name that torch gives the submodule `name`, which must be called once and return a tensor of units."""
        own = self.names.get(name)
        if not own:
            near = sorted(one for one in self.names if one == shortened(one) and one.count(".") < 5)
            raise InputError(f"The module has no submodule '{name}' for a layer. {nearest(name, near)}")
        if self.order.count(own) != 1 or self.given[own] is None or self.given[own].ndim < 2:
            raise InputError(
                f"The submodule '{name}' is called {self.order.count(own)} times and gives "
                f"{'no tensor of units' if self.order.count(own) else 'nothing'}. A layer needs one call per pass and "
                f"an output (example, …, unit)."
            )
        return own

    def changed(self, name: str, change: Callable[[torch.Tensor], torch.Tensor], at: str = "output") -> "_Changed":
        """The module's run with the output (or input) of the submodule `name` changed."""
        part, noted = self.module.get_submodule(name), _Changed()
        handles = []
        for other, one in self.module.named_modules():
            if other:
                handles.append(one.register_forward_pre_hook(lambda _, args, key=other: noted.note(key, args)))
        if at == "output":
            handles.append(part.register_forward_hook(lambda _, arguments, output: change(output)))
        else:
            handles.append(part.register_forward_pre_hook(lambda _, args: (change(args[0]), *args[1:])))
        noted.outputs = self.run()
        for handle in handles:
            handle.remove()
        return noted


class _Changed:
    def __init__(self) -> None:
        self.read: dict[str, torch.Tensor] = {}
        self.outputs: Any = None

    def note(self, name: str, arguments: tuple[Any, ...]) -> None:
        if arguments and isinstance(arguments[0], torch.Tensor):
            self.read[name] = arguments[0].clone()


def _found(probe: _Probe, name: str, given: Mapping[str, Any]) -> LayerOf:
    part, values = probe.module.get_submodule(name), probe.given[name]
    channels = isinstance(part, nn.Conv1d | nn.Conv2d) or (values.ndim == 4 and not isinstance(part, nn.Linear))
    n_units = values.shape[1 if channels else -1]
    heads = given.get("heads")
    if heads is not None and (channels or not isinstance(heads, int) or heads < 1 or n_units % heads):
        raise InputError(f"heads={heads!r} does not divide the {n_units} values of '{name}' into attention heads.")
    incoming = given.get("incoming") or (name if isinstance(part, MAPS) else _before(probe, name, n_units, channels))
    maps = [incoming] if isinstance(incoming, str) else list(incoming or ())
    reader = None if heads else _reader(probe, name, n_units, channels)
    at: Any = "output"
    value = name
    if reader is not None and not torch.equal(probe.read[reader], values):
        at, value = "input", reader
    readout = given.get("readout") or (reader if _is_linear(probe, value, at, reader) else None)
    return LayerOf(
        width=heads or n_units, value=value, at=at, channels=channels, heads=heads is not None,
        incoming=tuple(one for map_ in maps for one in _into(probe, map_, n_units)),
        readout=_out_of(probe, readout, n_units) if readout else None,
    )  # fmt: skip


def _into(probe: _Probe, name: str, width: int) -> tuple[str, ...]:
    weight: Any = probe.module.get_submodule(_map(probe, name)).weight
    n_outputs = weight.shape[0]
    if n_outputs != width:
        raise InputError(
            f"'{name}' has {n_outputs} outputs and the layer {width} units, so it does not feed the layer."
        )
    return _parameters(probe, name)


def _out_of(probe: _Probe, name: str, width: int) -> str:
    part: Any = probe.module.get_submodule(_map(probe, name))
    n_inputs = part.weight.shape[1]
    if n_inputs != width:
        raise InputError(f"'{name}' has {n_inputs} inputs and the layer {width} units, so it does not read the layer.")
    return _parameters(probe, name)[0]


def _parameters(probe: _Probe, name: str) -> tuple[str, ...]:
    """Names of the weight of a Linear or convolution, and of its bias, as the module lists them."""
    part = probe.module.get_submodule(_map(probe, name))
    names = {id(values): key for key, values in tensors_of(probe.module).items()}
    return tuple(names[id(values)] for values in (part.weight, part.bias) if id(values) in names)


def _map(probe: _Probe, name: str) -> str:
    own = probe.names.get(name, "")
    if not own or not isinstance(probe.module.get_submodule(own), MAPS):
        maps = [one for one, real in probe.names.items() if real and isinstance(probe.module.get_submodule(real), MAPS)]
        raise InputError(f"'{name}' is no Linear or convolution of the module. {nearest(name, maps)}")
    return own


def _reader(probe: _Probe, name: str, width: int, channels: bool) -> str | None:
    """The first later Linear or convolution whose inputs are functions of these units, each of the same unit alone."""
    axis = 1 if channels else -1
    later = probe.order[probe.order.index(name) + 1 :]
    candidates = [
        other
        for other in later
        if isinstance(probe.module.get_submodule(other), MAPS)
        and probe.read[other] is not None
        and probe.read[other].shape == probe.given[name].shape
    ]
    return next(
        (
            other
            for other in candidates
            if _unit_by_unit(probe, name, other, width, axis) and _of_units_alone(probe, name, other)
        ),
        None,
    )


def _of_units_alone(probe: _Probe, source: str, reader: str) -> bool:
    """Whether `reader` has the same input for all examples if `source` has the same output; else there is a bypass."""
    one = 3 * torch.randn(probe.given[source][:1].shape, generator=probe.random, dtype=torch.float64)
    read = probe.changed(source, lambda values: one.expand_as(values).clone()).read[reader]
    return bool((read == read[:1]).all())


def _before(probe: _Probe, name: str, width: int, channels: bool) -> str | None:
    """The last earlier Linear or convolution whose output feeds the submodule `name` unit by unit."""
    earlier = probe.order[: probe.order.index(name)]
    for other in reversed(earlier):
        part = probe.module.get_submodule(other)
        if isinstance(part, MAPS) and probe.given[other] is not None:
            same = probe.given[other].shape == probe.read[name].shape if probe.read[name] is not None else False
            if same and _unit_by_unit(probe, other, name, width, 1 if channels else -1):
                return other
    return None


def _unit_by_unit(probe: _Probe, source: str, reader: str, width: int, axis: int) -> bool:
    """Whether each unit of `source`'s output changes the same unit of `reader`'s input and no other."""
    moved = False
    for unit in torch.randperm(width, generator=probe.random)[:N_PROBED].tolist():

        def change(values: torch.Tensor, unit: int = unit) -> torch.Tensor:
            values = values.clone()
            values.select(axis, unit).add_(3 * torch.randn(values.select(axis, unit).shape, generator=probe.random))
            return values

        after = probe.changed(source, change).read.get(reader)
        if after is None or after.shape != probe.read[reader].shape:
            return False
        differs = after != probe.read[reader]
        moved = moved or bool(differs.select(axis, unit).any())
        differs.select(axis, unit).fill_(False)
        if differs.any():
            return False
    return moved


def _is_linear(probe: _Probe, value: str, at: str, reader: str | None) -> bool:
    """Whether the outputs are c + V Uᵀ for units V (example, unit), with U the weight of the Linear `reader`."""
    if reader is None or not isinstance(part := probe.module.get_submodule(reader), nn.Linear):
        return False
    values = probe.given[value] if at == "output" else probe.read[value]
    if values.ndim != 2 or probe.outputs.ndim > 2:
        return False
    for _ in range(3):
        replaced = 3 * torch.randn(values.shape, generator=probe.random, dtype=torch.float64)

        def put(_: torch.Tensor, replaced: torch.Tensor = replaced) -> torch.Tensor:
            return replaced

        outputs = probe.changed(value, put, at).outputs
        expected = (replaced - values) @ part.weight.detach().T
        actual = outputs - probe.outputs
        expected = expected[:, 0] if actual.ndim == 1 and expected.shape[1] == 1 else expected
        if actual.shape != expected.shape or not torch.allclose(actual, expected, TOLERANCE, TOLERANCE):
            return False
    return True
