import numpy as np
import pytest
import torch
from bridges import bridge_gradients, bridge_of, drawn

from circuits.interfaces import Signature
from circuits.models.attention_tables import tables_of
from circuits.models.transformer import Transformer


def sequences(n_examples, n_positions, d_vocab, seed=0):
    """Random tokens, then the last one of the vocabulary."""
    random = np.random.default_rng(seed)
    tokens = random.integers(0, d_vocab - 1, (n_examples, n_positions))
    tokens[:, -1] = d_vocab - 1
    return torch.from_numpy(tokens)


def assert_equal_to_the_bridge(model, parameters, signature, inputs, loss, tolerance):
    bridge = bridge_of(model, parameters, signature)
    theirs, ours = bridge(inputs)[:, -1], model.prepared(inputs)(parameters)
    torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)
    wanted = bridge_gradients(bridge, loss(theirs))
    found = torch.autograd.grad(loss(ours), list(parameters.values()))
    for name, gradient in zip(parameters, found, strict=True):
        torch.testing.assert_close(gradient, wanted[name], rtol=tolerance, atol=tolerance, msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("n_positions", [2, 3, 6])
@pytest.mark.parametrize(
    ("n_heads", "activation", "biases"), [(2, "relu", True), (5, "gelu", True), (4, "relu", False)]
)
def test_tables_give_the_bridges_logits_and_gradients(n_positions, n_heads, activation, biases):
    model = Transformer(n_heads=n_heads, d_model=12, d_head=5, d_mlp=9, activation=activation, biases=biases)
    signature = Signature(n_positions, n_classes=7, d_vocab=8)
    direction = torch.from_numpy(np.random.default_rng(1).normal(size=(50, 7)))
    inputs = sequences(50, n_positions, 8)
    parameters = drawn(model, signature)
    assert_equal_to_the_bridge(
        model, parameters, signature, inputs, lambda outputs: (outputs * direction).sum(), tolerance=1e-9
    )


@pytest.mark.slow
def test_at_the_size_of_the_paper_and_in_float32_they_agree_to_five_digits():
    """Nanda et al. 2023: p = 113, 30 % of the table, full batch, cross-entropy in float64."""
    model, signature, p = Transformer(), Signature(3, 113, 114), 113
    pairs = np.random.default_rng(0).permutation(p * p)[: int(0.3 * p * p)]
    inputs = torch.from_numpy(np.stack([pairs // p, pairs % p, np.full(len(pairs), p)], axis=1))
    targets = inputs[:, :2].sum(1) % p
    start = model.initial(signature, 0)
    parameters = {name: torch.from_numpy(values).float().requires_grad_() for name, values in start.items()}

    def loss(outputs):
        return torch.nn.functional.cross_entropy(outputs.double(), targets)

    assert_equal_to_the_bridge(model, parameters, signature, inputs, loss, tolerance=1e-5)


def test_tables_and_forward_take_the_same_way_in_training():
    """Ten full-batch steps of AdamW from the same start, in float64."""
    model, signature = Transformer(n_heads=2, d_model=12, d_mlp=9), Signature(3, 7, 8)
    inputs = sequences(40, 3, 8)
    targets = inputs[:, :2].sum(1) % 7
    by_tables = model.prepared(inputs)
    ends = []
    for outputs in (by_tables, lambda parameters: model.forward(parameters, inputs)):
        parameters = drawn(model, signature)
        optimizer = torch.optim.AdamW(parameters.values(), lr=1e-2, weight_decay=1.0, betas=(0.9, 0.98), eps=1e-6)
        for _ in range(10):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(outputs(parameters), targets).backward()
            optimizer.step()
        ends.append(parameters)
    for name, values in ends[0].items():
        torch.testing.assert_close(values, ends[1][name], rtol=1e-7, atol=1e-7, msg=name)


def test_tables_hold_each_pair_of_token_and_position_once():
    inputs = sequences(30, 4, 6)
    tables = tables_of(inputs)
    pairs = list(zip(tables.positions.tolist(), tables.tokens.tolist(), strict=True))
    assert pairs == sorted({(i, int(inputs[n, i])) for n in range(30) for i in range(3)})
    assert tables.last_token == 5
    for n, row in enumerate(tables.places.rows):
        assert [pairs[r] for r in row] == [(i, int(inputs[n, i])) for i in range(3)]


def test_they_are_taken_only_where_they_apply_and_pay():
    inputs = sequences(40, 3, 8)
    assert Transformer().prepared(inputs) is not None
    assert Transformer(n_layers=2).prepared(inputs) is None
    assert Transformer(normalization="LN").prepared(inputs) is None
    assert Transformer().prepared(sequences(5, 3, 8)) is None  # more pairs than examples
    assert Transformer().prepared(inputs[:, 2:]) is None  # nothing before the last position
    assert Transformer().prepared(inputs[:0]) is None
    assert Transformer().prepared(inputs.flip(1)) is None  # not one last token


def test_a_minibatch_is_prepared_as_any_other_set():
    model, signature = Transformer(n_heads=2, d_model=12, d_mlp=9), Signature(3, 7, 8)
    parameters, inputs = drawn(model, signature), sequences(90, 3, 8)
    batch = torch.randperm(90, generator=torch.Generator().manual_seed(0))[:25]
    found = model.prepared(inputs[batch])(parameters)
    torch.testing.assert_close(found, model.prepared(inputs)(parameters)[batch], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(found, model.forward(parameters, inputs[batch]), rtol=1e-9, atol=1e-9)
