"""Neurons trained alone from where they began."""

import shutil

import numpy as np
import pytest

import circuits
from circuits.cli.main import main
from circuits.training.paths.fused import FusedRelu


@pytest.fixture
def run(tmp_path, make_config):
    with circuits.train(make_config(), tmp_path / "run.h5", progress=False) as run:
        yield run


def by_torch(run, seed, kept, n_steps):
    """The kept neurons from checkpoint 0, stepped by torch.optim.SGD on the run's data in the run's order."""
    import torch

    from circuits.training.paths.stepper import example_order

    start = run.state(seed=seed, checkpoint=0)
    W, b, u = (start[name][torch.from_numpy(kept)].clone().double().requires_grad_() for name in "Wbu")
    sgd = torch.optim.SGD([W, b, u], lr=run.config.optimizer.lr, weight_decay=run.config.optimizer.weight_decay)
    data = run.data(seed)
    x, y = (torch.from_numpy(data[f"train_{name}"].values).double() for name in ("inputs", "targets"))
    taken = 0
    for epoch in range(n_steps):
        for batch in torch.from_numpy(example_order(seed, epoch, len(y))).split(run.config.batch_size):
            if taken == n_steps:
                return W.detach().numpy()
            sgd.zero_grad()
            (1 - (torch.relu(x[batch] @ W.T + b) @ u) * y[batch]).relu().mean().backward()
            sgd.step()
            taken += 1
    return W.detach().numpy()


def test_a_ticket_trains_the_kept_neurons_alone_from_where_they_began(tmp_path, run):
    kept = np.arange(run.config.model.width) % 3 == 1
    with circuits.ticket(run, tmp_path / "ticket.h5", kept, seed=1, progress=False) as alone:
        assert alone.seeds == (1,)
        assert alone.data(1).equals(run.data(1))
        for name in ("W", "b", "u"):
            began = run.parameters[name].sel(seed=1)[0].values[kept]
            assert (alone.parameters[name][0, 0].values == began).all()
        expected = by_torch(run, 1, kept, int(alone.steps[-1]))
        np.testing.assert_allclose(alone.parameters["W"][-1, 0].values, expected, rtol=1e-4, atol=1e-6)
        assert alone.parent["neurons"] == np.flatnonzero(kept).tolist()
        assert alone.parent["seed"] == 1


def test_keeping_every_neuron_gives_the_run_itself(tmp_path, run):
    kept = np.ones(run.config.model.width, bool)
    with circuits.ticket(run, tmp_path / "all.h5", kept, seed=2, progress=False) as alone:
        for name in ("W", "b", "u"):
            assert (alone.parameters[name][:, 0].values == run.parameters[name].sel(seed=2).values).all()


@pytest.mark.slow
def test_a_ticket_killed_before_its_first_checkpoint_resumes_from_its_parent(tmp_path, run, monkeypatch):
    kept = np.arange(run.config.model.width) < 5
    circuits.ticket(run, tmp_path / "whole.h5", kept, progress=False).close()
    with monkeypatch.context() as patch:
        patch.setattr(FusedRelu, "snapshots", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            circuits.ticket(run, tmp_path / "cut.h5", kept, progress=False)
    with (
        circuits.train(None, tmp_path / "cut.h5", resume=True, progress=False) as cut,
        circuits.open(tmp_path / "whole.h5") as whole,
    ):
        assert cut.parameters.equals(whole.parameters)


def test_what_cannot_be_a_ticket_is_said(tmp_path, run):
    with pytest.raises(circuits.InputError, match="no neuron of seed 0 is kept, so there is nothing to train"):
        circuits.ticket(run, tmp_path / "a.h5", np.zeros(run.config.model.width, bool), progress=False)
    with pytest.raises(circuits.InputError, match="needs a mask of 16 neurons"):
        circuits.ticket(run, tmp_path / "a.h5", np.array([0, 2]), progress=False)
    with pytest.raises(circuits.InputError, match="needs a mask of 16 neurons"):
        circuits.ticket(run, tmp_path / "a.h5", np.ones(17, bool), progress=False)
    with pytest.raises(circuits.InputError, match="is the original run"):
        circuits.ticket(run, run.path, np.ones(run.config.model.width, bool), overwrite=True, progress=False)
    with pytest.raises(circuits.InputError, match="differs from `ticket_config` in task, model, dtype or seed"):
        circuits.ticket(
            run, tmp_path / "a.h5", np.ones(run.config.model.width, bool), config=run.config, progress=False
        )
    with (
        circuits.replay(run, tmp_path / "late.h5", from_step=2, to_step=4, progress=False) as late,
        pytest.raises(circuits.InputError, match="does not hold step 0"),
    ):
        circuits.ticket(late, tmp_path / "a.h5", np.ones(run.config.model.width, bool), progress=False)


@pytest.mark.slow
@pytest.mark.parametrize("keep", ["active", "random"])
def test_the_command_trains_a_subnetwork_or_as_many_random_neurons(tmp_path, run, keep, capsys):
    out = tmp_path / "alone.h5"
    words = ["train", "--from", str(run.path), "--seed", "1", "--keep", keep, "--epochs", "3", "--out", str(out)]
    assert main([*words, "--quiet"]) == 0
    groups = circuits.analysis.neuron_groups(run)
    kept = groups.kept[circuits.analysis.GROUPS.index({"active": "generalizing", "random": "control"}[keep]), 1]
    with circuits.open(out) as alone:
        assert alone.parent["neurons"] == np.flatnonzero(kept).tolist()
        assert (alone.config.epochs, alone.config.name) == (3, f"run-seed1-{keep}")
    assert main(["show", str(out)]) == 0
    assert "neurons of its seed 1, from step 0 on" in capsys.readouterr().out
    assert main(["train", "--resume", "--out", str(out), "--epochs", "4", "--quiet"]) == 0
    with circuits.open(out) as longer:
        assert longer.parent["neurons"] == np.flatnonzero(kept).tolist()
        assert longer.epochs[-1] == 4


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["merrill-2023", "--from", "RUN"], "determines what to train, so pass neither a preset nor --config"),
        (["merrill-2023", "--seed", "1"], "--seed needs --from RUN.h5, to choose a network of that run"),
        (["--from", "RUN", "--seed", "9"], "has no seed 9"),
        (["--from", "RUN", "--resume", "--out", "x.h5"], "To resume a run that was made with --from, pass"),
        (["--keep", "random"], "--keep needs --from RUN.h5, to choose neurons of that run"),
    ],
)
def test_the_command_says_what_does_not_go_together(run, words, said, capsys):
    assert main(["train", *(str(run.path) if word == "RUN" else word for word in words)]) == 2
    assert said in capsys.readouterr().err


def test_the_name_of_a_ticket_shows_what_its_parents_file_name_holds(tmp_path, run, capsys):
    parent = str(shutil.copy(run.path, tmp_path / "a\x1b[31m.h5"))
    words = ["train", "--from", parent, "--keep", "random", "--quiet", "--epochs", "1", "--out", str(tmp_path / "b.h5")]
    assert main(words) == 0
    assert "\x1b" not in "".join(capsys.readouterr())
    with circuits.open(tmp_path / "b.h5") as ticket:
        assert ticket.config.name == f"a\\x1b[31m-seed{run.seeds[0]}-random"
