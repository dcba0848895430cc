import numpy as np
import pytest
import torch

from circuits.interfaces import Signature
from circuits.models.mlp import MLP, EmbeddedMLP

ACTIVATIONS = {
    "relu": torch.nn.ReLU(), "gelu": torch.nn.GELU(), "tanh": torch.nn.Tanh(), "square": lambda values: values**2,
}  # fmt: skip


def tensors(net):
    return {name: torch.from_numpy(values) for name, values in net.items()}


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("widths", [(7,), (7, 5), (6, 5, 4)])
@pytest.mark.parametrize("biases", [True, False])
@pytest.mark.parametrize("n_classes", [None, 3])
def test_an_mlp_computes_what_torch_modules_do(activation, widths, biases, n_classes):
    model, signature = MLP(widths=widths, activation=activation, biases=biases), Signature(6, n_classes)
    net = tensors(model.initial(signature, seed=1))
    inputs = torch.randn(9, 6, dtype=torch.float64)
    values = inputs
    for layer in range(len(widths)):
        bias = net[f"hidden.{layer}.b"] if biases else None
        values = ACTIVATIONS[activation](torch.nn.functional.linear(values, net[f"hidden.{layer}.W"], bias))
    W = net["readout.W"] if n_classes else net["readout.W"][None]
    bias = net["readout.b"].reshape(-1) if biases else None
    expected = torch.nn.functional.linear(values, W, bias)
    assert torch.allclose(model.forward(net, inputs), expected if n_classes else expected[:, 0])


@pytest.mark.parametrize("embedding", ["shared", "per_slot"])
@pytest.mark.parametrize("joined", ["sum", "concat"])
def test_embeddings_are_a_linear_map_of_one_hot_slots(embedding, joined):
    model = EmbeddedMLP(widths=(5,), d_embed=4, embedding=embedding, joined=joined)
    signature = Signature(2, 6, d_vocab=6)
    net = model.initial(signature, seed=2)
    tables = [net["embed"]] * 2 if embedding == "shared" else list(net["embed"])
    W = net["hidden.0.W"].reshape(5, -1, 4)
    W = W.repeat(2, axis=1) if joined == "sum" else W
    as_one_hot = np.concatenate([W[:, slot] @ tables[slot].T for slot in (0, 1)], axis=1)  # (neuron, slot token)
    plain = {name: values for name, values in net.items() if name != "embed"} | {"hidden.0.W": as_one_hot}
    tokens = torch.tensor([[0, 5], [3, 3], [2, 1]])
    one_hot = torch.nn.functional.one_hot(tokens, 6).double().flatten(1)
    expected = MLP(widths=(5,)).forward(tensors(plain), one_hot)
    assert torch.allclose(model.forward(tensors(net), tokens), expected)


def test_weights_have_the_variance_that_is_asked_for():
    signature = Signature(200, n_classes=50)
    normal = MLP(widths=(400,), init="normal").initial(signature, 0)
    assert normal["hidden.0.W"].std() == pytest.approx(200**-0.5, rel=0.02)
    assert normal["readout.W"].std() == pytest.approx(400**-0.5, rel=0.02)
    assert not normal["hidden.0.b"].any()
    uniform = MLP(widths=(400,)).initial(signature, 0)
    assert np.abs(uniform["hidden.0.W"]).max() == pytest.approx(200**-0.5, rel=0.01)
    assert np.abs(uniform["hidden.0.b"]).max() == pytest.approx(200**-0.5, rel=0.05)
    embed = EmbeddedMLP(init="normal").initial(Signature(2, 97, 97), 0)["embed"]
    assert embed.std() == pytest.approx(97**-0.5, rel=0.05)


@pytest.mark.parametrize("n_classes", [None, 3])
def test_the_last_hidden_layer_is_read_out_linearly(n_classes):
    model, signature = MLP(widths=(7, 5), activation="gelu"), Signature(6, n_classes)
    net = model.initial(signature, seed=1)
    layers = model.prunable_layers(signature)
    assert list(layers) == ["hidden.0.hook_post", "hidden.1.hook_post"]
    assert layers["hidden.0.hook_post"].readout is None
    seen = {}

    def tap(name, value):
        seen[name] = value
        return value

    outputs = model.forward(tensors(net), torch.randn(4, 6, dtype=torch.float64), tap).numpy().reshape(4, -1)
    U = layers["hidden.1.hook_post"].readout(net)
    assert U.shape == (5, n_classes or 1)
    assert np.allclose(seen["hidden.1.hook_post"].numpy() @ U + net["readout.b"], outputs)
    W, b = layers["hidden.1.hook_post"].incoming(net)
    assert np.allclose(seen["hidden.0.hook_post"].numpy() @ W.T + b, seen["hidden.1.hook_pre"].numpy())
