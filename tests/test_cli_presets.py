"""`circuits presets`: a list for people, JSON for `--config`."""

import pytest

import circuits
from circuits.cli.main import main
from circuits.config import read_config
from circuits.registry import PRESETS


def test_the_list_has_every_preset_and_what_it_is(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    assert main(["presets"]) == 0
    out = capsys.readouterr().out
    assert all(name in out and entry.help in out for name, entry in PRESETS.items())
    assert all(line == line.rstrip() for line in out.splitlines())


@pytest.mark.slow
def test_a_printed_preset_reads_back_as_the_same_config(capsys, tmp_path):
    for preset in PRESETS:
        name, config = next(iter(circuits.preset_configs(preset).items()))
        assert main(["presets", name]) == 0
        (tmp_path / "preset.json").write_text(capsys.readouterr().out)
        assert read_config(tmp_path / "preset.json") == config, name


def test_an_unknown_preset_is_refused_with_the_nearest(capsys):
    assert main(["presets", "merril-2023"]) == 2
    assert "There is no preset 'merril-2023'. Did you mean 'merrill-2023'?" in capsys.readouterr().err
