"""A task that is not registered here, as far as a run file tells it: the sizes and shapes of its data."""

from __future__ import annotations

from typing import Any

import numpy as np
from pydantic import PrivateAttr, model_serializer

from circuits.errors import InputError
from circuits.interfaces import Signature, Task


class UnknownTask(Task):
    """Stands for the task of a run whose `kind` no package or notebook has registered here."""

    kind: str
    _fields: dict[str, Any] = PrivateAttr(default_factory=dict)
    _sizes: dict[str, Any] = PrivateAttr(default_factory=dict)

    @classmethod
    def of(cls, fields: dict[str, Any], **sizes: Any) -> UnknownTask:
        """The task of these config fields; `sizes`: train_size, test_size, test_is_shared, signature, from a file."""
        task = cls(kind=fields["kind"])
        task._fields, task._sizes = fields, sizes
        return task

    @model_serializer
    def _as_stored(self) -> dict[str, Any]:
        return dict(self._fields)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, UnknownTask) and self._fields == other._fields

    def __hash__(self) -> int:
        return hash(self.model_dump_json())

    @property
    def train_size(self) -> int:
        """Number of training examples in the file."""
        return int(self._sizes["train_size"])

    @property
    def test_size(self) -> int:
        """Number of test examples in the file."""
        return int(self._sizes["test_size"])

    @property
    def test_is_shared(self) -> bool:
        """Whether the file has one test set for all seeds."""
        return bool(self._sizes["test_is_shared"])

    @property
    def signature(self) -> Signature:
        """Inputs of the data in the file, and outputs of its networks."""
        return self._sizes["signature"]

    @property
    def has_numbers(self) -> bool:
        """Whether the file's first checkpoint has no accuracy, so that its targets are numbers."""
        return bool(self._sizes.get("has_numbers", False))

    def train_data(self, seed: int) -> dict[str, np.ndarray]:
        raise InputError(self.unregistered)

    def test_data(self, seed: int) -> dict[str, np.ndarray]:
        raise InputError(self.unregistered)

    @property
    def unregistered(self) -> str:
        """What is missing, and what to do."""
        return (
            f"The task '{self.kind}' is not registered here, so no data can be drawn and only the file's own can be "
            f"read. Import the module that calls circuits.register_task, or install the plugin that does, then open "
            f"the run again."
        )
