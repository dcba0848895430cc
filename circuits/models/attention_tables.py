"""A faster forward pass of a one-layer transformer without normalization, for sequences that end on the same token.

Nanda et al. 2023 train on the sequences "x y =" with 0 <= x, y < 113. Only the last position gives logits, and its
query is the same in all examples. A key or value depends only on a pair: a token and its position. So the code computes
keys and values once for each pair, not for each example: for 226 pairs before the last position, and for 1 pair at it.

    r_i      pair at position i of an example, for each i before the last position
    e        pair at the last position
    x_r      embedding of the token of pair r, plus embedding of its position
    v_r^h    value of pair r in head h: x_r W_V^h + b_V^h
    s_r^h    attention score of pair r in head h: query at the last position times key of r, over √d_head
    A_i^h    attention weight of position i in head h: softmax of the scores

The attention weights of a head, including that of the last position, add up to 1. So the residual stream z after
attention, at the last position, and the logits are

    z = base + Σ_h Σ_i A_i^h (v_{r_i}^h - v_e^h) W_O^h         base = x_e + Σ_h v_e^h W_O^h + b_O
    logits = z W_U + act(z W_in + b_in) W_out W_U + b_out W_U

First, the code makes a table. Its row for head h and pair r holds d W_in and d W_U, with d = (v_r^h - v_e^h) W_O^h.
Next, the code subtracts s_e^h from the scores of head h. This does not change the softmax, and pair e now has the score
0. The function `mixture` takes the scores of the other pairs and includes the score 0 in its softmax. It adds weighted
table rows to base W_in and base W_U, which gives z W_in and z W_U. Then each example needs one product with W_out W_U.
"""

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import torch
from einops import einsum
from jaxtyping import Float, Int
from torch.nn.functional import embedding

from circuits.models.attention_kernel import Places, mixture, places_of

LINE = 16  # columns of a cache line; rows that begin at a line are added faster


class Tables(NamedTuple):
    """The pairs of a token and its position in sequences that end on the token `last_token`; equal pairs count once.

    Pair r is the token tokens[r] at position positions[r]; both arrays are (pair,) int64. The last position of the
    sequences gives no pair. At any other position i, sequence n has the pair with index places.rows[n, i].
    """

    tokens: torch.Tensor
    positions: torch.Tensor
    places: Places
    last_token: int


def tables_of(inputs: Int[torch.Tensor, "example position"]) -> Tables | None:
    """The pairs of a token and its position in these sequences, for the faster forward pass `forward_by_tables`.

    Equal pairs count once, and the last position gives no pair. The result is None unless all of these conditions hold.
    `inputs` is on the CPU and not empty. The sequences have two or more tokens and all end on the same token. There are
    at most as many pairs as sequences; with more pairs, `forward_by_tables` would not be faster.

    Examples
    --------
    >>> tables = tables_of(torch.tensor([[0, 1, 9], [0, 2, 9], [1, 1, 9], [1, 2, 9]]))
    >>> tables.tokens.tolist(), tables.positions.tolist(), tables.last_token
    ([0, 1, 1, 2], [0, 0, 1, 1], 9)
    >>> tables_of(torch.tensor([[0, 1, 9], [0, 2, 8]])) is None
    True
    """
    n_examples, n_positions = inputs.shape
    if inputs.device.type != "cpu" or n_positions < 2 or not n_examples:
        return None
    tokens = inputs.numpy()
    if (tokens[:, -1] != tokens[0, -1]).any():
        return None
    d_vocab = int(tokens.max()) + 1
    pairs = tokens[:, :-1] + d_vocab * np.arange(n_positions - 1)
    occurs = np.zeros(d_vocab * (n_positions - 1), bool)
    occurs[pairs] = True
    if occurs.sum() > n_examples:
        return None
    positions, row_tokens = (torch.from_numpy(part) for part in np.divmod(np.flatnonzero(occurs), d_vocab))
    return Tables(row_tokens, positions, places_of((occurs.cumsum() - 1)[pairs]), int(tokens[0, -1]))


def forward_by_tables(
    parameters: Mapping[str, torch.Tensor], tables: Tables, activated: Callable[[torch.Tensor], torch.Tensor]
) -> Float[torch.Tensor, "example class"]:
    """Logits at the last position of a one-layer transformer without normalization.

    `parameters` have TransformerLens's names and are on the CPU. `tables` describes the input sequences, as returned by
    `tables_of(inputs)`. `activated` is the MLP's activation function. The logits are differentiable in the parameters,
    and equal to those of `Transformer.forward` up to rounding.
    """
    W_pos, W_U, W_in = parameters["pos_embed.W_pos"], parameters["unembed.W_U"], parameters["blocks.0.mlp.W_in"]
    W_Q, W_K, W_V, W_O = (parameters[f"blocks.0.attn.W_{which}"] for which in "QKVO")
    b_Q, b_K, b_V, b_O = (parameters[f"blocks.0.attn.b_{which}"] for which in "QKVO")
    n_rows, last = len(tables.tokens), tables.places.rows.shape[1]
    tokens = torch.cat([tables.tokens, torch.tensor([tables.last_token])])
    positions = torch.cat([tables.positions, torch.tensor([last])])
    stream = embedding(tokens, parameters["embed.W_E"]) + embedding(positions, W_pos)  # (row, d_model)

    query = einsum(stream[-1], W_Q, "d_model, head d_model d_head -> head d_head") + b_Q
    projected = "row d_model, head d_model d_head -> head row d_head"
    keys, values = einsum(stream, W_K, projected) + b_K[:, None], einsum(stream, W_V, projected) + b_V[:, None]
    scores = (keys @ query[..., None])[..., 0] / math.sqrt(W_Q.shape[-1])
    W_out, b_out = parameters["blocks.0.mlp.W_out"], parameters["blocks.0.mlp.b_out"]
    filling = W_U.new_zeros(len(W_U), -(W_in.shape[1] + W_U.shape[1]) % LINE)
    read = torch.cat([W_in, W_U, filling], dim=1)  # (d_model, neuron and class)
    table = (values[:, :n_rows] - values[:, -1:]) @ (W_O @ read)
    same = stream[-1] + einsum(values[:, -1], W_O, "head d_head, head d_head d_model -> d_model") + b_O
    base = same @ read + torch.cat([parameters["blocks.0.mlp.b_in"], b_out @ W_U, filling[0]])

    mixed = mixture(scores[:, :n_rows] - scores[:, -1:], table, base, tables.places)
    before, direct, _ = mixed.split([W_in.shape[1], W_U.shape[1], filling.shape[1]], dim=1)
    return torch.addmm(direct, activated(before), W_out @ W_U)
