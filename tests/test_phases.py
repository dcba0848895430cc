"""Phases: epochs that are only bounds, negative delays, losses that are rounded to 0, and the words for them."""

from contextlib import nullcontext

import numpy as np
import pytest
import torch
import xarray as xr

import circuits
from circuits import figures
from circuits.analysis import phases
from circuits.analysis.networks.bounded import bounded, delay_text, epoch_text
from circuits.analysis.networks.remarks import loss_remarks, phase_remarks, zero_losses
from circuits.cli.main import main
from circuits.figures.page.report import page
from circuits.figures.page.summary import headline


@pytest.fixture
def run_with(tiny_run, monkeypatch):
    """The run of three seeds and five checkpoints, with accuracies of our own, (step, seed), from a step on."""

    def make(train, test, first_step=7):
        steps = first_step + 7 * np.arange(len(train))
        metrics = tiny_run.metrics.isel(step=slice(len(train))).copy(deep=True)
        metrics["train_accuracy"].values[:] = train
        metrics["test_accuracy"].values[:] = test
        metrics = metrics.assign_coords(step=steps, epoch=("step", steps / 7))
        for name, value in (("metrics", metrics), ("steps", steps), ("epochs", steps / 7)):
            monkeypatch.setitem(tiny_run.__dict__, name, value)
        monkeypatch.setattr("circuits.checkpoints.run.open_run", lambda _path: nullcontext(tiny_run))
        return tiny_run

    return make


TRAIN = [[1.0, 1.0, 0.5], [1.0, 1.0, 1.0], [1.0, 1.0, 1.0]]  # the first two memorized before the first checkpoint
TEST = [[1.0, 0.5, 0.5], [1.0, 0.5, 0.5], [1.0, 1.0, 1.0]]  # the first generalized before it


def test_a_phase_before_the_first_stored_checkpoint_is_a_bound_and_its_delay_unknown(run_with):
    found = phases(run_with(TRAIN, TEST))
    assert found["memorization_epoch"].values.tolist() == [1, 1, 2]
    assert found["generalization_epoch"].values.tolist() == [1, 3, 3]
    assert found["memorization_censored"].values.tolist() == [True, True, False]
    assert found["generalization_censored"].values.tolist() == [True, False, False]
    np.testing.assert_array_equal(found["grokking_delay"], [np.nan, np.nan, 1])


def test_at_the_initialization_the_epoch_is_exact(run_with):
    found = phases(run_with(TRAIN, TEST, first_step=0))
    assert not found["memorization_censored"].any()
    assert not found["generalization_censored"].any()
    assert found["memorization_epoch"].values.tolist() == [0, 0, 1]
    assert found["grokking_delay"].values.tolist() == [0, 2, 1]


def test_what_never_happens_is_not_censored(run_with):
    found = phases(run_with([[0.5] * 3] * 2, [[0.5] * 3] * 2))
    assert not found["memorization_censored"].any()
    assert np.isnan(found["grokking_delay"]).all()


def test_a_network_that_was_never_trained_has_no_phases(tmp_path, capsys):
    path = str(tmp_path / "dnf.h5")
    assert main(["construct", "dnf", "--k", "3", "--n", "10", "--out", path]) == 0
    capsys.readouterr()
    with circuits.open(path) as run:
        assert float(run.metrics["test_accuracy"][-1, 0]) == 1  # past both thresholds at step 0
        found = phases(run)
        for name in ("memorization_epoch", "generalization_epoch", "grokking_delay"):
            assert np.isnan(found[name]).all()
        assert phase_remarks(found) == []
        assert headline(run, found, {}).startswith("Nothing was trained, so there are no phases.")
        again = xr.Dataset().merge(found).sel(seed=0)  # as part of another result, one seed of it
        assert epoch_text(again, "memorization") == epoch_text(again, "generalization") == "–"
    assert main(["show", path]) == 0
    row = next(line.split() for line in capsys.readouterr().out.splitlines() if line.startswith(" 0 "))
    assert row[:4] == ["0", "–", "–", "–"]


@pytest.mark.parametrize(
    ("memorized", "generalized", "epochs", "delay"),
    [
        ((107791, True), (107791, True), ("≤ 107,791", "≤ 107,791"), "unknown"),
        ((10, True), (250, False), ("≤ 10", "250"), "≥ 240"),
        ((250, False), (10, True), ("250", "≤ 10"), "≤ -240"),
        ((10, False), (250.5, False), ("10", "250.5"), "240.5"),
        ((10, True), (np.nan, False), ("≤ 10", "never"), "–"),
        ((np.nan, False), (np.nan, False), ("never", "never"), "–"),
    ],
)
def test_epochs_and_delays_in_words(memorized, generalized, epochs, delay):
    exact = np.nan if memorized[1] or generalized[1] else generalized[0] - memorized[0]
    at = xr.Dataset(
        {
            "memorization_epoch": memorized[0], "memorization_censored": memorized[1],
            "generalization_epoch": generalized[0], "generalization_censored": generalized[1],
            "grokking_delay": exact,
        }
    )  # fmt: skip
    assert (epoch_text(at, "memorization"), epoch_text(at, "generalization")) == epochs
    assert delay_text(at) == delay


def test_large_epochs_keep_all_their_digits():
    assert bounded(12345678.0) == "12,345,678"
    assert bounded(12345678.0, True, sign="≥") == "≥ 12,345,678"


def test_bounds_are_said_by_show_page_and_marks(run_with, capsys):
    run = run_with(TRAIN, TEST)
    found = phases(run)
    first, second = phase_remarks(found)
    assert first == (
        "seed 0: train and test accuracy exceed the threshold at the first stored checkpoint (epoch 1), so it "
        "memorized and generalized at or before that epoch; the grokking delay is unknown."
    )
    assert second == (
        "seed 1: train accuracy exceeds the threshold at the first stored checkpoint (epoch 1), so it memorized at or "
        "before that epoch; the grokking delay is ≥ 2 epochs."
    )
    said = headline(run, found, {})
    assert "3 of 3 seeds memorized, at epoch 1–2 (2 of them at or before the first checkpoint, epoch 1)" in said
    assert main(["show", str(run.path)]) == 0
    out = capsys.readouterr().out
    rows = [line.split() for line in out.splitlines() if line.startswith((" 0 ", " 1 ", " 2 "))]
    cells = (["0", "≤", "1", "≤", "1", "unknown"], ["1", "≤", "1", "3", "≥", "2"], ["2", "2", "3", "1"])
    assert [row[: len(own)] for row, own in zip(rows, cells, strict=True)] == list(cells)  # other columns follow
    assert first in out
    html = page(run, circuits.analyze(run, "phases"))
    assert first in html
    assert "≥ 2" in html
    marked = figures.accuracy(run.metrics.merge(found))
    assert [label.text for label in marked.layout.annotations] == ["memorized (2 ≤)", "generalized (1 ≤)"]
    alone = figures.accuracy(run.metrics.merge(found).isel(seed=[0]))
    assert [label.text for label in alone.layout.annotations] == ["memorized ≤", "generalized ≤"]


def test_a_negative_delay_is_said(run_with):
    found = phases(run_with([[0.5] * 3, [0.5] * 3, [1.0] * 3], [[0.5] * 3, [1.0] * 3, [1.0] * 3]))
    assert found["grokking_delay"].values.tolist() == [-1, -1, -1]
    assert phase_remarks(found)[2] == (
        "seed 2: test accuracy exceeds its threshold before train accuracy does, so the delay is negative, -1 epochs: "
        "there is no grokking."
    )


def test_outcomes_carry_the_bounds_to_the_figure(run_with):
    found = circuits.analysis.outcomes({"a": run_with(TRAIN, TEST)})["memorization_epoch"]
    points = figures.against(found.assign_coords(fraction=("run", [0.8])), "fraction").data[0]
    assert list(points.marker.symbol) == ["triangle-down", "triangle-down", "circle"]
    assert list(points.text) == ["seed 0, at or before this epoch", "seed 1, at or before this epoch", "seed 2"]


@pytest.mark.slow
def test_an_imported_last_checkpoint_says_at_or_before(tmp_path, grokked_run, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save(grokked_run.state(0, -1), "model_107791.pt")
    words = "convert state-dicts model_*.pt --out a.h5 --task.k 2 --task.n-train 150 --task.n-test 100 --quiet"
    assert main(words.split()) == 0
    assert main(["show", "a.h5"]) == 0
    out = capsys.readouterr().out
    assert next(line.split()[1:] for line in out.splitlines() if line.startswith(" 0 ")) == [
        "≤", "107,791", "≤", "107,791", "unknown",
    ]  # fmt: skip
    assert main(["analyze", "a.h5", "--subnetwork", "--quiet", "--json"]) == 0
    out, err = capsys.readouterr()
    assert "warning: seed 0: train and test accuracy exceed the threshold at the first stored checkpoint" in err
    data = circuits.read_json(out)["subnetwork"]
    assert data["memorization_censored"].values.tolist() == data["generalization_censored"].values.tolist() == [True]
    assert main(["analyze", "a.h5", "--subnetwork", "--quiet"]) == 0
    assert "only checkpoint" in capsys.readouterr().out


# ---- the last 50 checkpoints, of which there may be fewer ----


@pytest.mark.slow
def test_statistics_over_the_last_checkpoints_say_how_many_there_were(tiny_run, grokked_run):
    for run, number, said in ((tiny_run, 5, "last 5 checkpoints (all there are)"), (grokked_run, 50, "last 50 check")):
        found = circuits.analyze(run, "subnetwork")
        assert found["subnetwork"]["late_sparsity"].attrs["of"] == number
        html = page(run, found)
        assert f"size, {said}" in html
    options = circuits.analysis.Options(final="median")
    html = page(tiny_run, circuits.analyze(tiny_run, "subnetwork", options=options), options)
    assert "the checkpoint of median size among the last 5 checkpoints (all there are)" in html


# ---- losses that are rounded to 0 ----


@pytest.fixture(scope="module")
def saturated(tmp_path_factory):
    """Sums mod 3, learned without weight decay until float32 has no smaller loss."""
    config = circuits.preset("modular-31").replace(
        task__p=3, task__train_fraction=0.9, seeds=[0, 1], epochs=800, optimizer__lr=0.04, optimizer__weight_decay=0.0,
        model__widths=[32], checkpoints__every_epochs=80,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("saturated")
    runs = {}
    for dtype in ("float32", "float64"):
        runs[dtype] = circuits.train(config.replace(loss_dtype=dtype), folder / f"{dtype}.h5", progress=False)
    yield runs
    for run in runs.values():
        run.close()


@pytest.mark.slow
def test_a_cross_entropy_of_exactly_0_is_counted_and_the_remedy_named(saturated):
    run = saturated["float32"]
    counts = (run.metrics["train_loss"].values == 0).sum(axis=0)
    assert (counts > 0).all()
    assert zero_losses(run).tolist() == counts.tolist()
    assert loss_remarks(run)[1] == (
        f"seed 1: the training loss rounds to exactly 0 at {counts[1]} of 11 checkpoints: the softmax saturates in "
        "float32, and differences between small losses are lost. Train with --loss-dtype float64: it takes the loss of "
        "the same outputs in double precision."
    )


@pytest.mark.slow
def test_in_float64_the_loss_stays_above_zero_without_a_remark(saturated):
    assert loss_remarks(saturated["float64"]) == []
    assert (saturated["float64"].metrics["train_loss"].values > 0).all()


def test_a_loss_of_0_is_said_by_show_progress_and_page(saturated, capsys):
    run = saturated["float32"]
    said = loss_remarks(run)
    assert main(["show", str(run.path)]) == 0
    out = capsys.readouterr().out
    assert all(line in out for line in said)
    found = circuits.analyze(run, "progress", options=circuits.analysis.Options(checkpoints="-3:"))
    assert found["progress"].attrs["warnings"] == said
    html = page(run, found)
    counts = zero_losses(run)
    assert all(f"the training loss rounds to exactly 0 at {count} of 11 checkpoints" in html for count in counts)


def test_a_hinge_loss_of_0_is_no_rounding(grokked_run):
    assert (grokked_run.metrics["train_loss"] == 0).any()
    assert zero_losses(grokked_run).tolist() == [0, 0]
    assert loss_remarks(grokked_run) == []


@pytest.mark.parametrize("kernel", ["auto", "reference"])
def test_a_loss_in_double_precision_is_taken_on_every_path(kernel, make_config, tmp_path):
    config = make_config(loss_dtype="float64", seeds=[0])
    with circuits.train(config, tmp_path / "a.h5", kernel=kernel, progress=False) as run:
        first = run.metrics["train_loss"].values[0, 0]
        model, data = run.model(0, 0), run.data(0)
        with torch.no_grad():
            outputs = model(torch.from_numpy(data["train_inputs"].values).float()).double().numpy()
    assert first == pytest.approx(np.maximum(0, 1 - outputs * data["train_targets"].values).mean(), rel=1e-14)
    with pytest.raises(circuits.InputError, match="with the loss in the precision of the parameters"):
        circuits.train(config, tmp_path / "b.h5", kernel="fused", progress=False)


def test_a_network_that_was_never_trained_has_neither_phases_nor_a_memorizing_group(tmp_path):
    with circuits.convert.from_construction(circuits.constructions.six_neuron(), tmp_path / "six.h5", n=8) as run:
        assert (run.metrics["train_accuracy"] == 1).all()
        found = circuits.analyze(run, "subnetwork", "faithfulness")
        subnetwork, agreement = found["subnetwork"], found["faithfulness"]
    for name in ("memorization_epoch", "generalization_epoch", "grokking_delay", "memorizing_sparsity", "overlap"):
        assert np.isnan(subnetwork[name]).all()
    assert subnetwork["final_sparsity"] == 6
    assert agreement["agreement"].sel(group="memorizing").isnull().all()
    assert (agreement["agreement"].sel(group="generalizing") == 1).all()
    assert subnetwork.attrs["warnings"] == []
