"""A torch module over a model's named parameters, so that a checkpoint is a `torch.nn.Module` like any other."""

from collections.abc import Mapping

import numpy as np
import torch

from circuits.config import Model


class Network(torch.nn.Module):
    """The network that `model` describes, holding `parameters` under their names.

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
            self.register_parameter(name, torch.nn.Parameter(torch.from_numpy(np.array(values))))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Outputs (example,) for inputs (example, input), in the parameters' dtype."""
        parameters = dict(self.named_parameters())
        dtype = next(iter(parameters.values())).dtype
        return self.model.forward(parameters, inputs.to(dtype))
