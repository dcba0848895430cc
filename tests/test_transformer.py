import subprocess
import sys

import numpy as np
import pytest
import torch
from bridges import bridge_gradients, bridge_of, drawn

from circuits.errors import InputError
from circuits.interfaces import Signature
from circuits.models.transformer import Transformer

SIZES = {"n_heads": 2, "d_model": 12, "d_head": 5, "d_mlp": 9}


def tokens(signature, n_examples=17, seed=1):
    drawn = np.random.default_rng(seed).integers(0, signature.d_vocab, (n_examples, signature.n_inputs))
    return torch.from_numpy(drawn)


def close(ours, theirs):
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("n_inputs", [2, 3, 6])
@pytest.mark.parametrize("n_layers", [1, 2])
@pytest.mark.parametrize("normalization", [None, "LN"])
@pytest.mark.parametrize(("biases", "activation"), [(True, "relu"), (True, "gelu"), (False, "relu")])
def test_forward_and_every_gradient_are_those_of_the_bridge(n_inputs, n_layers, normalization, biases, activation):
    model = Transformer(
        n_layers=n_layers, normalization=normalization, biases=biases, activation=activation, **SIZES
    )  # fmt: skip
    signature = Signature(n_inputs, n_classes=7, d_vocab=8)
    parameters, inputs = drawn(model, signature), tokens(signature)
    bridge = bridge_of(model, parameters, signature)
    weights = torch.randn(17, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    theirs = bridge(inputs)[:, -1]
    ours = model.forward(parameters, inputs)
    close(ours, theirs)
    wanted = bridge_gradients(bridge, (theirs * weights).sum())
    found = torch.autograd.grad((ours * weights).sum(), list(parameters.values()))
    for name, gradient in zip(parameters, found, strict=True):
        close(gradient, wanted[name])
        assert wanted[name].abs().max() > 1e-2 or name.endswith("b_K"), name  # b_K adds the same to every score


def test_parameters_are_the_bridges_in_its_order_without_the_bias_of_the_unembedding():
    model, signature = Transformer(n_layers=2, normalization="LN", **SIZES), Signature(3, 7, 8)
    parameters = drawn(model, signature)
    bridge = bridge_of(model, parameters, signature)
    theirs = dict(bridge.tl_named_parameters())
    assert set(theirs) - set(parameters) == {"unembed.b_U"}
    assert not theirs["unembed.b_U"].any()
    for name, values in parameters.items():
        assert torch.equal(values, theirs[name]), name
    dims = model.shapes(signature).values()
    assert all(len(set(names)) == len(names) == len(shape) for names, shape in dims)


def test_a_two_token_network_by_hand():
    """One head that copies the first token's embedding to the last position, and no MLP to speak of."""
    model, signature = Transformer(n_heads=1, d_model=2, d_mlp=1), Signature(2, 2, 3)
    parameters = {name: np.zeros(shape) for name, (_, shape) in model.shapes(signature).items()}
    parameters["embed.W_E"][:2] = [[1, 0], [0, 1]]
    parameters["blocks.0.attn.W_V"][0] = parameters["blocks.0.attn.W_O"][0] = np.eye(2)
    parameters["unembed.W_U"] = np.array([[4.0, 0.0], [0.0, 6.0]])
    inputs = torch.tensor([[0, 2], [1, 2]])
    outputs = model.forward({name: torch.from_numpy(values) for name, values in parameters.items()}, inputs)
    assert outputs.tolist() == [[2.0, 0.0], [0.0, 3.0]]  # half the attention is on the last token, which is zero


@pytest.mark.parametrize("normalization", [None, "LN"])
def test_vmap_over_stacked_networks_gives_each_its_own_outputs_and_gradients(normalization):
    model, signature = Transformer(n_layers=2, normalization=normalization, **SIZES), Signature(3, 7, 8)
    networks = [drawn(model, signature, seed) for seed in range(3)]
    inputs = torch.stack([tokens(signature, seed=seed) for seed in range(3)])
    stacked = {name: torch.stack([net[name] for net in networks]) for name in networks[0]}
    outputs = torch.vmap(model.forward)(stacked, inputs)
    shared = torch.vmap(model.forward, in_dims=(0, None))(stacked, inputs[0])
    gradients = torch.autograd.grad(outputs.square().sum(), list(stacked.values()))
    for index, net in enumerate(networks):
        own = model.forward(net, inputs[index])
        close(outputs[index], own)
        close(shared[index], model.forward(net, inputs[0]))
        for mine, all_of_them in zip(
            torch.autograd.grad(own.square().sum(), list(net.values())), gradients, strict=True
        ):
            close(all_of_them[index], mine)


def test_the_start_is_that_of_transformer_lens():
    model, signature = Transformer(n_layers=3, normalization="LN"), Signature(3, 113, 114)
    ours = model.initial(signature, seed=0)
    bridge = model.bridge(ours, signature)
    bridge.init_weights()
    for name, theirs in bridge.tl_named_parameters():
        if name == "unembed.b_U":
            continue
        theirs = theirs.detach().numpy()
        assert ours[name].dtype == np.float64
        if theirs.std() == 0:  # biases and norms
            assert (ours[name] == theirs).all(), name
        else:
            assert ours[name].std() == pytest.approx(theirs.std(), rel=0.15 if theirs.size < 1000 else 0.05), name


def test_seeds_start_differently_and_a_seed_always_alike():
    signature = Signature(3, 7, 8)
    first, second, again = (Transformer(**SIZES).initial(signature, seed)["embed.W_E"] for seed in (0, 1, 0))
    assert (first == again).all()
    assert (first != second).any()


def test_run_with_cache_sees_what_the_tap_sees_at_every_hook_point():
    model, signature = Transformer(n_layers=2, **SIZES), Signature(3, 7, 8)
    parameters, inputs = drawn(model, signature), tokens(signature)
    seen = {}
    outputs = model.forward(parameters, inputs, lambda name, value: seen.setdefault(name, value))
    logits, cache = bridge_of(model, parameters, signature).run_with_cache(inputs)
    close(outputs, logits[:, -1])
    assert {"hook_embed", "blocks.1.hook_attn_out", "blocks.0.mlp.hook_post", "blocks.1.hook_resid_post"} <= set(seen)
    for name, value in seen.items():
        theirs = cache[name]
        if name.endswith("hook_z"):  # (example, position, head, d_head)
            theirs = theirs[:, -1:] if name.startswith("blocks.1") else theirs
        elif name.startswith("blocks.1") and not name.endswith("hook_resid_pre"):
            theirs = theirs[..., -1:, :]
        assert value.shape == theirs.shape, name
        close(value, theirs)


def test_dropout_by_the_tap_is_dropout_by_hooks_of_transformer_lens():
    model, signature = Transformer(n_layers=2, dropout=0.4, **SIZES), Signature(3, 7, 8)
    parameters, inputs = drawn(model, signature), tokens(signature)
    random = torch.Generator().manual_seed(0)
    masks = {
        name: (torch.rand(17, 3, 12, generator=random, dtype=torch.float64) >= share) / (1 - share)
        for name, share in model.dropout_at.items()
    }
    assert len(masks) == 4

    def tap(name, value):
        return value * masks[name][:, -value.shape[1] :] if name in masks else value

    hooks = [(name, lambda value, hook, mask=mask: value * mask) for name, mask in masks.items()]
    theirs = bridge_of(model, parameters, signature).run_with_hooks(inputs, fwd_hooks=hooks)[:, -1]
    ours = model.forward(parameters, inputs, tap)
    close(ours, theirs)
    assert (ours - model.forward(parameters, inputs)).abs().max() > 0.1


def test_only_biases_are_frozen_and_only_if_they_are_not_trained():
    model = Transformer(n_layers=2, normalization="LN", biases=False)
    shapes = model.shapes(Signature(3, 113, 114))
    assert set(model.frozen) == {name for name in shapes if name.rpartition(".")[2][0] == "b"}
    assert len(model.frozen) == 2 * 8 + 1
    assert Transformer(biases=True).frozen == ()
    start = model.initial(Signature(3, 113, 114), 0)
    assert not any(start[name].any() for name in model.frozen)


def test_prunable_layers_are_heads_and_mlps_and_the_last_is_read_out_linearly():
    model, signature = Transformer(n_layers=2, **SIZES), Signature(3, 7, 8)
    parameters, inputs = drawn(model, signature), tokens(signature)
    net = {name: values.detach().numpy() for name, values in parameters.items()}
    seen, kept = {}, torch.arange(9) % 2

    def outputs(tap):
        return model.forward(parameters, inputs, tap).detach().numpy()

    full = outputs(lambda name, value: seen.setdefault(name, value))
    masked = outputs(lambda name, value: value * kept if name == "blocks.1.mlp.hook_post" else value)
    layers = model.prunable_layers(signature)
    assert list(layers) == [f"blocks.{i}.{hook}" for i in range(2) for hook in ("attn.hook_z", "mlp.hook_post")]
    assert [layer.axis for layer in layers.values()] == [-2, -1, -2, -1]
    first, last = layers["blocks.0.mlp.hook_post"], layers["blocks.1.mlp.hook_post"]
    assert first.readout is None
    assert Transformer(normalization="LN").prunable_layers(signature)["blocks.0.mlp.hook_post"].readout is None
    pruned = (seen["blocks.1.mlp.hook_post"][:, 0] * (1 - kept)).detach().numpy()
    np.testing.assert_allclose(full - masked, pruned @ last.readout(net), rtol=1e-9, atol=1e-9)
    W, b = last.incoming(net)
    read = seen["blocks.1.hook_resid_mid"][:, 0].detach().numpy()
    np.testing.assert_allclose(np.maximum(read @ W.T + b, 0), seen["blocks.1.mlp.hook_post"][:, 0].detach().numpy())


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"d_model = 10 is not a multiple of n_heads = 4; change one, or set d_head"):
        Transformer(d_model=10, n_heads=4)
    assert Transformer(d_model=10, n_heads=4, d_head=3).head_width == 3
    for signature in (Signature(40), Signature(3, 7), Signature(3, None, 8)):
        with pytest.raises(InputError, match="reads tokens and gives a logit per class"):
            Transformer().shapes(signature)


@pytest.mark.slow
def test_training_does_not_need_transformer_lens():
    code = (
        "import sys, torch;"
        "from circuits.models.transformer import Transformer; from circuits.interfaces import Signature;"
        "m, s = Transformer(d_model=8, d_mlp=4), Signature(3, 5, 6);"
        "p = {k: torch.from_numpy(v) for k, v in m.initial(s, 0).items()};"
        "m.forward(p, torch.zeros(2, 3, dtype=torch.long)); assert 'transformer_lens' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
