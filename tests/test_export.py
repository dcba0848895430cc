"""`circuits export`: every format gives back the bits, without pickles."""

import json

import numpy as np
import pytest
import torch

import circuits
from circuits.cli.main import main


@pytest.fixture
def run(tiny_path, tmp_path):
    (tmp_path / "tiny.h5").write_bytes(tiny_path.read_bytes())
    with circuits.open(tmp_path / "tiny.h5") as opened:
        yield opened


def from_npz(path):
    with np.load(path, allow_pickle=False) as file:
        metadata = json.loads(file["__metadata__"].item())
        return {name: file[name] for name in file.files if name != "__metadata__"}, metadata


def from_safetensors(path):
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        metadata = {name: text if name == "run" else json.loads(text) for name, text in file.metadata().items()}
        return {name: file.get_tensor(name) for name in file.keys()}, metadata  # noqa: SIM118


def from_torch(path):
    return {name: values.numpy() for name, values in torch.load(path, weights_only=True).items()}, None


READ = {"npz": from_npz, "safetensors": from_safetensors, "torch": from_torch}


@pytest.mark.parametrize("format", READ)
def test_every_format_gives_back_the_bits_and_says_what_they_are(run, format):
    path = circuits.export(run, format=format, seed=1, checkpoint=2)
    parameters, metadata = READ[format](path)
    expected = run.arrays(1, 2)
    assert path.name == f"tiny-seed1-step14.{'pt' if format == 'torch' else format}"
    assert path.parent == run.path.parent
    assert parameters.keys() == expected.keys()
    for name, values in parameters.items():
        assert values.dtype == np.float32
        assert values.tobytes() == expected[name].tobytes()
        assert values.shape == expected[name].shape
    if metadata is not None:
        assert circuits.Config.model_validate(metadata.pop("config")) == run.config
        assert metadata == {"run": "tiny.h5", "seed": 1, "checkpoint": 2, "step": 14, "epoch": 2.0}


@pytest.mark.parametrize("format", READ)
def test_scalars_double_precision_and_values_that_are_no_numbers_survive(tmp_path, make_config, format, monkeypatch):
    config = make_config(model__kind="linear", dtype="float64", epochs=1)
    with circuits.train(config, tmp_path / "linear.h5", progress=False) as run:
        odd = {"w": np.array([np.nan, np.inf, -0.0, 5e-324] * 2), "c": np.array(1 / 3)}
        monkeypatch.setattr(run, "arrays", lambda *_: odd)
        parameters, _ = READ[format](circuits.export(run, format=format))
    assert parameters["c"].shape == ()
    assert all(parameters[name].tobytes() == odd[name].tobytes() for name in odd)


def test_an_exported_pt_is_a_state_dict_of_the_model(run):
    path = circuits.export(run, format="torch", seed=2)
    network = run.model(seed=0)
    network.load_state_dict(torch.load(path, weights_only=True))
    inputs = torch.from_numpy(run.data()["test_inputs"].values)
    assert torch.equal(network(inputs), run.model(seed=2)(inputs))


def test_a_step_can_be_named_and_a_path_given_for_the_run(run):
    path = circuits.export(run.path, run.path.parent / "w.npz", step=7, seed=0)
    assert from_npz(path)[1]["checkpoint"] == 1


@pytest.mark.parametrize(("name", "read"), [("w.pt", from_torch), ("w.safetensors", from_safetensors), ("w", from_npz)])
def test_without_a_format_the_suffix_decides(run, name, read):
    parameters, _ = read(circuits.export(run, run.path.parent / name))
    assert (parameters["u"] == run.arrays()["u"]).all()


def test_no_file_is_replaced_unasked_and_none_is_left_behind(run):
    path = circuits.export(run)
    before = path.read_bytes()
    with pytest.raises(
        circuits.InputError, match=r"step28\.npz exists\. Pass overwrite=True to replace it, or another path\."
    ):
        circuits.export(run, path, checkpoint=0)
    assert path.read_bytes() == before
    circuits.export(run, path, checkpoint=0, overwrite=True)
    assert path.read_bytes() != before
    assert [other.name for other in path.parent.iterdir() if other.name.endswith(".tmp")] == []


def test_a_failure_leaves_the_old_file_and_nothing_else(run, monkeypatch):
    path = circuits.export(run)
    before = path.read_bytes()

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OSError, match="No space left"):
        circuits.export(run, path, checkpoint=0, overwrite=True)
    assert path.read_bytes() == before
    assert len(list(path.parent.glob(f"{path.name}*"))) == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--format npy", "There is no format 'npy'. Did you mean 'npz'? There are: npz, safetensors, torch."),
        ("--seed 9", "tiny.h5 has no seed 9. It has: 0, 1, 2."),
        ("--checkpoint 400", "tiny.h5 has 5 checkpoints, so checkpoint 400 does not exist. Pass 0..4, -1"),
        ("--step 8", "tiny.h5 keeps no checkpoint at step 8. The nearest is step 7."),
        ("--checkpoint 1 --step 7", "Pass checkpoint or step, not both."),
        ("--out tiny.h5 --overwrite", "tiny.h5 is the run itself. Pass another --out."),
        ("--out gone/w.npz", "gone is not a folder, so w.npz cannot be written there."),
    ],
)
def test_the_command_refuses_in_one_line(run, words, message, capsys, monkeypatch):
    monkeypatch.chdir(run.path.parent)
    assert main(["export", "tiny.h5", *words.split()]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"error: {message}")
    assert err.count("\n") == 1


def test_an_unknown_format_is_refused(run):
    with pytest.raises(circuits.InputError, match=r"There is no format 'pth'\. There are: npz, safetensors, torch\."):
        circuits.export(run, format="pth")


def test_the_command_prints_where_it_wrote(run, capsys, monkeypatch):
    monkeypatch.chdir(run.path.parent)
    assert main(["export", "tiny.h5", "--format", "safetensors", "--seed", "2", "--checkpoint", "-2"]) == 0
    assert capsys.readouterr().out == "tiny-seed2-step21.safetensors\n"
    parameters, metadata = from_safetensors("tiny-seed2-step21.safetensors")
    assert metadata["checkpoint"] == 3
    assert (parameters["W"] == run.arrays(2, 3)["W"]).all()


def test_no_run_is_overwritten_by_an_export(tmp_path, tiny_run):
    other = tmp_path / "other.h5"
    other.write_bytes(tiny_run.path.read_bytes())
    with pytest.raises(circuits.InputError, match="is an HDF5 file, such as a run, so it is not overwritten"):
        circuits.export(tiny_run, other, format="npz", overwrite=True)
    assert other.read_bytes() == tiny_run.path.read_bytes()
