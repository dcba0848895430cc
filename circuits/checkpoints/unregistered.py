"""The config of a run file whose task or model is not registered in this process.

Parameters, metrics and data can be read without the task and the model. Their places are taken by stand-ins, which know
of the run what its arrays tell. The config as JSON stays what the file has.
"""

from __future__ import annotations

from typing import Any

import h5py
import numpy as np

from circuits.checkpoints.schema import dimensions
from circuits.config import Config, parse
from circuits.interfaces import Shapes, Signature
from circuits.models.unknown import UnknownModel
from circuits.registry import MODELS, TASKS
from circuits.tasks.unknown import UnknownTask


def parsed(data: Any, file: h5py.File) -> Config:
    """The config in a run file from its JSON; an unregistered task or model becomes a stand-in."""
    if not isinstance(data, dict):
        return parse(data)
    parts = {}
    for name, table in (("task", TASKS), ("model", MODELS)):
        fields = data.get(name)
        if isinstance(fields, dict) and isinstance(fields.get("kind"), str) and fields["kind"] not in table:
            parts[name] = _task(fields, file) if name == "task" else UnknownModel.of(fields, _shapes(file))
    return parse({**data, **parts})


def _shapes(file: h5py.File) -> Shapes:
    group = file["parameters"]
    return {
        name: (dimensions(group[name])[2:], group[name].shape[2:])
        for name in group
        if isinstance(group[name], h5py.Dataset) and group[name].ndim >= 2
    }


def _task(fields: dict[str, Any], file: h5py.File) -> UnknownTask:
    train, test = file["data/train_inputs"], file["data/test_inputs"]
    accuracy = file["metrics/train_accuracy"]
    lengths = {name: len(file[name]) if name in file else None for name in ("class", "token")}
    shared = test.ndim < train.ndim
    return UnknownTask.of(
        fields, train_size=train.shape[1], test_size=test.shape[0 if shared else 1], test_is_shared=shared,
        signature=Signature(train.shape[2], lengths["class"], lengths["token"]),
        has_numbers=bool(len(accuracy) and np.isnan(accuracy[0]).all()),
    )  # fmt: skip
