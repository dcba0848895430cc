"""The config that a preset, a file and changed fields give, as a library call."""

import pytest

import circuits


def test_a_preset_a_file_and_the_defaults_are_where_a_config_starts(tmp_path):
    preset = circuits.preset("merrill-2023")
    (tmp_path / "mine.json").write_text(preset.replace(epochs=7).to_json())
    assert circuits.resolve_config("merrill-2023") == preset
    assert circuits.resolve_config(file=tmp_path / "mine.json") == preset.replace(epochs=7)
    assert circuits.resolve_config().task == preset.replace(task__test_seed=None).task


def test_overrides_are_what_replacing_each_field_gives():
    overrides = {"epochs": 7, "task.k": 4, "model": {"kind": "relu", "width": 5}, "model.width": 3}
    expected = circuits.preset("merrill-2023").replace(epochs=7, task__k=4, model__width=3)
    assert circuits.resolve_config("merrill-2023", overrides=overrides) == expected


def test_a_part_of_a_new_kind_begins_with_its_defaults():
    overrides = {"model.kind": "linear", "optimizer.kind": "adamw", "optimizer.betas": [0.9, 0.98]}
    config = circuits.resolve_config("merrill-2023", overrides=overrides)
    assert config.model == circuits.preset("merrill-2023").replace(model__kind="linear").model
    assert (config.optimizer.kind, config.optimizer.lr, config.optimizer.betas) == ("adamw", 0.001, (0.9, 0.98))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"preset": "merrill-2023", "file": "a.json"}, "Preset 'merrill-2023' and the config file a.json both give"),
        ({"preset": "fuangkawinsombut-2024-widths"}, "has 20 configs: .* Name one, or use preset_configs"),
        ({"preset": "merill-2023"}, r"There is no preset 'merill-2023'\. Did you mean 'merrill-2023'\?"),
        ({"file": "none.json"}, r"none\.json: No such file or directory\. Pass a JSON file"),
        ({"overrides": {"model.widht": 3}}, r"there is no 'model\.widht' in the config\. Did you mean 'width'\?"),
        ({"overrides": {"model.kind": "linaer"}}, "model: there is no model 'linaer'"),
        ({"overrides": {"epochs": 1.5}}, r"^epochs: must be a whole number \(given: 1\.5\)$"),
        ({"overrides": {"model.width": 3, "model": {"kind": "relu"}}}, r"undoes model\.width\. Put model\.width after"),
    ],
)
def test_errors_name_the_field_or_the_preset(arguments, message):
    with pytest.raises(circuits.InputError, match=message):
        circuits.resolve_config(**arguments)
