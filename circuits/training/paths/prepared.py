"""The training path "prepared": like "reference", but with the faster forward pass that some models offer."""

from importlib.metadata import version
from typing import Any, ClassVar

from circuits.config import Config
from circuits.training.paths.reference import Reference


class Prepared(Reference):
    """The networks of all seeds as torch modules, evaluated by the faster forward pass of `Model.prepared`."""

    name: ClassVar[str] = "prepared"
    prepares: ClassVar[bool] = True

    @classmethod
    def refusal(cls, config: Config, device: str) -> str | None:
        if config.model.can_prepare and device == "cpu":
            return None
        return f"The model '{config.model.kind}' has no faster forward pass with these settings on {device}"

    @classmethod
    def numerics(cls, config: Config, device: str) -> dict[str, Any]:
        """Versions of Numba, llvmlite and torch, CPU instruction set, threads; they determine an update's last bits."""
        return {name: version(name) for name in ("numba", "llvmlite")} | super().numerics(config, device)
