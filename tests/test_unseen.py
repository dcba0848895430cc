"""Test inputs that are in the training set: marked, told apart, said, and left out where that is asked for."""

import re
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import circuits
from circuits.analysis.networks.unseen import described_test_set, seen_share, seen_test_inputs, seen_warnings
from circuits.checkpoints.layout import UNSEEN_ACCURACY
from circuits.cli.main import main
from circuits.constructions.certifying.flips import Flips
from circuits.figures.learning import accuracy
from circuits.seen import SEEN, seen_inputs
from circuits.tasks.modular import Modular
from circuits.tasks.parity import Parity

FIXTURES = Path(__file__).parent / "fixtures"


def rows(inputs):
    return {tuple(row) for row in np.asarray(inputs).tolist()}


@given(st.data(), st.integers(1, 19), st.sampled_from([np.int8, np.int16, np.float32]))
def test_a_test_input_is_seen_exactly_if_some_training_row_equals_it(data, n_inputs, dtype):
    values = st.sampled_from([-1, 0, 1])
    test, train = (
        data.draw(arrays(dtype, st.tuples(st.integers(1, 6), st.just(n_inputs)), elements=values)) for _ in range(2)
    )
    test[0] = train[0]  # some are
    assert seen_inputs(test, train).tolist() == [tuple(row) in rows(train) for row in test.tolist()]


def test_numbers_that_are_equal_are_seen_whatever_their_bits():
    assert seen_inputs(np.array([[-0.0, 1.0]]), np.array([[0.0, 1.0]])).all()
    assert seen_inputs(np.array([[1, -1]], np.int8), np.array([[1, -1]], np.int16)).all()


def test_rows_whose_sums_agree_are_still_compared(monkeypatch):
    monkeypatch.setattr("circuits.seen._sums", lambda rows: np.zeros(len(rows), np.uint64))
    assert seen_inputs(np.array([[1, 2], [3, 4]]), np.array([[3, 4], [5, 6]])).tolist() == [False, True]


@pytest.mark.parametrize(("n", "n_train"), [(6, 50), (10, 1000)])
def test_the_mean_share_of_a_small_cube_is_that_of_independent_draws(n, n_train):
    task = Parity(n=n, k=2, n_train=n_train, n_test=1000)
    test = task.test_data()["inputs"]
    shares = [seen_inputs(test, task.train_data(seed)["inputs"]).mean() for seed in range(20)]
    assert np.mean(shares) == pytest.approx(1 - (1 - 2.0**-n) ** n_train, abs=0.02)  # .545 and .624


@pytest.mark.parametrize("draw", ["counter", "merrill-code", "thesis-code"])
@pytest.mark.parametrize("preset", [{"n": 40, "k": 3, "n_train": 1000}, {"n": 50, "k": 2, "n_train": 300}])
def test_the_test_sets_of_the_papers_hold_no_training_input_and_stay_what_they_are(preset, draw):
    plain, unseen = Parity(**preset, draw=draw), Parity(**preset, draw=draw, test_unseen=True)
    for seed in (0, 3):
        assert not seen_inputs(plain.test_data(seed)["inputs"], plain.train_data(seed)["inputs"]).any()
        assert (unseen.test_data(seed)["inputs"] == plain.test_data(seed)["inputs"]).all()
        assert (unseen.test_data(seed)["targets"] == plain.test_data(seed)["targets"]).all()


@pytest.mark.parametrize("draw", ["counter", "merrill-code"])
@pytest.mark.parametrize(
    ("n", "n_train", "n_test"),
    [(1, 1, 1), (3, 4, 3), (6, 50, 20), (10, 1000, 300), (12, 100, 300), (14, 2000, 2000)],  # the last two reject
)
def test_an_unseen_test_set_holds_different_inputs_outside_the_training_set(n, n_train, n_test, draw):
    task = Parity(n=n, k=1, n_train=n_train, n_test=n_test, test_unseen=True, draw=draw)
    train, test = task.train_data(1), task.test_data(1)
    assert test["inputs"].shape == (n_test, n)
    assert test["inputs"].dtype == test["targets"].dtype == np.int8
    assert set(np.unique(test["inputs"])) <= {-1, 1}
    assert len(rows(test["inputs"])) == n_test
    assert not rows(test["inputs"]) & rows(train["inputs"])
    assert (test["targets"] == test["inputs"][:, 0]).all()
    assert (test["inputs"] == task.test_data(1)["inputs"]).all()


def test_an_unseen_test_set_may_be_all_that_is_left():
    task = Parity(n=6, k=2, n_train=50, n_test=24, test_unseen=True)
    left = 64 - len(rows(task.train_data(0)["inputs"]))
    task = task.model_copy(update={"n_test": left})
    assert rows(task.test_data(0)["inputs"]) | rows(task.train_data(0)["inputs"]) == rows(
        2 * (np.arange(64)[:, None] >> np.arange(6) & 1) - 1
    )


def test_unseen_inputs_are_uniform_over_those_that_are_left():
    fields = {"n": 3, "k": 1, "n_train": 2, "n_test": 1, "test_unseen": True}
    found = [tuple(Parity(**fields, test_seed=s).test_data(0)["inputs"][0].tolist()) for s in range(300)]
    left = 8 - len(rows(Parity(**fields).train_data(0)["inputs"]))
    counts = np.array([found.count(one) for one in set(found)])
    assert len(counts) == left
    assert np.abs(counts - 300 / left).max() < 4 * np.sqrt(300 / left)


def test_a_flipped_label_makes_no_unseen_input():
    fields = {"n": 6, "k": 2, "n_train": 50, "n_test": 20, "test_unseen": True}
    clean, noisy = Parity(**fields), Parity(**fields, flip_fraction=0.5)
    assert (clean.test_data(2)["inputs"] == noisy.test_data(2)["inputs"]).all()
    assert (noisy.test_data(2)["targets"] == noisy.parity(noisy.test_data(2)["inputs"])).all()


def test_too_few_unseen_inputs_are_refused_with_their_number_before_training(make_config, capsys):
    config = make_config(task__n=6, task__n_test=20, task__test_unseen=True)
    left = {seed: 64 - len(rows(config.task.train_data(seed)["inputs"])) for seed in config.seeds}
    worst = min(left, key=lambda seed: left[seed])
    said = (
        f"test_unseen needs n_test = 100 different inputs outside the training set, but seed {worst} leaves "
        f"{left[worst]} of the 64 inputs of n = 6 bits. Lower n_test to {left[worst]} or less, or n_train"
    )
    with pytest.raises(circuits.InputError, match=said):
        config.replace(task__n_test=100)
    config.replace(task__n_test=left[worst])
    with pytest.raises(circuits.InputError, match=f"seed 1 leaves {left[1]}"):  # where no config was checked
        config.task.model_copy(update={"n_test": 100}).test_data(1)
    with pytest.raises(circuits.InputError, match=r"leaves 0 of the 64 inputs of n = 6 bits. Lower n_train"):
        config.replace(task__n_train=1000, task__n_test=1)
    words = "train --task.n 6 --task.k 2 --task.n-train 50 --task.test-unseen true --seeds 0 1 2 --dry-run"
    assert main(words.split()) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("task", [
    Modular(p=7), Modular(p=5, n_summands=3, train_fraction=0.9), Modular(p=31, n_summands=4, max_examples=500),
    Modular(p=7, operation="x/y"), Modular(p=11, encoding="tokens", sequence="y + x ="),
])  # fmt: skip
def test_modular_training_and_test_sets_share_no_example_and_repeat_none(task):
    train, test = task.train_data(3)["inputs"], task.test_data(3)["inputs"]
    assert not seen_inputs(test, train).any()
    assert len(rows(train)) == len(train)
    assert len(rows(test)) == len(test)


def computed_again(run):
    """Accuracy on the unseen test inputs of every checkpoint, (step, seed), in NumPy."""
    found = np.full((run.n_checkpoints, len(run.seeds)), np.nan)
    for index, seed in enumerate(run.seeds):
        data = run.data(seed)
        unseen = np.array([row not in rows(data["train_inputs"]) for row in map(tuple, data["test_inputs"].values)])
        inputs, targets = data["test_inputs"].values[unseen].astype(np.float64), data["test_targets"].values[unseen]
        for step in range(run.n_checkpoints if len(targets) else 0):
            net = run.arrays(seed, step)
            found[step, index] = (np.maximum(inputs @ net["W"].T + net["b"], 0) @ net["u"] * targets > 0).mean()
    return found


@pytest.mark.parametrize("kernel", ["fused", "batched", "reference"])
def test_every_path_tells_unseen_test_inputs_apart(kernel, make_config, tmp_path):
    config = make_config(task__n=4, task__n_train=30, task__n_test=12, seeds=[0, 1, 2, 3])
    with circuits.train(config, tmp_path / "run.h5", kernel=kernel, progress=False) as run:
        assert run.metrics[UNSEEN_ACCURACY].dims == ("step", "seed")
        assert np.array_equal(run.metrics[UNSEEN_ACCURACY].values, computed_again(run), equal_nan=True)
        shares = seen_share(run).values
        assert shares.max() == 1 > shares.min() > 0  # both kinds of seed are here
        assert np.isnan(run.metrics[UNSEEN_ACCURACY].values[:, shares == 1]).all()
        assert (run.all_data[SEEN].mean("test_example").values == shares).all()


@pytest.mark.slow
def test_the_prepared_path_tells_unseen_test_inputs_apart(tmp_path, monkeypatch):
    test_data = Modular.test_data

    def with_training_inputs(self, seed):
        data, train = test_data(self, seed), self.train_data(seed)
        return {
            name: np.concatenate([train[name][:1], data[name][1:]]) if name in train else data[name] for name in data
        }

    monkeypatch.setattr(Modular, "test_data", with_training_inputs)
    config = circuits.preset("nanda-2023").replace(
        task__p=5, model__d_model=8, model__n_heads=2, model__d_head=4, model__d_mlp=8, epochs=1, seeds=[0],
        checkpoints__every_epochs=1,
    )  # fmt: skip
    for kernel in ("prepared", "reference"):
        with circuits.train(config, tmp_path / f"{kernel}.h5", kernel=kernel, progress=False) as run:
            n_test = run.all_data.sizes["test_example"]
            assert seen_share(run).values == 1 / n_test
            whole, unseen = (run.metrics[name].values * n for name, n in (
                ("test_accuracy", n_test), (UNSEEN_ACCURACY, n_test - 1),
            ))  # fmt: skip
            assert set(np.rint(whole - unseen).ravel()) <= {0, 1}


def test_the_metric_resumes_and_replays_bit_for_bit(make_config, tmp_path, cut_short):
    config = make_config()
    circuits.train(config, tmp_path / "whole.h5", progress=False).close()
    cut_short(config, tmp_path / "cut.h5", 14)
    circuits.train(None, tmp_path / "cut.h5", resume=True, progress=False).close()
    with circuits.open(tmp_path / "whole.h5") as whole, circuits.open(tmp_path / "cut.h5") as cut:
        assert whole.metrics[UNSEEN_ACCURACY].values.tobytes() == cut.metrics[UNSEEN_ACCURACY].values.tobytes()
        zoom = circuits.replay(whole, tmp_path / "zoom.h5", from_step=7, to_step=14, every=7, progress=False)
        assert (zoom.metrics[UNSEEN_ACCURACY].values == whole.metrics[UNSEEN_ACCURACY].values[1:3]).all()
        zoom.close()


def test_runs_without_a_seen_test_input_store_that_and_have_no_metric(grokked_run):
    assert UNSEEN_ACCURACY not in grokked_run.metrics
    assert not grokked_run.all_data[SEEN].any()
    assert seen_warnings(grokked_run) == []
    assert described_test_set(grokked_run) == "100 inputs, the same for all seeds; none is in the training set"


def test_runs_of_earlier_versions_resume_without_the_metric_and_show_the_share(tmp_path, capsys):
    path = tmp_path / "old.h5"
    shutil.copy(FIXTURES / "run-v1-killed.h5", path)
    circuits.train(None, path, resume=True, allow_different_numerics=True, progress=False).close()
    with circuits.open(path) as run:
        assert run.is_complete
        assert UNSEEN_ACCURACY not in run.metrics
        assert SEEN not in run.all_data
        for seed in run.seeds:
            data = run.data(seed)
            expected = [tuple(row) in rows(data["train_inputs"]) for row in data["test_inputs"].values.tolist()]
            assert seen_test_inputs(run, seed).tolist() == expected
    assert main(["show", str(path)]) == 0
    out = capsys.readouterr().out
    assert "6 inputs, the same for all seeds; in the training set: 33.3 % (seed 0), 50 % (seed 1)" in out
    assert "warning: 33.3 to 50 % of the test inputs of seeds 0, 1 are in the training set" in out


@pytest.mark.slow
def test_each_seed_stores_its_own_unseen_test_set_and_everything_reads_it(make_config, tmp_path, capsys):
    config = make_config(task__test_unseen=True, model__width=4, epochs=1)
    with circuits.train(config, tmp_path / "run.h5", progress=False) as run:
        assert run.all_data["test_inputs"].dims == ("seed", "test_example", "input")
        assert run.all_data["test_targets"].dims == ("seed", "test_example")
        for seed in run.seeds:
            assert np.array_equal(run.data(seed)["test_inputs"], config.task.test_data(seed)["inputs"])
        assert UNSEEN_ACCURACY not in run.metrics
        assert not run.all_data[SEEN].any()
        assert np.array_equal(run.metrics["test_accuracy"][-1].values, own_test_accuracy(run))
        found = circuits.analyze(run, "faithfulness", "progress", "certify", "walsh")
        assert found["certify"]["fewest_flips_min"].shape == (1, 3)
        assert found["progress"]["sensitivity"].notnull().all()
        zoom = circuits.replay(run, tmp_path / "zoom.h5", from_step=0, to_step=7, every=7, progress=False)
        assert zoom.all_data.identical(run.all_data)
        zoom.close()
    assert main(["verify", str(tmp_path / "run.h5"), "--seed", "2", "--certify"]) in (0, 4)
    assert main(["show", str(tmp_path / "run.h5")]) == 0
    assert "20 inputs of each seed's own; none is in the training set" in capsys.readouterr().out


def own_test_accuracy(run):
    found = []
    for seed in run.seeds:
        data, net = run.data(seed), run.arrays(seed)
        outputs = np.maximum(data["test_inputs"].values @ net["W"].T + net["b"], 0) @ net["u"]
        found.append((outputs * data["test_targets"].values > 0).mean())
    return found


def test_fewest_flips_are_of_each_seeds_own_test_inputs(make_config, tmp_path, monkeypatch):
    given_inputs = []

    def fewest_flips(**arguments):
        given_inputs.append(arguments["inputs"])
        return Flips(np.ones(20), np.ones(20))

    monkeypatch.setattr("circuits.analysis.parity.certificates.fewest_flips", fewest_flips)
    config = make_config(task__test_unseen=True, model__width=4, epochs=0)
    with circuits.train(config, tmp_path / "run.h5", progress=False) as run:
        circuits.analyze(run, "certify")
        own = [run.data(seed)["test_inputs"].values for seed in run.seeds]
    assert [any(np.array_equal(inputs, one) for inputs in given_inputs) for one in own] == [True] * 3


@pytest.mark.slow
def test_train_show_tables_and_page_say_how_much_of_the_test_set_is_seen(make_config, tmp_path, capsys):
    config = make_config(task__n=6, task__n_test=100, epochs=1, seeds=[0, 1])
    (tmp_path / "config.json").write_text(config.to_json())
    path = tmp_path / "run.h5"
    warning = (
        "warning: 50 to 53 % of the test inputs of seeds 0, 1 are in the training set, so test accuracy is partly "
        "memory: test_accuracy_unseen counts the FEW to MANY others alone; train with "
        "--task.test-unseen true --task.n-test LEFT for a test set without them."
    )
    assert main(["train", "--config", str(tmp_path / "config.json"), "--out", str(path), "--quiet"]) == 0
    out, err = capsys.readouterr()
    with circuits.open(path) as run:
        low, high = sorted(100 * seen_share(run).values)
    warning = warning.replace("50 to 53", f"{low:g} to {high:g}")
    warning = warning.replace("FEW", f"{100 - high:g}").replace("MANY", f"{100 - low:g}")
    n_different = [len(np.unique(config.task.train_data(seed)["inputs"], axis=0)) for seed in config.seeds]
    warning = warning.replace("LEFT", str(64 - max(n_different)))
    assert warning in err
    assert f" {high:.3g} %" in out
    assert main(["show", str(path)]) == 0
    assert warning in capsys.readouterr().out
    assert main(["analyze", str(path), "--subnetwork", "--quiet"]) == 0
    out, err = capsys.readouterr()
    assert warning in err
    assert f" {high:.3g} %" in out
    assert main(["report", str(path), "--quiet"]) == 0
    page = (tmp_path / "run.html").read_text()
    assert f"But {low:g} to {high:g} % of the test inputs of seeds 0, 1 are in the training set." in page
    assert f"<td>{high:g} % of the test set seen</td>" in page.replace(' class="edge"', "")
    assert warning.removeprefix("warning: ") in page
    assert "100 inputs, the same for all seeds; in the training set: " in page


@pytest.mark.slow
def test_the_warning_is_about_what_memory_can_have_raised(make_config, tmp_path):
    config = make_config(task__n=6, task__n_test=100, seeds=[0, 1])
    with circuits.train(config.replace(epochs=300), tmp_path / "learns.h5", progress=False) as run:
        assert circuits.analysis.phases(run)["generalization_epoch"].notnull().any()
        assert "so test accuracy and the epoch of generalization are partly memory" in seen_warnings(run)[0]
    dead = config.replace(optimizer__weight_decay=3.0, epochs=10)
    with circuits.train(dead, tmp_path / "dead.h5", progress=False) as run:
        assert run.collapsed.values[-1].all()
        assert seen_warnings(run) == []


def test_seeds_of_which_no_test_input_is_unseen_are_told_from_the_others(tmp_path):
    config = circuits.preset("merrill-2023").replace(
        model__width=4, task__n=5, task__n_train=100, task__n_test=10, epochs=1, seeds=[1, 2, 3]
    )
    with circuits.train(config, tmp_path / "a.h5", progress=False) as run:
        share = seen_share(run).values
        (warning,) = seen_warnings(run)
    without = ", ".join(str(seed) for seed, of_it in zip(config.seeds, share, strict=True) if of_it == 1)
    others = np.rint(10 * (1 - share[share < 1])).astype(int)
    assert without
    assert len(others)
    few = f"{others.min()}" if others.min() == others.max() else f"{others.min()} to {others.max()}"
    plural = "other" if others.max() == 1 else "others"
    assert f"test_accuracy_unseen counts the {few} {plural} alone (seed {without} has none)" in warning


@pytest.mark.slow
@pytest.mark.parametrize(
    ("n", "n_train", "n_test", "said"),
    [
        (10, 900, 100, "train with --task.test-unseen true for a test set without them."),
        (6, 50, 100, "--task.n-test 24 for a test set without them."),
        (4, 200, 100, "is memory: the training set of seed 0 holds every input there is, so lower --task.n-train."),
    ],
)
def test_the_warning_advises_what_training_accepts(n, n_train, n_test, said, tmp_path):
    config = circuits.preset("merrill-2023").replace(
        model__width=4, task__n=n, task__n_train=n_train, task__n_test=n_test, epochs=1, seeds=[0, 1]
    )
    with circuits.train(config, tmp_path / "seen.h5", progress=False) as run:
        (warning,) = seen_warnings(run)
        none_is_left = seen_share(run).min() == 1
    assert warning.endswith(said)
    assert ("test_accuracy_unseen" in warning) != none_is_left
    if not none_is_left:
        advised = re.findall(r"--task.n-test (\d+)", warning) or [n_test]
        better = config.replace(task__test_unseen=True, task__n_test=int(advised[0]))
        with circuits.train(better, tmp_path / "unseen.h5", progress=False) as run:
            assert not seen_share(run).any()


def test_an_imported_network_that_was_not_trained_remembers_nothing(tmp_path):
    built = circuits.constructions.dnf(2)
    with circuits.convert.from_construction(built, tmp_path / "dnf.h5", n=5, n_train=40, n_test=30) as run:
        assert 0.5 < seen_share(run) < 1
        assert run.metrics[UNSEEN_ACCURACY] == 1
        assert seen_warnings(run) == []


def test_the_figure_of_accuracy_has_the_unseen_ones_where_they_are_told_apart(tiny_run, grokked_run):
    names = [{trace.name for trace in accuracy(run.metrics).data} for run in (tiny_run, grokked_run)]
    assert ["test, unseen" in of for of in names] == [True, False]


@pytest.mark.parametrize("change", ["unmark", "drop the metric"])
def test_a_mark_and_a_metric_that_disagree_are_damage(change, tiny_path, tmp_path):
    path = tmp_path / "run.h5"
    shutil.copy(tiny_path, path)
    with h5py.File(path, "r+") as file:
        if change == "unmark":
            file["data/test_seen"][...] = False
        else:
            del file["metrics/test_accuracy_unseen"]
    said = "marks no input as seen" if change == "unmark" else "metrics/test_accuracy_unseen is missing"
    with pytest.raises(circuits.InputError, match=said):
        circuits.open(path)
