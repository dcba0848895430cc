import os
import signal
import threading
from types import SimpleNamespace

import numpy as np
import pytest

import circuits
from circuits.interfaces import Signature
from circuits.training import loop
from circuits.training.paths.fused import FusedRelu
from circuits.training.paths.stepper import example_order
from circuits.training.rates import Pace
from circuits.training.trajectory import trajectory


def contents(path):
    """Everything a run computed: parameters, metrics, data, as plain arrays."""
    with circuits.open(path) as run:
        found = {**run.parameters.load().variables, **run.metrics.variables, **run.all_data.variables}
        return {str(name): np.array(values.values) for name, values in found.items()}


def same_bits(a, b):
    assert a.keys() == b.keys()
    for name in a:
        assert a[name].dtype == b[name].dtype
        assert a[name].tobytes() == b[name].tobytes(), name


@pytest.fixture
def stop_after(monkeypatch):
    """Make training raise after so many checkpoints beyond the first, as a crash would."""

    def arrange(n_checkpoints, n_seeds=3):
        monkeypatch.setattr("circuits.training.paths.fused.usable_cores", lambda: 1)  # the order of calls is then known
        n_calls, calls = n_checkpoints * n_seeds, iter(range(10**9))
        advance = FusedRelu.advance

        def failing(self, *args):
            if next(calls) == n_calls:
                raise RuntimeError("power cut")
            advance(self, *args)

        monkeypatch.setattr(FusedRelu, "advance", failing)

    return arrange


def test_one_seed_alone_has_the_bits_it_has_among_five(tmp_path, make_config):
    circuits.train(make_config(seeds=[0, 1, 2, 3, 4]), tmp_path / "five.h5", progress=False).close()
    circuits.train(make_config(seeds=[3]), tmp_path / "one.h5", progress=False).close()
    with circuits.open(tmp_path / "five.h5") as five, circuits.open(tmp_path / "one.h5") as one:
        for name in ("W", "b", "u"):
            assert (five.parameters[name].sel(seed=3).values == one.parameters[name].sel(seed=3).values).all()
        assert five.metrics.sel(seed=3).equals(one.metrics.sel(seed=3))
        assert five.data(3).equals(one.data(3))


def test_the_number_of_threads_changes_no_bit(tmp_path, make_config, monkeypatch):
    circuits.train(make_config(), tmp_path / "many.h5", progress=False).close()
    monkeypatch.setattr("circuits.training.paths.fused.usable_cores", lambda: 1)
    circuits.train(make_config(), tmp_path / "one.h5", progress=False).close()
    same_bits(contents(tmp_path / "many.h5"), contents(tmp_path / "one.h5"))


@pytest.mark.parametrize("kernel", ["fused", "reference"])
def test_training_twice_gives_the_same_bits(tmp_path, make_config, kernel):
    for name in ("a.h5", "b.h5"):
        circuits.train(make_config(), tmp_path / name, kernel=kernel, progress=False).close()
    same_bits(contents(tmp_path / "a.h5"), contents(tmp_path / "b.h5"))


def test_both_paths_give_the_same_run(tmp_path, make_config):
    config = make_config(dtype="float64")
    fused = contents_after(config, tmp_path / "fused.h5", "fused")
    reference = contents_after(config, tmp_path / "reference.h5", "reference")
    for name in fused:
        np.testing.assert_allclose(fused[name], reference[name], rtol=1e-10, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", [{"kind": "sgd", "l1": 0.01}, {"kind": "adamw", "lr": 0.01}])
@pytest.mark.parametrize("model", [{"kind": "relu", "width": 11}, {"kind": "linear"}])
def test_all_seeds_as_one_give_the_run_of_one_after_the_other(tmp_path, make_config, optimizer, model):
    config = make_config(dtype="float64", optimizer=optimizer, model=model)
    batched = contents_after(config, tmp_path / "batched.h5", "batched")
    reference = contents_after(config, tmp_path / "reference.h5", "reference")
    for name in batched:
        np.testing.assert_allclose(batched[name], reference[name], rtol=1e-9, atol=1e-12)


def test_the_batched_path_resumes_bit_for_bit(tmp_path, make_config):
    config = make_config(optimizer={"kind": "adamw", "lr": 0.01}, epochs=6)
    whole = contents_after(config, tmp_path / "whole.h5", "batched")
    circuits.train(config.replace(epochs=3), tmp_path / "part.h5", kernel="batched", progress=False).close()
    circuits.train(config, tmp_path / "part.h5", kernel="batched", resume=True, progress=False).close()
    same_bits(whole, contents(tmp_path / "part.h5"))


def contents_after(config, path, kernel):
    circuits.train(config, path, kernel=kernel, progress=False).close()
    return contents(path)


@pytest.mark.slow
@pytest.mark.parametrize("n_calls", [0, 1, 3])
def test_a_crashed_run_resumes_to_the_bits_of_an_uninterrupted_one(
    tmp_path, make_config, stop_after, n_calls, monkeypatch
):
    circuits.train(make_config(), tmp_path / "whole.h5", progress=False).close()
    stop_after(n_calls)
    with pytest.raises(RuntimeError, match="power cut"):
        circuits.train(make_config(), tmp_path / "cut.h5", progress=False)
    monkeypatch.undo()
    with circuits.open(tmp_path / "cut.h5") as run:
        assert run.n_checkpoints == n_calls + 1
        assert not run.is_complete
    circuits.train(None, tmp_path / "cut.h5", resume=True, progress=False).close()
    same_bits(contents(tmp_path / "whole.h5"), contents(tmp_path / "cut.h5"))


def test_a_run_resumes_in_the_middle_of_an_epoch(tmp_path, make_config, stop_after, monkeypatch):
    config = make_config(checkpoints__every_steps=3, checkpoints__every_epochs=None)
    circuits.train(config, tmp_path / "whole.h5", progress=False).close()
    stop_after(4)
    with pytest.raises(RuntimeError, match="power cut"):
        circuits.train(config, tmp_path / "cut.h5", progress=False)
    monkeypatch.undo()
    circuits.train(config, tmp_path / "cut.h5", resume=True, progress=False).close()
    same_bits(contents(tmp_path / "whole.h5"), contents(tmp_path / "cut.h5"))


def test_more_epochs_extend_a_finished_run_to_the_bits_of_a_longer_one(tmp_path, make_config):
    circuits.train(make_config(epochs=12), tmp_path / "long.h5", progress=False).close()
    circuits.train(make_config(epochs=4), tmp_path / "short.h5", progress=False).close()
    longer = circuits.train(make_config(epochs=12), tmp_path / "short.h5", resume=True, progress=False)
    assert longer.config.epochs == 12
    assert longer.is_complete
    longer.close()
    same_bits(contents(tmp_path / "long.h5"), contents(tmp_path / "short.h5"))


def test_resuming_a_complete_run_changes_nothing(tmp_path, make_config):
    circuits.train(make_config(), tmp_path / "a.h5", progress=False).close()
    before = (tmp_path / "a.h5").read_bytes()
    circuits.train(None, tmp_path / "a.h5", resume=True, progress=False).close()
    assert (tmp_path / "a.h5").read_bytes() == before


def test_an_existing_file_is_refused_and_left_alone(tmp_path, make_config):
    path = tmp_path / "a.h5"
    path.write_text("precious")
    with pytest.raises(
        circuits.InputError, match=r"exists. Pass resume=True to continue it, overwrite=True to replace it"
    ):
        circuits.train(make_config(), path, progress=False)
    assert path.read_text() == "precious"


def test_overwrite_replaces_a_run(tmp_path, make_config):
    circuits.train(make_config(), tmp_path / "a.h5", progress=False).close()
    with circuits.train(make_config(epochs=1), tmp_path / "a.h5", overwrite=True, progress=False) as run:
        assert run.n_checkpoints == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optimizer__weight_decay": 0.5}, r"optimizer.weight_decay: 0.01 there, 0.5 asked"),
        ({"epochs": 2}, r"plans 4 epochs; epochs=2 cannot shorten it"),
    ],
)
def test_resume_refuses_another_config(tmp_path, make_config, changes, message):
    circuits.train(make_config(), tmp_path / "a.h5", progress=False).close()
    with pytest.raises(circuits.InputError, match=message):
        circuits.train(make_config(**changes), tmp_path / "a.h5", resume=True, progress=False)


def test_resume_takes_a_config_of_another_source_and_keeps_the_files(tmp_path, make_config):
    circuits.train(make_config(source="a"), tmp_path / "a.h5", progress=False).close()
    with circuits.train(make_config(source="b", epochs=5), tmp_path / "a.h5", resume=True, progress=False) as run:
        assert (run.config.source, run.config.epochs, run.n_checkpoints) == ("a", 5, 6)


def test_extending_must_not_leave_a_checkpoint_that_the_longer_run_would_not_keep(tmp_path, make_config):
    config = make_config(epochs=3, checkpoints__every_epochs=2)  # keeps epochs 0, 2 and, as the last, 3
    circuits.train(config, tmp_path / "a.h5", progress=False).close()
    with pytest.raises(circuits.InputError, match="to 6 epochs: it ends with a checkpoint at step 21, but a run"):
        circuits.train(config.replace(epochs=6), tmp_path / "a.h5", resume=True, progress=False)


def test_resume_on_other_numerics_is_refused_unless_allowed_and_then_recorded(
    tmp_path, make_config, stop_after, monkeypatch
):
    path = tmp_path / "a.h5"
    stop_after(2)
    with pytest.raises(RuntimeError, match="power cut"):
        circuits.train(make_config(), path, progress=False)
    monkeypatch.undo()
    with pytest.raises(circuits.InputError, match=r"was computed with .* Pass allow_different_numerics=True"):
        circuits.train(None, path, resume=True, kernel="reference", progress=False)
    with circuits.train(
        None, path, resume=True, kernel="reference", allow_different_numerics=True, progress=False
    ) as run:
        assert run.is_complete
        assert run.other_numerics_since == 3


def test_checkpoints_are_kept_where_the_config_says(tmp_path, make_config):
    config = make_config(checkpoints={"every_epochs": 2, "every_steps": 10, "at_steps": [1, 5]})
    with circuits.train(config, tmp_path / "a.h5", progress=False) as run:
        assert run.steps.tolist() == [0, 1, 5, 10, 14, 20, 28]
        assert run.epochs.tolist() == [step / 7 for step in run.steps]


def test_checkpoint_0_is_the_initialization_and_metrics_belong_to_their_checkpoint(tiny_run):
    for seed in tiny_run.seeds:
        initial = tiny_run.config.model.initial(Signature(8), seed)
        assert (tiny_run.arrays(seed, 0)["W"] == initial["W"].astype(np.float32)).all()
        data = tiny_run.data(seed)
        for checkpoint in range(tiny_run.n_checkpoints):
            net = tiny_run.arrays(seed, checkpoint)
            outputs = np.maximum(data["train_inputs"].values @ net["W"].T + net["b"], 0) @ net["u"]
            right = (np.sign(outputs) == data["train_targets"].values).mean()
            assert tiny_run.metrics["train_accuracy"].sel(seed=seed).values[checkpoint] == right


def test_a_diverging_network_is_recorded_as_it_is(tmp_path, make_config):
    config = make_config(optimizer__lr=1e30, epochs=3)
    with circuits.train(config, tmp_path / "a.h5", progress=False) as run:
        assert np.isnan(run.metrics["train_loss"].values[-1]).all()
        assert (run.metrics["train_accuracy"].values[-1] == 0).all()
        assert circuits.analysis.phases(run)["diverged"].all()


def test_a_collapsed_network_has_accuracy_zero_and_is_said_to_have_collapsed(tmp_path, make_config):
    config = make_config(optimizer__lr=1.0, optimizer__weight_decay=1.0, epochs=60)  # keeps nothing of the weights
    with circuits.train(config, tmp_path / "a.h5", progress=False) as run:
        collapsed = circuits.analysis.phases(run)["collapsed"].values
        assert collapsed.any()
        assert (run.metrics["train_accuracy"].values[-1][collapsed] == 0).all()


def test_flipped_targets_are_trained_on_and_test_targets_stay_clean(tmp_path, make_config):
    with circuits.train(make_config(task__flip_fraction=0.2), tmp_path / "a.h5", progress=False) as run:
        data = run.data(1)
        parity = data["train_inputs"].values[:, :2].prod(axis=1)
        assert data["train_flipped"].values.sum() == 10
        assert ((parity != data["train_targets"].values) == data["train_flipped"].values).all()
        assert (data["test_inputs"].values[:, :2].prod(axis=1) == data["test_targets"].values).all()


@pytest.mark.parametrize("which", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_request_flushes_and_says_how_to_resume(tmp_path, make_config, which, request):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell has a job in the background ignore it
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))
    config = make_config(epochs=100_000, checkpoints__every_epochs=10)
    threading.Timer(0.7, os.kill, (os.getpid(), which)).start()
    with pytest.raises(circuits.Interrupted, match=r"of 10001 checkpoints are saved. Continue: circuits train"):
        circuits.train(config, tmp_path / "a.h5", progress=False)
    with circuits.open(tmp_path / "a.h5") as run:
        assert 1 <= run.n_checkpoints < 10_001
        assert run.writer_pid is None


def test_a_model_without_hidden_layer_trains_by_the_reference_path(tmp_path, make_config):
    config = make_config().replace(model__kind="linear")
    with circuits.train(config, tmp_path / "a.h5", progress=False) as run:
        assert run.numerics["path"] == "reference"
        assert run.parameters["w"].dims == ("step", "seed", "input")
        assert run.model(seed=1)(__import__("torch").ones(3, 8)).shape == (3,)


def test_too_little_room_is_said_before_anything_is_written(tmp_path, make_config, monkeypatch):
    monkeypatch.setattr(loop.shutil, "disk_usage", lambda _: SimpleNamespace(free=10**6))
    with pytest.raises(circuits.InputError, match=r"needs .* and 17 MB of spare room, but .* has 1 MB free"):
        circuits.train(make_config(), tmp_path / "a.h5", progress=False)
    assert not (tmp_path / "a.h5").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"device": "gpu"}, "no device 'gpu'. There are: auto, cpu, cuda, mps"),
        ({"kernel": "fast"}, "no kernel 'fast'. There are: auto, fused, batched, prepared, reference"),
        ({"resume": True, "overwrite": True}, "not both"),
    ],
)
def test_bad_arguments_get_one_line(tmp_path, make_config, arguments, message):
    with pytest.raises(circuits.InputError, match=message):
        circuits.train(make_config(), tmp_path / "a.h5", progress=False, **arguments)


def test_the_order_of_an_epoch_depends_on_seed_and_epoch_alone():
    first = example_order(3, 7, 100)
    assert (first == example_order(3, 7, 100)).all()
    assert sorted(first) == list(range(100))
    assert (first != example_order(3, 8, 100)).any()
    assert (first != example_order(4, 7, 100)).any()


@pytest.mark.parametrize("kernel", ["fused", "reference"])
def test_effective_sparsity_is_measured_while_training_when_asked(tmp_path, make_config, kernel):
    config = make_config(metrics=["effective_sparsity"])
    with circuits.train(config, tmp_path / "a.h5", kernel=kernel, progress=False) as run:
        assert (run.metrics["effective_sparsity"] == circuits.analysis.effective_sparsity(run)).all()
        metrics = contents(tmp_path / "a.h5")
    circuits.train(make_config(), tmp_path / "b.h5", kernel=kernel, progress=False).close()
    plain = contents(tmp_path / "b.h5")
    same_bits({name: metrics[name] for name in plain}, plain)  # asking changes nothing else


def test_a_metric_that_is_unknown_or_does_not_apply_is_refused(make_config):
    with pytest.raises(circuits.InputError, match="there is no metric 'sparsity'"):
        make_config(metrics=["sparsity"])
    with pytest.raises(circuits.InputError, match="needs a prunable layer; the model 'linear' has none"):
        make_config(metrics=["effective_sparsity"], model={"kind": "linear"})


def test_shares_of_zero_and_small_weights_are_metrics(tmp_path, make_config):
    config = make_config(metrics=["zero_weights", "small_weights"], optimizer__l1=0.01)
    with circuits.train(config, tmp_path / "a.h5", progress=False) as run:
        everything = np.concatenate([run.parameters[name][-1, 1].values.ravel() for name in ("W", "b", "u")])
        last = run.metrics.isel(step=-1, seed=1)
        assert last["zero_weights"] == (everything == 0).mean() > 0
        assert last["small_weights"] == (np.abs(everything) < 1e-3).mean() >= last["zero_weights"]


def test_a_failure_stops_every_lane_within_an_epoch(make_config):
    """Networks that run ahead must not train on to a far target after the writer has failed."""
    config = make_config(epochs=400, checkpoints__every_epochs=200)
    epochs = []

    class Slow(FusedRelu):
        n_lanes, n_threads, preparing = 2, 2, ""

        def __init__(self):
            pass

        def advance(self, lane, epoch, start, stop, rates):
            epochs.append(epoch)
            threading.Event().wait(0.01 if epoch >= 200 else 0)

        def snapshots(self, lane):
            return [({}, {"loss": 0.0})]

        def close(self):
            pass

    targets = [200 * config.steps_per_epoch, 400 * config.steps_per_epoch]
    rows = trajectory(Slow(), config, 0, targets, threading.Event(), lambda step: None, Pace(config, {}))
    next(rows)
    rows.close()
    assert max(epochs) < 300
