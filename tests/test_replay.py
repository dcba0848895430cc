import numpy as np
import pytest

import circuits
from circuits.config import parse
from circuits.training.replay import compare, nearest_start


def adamw(config, **checkpoints):
    data = config.model_dump(mode="json")
    data["optimizer"] = {"kind": "adamw", "lr": 0.01, "weight_decay": 0.1}
    data["checkpoints"] |= checkpoints
    return parse(data)


def every_step(config, path):
    """The same run with a checkpoint at every step from the beginning: what a replay must reproduce."""
    return circuits.train(config.replace(checkpoints__every_steps=1), path, progress=False)


def same(zoom, dense):
    at = np.searchsorted(dense.steps, zoom.steps)
    for name in zoom.parameters:
        assert zoom.parameters[name].values.tobytes() == dense.parameters[name].values[at].tobytes()
    assert zoom.metrics.equals(dense.metrics.isel(step=at))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("from_step", "to_step", "every"), [(0, 28, 1), (9, 17, 1), (7, 14, 1), (10, 27, 5), (28, 28, 1)]
)
def test_a_replay_takes_the_very_steps_of_the_original(tmp_path, tiny_run, make_config, from_step, to_step, every):
    dense = every_step(make_config(), tmp_path / "dense.h5")
    stretch = {"from_step": from_step, "to_step": to_step, "every": every}
    zoom = circuits.replay(tiny_run, tmp_path / "zoom.h5", **stretch, progress=False)
    assert zoom.steps.tolist() == sorted({*range(from_step, to_step, every), to_step})
    assert zoom.is_complete
    assert zoom.parent["fingerprint"] == tiny_run.fingerprint
    same(zoom, dense)
    assert compare(tiny_run, zoom).equal.all()
    dense.close()
    zoom.close()


@pytest.mark.slow
@pytest.mark.parametrize("kept", [None, 2])
def test_a_replay_with_adamw_starts_where_the_optimizers_state_is_known(tmp_path, make_config, kept):
    config = adamw(make_config(), optimizer_state_every=kept)
    run = circuits.train(config, tmp_path / "run.h5", progress=False)
    dense = every_step(config, tmp_path / "dense.h5")
    assert run.state_steps.tolist() == ([] if kept is None else [0, 14, 28])
    assert nearest_start(run, 20).step == (0 if kept is None else 14)
    zoom = circuits.replay(run, tmp_path / "zoom.h5", from_step=16, to_step=24, progress=False)
    same(zoom, dense)
    assert "equal bit for bit at the only common checkpoint" in str(compare(run, zoom))
    for which in (run, dense, zoom):
        which.close()


def test_adamw_steps_as_torch_does(tmp_path, make_config):
    import torch

    config = adamw(make_config(seeds=[1], dtype="float64"))
    with circuits.train(config, tmp_path / "a.h5", progress=False) as run:
        data, start = run.data(1), run.state(seed=1, checkpoint=0)
        parameters = {name: values.requires_grad_() for name, values in start.items()}
        optimizer = torch.optim.AdamW(parameters.values(), lr=0.01, weight_decay=0.1)
        x, y = (torch.from_numpy(data[f"train_{name}"].values).double() for name in ("inputs", "targets"))
        for epoch in range(config.epochs):
            order = circuits.training.paths.stepper.example_order(1, epoch, len(y))
            for batch in torch.from_numpy(order).split(config.batch_size):
                optimizer.zero_grad()
                outputs = torch.relu(x[batch] @ parameters["W"].T + parameters["b"]) @ parameters["u"]
                torch.relu(1 - outputs * y[batch]).mean().backward()
                optimizer.step()
        for name, values in run.state(seed=1).items():
            torch.testing.assert_close(values, parameters[name].detach(), rtol=1e-10, atol=1e-12)


def test_adamw_resumes_bit_for_bit_after_a_crash(tmp_path, make_config, monkeypatch):
    from circuits.training import loop
    from circuits.training.paths.reference import Reference

    monkeypatch.setattr(loop, "STATE_SECONDS", 0.0)
    config = adamw(make_config(epochs=8), optimizer_state_every=3)
    whole = circuits.train(config, tmp_path / "whole.h5", progress=False)
    advance, calls = Reference.advance, iter(range(10**6))

    def failing(self, *stretch):
        if next(calls) == 5:
            raise RuntimeError("power cut")
        advance(self, *stretch)

    with monkeypatch.context() as patch:
        patch.setattr(Reference, "advance", failing)
        with pytest.raises(RuntimeError, match="power cut"):
            circuits.train(config, tmp_path / "cut.h5", progress=False)
    with circuits.train(None, tmp_path / "cut.h5", resume=True, progress=False) as resumed:
        for name in ("W", "b", "u"):
            assert resumed.parameters[name].values.tobytes() == whole.parameters[name].values.tobytes()
        assert resumed.metrics.equals(whole.metrics)
        assert resumed.state_steps.tolist() == whole.state_steps.tolist()
        for step in whole.state_steps:
            there, here = whole.optimizer_state(int(step)), resumed.optimizer_state(int(step))
            assert all((there[name] == here[name]).all() for name in there)
    whole.close()


def test_other_numerics_are_said(tmp_path, tiny_run):
    with circuits.replay(
        tiny_run, tmp_path / "zoom.h5", from_step=0, to_step=28, kernel="reference", progress=False
    ) as zoom:
        found = compare(tiny_run, zoom)
    assert not found.equal.all()
    assert "path: 'fused', 'reference'" in str(found)


@pytest.mark.parametrize(
    ("stretch", "message"),
    [
        ({"from_step": 5, "to_step": 99}, r"holds steps 0..28, so the stretch 5..99 cannot be replayed"),
        ({"from_step": 9, "to_step": 3}, r"the stretch 9..3 cannot be replayed"),
        ({"from_step": 0, "to_step": 3, "every": 0}, "must be at least 1, not 0"),
    ],
)
def test_a_stretch_outside_the_run_is_refused(tmp_path, tiny_run, stretch, message):
    with pytest.raises(circuits.InputError, match=message):
        circuits.replay(tiny_run, tmp_path / "zoom.h5", **stretch, progress=False)
    assert not (tmp_path / "zoom.h5").exists()


def test_neither_the_run_nor_another_file_is_overwritten(tmp_path, tiny_run):
    with pytest.raises(circuits.InputError, match="is the original run"):
        circuits.replay(tiny_run, tiny_run.path, from_step=0, to_step=3, overwrite=True, progress=False)
    (tmp_path / "mine.h5").write_text("mine")
    with pytest.raises(circuits.InputError, match="exists"):
        circuits.replay(tiny_run, tmp_path / "mine.h5", from_step=0, to_step=3, progress=False)


def test_a_state_that_was_not_kept_is_said(tiny_run):
    with pytest.raises(circuits.InputError, match="keeps no optimizer state at step 7"):
        tiny_run.optimizer_state(7)


def test_the_command_replays_and_says_that_the_bits_are_equal(tmp_path, tiny_path, capsys):
    from circuits.cli.main import main

    out = tmp_path / "zoom.h5"
    words = ["replay", str(tiny_path), "--from-step", "8", "--to-step", "14", "--out", str(out)]
    assert main(words) == 0
    assert "7 checkpoints" in (printed := capsys.readouterr().out)
    assert "equal bit for bit at the only common checkpoint, step 14" in printed
    assert main(words) == 2
    assert "exists. Pass" in capsys.readouterr().err


def killed_before_its_first_checkpoint(run, path, stretch, monkeypatch):
    from circuits.training import loop as module

    def power_cut(lock, *_, **__):
        lock.release()
        raise RuntimeError("power cut")

    with monkeypatch.context() as patch:
        patch.setattr(module, "advance_to_the_end", power_cut)
        with pytest.raises(RuntimeError, match="power cut"):
            circuits.replay(run, path, **stretch, progress=False)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sgd", "adamw"])
def test_a_replay_without_checkpoints_goes_on_from_its_parent(tmp_path, make_config, monkeypatch, kind):
    config = adamw(make_config(), optimizer_state_every=1) if kind == "adamw" else make_config()
    with (
        circuits.train(config, tmp_path / "run.h5", progress=False) as run,
        every_step(config, tmp_path / "dense.h5") as dense,
    ):
        killed_before_its_first_checkpoint(run, tmp_path / "zoom.h5", {"from_step": 9, "to_step": 17}, monkeypatch)
        with circuits.train(None, tmp_path / "zoom.h5", resume=True, progress=False) as zoom:
            same(zoom, dense)
            again = circuits.replay(zoom, tmp_path / "again.h5", from_step=12, to_step=15, progress=False)
            same(again, dense)
            again.close()


def test_a_replay_without_checkpoints_and_without_its_parent_is_refused(tmp_path, make_config, monkeypatch):
    run = circuits.train(make_config(), tmp_path / "run.h5", progress=False)
    killed_before_its_first_checkpoint(run, tmp_path / "zoom.h5", {"from_step": 9, "to_step": 17}, monkeypatch)
    run.close()
    (tmp_path / "run.h5").rename(tmp_path / "elsewhere.h5")
    with pytest.raises(circuits.InputError, match=r"its parent .*run\.h5 does not exist\. Make .*again"):
        circuits.train(None, tmp_path / "zoom.h5", resume=True, progress=False)


def test_a_resumed_replay_is_compared_with_its_parent(tmp_path, tiny_run, capsys, monkeypatch):
    from circuits.cli.main import main

    killed_before_its_first_checkpoint(tiny_run, tmp_path / "zoom.h5", {"from_step": 8, "to_step": 14}, monkeypatch)
    assert main(["train", "--resume", "--out", str(tmp_path / "zoom.h5"), "--quiet"]) == 0
    assert "Replay and run: equal bit for bit at the only common checkpoint" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {"stop": {"test_accuracy": 0.5, "checkpoints": 1}},
        {"optimizer": {"kind": "sgd", "lr_cosine": True}},
        {"optimizer": {"kind": "sgd", "lr_warmup_steps": 9, "lr_gamma": 0.7}},
        {"steps": 25, "optimizer": {"kind": "adamw", "lr": 0.01, "lr_cosine": True}},
    ],
)
def test_a_replay_takes_the_steps_of_the_original_whatever_ended_or_slowed_it(tmp_path, make_config, changes):
    config = make_config(epochs=6, **changes)
    with circuits.train(config, tmp_path / "run.h5", progress=False) as run:
        last = int(run.steps[-1])
        with circuits.replay(run, tmp_path / "zoom.h5", from_step=3, to_step=last, progress=False) as zoom:
            assert zoom.steps.tolist() == list(range(3, last + 1))
            assert compare(run, zoom).equal.all()
