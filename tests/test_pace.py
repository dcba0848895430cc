import numpy as np
import pytest

import circuits
from circuits.config import parse
from circuits.schedules import Stop, WeightDecayChange
from circuits.training.rates import Pace

RATES = {"sgd": 0.1, "adamw": 0.02, "rmsprop": 0.02}
GROKS = {"task__n": 40, "task__n_train": 150, "task__n_test": 100, "model__width": 60}


def train(config, path, **options):
    return circuits.train(config, path, progress=False, **options)


def pace_of(config, *changes):
    return Pace(config.replace(weight_decay_changes=list(changes)), {})


def test_a_change_holds_from_its_epoch_or_step_on(make_config):
    pace = pace_of(make_config(), {"value": 0.5, "epoch": 2}, {"value": 0.0, "step": 17})
    decays = [pace.weight_decay(0, step) for step in range(28)]
    assert decays == [0.01] * 14 + [0.5] * 3 + [0.0] * 11


def test_a_change_waits_for_an_accuracy_and_then_its_delay_for_each_seed(make_config):
    pace = pace_of(make_config(), {"value": 0.5, "test_accuracy": 0.9, "delay_epochs": 2})
    assert pace.awaits([0, 1], 7)
    assert not pace.awaits([0, 1], 8)
    pace.look(0, 7, {"test_accuracy": 0.85, "train_accuracy": 1.0})
    pace.look(0, 14, {"test_accuracy": 0.9, "train_accuracy": 1.0})
    pace.look(0, 21, {"test_accuracy": 1.0, "train_accuracy": 1.0})  # the first time counts
    assert [pace.weight_decay(0, step) for step in (27, 28)] == [0.01, 0.5]
    assert pace.weight_decay(1, 28) == 0.01
    assert pace.metrics(0, 28) == {"weight_decay": 0.5, "decay_change_0_step": 14}
    assert np.isnan(pace.metrics(1, 28)["decay_change_0_step"])


def test_of_the_changes_that_are_due_the_last_one_of_the_list_holds(make_config):
    pace = pace_of(make_config(), {"value": 0.3, "step": 20}, {"value": 0.7, "step": 10})
    assert [pace.weight_decay(0, step) for step in (9, 10, 20)] == [0.01, 0.7, 0.7]


def test_a_stretch_ends_where_its_rates_do(make_config):
    pace = pace_of(make_config(), {"value": 0.5, "step": 17})
    assert [pace.end_of_stretch([0], step, 25) for step in (0, 14, 17, 21)] == [7, 17, 21, 25]
    varying = Pace(make_config(optimizer__lr_warmup_steps=3), {})
    assert [varying.end_of_stretch([0], step, 25) for step in (0, 2, 3)] == [1, 3, 7]  # even after the warm-up
    falling = Pace(make_config(optimizer__lr_cosine=True), {})
    assert falling.end_of_stretch([0], 9, 25) == 10


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"value": 0.1}, "needs exactly one of epoch, step, train_accuracy and test_accuracy; given: none"),
        ({"value": 0.1, "epoch": 1, "step": 2}, "given: epoch, step"),
        ({"value": 0.1, "epoch": 1, "delay_epochs": 2}, "delay_epochs needs train_accuracy or test_accuracy"),
        ({"value": -1.0, "epoch": 1}, "weight_decay_changes.0.value: must be at least 0"),
        ({"value": 0.1, "epoc": 1}, r"no field 'weight_decay_changes.0.epoc'\. Did you mean 'epoch'"),
        ({"value": 0.1, "train_accuracy": 1.5}, "weight_decay_changes.0.train_accuracy: must be at most 1"),
    ],
)
def test_a_bad_change_gets_one_line(make_config, change, message):
    with pytest.raises(circuits.InputError, match=message):
        make_config(weight_decay_changes=[change])


@pytest.mark.slow
@pytest.mark.parametrize("kernel", ["auto", "reference", "batched"])
def test_a_change_trains_on_as_a_run_with_that_decay_would(tmp_path, make_config, kernel):
    """Two runs with one decay each, glued together: the second is a replay of a run that always had the new one."""
    changed = make_config(epochs=6, weight_decay_changes=[{"value": 0.3, "epoch": 3}], seeds=[0, 1])
    with train(changed, tmp_path / "changed.h5", kernel=kernel) as run:
        found = run.parameters["W"].values
        assert run.metrics["weight_decay"].values[:, 0].tolist() == [0.01, 0.01, 0.01, 0.3, 0.3, 0.3, 0.3]
    with train(make_config(epochs=6, seeds=[0, 1]), tmp_path / "plain.h5", kernel=kernel) as run:
        plain = run.parameters["W"].values
    assert found[:4].tobytes() == plain[:4].tobytes()
    assert np.abs(found[4:] - plain[4:]).max() > 1e-3
    assert np.linalg.norm(found[-1]) < np.linalg.norm(plain[-1])


@pytest.mark.parametrize(
    "kind", ["sgd", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("adamw", "rmsprop"))]
)
def test_all_paths_decay_each_seed_at_its_own_time(tmp_path, make_config, kind):
    change = {"value": 0.2, "train_accuracy": 0.8}
    optimizer = {"kind": kind, "lr": RATES[kind]}
    config = make_config(epochs=30, weight_decay_changes=[change], dtype="float64", optimizer=optimizer)
    runs = {}
    for kernel in ("reference", "batched", *(["fused"] if kind == "sgd" else [])):
        with train(config, tmp_path / f"{kernel}.h5", kernel=kernel) as run:
            runs[kernel] = run.parameters["W"].values, run.metrics["decay_change_0_step"].values[-1]
    when = runs["reference"][1]
    assert len(set(when.tolist())) > 1
    assert not np.isnan(when).any()
    for values, other in runs.values():
        assert (other == when).all()
        assert np.allclose(values, runs["reference"][0], rtol=1e-6, atol=1e-9)


def test_what_triggers_a_change_does_not_depend_on_the_checkpoints_kept(tmp_path, make_config):
    config = make_config(epochs=12, weight_decay_changes=[{"value": 0.2, "train_accuracy": 0.7, "delay_epochs": 2}])
    with train(config, tmp_path / "dense.h5") as dense:
        last, when = dense.parameters["W"].values[-1], dense.metrics["decay_change_0_step"].values[-1]
    sparse = config.replace(checkpoints={"every_epochs": 12})
    with train(sparse, tmp_path / "sparse.h5") as run:
        assert run.n_checkpoints == 2
        assert run.parameters["W"].values[-1].tobytes() == last.tobytes()
        assert (run.metrics["decay_change_0_step"].values[-1] == when).all()
    assert (when % config.steps_per_epoch == 0).all()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sgd", "adamw"])
def test_a_run_that_waits_for_an_event_resumes_bit_for_bit_from_any_checkpoint(tmp_path, make_config, kind, cut_short):
    change = {"value": 0.2, "train_accuracy": 0.7, "delay_epochs": 3}
    optimizer = {"kind": kind, "lr": RATES[kind]}
    config = make_config(epochs=12, weight_decay_changes=[change], optimizer=optimizer, checkpoints={"every_steps": 9})
    with train(config, tmp_path / "whole.h5") as run:
        whole = run.parameters["W"].values, run.metrics.load()
    met = whole[1]["decay_change_0_step"].values[-1]
    for step in (1, int(met[0]) + 1, int(met[0]) + 8, 61):
        path = tmp_path / f"cut{step}.h5"
        cut_short(config, path, step)
        with train(None, path, resume=True) as run:
            assert run.parameters["W"].values.tobytes() == whole[0].tobytes()
            assert run.metrics.load().identical(whole[1])


def test_a_replay_knows_what_happened_before_its_stretch(tmp_path, make_config):
    config = make_config(epochs=12, weight_decay_changes=[{"value": 0.2, "train_accuracy": 0.7, "delay_epochs": 2}])
    with train(config, tmp_path / "run.h5") as run:
        zoom = circuits.replay(run, tmp_path / "zoom.h5", from_step=60, to_step=80, progress=False)
        at = int(np.flatnonzero(run.steps == 77)[0])
        again = int(np.flatnonzero(zoom.steps == 77)[0])
        for group in ("parameters", "metrics"):
            there, here = (getattr(which, group).isel(step=i).load() for which, i in ((run, at), (zoom, again)))
            assert all(there[name].values.tobytes() == here[name].values.tobytes() for name in there)


def test_a_run_stops_when_every_seed_has_stayed_good(tmp_path, make_config):
    rule = {"test_accuracy": 0.95, "checkpoints": 3}
    config = make_config(**GROKS, epochs=400, seeds=[0, 1], stop=rule, checkpoints={"every_epochs": 5})
    with train(config, tmp_path / "run.h5") as run:
        assert run.is_complete
        assert run.stopped_early
        assert run.steps[-1] < config.total_steps
        good = run.metrics["test_accuracy"].values >= 0.95
        in_a_row = np.array([[good[max(0, i - 3) : i + 1, s].sum() == 4 for s in (0, 1)] for i in range(len(good))])
        assert in_a_row.any(axis=0).all()
        assert not in_a_row[:-1].any(axis=0).all()  # one checkpoint earlier a seed had not met it
    with train(config, tmp_path / "run.h5", resume=True) as again:
        assert again.n_checkpoints == len(good)
    with pytest.raises(circuits.InputError, match="has met its stop rule"):
        train(config.replace(epochs=500), tmp_path / "run.h5", resume=True)


def test_a_run_that_was_cut_short_stops_where_the_whole_one_does(tmp_path, make_config, cut_short):
    rule = {"test_accuracy": 0.95, "checkpoints": 3}
    config = make_config(**GROKS, epochs=400, seeds=[0, 1], stop=rule, checkpoints={"every_epochs": 5})
    with train(config, tmp_path / "whole.h5") as run:
        steps, W = run.steps, run.parameters["W"].values
    cut_short(config, tmp_path / "cut.h5", steps[-2])
    with train(None, tmp_path / "cut.h5", resume=True) as run:
        assert run.steps.tolist() == steps.tolist()
        assert run.parameters["W"].values.tobytes() == W.tobytes()


def test_steps_end_a_run_before_its_epochs(tmp_path, make_config):
    config = make_config(steps=10)
    assert config.total_steps == 10
    with train(config, tmp_path / "run.h5") as run:
        assert run.steps.tolist() == [0, 7, 10]
        assert run.is_complete


def test_an_accuracy_is_compared_in_whole_examples():
    change = WeightDecayChange(value=0.0, train_accuracy=0.7)
    assert change.is_met(7 / 10, 10)
    assert not change.is_met(6 / 10, 10)
    assert WeightDecayChange(value=0.0, train_accuracy=1.0).is_met(1.0, 3)
    assert not WeightDecayChange(value=0.0, train_accuracy=0.98).is_met(97 / 100, 100)


def test_a_stop_rule_asks_for_checkpoints_in_a_row():
    rule = Stop(test_accuracy=0.9, checkpoints=2)
    high, low = 0.95, 0.5
    assert not rule.is_met(np.array([[high], [high], [low], [high]])).any()
    assert rule.is_met(np.array([[low], [high], [high], [high], [low]])).all()  # once met, met for good


def test_a_config_with_all_of_it_round_trips(make_config):
    config = make_config(
        weight_decay_changes=[{"value": 0.0, "test_accuracy": 0.99, "delay_epochs": 3}, {"value": 1.0, "step": 4}],
        stop={"test_accuracy": 0.99, "checkpoints": 5}, optimizer={"kind": "rmsprop"}, input_noise=0.1,
    )  # fmt: skip
    assert parse(config.model_dump(mode="json")) == config
