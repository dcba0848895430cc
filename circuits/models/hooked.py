"""Any network with TransformerLens's hook points: `run_with_cache` and `run_with_hooks` on what a run holds.

Models pass each named value through a tap; here every name gets a `HookPoint`, and the tap is those.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from circuits.interfaces import Model, Signature
from circuits.models.network import Network

if TYPE_CHECKING:
    from transformer_lens import HookedRootModule


def hook_names(model: Model, network: Network, signature: Signature) -> list[str]:
    """Names of the values that a network passes through its tap, in their order."""
    names: list[str] = []

    def tap(name: str, value: Any) -> Any:
        names.append(name)
        return value

    with torch.no_grad():
        network(torch.zeros(1, signature.n_inputs), tap)
    return names


def hooked(model: Model, parameters: Mapping[str, np.ndarray], signature: Signature) -> HookedRootModule:
    """A network as a `HookedRootModule` with a hook point for every named value.

    Parameters
    ----------
    model, signature
        What it is, and what it takes and gives.
    parameters
        Its parameters by name.

    Returns
    -------
    The module; called with inputs (example, input) it gives the outputs, as `run.model()` does.
    """
    from transformer_lens import HookedRootModule
    from transformer_lens.hook_points import HookPoint

    class Hooked(HookedRootModule):
        """A network whose values pass through hook points."""

        def __init__(self) -> None:
            super().__init__()
            self.network = Network(model, parameters)
            for name in hook_names(model, self.network, signature):
                *folders, leaf = name.split(".")
                place: torch.nn.Module = self
                for folder in folders:
                    if folder not in place._modules:
                        place.add_module(folder, torch.nn.Module())
                    place = place.get_submodule(folder)
                place.add_module(leaf, HookPoint())
            self.setup()

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return self.network(inputs, lambda name, value: self.get_submodule(name)(value))

    return Hooked()
