"""`circuits train`: where the config comes from, what flags change, what is refused, what is said at the end."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import circuits
from circuits.cli.main import main
from circuits.cli.train import split_preset
from circuits.config import read_config

TINY_NETWORKS = ["--task.n", "8", "--task.k", "2", "--task.n-train", "32", "--model.width", "16", "--seeds", "0", "1"]
TINY = [*TINY_NETWORKS, "--epochs", "3"]


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def planned(capsys):
    """The config and the remark that `--dry-run` prints for these words."""

    def run(*words):
        capsys.readouterr()
        assert main(["train", *words, "--dry-run"]) == 0
        out, err = capsys.readouterr()
        return circuits.Config.model_validate(json.loads(out)), err

    return run


@pytest.fixture
def refused(capsys):
    """The one line that refuses these words."""

    def run(*words):
        capsys.readouterr()
        assert main(["train", *words]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.count("\n") == 1
        return err

    return run


@pytest.mark.parametrize(
    "words",
    [
        "merrill-2023 --seeds 0 1 2 --quiet",
        "--seeds 0 1 2 merrill-2023 --quiet",
        "--quiet merrill-2023 --seeds 0 1 2",
        "--seeds 0 1 2 --quiet merrill-2023",
        "--seeds=0 1 2 merrill-2023 --quiet",
    ],
)
def test_the_preset_may_stand_anywhere(words, planned):
    config, _ = planned(*words.split())
    assert config == circuits.preset("merrill-2023").replace(seeds=[0, 1, 2])


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("--out merrill-2023", None),
        ("--name=a merrill-2023", "merrill-2023"),
        ("--optimizer.lr -1 merrill-2023", "merrill-2023"),
        ("--dry_run merrill-2023 --config a", "merrill-2023"),
        ("--set a=1 merrill-2023", "merrill-2023"),
        ("", None),
    ],
)
def test_the_value_of_a_flag_is_no_preset(words, expected):
    name, others, _ = split_preset(words.split())
    assert name == expected
    assert others == [word for word in words.split() if word != expected]


def test_two_presets_are_refused(refused):
    assert "takes one preset, but was given 'merrill-2023' and 'b'." in refused("merrill-2023", "b", "--quiet")


def test_an_unknown_preset_is_refused_with_the_nearest(refused):
    assert refused("merrill", "--epochs", "3").startswith(
        "error: There is no preset 'merrill'. Did you mean 'merrill-2023'?"
    )


def test_without_a_preset_the_defaults_are_trained(planned):
    config, remark = planned(
        "--task.n", "40", "--task.k", "3", "--model.width", "1000", "--optimizer.weight-decay", "0.01"
    )
    assert (config.name, config.task.kind, config.model.kind) == ("run", "parity", "relu")
    assert remark.startswith("checkpoints/run.h5 will hold 301 checkpoints of 5 seeds, 253 MB.")


def test_the_dry_run_prints_a_config_that_reads_back_exactly(planned, tmp_path):
    config, _ = planned("merrill-2023", "--optimizer.lr", "0.30000000000000004", "--task.support", "3", "5", "9")
    (tmp_path / "mine.json").write_text(config.to_json())
    assert read_config("mine.json") == config
    assert planned("--config", "mine.json")[0] == config


def test_the_dry_run_says_how_many_bytes_and_writes_nothing(planned, tmp_path):
    _, remark = planned(*TINY)
    assert re.fullmatch(r"checkpoints/run\.h5 will hold 4 checkpoints of 2 seeds, \d+(\.\d+)? kB\.\n", remark)
    assert list(tmp_path.iterdir()) == []


def test_flags_and_set_win_over_the_preset(planned):
    config, _ = planned("merrill-2023", "--epochs", "7", "--set", "task.k=4", "--set", "task.n=20")
    assert (config.epochs, config.task.k, config.task.n, config.batch_size) == (7, 4, 20, 32)


def test_a_flag_wins_over_a_whole_part_that_is_set(planned):
    config, _ = planned("merrill-2023", "--model.width", "7", "--set", 'model={"kind": "relu", "width": 5}')
    assert config.model.width == 7


@pytest.mark.parametrize(
    "words",
    [
        "--set epochs=5 --epochs 5",
        "--seeds 0 1 --set seeds=[0,1]",
        "--set batch_size=null --batch-size None",
        "--set optimizer.lr=1e-3 --optimizer.lr .001",
        "--set task.test-unseen=true --task.test-unseen True",
        "--set epochs=5 --model.width 5",
    ],
)
def test_set_and_a_flag_may_say_the_same(words, planned):
    assert planned("merrill-2023", *words.split())[0].name == "merrill-2023"


def test_set_takes_json_and_bare_words(planned):
    config, _ = planned("--set", "task.support=[3,5,9]", "--set", 'name="a b"', "--set", "dtype=float64")
    assert (config.task.support, config.name, config.dtype) == ((3, 5, 9), "a b", "float64")


@pytest.mark.parametrize("kind", ["model.kind=linear", 'model.kind="linear"'])
def test_set_changes_a_kind_and_the_flags_follow_it(kind, planned, refused):
    assert planned("merrill-2023", "--set", kind)[0].model.kind == "linear"
    assert "has no option --model.width" in refused("merrill-2023", "--set", kind, "--model.width", "3")


def test_every_field_of_a_preset_can_be_set(planned):
    def leaves(data, prefix=""):
        for key, value in data.items():
            yield from leaves(value, f"{prefix}{key}.") if isinstance(value, dict) else [(prefix + key, value)]

    start = circuits.preset("merrill-2023")
    words = [f"{key}={json.dumps(value)}" for key, value in leaves(start.model_dump(mode="json"))]
    assert planned(*[word for one in words for word in ("--set", one)])[0] == start


@pytest.mark.parametrize(
    "words",
    [
        ("model.width=3", "model.kind=linear"),
        ("model.width=3", 'model={"kind":"relu","width":5}'),
        ("model.kind=linear", 'model={"kind":"relu","width":5}'),
        ("task.support=[0,1,2]", "epochs=3", "task.kind=modular"),
    ],
)
def test_a_set_that_undoes_one_before_it_is_refused(words, refused):
    first, last = (word.partition("=")[0] for word in (words[0], words[-1]))
    message = refused("merrill-2023", *[word for one in words for word in ("--set", one)])
    assert message.startswith(f"error: --set: {last} undoes {first}. Put {first} after {last}. If")


def test_a_set_that_changes_or_repeats_what_was_set_before_is_not_refused(planned):
    words = ['model={"kind":"relu","width":5}', "model.width=3", "model.kind=relu"]
    assert planned("merrill-2023", *[word for one in words for word in ("--set", one)])[0].model.width == 3
    assert planned("merrill-2023", "--set", "optimizer.kind=sgd")[0] == circuits.preset("merrill-2023")


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (1, 3, 0, 2)])
def test_kinds_and_fields_are_set_in_any_order(planned, order):
    words = ["task.kind=modular", "model.kind=embedded_mlp", "loss=cross_entropy", "optimizer.kind=adam"]
    config = planned(*[word for i in order for word in ("--set", words[i])], "--set", "task.encoding=tokens")[0]
    assert (config.task.kind, config.model.kind, config.loss) == ("modular", "embedded_mlp", "cross_entropy")
    assert (config.optimizer.kind, config.optimizer.lr, config.task.p) == ("adam", 0.001, 97)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--epoch 3", "circuits train has no option --epoch. Did you mean --epochs?"),
        ("--epochs x", "--epochs takes INT, not 'x'."),
        ("--seeds", "--seeds: needs 1 or more values"),
        ("--seeds 0 -1", "--seeds: must be at least 0 (given: -1)"),
        ("--seeds 0 0", "seeds [0, 0] repeats a seed; list each seed once"),
        ("--task.k 0", "--task.k: must be at least 1 (given: 0)"),
        ("--task.k 50", "task: k = 50 relevant bits do not fit in n = 40 inputs"),
        ("--device gpu", "--device cannot be 'gpu'. Did you mean 'cpu'? There are: auto, cpu, cuda, mps."),
        ("--task.test-unseen maybe", "--task.test-unseen cannot be 'maybe'. Write true or false."),
        (
            "--task.kind modular",
            "--task.kind cannot be a flag: the other fields of task depend on it. Use --set task.kind=NAME.",
        ),
        ("--set task.k", "--set task.k has no value. Write --set KEY=JSON"),
        ("--set task.kk=3", "--set: there is no 'task.kk' in the config. Did you mean 'k'?"),
        ("--set epochs.x=3", "--set: there is no 'epochs.x' in the config. 'epochs' has no fields."),
        ("--set epochs=3.5", "--set: epochs: must be a whole number (given: 3.5)"),
        ("--set loss=l2", "--set: loss: must be one of 'hinge', 'cross_entropy', 'mse' or 'other' (given: 'l2')"),
        (
            "--set model.kind=linaer",
            "--set: model: there is no model 'linaer'. Did you mean 'linear'? There are: ",
        ),
        (
            "--config none.json",
            "none.json: No such file or directory. Pass a JSON file, as `circuits presets NAME` prints",
        ),
        (
            "--config a.json merrill-2023",
            "Preset 'merrill-2023' and --config a.json both give a config. Pass only one.",
        ),
        ("--resume --overwrite", "--resume continues a run, --overwrite replaces it. Pass only one of them."),
        ("--resume", "checkpoints/run.h5 does not exist."),
    ],
)
def test_a_bad_command_line_gets_one_line(words, message, refused):
    assert refused(*words.split()).startswith(f"error: {message}")


def test_a_bad_config_file_is_named(refused, tmp_path):
    (tmp_path / "bad.json").write_text('{"task": {"kind": "parity", "n": 4, "k": 9}, "model": {"kind": "relu"}}')
    assert refused("--config", "bad.json") == "error: bad.json: task: k = 9 relevant bits do not fit in n = 4 inputs\n"


def test_help_shows_the_presets_values_as_defaults(capsys):
    assert main(["train", "merrill-2023", "--seeds", "7", "--help"]) == 0
    out = capsys.readouterr().out
    assert "2001" in out
    assert "--optimizer.weight-decay" in out


def test_training_writes_the_run_and_says_what_to_do_next(capsys, tmp_path):
    assert main(["train", *TINY, "--out", "a/tiny.h5", "--quiet"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("a/tiny.h5: 4 checkpoints of 2 seeds, ")
    assert "seed   memorized   generalized   delay" in out
    warning, last = err.splitlines()
    assert warning.startswith("warning: ")
    assert "of the test inputs of seeds 0, 1 are in the training set" in warning
    assert last == "Next: circuits analyze a/tiny.h5, or circuits report a/tiny.h5 for a page with every figure."
    with circuits.open(tmp_path / "a" / "tiny.h5") as run:
        assert run.is_complete
        assert run.seeds == (0, 1)


def test_the_run_goes_to_the_folder_checkpoints_under_its_name(tmp_path):
    assert main(["train", *TINY, "--name", "mine"]) == 0
    assert (tmp_path / "checkpoints" / "mine.h5").exists()


@pytest.mark.slow
def test_an_existing_run_is_refused_unless_overwritten(refused, planned, tmp_path):
    assert main(["train", *TINY, "--out", "a.h5"]) == 0
    assert refused(*TINY, "--out", "a.h5").startswith("error: a.h5 exists. Pass --resume to continue it, --overwrite")
    assert "It exists: pass --resume, --overwrite, or another --out." in planned(*TINY, "--out", "a.h5")[1]
    assert main(["train", *TINY_NETWORKS, "--epochs", "1", "--out", "a.h5", "--overwrite"]) == 0
    with circuits.open("a.h5") as run:
        assert run.config.epochs == 1


@pytest.mark.slow
def test_resume_takes_its_config_from_the_file_and_more_epochs_extend_it(capsys):
    assert main(["train", *TINY, "--out", "a.h5"]) == 0
    assert main(["train", "--resume", "--out", "a.h5"]) == 0
    assert main(["train", "--resume", "--out", "a.h5", "--epochs", "5", "--allow-different-numerics"]) == 0
    with circuits.open("a.h5") as run:
        assert run.steps.tolist() == [0, 1, 2, 3, 4, 5]
        assert run.config.model.width == 16


@pytest.mark.slow
def test_resume_refuses_everything_but_more_epochs(refused):
    assert main(["train", *TINY, "--out", "a.h5"]) == 0
    assert "a.h5 was made with another config (task.k: 2 there, 3 asked)" in refused(
        "--resume", "--out", "a.h5", "--task.k", "3"
    )
    assert "cannot shorten it" in refused("--resume", "--out", "a.h5", "--epochs", "1")
    assert "a.h5 holds a run of 'run', not of 'merrill-2023'. Leave the preset out" in refused(
        "merrill-2023", "--resume", "--out", "a.h5"
    )


def test_a_resumed_preset_is_looked_for_under_its_name(refused):
    assert refused("merrill-2023", "--resume").startswith("error: checkpoints/merrill-2023.h5 does not exist.")


def test_a_collapsed_and_a_diverged_seed_are_said(capsys):
    assert main(["train", *TINY, "--out", "a.h5", "--optimizer.weight-decay", "0", "--optimizer.lr", "1e38"]) == 0
    out = capsys.readouterr().out
    assert "collapsed" in out or "diverged" in out


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="no SIGTERM on Windows")
def test_a_stopped_training_exits_130_and_says_how_to_resume(tmp_path):
    program = "import sys; from circuits.cli.main import main; sys.exit(main())"
    words = [
        "train",
        *TINY_NETWORKS,
        "--epochs",
        "1000000",
        "--checkpoints.every-epochs",
        "1000",
        "--out",
        str(tmp_path / "a.h5"),
    ]
    process = subprocess.Popen(
        [sys.executable, "-c", program, *words], cwd=Path(__file__).parents[1], stderr=subprocess.PIPE, text=True
    )
    while not _has_checkpoints(tmp_path / "a.h5"):
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert f"checkpoints are saved. Continue: circuits train --resume --out {tmp_path / 'a.h5'}" in err.splitlines()[-1]


def _has_checkpoints(path) -> bool:
    if not path.exists():
        return False
    with circuits.open(path) as run:
        return run.n_checkpoints > 1
