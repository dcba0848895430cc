"""Dead networks of every loss, without a hidden layer and of tokens, have collapsed wherever one looks."""

import pytest

import circuits
from circuits.analysis import Options
from circuits.cli.main import main
from circuits.figures.page.summary import cautions, headline

KINDS = {
    "mse": ("mse", "parity", {"kind": "relu", "width": 8}),
    "linear": ("hinge", "parity", {"kind": "linear"}),
    "linear-mse": ("mse", "parity", {"kind": "linear"}),
    "embedded_mlp": ("cross_entropy", "modular", {"kind": "embedded_mlp", "widths": [8], "d_embed": 4}),
    "rnn": ("cross_entropy", "modular", {"kind": "rnn", "hidden": 6, "d_embed": 4}),
}
TASKS = {
    "parity": {"kind": "parity", "n": 6, "k": 2, "n_train": 25, "n_test": 20},
    "modular": {"kind": "modular", "p": 5, "encoding": "tokens", "sequence": "x y =", "train_fraction": 0.6},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_a_dead_network_of_any_kind_has_collapsed(name, tmp_path, capsys):
    loss, task, model = KINDS[name]
    config = circuits.Config(
        task=TASKS[task], model=model, loss=loss, optimizer={"kind": "sgd", "lr": 1e-4, "weight_decay": 5000.0},
        batch_size=None, epochs=30, seeds=[0], checkpoints={"every_epochs": 10},
    )  # fmt: skip
    path = tmp_path / "dead.h5"
    with circuits.train(config, path, progress=False) as run:
        assert run.collapsed.values[:, 0].tolist() in ([False, True, True, True], [False, False, True, True])
        for metric in ("train_accuracy", "test_accuracy"):
            assert (run.metrics[metric].values[run.collapsed.values] == 0).all()
        phases, chosen = circuits.analysis.phases(run), Options(checkpoints="-1:")
        names = ["subnetwork", "faithfulness"] if config.prunable_layers else ["walsh"]
        names += ["fourier"] if task == "modular" else []
        results = circuits.analyze(run, *names, options=chosen)
        assert "1 of 1 seed collapsed." in headline(run, phases, results)
        begins = f"seed 0 collapsed: {'all outputs' if task == 'parity' else 'logits'}"
        assert any(text.startswith(begins) for text in cautions(run, phases, results))
        if config.prunable_layers:
            assert results["subnetwork"]["final_sparsity"].values.tolist() == [0]
            assert results["faithfulness"]["agreement"].isnull().all()
        if task == "modular":
            assert results["fourier"].attrs["warnings"] == ["seed 0 collapsed, so there is no key frequency."]
    assert main(["show", str(path)]) == 0
    assert "collapsed" in capsys.readouterr().out
    assert main(["analyze", str(path), f"--{names[-1]}", "--out", str(tmp_path / "a.nc")]) == 0
    assert "collapsed" in capsys.readouterr().out
