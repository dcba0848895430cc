"""Learning curves of one run: what commuting solves, marked examples, and the weight decay where it changes."""

import numpy as np
import pytest

import circuits
from circuits import figures
from circuits.figures import generic, learning
from circuits.figures.drawing.phases import with_phases

MODULAR = {
    "task": {"kind": "modular", "p": 7}, "model": {"kind": "mlp", "widths": [4]}, "optimizer": {"kind": "adamw"},
    "loss": "cross_entropy", "batch_size": None, "epochs": 3, "seeds": [0, 1],
}  # fmt: skip


@pytest.fixture(scope="module")
def modular_run(tmp_path_factory):
    from circuits.config import parse

    return circuits.train(parse(MODULAR), tmp_path_factory.mktemp("learning") / "modular.h5", progress=False)


@pytest.fixture(scope="module")
def flipped_run(tmp_path_factory):
    from conftest import tiny

    changes = [{"epoch": 2, "value": 0.1}]
    config = tiny(task__flip_fraction=0.2, weight_decay_changes=changes, metrics=["parameter_norm"])
    return circuits.train(config, tmp_path_factory.mktemp("learning") / "flipped.h5", progress=False)


def trace(figure, name):
    (found,) = [one for one in figure.data if one.name == name]
    return found


def test_the_commuted_share_is_that_of_the_task_and_is_drawn_across(modular_run):
    share = circuits.analysis.commuted_share(modular_run)
    task = modular_run.config.task
    assert share.sel(seed=[0, 1]).values.tolist() == [task.commuted_share(0), task.commuted_share(1)]
    figure = learning.figures(modular_run, modular_run.metrics)[0]
    across = [shape for shape in figure.layout.shapes if shape.xref == "x domain"]
    assert [shape.y0 for shape in across] == [pytest.approx(float(share.mean()))]
    assert f"by commuting: {float(share.mean()):.2f}" in [note.text for note in figure.layout.annotations]


def test_a_share_of_zero_is_not_drawn(modular_run):
    metrics = modular_run.metrics.assign(commuted_share=("seed", [0.0, 0.0]))
    assert not figures.accuracy(metrics).layout.shapes


def test_parity_has_nothing_to_commute(tiny_run):
    with pytest.raises(circuits.InputError, match="task 'parity' has no operands to commute"):
        circuits.analysis.commuted_share(tiny_run)


def test_accuracy_on_flipped_and_clean_examples_is_drawn_where_there_are_flips(flipped_run, tiny_run):
    titles = [figure.layout.title.text for figure in learning.figures(flipped_run, flipped_run.metrics)]
    assert titles == ["Accuracy", "Accuracy on clean and flipped examples", "Loss", "Parameter norm"]
    drawn = figures.marked_accuracy(flipped_run.metrics)
    for mark in ("flipped", "clean"):
        expected = flipped_run.metrics[f"train_accuracy_{mark}"].mean("seed").values[1:]
        np.testing.assert_allclose(trace(drawn, f"train, {mark}").y, expected, rtol=1e-6)
    with pytest.raises(circuits.InputError, match="no accuracy on a group of training examples"):
        figures.marked_accuracy(tiny_run.metrics)


@pytest.mark.slow
def test_every_curve_of_a_run_has_the_weight_decay_where_it_changes(flipped_run):
    measured = circuits.analyze(flipped_run)
    drawn = [
        *learning.figures(flipped_run, flipped_run.metrics),
        *generic.figures(flipped_run, with_phases(flipped_run, measured["subnetwork"])),
    ]
    drawn.append(figures.agreement(with_phases(flipped_run, measured["faithfulness"])))
    stored = flipped_run.metrics["weight_decay"].values[1:, 0]
    assert set(stored.tolist()) == {0.01, 0.1}
    for figure in drawn:
        line = trace(figure, "weight decay")
        np.testing.assert_allclose(line.y, stored, rtol=1e-6)
        assert (line.yaxis, line.line.dash, line.line.shape) == ("y2", "dash", "hv")
        assert list(figure.layout.yaxis2.tickvals) == [0.01, 0.1]


def test_a_run_whose_weight_decay_stays_has_no_such_line(tiny_run):
    for figure in learning.figures(tiny_run, tiny_run.metrics):
        assert "weight decay" not in [one.name for one in figure.data]


def test_the_weight_decay_is_not_taken_for_a_result(flipped_run):
    values = flipped_run.metrics[["train_loss"]]
    assert [figure.layout.title.text for figure in generic.figures(flipped_run, values)] == ["Train loss"]


def test_where_seeds_change_at_different_moments_the_line_has_only_values_that_were_in_force(flipped_run):
    values = flipped_run.metrics["weight_decay"].copy(data=[[1.0, 1, 1], [1, 1, 0], [1, 0, 0], [0, 0, 0], [0, 0, 0]])
    figure = figures.loss(flipped_run.metrics.isel(seed=[0, 1]).assign(weight_decay=values.isel(seed=[0, 1])))
    assert trace(figure, "weight decay").y.tolist() == [1, 0, 0, 0]
    figure = figures.loss(flipped_run.metrics.assign(weight_decay=values))
    assert trace(figure, "weight decay").y.tolist() == [1, 0, 0, 0]
