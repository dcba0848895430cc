import numpy as np
import pytest
import torch

import circuits
from circuits.config import parse
from circuits.interfaces import Signature
from circuits.models.recurrent import LSTM, RNN
from circuits.training.hooks import training_tap

SIGNATURE = Signature(4, n_classes=5, d_vocab=7)
TOKENS = torch.tensor([[0, 6, 3, 2], [1, 1, 5, 4], [2, 0, 0, 6]])


def tensors(net):
    return {name: torch.from_numpy(values) for name, values in net.items()}


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize(("kind", "module"), [(RNN, torch.nn.RNN), (LSTM, torch.nn.LSTM)])
def test_a_recurrent_network_is_that_of_torch(kind, module, layers):
    model = kind(n_layers=layers, d_embed=3, hidden=6)
    net = tensors(model.initial(SIGNATURE, seed=0))
    torchs = module(3, 6, num_layers=layers, batch_first=True).double()
    torchs.load_state_dict({name: net[name] for name in torchs.state_dict()})
    states = torchs(net["embed"][TOKENS])[0]
    expected = states[:, -1] @ net["readout.W"].T + net["readout.b"]
    assert torch.allclose(model.forward(net, TOKENS), expected)
    assert {name: tuple(values.shape) for name, values in net.items()} == {
        name: shape for name, (_, shape) in model.shapes(SIGNATURE).items()
    }


@pytest.mark.parametrize("kind", [RNN, LSTM])
def test_a_unit_is_pruned_where_the_readout_sees_it(kind):
    model = kind(d_embed=3, hidden=6)
    net = model.initial(SIGNATURE, seed=0)
    layer = model.prunable_layers(SIGNATURE)["hook_dropped"]
    W, b = layer.incoming(net)
    assert W.shape == (6, model.n_gates * 9)
    assert b.shape == (6,)
    gates = [net["weight_ih_l0"][gate * 6 + 2] for gate in range(model.n_gates)]
    gates += [net["weight_hh_l0"][gate * 6 + 2] for gate in range(model.n_gates)]
    assert np.linalg.norm(W[2]) == pytest.approx(np.sqrt(sum((row**2).sum() for row in gates)))
    kept = torch.tensor([1.0, 0, 1, 1, 0, 1], dtype=torch.float64)
    seen = {}

    def masked(name, value):
        seen[name] = value
        return value * kept if name == "hook_dropped" else value

    outputs = model.forward(tensors(net), TOKENS, masked).numpy()
    expected = (seen["hook_dropped"] * kept).numpy() @ layer.readout(net) + net["readout.b"]
    assert np.allclose(outputs, expected)


def config_of(**changes):
    return parse(
        {
            "task": {"kind": "modular", "p": 7, "encoding": "tokens", "sequence": "x y ="},
            "model": {"kind": "lstm", "d_embed": 8, "hidden": 8},
            "optimizer": {"kind": "adamw", "lr": 0.01}, "loss": "cross_entropy", "batch_size": 8, "epochs": 3,
            "seeds": [0, 1],
        }
    ).replace(**changes)  # fmt: skip


def test_dropout_drops_that_share_and_rescales_the_rest():
    tap = training_tap(config_of(model__dropout=0.25), seed=0, step=0)
    values = tap("hook_dropped", torch.ones(400, 500))
    assert (values == 0).double().mean().item() == pytest.approx(0.25, abs=0.005)
    assert set(values.unique().tolist()) == {0.0, np.float32(1 / 0.75)}
    assert (tap("hook_hidden", torch.ones(3)) == 1).all()


def test_dropout_and_noise_are_those_of_the_step_and_the_seed():
    config = config_of(model__dropout=0.5, input_noise=0.3)

    def drawn(seed, step):
        tap = training_tap(config, seed, step)
        return torch.cat([tap("hook_embed", torch.zeros(3, 4)), tap("hook_dropped", torch.ones(3, 4))])

    assert torch.equal(drawn(1, 5), drawn(1, 5))
    assert not torch.equal(drawn(1, 5), drawn(1, 6))
    assert not torch.equal(drawn(1, 5), drawn(2, 5))
    noise = training_tap(config, 0, 0)("hook_embed", torch.zeros(300, 300))
    assert noise.std().item() == pytest.approx(0.3, rel=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{"model__dropout": 0.5}, {"input_noise": 0.2}, {"model__kind": "rnn"}])
def test_a_run_with_dropout_or_noise_resumes_bit_for_bit(tmp_path, cut_short, changes):
    config = config_of(**changes)
    with circuits.train(config, tmp_path / "whole.h5", progress=False) as run:
        whole = run.parameters.load()
        assert (run.parameters["embed"].values[0] != run.parameters["embed"].values[-1]).any()
    cut_short(config, tmp_path / "cut.h5", 6)
    with circuits.train(None, tmp_path / "cut.h5", resume=True, progress=False) as run:
        assert run.parameters.load().identical(whole)


def test_the_metrics_are_measured_without_dropout_or_noise(tmp_path):
    config = config_of(model__dropout=0.5, input_noise=0.5)
    with circuits.train(config, tmp_path / "run.h5", progress=False) as run:
        data = run.data(1)
        outputs = run.model(1)(torch.from_numpy(data["test_inputs"].values)).detach()
        right = (outputs.argmax(1).numpy() == data["test_targets"].values).mean()
        assert run.metrics["test_accuracy"].values[-1, 1] == pytest.approx(right)


def test_init_scale_multiplies_every_initial_parameter(tmp_path):
    found = {}
    for scale in (1.0, 5.0):
        config = config_of(model__init_scale=scale, epochs=0)
        with circuits.train(config, tmp_path / f"{scale}.h5", progress=False) as run:
            found[scale] = run.arrays()
    assert all(np.allclose(found[5.0][name], 5 * found[1.0][name], rtol=1e-6) for name in found[1.0])
    assert any(name.startswith("bias") for name in found[1.0])


def test_networks_that_draw_cannot_train_as_one(tmp_path):
    with pytest.raises(circuits.InputError, match="cannot train as one: pass kernel='auto'"):
        circuits.train(config_of(), tmp_path / "run.h5", kernel="batched", progress=False)
