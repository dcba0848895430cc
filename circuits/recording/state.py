"""The state that a training loop needs to go on: optimizers, buffers, random numbers, as named arrays of fixed shape.

Nested dicts, lists and tuples become arrays by name and one text: JSON of everything that is not an array, as bytes.
Nothing is pickled, so reading a state runs no code.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from circuits.errors import InputError, RunError

Arrays = dict[str, np.ndarray]
STRUCTURE = "structure"  # the array with the JSON text
LONG = 16  # a list with more numbers is an array
ROOM = 1024  # bytes for numbers whose text becomes longer


def as_arrays(state: Any, length: int | None = None) -> Arrays:
    """Named arrays for nested dicts, lists and tuples of tensors, arrays, numbers and texts; `from_arrays` inverts it.

    `length` is the length of the text, padded with spaces; by default with some room.

    Raises
    ------
    InputError
        A value of `state` is of another type.
    RunError
        The text needs more than `length` bytes.

    Examples
    --------
    >>> state = {"lr": 0.1, "state": {0: {"exp_avg": torch.ones(2)}}}
    >>> sorted(arrays := as_arrays(state))
    ['state.0.exp_avg', 'structure']
    >>> from_arrays(arrays)
    {'lr': 0.1, 'state': {0: {'exp_avg': tensor([1., 1.])}}}
    """
    arrays: Arrays = {}
    text = json.dumps(_packed(state, "", arrays)).encode()
    size = 2 * len(text) + ROOM if length is None else length
    if len(text) > size:
        raise RunError(
            f"The state of optimizers and random numbers has grown to {len(text)} bytes of text, and the run file has "
            f"room for {size}. Record without the object whose state grows."
        )
    arrays[STRUCTURE] = np.frombuffer(text.ljust(size), np.uint8)
    return arrays


def from_arrays(arrays: Mapping[str, np.ndarray]) -> Any:
    """The nested state whose arrays `as_arrays` made."""
    return _unpacked(json.loads(arrays[STRUCTURE].tobytes()), arrays)


def random_state() -> dict[str, Any]:
    """State of the generators of Python, NumPy and torch, of torch on each CUDA device too."""
    kind, keys, position, has_gauss, gauss = np.random.get_state()  # noqa: NPY002 - the state of the caller's global generator
    version, numbers, next_gauss = random.getstate()
    return {
        "python": [version, np.array(numbers, np.uint32), next_gauss],
        "numpy": [kind, np.asarray(keys), int(position), int(has_gauss), float(gauss)],
        "torch": torch.get_rng_state(),
        "cuda": list(torch.cuda.get_rng_state_all()) if torch.cuda.is_available() else [],
    }


def set_random_state(state: Mapping[str, Any]) -> None:
    """Set all generators to a state that `random_state` returned; CUDA only on as many devices as there were."""
    version, numbers, next_gauss = state["python"]
    random.setstate((version, tuple(map(int, numbers)), next_gauss))
    np.random.set_state(tuple(state["numpy"]))  # noqa: NPY002 - the caller's global generator
    torch.set_rng_state(state["torch"])
    if torch.cuda.is_available() and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])


def _packed(value: Any, name: str, arrays: Arrays) -> Any:
    """JSON for `value`; its tensors and arrays are added to `arrays` under names that begin with `name`."""
    if isinstance(value, torch.Tensor | np.ndarray):
        key = _free(name or "value", arrays)
        arrays[key], kind = _array(value)
        return {"array": key, "is": kind}
    if isinstance(value, Mapping):
        pairs = [[_packed(key, name, arrays), _packed(part, _joined(name, key), arrays)] for key, part in value.items()]
        return {"dict": pairs}
    if isinstance(value, list | tuple):
        if len(value) > LONG and all(type(part) is float for part in value):
            return {"floats": _packed(np.array(value), name, arrays), "as": type(value).__name__}
        parts = [_packed(part, _joined(name, at), arrays) for at, part in enumerate(value)]
        return {type(value).__name__ if type(value) in (list, tuple) else "list": parts}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.generic):
        return value.item()
    raise InputError(
        f"The state to resume from has a {type(value).__name__} at '{name}'. It can hold tensors, arrays, numbers, "
        f"texts, lists and dicts. Leave out the object that holds it."
    )


def _unpacked(value: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    if not isinstance(value, dict):
        return value
    if "array" in value:
        array = np.array(arrays[value["array"]])
        if value["is"] == "array":
            return array
        tensor = torch.from_numpy(array)
        dtype = getattr(torch, value["is"])
        return tensor if tensor.dtype == dtype else tensor.view(dtype)
    if "dict" in value:
        return {_unpacked(key, arrays): _unpacked(part, arrays) for key, part in value["dict"]}
    if "floats" in value:
        numbers = _unpacked(value["floats"], arrays).tolist()
        return tuple(numbers) if value["as"] == "tuple" else numbers
    kind, parts = next(iter(value.items()))
    values = [_unpacked(part, arrays) for part in parts]
    return tuple(values) if kind == "tuple" else values


def _array(value: torch.Tensor | np.ndarray) -> tuple[np.ndarray, str]:
    """A copy as an array of a type that HDF5 stores as it is, and the type to view it as."""
    if isinstance(value, np.ndarray):
        return np.array(value), "array"
    tensor = value.detach().cpu().contiguous()
    kind = str(tensor.dtype).removeprefix("torch.")
    if tensor.dtype in (torch.float32, torch.float64, torch.int64, torch.int32, torch.uint8):
        return np.array(tensor.numpy()), kind
    if tensor.ndim == 0:
        return np.array(tensor.reshape(1).view(torch.uint8).numpy()), kind
    return np.array(tensor.view(torch.uint8).numpy()), kind


def _joined(name: str, key: object) -> str:
    part = str(key).replace("/", "_")
    return f"{name}.{part}" if name else part


def _free(name: str, arrays: Mapping[str, np.ndarray]) -> str:
    while name in arrays or name == STRUCTURE:
        name += "_"
    return name
