"""One transformer layer without normalization, computed from tables if every sequence ends on the same token.

Nanda et al. 2023 train on such sequences: "x y =" with 0 <= x, y < 113. Only the last position gives logits, and its
query is equal in all examples. Keys and values depend on a (token, position) pair alone. So the layer computes them
once for each pair, for 226 pairs before the end and the pair at the end, instead of once for each example.

    r_i      the pair at position i of an example, with i before the end
    e        the pair at the end
    x_r      embedding of pair r, token plus position
    v_r^h    value x_r W_V^h + b_V^h of pair r in head h
    s_r^h    attention score of pair r in head h: the query at the end times the key of r, over √d_head
    A_i^h    softmax weight of position i in head h

The weights of a head, that of the end included, add up to 1. So after attention, the residual stream at the end is

    x = base + Σ_h Σ_i A_i^h (v_{r_i}^h - v_e^h) W_O^h         base = x_e + Σ_h v_e^h W_O^h + b_O

The MLP uses x W_in, and the logits use x W_U. For W = W_in and W = W_U, a table holds (v_r^h - v_e^h) W_O^h W for every
head h and pair r. The function `mixture` computes x W_in and x W_U as weighted sums of table rows. It takes the score
of the end as 0, so it gets the scores s_r^h - s_e^h. A softmax stays the same if all scores fall by the same number.
Per example, one matrix product remains, that of act(x W_in + b_in) and W_out W_U:

    logits = x W_U + act(x W_in + b_in) W_out W_U + b_out W_U
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
    """The different (token, position) pairs before the end of sequences; `last_token` ends all these sequences.

    `places` says which pairs each sequence contains. The pair with index r belongs to row r of every table.
    """

    tokens: torch.Tensor
    """(pair,) int64: the token of each different (token, position) pair that occurs before the end of a sequence."""
    positions: torch.Tensor
    """(pair,) int64: the position of each different (token, position) pair that occurs before the end of a sequence."""
    places: Places
    last_token: int


def tables_of(inputs: Int[torch.Tensor, "example position"]) -> Tables | None:
    """The different (token, position) pairs of these sequences before their end, for a faster forward pass.

    `forward_by_tables` computes keys and values once for each pair, instead of once for each example. It runs on the
    CPU, and all sequences must have two or more tokens and end on the same token. It is faster if there are at least as
    many examples as pairs. The result is None if any of these conditions fails.

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

    `parameters` have TransformerLens's names and are on the CPU. `tables_of` makes the `tables` from the sequences.
    `activated` is the MLP's activation function. The logits are differentiable in the parameters, and equal to those of
    `Transformer.forward` up to rounding.
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
