import json
import shutil
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import h5py
import netCDF4
import numpy as np
import pytest
import torch
import xarray as xr

import circuits


def test_a_run_knows_its_config_seeds_and_checkpoints(tiny_run, make_config):
    assert tiny_run.config == make_config()
    assert tiny_run.seeds == (0, 1, 2)
    assert tiny_run.steps.tolist() == [0, 7, 14, 21, 28]
    assert tiny_run.epochs.tolist() == [0, 1, 2, 3, 4]
    assert tiny_run.is_complete
    assert tiny_run.writer_pid is None
    assert "tiny, 3 seeds, 5 checkpoints, complete" in repr(tiny_run)


@pytest.mark.parametrize(
    "selection",
    [
        {"step": -1}, {"step": slice(1, 4, 2)}, {"step": [3, 1, 1]}, {"seed": 1, "neuron": [5, 2]},
        {"step": slice(None, None, -1), "input": slice(2, 6)}, {"step": [0, 2], "neuron": [1, 3], "input": [7, 0]},
        {"step": slice(2, 99)}, {"neuron": 3},
    ],
    ids=str,
)  # fmt: skip
def test_lazy_selections_equal_the_same_selections_in_memory(tiny_run, selection):
    whole = tiny_run.parameters["W"].copy(data=tiny_run.parameters["W"].values)
    assert tiny_run.parameters["W"].isel(selection).equals(whole.isel(selection))


def test_parameters_are_selected_by_label_and_read_no_more_than_asked(tiny_run, monkeypatch):
    from circuits.checkpoints.lazy import _Committed

    n_read = []
    read = _Committed._read
    monkeypatch.setattr(_Committed, "_read", lambda self, key: n_read.append(out := read(self, key)) or out)
    neuron = tiny_run.parameters["W"].sel(step=14, seed=2).isel(neuron=3)
    assert not n_read
    assert neuron.values.shape == (8,)
    assert sum(values.size for values in n_read) == 8


def test_state_and_model_are_the_stored_network(tiny_run):
    state = tiny_run.state(seed=1, step=14)
    assert state["W"].shape == (16, 8)
    assert torch.equal(tiny_run.state(seed=1, checkpoint=2)["W"], state["W"])
    assert torch.equal(tiny_run.state(seed=1, checkpoint=-3)["W"], state["W"])
    model = tiny_run.model(seed=1, checkpoint=2)
    inputs = torch.from_numpy(tiny_run.data(1)["test_inputs"].values).float()
    expected = torch.relu(inputs @ state["W"].T + state["b"]) @ state["u"]
    torch.testing.assert_close(model(inputs), expected)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"checkpoint": 400},
            "has 5 checkpoints, so checkpoint 400 does not exist. Pass 0..4, -1 for the last, or a name: ",
        ),
        ({"checkpoint": -6}, "so checkpoint -6 does not exist"),
        ({"step": 15}, "keeps no checkpoint at step 15. The nearest is step 14."),
        ({"step": 14, "checkpoint": 1}, "Pass checkpoint or step, not both."),
        ({"seed": 7}, "has no seed 7. It has: 0, 1, 2."),
    ],
)
def test_what_is_not_stored_is_said(tiny_run, arguments, message):
    with pytest.raises(circuits.InputError, match=message):
        tiny_run.state(**arguments)


def test_data_are_those_the_seed_was_trained_on(tiny_run):
    task = tiny_run.config.task
    for seed in tiny_run.seeds:
        assert (tiny_run.data(seed)["train_inputs"].values == task.train_data(seed)["inputs"]).all()
        assert (tiny_run.data(seed)["test_targets"].values == task.test_data()["targets"]).all()
    assert tiny_run.data(0)["train_inputs"].dtype == np.int8


def test_a_run_opens_in_xarray_with_coordinates_in_tree_and_groups(tiny_path, tiny_run):
    with xr.open_datatree(tiny_path, engine="h5netcdf") as tree:
        assert tree["parameters/W"].dims == ("step", "seed", "neuron", "input")
        assert tree["metrics/test_accuracy"].sel(step=28, seed=1) == tiny_run.metrics["test_accuracy"].values[-1, 1]
        assert tree["data/train_inputs"].dims == ("seed", "example", "input")
    for group in ("parameters", "metrics"):
        with xr.open_dataset(tiny_path, group=group, engine="h5netcdf") as dataset:
            assert {"step", "epoch", "seed"} <= set(dataset.coords)


def test_a_run_opens_in_netcdf4_with_named_dimensions(tiny_path):
    with netCDF4.Dataset(tiny_path) as dataset:
        assert dataset["parameters"]["W"].dimensions == ("step", "seed", "neuron", "input")
        assert dataset["data"]["test_inputs"].dimensions == ("test_example", "input")
        assert dataset["metrics"]["train_loss"][:].shape == (5, 3)


def broken(tmp_path: Path, tiny_path: Path, kind: str) -> Path:
    path = tmp_path / f"{kind}.h5"
    content = tiny_path.read_bytes()
    if kind == "text":
        path.write_text("hello")
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "folder":
        path.mkdir()
    elif kind == "truncated":
        path.write_bytes(content[: len(content) // 3])
    elif kind == "overwritten":
        path.write_bytes(content[:48] + b"\xff" * 4000 + content[4048:])
    elif kind != "missing":
        path.write_bytes(content)
        with h5py.File(path, "r+") as file:
            if kind == "foreign":
                del file.attrs["format"]
            elif kind == "newer":
                file.attrs["format_version"] = np.int64(99)
            elif kind == "no config":
                del file.attrs["config"]
            elif kind == "bad config":
                file.attrs["config"] = "{"
            elif kind == "no parameters":
                del file["parameters"]
            elif kind == "no step":
                del file["step"]
    return path


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("missing", "does not exist"),
        ("text", "is not an HDF5 file, so it is not a run"),
        ("empty", "is not an HDF5 file"),
        ("folder", "is a folder"),
        ("truncated", "is damaged: .*truncated file"),
        ("overwritten", "is damaged"),
        ("foreign", "is an HDF5 file but not a run: its 'format' is None, expected 'circuits-run'"),
        ("newer", "has format version 99, this package reads up to 2. Upgrade grokking-circuits."),
        ("no config", "attribute 'config' is missing"),
        ("bad config", "is damaged"),
        ("no parameters", "is damaged"),
        ("no step", "is damaged"),
    ],
)
def test_a_wrong_or_damaged_file_gets_one_line_that_names_it(tmp_path, tiny_path, kind, message):
    path = broken(tmp_path, tiny_path, kind)
    with pytest.raises(circuits.InputError, match=message) as caught:
        circuits.open(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_a_run_is_read_by_another_process_while_it_is_written(tmp_path, make_config):
    path = tmp_path / "live.h5"
    config = tmp_path / "config.json"
    config.write_text(make_config(epochs=2500, name="live").to_json())
    code = f"import circuits, json; circuits.train(circuits.config.read_config({str(config)!r}), {str(path)!r})"
    writer = subprocess.Popen([sys.executable, "-c", "import circuits.config; " + code])
    try:
        while not path.exists():
            assert writer.poll() is None
            time.sleep(0.002)
        run = circuits.open(path)
        seen = [run.n_checkpoints]
        while not run.refresh().is_complete:
            n = run.n_checkpoints
            assert n >= seen[-1]
            seen.append(n)
            assert run.steps.tolist() == [7 * index for index in range(n)]
            if n:
                assert np.isfinite(run.parameters["W"].values).all()
                assert np.isfinite(run.metrics["train_loss"].values).all()
            assert writer.poll() in (None, 0)
            time.sleep(0.01)
        assert len(set(seen)) > 5
        assert writer.wait() == 0
        run.close()
    finally:
        writer.kill()
        writer.wait()


@pytest.fixture
def flagship_sized(tmp_path, make_config):
    """Chunks of one checkpoint, as the full-size preset has them."""
    config = make_config(model__width=1500, task__n=40, seeds=[0, 1, 2, 3], epochs=6)
    circuits.train(config, tmp_path / "wide.h5", progress=False).close()
    return tmp_path / "wide.h5"


def test_a_notebook_may_open_the_same_run_again_and_again(flagship_sized):
    first = circuits.open(flagship_sized)
    W = first.parameters["W"]
    assert W[3].values.shape == (4, 1500, 40)
    second = circuits.open(flagship_sized)
    assert (second.parameters["W"][:5].values == W[:5].values).all()
    again = circuits.train(None, flagship_sized, resume=True, progress=False)
    assert (again.parameters["W"].values == W.values).all()
    second.close()
    first.refresh()
    assert (W[-1].values == again.parameters["W"][-1].values).all()


def test_one_handle_of_a_dataset_serves_every_read(tiny_path):
    with circuits.open(tiny_path) as first, circuits.open(tiny_path) as second:
        for run in (first, second, first):
            assert run.parameters["W"][1].shape == (3, 16, 8)
            assert run.parameters["W"][1].values.any()
        with first._opened.dataset("parameters/W") as one, second._opened.dataset("parameters/W") as other:
            assert one is other
    again = circuits.open(tiny_path)  # the handles are closed with the file
    assert again.parameters["W"][1].values.any()
    again.close()


def test_a_run_that_was_closed_says_so(flagship_sized):
    run = circuits.open(flagship_sized)
    W = run.parameters["W"]
    run.close()
    with pytest.raises(circuits.InputError, match=r"was closed, so parameters/W can no longer be read"):
        W[0].values  # noqa: B018


def test_resuming_what_this_process_has_open_says_what_to_do(tmp_path, make_config):
    with circuits.train(make_config(), tmp_path / "a.h5", progress=False) as run:
        run.parameters["W"][0].load()
        with pytest.raises(circuits.InputError, match=r"If this process has it open, close that Run first"):
            circuits.train(make_config(epochs=8), tmp_path / "a.h5", resume=True, progress=False)
        assert run.refresh().n_checkpoints == 5
    with circuits.train(make_config(epochs=8), tmp_path / "a.h5", resume=True, progress=False) as run:
        assert run.n_checkpoints == 9


@pytest.mark.slow
def test_two_runs_of_a_live_file_see_it_grow(tmp_path, make_config):
    path, config = tmp_path / "live.h5", tmp_path / "config.json"
    config.write_text(make_config(epochs=3000).to_json())
    code = (
        "import sys, circuits; from circuits.config import read_config\n"
        "circuits.train(read_config(sys.argv[1]), sys.argv[2], progress=False)"
    )
    writer = subprocess.Popen([sys.executable, "-c", code, str(config), str(path)])
    try:
        while not path.exists():
            assert writer.poll() is None
            time.sleep(0.002)
        first, seen = circuits.open(path), set()
        while not first.is_complete:
            second = circuits.open(path)
            seen.add(second.n_checkpoints)
            assert second.n_checkpoints >= first.n_checkpoints
            W = first.parameters["W"]
            assert (second.parameters["W"][: len(W)].values == W.values).all()
            first.refresh()
            assert writer.poll() in (None, 0)
            time.sleep(0.01)
        assert len(seen) > 3
        assert writer.wait() == 0
    finally:
        writer.kill()
        writer.wait()


@pytest.mark.slow
def test_a_run_opens_after_xarray_has_opened_it_in_the_same_process_and_before(tiny_path):
    for first in ("xarray", "circuits"):
        with ExitStack() as stack:
            for which in (first, {"xarray": "circuits", "circuits": "xarray"}[first]):
                if which == "xarray":
                    tree = stack.enter_context(xr.open_datatree(tiny_path, engine="h5netcdf"))
                else:
                    run = stack.enter_context(circuits.open(tiny_path))
            assert (tree["parameters/W"].values == run.parameters["W"].values).all()
            assert run.refresh().n_checkpoints == 5
    with circuits.open(tiny_path) as run:
        assert set(run.metrics.to_dataframe().index.names) == {"step", "seed"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda file: file["metrics"].pop("train_zero_outputs"), "metrics/train_zero_outputs' is missing"),
        (
            lambda file: file.attrs.modify("parent", json.dumps({"path": "a.h5", "step": 3})),
            "needs a field 'fingerprint'",
        ),
        (lambda file: file.attrs.modify("parent", json.dumps([1])), "'parent' is not an object"),
        (
            lambda file: file.attrs.modify(
                "parent", json.dumps({"path": "", "fingerprint": "", "step": 0, "neurons": 1})
            ),
            "needs a field 'neurons' that is a list|needs a field 'seed'",
        ),
    ],
)
def test_what_would_be_missed_later_is_missed_at_opening(change, said, tiny_path, tmp_path):
    path = shutil.copy(tiny_path, tmp_path / "a.h5")
    with h5py.File(path, "r+") as file:
        change(file)
    with pytest.raises(circuits.InputError, match=said):
        circuits.open(path)
