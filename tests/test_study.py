"""What the studies share: verdicts follow from the statements, no long run begins unasked, no part of one is judged."""

import importlib.util
from pathlib import Path

import pytest

import circuits

SOURCE = Path(__file__).parent.parent / "analysis" / "_study.py"


@pytest.fixture
def shared(tmp_path, monkeypatch, make_config):
    """The module, in an empty folder, with one preset of two tiny configs that takes an hour."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["study.py"])
    configs = {f"long/{k}": make_config(name=f"long/{k}", task__k=k) for k in (2, 3)}
    monkeypatch.setattr(circuits, "preset_configs", lambda name: configs)
    monkeypatch.setattr(circuits, "preset_seconds", lambda name: 3600.0)
    spec = importlib.util.spec_from_file_location("_study", SOURCE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def path_of(shared, name):
    return shared.RUNS / f"{name}.h5"


def test_a_run_that_takes_long_is_not_trained_unasked_and_the_plan_says_so(shared, capsys):
    study = shared.Study("mine", ["long"], None)
    assert "Trains 0 s now. With --train, 2.0 h more." in capsys.readouterr().out
    assert study.runs("long") == {}
    study.finish()
    said = capsys.readouterr().out
    assert "long/2: not run. Train it: circuits train long/2\n" in said
    assert not list(Path().glob("**/*.h5"))


def test_with_train_everything_is_trained(shared, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["study.py", "--train"])
    study = shared.Study("mine", ["long"], None)
    assert "Trains 2.0 h now.\n" in capsys.readouterr().out
    assert {name: run.is_complete for name, run in study.runs("long").items()} == {"2": True, "3": True}


def test_a_brief_run_is_trained_unasked(shared, monkeypatch):
    monkeypatch.setattr(circuits, "preset_seconds", lambda name: float(shared.BRIEF))
    assert set(shared.Study("mine", ["long"], None).runs("long")) == {"2", "3"}


def test_only_complete_runs_of_the_very_config_are_judged(shared, capsys):
    configs = circuits.preset_configs("long")
    part = configs["long/2"].replace(checkpoints__to_step=3)
    circuits.train(part, path_of(shared, "long/2"), progress=False).close()
    circuits.train(configs["long/3"], path_of(shared, "long/3"), progress=False).close()
    study = shared.Study("mine", ["long"], None)
    assert set(study.runs("long")) == {"3"}
    study.finish()
    assert "was run with another config. Train it: circuits train long/2 --overwrite" in capsys.readouterr().out


def test_an_unfinished_run_is_named_with_how_to_go_on(shared, monkeypatch, capsys):
    config = circuits.preset_configs("long")["long/2"]
    circuits.train(config, path_of(shared, "long/2"), progress=False).close()
    monkeypatch.setattr(circuits.Run, "is_complete", property(lambda run: False))
    study = shared.Study("mine", ["long"], None)
    study.runs("long")
    study.finish()
    how = f"circuits train --resume --out {path_of(shared, 'long/2')}"
    assert f"long/2: at epoch 4, unfinished. Train it: {how}\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("holds", "verdict"),
    [
        ([True, True], "Fig: reproduced, 2 of 2 statements."),
        ([True, False], "Fig: reproduced in part, 1 of 2 statements. Not: s1."),
        ([False, False], "Fig: not reproduced, 0 of 2 statements. Not: s0; s1."),
        ([True, "missing"], "Fig: reproduced, 1 of 1 statements. 1 cannot be judged yet."),
        (["missing"], "Fig: no run to judge it by."),
        ([None], "Fig: shown only."),
    ],
)
def test_the_verdict_follows_from_the_statements(shared, holds, verdict):
    study = shared.Study("mine", ["long"], None)
    runs = study.runs("long")
    for i, held in enumerate(holds):
        study.claim("Fig", f"s{i}", "yes", (lambda: runs["2"]) if held == "missing" else (lambda h=held: ("here", h)))
    assert study.verdicts() == {"Fig": verdict}


def test_the_page_has_the_statements_and_each_figure_with_its_caption(shared, tiny_run, capsys):
    study = shared.Study("mine", ["long"], None)
    study.claim("Fig 1", "a < b", "yes", lambda: ("1 < 2", True))
    study.show("Fig 1", circuits.figures.loss(tiny_run.metrics), circuits.figures.accuracy(tiny_run.metrics))
    study.finish()
    page = study.page.read_text(encoding="utf-8")
    assert "a &lt; b" in page
    assert "Fig 1: reproduced, 1 of 1 statements." in page
    assert page.count("Plotly.newPlot(") == 2
    assert "Share of right answers" in page


def test_never_is_later_than_any_epoch_and_not_than_never(shared):
    nan = float("nan")
    assert shared.later([nan, nan], [3.0, nan])
    assert not shared.later([nan], [nan])
    assert shared.later([5.0, 9.0], [6.0])
    assert (shared.epochs([nan]), shared.epochs([4.0]), shared.epochs([4.0, nan])) == ("never", "4", "4 (1 of 2 seeds)")
