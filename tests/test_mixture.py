import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from circuits.models.attention_kernel import mixture, places_of


def drawn_rows(random, n_examples, per_place):
    """Rows without gaps, in which each occurs: the first examples have one after the other."""
    columns, first = [], 0
    for n_rows in per_place:
        columns.append(first + np.concatenate([random.permutation(n_rows), random.integers(0, n_rows, n_examples)]))
        columns[-1] = random.permutation(columns[-1][:n_examples])
        first += n_rows
    return np.stack(columns, axis=1)


def plain(scores, table, base, rows):
    """One example after the other, one head after the other."""
    examples = []
    for row in rows.tolist():
        mixed = base
        for h in range(len(scores)):
            weights = torch.cat([scores[h, row], scores.new_zeros(1)]).softmax(0)
            for i, r in enumerate(row):
                mixed = mixed + weights[i] * table[h, r]
        examples.append(mixed)
    return torch.stack(examples)


def drawn(random, n_heads, n_rows, n_columns):
    shapes = (n_heads, n_rows), (n_heads, n_rows, n_columns), (n_columns,)
    return [torch.from_numpy(random.normal(size=shape) * 2).requires_grad_() for shape in shapes]


@given(
    per_place=st.lists(st.integers(1, 5), min_size=1, max_size=4), further=st.integers(0, 12),
    n_heads=st.integers(1, 9), n_columns=st.integers(1, 21), seed=st.integers(0, 99),
)  # fmt: skip
@settings(max_examples=20)
def test_mixture_and_its_gradients_are_those_of_the_plain_sums(per_place, further, n_heads, n_columns, seed):
    random = np.random.default_rng(seed)
    rows = drawn_rows(random, max(per_place) + further, per_place)
    arguments = drawn(random, n_heads, sum(per_place), n_columns)
    ours, theirs = mixture(*arguments, places_of(rows)), plain(*arguments, rows)
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)
    direction = torch.from_numpy(random.normal(size=ours.shape))
    wanted = torch.autograd.grad(theirs, arguments, direction)
    for found, expected in zip(torch.autograd.grad(ours, arguments, direction), wanted, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


@given(
    per_place=st.lists(st.integers(1, 6), min_size=1, max_size=4), further=st.integers(0, 30), seed=st.integers(0, 9)
)
@settings(max_examples=40)
def test_places_say_which_examples_have_each_row(per_place, further, seed):
    rows = drawn_rows(np.random.default_rng(seed), max(per_place) + further, per_place)
    found = places_of(rows)
    assert len(found.starts) == sum(per_place) + 1
    for row in range(sum(per_place)):
        examples, places = np.nonzero(rows == row)
        assert found.examples[found.starts[row] : found.starts[row + 1]].tolist() == examples.tolist()
        assert set(places.tolist()) == {found.place[row]}


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def test_bits_do_not_depend_on_the_number_of_threads(threads):
    random = np.random.default_rng(0)
    rows = drawn_rows(random, 300, [20, 1, 30])
    arguments = [values.detach().float().requires_grad_() for values in drawn(random, 4, 51, 40)]
    found = []
    for n_threads in (1, 2, 5):
        threads(n_threads)
        mixed = mixture(*arguments, places_of(rows))
        found.append([mixed, *torch.autograd.grad(mixed.square().sum(), arguments)])
    assert all(torch.equal(a, b) for others in found[1:] for a, b in zip(found[0], others, strict=True))


def test_large_scores_do_not_overflow_and_nan_spreads():
    places = places_of(np.array([[0, 1], [0, 2]]))
    table, base = torch.tensor([[[1.0], [3.0], [5.0]]]), torch.zeros(1)
    assert mixture(torch.tensor([[900.0, 900.0, -900.0]]), table, base, places).tolist() == [[2.0], [1.0]]
    assert mixture(torch.tensor([[-900.0, -900.0, -900.0]]), table, base, places).tolist() == [[0.0], [0.0]]
    mixed = mixture(torch.tensor([[0.0, np.nan, 0.0]], dtype=torch.float32), table, base, places)
    assert mixed.isnan().tolist() == [[True], [False]]
