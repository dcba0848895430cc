import json
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import circuits
from circuits.config import assign, parse, read_config


@given(
    n=st.integers(1, 60), n_train=st.integers(1, 2000), lr=st.floats(1e-6, 10), weight_decay=st.floats(0, 10),
    seeds=st.lists(st.integers(0, 2**40), min_size=1, max_size=6, unique=True), epochs=st.integers(0, 500),
)  # fmt: skip
@settings(max_examples=60)
def test_any_values_round_trip_through_json_exactly(n, n_train, lr, weight_decay, seeds, epochs):
    config = circuits.preset("merrill-2023").replace(
        task__n=n, task__k=1, task__n_train=n_train, optimizer__lr=lr, optimizer__weight_decay=weight_decay,
        seeds=seeds, epochs=epochs,
    )  # fmt: skip
    assert parse(json.loads(config.to_json())) == config


def test_the_preset_is_the_papers_setup():
    config = circuits.preset("merrill-2023")
    assert (config.task.n, config.task.k, config.task.n_train, config.task.n_test) == (40, 3, 1000, 100)
    assert (config.model.width, config.optimizer.lr, config.optimizer.weight_decay) == (1000, 0.1, 0.01)
    assert (config.batch_size, config.epochs, config.seeds) == (32, 300, (0, 1, 2, 3, 4))
    assert (config.steps_per_epoch, config.total_steps, len(config.checkpoint_steps())) == (32, 9600, 301)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"task__k": 50}, "config: task: k = 50 relevant bits do not fit in n = 40 inputs"),
        ({"task__support": [1, 1, 2]}, r"support \[1, 1, 2\] must name k = 3 different bits"),
        ({"task__support": [1, 2, 40]}, r"support \[1, 2, 40\] must lie in 0..39"),
        ({"seeds": [1, 1]}, r"seeds \[1, 1\] repeats a seed"),
        ({"seeds": []}, "seeds"),
        ({"epochs": -1}, r"epochs: must be at least 0 \(given: -1\)"),
        ({"task__kind": "pariti"}, "task 'pariti'. Did you mean 'parity'?"),
        ({"task__q": 3}, "there is no field 'task.q'"),
        ({"nonsense": 3}, "there is no field 'nonsense'"),
        ({"epoch": 3}, r"there is no field 'epoch'\. Did you mean 'epochs'\?"),
        ({"model__widht": 3}, r"there is no field 'model\.widht'\. Did you mean 'width'\?"),
        ({"checkpoints__every_epoch": 3}, r"Did you mean 'every_epochs'\?"),
        ({"model": {"kind": ["relu"]}}, r"model needs a 'kind'\. There are: "),
        ({"optimizer__lr": "fast"}, "optimizer.lr: must be a number \\(given: 'fast'\\)"),
        ({"optimizer__lr": float("inf")}, "optimizer.lr"),
        ({"checkpoints__at_steps": [10**9]}, "checkpoints.at_steps has 1000000000, but the run ends at step 9600"),
        ({"task__flip_fraction": 1.5}, "task.flip_fraction"),
        ({"name": "../../x"}, "name: must be a relative path"),
        ({"name": "/abs/x"}, "name: must be a relative path"),
        ({"name": "a/../x"}, "name: must be a relative path"),
        ({"name": ""}, "name: must be a relative path"),
        ({"name": "x" * 201}, "name: each part of the name, split at slashes, must have at most 200 bytes"),
        ({"name": "a\x1b[31m"}, r"name: must not contain control characters.*'a\\x1b"),
        ({"source": "a\nb"}, "source: must not contain control characters"),
        ({"name": "na\udcc3\udcafve"}, "name: the current locale cannot read some letters. Set a UTF-8 locale"),
    ],
)
def test_a_bad_field_gets_one_line_that_names_it(change, message):
    with pytest.raises(circuits.InputError, match=message) as caught:
        circuits.preset("merrill-2023").replace(**change)
    assert "\n" not in str(caught.value)
    assert "pydantic" not in str(caught.value)


def test_a_config_does_not_change_after_validation():
    with pytest.raises(Exception, match="frozen"):
        circuits.preset("merrill-2023").epochs = 3


def test_a_new_kind_drops_the_fields_of_the_old_one():
    data = circuits.preset("merrill-2023").model_dump(mode="json")
    assign(data, "model.kind", "linear")
    assert parse(data).model.kind == "linear"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON"),
        ("[]", "must be an object"),
        ("{}", "'task' is missing"),
        ('{"task": {}, "model": {"kind": "relu"}}', "needs a 'kind'"),
    ],
)
def test_a_bad_config_file_is_named_in_one_line(tmp_path, text, message):
    path = tmp_path / "c.json"
    path.write_text(text)
    with pytest.raises(circuits.InputError, match=message) as caught:
        read_config(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_config_file_is_named(tmp_path):
    with pytest.raises(circuits.InputError, match="No such file"):
        read_config(tmp_path / "none.json")


def test_checkpoints_include_the_initialization_and_the_last_step():
    config = circuits.preset("merrill-2023").replace(
        epochs=5, checkpoints={"every_epochs": None, "every_steps": 60, "at_steps": [7]}
    )
    assert config.checkpoint_steps() == [0, 7, 60, 120, 160]


def test_importing_circuits_and_its_configs_loads_neither_torch_nor_transformer_lens_nor_numpy():
    code = "import sys, circuits.config; print([m for m in ('torch','transformer_lens','numpy') if m in sys.modules])"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "[]"


def test_every_public_name_loads():
    for name in circuits.__all__:
        assert getattr(circuits, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        circuits.trian  # noqa: B018
