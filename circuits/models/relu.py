"""One hidden ReLU layer: f(x) = uᵀ relu(W x + b), without an output bias.

Merrill et al. 2023, section 2. Initialization is that of PyTorch's `nn.Linear`: uniform on ±1/√(fan-in).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from circuits.config_base import PositiveInt
from circuits.interfaces import Model, PrunableLayer, Shapes, Signature, Tap, untouched
from circuits.randomness import generator

if TYPE_CHECKING:
    import torch


class Relu(Model):
    """One hidden ReLU layer."""

    gives_classes: ClassVar[bool] = False
    kind: Literal["relu"] = "relu"
    relu_parameters: ClassVar[tuple[str, str, str] | None] = ("W", "b", "u")
    width: PositiveInt = 1000
    """Hidden neurons."""

    def shapes(self, signature: Signature) -> Shapes:
        """`W` (neuron, input), `b` (neuron,), `u` (neuron,).

        Examples
        --------
        >>> Relu(width=4).shapes(Signature(n_inputs=3))["W"]
        (('neuron', 'input'), (4, 3))
        """
        neurons = (("neuron",), (self.width,))
        return {"W": (("neuron", "input"), (self.width, signature.n_inputs)), "b": neurons, "u": neurons}

    def initial(self, signature: Signature, seed: int) -> dict[str, np.ndarray]:
        """Weights W, biases b, output weights u, uniform on ±1/√fan-in. A stream per seed draws them in this order."""
        random = generator("init", seed)
        bound = {"W": signature.n_inputs**-0.5, "b": signature.n_inputs**-0.5, "u": self.width**-0.5}
        return {
            name: random.uniform(-bound[name], bound[name], shape)
            for name, (_, shape) in self.shapes(signature).items()
        }

    def forward(
        self, parameters: Mapping[str, torch.Tensor], inputs: torch.Tensor, tap: Tap = untouched
    ) -> torch.Tensor:
        """f(x) = uᵀ relu(W x + b): (example, input) -> (example,)."""
        before = tap("hook_pre", tap("hook_input", inputs) @ parameters["W"].mT + parameters["b"])
        return tap("hook_post", before.relu()) @ parameters["u"]  # of (example, neuron)

    def embedding_table(self, parameters: Mapping[str, np.ndarray]) -> np.ndarray:
        """The transposed weights Wᵀ, (input, neuron)."""
        return parameters["W"].T

    def unembedding_table(self, parameters: Mapping[str, np.ndarray]) -> np.ndarray:
        """The output weights u, (neuron, 1)."""
        return parameters["u"][:, None]

    def prunable_layers(self, signature: Signature) -> dict[str, PrunableLayer]:
        """The only hidden layer; its readout is the output weights u."""
        layer = PrunableLayer(self.width, lambda net: (net["W"], net["b"]), lambda net: net["u"][:, None])
        return {"hook_post": layer}
