"""Weighted sums of a few table rows per example, as in the attention of a transformer, and their gradients.

At each place i (a sequence position), example n uses the row with index r_i = rows[n, i]. In every attention head h, a
row r has a score s[h, r] and a vector table[h, r]. The sum of an example n starts from a fixed vector `base`:

    mixed[n] = base + Σ_h Σ_i weight[n, i, h] table[h, r_i]
    weight[n, i, h] = exp s[h, r_i] / (1 + Σ_j exp s[h, r_j])        (a softmax over the scores and one more score, 0)

With 4 heads and 2 places, an entry of `mixed` is a sum of 8 products. For comparison, an entry of a vector times a
128 × 128 matrix is a sum of 128 products. In the backward pass, one thread sums the gradient of a row over the examples
with this row, in a fixed order. So the bits of the gradient depend neither on the number of threads nor on other rows.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise
from typing import Any, NamedTuple, no_type_check

import numba
import numpy as np
import torch
from jaxtyping import Float, Int

_RELAXED = {"reassoc", "contract", "nsz", "arcp"}  # sums may be vectorized; NaN and infinity keep their meaning


class Places(NamedTuple):
    """For sequences of tokens and a table of vectors: which rows of the table belong to which sequences.

    The table has one row (a vector) for each pair of a position and a token that occurs. `rows` tells the rows of each
    sequence, `place` the position of each row. `examples` and `starts` tell the sequences that have each row. Rows of
    later positions have larger indices. All arrays are int64 on the CPU.
    """

    rows: np.ndarray
    """(example, place): the token at position i of sequence n uses row rows[n, i] of a table of vectors."""
    place: np.ndarray
    """(row,): A table has one row for each pair of a position and a token. place[r] is the position of row r."""
    examples: np.ndarray
    """Indices of sequences, grouped by the row of a table that they use: first all that use row 0, then row 1, …."""
    starts: np.ndarray
    """(row + 1,): entries starts[r] to starts[r + 1] - 1 of `examples` are the sequences that use row r of a table."""


def places_of(rows: Int[np.ndarray, "example place"]) -> Places:
    """Returns, for each vector of a table, the examples that use the vector; `rows` gives the vectors of each example.

    At each place i, a column of `rows`, example n uses the vector with index rows[n, i]. Every index from 0 to the
    largest must occur in `rows`. Indices at a later place must be larger than all indices at earlier places. In the
    result, the users of vector r are examples[starts[r] : starts[r + 1]]. Below, examples 0 and 2 use vector 0.

    Examples
    --------
    >>> places = places_of(np.array([[0, 2], [1, 2], [0, 3]]))
    >>> places.examples.tolist(), places.starts.tolist()
    ([0, 2, 1, 0, 1, 2], [0, 2, 3, 5, 6])
    """
    by_place = np.ascontiguousarray(rows.T)  # (place, example)
    examples = by_place.argsort(axis=1, kind="stable")
    counts = np.bincount(rows.ravel())
    starts = np.concatenate([[0], counts.cumsum()])
    place = np.empty(len(counts), np.int64)
    place[by_place] = np.arange(len(by_place))[:, None]
    return Places(np.ascontiguousarray(rows, np.int64), place, examples.ravel(), starts)


def mixture(
    scores: Float[torch.Tensor, "head row"],
    table: Float[torch.Tensor, "head row column"],
    base: Float[torch.Tensor, " column"],
    places: Places,
) -> Float[torch.Tensor, "example column"]:
    """Weighted sum of each example's table rows, plus `base`, on the CPU; differentiable in scores, table and base.

    In one head, let s_1, s_2, … be the scores of an example's rows (`places.rows`). The i-th row is multiplied by
    exp(s_i) / (1 + exp(s_1) + exp(s_2) + …). The products for all these rows and all heads are added to `base`.

    Examples
    --------
    >>> table = torch.tensor([[[4.0], [8.0]]])
    >>> mixture(torch.zeros(1, 2), table, torch.ones(1), places_of(np.array([[0, 1]])))  # a third of each
    tensor([[5.]])
    """
    return _Mixture.apply(scores, table, base, places)


class _Mixture(torch.autograd.Function):
    @staticmethod
    @no_type_check
    def forward(ctx, scores, table, base, places):
        scores, table, base = (values.detach().contiguous() for values in (scores, table, base))
        n_examples, n_places = places.rows.shape
        weights = table.new_empty(n_examples, n_places, len(scores))
        mixed = table.new_empty(n_examples, table.shape[2])
        arrays = scores.numpy(), table.numpy(), base.numpy(), places.rows, places.examples[:n_examples]

        def mix(first: int, last: int) -> None:
            _mix(*arrays, first, last, weights.numpy(), mixed.numpy())

        _in_parts(mix, np.arange(n_examples + 1))  # every example costs the same
        ctx.places = places
        ctx.save_for_backward(table, weights)
        return mixed

    @staticmethod
    @no_type_check
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient):
        table, weights = ctx.saved_tensors
        places = ctx.places
        gradient = gradient.contiguous()
        of_weights, of_table = torch.empty_like(weights), torch.empty_like(table)
        of_scores = table.new_empty(table.shape[:2])
        index = places.place, places.examples, places.starts

        def rows(first: int, last: int) -> None:
            _gradients_of_rows(
                table.numpy(), weights.numpy(), gradient.numpy(), *index, first, last,
                of_weights.numpy(), of_table.numpy(),
            )  # fmt: skip

        _in_parts(rows, places.starts)  # the cost of a row is its number of examples
        _gradients_of_scores(weights.numpy(), of_weights.numpy(), *index, of_scores.numpy())
        return of_scores, of_table, gradient.sum(0), None


def _in_parts(work: Callable[[int, int], None], cost_before: np.ndarray) -> None:
    """Process items 0, 1, … in parallel: each torch thread calls `work(first, last)` for items first to last - 1.

    cost_before[i] is the cost of items 0 to i - 1; the last entry is the total cost. All calls cost about the same.
    """
    n_parts = torch.get_num_threads()
    bounds = np.searchsorted(cost_before, np.linspace(0, cost_before[-1], n_parts + 1)).tolist()
    parts = [(first, last) for first, last in pairwise(bounds) if first < last]
    if len(parts) == 1:
        work(*parts[0])
    else:
        for future in [_pool(n_parts, os.getpid()).submit(work, *part) for part in parts]:
            future.result()


@cache
def _pool(n_threads: int, process: int) -> ThreadPoolExecutor:
    """Persistent threads of the process with id `process`; a forked process cannot use the threads of its parent."""
    return ThreadPoolExecutor(n_threads, thread_name_prefix="mixture")


_compiled: Any = numba.njit(nogil=True, cache=True, fastmath=_RELAXED, error_model="numpy")


@no_type_check
@_compiled
def _mix(scores, table, base, rows, indices, first, last, weights, mixed):
    """For each example n in indices[first:last], write attention weights to `weights` and a weighted sum to `mixed`.

    Example n uses row r_i = rows[n, i] at position i. In head h, the row has the score s_i = scores[h, r_i], the weight
    exp(s_i) / (1 + Σ_j exp(s_j)) and the vector table[h, r_i]. Over all i and h, mixed[n] is base + Σ weight · vector.
    """
    n_heads, n_places = scores.shape[0], rows.shape[1]
    zero = scores.dtype.type(0)
    for at in range(first, last):
        n = indices[at]
        for h in range(n_heads):
            top = zero  # the score of the additional row
            for i in range(n_places):
                top = max(top, scores[h, rows[n, i]])
            total = np.exp(-top)
            for i in range(n_places):
                weights[n, i, h] = np.exp(scores[h, rows[n, i]] - top)
                total += weights[n, i, h]
            for i in range(n_places):
                weights[n, i, h] /= total
        for c in range(base.shape[0]):
            mixed[n, c] = base[c]
        for i in range(n_places):
            r, weight = rows[n, i], weights[n, i]
            for h in range(0, n_heads - 3, 4):
                _add_four(mixed[n], weight[h : h + 4], table[h, r], table[h + 1, r], table[h + 2, r], table[h + 3, r])
            for h in range(n_heads - n_heads % 4, n_heads):
                _add(mixed[n], weight[h], table[h, r])


@no_type_check
@_compiled
def _add(total, weight, row):
    for c in range(total.shape[0]):
        total[c] += weight * row[c]


@no_type_check
@_compiled
def _add_four(total, weights, a, b, c, d):
    """Add four weighted rows to `total` in one pass, which reads and writes `total` once instead of four times."""
    p, q, r, s = weights[0], weights[1], weights[2], weights[3]
    for j in range(total.shape[0]):
        total[j] += p * a[j] + q * b[j] + r * c[j] + s * d[j]


@no_type_check
@_compiled
def _gradients_of_rows(table, weights, gradient, place, examples, starts, first, last, of_weights, of_table):
    """Write the gradients of rows first to last - 1 of `table` to `of_table`, and of their weights to `of_weights`.

    Each example is a sequence with one row at each position. Row r only occurs at position i = place[r]. The examples
    with row r have the indices examples[starts[r] : starts[r + 1]]. In such an example n, each head h adds
    weights[n, i, h] table[h, r] to the output. gradient[n] (column,) is the gradient of this output. So
    of_weights[n, i, h] is the dot product of gradient[n] and table[h, r], and of_table[h, r] is the sum of
    weights[n, i, h] gradient[n] over the examples n with row r.
    """
    for r in range(first, last):
        i = place[r]
        for h in range(table.shape[0]):
            of_table[h, r] = 0
        stop = starts[r + 1]
        whole = stop - (stop - starts[r]) % 4
        for at in range(starts[r], whole, 4):
            four = examples[at : at + 4]
            for h in range(table.shape[0]):
                _back_four(table[h, r], gradient, weights, of_weights, of_table[h, r], four, i, h)
        for at in range(whole, stop):
            n = examples[at]
            for h in range(table.shape[0]):
                of_weights[n, i, h] = _dot(gradient[n], table[h, r])
                _add(of_table[h, r], weights[n, i, h], gradient[n])


@no_type_check
@_compiled
def _back_four(row, gradient, weights, of_weights, of_row, examples, i, h):
    k, l, m, n = examples[0], examples[1], examples[2], examples[3]  # noqa: E741
    a, b, c, d = gradient[k], gradient[l], gradient[m], gradient[n]
    p, q, r, s = weights[k, i, h], weights[l, i, h], weights[m, i, h], weights[n, i, h]
    w = x = y = z = p * 0
    for j in range(row.shape[0]):
        value = row[j]
        w += a[j] * value
        x += b[j] * value
        y += c[j] * value
        z += d[j] * value
        of_row[j] += p * a[j] + q * b[j] + r * c[j] + s * d[j]
    of_weights[k, i, h], of_weights[l, i, h], of_weights[m, i, h], of_weights[n, i, h] = w, x, y, z


@no_type_check
@_compiled
def _dot(a, b):
    total = a[0] * 0
    for j in range(a.shape[0]):
        total += a[j] * b[j]
    return total


@no_type_check
@_compiled
def _gradients_of_scores(weights, of_weights, place, examples, starts, of_scores):
    """Compute `of_scores` (head, row), the gradients of attention scores, from the gradients of attention weights.

    Row r stands for one token at one position, i = place[r]. In head h, all sequences with this token there share one
    score. These sequences have the indices n in examples[starts[r] : starts[r + 1]]. In head h, sequence n has one
    attention weight A_j = weights[n, j, h] per position j. The A_j are a softmax of the sequence's scores. The gradient
    of A_j is G_j = of_weights[n, j, h]. So sequence n adds A_i (G_i - Σ_j A_j G_j) to of_scores[h, r].
    """
    n_heads, n_rows = of_scores.shape
    for r in range(n_rows):
        i = place[r]
        for h in range(n_heads):
            of_scores[h, r] = 0
        for at in range(starts[r], starts[r + 1]):
            n = examples[at]
            for h in range(n_heads):
                mean = weights[n, 0, h] * 0
                for j in range(weights.shape[1]):
                    mean += weights[n, j, h] * of_weights[n, j, h]
                of_scores[h, r] += weights[n, i, h] * (of_weights[n, i, h] - mean)
