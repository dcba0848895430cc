"""A file system that refuses: training stops with one line, nothing committed is lost, and the rest comes later.

The refusal is real where a test may mount a file system that is too small, and made at every write of a short run.
"""

import errno
import os
import re
import resource
import shutil
import subprocess
import sys
from contextlib import contextmanager, suppress
from pathlib import Path

import h5py
import numpy as np
import pytest

import circuits
from circuits import atomic_write
from circuits.checkpoints import layout, overwrite, writer
from circuits.cli.main import main
from circuits.config import parse
from circuits.convert.imported import write_run
from circuits.errors import error_number, refusal
from circuits.training import loop
from circuits.training.start import initial_state

CHILD = """
import sys
import circuits.training.loop as loop
from circuits.cli.main import main
loop.check_room = lambda *_: None
path, config = sys.argv[1:]
sys.exit(main(["train", "--config", config, "--out", path, "--quiet"]))
"""


@pytest.fixture
def plan(tmp_path, make_config):
    config = make_config(epochs=12, model__width=3000, task__n=20, seeds=[0, 1])  # 0.5 MB per checkpoint
    path = tmp_path / "config.json"
    path.write_text(config.to_json())
    whole = circuits.train(config, tmp_path / "whole.h5", progress=False)
    yield config, path, whole
    whole.close()


def resumed_equals(path, whole):
    with circuits.train(None, path, resume=True, progress=False) as run:
        for name in ("W", "b", "u"):
            assert run.parameters[name].values.tobytes() == whole.parameters[name].values.tobytes()
        assert run.metrics.equals(whole.metrics)


@pytest.mark.parametrize(
    ("kind", "stride"),
    [
        pytest.param("sgd", 1, marks=pytest.mark.long),
        pytest.param("adamw", 1, marks=pytest.mark.long),
        pytest.param("adamw", 5, marks=pytest.mark.slow),
    ],
)
def test_a_refusal_at_any_write_of_a_short_run_loses_nothing(tmp_path, make_config, monkeypatch, capsys, kind, stride):
    data = make_config(epochs=2).model_dump(mode="json")
    data["optimizer"] = {"kind": kind}
    data["checkpoints"]["optimizer_state_every"] = 1
    config = parse(data)
    monkeypatch.setattr(writer, "BUFFERED_CHECKPOINTS", 1)
    monkeypatch.setattr(loop, "STATE_SECONDS", 0.0)
    whole = circuits.train(config, tmp_path / "whole.h5", progress=False)
    numbers = loop.choose_path(config).numerics(config)
    empty, tried = tmp_path / "empty.h5", set()
    layout.create(empty, config, {}, numbers, initial_state(config))
    n_refused = 0
    for place in range(0, 10_000, stride):
        calls = iter(range(10**6))

        def counted(plain, calls=calls, place=place):
            def call(*arguments, **options):
                if next(calls) == place:
                    raise OSError(errno.ENOSPC, "No space left on device")
                return plain(*arguments, **options)

            return call

        path = tmp_path / str(place) / "run.h5"
        path.parent.mkdir()
        shutil.copy(empty, path)
        with monkeypatch.context() as patch:
            patch.setattr(h5py.Dataset, "resize", counted(h5py.Dataset.resize))
            patch.setattr(h5py.Dataset, "__setitem__", counted(h5py.Dataset.__setitem__))
            patch.setattr(overwrite, "_write", counted(overwrite._write))
            patch.setattr(h5py.File, "flush", counted(h5py.File.flush))
            try:
                circuits.train(None, path, resume=True, progress=False).close()
                break  # the run has no write left to refuse
            except circuits.RunError as error:
                said = str(error)
        n_refused += 1
        assert "No space left on device" in said
        left = *((file.name, file.read_bytes()) for file in sorted(path.parent.iterdir())), said.replace(str(path), "")
        if left in tried:
            continue
        tried.add(left)
        with circuits.open(path) as run:
            n = run.n_checkpoints
            told = int(re.search(r"The first (\d+) checkpoints are saved", said)[1])
            assert told <= n <= told + 1  # its step was written when flushing it was refused
            assert (run.parameters["W"].values == whole.parameters["W"][:n].values).all()
        resumed_equals(path, whole)
    with capsys.disabled():
        print(f"\n{kind}: refused at {n_refused} writes, one in {stride}, which left {len(tried)} different states")
    assert n_refused > 40 / stride
    whole.close()


@contextmanager
def mounted(folder, size):
    """A file system of this size, where a test may mount one."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"a test may not mount a file system here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.slow
def test_a_file_system_that_is_full_at_any_place_of_a_run_loses_nothing(tmp_path, plan):
    config, description, whole = plan
    used = whole.path.stat().st_blocks * 512
    stopped = []
    for place, size in enumerate(np.linspace(3e4, 0.95 * used, 5).astype(int)):
        small = tmp_path / f"small-{place}"
        with mounted(small, size):
            path = small / "run.h5"
            with pytest.raises(circuits.InputError, match=r"needs 7 MB and 17 MB of spare room.* Make room"):
                circuits.train(config, path, progress=False)
            done = subprocess.run(
                [sys.executable, "-c", CHILD, str(path), str(description)], capture_output=True, text=True
            )
            lines = done.stderr.strip().splitlines()
            assert done.returncode == 1, done.stderr
            assert len(lines) == 1, done.stderr
            assert lines[0].startswith("error: ")
            if not path.exists():  # not even the empty run found room
                assert not list(small.glob("*.tmp"))
                continue
            with circuits.open(path) as run:
                n = run.n_checkpoints
                assert (run.parameters["W"].values == whole.parameters["W"][:n].values).all()
            assert f"The first {n} checkpoints are saved" in lines[0]
            assert "Make room, then continue: circuits train --resume" in lines[0]
            stopped.append(n)
            subprocess.run(["mount", "-o", "remount,size=60m", str(small)], check=True)
            resumed_equals(path, whole)
    assert len(stopped) >= 3
    assert max(stopped) > min(stopped)


def test_a_disk_that_is_nearly_full_keeps_no_sidecar_and_says_so(tmp_path, tiny_path, capsys):
    small = tmp_path / "small"
    with mounted(small, 8 << 20):
        path = Path(shutil.copy(tiny_path, small / "a.h5"))
        sidecar = small / "a.analysis.nc"
        for free in (0, 4096, 8192, 12288):
            filler = small / "filler"
            with suppress(OSError), filler.open("wb", buffering=0) as file:
                while True:
                    file.write(bytes(4096))
            os.truncate(filler, filler.stat().st_size - free)
            assert main(["analyze", str(path), "--norms", "--quiet"]) == 1
            out, err = capsys.readouterr()
            assert "group_norm" in out or "norm" in out
            assert [line for line in err.splitlines() if not line.startswith("warning")] in (
                [f"error: {sidecar}: No space left on device. Make room, or pass --out on another disk."],
                [f"error: {sidecar}: cannot be written (No space left on device). Pass another --out, in a folder that "
                 "can be written to"],
            )  # fmt: skip
            assert sorted(left.name for left in small.iterdir()) == ["a.h5", "filler"]


@pytest.mark.parametrize(
    ("number", "what_to_do"),
    [
        (errno.EFBIG, "Raise the limit on the size of files (ulimit -f)"),
        (errno.EDQUOT, "Make room"),
        (errno.EROFS, "Change the permissions of the file and its folder"),
    ],
)
def test_every_refusal_of_the_file_system_names_the_file_and_a_remedy(
    number, what_to_do, tiny_path, tmp_path, monkeypatch, capsys
):
    def refuse(*_):
        raise OSError(number, os.strerror(number))

    path = Path(shutil.copy(tiny_path, tmp_path / "a.h5"))
    monkeypatch.setattr(Path, "write_bytes", refuse)
    assert main(["analyze", str(path), "--norms", "--quiet"]) == 1
    line = capsys.readouterr().err.splitlines()[-1]
    sidecar = path.with_suffix(".analysis.nc")
    elsewhere = ", or pass --out on another disk" if number == errno.EDQUOT else ""
    assert line == f"error: {sidecar}: {os.strerror(number)}. {what_to_do}{elsewhere}."


def test_a_run_that_the_limit_of_file_sizes_would_stop_is_refused_before_anything_changes(
    tiny_path, tmp_path, make_config
):
    path = Path(shutil.copy(tiny_path, tmp_path / "a.h5"))
    before, limits = path.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 5000, limits[1]))
    try:
        with pytest.raises(
            circuits.InputError, match=r"kB, but the limit for a file is .* Raise the limit .*\(ulimit -f\)"
        ):
            circuits.train(make_config(epochs=500), path, resume=True, progress=False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before


def test_the_number_of_a_refusal_is_read_from_the_paragraph_of_hdf5():
    paragraph = RuntimeError("file write failed: time = Mon, errno = 27, error message = 'File too large'")
    assert (error_number(paragraph), refusal(paragraph)) == (27, "File too large")
    assert (error_number(OSError("none")), refusal(OSError("none"))) == (0, "none")


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_that_cannot_be_synced_is_named_and_the_new_run_is_there(
    overwrite, tiny_path, tmp_path, make_config, monkeypatch
):
    path, sync = tmp_path / "a.h5", atomic_write.sync
    if overwrite:
        shutil.copy(tiny_path, path)

    def refuse(there):
        if there.is_dir():
            raise OSError(errno.EIO, "Input/output error")
        sync(there)

    with monkeypatch.context() as patch:
        patch.setattr(atomic_write, "sync", refuse)
        with pytest.raises(circuits.RunError) as refused:
            circuits.train(make_config(), path, overwrite=overwrite, progress=False)
    assert str(refused.value).startswith(f"{path} is written, but its folder could not be synced (Input/output error)")
    with circuits.open(path) as run:
        assert run.n_checkpoints == 0
    circuits.train(None, path, resume=True, progress=False).close()


@pytest.mark.parametrize(("folder_sync", "left"), [(1, "no file is left"), (2, "the file there is complete")])
def test_a_conversion_whose_folder_cannot_be_synced_says_what_is_left(
    folder_sync, left, tiny_run, tmp_path, monkeypatch
):
    """The folder is synced for the temporary file, and then for the run."""
    path, sync, syncs = tmp_path / "a.h5", atomic_write.sync, []

    def refuse(there):
        if there.is_dir():
            syncs.append(there)
            if len(syncs) == folder_sync:
                raise OSError(errno.EIO, "Input/output error")
        sync(there)

    monkeypatch.setattr(atomic_write, "sync", refuse)
    networks = [{name: tiny_run.parameters[name][-1, seed].values for name in tiny_run.parameters} for seed in range(3)]
    with pytest.raises(circuits.RunError, match=f"could not be written .Input/output error., and {left}"):
        write_run(path, tiny_run.config, lambda step: networks, "a test", progress=False)
    assert [there.name for there in tmp_path.iterdir()] == ([] if left.startswith("no") else ["a.h5"])
    if path.exists():
        with circuits.open(path) as run:
            assert run.is_complete
