"""A `torch.nn.Module` with a model's forward pass and a checkpoint's parameters, each under its own name."""

from collections.abc import Mapping

import numpy as np
import torch

from circuits.interfaces import Model, Tap, untouched


class Network(torch.nn.Module):
    """The network that `model` describes, as a torch module in which each of `parameters` keeps its name.

    Examples
    --------
    >>> from circuits.models.linear import Linear
    >>> net = Network(Linear(), {"w": np.array([2.0, -1.0]), "c": np.array(0.5)})
    >>> net(torch.tensor([[1.0, 1.0]], dtype=torch.float64)).item()
    1.5
    """

    def __init__(self, model: Model, parameters: Mapping[str, np.ndarray]) -> None:
        super().__init__()
        self.model = model
        for name, values in parameters.items():
            place, leaf = place_of(self, name)
            trained = name not in model.frozen
            place.register_parameter(leaf, torch.nn.Parameter(torch.from_numpy(np.array(values)), trained))

    def forward(self, inputs: torch.Tensor, tap: Tap = untouched) -> torch.Tensor:
        """Outputs (example,) or (example, class) for inputs (example, input), numbers or tokens."""
        parameters = dict(self.named_parameters())
        dtype = torch.long if self.model.reads == "tokens" else next(iter(parameters.values())).dtype
        return self.model.forward(parameters, inputs.to(dtype), tap)


def place_of(module: torch.nn.Module, name: str) -> tuple[torch.nn.Module, str]:
    """For a dotted name such as "a.b.W": the submodule a.b, created if missing, and the last part, "W"."""
    *folders, leaf = name.split(".")
    for folder in folders:
        if folder not in module._modules:
            module.add_module(folder, torch.nn.Module())
        module = module.get_submodule(folder)
    return module, leaf
