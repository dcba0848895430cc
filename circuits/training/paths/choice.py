"""Choice of the training path (implementation of the update) for a config: by name, or the fastest that fits."""

from typing import Any, NamedTuple

from circuits.config import Config
from circuits.errors import InputError
from circuits.training.paths.stepper import Stepper

PATHS = ("fused", "batched", "prepared", "reference")  # in order of preference; the last serves everything
KERNELS = ("auto", *PATHS)
DEVICES = ("auto", "cpu", "cuda", "mps")


class Choice(NamedTuple):
    """The training path (the implementation of an update) and the device for a config."""

    path: type[Stepper]
    device: str

    def numerics(self, config: Config) -> dict[str, Any]:
        """What, besides the config, determines a run to the last bit: training path, device, hardware and libraries."""
        return {"path": self.path.name, "device": self.device, **self.path.numerics(config, self.device)}


def choose_path(config: Config, device: str = "auto", kernel: str = "auto") -> Choice:
    """The training path (implementation of the update) that `kernel` names, or the fastest for "auto"; and the device.

    Raise an `InputError` for an unknown device or kernel, for a device that this machine lacks, and for a path that
    cannot train the config on the device.
    """
    if device not in DEVICES:
        raise InputError(f"There is no device '{device}'. There are: {', '.join(DEVICES)}.")
    if kernel not in KERNELS:
        raise InputError(f"There is no kernel '{kernel}'. There are: {', '.join(KERNELS)}.")
    if config.model.is_recorded or config.optimizer.kind == "recorded":
        raise InputError(
            "A recorded run has no training loop of this package. Continue it in its own loop: circuits.record(…, "
            "resume=True)."
        )
    for name in PATHS if kernel == "auto" else (kernel,):
        path = _path(name)
        place = path.device(config, device)
        refusal = path.refusal(config, place)
        if refusal is None and (kernel != "auto" or path.pays(config, place)):
            return Choice(path, place)
    raise InputError(f"{refusal}: pass kernel='auto'")


def _path(name: str) -> type[Stepper]:
    """The class of a training path, imported only here, since torch and Numba load slowly."""
    if name == "fused":
        from circuits.training.paths.fused import FusedRelu

        return FusedRelu
    from circuits.training.paths.batched import Batched
    from circuits.training.paths.prepared import Prepared
    from circuits.training.paths.reference import Reference

    return {"batched": Batched, "prepared": Prepared, "reference": Reference}[name]
