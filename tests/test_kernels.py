import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from circuits.training.paths import kernels

TOLERANCE = {"float32": 1e-5, "float64": 1e-10}


def problem(n, k, width, n_examples, dtype, seed=0):
    random = np.random.default_rng(seed)
    inputs = random.choice([-1.0, 1.0], (n_examples, n)).astype(dtype)
    targets = inputs[:, :k].prod(axis=1)
    net = {
        "W": random.uniform(-1, 1, (width, n)).astype(dtype) / n**0.5,
        "b": random.uniform(-1, 1, width).astype(dtype) / n**0.5,
        "u": random.uniform(-1, 1, width).astype(dtype) / width**0.5,
    }
    return net, inputs, targets, random.permutation(n_examples)


def by_torch(net, inputs, targets, order, batches, batch_size, lr, weight_decay, l1=0.0):
    """Autograd and torch.optim.SGD on the same batches, written without the package."""
    W, b, u = (torch.tensor(net[name], requires_grad=True) for name in "Wbu")
    optimizer = torch.optim.SGD([W, b, u], lr=lr, weight_decay=weight_decay)
    x, y = torch.tensor(inputs), torch.tensor(targets)
    for batch in torch.tensor(order).split(batch_size)[batches]:
        optimizer.zero_grad()
        outputs = torch.relu(x[batch] @ W.T + b) @ u
        torch.relu(1 - outputs * y[batch]).mean().backward()
        optimizer.step()
        with torch.no_grad():
            for values in (W, b, u):
                values.copy_(values.sign() * (values.abs() - lr * l1).clamp(min=0))
    return {"W": W.detach().numpy(), "b": b.detach().numpy(), "u": u.detach().numpy()}


def fused(net, inputs, targets, order, start, stop, batch_size, lr, weight_decay, l1=0.0):
    weights_t, b, u = np.array(net["W"].T, order="C"), net["b"].copy(), net["u"].copy()
    room = kernels.scratch(*weights_t.shape, batch_size, weights_t.dtype)
    for left_over in room[2:]:
        left_over[...] = 7.0  # what an earlier step left must not matter
    kernels.train_batches(
        weights_t, b, u, inputs, kernels.patterns_of(inputs), targets, order, start, stop, batch_size, lr, weight_decay,
        l1, room,
    )  # fmt: skip
    return {"W": weights_t.T, "b": b, "u": u}


def distance(a, b):
    return max(float(np.linalg.norm(a[name] - b[name]) / np.linalg.norm(b[name])) for name in b)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("start", "stop"), [(0, 1), (0, 32)], ids=["one step", "one epoch"])
def test_the_papers_network_steps_as_torch_does(dtype, start, stop):
    case = problem(n=40, k=3, width=1000, n_examples=1000, dtype=dtype)
    ours = fused(*case, start, stop, 32, 0.1, 0.01)
    assert distance(ours, by_torch(*case, slice(start, stop), 32, 0.1, 0.01)) < TOLERANCE[dtype]


@given(
    n=st.integers(1, 9), width=st.integers(1, 40), n_examples=st.integers(1, 50), batch_size=st.integers(1, 60),
    lr=st.sampled_from([0.01, 0.1, 0.5]), weight_decay=st.sampled_from([0.0, 0.01, 0.3]), seed=st.integers(0, 99),
)  # fmt: skip
@settings(max_examples=60)
def test_any_size_and_any_partial_batch_steps_as_torch_does(n, width, n_examples, batch_size, lr, weight_decay, seed):
    case = problem(n, min(n, 2), width, n_examples, "float64", seed)
    n_batches = -(-n_examples // batch_size)
    ours = fused(*case, 0, n_batches, batch_size, lr, weight_decay)
    theirs = by_torch(*case, slice(0, n_batches), batch_size, lr, weight_decay)
    assert distance(ours, theirs) < TOLERANCE["float64"]


def test_an_epoch_in_pieces_is_the_epoch_in_one_go_bit_for_bit():
    net, *rest = problem(10, 2, 30, 50, "float32")
    whole = fused(net, *rest, 0, 7, 8, 0.1, 0.01)
    pieces = net
    for start, stop in [(0, 2), (2, 3), (3, 7)]:
        pieces = fused(pieces, *rest, start, stop, 8, 0.1, 0.01)
    assert all((whole[name] == pieces[name]).all() for name in whole)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_an_l1_penalty_is_a_proximal_step_and_its_zeros_are_exact(dtype):
    case = problem(n=12, k=2, width=40, n_examples=100, dtype=dtype)
    ours = fused(*case, 0, 13, 8, 0.1, 0.01, l1=0.02)
    theirs = by_torch(*case, slice(0, 13), 8, 0.1, 0.01, l1=0.02)
    assert distance(ours, theirs) < TOLERANCE[dtype]
    for name in ours:
        assert (ours[name] == 0).sum() == (theirs[name] == 0).sum()
    assert 0 < (ours["W"] == 0).sum() < ours["W"].size


def test_nan_spreads_instead_of_being_taken_for_an_inactive_example():
    net, *rest = problem(4, 2, 6, 8, "float32")
    net["u"][0] = np.nan
    after = fused(net, *rest, 0, 1, 8, 0.1, 0.01)
    assert np.isnan(after["W"]).any()
    assert np.isnan(after["u"]).any()


def evaluated(weights_t, b, u, inputs, targets):
    room = kernels.scratch(*weights_t.shape, 1, weights_t.dtype)
    return kernels.evaluate(weights_t, b, u, kernels.patterns_of(inputs), targets, room)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 19, 20, 21, 40, 50])
def test_evaluation_equals_the_plain_forward_pass(n):
    net, inputs, targets, _ = problem(n, 1, 50, 130, "float64")
    outputs = np.maximum(inputs @ net["W"].T + net["b"], 0) @ net["u"]
    loss, n_right, n_zero, largest = evaluated(net["W"].T.copy(), net["b"], net["u"], inputs, targets)
    assert loss == pytest.approx(np.maximum(0, 1 - outputs * targets).mean(), rel=1e-12)
    assert n_right == (np.sign(outputs) == targets).sum()
    assert n_zero == 0
    assert largest == pytest.approx(np.abs(outputs).max(), rel=1e-12)


def test_an_infinite_weight_gives_an_infinite_output_as_in_the_plain_forward_pass():
    """Sums of patterns are made without differences that would turn infinity into NaN."""
    W, u = np.array([[np.inf, 1.0, 0.5, -1.0, 2.0]]), np.ones(1)
    loss, n_right, _, largest = evaluated(W.T.copy(), np.zeros(1), u, np.array([[1.0, 1, -1, 1, 1]]), np.array([-1.0]))
    assert (loss, n_right, largest) == (np.inf, 0, np.inf)


def test_an_output_of_exactly_zero_is_wrong_and_counted():
    found = evaluated(np.ones((2, 3)), np.zeros(3), np.zeros(3), np.ones((5, 2)), np.ones(5))
    assert found == (1.0, 0, 5, 0.0)


def test_nan_outputs_are_wrong_and_make_the_loss_nan():
    W, b, inputs = np.ones((2, 3)), np.full(3, np.nan), np.ones((5, 2))
    loss, n_right, _, largest = evaluated(W, b, np.ones(3), inputs, np.ones(5))
    assert np.isnan([loss, largest]).all()
    assert n_right == 0
