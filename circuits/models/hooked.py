"""A module that gives any network TransformerLens's hook points, for `run_with_cache` and `run_with_hooks`.

Models pass each named value through the function `tap`. Here `tap` calls the `HookPoint` of that name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from circuits.interfaces import Model, Signature
from circuits.models.network import Network, place_of

if TYPE_CHECKING:
    from transformer_lens import HookedRootModule


def hook_names(network: Network, signature: Signature) -> list[str]:
    """Names of a network's hook points, in the order of its forward pass."""
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
    model, parameters, signature
        The network's model, its parameters by name, and the signature of its inputs and outputs.

    Returns
    -------
    The module; like `run.model()`, it maps inputs (example, input) to outputs.
    """
    from transformer_lens import HookedRootModule
    from transformer_lens.hook_points import HookPoint

    class Hooked(HookedRootModule):
        def __init__(self) -> None:
            super().__init__()
            self.network = Network(model, parameters)
            for name in hook_names(self.network, signature):
                place, leaf = place_of(self, name)
                place.add_module(leaf, HookPoint())
            self.setup()

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return self.network(inputs, lambda name, value: self.get_submodule(name)(value))

    return Hooked()
