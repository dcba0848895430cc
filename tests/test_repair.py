"""`circuits repair`: after it, tools that know nothing of live files open the file of a killed run."""

import shutil
import signal
import subprocess
import sys

import h5py
import netCDF4
import numpy as np
import pytest
import xarray as xr

import circuits
from circuits.checkpoints import layout
from circuits.checkpoints.recover import was_killed
from circuits.cli.main import main

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


@pytest.fixture
def killed(tmp_path, tiny_path, make_config):
    """The file of a writer that was killed between the two phases of committing its sixth checkpoint."""
    path = tmp_path / "killed.h5"
    layout.create(path, make_config(epochs=5), {}, {}, {})
    done = subprocess.run([sys.executable, "-c", KILLED, str(tiny_path), str(path)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert was_killed(path)
    return path


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


@pytest.mark.skipif(shutil.which("h5dump") is None, reason="h5dump (Debian: hdf5-tools) is not installed")
def test_h5dump_opens_it(killed):
    circuits.repair(killed)
    done = subprocess.run(["h5dump", "-d", "/step", killed], capture_output=True, text=True, check=True)
    assert "(0): 0, 7, 14, 21, 28" in done.stdout


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


def test_repairing_again_finds_nothing_and_changes_nothing(killed):
    assert circuits.repair(killed)
    before = killed.read_bytes()
    assert not circuits.repair(killed)
    assert killed.read_bytes() == before


def test_a_tail_left_by_a_repair_that_was_killed_itself_is_cut(killed):
    from circuits.checkpoints.writer import make_writable

    make_writable(killed)  # the superblock is done, the tail is not
    assert not was_killed(killed)
    assert circuits.repair(killed)
    with h5py.File(killed) as file:
        assert {file[name].shape[0] for name in ("step", "epoch", "parameters/W", "metrics/test_loss")} == {5}


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
        f"{killed} was left open by a killed writer; now plain tools open it.\n"
        f"{killed}: rows behind the last committed checkpoint are cut. The file as it was is {copy}.\n"
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
