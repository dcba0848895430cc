"""The lock of a run: one holder at a time, no lock file left behind, and no lock needed to read."""

import errno
import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import circuits
from circuits.atomic_write import process_number, written_whole
from circuits.checkpoints.lock import RunLock, lock_path, writer_pid
from circuits.cli.main import main
from circuits.errors import InputError

PROCESSES, TURNS = 4, 60


def count_up(path, counter):
    """Take the lock again and again, and count in a file that nothing else protects."""
    done = 0
    while done < TURNS:
        try:
            lock = RunLock(path)
        except InputError:
            continue
        with lock:
            value = int(counter.read_text())
            os.sched_yield()
            counter.write_text(str(value + 1))
        done += 1


def test_of_several_processes_one_at_a_time_holds_the_lock_and_none_leaves_it_behind(tmp_path):
    path, counter = tmp_path / "run.h5", tmp_path / "counter"
    path.touch()
    counter.write_text("0")
    children = []
    for _ in range(PROCESSES):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                count_up(path, counter)
                code = 0
            finally:
                os._exit(code)
        children.append(child)
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0] * PROCESSES
    assert int(counter.read_text()) == PROCESSES * TURNS
    assert sorted(left.name for left in tmp_path.iterdir()) == ["counter", "run.h5"]


def test_a_lock_that_lost_its_name_locks_nothing(tmp_path):
    path = tmp_path / "run.h5"
    first = RunLock(path)
    lock_path(path).unlink()  # somebody tidies up
    second = RunLock(path)
    first.release()
    assert lock_path(path).exists()  # that of the second
    with pytest.raises(InputError, match="is being written by process"):
        RunLock(path)
    second.release()
    assert not lock_path(path).exists()


def test_training_leaves_nothing_beside_the_run(make_config, tmp_path):
    circuits.train(make_config(), tmp_path / "a.h5", progress=False).close()
    assert [left.name for left in tmp_path.iterdir()] == ["a.h5"]


def test_without_locks_runs_are_read_and_writing_says_what_is_missing(tiny_path, tmp_path, make_config, monkeypatch):
    def none(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    lock_path(tiny_path).touch()
    monkeypatch.setattr(fcntl, "flock", none)
    with circuits.open(tiny_path) as run:
        assert run.writer_pid is None
    lock_path(tiny_path).unlink()
    with pytest.raises(InputError, match=r"cannot be locked \(No locks available\).* Write the run to a local disk"):
        circuits.train(make_config(), tmp_path / "a.h5", progress=False)
    assert list(tmp_path.iterdir()) == []
    assert writer_pid(tiny_path) is None


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler for a system without flock")
def test_a_run_is_read_where_no_library_can_lock(tiny_path, tmp_path):
    (tmp_path / "none.c").write_text("#include <errno.h>\nint flock(int a, int b) { errno = ENOLCK; return -1; }\n")
    library = tmp_path / "none.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, tmp_path / "none.c"], check=True)
    code = "import sys; from circuits.cli.main import main; sys.exit(main(sys.argv[1:]))"
    copy = shutil.copy(tiny_path, tmp_path)

    def asked(command, *words):
        env = os.environ | {"LD_PRELOAD": str(library)}
        done = subprocess.run(
            [sys.executable, "-c", code, command, copy, *words], capture_output=True, text=True, env=env
        )
        return done.returncode, done.stdout, done.stderr

    for words in (["show"], ["show", "--verify"]):
        assert asked(*words)[0] == 0
    returned, table, error = asked("analyze", "--norms", "--quiet")
    assert returned == 0
    assert "generalizing" in table
    assert f"Results are in {Path(copy).with_suffix('.analysis.nc')}" in error


def test_temporary_files_of_processes_that_are_gone_are_removed(make_config, tmp_path):
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    gone, mine = tmp_path / f"a.h5.{child}.tmp", tmp_path / f"a.h5.{os.getppid()}.tmp"
    lock = lock_path(gone)
    for left in (gone, mine, lock):
        left.touch()
    circuits.train(make_config(), tmp_path / "a.h5", progress=False).close()
    assert not gone.exists()
    assert not lock.exists()
    assert mine.exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind", ["hard link to the run", "hard link to a note", "pipe", "folder", "link", "text", "superscript", "large"]
)
def test_what_lies_in_the_place_of_the_lock_is_neither_written_nor_waited_for(kind, tiny_path, tmp_path, capsys):
    path = Path(shutil.copy(tiny_path, tmp_path / "a.h5"))
    beside, note = lock_path(path), tmp_path / "note"
    note.write_text("12")
    if kind.startswith("hard link"):
        os.link(path if kind.endswith("run") else note, beside)
    elif kind == "pipe":
        os.mkfifo(beside)
    elif kind == "folder":
        beside.mkdir()
    elif kind == "link":
        beside.symlink_to(note)
    else:
        beside.write_text({"text": "my notes", "superscript": "²", "large": "1" * 23}[kind])
    before = path.read_bytes()
    assert main(["train", "--resume", "--epochs", "99", "--out", str(path)]) == 2
    err = capsys.readouterr().err
    assert err == f"error: {path} cannot be written: {beside} is not its lock file. Move {beside.name} away.\n"
    assert main(["show", str(path)]) == main(["repair", str(path)]) == 0  # they write nothing
    assert path.read_bytes() == before
    assert note.read_text() == "12"
    assert beside.exists()


@pytest.mark.parametrize("text", ["²", "1" * 23, "4194305", "-1", "", "1\n"])
def test_a_process_number_is_what_linux_gives_one(text):
    assert process_number(text) is None


def test_names_that_only_resemble_temporary_files_are_left_alone(tiny_path, tmp_path, capsys):
    path = Path(shutil.copy(tiny_path, tmp_path / "a.h5"))
    folder = tmp_path / "a.analysis.nc.999999.tmp"
    others = [tmp_path / f"a.analysis.nc.{what}.tmp" for what in ("²", "2147483648", "1" * 23)]
    folder.mkdir()
    for other in others:
        other.touch()
    assert main(["analyze", str(path), "--norms", "--quiet"]) == 0
    assert folder.is_dir()
    assert all(other.exists() for other in others)


def test_a_pipe_of_our_temporary_name_is_not_written_to(tmp_path):
    path = tmp_path / "a.txt"
    os.mkfifo(tmp_path / f"a.txt.{os.getpid()}.tmp")
    with written_whole(path, replace=False) as temporary:
        temporary.write_text("all of it")
    assert path.read_text() == "all of it"
