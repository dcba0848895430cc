"""The caller's networks while they train: one module per seed, with the optimizers and other objects beside them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np
import torch

from circuits.errors import InputError, RunError
from circuits.recording.state import STRUCTURE, as_arrays, from_arrays, random_state, set_random_state

Arrays = dict[str, np.ndarray]
STORED = {"float32": torch.float32, "float64": torch.float64}


class Networks:
    """Modules with equal parameters, one per seed, and per seed the objects whose state a resumed loop needs.

    Parameters
    ----------
    modules
        One module per seed.
    objects
        Per seed: name -> an optimizer, scheduler or other object with `state_dict` and `load_state_dict`, or a
        generator with `get_state` and `set_state`.
    kept
        Names of the parameters, and of buffers if asked for, of which the run keeps a trajectory.
    keeps_state
        Whether the run keeps the state of `objects`, of other buffers and of random numbers.
    """

    def __init__(
        self,
        modules: Sequence[torch.nn.Module],
        objects: Sequence[Mapping[str, Any]],
        kept: Sequence[str],
        keeps_state: bool,
    ) -> None:
        self.modules, self._objects, self.keeps_state = list(modules), list(objects), keeps_state
        self._kept = [{name: tensors_of(module)[name] for name in kept} for module in modules]
        self.dtype = "float64" if any(one.dtype == torch.float64 for one in self._kept[0].values()) else "float32"
        self.reserved: Arrays = {}  # zeros for every array of the state in the file

    def row(self) -> Arrays:
        """The kept parameters now, each "parameters/NAME" (seed, …); valid until the next update changes them."""
        row: Arrays = {}
        for name in self._kept[0]:
            arrays = [one[name].detach().to("cpu", STORED[self.dtype]).numpy() for one in self._kept]
            row[f"parameters/{name}"] = arrays[0][None] if len(arrays) == 1 else np.stack(arrays)
        return row

    def state(self) -> Arrays:
        """What a resumed loop needs besides the kept parameters, each (seed, …); empty if no state is kept.

        Raises
        ------
        RunError
            The state has an array that the file has no room for.
        """
        if not self.keeps_state:
            return {}
        length = self.reserved[STRUCTURE].shape[1] if self.reserved else None
        random, states = random_state(), []
        for at, objects in enumerate(self._objects):
            named = {name: _state_of(item) for name, item in objects.items()}
            states.append(as_arrays({"random": random, "module": self._others(at), **named}, length))
        return self.padded(_stacked(states))

    def padded(self, state: Arrays) -> Arrays:
        """`state` with zeros for the arrays that the file has and `state` lacks, and with the text at its length."""
        if not state or not self.reserved:
            return state
        if extra := [name for name in state if name not in self.reserved]:
            raise RunError(
                f"The state to resume from has a new array, {extra[0]}, and the run file has no room for it. Record "
                f"with keep_state=False, or leave out the object whose state grows."
            )
        text, room = state[STRUCTURE], self.reserved[STRUCTURE].shape[1]
        text = np.pad(text, ((0, 0), (0, room - text.shape[1])), constant_values=ord(" "))
        return {name: state.get(name, zeros) for name, zeros in self.reserved.items()} | {STRUCTURE: text}

    def reserve(self, *states: Arrays) -> None:
        """Set `reserved` to zeros for all arrays of `states`, and for those that optimizers make at first gradients."""
        merged = {name: values for state in states for name, values in state.items()}
        longest = max((state[STRUCTURE].shape[1] for state in states if state), default=0)
        if not longest:
            return
        merged[STRUCTURE] = np.zeros((len(self.modules), longest), np.uint8)
        for name, values in _awaited(self._objects):
            merged.setdefault(name, np.zeros((len(self.modules), *values.shape), values.dtype))
        self.reserved = {name: np.zeros_like(values) for name, values in merged.items()}

    def load(
        self, row: Mapping[str, np.ndarray], state: Mapping[str, np.ndarray], reserved: Mapping[str, np.ndarray]
    ) -> None:
        """Give modules, objects and random numbers back what a run file has of one checkpoint.

        `reserved` has an array of each name and shape of the state in the file.
        """
        self.reserved = {name: np.zeros_like(values) for name, values in reserved.items()}
        self.keeps_state = bool(reserved)
        if not row:
            return
        with torch.no_grad():
            for at, tensors in enumerate(self._kept):
                for name, tensor in tensors.items():
                    tensor.copy_(torch.from_numpy(np.array(row[f"parameters/{name}"][at])))
        if not state or not self.keeps_state:
            return
        for at, objects in enumerate(self._objects):
            stored = from_arrays({name: values[at] for name, values in state.items()})
            if missing := [name for name in objects if name not in stored]:
                raise InputError(f"The run keeps no state of '{missing[0]}'. It keeps: {', '.join(stored)}.")
            own = tensors_of(self.modules[at])
            with torch.no_grad():
                for name, values in stored["module"].items():
                    own[name].copy_(values)
            for name, item in objects.items():
                (getattr(item, "load_state_dict", None) or item.set_state)(stored[name])
        set_random_state(stored["random"])

    @property
    def device(self) -> torch.device:
        """The device of the first module's parameters."""
        return next(iter(self._kept[0].values())).device

    def numerics(self) -> dict[str, Any]:
        """Where the networks are trained, and with which torch."""
        device = self.device.type
        hardware = torch.cuda.get_device_name() if device == "cuda" else str(torch.backends.cpu.get_cpu_capability())
        return {"path": "recorded", "device": device, "hardware": hardware, "torch": version("torch")}

    def _others(self, at: int) -> dict[str, torch.Tensor]:
        """Buffers that are not in the row, and parameters of types that the row does not hold exactly."""
        kept = self._kept[at]
        return {name: values for name, values in tensors_of(self.modules[at]).items() if name not in kept}


def tensors_of(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Every parameter and buffer of a module by its name; a tensor under two names has the first."""
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}


def _state_of(item: Any) -> Any:
    return item.state_dict() if hasattr(item, "state_dict") else item.get_state()


def _stacked(states: Sequence[Arrays]) -> Arrays:
    """Arrays (seed, …) of the states of all seeds; a seed without an array gets zeros, a shorter text spaces."""
    if len(states) == 1:
        return {name: values[None] for name, values in states[0].items()}
    names = dict.fromkeys(name for state in states for name in state)
    longest = max(len(state[STRUCTURE]) for state in states)

    def of_one(state: Arrays, name: str) -> np.ndarray:
        if name == STRUCTURE:
            return np.pad(state[name], (0, longest - len(state[name])), constant_values=ord(" "))
        return state.get(name, np.zeros_like(next(one[name] for one in states if name in one)))

    return {name: np.stack([of_one(state, name) for state in states]) for name in names}


def _awaited(objects: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, np.ndarray]]:
    """Names and zeros of the arrays that optimizers will make for parameters that have had no gradient yet."""
    for name, item in objects[0].items():
        states = item.state_dict()["state"] if isinstance(item, torch.optim.Optimizer) else {}
        parameters = [one for group in item.param_groups for one in group["params"]] if states else []
        first = next(iter(states), 0)
        for at, parameter in enumerate(parameters):
            for key, value in states[first].items() if at not in states else ():
                if isinstance(value, torch.Tensor):
                    like = parameter if value.shape == parameters[first].shape else value
                    yield f"{name}.state.{at}.{key}", np.zeros(like.shape, value.detach().cpu().numpy().dtype)
