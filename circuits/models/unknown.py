"""A model that is not registered here, as far as a run file tells it: the shapes of its parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import PrivateAttr, model_serializer

from circuits.errors import InputError
from circuits.interfaces import Model, Shapes, Signature, Tap, untouched

if TYPE_CHECKING:
    import torch


class UnknownModel(Model):
    """Stands for the model of a run whose `kind` no package or notebook has registered here."""

    reads_anything: ClassVar[bool] = True
    lockstep: ClassVar[bool] = False
    kind: str
    _fields: dict[str, Any] = PrivateAttr(default_factory=dict)
    _shapes: Shapes = PrivateAttr(default_factory=dict)

    @classmethod
    def of(cls, fields: dict[str, Any], shapes: Shapes) -> UnknownModel:
        """The model of these config fields, with the parameters' dimensions and shapes in a file."""
        model = cls(kind=fields["kind"])
        model._fields, model._shapes = fields, shapes
        return model

    @model_serializer
    def _as_stored(self) -> dict[str, Any]:
        return dict(self._fields)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, UnknownModel) and self._fields == other._fields

    def __hash__(self) -> int:
        return hash(self.model_dump_json())

    @property
    def unregistered(self) -> str:
        """What is missing, and what to do."""
        return (
            f"The model '{self.kind}' is not registered here, so its outputs cannot be computed. Import the module "
            f"that calls circuits.register_model, or install the plugin that does, then open the run again."
        )

    @property
    def no_outputs(self) -> str:
        """The same: no outputs can be computed."""
        return self.unregistered

    def shapes(self, signature: Signature) -> Shapes:
        """Dimension names and shape of every parameter in the file."""
        return dict(self._shapes)

    def initial(self, signature: Signature, seed: int) -> dict[str, np.ndarray]:
        raise InputError(self.no_outputs)

    def forward(self, parameters: Mapping[str, torch.Tensor], inputs: torch.Tensor, tap: Tap = untouched) -> Any:
        raise InputError(self.no_outputs)
