import os
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import h5py
import numpy as np
import pytest

import circuits
from circuits.checkpoints import layout, overwrite
from circuits.checkpoints.recover import lookup3, recover, was_killed
from circuits.checkpoints.writable import make_writable
from circuits.checkpoints.writer import Writer


def row(config, value):
    """A checkpoint whose every number is `value`."""
    n_seeds = len(config.seeds)
    return {
        **{f"parameters/{n}": np.full((n_seeds, *s), value, np.float32) for n, (_, s) in config.shapes.items()},
        **{f"metrics/{name}": np.full(n_seeds, float(value)) for name in layout.metrics_of(config, some_seen=True)},
    }


@pytest.fixture
def config(make_config):
    return make_config(epochs=40)


@pytest.fixture
def path(tmp_path, config):
    layout.create(tmp_path / "a.h5", config, {}, {}, {})
    return tmp_path / "a.h5"


def test_what_is_appended_is_read_back(path, config):
    with Writer(path) as writer:
        for step in range(20):
            writer.append(step * 7, float(step), row(config, step))
    with circuits.open(path) as run:
        assert run.n_checkpoints == 20
        assert (run.parameters["W"].values == np.arange(20)[:, None, None, None]).all()
        assert (run.metrics["test_loss"].values == np.arange(20)[:, None]).all()


def test_a_value_that_hdf5_would_broadcast_over_seeds_is_refused(path, config):
    with Writer(path) as writer:
        values = row(config, 1.0)
        values["parameters/W"] = values["parameters/W"][:1]
        with pytest.raises(ValueError, match=r"parameters/W has shape \(1, 16, 8\), the run needs \(3, 16, 8\)"):
            writer.append(0, 0.0, values)
        with pytest.raises(ValueError, match="a checkpoint needs exactly"):
            writer.append(0, 0.0, {"parameters/W": row(config, 1.0)["parameters/W"]})
    with circuits.open(path) as run:
        assert run.n_checkpoints == 0


@pytest.mark.parametrize("cut", [-1, 14 - 256, 14 - 2**56, -(2**63) + 14])
def test_a_checkpoint_without_its_whole_step_does_not_exist_and_is_taken_back_on_reopening(path, config, cut):
    with Writer(path) as writer:
        writer.append(0, 0.0, row(config, 0))
        writer.append(7, 1.0, row(config, 1))
    with h5py.File(path, "r+", libver=layout.LIBRARY_VERSIONS) as file:  # as left by a kill between the two phases
        for name in ("parameters/W", "parameters/b", "parameters/u", "epoch"):
            file[name][2] = 1.0
        file["step"][2] = cut
    whole = cut != -(2**63) + 14  # its bytes are neither those of 14 nor those of -1
    with nullcontext() if whole else pytest.raises(circuits.InputError, match=r"step\[2\] is -9223372036854775794"):
        with circuits.open(path) as run:
            assert run.n_checkpoints == 2
        with Writer(path) as writer:
            assert writer.n_checkpoints == 2
        with h5py.File(path) as file:
            assert file["step"][:].tolist() == [0, 7] + [-1] * 39


def test_a_second_writer_is_refused_by_name(path):
    code = (
        "import sys, time; from pathlib import Path; from circuits.checkpoints.writer import Writer\n"
        "w = Writer(Path(sys.argv[1])); print('open', flush=True); time.sleep(60)"
    )
    other = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout.readline() == "open\n"
        with pytest.raises(circuits.InputError, match=rf"is being written by process {other.pid}\."):
            Writer(path)
        with circuits.open(path) as run:
            assert run.writer_pid == other.pid
        with pytest.raises(circuits.InputError, match="is being written by process"):
            circuits.train(circuits.open(path).config, path, overwrite=True, progress=False)
    finally:
        other.kill()
        other.wait()
        other.stdout.close()
    assert was_killed(path)
    Writer(path).close()
    assert not was_killed(path)


def test_creating_never_overwrites_and_leaves_no_temporary_file(path, config):
    before = path.read_bytes()
    with pytest.raises(circuits.InputError, match=r"exists\. Pass resume=True"):
        layout.create(path, config, {}, {}, {})
    assert path.read_bytes() == before
    assert [other.name for other in path.parent.iterdir() if other.name.endswith(".tmp")] == []


def test_optimizer_state_comes_back_with_the_checkpoint_it_belongs_to(tmp_path, config):
    path = tmp_path / "state.h5"
    layout.create(path, config, {}, {}, {"momentum": np.zeros((3, 4), np.float32)})
    with Writer(path) as writer:
        for index in range(5):
            writer.append(index * 7, float(index), row(config, index))
            if index in (1, 3):
                writer.save_state({"momentum": np.full((3, 4), index, np.float32)})
    with Writer(path) as writer:  # checkpoint 4 has no state: it is dropped, and computed again
        assert writer.n_checkpoints == 4
        assert (writer.optimizer_state["momentum"] == 3).all()
        writer.file["resume/slot1/state/momentum"][0, 0] = 77.0  # a torn write of the newer slot
    with Writer(path) as writer:
        assert writer.n_checkpoints == 2
        assert (writer.optimizer_state["momentum"] == 1).all()


def test_a_refused_write_says_what_is_saved(path, config, monkeypatch):
    writer = Writer(path)
    writer.append(0, 0.0, row(config, 0))
    writer.flush()

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(overwrite, "_write", full)
        writer.append(7, 1.0, row(config, 1))
        message = r"writing failed .*No space left.* The first 1 checkpoints are saved; the next 1 need 1 MB"
        with pytest.raises(circuits.RunError, match=message):
            writer.flush()
    writer.close(flush=False)
    with circuits.open(path) as run:
        assert run.n_checkpoints == 1


def test_recovery_is_idempotent_and_keeps_every_byte_but_the_superblock(path):
    code = (
        "import sys, os; from pathlib import Path; from circuits.checkpoints.writer import Writer\n"
        "writer = Writer(Path(sys.argv[1])); os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(path)], check=False).returncode == -signal.SIGKILL
    assert was_killed(path)
    before = path.read_bytes()
    assert recover(path, 1 << 20)
    assert not recover(path, 1 << 20)
    after = path.read_bytes()
    assert before[48:] == after[48 : len(before)]
    assert len(after) == len(before) + (1 << 20)
    make_writable(path)


def test_the_checksum_is_the_one_hdf5_writes(path):
    block = path.read_bytes()[:48]
    assert lookup3(block[:44]) == int.from_bytes(block[44:48], "little")


def test_a_file_that_is_no_run_is_not_recovered(tmp_path):
    path = tmp_path / "x.h5"
    path.write_bytes(b"\x89HDF\r\n\x1a\n\x03" + bytes(100))
    with pytest.raises(circuits.InputError, match="superblock is damaged"):
        recover(path, 0)


@pytest.mark.slow
def test_a_killed_run_resumes_to_the_bits_of_an_uninterrupted_one(tmp_path, make_config):
    config = make_config(epochs=1500)
    description = tmp_path / "config.json"
    description.write_text(config.to_json())
    whole = circuits.train(config, tmp_path / "whole.h5", progress=False)
    path = tmp_path / "killed.h5"
    code = (
        "import sys, os, circuits\nfrom pathlib import Path\nfrom circuits.config import read_config\n"
        "path = Path(sys.argv[2])\n"
        "circuits.train(read_config(sys.argv[1]), path, resume=path.exists(), progress=False)"
    )
    n_kills = 0
    for delay in (0.0, 0.11, 0.23, 0.05):
        process = subprocess.Popen([sys.executable, "-c", code, str(description), str(path)])
        while not path.exists() or circuits.checkpoints.lock.writer_pid(path) != process.pid:
            assert process.poll() is None, "finished before it could be killed"
            time.sleep(0.002)
        time.sleep(delay)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        n_kills += 1
        with circuits.open(path) as run:
            assert (run.parameters["W"].values == whole.parameters["W"][: run.n_checkpoints].values).all()
    assert n_kills == 4
    resumed = circuits.train(None, path, resume=True, progress=False)
    for name in ("W", "b", "u"):
        assert resumed.parameters[name].values.tobytes() == whole.parameters[name].values.tobytes()
    assert resumed.metrics.equals(whole.metrics)
    resumed.close()
    whole.close()


@pytest.mark.slow
def test_a_kill_while_the_plan_is_changed_loses_nothing(path, config):
    code = (
        "import sys, os; from pathlib import Path; from circuits.checkpoints.run import Run\n"
        "from circuits.checkpoints.writer import Writer\n"
        "writer = Writer(Path(sys.argv[1])); config = Run(Path(sys.argv[1]), writer.file).config\n"
        "writer.amend(config.replace(epochs=77), 3); os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(path)], check=False).returncode == -signal.SIGKILL
    with circuits.open(path) as run:
        assert run.config == config.replace(epochs=77)
        assert run.other_numerics_since == 3
    Writer(path).close()


def test_someone_who_looks_for_the_writer_does_not_keep_one_out(path):
    import fcntl
    import threading

    from circuits.checkpoints.lock import RunLock, lock_path

    looker = os.open(lock_path(path), os.O_RDONLY | os.O_CREAT)
    fcntl.flock(looker, fcntl.LOCK_SH)
    threading.Timer(0.1, os.close, (looker,)).start()
    RunLock(path).release()


@pytest.mark.parametrize("kind", ["text", "folder"])
def test_overwrite_replaces_runs_only(tmp_path, config, kind):
    target = tmp_path / "notes"
    target.write_text("mine") if kind == "text" else target.mkdir()
    with pytest.raises(circuits.InputError, match=r"overwrite=True replaces runs only|is a folder"):
        circuits.train(config, target, overwrite=True, progress=False)
    assert target.is_dir() or target.read_text() == "mine"


@pytest.mark.parametrize("make_link", [Path.symlink_to, Path.hardlink_to], ids=["symbolic", "hard"])
def test_a_writer_is_seen_through_a_link(path, make_link):
    from circuits.checkpoints.lock import RunLock, writer_pid

    link = path.with_name("link.h5")
    make_link(link, path)
    with Writer(path):
        assert writer_pid(link) == os.getpid()
        with pytest.raises(circuits.InputError, match=rf"link.h5 is being written by process {os.getpid()}\."):
            Writer(link)
    assert writer_pid(link) is None
    RunLock(link).release()


def elsewhere(code, path):
    return subprocess.run([sys.executable, "-c", code, str(path)], check=False, capture_output=True, text=True)


@pytest.mark.slow
def test_a_hard_link_to_a_live_run_is_neither_resumed_nor_replaced(path, config):
    link = path.with_name("link.h5")
    link.hardlink_to(path)
    code = "import sys, circuits; circuits.train({}, sys.argv[1], {}=True, progress=False)"
    with Writer(path):
        resumed = elsewhere(code.format(None, "resume"), link)
        replaced = elsewhere(code.format("circuits.preset('merrill-2023')", "overwrite"), link)
    for refused in (resumed, replaced):
        assert f"link.h5 is being written by process {os.getpid()}." in refused.stderr
    assert link.samefile(path)


def test_a_mark_disturbs_no_reader(path):
    code = "import sys, h5py; print(h5py.File(sys.argv[1], 'r', swmr=True, locking=True).attrs['format'])"
    with Writer(path):
        assert elsewhere(code, path).stdout == "circuits-run\n"


@pytest.mark.slow
def test_resuming_a_complete_run_that_was_killed_while_closing_leaves_a_plain_file(tmp_path, make_config):
    description, path = tmp_path / "config.json", tmp_path / "a.h5"
    description.write_text(make_config().to_json())
    code = (
        "import sys, os, circuits; from circuits.config import read_config\n"
        "from circuits.checkpoints.writer import Writer\n"
        "Writer.close = lambda self, **_: (self.flush(), os.kill(os.getpid(), 9))\n"
        "circuits.train(read_config(sys.argv[1]), sys.argv[2], progress=False)"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(description), str(path)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert was_killed(path)
    with circuits.train(None, path, resume=True, progress=False) as run:
        assert run.is_complete
    with h5py.File(path, "r") as file:
        assert len(file["step"]) == 5


def test_a_writer_that_cannot_take_up_a_file_says_why_and_gives_the_lock_back(path):
    from circuits.checkpoints.lock import RunLock

    with h5py.File(path, "r+", libver=layout.LIBRARY_VERSIONS) as file:
        del file["resume/slot1"]
    with pytest.raises(KeyError, match="slot1"):
        Writer(path)
    RunLock(path).release()
