"""Layouts of published networks: how their names and axes become a model of this package.

A layout recognizes a state dict by its names, reads all sizes from its shapes, and renames, transposes and fills up.
Buffers are left out. What shapes do not tell is a flag: the number of heads of a fused projection, the activation.

    own          names of this package, such as those that `circuits export` writes
    linear1      linear1, linear2: the code of Merrill et al. 2023 and of Fuangkawinsombut 2024
    nanda        one-layer code of Nanda et al. 2023: W_Q (head, d_head, d_model), W_E (d_model, token), W_O of two axes
    lens         TransformerLens: W_Q (head, d_model, d_head), W_E (token, d_model), W_O of three axes
    native       TransformerBridge.boot_native().state_dict(): attn.q.weight, attn.k.weight, … as `Linear`s
    fused        qkv projection of all heads in one matrix, pre-LayerNorm: a GPT block of `Linear`s
    tables       W_x, W_y, W, W_U: two embedding tables and one hidden layer (Chughtai, Chan and Nanda 2023)
    one-hot-sum  mlp.W_in, mlp.W_out on the sum of one-hot vectors, or of rows of embed.W_E
    embedded     embed, l1, l2, unembed as `Linear`s: an MLP on embedded tokens (Zhong et al. 2023)
    sequential   `torch.nn.Sequential` of Linear layers: 0.weight, 0.bias, 2.weight, …

The axis of W_E, W_Q, W_K, W_V, W_in, W_out and W_U that has the length d_model is told by W_pos (position, d_model). If
two axes have this length (d_model = d_vocab, say), the number of axes of W_O decides between nanda and lens.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from einops import rearrange

from circuits.convert.containers import listed
from circuits.errors import InputError

Arrays = dict[str, np.ndarray]
BUFFER = re.compile(r"(^|\.)(mask|causal_mask|IGNORE|basis|rotary_sin|rotary_cos)$")
PREFIXES = ("_orig_mod.", "module.", "network.", "model.", "net.")
NANDA = "blocks.0.attn.W_O"
BIASES = ("b_Q", "b_K", "b_V", "b_O")


class Network(NamedTuple):
    """A network in this package's names: fields of its model, parameters, and sizes that the task must have.

    `d_vocab`, `n_positions` and `n_classes` are None where the weights do not tell. `guesses` are further fields of the
    model, which the weights do not tell; the caller's values come first.
    """

    model: dict[str, Any]
    parameters: Arrays
    d_vocab: int | None
    n_positions: int | None
    n_classes: int | None
    remarks: tuple[str, ...] = ()
    guesses: Mapping[str, Any] = MappingProxyType({})


class Layout(NamedTuple):
    """A layout: whether a state dict has it, and the network of such a state dict."""

    recognizes: Callable[[Mapping[str, np.ndarray]], bool]
    network: Callable[[Arrays, Mapping[str, Any]], Network]


def read_network(tensors: Mapping[str, np.ndarray], given: Mapping[str, Any]) -> Network:
    """The network of a state dict; `given` are fields of the model that the caller states, such as n_heads.

    Raises
    ------
    InputError
        No layout fits, a needed field is not given, or a tensor has no place in the model.
    """
    arrays = without_prefix({name: values for name, values in tensors.items() if not BUFFER.search(name)})
    for name, layout in LAYOUTS.items():
        if layout.recognizes(arrays):
            _refuse_wrong_numbers(arrays)
            try:
                return layout.network(dict(arrays), given)
            except InputError:
                raise
            except (KeyError, IndexError, ValueError, TypeError, ZeroDivisionError, RuntimeError) as error:
                axes = listed(f"{key} {values.shape}" for key, values in arrays.items())
                what = f"it lacks {error}" if isinstance(error, KeyError) else f"its tensors have other axes: {axes}"
                raise InputError(f"the network has the names of the layout '{name}', but {what}.") from None
    raise InputError(
        f"no known layout has the names {listed(arrays) or 'none'}. The layouts are: {', '.join(LAYOUTS)}. Rename the "
        f"tensors, or use `circuits convert state-dicts --keys`."
    )


def _refuse_wrong_numbers(arrays: Arrays) -> None:
    for name, values in arrays.items():
        if values.dtype.kind != "f":
            raise InputError(f"'{name}' is {values.dtype}, not a tensor of floating-point numbers.")
        if not np.isfinite(values).all():
            raise InputError(
                f"'{name}' has {np.count_nonzero(~np.isfinite(values)):,} numbers that are NaN or infinite."
            )
        if not values.size:
            raise InputError(f"'{name}' has the shape {values.shape}, so it holds no number.")


def without_prefix(arrays: Mapping[str, np.ndarray]) -> Arrays:
    """Names without a prefix that all of them share, such as "module."."""
    for prefix in PREFIXES:
        if arrays and all(name.startswith(prefix) for name in arrays):
            return without_prefix({name.removeprefix(prefix): values for name, values in arrays.items()})
    return dict(arrays)


def _lens_like(arrays: Mapping[str, np.ndarray]) -> bool:
    return "embed.W_E" in arrays and NANDA in arrays and "unembed.W_U" in arrays


def _lens(arrays: Arrays, given: Mapping[str, Any]) -> Network:
    """TransformerLens's names and axes, those of the model `transformer`; biases that are missing are 0."""
    remarks = []
    for name in ("x_embed", "y_embed"):
        if name in arrays and np.array_equal(arrays[name], arrays["embed.W_E"]):
            del arrays[name]
            remarks.append(f"{name} equals embed.W_E and is left out")
    d_model = arrays["pos_embed.W_pos"].shape[1]
    arrays = {name: _oriented(name, values, d_model) for name, values in arrays.items()}
    blocks = [int(match[1]) for match in map(re.compile(r"blocks\.(\d+)\.").match, arrays) if match]
    n_layers = min(1 + max(blocks), len(arrays))
    heads, _, d_head = arrays["blocks.0.attn.W_Q"].shape
    if "blocks.0.mlp.W_in" not in arrays:
        raise InputError("the network has attention without an MLP. The model 'transformer' has an MLP in every layer.")
    d_mlp = arrays["blocks.0.mlp.W_in"].shape[1]
    dtype = arrays["embed.W_E"].dtype
    for i in range(n_layers):
        for name in BIASES:
            shape = (d_model,) if name == "b_O" else (heads, d_head)
            arrays.setdefault(f"blocks.{i}.attn.{name}", np.zeros(shape, dtype))
        for name, size in (("b_in", d_mlp), ("b_out", d_model)):
            arrays.setdefault(f"blocks.{i}.mlp.{name}", np.zeros(size, dtype))
    bias = arrays.get("unembed.b_U")
    if bias is not None and not bias.any():
        del arrays["unembed.b_U"]
        bias = None
    model = {
        "kind": "transformer", "n_layers": n_layers, "n_heads": heads, "d_model": d_model, "d_mlp": d_mlp,
        "d_head": None if d_head * heads == d_model else d_head,
        "normalization": "LN" if "blocks.0.ln1.w" in arrays else None, "unembedding_bias": bias is not None,
    }  # fmt: skip
    vocabulary, classes = len(arrays["embed.W_E"]), arrays["unembed.W_U"].shape[1]
    return Network(model, arrays, vocabulary, len(arrays["pos_embed.W_pos"]), classes, tuple(remarks))


def _oriented(name: str, values: np.ndarray, d_model: int) -> np.ndarray:
    """A weight with the axis of length d_model where TransformerLens has it, if its shape tells which axis that is."""
    last = name.rpartition(".")[2]
    axis = {"W_E": 1, "W_Q": 1, "W_K": 1, "W_V": 1, "W_in": 0, "W_out": 1, "W_U": 0}.get(last)
    if axis is None or values.ndim < 2 or values.shape[axis] == d_model:
        return values
    other = 2 if values.ndim == 3 else 1 - axis
    return values.swapaxes(axis, other) if values.shape[other] == d_model else values


def _nanda(arrays: Arrays, given: Mapping[str, Any]) -> Network:
    """The axes of Nanda et al.'s code, turned into TransformerLens's."""
    turned = dict(arrays)
    for name, values in arrays.items():
        if re.search(r"attn\.W_[QKV]$", name):
            turned[name] = rearrange(values, "head d_head d_model -> head d_model d_head")
        elif name.endswith("attn.W_O"):
            heads = len(arrays[name.replace("W_O", "W_Q")])
            turned[name] = rearrange(values, "d_model (head d_head) -> head d_head d_model", head=heads)
        elif re.search(r"mlp\.W_(in|out)$|embed\.W_E$", name):
            turned[name] = values.T
    return _lens(turned, given)


def _heads(given: Mapping[str, Any]) -> int:
    heads = given.get("n_heads")
    if not isinstance(heads, int) or isinstance(heads, bool) or heads < 1:
        raise InputError(
            "a matrix holds the weights of all heads, and its shape does not tell their number. Pass --model.n-heads."
        )
    return heads


def _native(arrays: Arrays, given: Mapping[str, Any]) -> Network:
    """TransformerLens's bridge of its own networks: each projection is a `Linear`."""
    heads, turned = _heads(given), Arrays()
    for name, values in arrays.items():
        head, _, last = name.rpartition(".")
        attention = re.fullmatch(r"(.*\.attn)\.([qkvo])", head)
        mlp = re.fullmatch(r"(.*\.mlp)\.(in|out)", head)
        if attention:
            letter = attention[2].upper()
            pattern = "(h k) d -> h d k" if letter != "O" else "d (h k) -> h k d"
            if last == "bias":
                values = values if letter == "O" else rearrange(values, "(h k) -> h k", h=heads)
            else:
                values = rearrange(values, pattern, h=heads)
            turned[f"{attention[1]}.{'b' if last == 'bias' else 'W'}_{letter}"] = values
        elif mlp:
            turned[f"{mlp[1]}.{'b' if last == 'bias' else 'W'}_{mlp[2]}"] = values.T
        elif head == "unembed":
            turned["unembed.b_U" if last == "bias" else "unembed.W_U"] = values.T
        elif head in ("embed", "pos_embed"):
            turned[f"{head}.{'W_E' if head == 'embed' else 'W_pos'}"] = values
        else:
            turned[f"{head}.{ {'weight': 'w', 'bias': 'b'}.get(last, last) }"] = values
    return _lens(turned, given)


def _fused(arrays: Arrays, given: Mapping[str, Any]) -> Network:
    """A pre-LayerNorm GPT block whose queries, keys and values are one matrix."""
    heads = _heads(given)
    turned: Arrays = {
        "embed.W_E": arrays.pop("tok_emb.weight"), "pos_embed.W_pos": arrays.pop("pos_emb"),
        "unembed.W_U": arrays.pop("unembed.weight").T,
        "ln_final.w": arrays.pop("ln_f.gamma"), "ln_final.b": arrays.pop("ln_f.beta"),
    }  # fmt: skip
    n_layers = 1 + max(int(name.split(".")[1]) for name in arrays)
    for i in range(n_layers):
        block = f"blocks.{i}"
        qkv = rearrange(arrays.pop(f"{block}.attn.qkv.weight"), "(n h k) d -> n h d k", n=3, h=heads)
        turned |= {f"{block}.attn.W_{which}": part for which, part in zip("QKV", qkv, strict=True)}
        turned[f"{block}.attn.W_O"] = rearrange(arrays.pop(f"{block}.attn.proj.weight"), "d (h k) -> h k d", h=heads)
        for ours, theirs in (("W_in", "up.weight"), ("W_out", "down.weight")):
            turned[f"{block}.mlp.{ours}"] = arrays.pop(f"{block}.mlp.{theirs}").T
        for ours, theirs in (("b_in", "up.bias"), ("b_out", "down.bias")):
            turned[f"{block}.mlp.{ours}"] = arrays.pop(f"{block}.mlp.{theirs}")
        for ln in ("ln1", "ln2"):
            turned[f"{block}.{ln}.w"], turned[f"{block}.{ln}.b"] = (
                arrays.pop(f"{block}.{ln}.{p}") for p in ("gamma", "beta")
            )
    network = _lens({**turned, **arrays}, given)
    return network._replace(guesses={"activation": "gelu"})


def _tables(arrays: Arrays, given: Mapping[str, Any]) -> Network:
    """Two embedding tables, one per operand, and one hidden layer without biases: logits = relu([x y] W) W_U."""
    x, y, W, out = (arrays.pop(name) for name in ("W_x", "W_y", "W", "W_U"))
    _refuse_rest(arrays)
    parameters = {"embed": np.stack([x, y]), "hidden.0.W": W.T, "readout.W": out.T}
    model = {
        "kind": "embedded_mlp", "embedding": "per_slot", "joined": "concat", "d_embed": x.shape[1],
        "widths": [W.shape[1]], "biases": False,
    }  # fmt: skip
    return Network(model, parameters, len(x), 2, out.shape[1])


def _one_hot_sum(arrays: Arrays, given: Mapping[str, Any]) -> Network:
    """One hidden layer without biases on the sum of both operands' one-hot vectors, or rows of an embedding table."""
    W_in, W_out, table = arrays.pop("mlp.W_in"), arrays.pop("mlp.W_out"), arrays.pop("embed.W_E", None)
    _refuse_rest(arrays)
    embed = np.eye(W_in.shape[1], dtype=W_in.dtype) if table is None else table.T
    model = {
        "kind": "embedded_mlp", "embedding": "shared", "joined": "sum", "d_embed": embed.shape[1], "biases": False,
        "widths": [len(W_in)],
    }  # fmt: skip
    parameters = {"embed": embed, "hidden.0.W": W_in, "readout.W": W_out}
    return Network(model, parameters, len(embed), 2, len(W_out))


def _embedded(arrays: Arrays, given: Mapping[str, Any]) -> Network:
    """An MLP of `Linear`s on the sum of two tokens' embeddings, or on both in a row; the readout has no bias."""
    embed, W, b = (arrays.pop(name) for name in ("embed.weight", "l1.weight", "l1.bias"))
    parameters = {"embed": embed, "hidden.0.W": W, "hidden.0.b": b}
    widths, remarks = [len(W)], list[str]()
    if "l2.weight" in arrays:
        parameters |= {"hidden.1.W": arrays.pop("l2.weight"), "hidden.1.b": arrays.pop("l2.bias")}
        widths.append(len(parameters["hidden.1.W"]))
        remarks.append("l1 reads the sum of both embeddings here; a code that adds l1 of each embeds its bias twice")
    parameters["readout.W"] = arrays.pop("unembed.weight")
    parameters["readout.b"] = np.zeros(len(parameters["readout.W"]), W.dtype)
    _refuse_rest(arrays)
    d_embed = embed.shape[1]
    model = {
        "kind": "embedded_mlp", "embedding": "shared", "joined": "sum" if W.shape[1] == d_embed else "concat",
        "d_embed": d_embed, "widths": widths, "biases": True,
    }  # fmt: skip
    positions = 2 if W.shape[1] == d_embed else W.shape[1] // d_embed
    return Network(model, parameters, len(embed), positions, len(parameters["readout.W"]), tuple(remarks))


def _linear1(arrays: Arrays, given: Mapping[str, Any]) -> Network:
    W, b, u = (arrays.pop(name) for name in ("linear1.weight", "linear1.bias", "linear2.weight"))
    _refuse_rest(arrays)
    return Network({"kind": "relu", "width": len(W)}, {"W": W, "b": b, "u": u.reshape(-1)}, None, W.shape[1], None)


def _sequential(arrays: Arrays, given: Mapping[str, Any]) -> Network:
    """Linear layers in the order of their numbers, an activation between them."""
    places = sorted({int(name.split(".")[0]) for name in arrays})
    weights = [arrays.pop(f"{place}.weight") for place in places]
    biases = [arrays.pop(f"{place}.bias", None) for place in places]
    _refuse_rest(arrays)
    if any(bias is None for bias in biases) and any(bias is not None for bias in biases):
        raise InputError("some layers have biases and others have none. The model 'mlp' has all or none.")
    parameters: Arrays = {}
    last = len(places) - 1
    n_classes = len(weights[-1]) if len(weights[-1]) > 1 else None
    for i, (W, b) in enumerate(zip(weights, biases, strict=True)):
        name = "readout" if i == last else f"hidden.{i}"
        parameters[f"{name}.W"] = W[0] if i == last and n_classes is None else W
        if b is not None:
            parameters[f"{name}.b"] = b[0] if i == last and n_classes is None else b
    model = {"kind": "mlp", "widths": [len(W) for W in weights[:-1]], "biases": biases[0] is not None}
    return Network(model, parameters, None, weights[0].shape[1], n_classes)


def _own(arrays: Arrays, given: Mapping[str, Any]) -> Network:
    """The names of this package; the kind of model follows from the names, or is given."""
    if {"W", "b", "u"} == set(arrays):
        return Network({"kind": "relu", "width": len(arrays["W"])}, arrays, None, arrays["W"].shape[1], None)
    if {"w", "c"} == set(arrays):
        return Network({"kind": "linear"}, arrays, None, len(arrays["w"]), None)
    readout = arrays["readout.W"]
    n_classes = len(readout) if readout.ndim == 2 else None
    hidden = [arrays[name] for name in sorted(name for name in arrays if re.fullmatch(r"hidden\.\d+\.W", name))]
    model: dict[str, Any] = {"kind": "mlp", "widths": [len(W) for W in hidden], "biases": "readout.b" in arrays}
    table = arrays.get("embed")
    if table is None:
        return Network(model, arrays, None, hidden[0].shape[1], n_classes)
    joined = "sum" if hidden[0].shape[1] == table.shape[-1] else "concat"
    positions = hidden[0].shape[1] // table.shape[-1] if joined == "concat" else len(table) if table.ndim == 3 else None
    model |= {
        "kind": "embedded_mlp", "embedding": "per_slot" if table.ndim == 3 else "shared", "joined": joined,
        "d_embed": table.shape[-1],
    }  # fmt: skip
    return Network(model, arrays, table.shape[-2], positions, n_classes)


def _refuse_rest(arrays: Mapping[str, np.ndarray]) -> None:
    if arrays:
        raise InputError(
            f"the network has {listed(arrays)}, which the model of its layout lacks. Without it, the network would "
            f"compute something else."
        )


LAYOUTS = {
    "nanda": Layout(lambda arrays: _lens_like(arrays) and arrays[NANDA].ndim == 2, _nanda),
    "lens": Layout(lambda arrays: _lens_like(arrays) and arrays[NANDA].ndim == 3, _lens),
    "native": Layout(
        lambda arrays: {"embed.weight", "pos_embed.weight", "blocks.0.attn.q.weight"} <= set(arrays), _native
    ),
    "fused": Layout(lambda arrays: {"tok_emb.weight", "blocks.0.attn.qkv.weight", "ln_f.gamma"} <= set(arrays), _fused),
    "tables": Layout(lambda arrays: {"W_x", "W_y", "W", "W_U"} <= set(arrays), _tables),
    "one-hot-sum": Layout(lambda arrays: {"mlp.W_in", "mlp.W_out"} <= set(arrays), _one_hot_sum),
    "embedded": Layout(
        lambda arrays: {"embed.weight", "l1.weight", "l1.bias", "unembed.weight"} <= set(arrays), _embedded
    ),
    "linear1": Layout(lambda arrays: {"linear1.weight", "linear1.bias", "linear2.weight"} <= set(arrays), _linear1),
    "own": Layout(
        lambda arrays: (
            {"W", "b", "u"} == set(arrays) or {"w", "c"} == set(arrays) or {"readout.W", "hidden.0.W"} <= set(arrays)
        ),
        _own,
    ),
    "sequential": Layout(
        lambda arrays: bool(arrays) and all(re.fullmatch(r"\d+\.(weight|bias)", name) for name in arrays), _sequential
    ),
}
