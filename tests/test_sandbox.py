import importlib.util
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from zlib import crc32

import h5py
import numpy as np
import pytest

import circuits
from circuits.checkpoints import sandbox, sandbox_worker
from circuits.checkpoints.policy import inspect
from circuits.checkpoints.recover import lookup3
from circuits.cli.main import main

FIXTURES = Path(__file__).parent / "fixtures"
COMPLETE, KILLED = FIXTURES / "run-v1.h5", FIXTURES / "run-v1-killed.h5"

spec = importlib.util.spec_from_file_location("mutants", Path(__file__).parent / "mutants.py")
mutants = importlib.util.module_from_spec(spec)
spec.loader.exec_module(mutants)


def refusal(path: Path, capsys) -> str:
    """The one line with which opening fails, the same in Python and on the command line."""
    with pytest.raises(circuits.InputError) as caught:
        circuits.open(path)
    line = str(caught.value)
    assert line.isprintable()
    assert str(path) in line
    capsys.readouterr()
    assert main(["show", str(path)]) == 2
    assert tuple(capsys.readouterr()) == ("", f"error: {line}\n")
    return line


@pytest.fixture
def short_path():
    """A folder of a short name: messages, which name files, are cut where they grow long."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


@pytest.mark.parametrize("feature", mutants.HOSTILE)
def test_a_hostile_feature_is_refused_by_name_and_nothing_outside_is_opened(short_path, capsys, feature):
    outside, path = short_path / "outside.h5", short_path / "hostile.h5"
    os.mkfifo(outside)  # whoever opens it to read waits for ever
    mutants.hostile(COMPLETE, path, feature, outside)
    begin = path.read_bytes()
    assert re.search(mutants.HOSTILE[feature][1], refusal(path, capsys))
    assert path.read_bytes() == begin


def test_a_killed_file_with_a_hostile_feature_is_refused_too(tmp_path, capsys):
    outside, path = tmp_path / "outside.h5", tmp_path / "hostile.h5"
    os.mkfifo(outside)
    mutants.hostile(COMPLETE, path, "external link", outside)
    flag_as_being_written(path)
    assert "/parameters/W is an external link to" in refusal(path, capsys)


def flag_as_being_written(path: Path) -> None:
    """Set the flag that a killed writer leaves."""
    content = bytearray(path.read_bytes())
    content[11] = KILLED.read_bytes()[11]
    content[44:48] = struct.pack("<I", lookup3(bytes(content[:44])))
    path.write_bytes(content)


def root() -> str:
    return str(Path(circuits.__file__).parents[1])


@pytest.mark.parametrize("source", [COMPLETE, KILLED], ids=["complete", "killed"])
@pytest.mark.parametrize("mark", [b"OHDR", b"EAHD", b"EAIB"])
def test_a_wrong_checksum_is_found_at_once_in_closed_and_in_killed_files(tmp_path, capsys, source, mark):
    path = tmp_path / "damaged.h5"
    content = bytearray(source.read_bytes())
    places = [match.start() for match in re.finditer(mark, content)]
    content[places[len(places) // 2] + 8] ^= 1
    path.write_bytes(content)
    begin = time.monotonic()
    assert "is damaged: " in refusal(path, capsys)
    assert time.monotonic() - begin < sandbox_worker.BUSY_SECONDS  # waiting for a writer to repair it would take years


def test_a_killed_file_that_was_cut_short_is_damaged(tmp_path, capsys):
    path = tmp_path / "cut.h5"
    with h5py.File(KILLED, "r", swmr=True) as file:
        chunk = file["parameters/W"].id.get_chunk_info(0)
    path.write_bytes(KILLED.read_bytes()[: chunk.byte_offset + 100])
    assert "is damaged: " in refusal(path, capsys)


def test_a_run_repacked_with_compression_opens(tmp_path):
    path = tmp_path / "packed.h5"
    shutil.copy(COMPLETE, path)
    with h5py.File(path, "r+", libver=("v110", "v110")) as file:
        old = file["parameters/W"]
        values, scales = old[()], [dim[0] for dim in old.dims]
        del file["parameters/W"]
        new = file.create_dataset(
            "parameters/W", data=values, chunks=(2, 2, 3, 4), compression="lzf", shuffle=True, fletcher32=True
        )
        for dim, scale in zip(new.dims, scales, strict=True):
            dim.attach_scale(scale)
        where = new.id.get_chunk_info(1)
    with circuits.open(path) as run, circuits.open(COMPLETE) as original:
        assert run.parameters.equals(original.parameters)
    content = bytearray(path.read_bytes())
    content[where.byte_offset + 3] ^= 255
    path.write_bytes(content)
    with pytest.raises(circuits.InputError, match="is damaged: "):  # believed only once unpacked
        circuits.open(path)


def test_a_pipe_is_not_waited_for(tmp_path, capsys):
    path = tmp_path / "pipe.h5"
    os.mkfifo(path)
    assert "is not a regular file" in refusal(path, capsys)


@pytest.mark.parametrize("source", [COMPLETE, KILLED], ids=["complete", "killed"])
def test_good_files_are_sound(source):
    assert inspect(str(source), "circuits-run", 1) == ("sound", "")


def test_a_fresh_file_without_checkpoints_opens(tmp_path, make_config):
    from circuits.checkpoints import layout

    path = tmp_path / "fresh.h5"
    layout.create(path, make_config(), {}, {}, {})
    with circuits.open(path) as run:
        assert run.n_checkpoints == 0
        assert run.parameters["W"].shape == (0, 3, 16, 8)


@pytest.mark.slow
def test_a_live_file_opens_again_and_again(tmp_path, make_config):
    path, config = tmp_path / "live.h5", tmp_path / "config.json"
    config.write_text(make_config(epochs=2000, name="live").to_json())
    code = (
        "import circuits, circuits.config, sys; circuits.train(circuits.config.read_config(sys.argv[1]), sys.argv[2])"
    )
    writer = subprocess.Popen(
        [sys.executable, "-c", code, str(config), str(path)], env=os.environ | {"PYTHONPATH": root()}
    )
    try:
        while not path.exists():
            assert writer.poll() is None
            time.sleep(0.002)
        seen = []
        while writer.poll() is None:
            with circuits.open(path) as run:
                seen.append(run.n_checkpoints)
                assert run.steps.tolist() == [7 * index for index in range(run.n_checkpoints)]
        assert writer.returncode == 0
        assert seen == sorted(seen)
        assert len(set(seen)) > 3
    finally:
        writer.kill()
        writer.wait()


@pytest.mark.slow
def test_what_crashes_or_never_ends_costs_only_the_process_that_looks(tmp_path, monkeypatch):
    """With a worker that does to itself what HDF5 does on some files."""
    path = tmp_path / "file.h5"
    shutil.copy(COMPLETE, path)
    code = (
        "import sys; sys.path[:] = sys.argv[2:]; import os, time; from circuits.checkpoints import sandbox_worker\n"
        "sandbox_worker.SECONDS, sandbox_worker.BUSY_SECONDS = {clocks}\n"
        "sandbox_worker.inspect = lambda path, *_: {what}\n"
        "sandbox_worker.serve(sys.argv[1])"
    )
    for what, message in {
        "os.kill(os.getpid(), 11)": r"made HDF5 crash \(signal 11\) when it was checked. It is damaged or hostile",
        "time.sleep(100)": "took longer than 0.5 s to check",
        "any(iter(int, 1))": "took longer than 0.3 s of computing to check",
        "bytes(100 << 30)": "cannot be checked: checking it takes more than 4 GiB of memory",
        "os.kill(os.getppid(), 9)": "cannot be checked: the sandbox process ended without an answer",
    }.items():
        one = sandbox._Worker()
        monkeypatch.setattr(sandbox, "_worker", one)
        clocks = "30, 0.3" if "computing" in message else "0.5, 30"
        monkeypatch.setattr(sandbox, "_STARTED", code.format(what=what, clocks=clocks))
        with pytest.raises(circuits.InputError, match=f"file.h5 {message}"):
            circuits.open(path)
        one._end()


def test_an_inspector_that_ended_is_started_again(monkeypatch):
    one = sandbox._Worker()
    monkeypatch.setattr(sandbox, "_worker", one)
    circuits.open(COMPLETE).close()
    first = one._process
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    circuits.open(COMPLETE).close()
    assert one._process.pid != first.pid
    one._end()


@pytest.mark.slow
def test_threads_and_forks_get_the_answers_to_their_own_questions(tmp_path):
    text = tmp_path / "text.h5"
    text.write_bytes(COMPLETE.read_bytes()[:300])

    def verdict(path: Path) -> bool:
        try:
            sandbox.validate(path, "circuits-run", 1)
        except circuits.InputError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(verdict, [COMPLETE, text] * 40)) == [True, False] * 40
    code = (
        "import os, sys, circuits\n"
        "from circuits.checkpoints.sandbox import _worker\n"
        "circuits.open(sys.argv[1]).close()\n"
        "before = _worker._process.pid\n"
        "child = os.fork()\n"
        "for _ in range(20): circuits.open(sys.argv[1]).close()\n"
        "assert _worker._process.pid == before\n"
        "sys.exit(os.waitpid(child, 0)[1] if child else 0)"
    )
    here = os.environ | {"PYTHONPATH": root()}
    subprocess.run([sys.executable, "-c", code, str(COMPLETE)], check=True, timeout=60, env=here)


def test_the_inspector_loads_no_more_than_h5py():
    code = "import sys, circuits.checkpoints.sandbox_worker; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": root()},
    ).stdout.split()
    assert {"h5py", "numpy"} <= set(loaded)
    assert not {"torch", "xarray", "pydantic", "scipy"} & set(loaded)


def test_reading_after_closing_says_so(tiny_path):
    with circuits.open(tiny_path) as run:
        weights = run.parameters["W"]
    with pytest.raises(circuits.InputError, match=r"tiny.h5 was closed, so /?parameters/W can no longer be read"):
        weights.isel(step=0).load()


def test_data_that_cannot_be_read_after_opening_are_one_line(monkeypatch):
    def refuse(*_):
        raise OSError("Can't synchronously read data\n(file read failed: Input/output error)")

    with circuits.open(COMPLETE) as run:
        weights = run.parameters["W"]
        monkeypatch.setattr(h5py.Dataset, "__getitem__", refuse)
        message = (
            r"run-v1.h5 is damaged: /?parameters/W cannot be read: Can't synchronously read data \(file read failed"
        )
        with pytest.raises(circuits.InputError, match=message):
            weights.load()
        with pytest.raises(
            circuits.InputError, match=r"run-v1.h5 can no longer be read: Can't synchronously read data"
        ):
            run.refresh()


def checksums(run: circuits.Run) -> dict[str, int]:
    arrays = {**run.parameters, **run.metrics, **run.all_data.data_vars}
    return {str(name): crc32(np.ascontiguousarray(values.values).tobytes()) for name, values in arrays.items()}


def test_the_complete_run_of_format_version_1_opens_for_ever():
    with circuits.open(COMPLETE) as run:
        assert run.is_complete
        assert run.config.name == "run-v1"
        assert run.seeds == (0, 1)
        assert run.steps.tolist() == [0, 1, 2, 3, 4, 5]
        assert run.parameters["W"].dims == ("step", "seed", "neuron", "input")
        assert run.config == run.config.replace()
        assert checksums(run) == json.loads((FIXTURES / "run-v1.json").read_text())


def test_the_killed_run_of_format_version_1_opens_for_ever():
    assert KILLED.read_bytes()[11] != 0
    with circuits.open(KILLED) as run:
        assert not run.is_complete
        assert run.config.optimizer.kind == "adamw"
        assert run.steps.tolist() == list(range(run.n_checkpoints))
        assert checksums(run) == json.loads((FIXTURES / "run-v1-killed.json").read_text())


@pytest.mark.slow
def test_the_killed_run_of_format_version_1_can_be_continued_for_ever(tmp_path):
    path = tmp_path / "run.h5"
    shutil.copy(KILLED, path)
    with circuits.open(KILLED) as before:
        W = before.parameters["W"].load()
    with circuits.train(None, path, resume=True, allow_different_numerics=True, progress=False) as run:
        assert run.is_complete
        assert run.steps.tolist() == list(range(21))
        kept = len(W.step)
        np.testing.assert_allclose(run.parameters["W"].values[:kept], W.values, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_two_hundred_mutants_are_read_or_refused_in_one_line(tmp_path):
    path = tmp_path / "mutant.h5"
    results = []
    for index in range(200):
        kind, content = mutants.numbered(index, seed=0)
        path.write_bytes(content)
        results.append((index, kind, mutants.outcome(path)))
    print(mutants.table(results))
    assert not [result for result in results if result[2].startswith("FAILED")]
    assert {"read", "damaged"} <= {result for _, _, result in results}
