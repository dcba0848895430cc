"""Errors of the library name Python arguments; the command line prints them as flags."""

import ast
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import circuits
from circuits.cli.main import main
from circuits.cli.python_words import NAMES, in_flags

PACKAGE = Path(circuits.__file__).parent
COMMANDS_ONLY = {  # remarks that commands and pages print, help of flags, and errors of `circuits convert weights`
    "analysis/networks/remarks.py", "analysis/networks/unseen.py", "analysis/subnetworks/subnetwork.py", "registry.py",
    "convert/agreement.py", "convert/containers.py", "convert/layouts.py", "convert/published.py", "convert/splits.py",
}  # fmt: skip
WHOLE_COMMAND = re.compile(r"(circuits [a-z][a-z-]* |cp --sparse).*")
FLAG = re.compile(r"(^|[^\w-])--[a-z]")


def texts(path):
    """Every text of a module with its line, except docstrings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    parts = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield node.lineno, "".join(p.value if isinstance(p, ast.Constant) else "{}" for p in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings | parts:
            yield node.lineno, node.value


def test_the_library_speaks_of_arguments_not_of_flags():
    found = [
        f"{path.relative_to(PACKAGE)}:{line}: {text}"
        for path in sorted(PACKAGE.rglob("*.py"))
        if path.parent.name != "cli" and path.relative_to(PACKAGE).as_posix() not in COMMANDS_ONLY
        for line, text in texts(path)
        if FLAG.search(WHOLE_COMMAND.sub("", text))
    ]
    assert found == []


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        (
            "a.h5 exists. Pass resume=True to continue it, overwrite=True to replace it, or another path.",
            "a.h5 exists. Pass --resume to continue it, --overwrite to replace it, or another --out.",
        ),
        (
            "Pass norm='incoming', or layer='hidden.1.hook_post'.",
            "Pass --norm incoming, or --layer hidden.1.hook_post.",
        ),
        ("modular_addition needs frequencies: pass frequencies=[1, 5, 9].", None),
        ("5 checkpoints, so checkpoints='-50:' selects none.", "5 checkpoints, so --checkpoints -50: selects none."),
        ("Pass time_limit=2.5.", "Pass --time-limit 2.5."),
        ("Pass time_limit=240.", "Pass --time-limit 240."),
        ("(checkpoints.every_epochs=10).", "(--checkpoints.every-epochs 10)."),
        ("a file (task.file='data.npz'), or", "a file (--task.file data.npz), or"),
        ("Leave 'walsh' out.", "Leave --walsh out."),
        (
            "Preset 'p' and the config file a.json both give a config.",
            "Preset 'p' and --config a.json both give a config.",
        ),
    ],
)
def test_arguments_are_printed_as_flags(text, printed):
    assert in_flags(text) == (printed or text.replace("frequencies=[1, 5, 9]", "--frequencies 1 5 9"))


@pytest.mark.parametrize(
    "text",
    [
        "Stopped. Continue: circuits train --resume --out runs/k=3/a.h5",
        "runs/epochs=5/a.h5 does not exist.",
        "runs/epochs=5 does not exist.",
        "'epochs=5' is no path.",
        '{"model": {"k": 3, "a": "p=3 k=4"}} is not JSON',
        "has met its stop rule (Stop(test_accuracy=0.99, epochs=5)): more epochs would change nothing.",
        "Continue it in its own loop: circuits.record(…, resume=True).",
        "--set epochs=3 and --epochs 5 give the same field different values.",
        "Record it with data={'train': (inputs, targets)}, or pass evaluate_every=0.",
        "k = 50 relevant bits do not fit in n = 40 inputs",
        "k=3x and top-k=3 and K=3 stay",
    ],
)
def test_file_names_json_calls_and_commands_stay(text):
    assert in_flags(text) == text


@given(st.text(st.characters(codec="utf-8", exclude_characters="=")))
def test_a_text_without_arguments_stays(text):
    if not re.search(r"another path|and the config file|Leave '", text):
        assert in_flags(text) == text


@given(st.sampled_from(NAMES), st.integers() | st.from_regex(r"[\w.:+-]+", fullmatch=True) | st.just(True))
def test_each_argument_becomes_its_flag(name, value):
    flag = f"--{name.replace('_', '-')}" + ("" if value is True else f" {value}")
    assert in_flags(f"Pass {name}={value!r}, or stop.") == f"Pass {flag}, or stop."
    assert in_flags(f"a/{name}={value!r} or stop.") == f"a/{name}={value!r} or stop."


@given(st.text(), st.text(), st.sampled_from(NAMES))
def test_what_was_typed_stays_as_it_was_typed(before, after, name):
    typed = f"{before} {name}=3 {after}"
    assert in_flags(f"{typed}: Pass k=2.", [typed]) == f"{typed}: Pass --k 2."


def test_every_argument_is_a_flag_of_a_command(capsys):
    commands = (
        ["train"], ["train", "--set", "task.kind=arrays"], ["analyze"], ["construct"], ["verify"],
        ["convert", "parity-nn"],
    )  # fmt: skip
    for words in commands:
        assert main([*words, "--help"]) == 0
    shown = set(re.findall(r"--[a-z][\w.-]*", capsys.readouterr().out))
    assert {f"--{name.replace('_', '-')}" for name in NAMES} <= shown


def test_the_command_line_prints_flags_and_leaves_the_names_of_files(tiny_path, tmp_path, capsys):
    path = tmp_path / "lr 0.1 epochs=5 b.h5"
    assert main(["show", str(path)]) == 2
    assert str(path) in capsys.readouterr().err
    path.write_bytes(tiny_path.read_bytes())
    assert main(["train", "merrill-2023", "--quiet", "--out", str(path)]) == 2
    said = "exists. Pass --resume to continue it, --overwrite to replace it, or another --out."
    assert capsys.readouterr().err == f"error: {path} {said}\n"
