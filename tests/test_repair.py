"""`circuits repair`: after it, tools that know nothing of live files open the file of a killed run."""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tracemalloc
from pathlib import Path

import h5py
import netCDF4
import numpy as np
import pytest
import xarray as xr

import circuits
from circuits.atomic_write import MOST_PROCESSES
from circuits.checkpoints import layout, policy, undo
from circuits.checkpoints.put_back import put_back
from circuits.checkpoints.recover import WRITING, changed, was_killed
from circuits.checkpoints.sandbox import examined
from circuits.checkpoints.undo import undo_path
from circuits.checkpoints.writer import Writer
from circuits.cli.main import main

FIXTURES = Path(__file__).parent / "fixtures"

KILLED = """
import os, sys
from pathlib import Path
import numpy as np
import circuits
from circuits.checkpoints.writer import Writer

with circuits.open(sys.argv[1]) as run:
    rows = [
        {f"{group}/{name}": values[index].values for group in ("parameters", "metrics")
         for name, values in getattr(run, group).items()}
        for index in range(run.n_checkpoints)
    ]
    steps = run.steps.tolist()
writer = Writer(Path(sys.argv[2]))
for step, row in zip(steps, rows):
    writer.append(step, step / 7, row)
writer.flush()
for name, dataset in writer._trajectories.items():  # a sixth checkpoint, killed before its step is written
    dataset[5] = 77.0
writer.file.flush()
os.kill(os.getpid(), 9)
"""


@pytest.fixture(scope="module")
def killed_once(tmp_path_factory, tiny_path):
    path = tmp_path_factory.mktemp("killed") / "killed.h5"
    with circuits.open(tiny_path) as run:
        layout.create(path, run.config.replace(epochs=5), {}, {}, {})
    done = subprocess.run([sys.executable, "-c", KILLED, str(tiny_path), str(path)], check=False)
    assert done.returncode == -signal.SIGKILL
    return path


@pytest.fixture
def killed(tmp_path, killed_once):
    """The file of a writer that was killed between the two phases of committing its sixth checkpoint."""
    path = shutil.copytree(killed_once.parent, tmp_path, dirs_exist_ok=True) / killed_once.name
    assert was_killed(path)
    return path


@pytest.mark.slow
def test_plain_tools_refuse_the_file_before_and_open_it_after(killed, tiny_run):
    with pytest.raises(OSError, match="already open for write"):
        h5py.File(killed)
    assert circuits.repair(killed)
    expected = tiny_run.parameters["W"].values
    with netCDF4.Dataset(killed) as file:
        assert file["parameters"]["W"].dimensions == ("step", "seed", "neuron", "input")
        assert np.array_equal(file["parameters"]["W"][:], expected)
        assert len(file.dimensions["step"]) == 5
    with xr.open_datatree(killed, engine="h5netcdf") as tree:
        assert np.array_equal(tree["parameters/W"].values, expected)
        assert tree["metrics/test_loss"].sizes == {"step": 5, "seed": 3}
        assert tree["parameters"]["step"].values.tolist() == tiny_run.steps.tolist()
    with h5py.File(killed) as file:
        assert np.array_equal(file["parameters/W"][:], expected)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("h5dump") is None, reason="h5dump (Debian: hdf5-tools) is not installed")
def test_h5dump_opens_it(killed):
    circuits.repair(killed)
    done = subprocess.run(["h5dump", "-d", "/step", killed], capture_output=True, text=True, check=True)
    assert "(0): 0, 7, 14, 21, 28" in done.stdout


@pytest.mark.slow
def test_every_committed_checkpoint_stays_and_the_run_goes_on(killed, tiny_run):
    with circuits.open(killed) as run:
        before = run.parameters.load()
    circuits.repair(killed)
    with circuits.open(killed) as run:
        assert run.parameters.load().identical(before)
        assert run.n_checkpoints == tiny_run.n_checkpoints
    circuits.train(None, killed, resume=True, allow_different_numerics=True, progress=False).close()
    with circuits.open(killed) as run:
        assert run.is_complete
        assert run.parameters.isel(step=slice(5)).load().identical(before)


def test_committed_checkpoints_behind_the_last_saved_state_of_an_optimizer_stay(tmp_path, make_config):
    """A resume takes the newest state and computes what follows again; a repair must not drop what follows."""
    path, config = tmp_path / "a.h5", make_config()
    layout.create(path, config, {}, {}, {"momentum": np.zeros(3)})
    code = (
        "import os, sys\nfrom pathlib import Path\nimport numpy as np\n"
        "from circuits.checkpoints.writer import Writer\n"
        "writer = Writer(Path(sys.argv[1]))\n"
        "for step in range(4):\n"
        "    row = {name: np.full(d.shape[1:], step, d.dtype) for name, d in writer._trajectories.items()}\n"
        "    writer.append(7 * step, step, row)\n"
        "    if step == 1: writer.save_state({'momentum': np.ones(3)})\n"
        "writer.flush()\nos.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(path)], check=False).returncode == -signal.SIGKILL
    assert circuits.repair(path)
    with circuits.open(path) as run:
        assert run.steps.tolist() == [0, 7, 14, 21]


@pytest.mark.slow
def test_repairing_again_finds_nothing_and_changes_nothing(killed):
    assert circuits.repair(killed)
    before = killed.read_bytes()
    assert not circuits.repair(killed)
    assert killed.read_bytes() == before


@pytest.mark.slow
def test_a_tail_left_by_a_repair_that_was_killed_itself_is_cut(killed):
    from circuits.checkpoints.writable import make_writable

    make_writable(killed)  # the superblock is done, the tail is not
    assert not was_killed(killed)
    assert circuits.repair(killed)
    with h5py.File(killed) as file:
        assert {file[name].shape[0] for name in ("step", "epoch", "parameters/W", "metrics/test_loss")} == {5}


@pytest.mark.slow
def test_a_live_run_is_refused_by_the_process_that_writes_it(killed, capsys):
    code = (
        "import sys, time; from pathlib import Path; from circuits.checkpoints.writer import Writer\n"
        "w = Writer(Path(sys.argv[1])); print('open', flush=True); time.sleep(60)"
    )
    other = subprocess.Popen([sys.executable, "-c", code, str(killed)], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout.readline() == "open\n"
        assert main(["repair", str(killed)]) == 2
        assert capsys.readouterr().err == (
            f"error: {killed} is being written by process {other.pid}, so it is not broken: circuits.open reads it as "
            "it is. Stop that process first if other tools must open the file.\n"
        )
    finally:
        other.kill()
        other.wait()
        other.stdout.close()


def test_the_command_says_what_it_did(killed, capsys):
    assert main(["repair", str(killed)]) == 0
    copy = killed.with_name("killed.h5.before-repair")
    assert capsys.readouterr().out == (
        f"{killed} was left open by a killed writer; plain HDF5 tools can open it now.\n"
        f"{killed}: rows after the last committed checkpoint were removed. A copy of the original file is {copy}.\n"
    )
    with circuits.open(copy) as run:
        assert run.n_checkpoints == 5
    assert main(["repair", str(killed)]) == 0
    assert capsys.readouterr().out == f"{killed}: nothing to repair.\n"


def test_what_is_no_run_is_refused_and_left_as_it_is(tmp_path, capsys):
    path = tmp_path / "other.h5"
    with h5py.File(path, "w") as file:
        file["x"] = 1
    before = path.read_bytes()
    assert main(["repair", str(path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert path.read_bytes() == before
    assert main(["repair", str(tmp_path / "gone.h5")]) == 2
    assert "does not exist" in capsys.readouterr().err


def test_another_file_whose_superblock_looks_cut_is_left_as_it_is(tmp_path, capsys):
    path = tmp_path / "other.h5"
    with h5py.File(path, "w", libver="v110") as file:
        file["x"] = 1
    content = bytearray(path.read_bytes())
    content[44] ^= 1
    path.write_bytes(content)
    for words in (["repair", str(path)], ["train", "--resume", "--out", str(path)]):
        assert main(words) == 2
        assert capsys.readouterr().err.count("\n") == 1
        assert path.read_bytes() == content


def test_a_refused_resume_changes_no_plan(tiny_path, tmp_path, tiny_run, capsys):
    path = Path(shutil.copy(tiny_path, tmp_path / "a.h5"))
    with h5py.File(path, "r+") as file:
        file["parameters/W"][-1, 0, 0, 0] += 1
    assert main(["train", "--resume", "--epochs", "99", "--out", str(path), "--quiet"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    with circuits.open(path) as run:
        assert run.config == tiny_run.config
        assert run.is_complete


# ---- changes of metadata that a kill cut ----


AMENDED = """
import os, sys
from pathlib import Path
from circuits.checkpoints.run import Run
from circuits.checkpoints.writer import Writer
writer = Writer(Path(sys.argv[1]))
config = Run(Path(sys.argv[1]), writer.file).config
import circuits.checkpoints.undo as undo
undo.sync = lambda path: os._exit(0) if not str(path).endswith(".tmp") else None  # before the copy is removed
writer.amend(config.replace(epochs=77))
"""


@pytest.fixture(scope="module")
def changing_once(tmp_path_factory, tiny_path):
    path = Path(shutil.copy(tiny_path, tmp_path_factory.mktemp("changing") / "a.h5"))
    subprocess.run([sys.executable, "-c", AMENDED, str(path)], check=True)
    return path


@pytest.fixture
def changing(tmp_path, changing_once):
    """A complete run of 5 checkpoints whose writer was killed while it planned more epochs."""
    path = shutil.copytree(changing_once.parent, tmp_path, dirs_exist_ok=True) / changing_once.name
    assert undo_path(path).exists()
    return path


@pytest.mark.slow
def test_a_change_that_was_cut_is_named_and_undone_by_repair_and_by_resuming(changing, tiny_run, capsys):
    copy = shutil.copytree(changing.parent, changing.parent / "copy") / "a.h5"
    with pytest.raises(circuits.InputError, match=r"a kill interrupted the last change of this file. Run `circuits"):
        circuits.open(changing)
    assert main(["repair", str(changing)]) == 0
    assert main(["train", "--resume", "--out", str(copy), "--quiet"]) == 0
    for path in (changing, copy):
        assert not undo_path(path).exists()
        with circuits.open(path) as run:
            assert run.config == tiny_run.config
            assert run.parameters.load().identical(tiny_run.parameters.load())


@pytest.mark.slow
def test_what_would_be_put_back_into_another_run_is_not(changing, tiny_path, make_config, capsys):
    other = changing.with_name("other.h5")
    with circuits.train(make_config(seeds=[7, 8]), other, progress=False) as run:
        before = run.fingerprint
    set_aside = 0
    for there in (other, None):
        if there is not None:
            shutil.copy(there, changing)
        if there is None:  # the same run, but it has gone on under another name
            shutil.copy(tiny_path, changing)
            with h5py.File(changing, "r+") as file:
                file["step"][4] = -1
            before = None
        kept = changing.read_bytes()
        shutil.copy(undo_path(changing), keep := changing.with_name("kept.undo"))
        circuits.repair(changing)
        assert len(list(changing.parent.glob("a.h5.undo.stale*"))) == (set_aside := set_aside + 1)
        with circuits.open(changing) as run:
            assert before in (None, run.fingerprint)
        assert before is None or changing.read_bytes() == kept
        shutil.move(keep, undo_path(changing))
    undo_path(changing).unlink()


def test_a_refusal_while_metadata_change_leaves_nothing_to_undo(tiny_path, tmp_path, monkeypatch):
    path = Path(shutil.copy(tiny_path, tmp_path / "a.h5"))
    with Writer(path) as writer, circuits.open(tiny_path) as run:
        long = run.config.replace(source="x" * 3000)
        with pytest.raises(circuits.InputError, match="the run file has room for"):
            writer.amend(long)
    assert not undo_path(path).exists()
    circuits.open(path).close()


def test_a_pipe_in_the_place_of_the_lock_file_is_not_waited_for(tiny_path, tmp_path):
    path = shutil.copy(tiny_path, tmp_path / "a.h5")
    os.mkfifo(tmp_path / "a.h5.lock")
    assert main(["show", str(path)]) == 0  # a reader needs no lock
    assert main(["repair", str(path)]) == 0  # nor does a repair of a sound run


@pytest.mark.parametrize("words", [["repair"], ["train", "--resume", "--quiet", "--out"]])
@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: os.symlink("nowhere", path)])
def test_what_is_no_file_in_the_place_of_metadata_is_renamed(make, words, tiny_path, tmp_path, capsys):
    path = Path(shutil.copy(tiny_path, tmp_path / "a.h5"))
    make(undo_path(path))
    kind = undo_path(path).lstat().st_mode
    assert main([*words, str(path)]) == 0
    aside = path.with_name("a.h5.undo.stale")
    assert capsys.readouterr().err.startswith(f"{undo_path(path)} does not match {path}, so ")
    assert aside.lstat().st_mode == kind
    assert not os.path.lexists(undo_path(path))
    assert path.read_bytes() == tiny_path.read_bytes()


@pytest.mark.slow
def test_a_reader_sees_more_epochs_that_another_process_plans(tiny_path, tmp_path):
    path = Path(shutil.copy(tiny_path, tmp_path / "a.h5"))
    code = (
        "import sys, circuits; c = circuits.open(sys.argv[1]).config.replace(epochs=8)\n"
        "circuits.train(c, sys.argv[1], resume=True, progress=False)"
    )
    with circuits.open(path) as run:
        before = run.parameters["W"].values
        subprocess.run([sys.executable, "-c", code, str(path)], check=True)
        assert run.refresh().n_checkpoints == 9
        assert run.config.epochs == 8
        assert (run.parameters["W"][:5].values == before).all()
        with circuits.open(path) as again:
            assert again.is_complete


@pytest.mark.slow
def test_a_copy_that_was_cut_does_not_keep_a_run_from_being_repaired(killed, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("circuits.checkpoints.put_back.copy_sparse", fail)
        with pytest.raises(circuits.RunError, match="could not be repaired"):
            circuits.repair(killed)
    assert circuits.repair(killed).copy


def test_the_copy_of_an_earlier_repair_stays(killed, tmp_path):
    earlier = killed.with_name("killed.h5.before-repair")
    earlier.write_text("mine")
    assert circuits.repair(killed).copy.name == "killed.h5.before-repair.1"
    assert earlier.read_text() == "mine"


# ---- what lies in the place of such a copy is not trusted ----


def forged(path, header, values=b""):
    """A copy that says that it is whole, beside a run."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    content = text + b"\n" + values
    undo_path(path).write_bytes(content + hashlib.sha256(content).digest())


def true_copy(path):
    """Header and bytes of the copy that a change of this run would make."""
    with h5py.File(path, "r") as file:
        line, _, values = undo._metadata(path, file).partition(b"\n")
    return json.loads(line), values


CHUNK = 1024  # checkpoints of a chunk of `step`
EMPTY = hashlib.sha256(b"").hexdigest()
FORGED = {
    "cuts to nothing": {"format": "circuits-undo", "size": 0, "witness": [], "digest": EMPTY, "extents": []},
    "no fields": {"format": "circuits-undo"},
    "a list": [1],
    "no JSON": b"x{",
    "deep": b"[" * 100_000,
    "types": {"format": "circuits-undo", "size": "a", "witness": 3, "digest": 1, "extents": 5},
    "ranges": {"format": "circuits-undo", "size": 10, "witness": [[0, 99]], "digest": "x", "extents": [[0, 5]]},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", FORGED)
def test_a_copy_that_is_none_changes_nothing_and_is_set_aside(tiny_path, tmp_path, name, capsys):
    path = Path(shutil.copy(tiny_path, tmp_path / "a.h5"))
    before = path.read_bytes()
    for command in (["repair", str(path)], ["train", "--resume", "--out", str(path), "--quiet"]):
        forged(path, FORGED[name])
        assert main(["show", str(path)]) == 0
        assert "kill" not in capsys.readouterr().err
        assert main(command) == 0
        out, err = capsys.readouterr()
        assert err.startswith(f"{undo_path(path)} does not match {path}, so ")
        assert "bug" not in err
        assert "killed writer" not in out
        assert path.read_bytes() == before
        assert f"a.h5.undo is renamed to {path.with_name('a.h5.undo.stale')}" in err
        assert not undo_path(path).exists()


@pytest.mark.parametrize("large", ["copy", "witness", "small witness"])
def test_a_forged_copy_takes_little_memory(large, tiny_path, tmp_path):
    path = Path(shutil.copy(tiny_path, tmp_path / "a.h5"))
    size = 1 << (28 if large == "small witness" else 40)
    os.truncate(path, size)  # sparse
    if large == "copy":
        undo_path(path).touch()
        os.truncate(undo_path(path), size)
    else:
        ranges = {"extents": [[0, 1]], "witness": [[0, size]]}
        forged(path, {"format": undo.FORMAT, "size": size, "digest": EMPTY, **ranges}, b"x")
    tracemalloc.start()
    try:
        assert undo.kept(path) is None
        assert tracemalloc.get_traced_memory()[1] < 1 << 26
    finally:
        tracemalloc.stop()


def flagged(path):
    """Set the flag of a killed writer."""
    with path.open("r+b") as file:
        block = file.read(48)
        file.seek(0)
        file.write(changed(block, WRITING, path.stat().st_size))


def no_run(path):
    with h5py.File(path, "w", libver="latest") as file:
        file["x"] = 1
    flagged(path)


def a_damaged_step(path):
    with h5py.File(path, "r+") as file:
        file["step"][1] = 12345
    flagged(path)


@pytest.mark.parametrize("make", [no_run, a_damaged_step])
@pytest.mark.parametrize("words", [["repair"], ["train", "--resume", "--out"]])
def test_a_file_that_is_refused_stays_as_it_is_whatever_lies_beside_it(make, words, tiny_path, tmp_path, capsys):
    path = Path(shutil.copy(tiny_path, tmp_path / "a.h5"))
    make(path)
    undo_path(path).write_text("notes")
    before = path.read_bytes()
    assert main([*words, str(path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert path.read_bytes() == before
    assert undo_path(path).read_text() == "notes"


@pytest.mark.parametrize("kind", ["text", "pipe", "folder", "dangling link", "another run's"])
def test_readers_need_nothing_of_what_lies_beside_a_sound_run(kind, tiny_path, tmp_path, make_config, capsys):
    path = Path(shutil.copy(tiny_path, tmp_path / "a.h5"))
    beside = undo_path(path)
    if kind == "text":
        beside.write_text("notes")
    elif kind == "pipe":
        os.mkfifo(beside)
    elif kind == "folder":
        beside.mkdir()
    elif kind == "dangling link":
        beside.symlink_to("nowhere")
    else:
        circuits.train(make_config(seeds=[7]), tmp_path / "b.h5", progress=False).close()
        forged(path, *true_copy(tmp_path / "b.h5"))
    for words in (["show"], ["show", "--verify"], ["analyze", "--norms", "--quiet"]):
        assert main([words[0], str(path), *words[1:]]) == 0
    assert "undo" not in capsys.readouterr().err
    assert os.path.lexists(beside)


def test_a_file_that_another_library_has_open_is_said_to_be_that(tiny_path, tmp_path):
    path = Path(shutil.copy(tiny_path, tmp_path / "a.h5"))
    with xr.open_datatree(path, engine="h5netcdf"):
        flagged(path)
        with pytest.raises(circuits.RunError, match="close the file in other libraries of this process, then try"):
            circuits.repair(path)


@pytest.mark.slow
@pytest.mark.parametrize("words", [["show"], ["repair"], ["train", "--resume", "--quiet", "--out"]])
def test_metadata_of_another_run_of_the_sweep_are_not_restored(words, tmp_path, make_config, capsys):
    """The same data, seeds and steps, but another learning rate: only parameters and facts tell them apart."""
    path = tmp_path / "a.h5"
    circuits.train(make_config(optimizer__lr=0.5), path, progress=False).close()
    header, values = true_copy(path)
    circuits.train(make_config(), path, overwrite=True, progress=False).close()
    before = path.read_bytes()
    forged(path, header, values)
    assert main([*words, str(path)]) == 0
    assert path.read_bytes() == before
    assert "kill" not in capsys.readouterr().err
    with circuits.open(path) as run:
        assert run.config == make_config()


def test_metadata_of_another_run_with_equal_parameters_are_not_restored(tmp_path, make_config):
    path, config = tmp_path / "a.h5", make_config(epochs=1, checkpoints__to_step=0)
    circuits.train(config.replace(optimizer__lr=0.5), path, progress=False).close()
    header, values = true_copy(path)
    circuits.train(config, path, overwrite=True, progress=False).close()
    forged(path, header, values)
    circuits.repair(path)
    with circuits.open(path) as run:
        assert run.config == config
        assert run.n_checkpoints == 1


@pytest.mark.slow
@pytest.mark.parametrize("verdict", ["unknown", "slow", "closed"])
def test_a_sound_run_whose_own_check_fails_is_not_replaced(verdict, tmp_path, make_config, monkeypatch):
    """Two runs differ in their config alone; the check of the restored file succeeds, that of the present one fails."""
    path, config = tmp_path / "a.h5", make_config(epochs=1, checkpoints__to_step=0)
    circuits.train(config.replace(optimizer__lr=0.5), path, progress=False).close()
    header, values = true_copy(path)
    circuits.train(config, path, overwrite=True, progress=False).close()
    forged(path, header, values)
    before, check = path.read_bytes(), examined
    monkeypatch.setattr(
        "circuits.checkpoints.put_back.examined",
        lambda *words, undone=False: check(*words, undone=True) if undone else (verdict, "signal 9"),
    )
    with pytest.raises(circuits.InputError, match=rf"cannot be checked \({verdict}: signal 9\), so .* Try again"):
        put_back(path)
    assert path.read_bytes() == before
    assert undo_path(path).exists()


def test_a_repair_that_hdf5_refuses_says_what_to_do(killed, monkeypatch):
    def refuse(*_, **__):
        raise RuntimeError("Unable to change a dataset's dimensions (time = Mon, errno = 27, error message = 'x')")

    with monkeypatch.context() as patch:
        patch.setattr("circuits.checkpoints.repair.cut_to", refuse)
        with pytest.raises(circuits.RunError, match=r"\(File too large\). No checkpoint is lost. Raise the limit"):
            circuits.repair(killed)
    assert circuits.repair(killed)


def test_a_disk_error_in_the_check_is_no_evidence_of_damage(tiny_path, monkeypatch):
    def fail(*_, **__):
        raise OSError("Unable to synchronously read data (time = Mon, errno = 5, error message = 'I/O error')")

    monkeypatch.setattr(policy, "opened_for_verdict", fail)
    assert policy.inspect(str(tiny_path), layout.FORMAT, layout.FORMAT_VERSION)[0] == "unknown"


@pytest.mark.parametrize("layout_of", [{"chunks": None}, {"chunks": (2, 3, 16, 8), "compression": "gzip"}])
def test_the_metadata_of_a_run_that_another_tool_has_packed_can_be_copied(layout_of, tiny_path, tmp_path):
    path = Path(shutil.copy(tiny_path, tmp_path / "a.h5"))
    with h5py.File(path, "r+") as file:
        values = file["parameters/W"][:]
        del file["parameters/W"]
        file.create_dataset("parameters/W", data=values, **layout_of)
        header = json.loads(undo._metadata(path, file).partition(b"\n")[0])
    assert all(length > 0 for _, length in header["witness"])


def test_a_sound_run_that_nobody_may_write_needs_no_repair_and_no_lock(tiny_path, tmp_path, monkeypatch, capsys):
    path = shutil.copy(tiny_path, tmp_path / "a.h5")
    monkeypatch.setattr("circuits.checkpoints.repair.RunLock", None)
    assert main(["repair", str(path)]) == 0
    assert "nothing to repair" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["repair"], ["train", "--resume", "--quiet", "--out"]])
def test_temporary_files_of_killed_commands_are_removed_by_the_next(words, tiny_path, tmp_path):
    path = Path(shutil.copy(tiny_path, tmp_path / "a.h5"))
    ended, living = MOST_PROCESSES - 1, os.getpid()
    names = (
        "a.h5.{}.tmp",
        "a.h5.{}.tmp.lock",
        "a.h5.undo.{}.tmp",
        "a.h5.before-repair.{}.tmp",
        "a.h5.before-repair.1.{}.tmp",
    )
    for name in names:
        for process in (ended, living):
            path.with_name(name.format(process)).touch()
    mine = path.with_name(f"a.h5.notes.{ended}.tmp")
    mine.touch()
    assert main([*words, str(path)]) == 0
    assert set(tmp_path.iterdir()) == {path, mine, *(path.with_name(name.format(living)) for name in names)}


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("h5repack") is None, reason="h5repack (Debian: hdf5-tools) is not installed")
def test_a_run_with_an_older_superblock_needs_no_repair_and_a_resume_says_how_to_convert_it(
    tiny_path, tmp_path, capsys
):
    path = tmp_path / "a.h5"
    subprocess.run(["h5repack", tiny_path, path], check=True)
    before = path.read_bytes()
    assert before[8] == 0
    assert main(["show", str(path)]) == 0
    capsys.readouterr()
    assert main(["repair", str(path)]) == 0
    assert "nothing to repair" in capsys.readouterr().out
    assert main(["train", "--resume", "--out", str(path), "--epochs", "6", "--quiet"]) == 2
    err = capsys.readouterr().err
    assert "superblock version 0" in err
    assert err.endswith(f"h5repack -j 2 -k 2 {path} NEW.h5\n")
    assert path.read_bytes() == before
    subprocess.run(["h5repack", "-j", "2", "-k", "2", path, tmp_path / "NEW.h5"], check=True)
    assert main(["train", "--resume", "--out", str(tmp_path / "NEW.h5"), "--epochs", "6", "--quiet"]) == 0


def test_a_copy_without_its_format_is_set_aside(tiny_path, tmp_path):
    path = Path(shutil.copy(tiny_path, tmp_path / "a.h5"))
    header, values = true_copy(path)
    forged(path, {name: value for name, value in header.items() if name != "format"}, values)
    assert not circuits.repair(path)
    assert path.with_name("a.h5.undo.stale").exists()


@pytest.mark.slow
def test_checkpoints_that_a_run_has_gained_under_another_name_are_not_cut(tmp_path, make_config, capsys):
    """As many checkpoints as a chunk of `step` has, so that those that follow lie in a chunk that the copy lacks."""
    path, other = tmp_path / "a.h5", tmp_path / "b.h5"
    config = make_config(epochs=CHUNK - 1, batch_size=None, seeds=[0], model__width=2)
    with circuits.train(config, path, progress=False) as run:
        assert run.n_checkpoints == run.hdf5["step"].chunks[0] == CHUNK
    forged(path, *true_copy(path))
    os.link(path, other)
    with circuits.train(config.replace(epochs=CHUNK + 9), other, resume=True, progress=False) as run:
        n_checkpoints = run.n_checkpoints
    assert n_checkpoints > CHUNK
    lines, copy = [], undo_path(path).read_bytes()
    circuits.repair(path, say=lines.append)
    assert lines[0].endswith("a.h5.undo.stale.")
    with circuits.open(path) as run:
        assert run.n_checkpoints == n_checkpoints
        address = h5py.h5o.get_info(run.hdf5["metrics/train_loss"].id).addr
    flipped = bytearray(path.read_bytes())
    flipped[address + 20] ^= 1  # the checksum of an object header is wrong, so that nobody can count the checkpoints
    for act in (
        lambda: circuits.repair(path, say=lines.append),
        lambda: main(["train", "--resume", "--out", str(path)]),
    ):
        path.write_bytes(flipped)
        undo_path(path).write_bytes(copy)
        act()
        kept = sorted(tmp_path.glob("a.h5.before-repair*"))[-1]
        assert kept.read_bytes() == flipped
        with circuits.open(path) as run:
            assert run.n_checkpoints == CHUNK
    assert (
        lines[1]
        == f"{path} cannot be read, so metadata from before the last change are restored. Copy: {path}.before-repair."
    )
    assert f"Copy: {path}.before-repair.1." in capsys.readouterr().err


@pytest.mark.slow
def test_any_change_of_a_copy_that_is_sealed_again_leaves_a_sound_run(tiny_path, tmp_path):
    """Every field, and random bytes of what is to be put back."""
    path = Path(shutil.copy(tiny_path, tmp_path / "a.h5"))
    before, (header, values) = path.read_bytes(), true_copy(path)
    random = np.random.default_rng(0)
    changed = [(header | {field: other}, values) for field in header for other in (None, True, -1, 1e9, "x", [], {})]
    changed += [(header | {"size": header["size"] + by}, values) for by in (-8, -1, 1)]
    for field in ("extents", "witness"):
        for at in (0, len(header[field]) - 1):
            for by in ([1, 0], [0, 1], [0, -1], [-1, 0]):
                ranges = json.loads(json.dumps(header[field]))
                ranges[at] = [number + more for number, more in zip(ranges[at], by, strict=True)]
                changed.append((header | {field: ranges}, values))
        ranges = header[field][:-1]
        digest = undo._witness(path, ranges) if field == "witness" else header["digest"]
        changed.append((header | {field: ranges, "digest": digest}, values))
    for _ in range(40):
        other = bytearray(values)
        other[random.integers(len(values))] ^= 1 << int(random.integers(8))
        changed.append((header, bytes(other)))
    for one in changed:
        forged(path, *one)
        put_back(path)
        assert not undo_path(path).exists()
        if path.read_bytes() != before:  # a byte that says nothing of where data lie
            with circuits.open(path) as run:
                assert run.parameters.load().identical(circuits.open(tiny_path).parameters.load())
            path.write_bytes(before)
    forged(path, header, values)
    assert put_back(path)
    assert path.read_bytes() == before


@pytest.mark.slow
def test_a_copy_that_cannot_be_checked_stays(changing, monkeypatch):
    before, beside = changing.read_bytes(), undo_path(changing).read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr("circuits.checkpoints.put_back.examined", lambda *_, **__: ("unknown", "no process"))
        with pytest.raises(circuits.InputError, match=r"cannot be checked \(unknown: no process\)"):
            circuits.repair(changing)
    assert (changing.read_bytes(), undo_path(changing).read_bytes()) == (before, beside)
    assert circuits.repair(changing)


def test_a_cut_superblock_is_completed_only_once_the_file_is_checked(tiny_path, tmp_path, tiny_run, monkeypatch):
    path = Path(shutil.copy(tiny_path, tmp_path / "a.h5"))
    content = bytearray(path.read_bytes())
    content[44] ^= 1
    path.write_bytes(content)
    with monkeypatch.context() as patch:
        patch.setattr("circuits.checkpoints.writable.examined", lambda *_, **__: ("unknown", "no process"))
        with pytest.raises(circuits.InputError, match=r"cannot be checked \(unknown: no process\)"):
            circuits.repair(path)
    assert path.read_bytes() == content
    assert circuits.repair(path)
    with circuits.open(path) as run:
        assert run.parameters.load().identical(tiny_run.parameters.load())


# ---- runs that cannot be written safely, and what lies beside a new run ----


def test_a_new_run_sets_a_copy_of_metadata_aside_and_the_older_run_is_still_restored_by_it(
    changing, make_config, capsys
):
    older = changing.rename(changing.with_name("older.h5"))
    circuits.train(make_config(epochs=1), changing, progress=False).close()
    aside = changing.with_name("a.h5.undo.stale")
    assert f"is renamed to {aside}" in capsys.readouterr().err
    circuits.train(make_config(epochs=1), changing, progress=False, overwrite=True).close()
    older.replace(changing)
    aside.rename(undo_path(changing))
    assert circuits.repair(changing)
    with circuits.open(changing) as run:
        assert run.is_complete


def test_a_refused_new_run_leaves_a_copy_of_metadata_in_its_place(changing, make_config):
    link = changing.with_name("link.h5")
    link.symlink_to(moved := changing.with_name("moved.h5"))
    undo_path(changing).rename(undo_path(moved))
    with pytest.raises(circuits.InputError, match="exists"):
        circuits.train(make_config(epochs=1), link, progress=False)
    assert undo_path(moved).exists()


def test_a_compressed_run_is_not_resumed_and_says_how_to_unpack_it(tiny_path, tmp_path, make_config):
    path = Path(shutil.copy(tiny_path, tmp_path / "a.h5"))
    with h5py.File(path, "r+", libver=("v110", "v110")) as file:
        file.create_dataset("more", data=np.zeros(100), compression="gzip")
    content = path.read_bytes()
    with pytest.raises(circuits.InputError, match=r"is compressed.*h5repack -j 2 -k 2 -f NONE"):
        circuits.train(make_config(epochs=9), path, resume=True, progress=False)
    assert path.read_bytes() == content


@pytest.mark.slow
def test_a_run_of_version_1_is_copied_while_it_is_written_and_damage_names_the_copy(tmp_path, monkeypatch, capsys):
    path = Path(shutil.copy(FIXTURES / "run-v1-killed.h5", tmp_path))
    copy = path.with_name(f"{path.name}.before-resume")
    with monkeypatch.context() as patch:
        patch.setattr("circuits.checkpoints.writer.open_for_appending", lambda path: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            circuits.train(None, path, resume=True, allow_different_numerics=True, progress=False)
    assert f"{path} has format version 1, so a kill may damage it. Copy until it is closed: {copy}." in (
        capsys.readouterr().err
    )
    content = bytearray(path.read_bytes())
    with h5py.File(path, locking=False) as file:
        start = h5py.h5o.get_info(file["step"].id).addr
    path.write_bytes(content[:start] + bytes(64) + content[start + 64 :])
    with pytest.raises(circuits.InputError, match=f"is damaged: .*Restore it from {re.escape(str(copy))}, or"):
        circuits.open(path)
    copy.replace(path)
    circuits.train(None, path, resume=True, allow_different_numerics=True, progress=False).close()
    assert sorted(tmp_path.iterdir()) == [path]


def test_a_resume_of_version_1_that_is_refused_leaves_no_copy(tmp_path):
    path = Path(shutil.copy(FIXTURES / "run-v1-killed.h5", tmp_path))
    with circuits.open(path), pytest.raises(circuits.InputError, match="close that Run first"):
        circuits.train(None, path, resume=True, allow_different_numerics=True, progress=False)
    assert sorted(tmp_path.iterdir()) == [path]


def test_a_file_system_that_knows_no_holes_keeps_a_whole_copy_of_metadata(tiny_path, tmp_path, monkeypatch):
    path = Path(shutil.copy(tiny_path, tmp_path / "a.h5"))

    def no_holes(descriptor, at, how):
        raise OSError(22, "Invalid argument")

    size = path.stat().st_size
    with monkeypatch.context() as patch, path.open("rb") as raw:
        patch.setattr("circuits.checkpoints.undo.os.lseek", no_holes)
        assert undo._stored_parts(raw.fileno(), [[0, 100], [200, size - 200]]) == [[0, 100], [200, size - 200]]


def test_a_change_whose_copy_of_metadata_would_be_too_large_is_refused_and_changes_nothing(
    tiny_path, tmp_path, make_config, monkeypatch
):
    path = Path(shutil.copy(tiny_path, tmp_path / "a.h5"))
    monkeypatch.setattr(undo, "METADATA_BYTES", 1000)
    with pytest.raises(circuits.InputError, match=r"a.h5 was not changed: .* cp --sparse=always"):
        circuits.train(make_config(epochs=9), path, resume=True, progress=False)
    assert not undo_path(path).exists()
    with circuits.open(path) as run:
        assert run.config.epochs == 4
        assert run.is_complete


def test_after_a_repair_that_removed_rows_the_next_copy_of_metadata_is_small(tmp_path, make_config, monkeypatch):
    path = tmp_path / "a.h5"
    layout.create(path, make_config(epochs=20_000), {}, {}, {})  # 95 MB of rows, none of them stored
    with Writer(path) as writer:
        monkeypatch.setattr("circuits.checkpoints.undo.sync", lambda path: None)
        writer.cut()
    sizes = []
    written = undo._metadata
    monkeypatch.setattr(undo, "_metadata", lambda *args: sizes.append(len(content := written(*args))) or content)
    Writer(path).close()
    assert path.stat().st_size > 50_000_000
    assert 0 < max(sizes) < 1_000_000
    with circuits.open(path) as run:
        assert run.n_checkpoints == 0


def test_a_disk_error_while_a_copy_of_metadata_is_compared_decides_nothing(changing, monkeypatch):
    times = iter(range(9))

    def failing(*args):  # as h5py reports a read error during a look-up
        if next(times) == 0:
            raise KeyError("Unable to synchronously open object (file read failed: errno = 5)")

    monkeypatch.setattr("circuits.checkpoints.put_back.check_contents", failing)
    assert circuits.repair(changing)
    assert not list(changing.parent.glob("*.stale"))


def test_a_full_disk_at_the_first_write_of_a_repair_says_so(killed, monkeypatch, capsys):
    opened = h5py.h5f.open

    def full(path, flags, **options):
        if flags & h5py.h5f.ACC_RDWR:
            raise OSError("Unable to synchronously open file (file write failed: errno = 28, error message = 'None')")
        return opened(path, flags, **options)

    with monkeypatch.context() as patch:
        patch.setattr("h5py.h5f.open", full)
        assert main(["repair", str(killed)]) == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "No space left on device" in err
    assert "Make room" in err
