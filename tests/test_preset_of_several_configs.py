"""A preset of several configs: one command trains them all, and again goes on where it was."""

import json

import pytest

import circuits
from circuits.cli.main import main
from circuits.registry import PRESETS, Entry

NAMES = ("several/narrow", "several/wide")


def several():
    tiny = circuits.preset("merrill-2023").replace(task__n=8, task__k=2, task__n_train=32, batch_size=8, epochs=3)
    return [
        tiny.replace(name=name, model__width=width, seeds=[0, 1]) for name, width in zip(NAMES, (4, 8), strict=True)
    ]


@pytest.fixture(autouse=True)
def registered(monkeypatch, tmp_path):
    monkeypatch.setitem(PRESETS, "several", Entry("Two tiny runs.", "test_preset_of_several_configs:several"))
    monkeypatch.setattr(
        "circuits.registry.load",
        lambda path: several if path == "test_preset_of_several_configs:several" else load(path),
    )
    monkeypatch.chdir(tmp_path)


load = circuits.registry.load


def test_one_command_trains_all_configs_into_one_folder(tmp_path, capsys):
    assert main(["train", "several", "--epochs", "2", "--quiet"]) == 0
    for name, width in zip(NAMES, (4, 8), strict=True):
        with circuits.open(tmp_path / "checkpoints" / f"{name}.h5") as run:
            assert run.is_complete
            assert (run.config.name, run.config.model.width, run.config.epochs) == (name, width, 2)
    assert capsys.readouterr().out.count("Phases, in epochs") == 2


def test_the_command_again_skips_what_is_complete_and_goes_on_with_what_is_not(tmp_path):
    wide = tmp_path / "out" / "wide.h5"
    assert main(["train", "several", "--out", "out", "--quiet"]) == 0
    before = wide.read_bytes()
    (tmp_path / "out" / "narrow.h5").unlink()
    assert main(["train", "several", "--out", "out", "--quiet"]) == 0
    assert wide.read_bytes() == before
    assert circuits.open(tmp_path / "out" / "narrow.h5").is_complete


def test_a_file_of_another_config_is_not_overwritten(tmp_path, capsys):
    assert main(["train", "several", "--out", "out", "--quiet"]) == 0
    assert main(["train", "several", "--out", "out", "--quiet", "--optimizer.lr", "0.2"]) == 2
    assert "was made with another config (optimizer.lr: 0.1 there, 0.2 asked)" in capsys.readouterr().err


def test_a_flag_holds_for_all_configs_even_where_the_first_had_that_value(tmp_path, capsys):
    assert main(["train", "several", "--dry-run", "--model.width", "4"]) == 0
    assert [one["model"]["width"] for one in json.loads(capsys.readouterr().out)] == [4, 4]


def test_resume_trains_the_configs_without_a_run(tmp_path):
    assert main(["train", "several/wide", "--out", "out/wide.h5", "--quiet"]) == 0
    assert main(["train", "several", "--out", "out", "--resume", "--quiet"]) == 0
    assert circuits.open(tmp_path / "out" / "narrow.h5").is_complete


def test_one_config_of_a_preset_is_a_preset_of_its_own(tmp_path):
    assert main(["train", "several/wide", "--quiet"]) == 0
    assert circuits.open(tmp_path / "checkpoints" / "several" / "wide.h5").config == circuits.preset("several/wide")
    assert not (tmp_path / "checkpoints" / "several" / "narrow.h5").exists()


def test_a_dry_run_shows_every_config(tmp_path, capsys):
    assert main(["train", "several", "--dry-run", "--model.width", "5"]) == 0
    captured = capsys.readouterr()
    assert [one["model"]["width"] for one in json.loads(captured.out)] == [5, 5]
    assert captured.err.count("will hold") == 2
    assert not (tmp_path / "checkpoints").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["several", "--out", "one.h5"], "has 2 configs, so --out one.h5 must be a folder"),
        (["several", "--name", "mine"], "has 2 configs, but --name names only one"),
        (["several/middle"], "Preset 'several' has no config 'middle'"),
    ],
)
def test_arguments_that_do_not_fit_several_configs_are_refused(words, said, capsys):
    assert main(["train", *words]) == 2
    assert said in capsys.readouterr().err


def test_the_library_gives_the_configs_of_a_preset_by_name():
    assert list(circuits.preset_configs("several")) == list(NAMES)
    with pytest.raises(circuits.InputError, match="has 2 configs: several/narrow, several/wide"):
        circuits.preset("several")


def test_the_configs_of_a_preset_are_listed_by_name(capsys):
    assert main(["presets", "several"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in NAMES)
