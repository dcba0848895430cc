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
from circuits.checkpoints.lock import RunLock, lock_path, writer_pid
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
    with pytest.raises(InputError, match=r"cannot be locked \(No locks available\).* Write it on a local disk"):
        circuits.train(make_config(), tmp_path / "a.h5", progress=False)
    assert not (tmp_path / "a.h5").exists()
    assert writer_pid(tiny_path) is None


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
