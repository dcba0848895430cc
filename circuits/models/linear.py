"""No hidden layer: f(x) = w·x + c.

A control: parity of k >= 2 bits is uncorrelated with every single bit, so no linear network computes it. A linear
network's correct answers on the training set are therefore memorized.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from circuits.interfaces import Model, Shapes, Signature, Tap, untouched
from circuits.randomness import generator

if TYPE_CHECKING:
    import torch


class Linear(Model):
    """A linear network: weights `w` (input,), bias `c` ()."""

    gives_classes: ClassVar[bool] = False
    kind: Literal["linear"] = "linear"

    def shapes(self, signature: Signature) -> Shapes:
        """`w` (input,), `c` ()."""
        return {"w": (("input",), (signature.n_inputs,)), "c": ((), ())}

    def initial(self, signature: Signature, seed: int) -> dict[str, np.ndarray]:
        """Initial parameters, uniform on ±1/√(number of inputs) as in PyTorch's `nn.Linear`."""
        random = generator("init", seed)
        bound = signature.n_inputs**-0.5
        return {
            name: np.asarray(random.uniform(-bound, bound, shape))
            for name, (_, shape) in self.shapes(signature).items()
        }

    def embedding_table(self, parameters: Mapping[str, np.ndarray]) -> np.ndarray:
        """The weights w, (input, 1)."""
        return parameters["w"][:, None]

    def forward(
        self, parameters: Mapping[str, torch.Tensor], inputs: torch.Tensor, tap: Tap = untouched
    ) -> torch.Tensor:
        """f(x) = w·x + c: (example, input) -> (example,)."""
        return tap("hook_input", inputs) @ parameters["w"] + parameters["c"]
