"""`circuits.record`: any loop becomes a run file; nothing committed is lost, and what does not fit is said."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import circuits
from circuits.cli.main import main

INPUTS = torch.randn(200, 6, generator=torch.Generator().manual_seed(1))
CLASSES = (INPUTS[:, 0] > 0).long() + 2 * (INPUTS[:, 1] > 0).long()
DATA = {"train": (INPUTS[:150], CLASSES[:150]), "test": (INPUTS[150:], CLASSES[150:])}


class Net(nn.Module):
    """6 numbers, 12 neurons, a relu that is no module, 4 classes."""

    def __init__(self, width=12):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(6, width), nn.Linear(width, 4)

    def forward(self, x):
        return self.fc2(F.relu(self.fc1(x)))


def batch(step, size=32):
    """Examples of one update, a function of the step."""
    return torch.from_numpy(np.random.default_rng(step).integers(0, 150, size))


def update(model, optimizers, step):
    chosen = batch(step)
    loss = F.cross_entropy(model(INPUTS[chosen]), CLASSES[chosen])
    for optimizer in optimizers:
        optimizer.zero_grad()
    loss.backward()
    for optimizer in optimizers:
        optimizer.step()
    return loss


def train(path, n_steps, model=None, *, stop_at=None, **options):
    """Record a loop of `n_steps`; `stop_at`: raise KeyboardInterrupt before this step."""
    torch.manual_seed(0)
    model = Net() if model is None else model
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    given = {"optimizer": optimizer, "data": DATA, "every_steps": 5, "seed": 3} | options
    with circuits.record(path, model, **given) as rec:
        for step in range(rec.step_done, n_steps):
            if step == stop_at:
                raise KeyboardInterrupt
            rec.step({"batch_loss": update(model, [optimizer], step)})
    return model


def values_of(path, group="parameters"):
    with circuits.open(path) as run:
        return {name: value.values for name, value in getattr(run, group).items()}


def same(a, b):
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name], equal_nan=True) for name in a)


def test_parameters_at_every_checkpoint_are_those_of_the_loop(tmp_path):
    torch.manual_seed(0)
    model, kept = Net(), []
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    kept.append(model.fc1.weight.detach().numpy().copy())
    with circuits.record(tmp_path / "a.h5", model, optimizer=optimizer, every_steps=3, at_steps=[1, 4]) as rec:
        for step in range(10):
            update(model, [optimizer], step)
            rec.step()
            if rec.step_done in (1, 3, 4, 6, 9, 10):
                kept.append(model.fc1.weight.detach().numpy().copy())
    with circuits.open(tmp_path / "a.h5") as run:
        assert run.is_complete
        assert run.steps.tolist() == [0, 1, 3, 4, 6, 9, 10]
        assert (run.parameters["fc1.weight"].values[:, 0] == np.stack(kept)).all()
        assert run.parameters["fc1.weight"].dims == ("step", "seed", "fc1_out", "fc1_in")


def test_losses_and_accuracies_are_those_of_the_module_on_the_data(tmp_path):
    model = train(tmp_path / "a.h5", 40)
    with circuits.open(tmp_path / "a.h5") as run, torch.no_grad():
        for name, (x, y) in DATA.items():
            outputs = model(x)
            last = run.metrics.isel(step=-1, seed=0)
            assert float(last[f"{name}_loss"]) == pytest.approx(F.cross_entropy(outputs, y).item(), rel=1e-6)
            assert float(last[f"{name}_accuracy"]) == (outputs.argmax(1) == y).double().mean().item()
        assert (run.data()["train_inputs"].values == INPUTS[:150].numpy()).all()
        assert np.isnan(run.metrics["batch_loss"].values[0, 0])
        assert np.isfinite(run.metrics["batch_loss"].values[1:, 0]).all()


def test_recording_changes_nothing_in_the_loop(tmp_path):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 4))
    recorded = train(tmp_path / "a.h5", 30, model, evaluate_every=5)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 4))
    torch.manual_seed(0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    for step in range(30):
        update(model, [optimizer], step)
    assert recorded.training
    for name, values in model.state_dict().items():
        assert torch.equal(values, recorded.state_dict()[name]), name


@pytest.mark.parametrize("stop_at", [0, 1, 7, 23])
def test_an_interrupted_loop_goes_on_to_the_same_bits(tmp_path, stop_at):
    train(tmp_path / "whole.h5", 40)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "cut.h5", 40, stop_at=stop_at, buffer=1)
    train(tmp_path / "cut.h5", 40, resume="auto")
    assert same(values_of(tmp_path / "cut.h5"), values_of(tmp_path / "whole.h5"))
    assert same(values_of(tmp_path / "cut.h5", "metrics"), values_of(tmp_path / "whole.h5", "metrics"))


def test_a_finished_run_is_extended_to_the_bits_of_a_longer_one(tmp_path):
    train(tmp_path / "long.h5", 40)
    train(tmp_path / "a.h5", 23)
    train(tmp_path / "a.h5", 40, resume=True)
    with circuits.open(tmp_path / "a.h5") as run, circuits.open(tmp_path / "long.h5") as long:
        assert run.steps.tolist() == sorted({*long.steps.tolist(), 23})
        for name in long.parameters:
            assert run.parameters[name].sel(step=long.steps).equals(long.parameters[name]), name


LOOP = """
import sys, torch
sys.path.insert(0, {tests!r})
from test_record import Net, update
import circuits
torch.manual_seed(0)
model = torch.nn.Sequential(Net(), torch.nn.Dropout(0.1), torch.nn.BatchNorm1d(4))
first = torch.optim.SGD(model[0].fc1.parameters(), lr=0.05, momentum=0.9)
second = torch.optim.Adam([*model[0].fc2.parameters(), *model[2].parameters()], lr=0.01)
schedule = torch.optim.lr_scheduler.StepLR(second, 100)
with circuits.record(
    {path!r}, model, optimizer=[first, second], stateful={{"schedule": schedule}}, buffers=True,
    every_steps=2, buffer={buffer}, resume="auto",
) as rec:
    print(rec.step_done, flush=True)
    for step in range(rec.step_done, 600):
        update(model, [first, second], step)
        schedule.step()
        rec.step({{"rate": second.param_groups[0]["lr"]}})
"""


@pytest.mark.slow
@pytest.mark.parametrize("buffer", [1, 32])
def test_a_loop_killed_again_and_again_loses_nothing_committed_and_ends_in_the_same_bits(tmp_path, buffer):
    def life(path, seconds=None):
        code = LOOP.format(tests=str(Path(__file__).parent), path=str(path), buffer=buffer)
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        begun = int(process.stdout.readline())
        if seconds is not None:
            time.sleep(seconds)
            process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == (0 if seconds is None else -signal.SIGKILL)
        return begun

    life(tmp_path / "whole.h5")
    moments, committed = random.Random(buffer), 0
    for _ in range(5):
        begun = life(tmp_path / "a.h5", moments.uniform(0.01, 0.25))
        assert begun >= committed, "a committed step was lost"
        if (tmp_path / "a.h5").exists():
            with circuits.open(tmp_path / "a.h5") as run:
                committed = int(run.steps[-1]) if run.n_checkpoints else 0
    assert life(tmp_path / "a.h5") >= committed
    for group in ("parameters", "metrics"):
        assert same(values_of(tmp_path / "a.h5", group), values_of(tmp_path / "whole.h5", group))


def test_the_run_is_read_while_the_loop_runs(tmp_path):
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with circuits.record(tmp_path / "a.h5", model, optimizer=optimizer, every_steps=1, buffer=2) as rec:
        for step in range(9):
            update(model, [optimizer], step)
            rec.step()
        assert rec.run.n_checkpoints == 10
        assert (rec.run.parameters["fc2.bias"].values[-1, 0] == model.fc2.bias.detach().numpy()).all()
        path = str(tmp_path / "a.h5")
        code = f"import circuits; run = circuits.open({path!r}); print(run.n_checkpoints, run.writer_pid)"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.split() == ["10", str(os.getpid())]


def test_a_loop_may_be_longer_than_any_plan(tmp_path, monkeypatch):
    monkeypatch.setattr("circuits.recording.recorder.ROWS_AHEAD", 16)
    train(tmp_path / "a.h5", 203, every_steps=2, evaluate_every=0)
    with circuits.open(tmp_path / "a.h5") as run:
        assert run.steps.tolist() == [*range(0, 203, 2), 203]
        assert run.is_complete


def test_seeds_share_a_file_and_equal_their_own_files(tmp_path):
    torch.manual_seed(0)
    models = [Net(), Net()]
    alone = [Net(), Net()]
    for own, model in zip(alone, models, strict=True):
        own.load_state_dict(model.state_dict())
    optimizers = [torch.optim.Adam(model.parameters()) for model in models]
    with circuits.record(
        tmp_path / "a.h5", models, optimizer=optimizers, data=DATA, every_steps=4, seeds=[5, 8]
    ) as rec:
        for step in range(12):
            losses = [update(model, [optimizer], step) for model, optimizer in zip(models, optimizers, strict=True)]
            rec.step({"batch_loss": losses})
    with circuits.open(tmp_path / "a.h5") as run:
        assert run.seeds == (5, 8)
        for index, seed in enumerate(run.seeds):
            optimizer = torch.optim.Adam(alone[index].parameters())
            path = tmp_path / f"{seed}.h5"
            with circuits.record(path, alone[index], optimizer=optimizer, data=DATA, every_steps=4, seed=seed) as rec:
                for step in range(12):
                    rec.step({"batch_loss": update(alone[index], [optimizer], step)})
            with circuits.open(path) as own:
                assert own.seeds == (seed,)
                assert own.parameters.equals(run.parameters.sel(seed=[seed]))
                assert own.metrics.equals(run.metrics.sel(seed=[seed]))


def test_every_measurement_of_a_layer_works_on_a_module(tmp_path):
    model = train(tmp_path / "a.h5", 60)
    with circuits.open(tmp_path / "a.h5", model=Net()) as run:
        assert list(run.config.prunable_layers) == ["fc1"]
        found = circuits.analyze(run)
        assert set(found) >= {"phases", "subnetwork", "norms", "faithfulness", "progress"}
        norms = found["norms"]["neuron_norm"].isel(step=-1, seed=0)
        np.testing.assert_allclose(norms, model.fc1.weight.detach().double().norm(dim=1), rtol=1e-6)
        size = int(found["subnetwork"]["effective_sparsity"].isel(step=-1, seed=0))
        assert size == smallest_by_hand(model, norms.values)
        assert circuits.report(run, tmp_path / "a.html").exists()


def smallest_by_hand(model, norms):
    """The fewest neurons of largest norm that predict like the module on its training set."""
    order = np.argsort(-norms, kind="stable")
    with torch.no_grad():
        hidden = F.relu(model.fc1(DATA["train"][0])).double()
        whole = model(DATA["train"][0]).argmax(1)
        for size in range(len(norms) + 1):
            kept = torch.zeros(len(norms), dtype=torch.float64)
            kept[order[:size].copy()] = 1
            if torch.equal(((hidden * kept) @ model.fc2.weight.double().T + model.fc2.bias).argmax(1), whole):
                return size
    raise AssertionError


def test_a_run_without_its_module_says_how_to_pass_it(tmp_path, capsys):
    train(tmp_path / "a.h5", 10)
    with circuits.open(tmp_path / "a.h5") as run:
        assert run.parameters["fc1.weight"].shape == (3, 1, 12, 6)
        with pytest.raises(
            circuits.InputError, match=r"does not say how to build its module.*circuits\.open\(path, model="
        ):
            circuits.analyze(run, "subnetwork")
        assert list(circuits.analyze(run, "phases")) == ["phases"]
    assert main(["show", str(tmp_path / "a.h5")]) == 0
    assert "recorded" in capsys.readouterr().out
    with pytest.raises(circuits.InputError, match=r"parameter 'fc1.weight' is of shape \(13, 6\); the run has"):
        circuits.open(tmp_path / "a.h5", model=Net(13))


def test_the_class_of_the_module_is_imported_only_when_outputs_are_needed(tmp_path, capsys):
    train(tmp_path / "a.h5", 10, build="test_record:Net", arguments={"width": 12})
    with circuits.open(tmp_path / "a.h5") as run:
        assert circuits.analyze(run, "subnetwork")["subnetwork"].attrs["layer"] == "fc1"
    train(tmp_path / "b.h5", 10, build="os:system", arguments={"command": "touch ran"})
    with circuits.open(tmp_path / "b.h5") as run, pytest.raises(circuits.InputError, match="not a subclass of torch"):
        circuits.analyze(run, "subnetwork")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"layers": ["fc3"]}, "no submodule 'fc3' for a layer. Did you mean 'fc"),
        ({"data": {"train": (INPUTS, CLASSES[:9])}}, r"train_inputs \(200, 6\), train_targets \(9,\)"),
        ({"data": {"valid": (INPUTS, CLASSES)}}, "data has 'valid'. Pass"),
        ({"buffer": 0}, "buffer is 0"),
        ({"resume": "yes"}, "resume is 'yes'. Pass True, False or 'auto'."),
        ({"config": {"rate": object()}}, "config.rate is a object. Pass numbers"),
        ({"stateful": {"counter": 3}}, "stateful 'counter' is a int, which has no state_dict"),
        ({"seeds": [0, 1]}, "model must be a list with one for each of the 2 seeds"),
        ({"buffers": ["mean"]}, "no buffer 'mean'"),
    ],
)
def test_what_does_not_fit_is_said_in_one_line_and_no_file_is_made(tmp_path, options, said):
    with pytest.raises(circuits.InputError, match=said):
        train(tmp_path / "a.h5", 5, **options)
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_there_is_not_replaced(tmp_path):
    train(tmp_path / "a.h5", 10)
    before = (tmp_path / "a.h5").read_bytes()
    with pytest.raises(circuits.InputError, match=r"exists\. Pass "):
        train(tmp_path / "a.h5", 10)
    with pytest.raises(circuits.InputError, match=r"other arguments \(every_steps: 5 in the file, 4 here"):
        train(tmp_path / "a.h5", 20, every_steps=4, resume=True)
    with pytest.raises(circuits.InputError, match=r"recorded with other arguments \(parameters"):
        train(tmp_path / "a.h5", 20, Net(13), resume=True)
    other = {"train": (INPUTS[:150] + 1, CLASSES[:150]), "test": DATA["test"]}
    with pytest.raises(circuits.InputError, match=r"other arguments \(the array train_inputs of the data"):
        train(tmp_path / "a.h5", 20, data=other, resume=True)
    assert (tmp_path / "a.h5").read_bytes() == before
    train(tmp_path / "a.h5", 20, every_steps=4, overwrite=True)


def test_a_recorded_run_is_continued_by_its_own_loop_only(tmp_path, capsys):
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "a.h5", 10, stop_at=7, buffer=1)
    assert main(["show", str(tmp_path / "a.h5")]) == 0
    assert "circuits.record(" in capsys.readouterr().out
    with pytest.raises(circuits.InputError, match="no training loop of this package"):
        circuits.train(None, tmp_path / "a.h5", resume=True)
    config = circuits.preset("merrill-2023").replace(task__n=6, task__k=2, task__n_train=20, epochs=1)
    circuits.train(config, tmp_path / "b.h5", progress=False).close()
    with pytest.raises(circuits.InputError, match=r"was made by circuits\.train"):
        train(tmp_path / "b.h5", 20, resume=True)


def test_metrics_are_those_of_the_first_step_and_those_announced(tmp_path, capsys):
    model = Net()
    with circuits.record(tmp_path / "a.h5", model, data=DATA, every_steps=1, metrics=["late"]) as rec:
        rec.step({"lr": 0.1})
        for step in range(3):
            rec.step({"rate": 0.1, "late": step, "train_loss": 7})
    said = capsys.readouterr().err.splitlines()
    assert said == [
        f"warning: your metric '{name}' is not stored, since the first step did not have it. Announce it: "
        f"circuits.record(…, metrics=['{name}'])."
        for name in ("rate", "train_loss")
    ]
    with circuits.open(tmp_path / "a.h5") as run:
        np.testing.assert_array_equal(run.metrics["late"].squeeze(), [np.nan, np.nan, 0, 1, 2])
        np.testing.assert_array_equal(run.metrics["lr"].squeeze(), [np.nan, 0.1, np.nan, np.nan, np.nan])
        assert (run.metrics["train_loss"] < 7).all()
        assert "rate" not in run.metrics
    with (
        circuits.record(tmp_path / "b.h5", model, data=DATA) as rec,
        pytest.raises(circuits.InputError, match=r"computes 'train_loss' itself.*evaluate_every=0"),
    ):
        rec.step({"train_loss": 0.1})
    with circuits.record(tmp_path / "c.h5", model, data=DATA, every_steps=1, evaluate_every=0) as rec:
        rec.step({"train_loss": 7})
    with circuits.open(tmp_path / "c.h5") as run:
        assert run.metrics["train_loss"].squeeze().values.tolist()[1:] == [7]


def test_numbers_as_targets_have_a_loss_and_no_accuracy(tmp_path):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 2))
    targets = torch.stack([INPUTS[:, 0] * INPUTS[:, 1], INPUTS[:, 2]], dim=1)
    optimizer = torch.optim.Adam(model.parameters())
    data = {"train": (INPUTS[:150], targets[:150]), "test": (INPUTS[150:], targets[150:])}
    with circuits.record(tmp_path / "a.h5", model, optimizer=optimizer, data=data, every_steps=2) as rec:
        for _ in range(6):
            loss = F.mse_loss(model(INPUTS[:150]), targets[:150])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            rec.step()
    with circuits.open(tmp_path / "a.h5") as run, torch.no_grad():
        assert run.config.task.has_numbers
        assert float(run.metrics["train_loss"][-1, 0]) == pytest.approx(
            F.mse_loss(model(INPUTS[:150]), targets[:150]).item(), rel=1e-6
        )
        assert np.isnan(run.metrics["test_accuracy"].values).all()


def test_a_loss_of_the_caller_is_computed_and_named_other(tmp_path):
    def loss(outputs, targets):
        return (outputs - F.one_hot(targets, 4)).abs().mean()

    model = train(tmp_path / "a.h5", 10, loss=loss)
    with circuits.open(tmp_path / "a.h5") as run, torch.no_grad():
        assert run.config.loss == "other"
        assert float(run.metrics["test_loss"][-1, 0]) == pytest.approx(loss(model(INPUTS[150:]), CLASSES[150:]).item())


def test_steps_on_a_log_axis():
    steps = circuits.log_spaced(10_000)
    assert steps[0] == 1
    assert steps[-1] == 10_000
    assert list(steps) == sorted(set(steps))
    assert len(steps) <= 100
    ratios = np.diff(np.log([step for step in steps if step > 100]))
    np.testing.assert_allclose(ratios, ratios.mean(), rtol=0.1)


def test_data_too_large_for_the_file_come_from_a_function(tmp_path, monkeypatch, capsys):
    code = (
        "import torch\nx = torch.randn(400, 6, generator=torch.Generator().manual_seed(1))\ny = (x[:, 0] > 0).long()\n"
    )
    code += "def load():\n    return {'train': (x[:300], y[:300]), 'test': (x[300:], y[300:])}\n"
    (tmp_path / "large_data.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    path, model = tmp_path / "a.h5", Net()
    for resume in (False, True):
        with circuits.record(path, model, data="large_data:load", every_steps=2, resume=resume) as rec:
            for _ in range(4):
                rec.step()
    import large_data

    with circuits.open(path, model=model) as run, torch.no_grad():
        assert run.hdf5["data/train_inputs"].id.get_storage_size() == 0
        np.testing.assert_array_equal(run.data()["train_inputs"], large_data.x[:300])
        assert run.config.task.train_size == 300
        loss = F.cross_entropy(model(large_data.x[300:]), large_data.y[300:]).item()
        assert float(run.metrics["test_loss"][-1, 0]) == pytest.approx(loss, rel=1e-6)
        assert "subnetwork" in circuits.analyze(run)
    assert main(["show", str(path), "--verify"]) == 0
    (tmp_path / "large_data.py").write_text(code.replace("manual_seed(1)", "manual_seed(2)"))
    monkeypatch.delitem(sys.modules, "large_data")
    with circuits.open(path) as run:
        assert run.phases()["memorization_epoch"].shape == (1,)
        with pytest.raises(circuits.InputError, match="returns other data than the recorded ones: train_inputs"):
            run.data()["train_inputs"].load()
    (tmp_path / "large_data.py").unlink()
    monkeypatch.delitem(sys.modules, "large_data")
    with circuits.open(path) as run:
        assert run.metrics["test_loss"].shape == (5, 1)
        with pytest.raises(circuits.InputError, match="loader large_data:load cannot be called"):
            run.data()["train_inputs"].load()
    capsys.readouterr()
    assert main(["show", str(path)]) == 0
    for loader in ("os:getcwd", "torch:ones", "numpy.random:default_rng", "nowhere:load", "text"):
        with pytest.raises(circuits.InputError, match="cannot be called"):
            circuits.record(tmp_path / "b.h5", model, data=loader)


NUMBERS = INPUTS[:, :1] - INPUTS[:, 1:2]


@pytest.mark.parametrize(
    ("n_outputs", "targets", "said"),
    [
        (1, CLASSES, "has 1 output per example, and the targets are classes"),
        (2, CLASSES, "has 2 outputs per example, and the targets are classes up to 3"),
        (2, torch.where(CLASSES > 1, 1, -1), r"has 2 outputs per example, and the targets are ±1"),
        (3, NUMBERS, "has 3 outputs per example, and the targets are 1 numbers each"),
    ],
)
def test_outputs_that_do_not_fit_the_targets_are_refused(tmp_path, n_outputs, targets, said):
    model = nn.Linear(6, n_outputs)
    with pytest.raises(circuits.InputError, match=said):
        circuits.record(tmp_path / "a.h5", model, data={"train": (INPUTS, targets)}).__enter__()
    assert list(tmp_path.glob("*.h5")) == []


def test_targets_of_one_column_are_one_number_each(tmp_path):
    model = nn.Linear(6, 1)
    for at, loss in enumerate((None, nn.L1Loss(), nn.MSELoss())):
        data = {"train": (INPUTS, NUMBERS)}
        with circuits.record(tmp_path / f"{at}.h5", model, data=data, loss=loss) as rec:
            rec.step()
        with circuits.open(tmp_path / f"{at}.h5") as run, torch.no_grad():
            expected = (loss or nn.MSELoss())(model(INPUTS), NUMBERS).item()
            assert float(run.metrics["train_loss"][-1, 0]) == pytest.approx(expected, rel=1e-5)


def test_integers_are_numbers_for_a_linear_module_and_tokens_for_an_embedding(tmp_path):
    bits = (INPUTS > 0).long()
    for model, tokens in (
        (nn.Linear(6, 4), False),
        (nn.Sequential(nn.Embedding(2, 4), nn.Flatten(), nn.Linear(24, 4)), True),
    ):
        path = tmp_path / f"{tokens}.h5"
        with circuits.record(path, model, data={"train": (bits, CLASSES)}) as rec:
            rec.step()
        with circuits.open(path) as run:
            assert (run.config.task.signature.d_vocab is not None) == tokens


def test_what_a_resume_needs_must_be_there(tmp_path):
    model = Net()
    optimizer = torch.optim.Adam(model.parameters())
    train(tmp_path / "a.h5", 10, model, optimizer=optimizer, keep_state=False)
    with pytest.raises(circuits.InputError, match="keep_state=False, so it cannot be resumed"):
        train(tmp_path / "a.h5", 20, model, optimizer=optimizer, resume=True)
    train(tmp_path / "b.h5", 10, model, optimizer=optimizer)
    for other in (None, torch.optim.RMSprop(model.parameters())):
        with pytest.raises(circuits.InputError, match=r"recorded with other arguments .optimizer"):
            circuits.record(
                tmp_path / "b.h5", model, optimizer=other, data=DATA, every_steps=5, seed=3, resume=True
            ).__enter__()


def test_the_metrics_of_the_last_step_are_stored(tmp_path):
    with circuits.record(tmp_path / "a.h5", Net(), every_steps=10) as rec:
        for step in range(25):
            rec.step({"lr": step})
    with circuits.open(tmp_path / "a.h5") as run:
        np.testing.assert_array_equal(run.metrics["lr"].squeeze(), [np.nan, 9, 19, 24])


@pytest.mark.parametrize(
    "options",
    [
        {"every_steps": 0}, {"batch_size": 0}, {"seed": -1}, {"seeds": [1, 1]},
        {"loss": "cross_entropi"}, {"build": "nets.Net"}, {"layers": {"fc1": {"readout": "fc1"}}},
    ],
)  # fmt: skip
def test_wrong_options_are_one_line(tmp_path, options):
    models = [Net(), Net()] if "seeds" in options else Net()
    with pytest.raises(circuits.InputError) as caught:
        circuits.record(tmp_path / "a.h5", models, data=DATA, **options).__enter__()
    assert "\n" not in str(caught.value)


def test_running_statistics_that_are_not_recorded_are_said(tmp_path, capsys):
    model = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 4))
    circuits.record(tmp_path / "a.h5", model, data=DATA)
    assert "running statistics 1.running_mean, 1.running_var, …, which are not recorded" in capsys.readouterr().err
    with circuits.record(tmp_path / "b.h5", model, data=DATA, buffers=True, every_steps=1) as rec:
        for _ in range(3):
            model(INPUTS[:50])
            rec.step()
    assert not capsys.readouterr().err
    fresh = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 4))
    with circuits.open(tmp_path / "b.h5", model=fresh) as run, torch.no_grad():
        x, y = DATA["test"]
        loss = F.cross_entropy(run.model(checkpoint=-1)(x), y).item()
        assert float(run.metrics["test_loss"][-1, 0]) == pytest.approx(loss, rel=1e-5)


def test_a_recorder_is_used_once(tmp_path):
    with circuits.record(tmp_path / "a.h5", Net(), every_steps=1) as rec:
        rec.step()
    with pytest.raises(circuits.InputError, match=r"was used\. Call circuits\.record"):
        rec.__enter__()
