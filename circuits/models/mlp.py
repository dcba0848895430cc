"""A multilayer perceptron: any number of hidden layers, on numbers or on embedded tokens.

    x_0 = input,   x_i = σ(W_i x_{i-1} + b_i),   f(x) = U x_L + c

With one-hot slots the first W is an embedding per slot: W x = Σ_slot W_slot[token]. Tokens can also be embedded first,
by one table for all positions (`shared`) or by one for each (`per_slot`), and are then added up or laid side by side. A
shared table whose embeddings are added up makes a network that cannot tell x, y from y, x.

Initialized as PyTorch's `nn.Linear`, W_i, b_i, U and c uniform on ±1/√fan-in and embeddings standard normal, or by
`init="normal"`: every weight normal with variance 1/fan-in, biases 0.
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
    """A multilayer perceptron on numbers, such as signs or one-hot slots."""

    kind: Literal["mlp"] = "mlp"
    widths: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] = (128,)
    """Neurons of each hidden layer."""
    activation: Literal["relu", "gelu", "tanh", "square"] = "relu"
    """What each hidden neuron does to its input."""
    biases: bool = True
    """Whether neurons and outputs have biases."""
    init: Literal["uniform", "normal"] = "uniform"
    """uniform: as PyTorch's nn.Linear, on ±1/√fan-in; normal: variance 1/fan-in, biases 0."""

    def shapes(self, signature: Signature) -> Shapes:
        """`hidden.I.W` (neuron, input or neuron before), `hidden.I.b`, `readout.W` (class, neuron), `readout.b`.

        Examples
        --------
        >>> list(MLP(widths=(5, 4), biases=False).shapes(Signature(6, n_classes=3)).items())[1:]
        [('hidden.1.W', (('neuron1', 'neuron0'), (4, 5))), ('readout.W', (('class', 'neuron1'), (3, 4)))]
        """
        n_inputs = self._first_inputs(signature)
        sizes = [(n_inputs[0], n_inputs[1]), *zip(self._neurons(), self.widths, strict=True)]
        shapes: Shapes = {}
        for layer, ((before, n_before), (dim, width)) in enumerate(pairwise(sizes)):
            shapes[f"hidden.{layer}.W"] = ((dim, before), (width, n_before))
            if self.biases:
                shapes[f"hidden.{layer}.b"] = ((dim,), (width,))
        last, width = sizes[-1]
        if signature.n_classes is None:
            shapes["readout.W"] = ((last,), (width,))
            return shapes | ({"readout.b": ((), ())} if self.biases else {})
        shapes["readout.W"] = (("class", last), (signature.n_classes, width))
        return shapes | ({"readout.b": (("class",), (signature.n_classes,))} if self.biases else {})

    def initial(self, signature: Signature, seed: int) -> dict[str, np.ndarray]:
        """Drawn in the order of `shapes` from one stream per seed."""
        random = generator("init", seed)
        shapes = self.shapes(signature)
        parameters = {}
        for name, (_, shape) in shapes.items():
            if name == "embed":
                continue
            fan_in = shapes[name.rpartition(".")[0] + ".W"][1][-1]
            if self.init == "normal":
                is_bias = name.endswith(".b")
                parameters[name] = np.zeros(shape) if is_bias else random.normal(0, fan_in**-0.5, shape)
            else:
                parameters[name] = np.asarray(random.uniform(-(fan_in**-0.5), fan_in**-0.5, shape))
        return parameters

    def forward(self, parameters: Mapping[str, torch.Tensor], inputs: torch.Tensor, tap: Tap = untouched) -> Any:
        """Outputs (example,) or (example, class); hook points `hidden.I.hook_pre` and `hidden.I.hook_post`."""
        return self._through_layers(parameters, tap("hook_input", inputs), tap)

    def prunable_layers(self, signature: Signature) -> dict[str, PrunableLayer]:
        """Every hidden layer; the readout of the last is linear."""
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
        outputs = (
            values @ parameters["readout.W"].mT
            if parameters["readout.W"].ndim > 1
            else values @ parameters["readout.W"]
        )
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

    def _neurons(self) -> list[str]:
        """Dimension of each layer's neurons."""
        return ["neuron"] if len(self.widths) == 1 else [f"neuron{layer}" for layer in range(len(self.widths))]

    def _first_inputs(self, signature: Signature) -> tuple[str, int]:
        """Dimension and number of what the first layer reads."""
        return "input", signature.n_inputs


class EmbeddedMLP(MLP):
    """A multilayer perceptron on tokens, each embedded first."""

    reads: ClassVar[Literal["numbers", "tokens"]] = "tokens"
    noise_at: ClassVar[str] = "hook_embed"
    kind: Literal["embedded_mlp"] = "embedded_mlp"  # type: ignore[assignment]
    embedding: Literal["shared", "per_slot"] = "shared"
    """One table of embeddings for all positions, or one for each."""
    joined: Literal["sum", "concat"] = "sum"
    """How the positions' embeddings become the first layer's input: added up, or laid side by side."""
    d_embed: PositiveInt = 128
    """Length of an embedding."""

    def shapes(self, signature: Signature) -> Shapes:
        """`embed` (token, embedding) or (position, token, embedding), then as `MLP` on the joined ones."""
        d_vocab = signature.d_vocab or 0
        dims: tuple[str, ...] = ("token", "embedding")
        shape: tuple[int, ...] = (d_vocab, self.d_embed)
        if self.embedding == "per_slot":
            dims, shape = ("position", *dims), (signature.n_inputs, *shape)
        return {"embed": (dims, shape), **super().shapes(signature)}

    def initial(self, signature: Signature, seed: int) -> dict[str, np.ndarray]:
        """Embeddings standard normal, as PyTorch's `nn.Embedding`, or with variance 1/token; the rest as `MLP`."""
        shapes = self.shapes(signature)
        scale = (signature.d_vocab or 1) ** -0.5 if self.init == "normal" else 1.0
        embed = generator("init", seed, 1).normal(0, scale, shapes["embed"][1])
        return {**super().initial(signature, seed), "embed": embed}

    def forward(self, parameters: Mapping[str, torch.Tensor], inputs: torch.Tensor, tap: Tap = untouched) -> Any:
        """As `MLP`, with the hook point `hook_embed` (example, position, embedding)."""
        import torch

        table = parameters["embed"]
        if self.embedding == "per_slot":  # as one table, in which each position has its own rows
            inputs = inputs + table.shape[-2] * torch.arange(inputs.shape[-1], device=inputs.device)
            table = table.flatten(-3, -2)
        embedded = torch.nn.functional.embedding(inputs, table)  # its gradient is summed in one order
        embedded = tap("hook_embed", embedded)
        return self._through_layers(parameters, embedded.sum(-2) if self.joined == "sum" else embedded.flatten(-2), tap)

    def embedding_table(self, parameters: Mapping[str, np.ndarray]) -> np.ndarray:
        """(token, embedding), or (position, token, embedding)."""
        return parameters["embed"]

    def _first_inputs(self, signature: Signature) -> tuple[str, int]:
        if self.joined == "sum":
            return "embedding", self.d_embed
        return "embedded", signature.n_inputs * self.d_embed
