"""A multilayer perceptron: any number of hidden layers, on numbers or on embedded tokens.

    v_0 = input,   v_i = σ(W_i v_{i-1} + b_i) for hidden layers i = 1 … L and activation σ,   output = U v_L + c

`MLP` reads numbers. If they are one-hot vectors, W_1 v_0 is a sum of columns of W_1, one column per vector.
`EmbeddedMLP` reads tokens: v_0 is the sum of the tokens' embeddings, or their concatenation. If v_0 is a sum, and all
positions share one embedding table, the network cannot distinguish the input 3, 5 from the input 5, 3.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from circuits.config_base import PositiveInt
from circuits.interfaces import Model, PrunableLayer, Shapes, Signature, Tap, untouched
from circuits.randomness import generator

if TYPE_CHECKING:
    import torch


class MLP(Model):
    """A multilayer perceptron on numbers, such as signs or one-hot vectors."""

    kind: Literal["mlp"] = "mlp"
    widths: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] = (128,)
    """Neurons of each hidden layer."""
    activation: Literal["relu", "gelu", "tanh", "square"] = "relu"
    """Activation function of the hidden neurons."""
    biases: bool = True
    """Whether neurons and outputs have biases."""
    init: Literal["uniform", "normal"] = "uniform"
    """uniform: between -1/√fan-in and 1/√fan-in, as in PyTorch's nn.Linear; normal: variance 1/fan-in, biases 0."""

    def shapes(self, signature: Signature) -> Shapes:
        """`hidden.I.W` (neuron, input or neuron of layer I-1), `hidden.I.b`, `readout.W` (class, neuron), `readout.b`.

        Examples
        --------
        >>> list(MLP(widths=(5, 4), biases=False).shapes(Signature(6, n_classes=3)).items())[1:]
        [('hidden.1.W', (('neuron1', 'neuron0'), (4, 5))), ('readout.W', (('class', 'neuron1'), (3, 4)))]
        """
        dims = ["neuron"] if len(self.widths) == 1 else [f"neuron{layer}" for layer in range(len(self.widths))]
        sizes = [self._first_inputs(signature), *zip(dims, self.widths, strict=True)]
        shapes: Shapes = {}
        for layer, ((before, n_before), (dim, width)) in enumerate(pairwise(sizes)):
            shapes[f"hidden.{layer}.W"] = ((dim, before), (width, n_before))
            if self.biases:
                shapes[f"hidden.{layer}.b"] = ((dim,), (width,))
        (last, width), n_classes = sizes[-1], signature.n_classes
        classes: tuple[str, ...] = () if n_classes is None else ("class",)
        n_outputs: tuple[int, ...] = () if n_classes is None else (n_classes,)
        shapes["readout.W"] = ((*classes, last), (*n_outputs, width))
        return shapes | ({"readout.b": (classes, n_outputs)} if self.biases else {})

    def initial(self, signature: Signature, seed: int) -> dict[str, np.ndarray]:
        """Initial parameters, drawn in the order of `shapes` from one random stream per seed."""
        random = generator("init", seed)
        shapes = self.shapes(signature)
        parameters = {}
        for name, (_, shape) in shapes.items():
            if name == "embed":
                continue
            bound = shapes[name.rpartition(".")[0] + ".W"][1][-1] ** -0.5  # 1/√fan-in
            if self.init == "normal":
                parameters[name] = np.zeros(shape) if name.endswith(".b") else random.normal(0, bound, shape)
            else:
                parameters[name] = np.asarray(random.uniform(-bound, bound, shape))
        return parameters

    def forward(self, parameters: Mapping[str, torch.Tensor], inputs: torch.Tensor, tap: Tap = untouched) -> Any:
        """Outputs (example,) or (example, class) for numbers (example, input).

        `tap` sees the inputs as `hook_input`. For hidden layer I = 0, 1, …, `tap` sees the values (example, neuron)
        before and after the activation as `hidden.I.hook_pre` and `hidden.I.hook_post`.
        """
        return self._through_layers(parameters, tap("hook_input", inputs), tap)

    def prunable_layers(self, signature: Signature) -> dict[str, PrunableLayer]:
        """Every hidden layer; only the last has a `readout`, since the outputs are not linear in earlier layers."""
        last = len(self.widths) - 1
        return {f"hidden.{layer}.hook_post": self._layer(layer, layer == last) for layer in range(len(self.widths))}

    def embedding_table(self, parameters: Mapping[str, np.ndarray]) -> np.ndarray:
        """Weights into the first hidden layer, (input, neuron)."""
        return parameters["hidden.0.W"].T

    def unembedding_table(self, parameters: Mapping[str, np.ndarray]) -> np.ndarray:
        """Weights out of the last hidden layer, (neuron, class)."""
        return np.atleast_2d(parameters["readout.W"]).T

    def _layer(self, layer: int, is_last: bool) -> PrunableLayer:
        width = self.widths[layer]

        def incoming(net: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
            W = net[f"hidden.{layer}.W"]
            return W, net[f"hidden.{layer}.b"] if self.biases else np.zeros(width, W.dtype)

        def readout(net: Mapping[str, np.ndarray]) -> np.ndarray:
            return net["readout.W"].reshape(-1, width).T

        return PrunableLayer(width, incoming, readout if is_last else None)

    def _through_layers(self, parameters: Mapping[str, torch.Tensor], values: torch.Tensor, tap: Tap) -> Any:
        for layer in range(len(self.widths)):
            values = values @ parameters[f"hidden.{layer}.W"].mT
            if self.biases:
                values = values + parameters[f"hidden.{layer}.b"]
            values = tap(f"hidden.{layer}.hook_post", self._activated(tap(f"hidden.{layer}.hook_pre", values)))
        W = parameters["readout.W"]
        outputs = values @ (W.mT if W.ndim > 1 else W)
        return outputs + parameters["readout.b"] if self.biases else outputs

    def _activated(self, values: torch.Tensor) -> torch.Tensor:
        import torch

        match self.activation:
            case "relu":
                return values.relu()
            case "tanh":
                return values.tanh()
            case "square":
                return values * values  # its backward pass is cheaper than that of a power
        return torch.nn.functional.gelu(values)

    def _first_inputs(self, signature: Signature) -> tuple[str, int]:
        """Name of the dimension of the first layer's inputs, and the number of these inputs."""
        return "input", signature.n_inputs


class EmbeddedMLP(MLP):
    """A multilayer perceptron that first embeds each token."""

    reads: ClassVar[Literal["numbers", "tokens"]] = "tokens"
    noise_at: ClassVar[str] = "hook_embed"
    kind: Literal["embedded_mlp"] = "embedded_mlp"  # type: ignore[assignment]
    embedding: Literal["shared", "per_slot"] = "shared"
    """One embedding table for all positions, or one for each position."""
    joined: Literal["sum", "concat"] = "sum"
    """How the positions' embeddings become the first layer's input: added, or concatenated."""
    d_embed: PositiveInt = 128
    """Length of an embedding."""

    def shapes(self, signature: Signature) -> Shapes:
        """`embed` (token, embedding) or (position, token, embedding), then the shapes of `MLP`."""
        d_vocab = signature.d_vocab or 0
        dims: tuple[str, ...] = ("token", "embedding")
        shape: tuple[int, ...] = (d_vocab, self.d_embed)
        if self.embedding == "per_slot":
            dims, shape = ("position", *dims), (signature.n_inputs, *shape)
        return {"embed": (dims, shape), **super().shapes(signature)}

    def initial(self, signature: Signature, seed: int) -> dict[str, np.ndarray]:
        """`MLP`'s parameters, and Gaussian embeddings: N(0, 1) if `init` is "uniform", N(0, 1/d_vocab) if "normal"."""
        shapes = self.shapes(signature)
        scale = (signature.d_vocab or 1) ** -0.5 if self.init == "normal" else 1.0  # 1 as in nn.Embedding
        embed = generator("init", seed, 1).normal(0, scale, shapes["embed"][1])
        return {**super().initial(signature, seed), "embed": embed}

    def forward(self, parameters: Mapping[str, torch.Tensor], inputs: torch.Tensor, tap: Tap = untouched) -> Any:
        """Outputs (example,) or (example, class) for tokens (example, position).

        `tap` sees the embeddings as `hook_embed`, (example, position, embedding). For hidden layer I = 0, 1, …, `tap`
        sees the values before and after the activation as `hidden.I.hook_pre` and `hidden.I.hook_post`.
        """
        import torch

        table = parameters["embed"]
        if self.embedding == "per_slot":  # one table, in which each position has its own rows
            inputs = inputs + table.shape[-2] * torch.arange(inputs.shape[-1], device=inputs.device)
            table = table.flatten(-3, -2)
        embedded = torch.nn.functional.embedding(inputs, table)  # its gradient is summed in one order
        embedded = tap("hook_embed", embedded)
        return self._through_layers(parameters, embedded.sum(-2) if self.joined == "sum" else embedded.flatten(-2), tap)

    def embedding_table(self, parameters: Mapping[str, np.ndarray]) -> np.ndarray:
        """The embedding table: (token, embedding), or (position, token, embedding)."""
        return parameters["embed"]

    def _first_inputs(self, signature: Signature) -> tuple[str, int]:
        if self.joined == "sum":
            return "embedding", self.d_embed
        return "embedded", signature.n_inputs * self.d_embed
