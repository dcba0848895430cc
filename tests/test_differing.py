"""Labels of several configs: the fields in which they differ, in few words, and nothing else."""

import pytest

import circuits
from circuits.analysis.comparison.differing import differing_fields, differing_values, readable
from circuits.config import parse

LSTM = {
    "name": "lab", "task": {"kind": "modular", "p": 31, "encoding": "tokens"}, "model": {"kind": "lstm"},
    "optimizer": {"kind": "adamw", "lr": 0.01}, "loss": "cross_entropy",
}  # fmt: skip


def variants(**values):
    """Configs that differ in one field."""
    ((field, wanted),) = values.items()
    return [circuits.preset("merrill-2023").replace(**{field: value}) for value in wanted]


@pytest.mark.parametrize(
    ("field", "values", "labels"),
    [
        ("task__k", [2, 3, 4], ["task.k 2", "task.k 3", "task.k 4"]),
        ("optimizer__weight_decay", [0.0, 0.001], ["optimizer.weight_decay 0", "optimizer.weight_decay 0.001"]),
        ("batch_size", [None, 32], ["batch_size none", "batch_size 32"]),
        ("loss", ["hinge", "mse"], ["loss hinge", "loss mse"]),
        ("task__support", [[0, 1, 2], [3, 1, 2]], ["task.support 0, 1, 2", "task.support 3, 1, 2"]),
        ("epochs", [10, 20], ["epochs 10", "epochs 20"]),
    ],
)
def test_a_label_is_the_field_and_its_value(field, values, labels):
    assert differing_fields(variants(**{field: values})) == labels


def test_what_a_run_is_called_how_long_it_takes_and_what_is_kept_is_not_named_beside_another_difference():
    one = circuits.preset("merrill-2023")
    other = one.replace(
        name="x", source="y", epochs=7, seeds=[9], checkpoints__every_epochs=5, metrics=["parameter_norm"], task__n=50
    )
    assert differing_fields([one, other]) == ["task.n 40", "task.n 50"]


def test_two_fields_are_both_named():
    one = circuits.preset("merrill-2023")
    labels = differing_fields([one, one.replace(task__n=30, optimizer__weight_decay=0.1)])
    assert labels == ["task.n 40, optimizer.weight_decay 0.01", "task.n 30, optimizer.weight_decay 0.1"]


def test_of_more_fields_the_configs_go_by_their_names():
    one = circuits.preset("merrill-2023")
    other = one.replace(name="narrow", task__n=30, optimizer__weight_decay=0.1, model__width=10)
    assert differing_fields([one, other]) == ["merrill-2023", "narrow"]


def test_another_kind_is_one_difference():
    lstm = parse(LSTM)
    rnn = lstm.replace(model__kind="rnn")
    assert differing_values([lstm, rnn]) == {"model.kind": ["lstm", "rnn"]}


def test_configs_of_one_kind_that_differ_within_it_are_told_apart_beside_other_kinds():
    adamw = parse(LSTM)
    weak = adamw.replace(optimizer__weight_decay=0.5)
    sgd = adamw.replace(optimizer__kind="sgd")
    assert differing_fields([adamw, weak, sgd]) == [
        "optimizer.kind adamw, optimizer.weight_decay 0.01",
        "optimizer.kind adamw, optimizer.weight_decay 0.5",
        "optimizer.kind sgd, optimizer.weight_decay 0.01",
    ]


def test_a_field_that_only_one_kind_has_is_empty_for_the_other():
    square = parse(LSTM | {"model": {"kind": "mlp"}, "task": {"kind": "modular", "p": 31}})
    narrow = square.replace(model__widths=[16])
    tokens = parse(LSTM).replace(task__p=31)
    found = differing_values([square, narrow, tokens])
    assert found["model.widths"] == ["128", "16", ""]


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ([], "none"),
        ([{"value": 0.0, "epoch": 60}], "0 from epoch 60"),
        ([{"value": 0.02, "step": 5000}], "0.02 from step 5000"),
        ([{"value": 0.1, "train_accuracy": 0.98}], "0.1 once train_accuracy ≥ 0.98"),
        (
            [{"value": 0.0, "epoch": 1}, {"value": 1.0, "test_accuracy": 1.0, "delay_epochs": 100}],
            "0 from epoch 1, then 1 100 epochs after test_accuracy ≥ 1",
        ),
    ],
)
def test_changes_of_weight_decay_are_short(changes, text):
    config = circuits.preset("merrill-2023").replace(weight_decay_changes=changes)
    assert readable(config.model_dump(mode="json")["weight_decay_changes"]) == text


def test_a_part_that_one_config_lacks_is_one_value():
    one = circuits.preset("merrill-2023")
    labels = differing_fields([one, one.replace(stop={"test_accuracy": 0.9})])
    assert labels == ["stop none", "stop test_accuracy 0.9, checkpoints 1"]


def test_a_single_config_differs_from_nothing():
    one = circuits.preset("merrill-2023")
    assert differing_values([one]) == {}
    assert differing_fields([one]) == ["merrill-2023"]
