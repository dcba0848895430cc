"""Data as a caller gives them, {"train": (inputs, targets), "test": (inputs, targets)}: their task, and a run's arrays.

A run whose data are too large for its file has their digests, and the import path of a function that returns them.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from types import FunctionType
from typing import Any

import numpy as np

from circuits.errors import InputError
from circuits.interfaces import Task
from circuits.registry import load
from circuits.seen import SEEN, seen_inputs
from circuits.tasks.arrays import Arrays

SETS = ("train", "test")


def are_tokens(inputs: np.ndarray) -> bool:
    """Whether the inputs are integers from 0 on."""
    return inputs.dtype.kind in "iu" and not (inputs < 0).any()


def task_of(
    data: Mapping[str, Any] | None, task: Task | None, n_seeds: int, reads_tokens: bool = True
) -> tuple[Task, dict[str, np.ndarray]]:
    """The task of the caller's data, and the data by the names and with the axes that a run file gives them.

    `data` has "train" and may have "test", each a pair (inputs, targets). Without data, the task has no examples.
    Integer inputs are tokens if the module `reads_tokens`, otherwise numbers.

    Raises
    ------
    InputError
        `data` is not such a mapping, or does not fit `task`.
    """
    if data is None:
        task = Arrays(targets="classes") if task is None else task
        pairs = {name: (np.zeros((0, task.signature.n_inputs), np.int8), np.zeros(0, np.int8)) for name in SETS}
        if task.train_size or task.test_size:
            raise InputError(
                f"The task '{task.kind}' has examples. Pass them: data={{'train': (x, y), 'test': (x, y)}}."
            )
    else:
        pairs = _pairs(data)
        if task is None:
            given = {
                f"{name}_{what}": values
                for name, pair in pairs.items()
                for what, values in zip(("inputs", "targets"), pair, strict=True)
            }
            task = Arrays.of(given, encoding="tokens" if reads_tokens and are_tokens(pairs["train"][0]) else "numbers")
            pairs = {
                name: (one["inputs"], one["targets"])
                for name, one in (("train", task.train_data(0)), ("test", task.test_data(0)))
            }
    inputs = {name: pair[0].reshape(len(pair[0]), task.signature.n_inputs) for name, pair in pairs.items()}
    wanted, actual = (task.train_size, task.test_size), (len(inputs["train"]), len(inputs["test"]))
    if wanted != actual:
        raise InputError(
            f"The task '{task.kind}' has {wanted[0]} training and {wanted[1]} test examples, and the data have "
            f"{actual[0]} and {actual[1]}."
        )
    seen = seen_inputs(inputs["test"], inputs["train"]) if wanted[1] and wanted[0] else np.zeros(wanted[1], bool)
    arrays = {
        "train_inputs": inputs["train"], "train_targets": pairs["train"][1], "test_inputs": inputs["test"],
        "test_targets": pairs["test"][1], SEEN: seen,
    }  # fmt: skip
    per_seed = {"train_inputs", "train_targets", SEEN} | (set() if task.test_is_shared else set(arrays))
    return task, {name: np.stack([values] * n_seeds) if name in per_seed else values for name, values in arrays.items()}


def _pairs(data: Mapping[str, Any]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    wrong = [name for name in data if name not in SETS]
    if wrong or "train" not in data:
        raise InputError(
            f"data has {', '.join(map(repr, data)) or 'nothing'}. Pass {{'train': (x, y), 'test': (x, y)}}."
        )
    pairs = {}
    for name, pair in data.items():
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise InputError(f"data['{name}'] is a {type(pair).__name__}. Pass a pair of inputs and targets.")
        inputs, targets = _array(pair[0]), _array(pair[1])
        pairs[name] = (inputs, targets[:, 0] if targets.ndim == 2 and targets.shape[1] == 1 else targets)
    train = pairs["train"]
    return {"train": train, "test": pairs.get("test", (train[0][:0], train[1][:0]))}


def loaded(path: str) -> Mapping[str, Any]:
    """The data that the function at an import path `package.module:function` returns.

    A run file names this path, and no file is trusted. So only a function in Python is called which its own module
    defines, and no function of the standard library.

    Raises
    ------
    InputError
        There is no such function, it is of another kind, or it raises an error.
    """
    module = path.partition(":")[0]
    try:
        if module.partition(".")[0] in sys.stdlib_module_names:
            raise TypeError("it belongs to the standard library")
        function = load(path)
        if not isinstance(function, FunctionType) or function.__module__ != module:
            raise TypeError(f"it is not a function that the module {module} defines")
        return function()
    except Exception as error:
        raise InputError(
            f"The data's loader {path} cannot be called ({type(error).__name__}: {error}). Pass the import path "
            f"'package.module:function' of a function without arguments, which returns "
            f"{{'train': (inputs, targets), 'test': (inputs, targets)}}."
        ) from error


def _array(values: Any) -> np.ndarray:
    if hasattr(values, "detach"):
        import torch

        values = values.detach().cpu()
        values = values.float() if values.dtype in (torch.bfloat16, torch.float16) else values
        return np.array(values.numpy())
    return np.asarray(values)
