"""`circuits show` and `circuits report`: what is in a run, and its page."""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

import circuits
from circuits.cli.main import main


@pytest.fixture
def shown(monkeypatch, capsys):
    """The facts that `circuits show` prints, by name, and all that it printed."""

    def run(path):
        assert main(["show", str(path)]) == 0
        out, err = capsys.readouterr()
        assert err == ""
        facts = dict(line.strip().split("  ", 1) for line in out.split("\n\n")[0].splitlines()[1:])
        return {name: fact.strip() for name, fact in facts.items()}, out

    return run


def test_show_says_what_is_in_a_complete_run(shown, grokked_path):
    facts, out = shown(grokked_path)
    assert facts["name"] == "tiny (Merrill et al. 2023, section 2)"
    assert facts["state"] == "complete"
    assert facts["task"].startswith("parity: n 40, n_train 150, n_test 100, k 2, ")
    assert facts["model"] == "relu: init_scale 1.0, width 100"
    assert facts["seeds"] == "0 1"
    assert facts["checkpoints"] == "101 of 101, steps 0 to 3800, epochs 0 to 200"
    assert "numerics" not in facts
    with circuits.open(grokked_path) as run:
        phases = circuits.analysis.phases(run)
    row = next(line.split() for line in out.splitlines() if line.startswith(" 1 "))
    assert row[:3] == [
        "1",
        f"{float(phases['memorization_epoch'][1]):g}",
        f"{float(phases['generalization_epoch'][1]):g}",
    ]


def test_show_says_how_to_resume_an_interrupted_run(shown, make_config, tmp_path, monkeypatch):
    from circuits.checkpoints.run import Run

    path = tmp_path / "run.h5"
    circuits.train(make_config(), path, progress=False).close()
    monkeypatch.setattr(Run, "is_complete", property(lambda _self: False))
    assert shown(path)[0]["state"] == f"interrupted; continue: circuits train --resume --out {path}"


def test_show_names_the_process_that_is_writing(shown, tiny_path, monkeypatch):
    from circuits.checkpoints.run import Run

    monkeypatch.setattr(Run, "writer_pid", property(lambda _self: 11774))
    assert shown(tiny_path)[0]["state"] == "being written by process 11774"


def test_show_needs_a_run(capsys):
    assert main(["show"]) == 2
    assert capsys.readouterr().err == "error: circuits show needs RUN.h5. `circuits show --help` shows its arguments.\n"


@pytest.mark.slow
def test_report_writes_the_page_and_prints_its_path(tiny_path, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(tiny_path, "run.h5")
    assert main(["report", "run.h5", "--quiet"]) == 0
    assert capsys.readouterr().out == "run.html\n"
    assert "<html" in (tmp_path / "run.html").read_text()
    assert main(["report", "run.h5", "--out", "other.html", "--final", "median"]) == 0
    assert capsys.readouterr().out == "other.html\n"


@pytest.mark.slow
def test_the_whole_chain_runs_on_a_tiny_network(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = "--task.n 8 --task.k 2 --task.n-train 32 --model.width 16 --epochs 3 --seeds 0 1 --quiet --out a.h5"
    assert main(["train", *words.split(), "--dry-run"]) == 0
    (tmp_path / "a.json").write_text(capsys.readouterr().out)
    assert main(["train", "--config", "a.json", "--out", "a.h5"]) == 0
    assert main(["train", "--config", "a.json", "--out", "a.h5", "--resume"]) == 0
    assert main(["show", "a.h5"]) == 0
    capsys.readouterr()
    assert main(["analyze", "a.h5", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["run"]["config"] == json.loads((tmp_path / "a.json").read_text())
    assert main(["report", "a.h5"]) == 0
    assert {path.name for path in tmp_path.iterdir()} >= {"a.h5", "a.json", "a.html", "a.analysis.nc"}


@pytest.mark.slow
def test_follow_says_what_is_new_until_the_run_is_complete(tmp_path, make_config):
    config = tmp_path / "config.json"
    config.write_text(make_config(epochs=3000).to_json())
    code = "import sys; from circuits.cli.main import main; sys.exit(main(sys.argv[1:]))"
    out = str(tmp_path / "live.h5")
    train = subprocess.Popen([sys.executable, "-c", code, "train", "--config", str(config), "--out", out, "--quiet"])
    try:
        while not Path(out).exists():
            assert train.poll() is None
            time.sleep(0.002)
        shown = subprocess.run(
            [sys.executable, "-c", code, "show", out, "--follow"],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout.splitlines()
        assert train.wait() == 0
    finally:
        train.kill()
        train.wait()
    seen = [int(line.split()[0]) for line in shown if " of 3001 checkpoints, epoch" in line]
    assert seen == sorted(set(seen))
    assert seen[-1] == 3001
    assert shown[-1] == "complete"
