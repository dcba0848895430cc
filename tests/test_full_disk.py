"""A file system that refuses: training stops with one line, nothing committed is lost, and the rest comes later.

The refusal is real: a limit on the size of files that the kernel enforces on every write of the process, at every place
of a short run in turn; and, where a test may mount one, a file system that is full.
"""

import errno
import resource
import subprocess
import sys

import h5py
import numpy as np
import pytest

import circuits
from circuits.checkpoints import layout, writer
from circuits.config import parse
from circuits.training import loop
from circuits.training.steppers import initial_state

CHILD = """
import resource, signal, sys
import circuits
from circuits.cli.main import main
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
path, config, limit = sys.argv[1:]
resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), resource.RLIM_INFINITY))
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


@pytest.mark.slow
def test_a_refused_write_at_any_place_loses_nothing(tmp_path, plan):
    _, description, whole = plan
    final = whole.path.stat().st_size
    stopped = []
    for limit in np.linspace(3e4, 0.98 * final, 9).astype(int):
        path = tmp_path / f"limit-{limit}.h5"
        child = subprocess.run(
            [sys.executable, "-c", CHILD, str(path), str(description), str(limit)], capture_output=True, text=True
        )
        lines = child.stderr.strip().splitlines()
        assert child.returncode == 1, child.stderr
        assert len(lines) == 1, child.stderr
        assert lines[0].startswith("error: ")
        if not path.exists():  # not even the empty run found room
            assert not list(tmp_path.glob("*.tmp"))
            continue
        with circuits.open(path) as run:
            n = run.n_checkpoints
            assert (run.parameters["W"].values == whole.parameters["W"][:n].values).all()
            assert f"The first {n} checkpoints are saved" in lines[0]
            assert "Make room, then continue: circuits train --resume" in lines[0]
            stopped.append(n)
        resumed_equals(path, whole)
    assert len(stopped) >= 5
    assert max(stopped) > min(stopped)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sgd", "adamw"])
def test_a_refusal_at_every_single_write_of_a_short_run_loses_nothing(tmp_path, make_config, monkeypatch, capsys, kind):
    data = make_config(epochs=2).model_dump(mode="json")
    data["optimizer"] = {"kind": kind}
    data["checkpoints"]["optimizer_state_every"] = 1
    config = parse(data)
    monkeypatch.setattr(writer, "BUFFERED_CHECKPOINTS", 1)
    monkeypatch.setattr(loop, "STATE_SECONDS", 0.0)
    whole = circuits.train(config, tmp_path / "whole.h5", progress=False)
    numbers = loop.numerics(config, *loop.choose_kernel(config, "auto", "auto"))
    n_refused = 0
    for place in range(10_000):
        path = tmp_path / f"{place}.h5"
        calls = iter(range(10**6))

        def counted(plain, calls=calls, place=place):
            def call(*arguments, **options):
                if next(calls) == place:
                    raise OSError(errno.ENOSPC, "No space left on device")
                return plain(*arguments, **options)

            return call

        layout.create(path, config, {}, numbers, initial_state(config))
        with monkeypatch.context() as patch:
            patch.setattr(h5py.Dataset, "resize", counted(h5py.Dataset.resize))
            patch.setattr(h5py.Dataset, "__setitem__", counted(h5py.Dataset.__setitem__))
            patch.setattr(h5py.File, "flush", counted(h5py.File.flush))
            try:
                circuits.train(None, path, resume=True, progress=False).close()
                break  # the run has no write left to refuse
            except circuits.RunError as error:
                said = str(error)
        n_refused += 1
        assert "No space left on device" in said
        with circuits.open(path) as run:
            n = run.n_checkpoints
            assert f"The first {n} checkpoints are saved" in said
            assert (run.parameters["W"].values == whole.parameters["W"][:n].values).all()
        resumed_equals(path, whole)
    with capsys.disabled():
        print(f"\n{kind}: refused at each of {n_refused} writes")
    assert n_refused > 50
    whole.close()


@pytest.mark.slow
def test_a_full_file_system_loses_nothing(tmp_path, plan):
    config, description, whole = plan
    small = tmp_path / "small"
    small.mkdir()
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(small)], capture_output=True, text=True, check=False
    )
    if mount.returncode:
        pytest.skip(f"a test may not mount a file system here: {mount.stderr.strip()}")
    try:
        path = small / "run.h5"
        refused = circuits.InputError
        with pytest.raises(refused, match=r"will take 7 MB, but .* has 3 MB free. Make room"):
            circuits.train(config, path, progress=False)
        child = "import circuits.training.loop as loop; loop.check_room = lambda *_: None\n" + CHILD
        unlimited = str(resource.RLIM_INFINITY)
        done = subprocess.run(
            [sys.executable, "-c", child, str(path), str(description), unlimited], capture_output=True, text=True
        )
        assert done.returncode == 1, done.stderr
        assert "The first" in done.stderr
        assert "checkpoints are saved" in done.stderr
        with circuits.open(path) as run:
            n = run.n_checkpoints
            assert (run.parameters["W"].values == whole.parameters["W"][:n].values).all()
        subprocess.run(["mount", "-o", "remount,size=40m", str(small)], check=True)
        resumed_equals(path, whole)
    finally:
        subprocess.run(["umount", "-l", str(small)], check=True)
