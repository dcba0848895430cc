"""Ablation and patching equal what the networks do when a unit's value is set by hand."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import circuits
from circuits.analysis import ablate, patch
from circuits.analysis.interventions.losses import mean_loss
from circuits.cli.main import main
from circuits.training.losses import per_example


@pytest.fixture(scope="module")
def attending(tmp_path_factory):
    """A two-layer transformer with two heads on x + y mod 7."""
    config = circuits.resolve_config(
        overrides={
            "task": {"kind": "modular", "p": 7, "encoding": "tokens", "sequence": "x y ="},
            "model": {"kind": "transformer", "n_layers": 2, "n_heads": 2, "d_model": 8, "d_mlp": 12},
            "optimizer": {"kind": "adamw", "lr": 0.02}, "loss": "cross_entropy", "batch_size": None, "epochs": 30,
            "seeds": [0, 3], "checkpoints": {"every_epochs": 10},
        }
    )  # fmt: skip
    path = tmp_path_factory.mktemp("runs") / "attending.h5"
    circuits.train(config, path, progress=False).close()
    with circuits.open(path) as run:
        yield run


def by_hand(run, seed, step, hook, change):
    """Test outputs of the TransformerLens bridge with `change` at the hook's last position."""
    model, data = run.hooked_model(seed, step=step), run.data(seed)
    inputs = torch.from_numpy(data["test_inputs"].values.astype(np.int64))
    with torch.no_grad():
        outputs = model.run_with_hooks(inputs, fwd_hooks=[(hook, lambda value, hook: change(value))])
    return outputs, torch.from_numpy(data["test_targets"].values.astype(np.int64))


@pytest.mark.parametrize("layer", ["blocks.0.attn.hook_z", "blocks.1.attn.hook_z"])
def test_without_a_head_accuracy_and_loss_are_those_of_a_hook_that_sets_it_to_0(attending, layer):
    found = ablate(attending, "heads", layer=layer)
    assert found["accuracy"].sizes == {"step": 4, "seed": 2, "component": 2}
    for seed in attending.seeds:
        for head in range(2):

            def without(value, head=head):
                value = value.clone()
                value[:, :, head] = 0
                return value

            outputs, targets = by_hand(attending, seed, 30, layer, without)
            here = found.sel(seed=seed, step=30, component=str(head))
            assert float(here["loss"]) == pytest.approx(F.cross_entropy(outputs.double(), targets).item(), rel=1e-5)
            assert float(here["accuracy"]) == (outputs.argmax(1) == targets).double().mean().item()


@pytest.mark.parametrize("method", ["zero", "mean"])
def test_without_a_neuron_a_relu_network_is_the_one_whose_neuron_has_a_constant_value(grokked_run, method):
    found = ablate(grokked_run, {"7": [7], "three": [1, 4, 9], "none": []}, checkpoints="-1:", method=method)
    net, data = grokked_run.arrays(1), grokked_run.data(1)
    W, b, u = (net[name].astype(np.float64) for name in "Wbu")

    def hidden(inputs):
        return np.maximum(inputs.astype(np.float64) @ W.T + b, 0)

    values, targets = hidden(data["test_inputs"].values), data["test_targets"].values
    fill = hidden(data["train_inputs"].values).mean(0) if method == "mean" else np.zeros(len(b))
    for name, units in {"7": [7], "three": [1, 4, 9], "none": []}.items():
        changed = values.copy()
        changed[:, units] = fill[units]
        outputs = changed @ u
        here = found.sel(seed=1, component=name).isel(step=0)
        assert float(here["accuracy"]) == (outputs * targets > 0).mean()
        assert float(here["loss"]) == pytest.approx(np.maximum(0, 1 - outputs * targets).mean(), rel=1e-4)
    assert found["accuracy"].sel(component="none", drop=True).equals(found["whole_accuracy"])


def test_groups_and_neurons_are_named(grokked_run):
    groups = ablate(grokked_run, "groups", checkpoints="-1:")
    assert groups["component"].values.tolist() == ["generalizing", "memorizing", "complementary", "control"]
    alone = circuits.analyze(grokked_run, "faithfulness", options={"checkpoints": "-1:"})["faithfulness"]
    for ablated, left in (("generalizing", "complementary"), ("complementary", "generalizing")):
        kept = alone["accuracy"].sel(group=left)
        np.testing.assert_array_equal(groups["accuracy"].sel(component=ablated), kept)
    neurons = ablate(grokked_run, checkpoints="-1:")
    assert neurons["component"].size == 100


def test_values_patched_from_the_same_checkpoint_change_nothing_and_all_of_the_last_layer_bring_its_readout(
    grokked_run,
):
    found = patch(grokked_run, source=[0, "last"], into=[0, "last"])
    for name, step in (("0", 0), ("last", -1)):
        same = found["accuracy"].sel(source=name, into=name)
        assert (same == grokked_run.metrics["test_accuracy"].isel(step=step).values).all()
    first, last = grokked_run.arrays(0, 0), grokked_run.arrays(0)
    data = grokked_run.data(0)
    hidden = np.maximum(data["test_inputs"].values @ first["W"].T.astype(np.float64) + first["b"], 0)
    outputs = hidden @ last["u"]
    assert float(found["accuracy"].sel(source="0", into="last", seed=0)) == (outputs * data["test_targets"] > 0).mean()


def test_some_units_are_patched_at_all_positions(attending):
    layer, units = "blocks.0.mlp.hook_post", [0, 5]
    found = patch(attending, source=0, into="last", units=units, layer=layer)
    inputs = torch.from_numpy(attending.data(3)["test_inputs"].values.astype(np.int64))
    with torch.no_grad():
        _, cache = attending.hooked_model(3, 0).run_with_cache(inputs)

    def patched(value):
        value = value.clone()
        value[..., units] = cache[layer][..., units]
        return value

    outputs, targets = by_hand(attending, 3, 30, layer, patched)
    assert float(found["loss"].sel(seed=3).squeeze()) == pytest.approx(
        F.cross_entropy(outputs.double(), targets).item(), rel=1e-5
    )


def test_heads_can_be_pruned_like_neurons(attending, capsys):
    assert (
        main(["analyze", str(attending.path), "--subnetwork", "--faithfulness", "--layer", "blocks.1.attn.hook_z"]) == 0
    )
    out = capsys.readouterr().out
    assert "2" in out
    kept = circuits.analyze(attending, "subnetwork", options={"layer": "blocks.1.attn.hook_z"})["subnetwork"]
    assert kept["effective_sparsity"].max() <= 2


def test_the_command_line_ablates(grokked_path, attending, capsys, tmp_path):
    out = ["--out", str(tmp_path / "a.nc"), "--checkpoints", "-2:", "--quiet", "--json"]
    assert main(["analyze", str(grokked_path), "--ablation", "--ablation-components", "groups", *out]) == 0
    found = circuits.read_json(capsys.readouterr().out)["ablation"]
    with circuits.open(grokked_path) as run:
        assert found["accuracy"].equals(ablate(run, "groups", "-2:")["accuracy"])
    assert main(["analyze", str(grokked_path), "--ablation", "--ablation-components", "heads", *out]) == 2
    assert "no attention heads to ablate" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda run: ablate(run, {"x": [100]}), "component 'x' must be indices from 0 to 99"),
        (lambda run: ablate(run, {"x": [True, False]}), "component 'x' must be"),
        (lambda run: ablate(run, layer="fc"), "no layer 'fc' to prune"),
        (lambda run: patch(run, "memorised"), "no checkpoint 'memorised'"),
        (lambda run: patch(run, 0, units=np.array([[1]])), "component 'units' must be"),
    ],
)
def test_what_is_not_there_is_said(grokked_run, call, said):
    with pytest.raises(circuits.InputError, match=said):
        call(grokked_run)


@pytest.mark.parametrize("loss", ["hinge", "mse", "cross_entropy"])
@pytest.mark.parametrize("classes", [False, True])
def test_the_mean_loss_is_that_of_training(make_config, loss, classes):
    if classes and loss == "hinge":
        return
    random = np.random.default_rng(0)
    config = circuits.preset("modular-31").replace(loss=loss) if classes else make_config(loss=loss)
    outputs = random.normal(size=(3, 10, 31) if classes else (3, 10))
    targets = random.integers(0, 31, 10) if classes else random.choice([-1, 1], 10)
    with torch.no_grad():
        for at in range(3):
            expected = per_example(
                torch.from_numpy(outputs[at]), torch.from_numpy(targets), config.replace(dtype="float64")
            )
            assert mean_loss(config, outputs, targets)[at] == pytest.approx(expected.mean().item(), rel=1e-12)
