"""The command line as a whole: help, exit codes, one line per error."""

import glob
import os
import re
import resource
import shutil
import subprocess
import sys
import threading

import pytest
import torch

import circuits
from circuits.cli import main as cli
from circuits.cli.main import COMMANDS, main
from circuits.errors import Interrupted, RunError
from circuits.registry import Entry

HEAVY = {"torch", "transformer_lens", "xarray", "h5py", "numba", "scipy", "plotly"}


def _fails_with(error):
    def command(_words):
        raise error

    return command


@pytest.fixture
def outcome(monkeypatch, capsys):
    """Exit code, stdout and stderr of a command whose body is the given function."""

    def run(body, *words):
        monkeypatch.setitem(cli.COMMANDS, "try", Entry("", "test:try"))
        monkeypatch.setattr(Entry, "load", lambda _self: body)
        return (main(["try", *words]), *capsys.readouterr())

    return run


def _modules_after(*words):
    program = (
        "import sys\n"
        "from circuits.cli.main import main\n"
        f"code = main({list(words)!r})\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}), file=sys.stderr)\n"
        "sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return done.stdout, set(done.stderr.split())


@pytest.mark.parametrize("words", [["--help"], ["presets"], ["--version"]])
def test_help_and_lists_import_nothing_heavy(words):
    _, modules = _modules_after(*words)
    assert not modules & (HEAVY | {"numpy", "tyro"} if words != ["presets"] else HEAVY)  # the list counts configs


@pytest.mark.slow
@pytest.mark.parametrize("command", ["train", "analyze", "report", "show", "presets", "construct", "verify"])
def test_help_of_a_command_imports_nothing_heavy(command):
    out, modules = _modules_after(command, "--help")
    assert f"circuits {command}" in out
    assert not modules & HEAVY


def test_a_dry_run_does_not_import_torch():
    _, modules = _modules_after("train", "merrill-2023", "--dry-run")
    assert "torch" not in modules


def test_help_lists_every_command_and_an_example_session(capsys):
    assert main(["--help"]) == 0
    out, err = capsys.readouterr()
    assert all(f"  {name} " in out and entry.help in out for name, entry in COMMANDS.items())
    assert "circuits train merrill-2023" in out
    assert err == ""
    assert max(map(len, out.splitlines())) <= 100


def test_help_of_a_command_can_be_asked_both_ways(capsys):
    assert main(["help", "show"]) == 0
    first = capsys.readouterr().out
    assert main(["show", "--help"]) == 0
    assert capsys.readouterr().out == first


def test_version_is_the_packages(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"circuits {circuits.__version__}\n"


def test_no_command_shows_the_help_and_is_a_misuse(capsys):
    assert main([]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "usage: circuits COMMAND" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["trian"], "error: There is no command 'trian'. Did you mean 'train'? There are: "),
        (["--quiet", "train"], "error: --quiet must follow the command. Write `circuits COMMAND --quiet`; "),
    ],
)
def test_a_wrong_command_gets_one_line(words, message, capsys):
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(message)
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (circuits.InputError("a.h5 does not exist."), 2, "error: a.h5 does not exist.\n"),
        (RunError("the disk is full"), 1, "error: the disk is full\n"),
        (
            PermissionError(13, "Permission denied", "a.h5"),
            1,
            "error: a.h5: Permission denied. Change the permissions of the file and its folder.\n",
        ),
        (Interrupted("Stopped; continue: …"), 130, "Stopped; continue: …\n"),
        (KeyboardInterrupt(), 130, "Interrupted.\n"),
        (KeyError("x"), 1, "error: KeyError: 'x'. This is a bug in circuits; --debug shows where.\n"),
        (OSError("two\nlines of a library"), 1, "error: two lines of a library\n"),
        (circuits.InputError("a\nb.h5 is locked."), 2, "error: a\\nb.h5 is locked.\n"),
    ],
)
def test_every_error_becomes_one_line_and_its_exit_code(error, code, line, outcome):
    assert outcome(_fails_with(error)) == (code, "", line)


@pytest.mark.parametrize("words", [["--debug"], ["a", "--debug"]])
def test_debug_shows_the_traceback_wherever_it_stands(words, outcome):
    code, _, err = outcome(_fails_with(RunError("the disk is full")), *words)
    assert code == 1
    assert "Traceback" in err
    assert err.endswith("error: the disk is full\n")


def test_debug_is_not_passed_on_to_the_command(outcome):
    seen = []
    assert outcome(lambda words: seen.extend(words) or 0, "a", "--debug", "b")[0] == 0
    assert seen == ["a", "b"]


@pytest.mark.slow
def test_a_closed_pipe_is_no_traceback():
    program = "import sys; from circuits.cli.main import main; sys.exit(main(['presets', 'merrill-2023']))"
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    with process.stderr:
        assert process.stderr.read() == b""
    assert process.wait() == 1


def test_escapes_in_what_was_typed_and_in_names_are_shown(capsys):
    for words in (["show", "a\x1b[31mb.h5"], ["train", "a\x1b[31mb"], ["verify", "a\x1b[31mb"]):
        assert main(words) == 2
        out, err = capsys.readouterr()
        assert "\x1b" not in out + err
        assert "a\\x1b[31mb" in err


def test_outputs_that_cannot_be_made_are_named_with_what_to_do(tiny_path, tmp_path, capsys):
    (tmp_path / "file").touch()
    for words in (["analyze", "--norms", "--quiet", "--out", "/proc/a.nc"], ["export", "--out", "/proc/a.npz"]):
        assert main([words[0], str(tiny_path), *words[1:]]) in (1, 2)
        assert "/proc/a.n" in (err := capsys.readouterr().err)
        assert "Pass another --out, in a folder that can be written to" in err
        assert "bug" not in err
    small = ["--model.width", "4", "--epochs", "1", "--quiet", "--out"]
    assert main(["train", "merrill-2023", *small, str(tmp_path / "file" / "a.h5")]) == 2
    assert "cannot be created" in capsys.readouterr().err


def test_a_config_too_large_or_too_deep_is_refused_before_anything_is_made(make_config, tmp_path, capsys):
    huge = make_config().to_json().replace('"epochs": 4', f'"epochs": {10**12}')
    usual = make_config().to_json()
    for text, said in (
        (huge, "plans up to 1,000,000,000,003 checkpoints"),
        (usual.replace('"width": 16', f'"width": {3 * 10**8}'), "of 3,000,000,000 parameters exceeds the limit"),
        (usual.replace('"n_train": 50', f'"n_train": {10**9}'), "inputs of one seed have 8,000,000,160 values, more"),
        (usual.replace('"batch_size": 8', f'"batch_size": {10**30}'), "batch_size"),
        (usual.replace('"seeds": [', f'"seeds": [{2**63},'), "seeds"),
        (circuits.preset("nanda-2023").to_json().replace('"n_layers": 1', f'"n_layers": {10**6}'), "n_layers"),
        (circuits.preset("modular-31").to_json().replace('"n_summands": 2', f'"n_summands": {10**9}'), "n_summands"),
        ("[" * 9000 + "]" * 9000, "nested too deeply"),
    ):
        (tmp_path / "config.json").write_text(text)
        assert main(["train", "--config", str(tmp_path / "config.json"), "--out", str(tmp_path / "a.h5")]) == 2
        assert said in (err := capsys.readouterr().err)
        assert "bug" not in err
        assert len(err) < 3000
    assert not (tmp_path / "a.h5").exists()


def test_an_error_about_a_long_list_is_cut(capsys):
    assert main(["train", "merrill-2023", "--set", f"task.support={[0] * 100_000}", "--out", "a.h5"]) == 2
    assert len(err := capsys.readouterr().err) < 3000
    assert " … " in err


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        ImportError("libx.so: failed to map segment from shared object"),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"),
        OSError(12, "Cannot allocate memory"),
    ],
)
def test_memory_that_runs_out_is_no_bug(error, monkeypatch, capsys):
    def fail(_):
        raise error

    monkeypatch.setattr("circuits.cli.main._run", fail)
    assert main(["show"]) == 1
    said = capsys.readouterr().err
    assert "there is not enough memory" in said
    assert "ulimit -v" in said
    assert "bug" not in said


@pytest.mark.parametrize(("which", "flag"), [(resource.RLIMIT_AS, "v"), (resource.RLIMIT_DATA, "d")])
@pytest.mark.parametrize("megabytes", [200, 400, 700])
def test_too_little_memory_for_the_libraries_is_refused_in_one_line(which, flag, megabytes, tmp_path):
    code = "from circuits.cli.main import main; raise SystemExit(main())"
    done = subprocess.run(
        [sys.executable, "-c", code, "train", "merrill-2023", "--out", str(tmp_path / "a.h5")],
        preexec_fn=lambda: resource.setrlimit(which, (megabytes * 10**6,) * 2),
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: this process may use {megabytes / 1000:.2g} GB of memory (ulimit -{flag})")
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_threads_and_finalizers_that_run_out_of_memory_print_nothing_and_others_do(monkeypatch, capsys):
    def fail_elsewhere(error):
        def fail():
            raise error

        class Finalized:
            __del__ = staticmethod(fail)

        thread = threading.Thread(target=fail)
        thread.start()
        thread.join()
        del_me = Finalized.__new__(Finalized)
        del del_me
        return 0

    hooks = threading.excepthook, sys.unraisablehook
    monkeypatch.setattr("circuits.cli.main._run", lambda _: fail_elsewhere(MemoryError()))
    assert main(["show"]) == 0
    assert capsys.readouterr().err == ""
    with monkeypatch.context() as patched:
        heard = []
        patched.setattr(threading, "excepthook", heard.append)
        patched.setattr(sys, "unraisablehook", heard.append)
        patched.setattr("circuits.cli.main._run", lambda _: fail_elsewhere(ValueError()))
        assert main(["show"]) == 0
        assert [type(one.exc_value) for one in heard] == [ValueError, ValueError]
    assert (threading.excepthook, sys.unraisablehook) == hooks


@pytest.mark.slow
def test_a_path_never_begins_a_line_of_its_own(tiny_path, tmp_path, capsys):
    folder = tmp_path / "a\nfake: ok\x1b[31m"
    folder.mkdir()
    run, made = str(shutil.copy(tiny_path, folder / "r\nfake: ok.h5")), folder / "m\nfake: ok"
    small = ["--quiet", "--set", "model.width=8", "--set", "task.n_train=8", "--seeds", "0", "--epochs", "2"]
    torch.save({"W": torch.ones(2, 8), "b": torch.ones(2), "u": torch.ones(2)}, folder / "m_1.pt")
    for words in (
        ["show", run],
        ["show", run, "--verify"],
        ["analyze", run, "--norms"],
        ["repair", run],
        ["export", run],
        ["construct", "dnf", "--k", "3", "--out", f"{made}1.h5"],
        ["train", "merrill-2023", "--out", f"{made}2.h5", *small],
        ["train", "merrill-2023", "--out", f"{made}3.h5", "--dry-run"],
        ["train", "--resume", "--out", f"{made}2.h5", "--epochs", "3"],
        ["convert", "state-dicts", f"{glob.escape(str(folder))}/m_*.pt", "--out", f"{made}4.h5", "--task.k", "2"],
        ["replay", run, "--from-step", "0", "--to-step", "7", "--out", f"{made}5.h5"],
        ["verify", run],
        ["show", f"{made}6.h5"],
    ):
        returned = main(words)
        out, err = capsys.readouterr()
        assert returned == (2 if words == ["show", f"{made}6.h5"] else 4 if words[0] == "verify" else 0), err
        assert r"\nfake: ok" in out + err or words[0] == "verify", words
        assert not re.search("^fake|[\x00-\x09\x0b-\x1f\x7f-\x9f]", out + err.replace("\r", ""), re.MULTILINE), words


@pytest.mark.slow
def test_names_and_paths_of_any_script_are_kept(tiny_path, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    small = ["--quiet", "--set", "model.width=8", "--set", "task.n_train=8", "--seeds", "0", "--epochs", "2"]
    assert main(["train", "merrill-2023", *small, "--name", "été 漢 𝄞", "--source", "é", "--out", "é.h5"]) == 0
    assert main(["train", "--resume", "--epochs", "3", "--out", "é.h5", "--quiet"]) == 0
    assert main(["train", "--from", "é.h5", "--keep", "random", "--epochs", "1", "--out", "from.h5", "--quiet"]) == 0
    torch.save({"W": torch.ones(2, 8), "b": torch.ones(2), "u": torch.ones(2)}, "é_1.pt")
    assert main(["convert", "state-dicts", "é_*.pt", "--out", "b.h5", "--task.k", "2"]) == 0
    assert main(["show", "é.h5", "--verify"]) == 0
    assert main(["show", "é.h5"]) == 0
    assert "été 漢 𝄞" in capsys.readouterr().out
    with circuits.open("é.h5") as run:
        assert (run.config.name, run.config.source) == ("été 漢 𝄞", "é")


RUN_MAIN = "import sys; from circuits.cli.main import main; sys.exit(main())"


@pytest.mark.slow
def test_output_in_an_encoding_without_these_signs_is_escaped(tiny_path, tmp_path):
    path = shutil.copy(tiny_path, tmp_path / "a.h5")
    done = subprocess.run(
        [sys.executable, "-c", RUN_MAIN, "analyze", str(path), "--norms", "--quiet"],
        env=os.environ | {"PYTHONIOENCODING": "ascii"}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.isascii()
    assert "\\u2013" in done.stdout
