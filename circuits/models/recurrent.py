"""Recurrent networks on tokens: embed each token, run over the positions, read out the last state.

    rnn   h_t = tanh(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh)                    (Elman 1990)
    lstm  the gated cell of Hochreiter and Schmidhuber 1997, as in `torch.nn.LSTM`

Ahmed 2024, chapter 5 and Table 7.2; Liu, Chi and Wu, section 2. Names and initialization of parameters are torch's:
embeddings standard normal, all others uniform on ±1/√hidden. Dropout acts before the readout, since torch's own dropout
has no effect on a single layer.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from einops import rearrange

from circuits.config_base import Decay, LayerCount, PositiveInt
from circuits.interfaces import Model, PrunableLayer, Shapes, Signature, Tap, untouched
from circuits.randomness import generator

if TYPE_CHECKING:
    import torch


class Recurrent(Model):
    """Common base class of the models `rnn` and `lstm`."""

    reads: ClassVar[Literal["numbers", "tokens"]] = "tokens"
    lockstep: ClassVar[bool] = False
    noise_at: ClassVar[str] = "hook_embed"
    n_gates: ClassVar[int]
    n_layers: LayerCount = 1
    """Stacked recurrent layers."""
    d_embed: PositiveInt = 128
    """Length of a token's embedding."""
    hidden: PositiveInt = 128
    """Units of each layer."""
    dropout: Decay = 0.0
    """Probability of dropping a unit before the readout, in training."""

    @property
    def dropout_at(self) -> dict[str, float]:
        """{hook point before the readout: dropout probability}; empty without dropout."""
        return {"hook_dropped": self.dropout} if self.dropout else {}

    def shapes(self, signature: Signature) -> Shapes:
        """`embed` (token, embedding), `readout.W` (class, unit), `readout.b`, and four parameters of each layer.

        Layer 0 has `weight_ih_l0` (gate, embedding), `weight_hh_l0` (gate, unit), `bias_ih_l0` and `bias_hh_l0`
        (gate,). In later layers, `weight_ih` is (gate, unit of the layer below).
        """
        d_vocab, n_rows = signature.d_vocab or 0, self.n_gates * self.hidden
        shapes: Shapes = {"embed": (("token", "embedding"), (d_vocab, self.d_embed))}
        for layer in range(self.n_layers):
            below = ("embedding", self.d_embed) if layer == 0 else ("unit", self.hidden)
            shapes[f"weight_ih_l{layer}"] = (("gate", below[0]), (n_rows, below[1]))
            shapes[f"weight_hh_l{layer}"] = (("gate", "unit"), (n_rows, self.hidden))
            shapes[f"bias_ih_l{layer}"] = shapes[f"bias_hh_l{layer}"] = (("gate",), (n_rows,))
        n_classes = signature.n_classes
        dims: tuple[str, ...] = () if n_classes is None else ("class",)
        shape: tuple[int, ...] = () if n_classes is None else (n_classes,)
        return shapes | {"readout.W": ((*dims, "unit"), (*shape, self.hidden)), "readout.b": (dims, shape)}

    def initial(self, signature: Signature, seed: int) -> dict[str, np.ndarray]:
        """Initial parameters, drawn in the order of `shapes` from one random stream per seed."""
        random = generator("init", seed)
        bound = self.hidden**-0.5
        return {
            name: random.normal(0, 1, shape) if name == "embed" else np.asarray(random.uniform(-bound, bound, shape))
            for name, (_, shape) in self.shapes(signature).items()
        }

    def forward(self, parameters: Mapping[str, torch.Tensor], inputs: torch.Tensor, tap: Tap = untouched) -> Any:
        """Outputs (example,) or (example, class).

        Hook points are `hook_embed` (example, position, embedding), `hook_hidden` (example, position, unit), and
        `hook_dropped` (example, unit), the units at the last position after dropout.
        """
        from torch.nn.functional import embedding  # its gradient is summed in one order, that of indexing is not

        embedded = tap("hook_embed", embedding(inputs, parameters["embed"]))  # (example, position, embedding)
        flat = [
            parameters[f"{name}_l{layer}"]
            for layer in range(self.n_layers)
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        ]
        states = tap("hook_hidden", self._run(embedded, flat))  # (example, position, unit)
        W = parameters["readout.W"]
        return tap("hook_dropped", states[:, -1]) @ (W.mT if W.ndim > 1 else W) + parameters["readout.b"]

    def prunable_layers(self, signature: Signature) -> dict[str, PrunableLayer]:
        """The units of the last layer at the last position, on which the outputs depend linearly.

        A unit's incoming weights are the weights of all its gates, from the layer below and from the previous state.
        Pruning a unit removes it from the readout, not from the recurrence.
        """

        def incoming(net: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
            layer = self.n_layers - 1
            both = np.concatenate([net[f"weight_ih_l{layer}"], net[f"weight_hh_l{layer}"]], axis=1)
            W = rearrange(both, "(gate unit) source -> unit (gate source)", gate=self.n_gates)
            biases = net[f"bias_ih_l{layer}"] + net[f"bias_hh_l{layer}"]
            return W, np.linalg.norm(rearrange(biases, "(gate unit) -> gate unit", gate=self.n_gates), axis=0)

        layer = PrunableLayer(self.hidden, incoming, lambda net: net["readout.W"].reshape(-1, self.hidden).T)
        return {"hook_dropped": layer}

    def embedding_table(self, parameters: Mapping[str, np.ndarray]) -> np.ndarray:
        """The embedding table, (token, embedding)."""
        return parameters["embed"]

    def unembedding_table(self, parameters: Mapping[str, np.ndarray]) -> np.ndarray:
        """Weights out of the last layer's units, (unit, class)."""
        return np.atleast_2d(parameters["readout.W"]).T

    @abstractmethod
    def _run(self, embedded: torch.Tensor, flat: list[torch.Tensor]) -> torch.Tensor:
        """States of the last layer at every position, (example, position, unit).

        `flat` lists weight_ih, weight_hh, bias_ih and bias_hh of the first layer, then those of the next layer.
        """


class RNN(Recurrent):
    """An Elman network with tanh."""

    n_gates: ClassVar[int] = 1
    kind: Literal["rnn"] = "rnn"

    def _run(self, embedded: torch.Tensor, flat: list[torch.Tensor]) -> torch.Tensor:
        import torch

        start = embedded.new_zeros(self.n_layers, len(embedded), self.hidden)
        return torch.rnn_tanh(embedded, start, flat, True, self.n_layers, 0.0, False, False, True)[0]


class LSTM(Recurrent):
    """A long short-term memory network."""

    n_gates: ClassVar[int] = 4
    kind: Literal["lstm"] = "lstm"

    def _run(self, embedded: torch.Tensor, flat: list[torch.Tensor]) -> torch.Tensor:
        import torch

        start = embedded.new_zeros(self.n_layers, len(embedded), self.hidden)
        return torch.lstm(embedded, [start, start], flat, True, self.n_layers, 0.0, False, False, True)[0]
