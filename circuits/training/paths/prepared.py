"""The prepared path: the reference path with the faster forward pass that some models offer for fixed inputs."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any, ClassVar

from circuits.config import Config
from circuits.training.paths.reference import Reference


class Prepared(Reference):
    """The networks of all seeds as torch modules, run by the faster pass of `Model.prepared` if the model has one."""

    name: ClassVar[str] = "prepared"
    prepares: ClassVar[bool] = True

    @classmethod
    def refusal(cls, config: Config, device: str) -> str | None:
        if config.model.can_prepare and device == "cpu":
            return None
        return f"The model '{config.model.kind}' has no faster forward pass with these settings on {device}"

    @classmethod
    def numerics(cls, config: Config, device: str) -> dict[str, Any]:
        """The numerics of the reference path, and the compiler of the faster pass."""
        return {name: version(name) for name in ("numba", "llvmlite")} | super().numerics(config, device)
