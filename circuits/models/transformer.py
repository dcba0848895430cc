"""A decoder-only transformer, read at its last position, with TransformerLens's parameters, names and hook points.

    x_p = W_E[t_p] + W_pos[p] for token t_p at position p; then per layer, over heads h and positions q <= p,
    x_p ← x_p + Σ_h Σ_q A^h_pq (x_q W_V^h + b_V^h) W_O^h + b_O         A^h = softmax(Q^h K^hᵀ / √d_head)
    x_p ← x_p + act(x_p W_in + b_in) W_out + b_out                      logits = x_last W_U

with an optional LayerNorm before attention, MLP and unembedding. Nanda et al. 2023 train one such layer without
normalization on "x y ="; Power et al. 2022 train two layers. `bridge` returns the same network as a TransformerLens
bridge, with `run_with_cache` and all its hooks. By default the unembedding has no bias: TransformerLens's b_U is zero.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from einops import einsum, rearrange
from pydantic import model_validator

from circuits.config_base import Decay, LayerCount, PositiveInt
from circuits.errors import InputError
from circuits.interfaces import Model, PrunableLayer, Shapes, Signature, Tap, untouched
from circuits.randomness import generator

if TYPE_CHECKING:
    import torch

EPS = 1e-5  # of a LayerNorm, TransformerLens's default
OUTPUTS = ("W_O", "W_out")  # weights into the residual stream, initialized smaller in deep networks, as in GPT-2


class Transformer(Model):
    """A decoder-only transformer with learned positions and causal attention."""

    kind: Literal["transformer"] = "transformer"
    reads: ClassVar[Literal["numbers", "tokens"]] = "tokens"
    noise_at: ClassVar[str] = "hook_embed"
    n_layers: LayerCount = 1
    """Number of blocks of attention and MLP."""
    n_heads: PositiveInt = 4
    """Number of attention heads in each layer."""
    d_model: PositiveInt = 128
    """Width of the residual stream."""
    d_head: PositiveInt | None = None
    """Width of a head; by default d_model / n_heads."""
    d_mlp: PositiveInt = 512
    """Hidden neurons of each MLP."""
    activation: Literal["relu", "gelu"] = "relu"
    """Activation function of the MLPs."""
    normalization: Literal["LN"] | None = None
    """LN: a LayerNorm with weight and bias before attention, MLP and unembedding; by default none."""
    biases: bool = True
    """Train the biases of attention, MLP and LayerNorm; otherwise they stay 0."""
    unembedding_bias: bool = False
    """Whether the logits have a bias, `unembed.b_U`."""
    dropout: Decay = 0.0
    """Probability of dropping each entry of the attention and MLP outputs, in training."""

    @model_validator(mode="after")
    def _heads_fill_the_stream(self) -> Transformer:
        if self.d_head is None and self.d_model % self.n_heads:
            raise ValueError(
                f"d_model = {self.d_model} is not a multiple of n_heads = {self.n_heads}; change one, or set d_head"
            )
        return self

    @property
    def head_width(self) -> int:
        """Width of a head.

        Examples
        --------
        >>> Transformer(n_heads=4, d_model=128).head_width
        32
        """
        return self.d_model // self.n_heads if self.d_head is None else self.d_head

    @property
    def frozen(self) -> tuple[str, ...]:
        """Names of the biases if they are not trained; otherwise empty.

        Examples
        --------
        >>> Transformer(biases=False).frozen[:2]
        ('blocks.0.attn.b_Q', 'blocks.0.attn.b_K')
        """
        names = self.shapes(Signature(1, 1, 1))
        return () if self.biases else tuple(name for name in names if _is_bias(name))

    @property
    def dropout_at(self) -> dict[str, float]:
        """Dropout probability during training, by the name of the hook point.

        Examples
        --------
        >>> Transformer(dropout=0.1).dropout_at
        {'blocks.0.hook_attn_out': 0.1, 'blocks.0.hook_mlp_out': 0.1}
        """
        hooks = [f"blocks.{i}.hook_{part}_out" for i in range(self.n_layers) for part in ("attn", "mlp")]
        return dict.fromkeys(hooks, self.dropout) if self.dropout else {}

    def shapes(self, signature: Signature) -> Shapes:
        """Dimensions and shape of each parameter: TransformerLens's parameters under the same names, without b_U.

        Raise an `InputError` if the task has no tokens or no classes.

        Examples
        --------
        >>> shapes = Transformer().shapes(Signature(n_inputs=3, n_classes=113, d_vocab=114))
        >>> shapes["blocks.0.attn.W_Q"], shapes["unembed.W_U"]
        ((('head', 'd_model', 'd_head'), (4, 128, 32)), (('d_model', 'class'), (128, 113)))
        """
        if signature.d_vocab is None or signature.n_classes is None:
            raise InputError(
                "A transformer reads tokens and gives a logit per class, but the task has no tokens or no classes. "
                "Choose a task that has both, such as modular."
            )
        sizes = {
            "token": signature.d_vocab, "position": signature.n_inputs, "class": signature.n_classes,
            "head": self.n_heads, "d_model": self.d_model, "d_head": self.head_width, "neuron": self.d_mlp,
        }  # fmt: skip
        norm = {"w": ("d_model",), "b": ("d_model",)} if self.normalization else {}
        block: dict[str, tuple[str, ...]] = {
            **{f"attn.W_{which}": ("head", "d_model", "d_head") for which in "QKV"},
            "attn.W_O": ("head", "d_head", "d_model"),
            **{f"attn.b_{which}": ("head", "d_head") for which in "QKV"},
            "attn.b_O": ("d_model",),
            "mlp.W_in": ("d_model", "neuron"), "mlp.b_in": ("neuron",),
            "mlp.W_out": ("neuron", "d_model"), "mlp.b_out": ("d_model",),
            **{f"{ln}.{name}": dims for ln in ("ln1", "ln2") for name, dims in norm.items()},
        }  # fmt: skip
        dims = {
            "embed.W_E": ("token", "d_model"),
            "pos_embed.W_pos": ("position", "d_model"),
            **{f"blocks.{i}.{name}": dims for i in range(self.n_layers) for name, dims in block.items()},
            **{f"ln_final.{name}": dims for name, dims in norm.items()},
            "unembed.W_U": ("d_model", "class"),
            **({"unembed.b_U": ("class",)} if self.unembedding_bias else {}),
        }
        return {name: (axes, tuple(sizes[axis] for axis in axes)) for name, axes in dims.items()}

    def initial(self, signature: Signature, seed: int) -> dict[str, np.ndarray]:
        """TransformerLens's gpt2 scheme: weights N(0, 0.64 / d_model), with W_O and W_out divided by √(2 n_layers).

        LayerNorm weights are 1, biases 0. The draws are in the order of `shapes`, from one random stream per seed.
        """
        random = generator("init", seed)
        scale = 0.8 / math.sqrt(self.d_model)
        parameters = {}
        for name, (_, shape) in self.shapes(signature).items():
            if _is_bias(name):
                parameters[name] = np.zeros(shape)
            elif name.endswith(".w"):
                parameters[name] = np.ones(shape)
            else:
                smaller = math.sqrt(2 * self.n_layers) if name.endswith(OUTPUTS) else 1.0
                parameters[name] = random.normal(0.0, scale / smaller, shape)
        return parameters

    def forward(
        self, parameters: Mapping[str, torch.Tensor], inputs: torch.Tensor, tap: Tap = untouched
    ) -> torch.Tensor:
        """Logits at the last position: tokens (example, position) -> (example, class).

        `tap` gets values at TransformerLens's hook_embed, and at these hooks of each `blocks.i`: hook_resid_pre,
        hook_attn_out, hook_resid_mid, hook_mlp_out and hook_resid_post, (example, position, d_model); mlp.hook_pre and
        mlp.hook_post, (example, position, neuron); attn.hook_pattern, (example, head, query, key); attn.hook_z,
        (example, query, head, d_head).
        The last block computes the last position alone. So in the last block, the dimensions query and position have
        length 1. One hook of the last block still has all positions: hook_resid_pre, the input of keys and values.
        """
        from torch.nn.functional import embedding  # its gradient is summed in one order, that of indexing is not

        stream = tap("hook_embed", embedding(inputs, parameters["embed.W_E"]))  # (example, position, d_model)
        stream = stream + parameters["pos_embed.W_pos"][: inputs.shape[-1]]
        for i in range(self.n_layers):
            block = f"blocks.{i}"
            stream = tap(f"{block}.hook_resid_pre", stream)
            read = self._normalized(parameters, f"{block}.ln1", stream)
            if i == self.n_layers - 1:
                stream = stream[..., -1:, :]
            written = self._attention(parameters, block, read, stream.shape[-2], tap)
            stream = tap(f"{block}.hook_resid_mid", stream + tap(f"{block}.hook_attn_out", written))
            read = self._normalized(parameters, f"{block}.ln2", stream)
            before = read @ parameters[f"{block}.mlp.W_in"] + parameters[f"{block}.mlp.b_in"]
            after = tap(f"{block}.mlp.hook_post", self.activated(tap(f"{block}.mlp.hook_pre", before)))
            written = after @ parameters[f"{block}.mlp.W_out"] + parameters[f"{block}.mlp.b_out"]
            stream = tap(f"{block}.hook_resid_post", stream + tap(f"{block}.hook_mlp_out", written))
        logits = self._normalized(parameters, "ln_final", stream)[..., -1, :] @ parameters["unembed.W_U"]
        return logits + parameters["unembed.b_U"] if self.unembedding_bias else logits

    @property
    def can_prepare(self) -> bool:
        """Whether `prepared` may return a faster forward pass: True for one layer without normalization."""
        return self.n_layers == 1 and self.normalization is None and not self.unembedding_bias

    def prepared(self, inputs: torch.Tensor) -> Callable[[Mapping[str, torch.Tensor]], torch.Tensor] | None:
        """A forward pass by `attention_tables` that is faster than `forward` for these inputs, or None.

        The result is None unless `can_prepare` is True, the inputs are on the CPU, all sequences end on the same token,
        and the number of distinct (token, position) pairs before this token is at most the number of sequences.
        """
        if not self.can_prepare:
            return None
        from circuits.models.attention_tables import forward_by_tables, tables_of

        tables = tables_of(inputs)
        return None if tables is None else partial(forward_by_tables, tables=tables, activated=self.activated)

    def _attention(
        self, parameters: Mapping[str, torch.Tensor], block: str, read: torch.Tensor, n_queries: int, tap: Tap
    ) -> torch.Tensor:
        """Output of attention at the last `n_queries` positions, (example, query, d_model).

        `read` is the attention's input at all positions, (example, position, d_model). `block` is a name: "blocks.0".
        """
        import torch

        def projected(which: str, read: torch.Tensor) -> torch.Tensor:
            weights, bias = parameters[f"{block}.attn.W_{which}"], parameters[f"{block}.attn.b_{which}"]
            heads = einsum(read, weights, "... position d_model, head d_model d_head -> ... head position d_head")
            return heads + bias[:, None]

        n_keys = read.shape[-2]
        queries, keys, values = projected("Q", read[..., -n_queries:, :]), projected("K", read), projected("V", read)
        scores = queries @ keys.mT / math.sqrt(self.head_width)  # (example, head, query, key)
        later = torch.ones(n_keys, n_keys, dtype=torch.bool, device=read.device).triu(1)[-n_queries:]
        pattern = tap(f"{block}.attn.hook_pattern", scores.masked_fill(later, -math.inf).softmax(-1))
        W_O, b_O = parameters[f"{block}.attn.W_O"], parameters[f"{block}.attn.b_O"]
        mixed = pattern @ values
        if tap is not untouched:
            mixed = rearrange(mixed, "... head query d_head -> ... query head d_head")
            mixed = rearrange(tap(f"{block}.attn.hook_z", mixed), "... query head d_head -> ... head query d_head")
        return einsum(mixed, W_O, "... head query d_head, head d_head d_model -> ... query d_model") + b_O

    def activated(self, before: torch.Tensor) -> torch.Tensor:
        """The MLP's activation function, applied to `before`."""
        import torch

        return before.relu() if self.activation == "relu" else torch.nn.functional.gelu(before)

    def _normalized(self, parameters: Mapping[str, torch.Tensor], name: str, stream: torch.Tensor) -> torch.Tensor:
        if self.normalization is None:
            return stream
        import torch

        weight, bias = parameters[f"{name}.w"], parameters[f"{name}.b"]
        return torch.nn.functional.layer_norm(stream, (self.d_model,), weight, bias, EPS)

    def prunable_layers(self, signature: Signature) -> dict[str, PrunableLayer]:
        """Every layer's attention heads and MLP. Without normalization, the last MLP has a linear `readout`."""

        def layer(i: int) -> PrunableLayer:
            mlp = f"blocks.{i}.mlp"

            def incoming(net: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
                return net[f"{mlp}.W_in"].T, net[f"{mlp}.b_in"]

            def readout(net: Mapping[str, np.ndarray]) -> np.ndarray:
                return net[f"{mlp}.W_out"] @ net["unembed.W_U"]

            is_linear = i == self.n_layers - 1 and self.normalization is None
            return PrunableLayer(self.d_mlp, incoming, readout if is_linear else None)

        def heads(i: int) -> PrunableLayer:
            def incoming(net: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
                of_head = [rearrange(net[f"blocks.{i}.attn.W_{which}"], "head d h -> head (d h)") for which in "QKV"]
                W = np.concatenate([*of_head, *(net[f"blocks.{i}.attn.b_{which}"] for which in "QKV")], axis=1)
                return W, np.zeros(self.n_heads, W.dtype)

            return PrunableLayer(self.n_heads, incoming, None, axis=-2)

        return {
            name: part
            for i in range(self.n_layers)
            for name, part in ((f"blocks.{i}.attn.hook_z", heads(i)), (f"blocks.{i}.mlp.hook_post", layer(i)))
        }

    def embedding_table(self, parameters: Mapping[str, np.ndarray]) -> np.ndarray:
        """W_E, (token, d_model)."""
        return parameters["embed.W_E"]

    def unembedding_table(self, parameters: Mapping[str, np.ndarray]) -> np.ndarray:
        """W_U, (d_model, class)."""
        return parameters["unembed.W_U"]

    def bridge(self, parameters: Mapping[str, np.ndarray], signature: Signature) -> torch.nn.Module:
        """A TransformerLens bridge with these parameters; its outputs are logits at every position."""
        import torch
        from transformer_lens.config import TransformerBridgeConfig
        from transformer_lens.model_bridge import TransformerBridge

        bridge = TransformerBridge.boot_native(  # type: ignore[attr-defined]  # it is attached when imported
            TransformerBridgeConfig(
                n_layers=self.n_layers, n_heads=self.n_heads, d_model=self.d_model, d_head=self.head_width,
                d_mlp=self.d_mlp, act_fn=self.activation, normalization_type=self.normalization, eps=EPS,
                n_ctx=signature.n_inputs, d_vocab=len(parameters["embed.W_E"]),
                d_vocab_out=parameters["unembed.W_U"].shape[1],
                seed=0,  # its draws are replaced; with a seed it does not use torch's global generator
            ),
            dtype=torch.from_numpy(np.asarray(parameters["embed.W_E"])).dtype,
        )  # fmt: skip
        views = dict(bridge.tl_named_parameters())
        with torch.no_grad():
            for name, values in parameters.items():
                views[name].copy_(torch.from_numpy(np.array(values)))
        return bridge


def _is_bias(name: str) -> bool:
    return name.rpartition(".")[2].startswith("b")
