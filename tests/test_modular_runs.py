"""Every command works on runs with classes, tokens and a test set per seed, whatever the model."""

import json

import numpy as np
import pages
import pytest

import circuits
from circuits.analysis import phases
from circuits.analysis.options import Options
from circuits.cli.main import main
from circuits.config import parse
from circuits.figures.page.report import report

MODELS = {
    "mlp": {"kind": "mlp", "widths": [20, 12]},
    "embedded_mlp": {"kind": "embedded_mlp", "widths": [14], "d_embed": 6},
    "lstm": {"kind": "lstm", "hidden": 10, "d_embed": 6},
    "transformer": {"kind": "transformer", "n_heads": 2, "d_model": 8, "d_mlp": 12, "n_layers": 2},
}
LAST = {
    "mlp": "hidden.1.hook_post",
    "embedded_mlp": "hidden.0.hook_post",
    "lstm": "hook_dropped",
    "transformer": "blocks.1.mlp.hook_post",
}


QUICK = ("mlp",)  # the others when there is time


@pytest.fixture(
    scope="module", params=[name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in MODELS]
)
def path(request, tmp_path_factory):
    encoding = "one-hot" if request.param == "mlp" else "tokens"
    config = parse(
        {
            "name": request.param, "task": {"kind": "modular", "p": 7, "train_fraction": 0.7, "encoding": encoding},
            "model": MODELS[request.param], "optimizer": {"kind": "adamw", "lr": 0.02, "weight_decay": 0.1},
            "loss": "cross_entropy", "batch_size": None, "epochs": 60, "seeds": [1, 5],
            "checkpoints": {"every_epochs": 10}, "metrics": ["effective_sparsity"],
        }
    )  # fmt: skip
    path = tmp_path_factory.mktemp("runs") / f"{request.param}.h5"
    circuits.train(config, path, progress=False).close()
    return path


def answered(*words, capsys):
    assert main(list(map(str, words))) == 0
    return capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize(
    "path",
    [name if name in ("mlp", "transformer") else pytest.param(name, marks=pytest.mark.long) for name in MODELS],
    indirect=True,
)
def test_a_page_from_the_sidecar_is_the_page_measured_anew(path, tmp_path):
    assert pages.from_sidecar(path, tmp_path) == pages.measured(path, tmp_path)


@pytest.mark.slow
def test_analyze_without_flags_makes_what_applies(path, capsys):
    found = json.loads(answered("analyze", path, "--json", "--quiet", capsys=capsys))
    usual = {"phases", "subnetwork", "norms", "faithfulness", "fourier", "progress"}
    assert set(found) - {"schema_version", "run", "options"} == usual
    assert found["options"]["layer"] is None
    assert "Agreement with the full network" in answered("analyze", path, "--quiet", capsys=capsys)


@pytest.mark.slow
def test_the_page_says_which_layer_and_that_classes_agree(path, tmp_path):
    with circuits.open(path) as run:
        text = report(run, tmp_path / "page.html").read_text()
    assert f"in the layer {LAST[path.stem]} that give the same class as the whole network" in text
    for title in ("Learning curves", "Subnetwork", "Norms", "Faithfulness"):
        assert f">{title}</h2>" in text
    assert "same sign" not in text
    assert "batch all" in text


def test_show_export_and_replay_work(path, tmp_path, capsys):
    shown = answered("show", path, capsys=capsys)
    assert "batch all" in shown
    assert "modular: p 7" in shown
    answered("export", path, "--out", tmp_path / "a.npz", capsys=capsys)
    with np.load(tmp_path / "a.npz") as arrays, circuits.open(path) as run:
        assert set(arrays) - {"__metadata__"} == set(run.config.shapes)
    answered("replay", path, "--from-step", 0, "--to-step", 3, "--out", tmp_path / "b.h5", "--quiet", capsys=capsys)
    with circuits.open(tmp_path / "b.h5") as replayed:
        assert circuits.analysis.effective_sparsity(replayed).shape == (4, 2)


@pytest.mark.slow
def test_a_layer_is_chosen_on_the_command_line(path, tmp_path, capsys):
    with circuits.open(path) as run:
        layers = run.config.prunable_layers
    for layer, hidden in layers.items():
        words = ("analyze", path, "--subnetwork", "--layer", layer, "--json", "--quiet", "--out", tmp_path / "a.nc")
        found = json.loads(answered(*words, capsys=capsys))
        assert found["options"]["layer"] == layer
        assert np.shape(found["subnetwork"]["data_vars"]["kept"]["data"]) == (2, hidden.width)
    assert main(["analyze", str(path), "--layer", "hook_mlp"]) == 2
    said = capsys.readouterr().err
    assert f"has no layer 'hook_mlp' to prune. It has: {', '.join(layers)}." in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("words", [["verify"], ["analyze", "--constructions"], ["analyze", "--exact"]])
def test_what_needs_the_relu_model_says_so_in_one_line(path, words, capsys):
    assert main([words[0], str(path), *words[1:]]) == 2
    said = capsys.readouterr().err
    assert "uᵀ relu(W x + b)" in said
    assert said.count("\n") == 1


def test_phases_count_in_each_seeds_own_test_set(path):
    with circuits.open(path) as run:
        found = phases(run, Options(memorization_threshold=0.9, generalization_threshold=0.2))
        n_train, n_test = 34, 15
        assert run.all_data["test_inputs"].shape[:2] == (2, n_test)
        for index, seed in enumerate(run.seeds):
            for name, which, n, least in (
                ("memorization", "train", n_train, 31),
                ("generalization", "test", n_test, 4),
            ):
                right = np.rint(run.metrics[f"{which}_accuracy"].values[:, index] * n)
                epochs = run.epochs[right >= least]
                expected = epochs[0] if len(epochs) else np.nan
                assert found[f"{name}_epoch"].sel(seed=seed).values == pytest.approx(expected, nan_ok=True)


def test_a_group_of_all_neurons_has_the_stored_test_accuracy(path):
    from circuits.analysis.networks.evaluator import evaluator
    from circuits.analysis.networks.layers import layer_of
    from circuits.analysis.subnetworks.active import examples_of
    from circuits.analysis.subnetworks.faithfulness import agreement_and_accuracy

    with circuits.open(path) as run:
        layer = layer_of(run)
        for index, seed in enumerate(run.seeds):
            inputs, targets = examples_of(run, index, "test")
            outputs = evaluator(run.config, inputs, layer).masked_outputs(
                run.arrays(seed), np.ones((1, layer.width), bool)
            )
            agreement, accuracy = agreement_and_accuracy(outputs, outputs[0], targets)
            assert agreement.tolist() == [1.0]
            assert accuracy[0] == pytest.approx(run.metrics["test_accuracy"].values[-1, index])
