"""Every value of a run is held against its digest: what differs is named, and nothing else is kept from being read."""

import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import xarray as xr

import circuits
from circuits.checkpoints.digests import digest, metrics_as_rows, row_digests
from circuits.checkpoints.intact import damage
from circuits.cli.main import main

FIXTURES = Path(__file__).parent / "fixtures"


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A run with AdamW, which keeps the optimizer's state at every other checkpoint."""
    data = circuits.preset("merrill-2023").model_dump(mode="json")
    data["task"] |= {"n": 5, "k": 2, "n_train": 8, "n_test": 8}
    data["model"] |= {"width": 4}
    data["checkpoints"] |= {"optimizer_state_every": 2}
    config = circuits.config.parse(
        data | {"optimizer": {"kind": "adamw"}, "batch_size": 8, "seeds": [3, 5], "epochs": 4}
    )
    path = tmp_path_factory.mktemp("kept") / "a.h5"
    circuits.train(config, path, progress=False).close()
    return path


@pytest.fixture
def path(kept, tmp_path):
    return Path(shutil.copy(kept, tmp_path / "a.h5"))


def flip(path, name, at, bit=3):
    """Flip one bit of one value, in the file."""
    with h5py.File(path, "r+") as file:
        values = file[name][()]
        raw = np.atleast_1d(values)[at : at + 1] if values.ndim <= 1 else values.reshape(-1)[at : at + 1]
        changed = bytearray(raw.tobytes())
        changed[0] ^= 1 << bit
        values.reshape(-1)[at] = np.frombuffer(bytes(changed), values.dtype)[0]
        file[name][...] = values


def test_a_digest_is_of_the_bytes_in_order():
    values = np.arange(24.0).reshape(2, 3, 4)
    assert row_digests(values).tolist() == [[digest(one.tobytes()) for one in row] for row in values]
    assert digest(np.asfortranarray(values)) == digest(values)
    assert row_digests(np.zeros((2, 3))).shape == (2, 3)
    assert metrics_as_rows({"b": np.ones((1, 2)), "a": np.zeros((1, 2))}).tolist() == [[[0, 1], [0, 1]]]


def test_an_intact_run_says_so(path, capsys):
    assert main(["show", str(path), "--verify"]) == 0
    assert capsys.readouterr().out == f"{path}: every value of 5 checkpoints of 2 seeds is what was written.\n"


NAMES = ("parameters/W", "parameters/b", "parameters/u", "metrics/test_loss", "optimizer/exp_avg.W", "epoch")


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_flipped_bit_anywhere_is_named_by_array_seed_and_step(path, name):
    random = np.random.default_rng(0)
    with h5py.File(path) as file:
        shape = file[name].shape
        steps = file["state_step" if name.startswith("optimizer") else "step"][:]
    for at in random.integers(0, int(np.prod(shape)), 5).tolist():
        where = np.unravel_index(at, shape)
        flip(path, name, at)
        what = "metrics" if name.startswith("metrics") else name
        seed = f" of seed {(3, 5)[where[1]]}" if len(shape) > 1 else ""
        with circuits.open(path) as run:
            assert damage(run) == [f"{what}{seed} at step {steps[where[0]]}"]
        flip(path, name, at)


@pytest.mark.parametrize("name", ["data/train_inputs", "data/test_targets", "data/test_seen"])
def test_changed_data_are_named_and_not_used(path, name):
    with h5py.File(path, "r+") as file:
        values = file[name][()]
        values.reshape(-1)[0] = 0 if values.reshape(-1)[0] else 1
        file[name][...] = values
    with circuits.open(path) as run:
        assert damage(run) == [name]
        with pytest.raises(circuits.InputError, match=rf"is damaged: {name} is not what was written"):
            run.data(3)


def test_a_row_in_another_rows_place_is_told(path):
    with h5py.File(path, "r+") as file:
        for name in ("W", "b", "u"):
            file[f"parameters/{name}"][1] = file[f"parameters/{name}"][4]
    with circuits.open(path) as run:
        assert len(damage(run)) == 6
        with pytest.raises(circuits.InputError, match="parameters/W of seed 3 at step 1 is not what was written"):
            run.arrays(3, 1)
        run.arrays(3, 0)  # the others can be read


def test_analyses_refuse_damaged_rows_and_parts_of_rows_are_not_checked(path, capsys):
    flip(path, "parameters/W", 70)
    with circuits.open(path) as run:
        assert run.parameters["W"][:, 0, 1].shape == (5, 5)  # one neuron over time
        for read in (lambda: run.parameters["W"].values, lambda: run.parameters["W"][1:4].load()):
            with pytest.raises(circuits.InputError, match=r"parameters/W of seed 5 at step 1 .* show --verify"):
                read()
    assert main(["analyze", str(path), "--norms", "--quiet"]) == 2
    assert "parameters/W of seed 5 at step 1 is not what was written" in capsys.readouterr().err
    assert main(["show", str(path), "--verify"]) == 2
    out, err = capsys.readouterr()
    assert out == "parameters/W of seed 5 at step 1\n"
    assert err.startswith(f"error: {path} is damaged: the values listed above")


def test_a_metric_that_differs_stops_whoever_reads_metrics(path):
    flip(path, "metrics/test_loss", 3)
    with circuits.open(path) as run, pytest.raises(circuits.InputError, match="metrics of seed 5 at step 1"):
        run.metrics  # noqa: B018


def test_a_config_that_differs_is_refused(path):
    with h5py.File(path, "r+") as file:
        text = file.attrs["config"].replace(b'"epochs":4', b'"epochs":5')
        file.attrs.modify("config", np.bytes_(text))
    with pytest.raises(circuits.InputError, match=r"the run's config has changed: the config's digest differs"):
        circuits.open(path)


def test_the_fingerprint_is_of_the_parameters_too(path, kept):
    with circuits.open(kept) as run:
        before = run.fingerprint
    with h5py.File(path, "r+") as file:
        W = file["parameters/W"][4]
        W[0, 0, 0] += 1
        file["parameters/W"][4] = W
        found = file["digests/checkpoint"][4]
        found[:, 0] = row_digests(W[None])[0]
        file["digests/checkpoint"][4] = found
    with circuits.open(path) as run:
        assert damage(run) == []
        assert run.fingerprint != before


@pytest.mark.slow
def test_a_file_of_version_1_opens_with_a_remark_that_it_has_none(capsys, tmp_path):
    old = shutil.copy(FIXTURES / "run-v1.h5", tmp_path)
    with circuits.open(old) as run:
        assert not run.has_digests
        with pytest.raises(circuits.InputError, match="is of format version 1, which has no digests"):
            damage(run)
    assert main(["show", str(old)]) == 0
    assert "none: the file is of format version 1" in capsys.readouterr().out
    for words in (["analyze", "--norms"], ["report"], ["verify"], ["repair"]):
        main([words[0], str(old), *words[1:]])
        assert capsys.readouterr().err.count("has no digests: damaged values in it cannot be detected") == 1


def test_replay_uses_only_states_that_are_what_was_kept(path):
    flip(path, "optimizer/exp_avg.W", 0)
    with circuits.open(path) as run:
        with pytest.raises(circuits.InputError, match=r"optimizer/exp_avg.W of seed 3 at step 0"):
            run.optimizer_state(0)
        assert run.optimizer_state(2)


@pytest.mark.slow
def test_xarray_opens_a_run_whose_optimizer_counts_its_updates(path):
    with xr.open_datatree(path, engine="h5netcdf") as tree, circuits.open(path) as run:
        assert tree["optimizer/n_updates"].dims == ("state_step", "seed")
        assert set(run.optimizer_state(0)) == {
            "step",
            *(f"exp_avg{kind}.{name}" for kind in ("", "_sq") for name in "Wbu"),
        }
        assert (tree["optimizer/exp_avg.W"][0].values == run.optimizer_state(0)["exp_avg.W"]).all()


def test_changed_facts_scales_and_states_to_resume_from_are_named(path, kept):
    with h5py.File(path, "r+") as file:
        file["neuron"][1] = 5
        file["resume/slot0/state/exp_avg.W"][0, 0, 0] += 1
    with circuits.open(path) as run:
        assert set(damage(run)) >= {"neuron"}
        assert any(line.startswith("resume/slot0, to resume from") for line in damage(run))
    with h5py.File(path, "r+") as file:
        file.attrs["numerics"] = file.attrs["numerics"].replace('"path"', '"bath"')
    with pytest.raises(
        circuits.InputError, match="versions, numerics, parent or creation time of the run have changed"
    ):
        circuits.open(path)


def test_lazy_parameters_can_be_copied(path):
    with circuits.open(path) as run:
        assert run.parameters["W"].copy(deep=True).shape == (5, 2, 4, 5)


@pytest.mark.slow
@pytest.mark.parametrize(("damaged", "again"), [([], 0), ([2], 2), ([2, 1], 4), ([2, 1, 0], 5)])
def test_a_run_without_a_whole_newest_state_goes_on_from_the_newest_kept_one(
    path, kept, tmp_path, capsys, damaged, again
):
    for slot in (0, 1):
        flip(path, f"resume/slot{slot}/state/exp_avg.W", 0)
    for at in damaged:
        with h5py.File(path, "r") as file:
            size = file["optimizer/exp_avg.W"][0].size
        flip(path, "optimizer/exp_avg.W", at * size)
    assert main(["train", "--resume", "--out", str(path), "--epochs", "6", "--quiet"]) == 0
    said = capsys.readouterr().err
    if again:
        assert f"Checkpoints to compute again: {'all 5' if again == 5 else f'{again} after it'}." in said
    else:
        assert "omputed again" not in said
    whole = Path(shutil.copy(kept, tmp_path / "whole.h5"))
    assert main(["train", "--resume", "--out", str(whole), "--epochs", "6", "--quiet"]) == 0
    with circuits.open(path) as one, circuits.open(whole) as other:
        assert one.fingerprint == other.fingerprint
        assert one.is_complete
        damage(one)


# ---- whatever is changed in what a run resumes from, replays from and is verified by ----


def members(group):
    """Every array and group below a group, by its path."""
    found = []
    group.visit(found.append)
    return [f"{group.name}/{name}" for name in found]


def gone(file, name):
    del file[name]


def a_group(file, name):
    del file[name]
    file.create_group(name)


def a_text(file, name):
    del file[name]
    file[name] = np.array([b"x"])


def a_number(file, name):
    del file[name]
    file[name] = np.int64(3)


def shorter(file, name):
    values = file[name][...]
    del file[name]
    file[name] = values[..., :1]


def one_more(file, name):
    file[name].create_dataset("zz", data=np.zeros(3))


def negative(file, name):
    file[name][...] = np.iinfo(np.int64).min


def opened_verified_resumed(path):
    """What a person is told who opens, verifies, replays and resumes a run: never anything but one line."""
    told = []
    try:
        with circuits.open(path) as run:
            told += damage(run) if run.has_digests else []
            for step in run.state_steps:
                run.optimizer_state(int(step))
            config = run.config.replace(epochs=6)
        circuits.train(config, path, resume=True, progress=False).close()
    except (circuits.InputError, circuits.RunError) as error:
        told.append(str(error))
    assert not any("\n" in line for line in told)
    return told


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "version"),
    [(change, 2) for change in (gone, a_group, a_text, a_number, shorter, one_more, negative)]
    + [(gone, 1), (a_text, 1)],
)
def test_what_a_run_goes_on_from_is_checked_when_it_is_opened(change, version, path):
    content = path.read_bytes()
    with h5py.File(path, "r") as file:
        names = ["/resume", "/digests", "/optimizer", "/state_step"]
        names += [name for group in ("resume", "digests", "optimizer") for name in members(file[group])]
        leaves = [name for name in names if isinstance(file[name], h5py.Dataset)]
        scalars = [name for name in leaves if file[name].shape == ()]
    if change is one_more:
        names = ["/resume/slot0/state", "/resume/slot1/state", "/optimizer"]
    elif change is negative:
        names = [name for name in scalars if name.endswith("sequence")]
    elif change is shorter:
        names = [name for name in leaves if name not in scalars and not name.endswith(("step", "seed"))]
    for name in names:
        with h5py.File(path, "r+") as file:
            change(file, name)
            file.attrs["format_version"] = np.int64(version)
        changed = path.read_bytes()
        told = opened_verified_resumed(path)
        is_link = name.endswith(("/seed", "/step", "/epoch", "/state_step")) and name != "/state_step"
        is_unwritten = change is a_number and name in ("/resume/slot1/n_checkpoints", "/resume/slot1/crc32")
        assert told or ((is_link or is_unwritten) and version == 2), name
        if told and "is damaged" in told[-1]:
            assert path.read_bytes() == changed
        path.write_bytes(content)


@pytest.mark.parametrize("version", [0, -1, "2", 2.0, np.arange(3), True])
def test_a_format_version_that_is_none_is_refused(version, path):
    with h5py.File(path, "r+") as file:
        file.attrs["format_version"] = version
    with pytest.raises(circuits.InputError, match=r"'format_version' is .* not a number from 1 to 2"):
        circuits.open(path)


@pytest.mark.parametrize(
    "name",
    ["format_version", "recovery_slack", "config", "config_digest", "facts_digest", "parent", "versions", "numerics",
     "created", "other_numerics_since"],
)  # fmt: skip
def test_a_missing_attribute_is_named_with_a_remedy(name, path):
    with h5py.File(path, "r+") as file:
        del file.attrs[name]
    with pytest.raises(
        circuits.InputError, match=rf"is damaged: .*'{name}' is (missing|None).* Restore it from a copy"
    ):
        circuits.open(path)


def test_a_file_that_says_it_has_no_digests_and_has_some_is_refused(path):
    content = path.read_bytes()
    for keep in ("config_digest", "facts_digest", "/digests", "data/train_inputs", ""):
        with h5py.File(path, "r+") as file:
            file.attrs["format_version"] = np.int64(1)
            for name in {"config_digest", "facts_digest"} - {keep}:
                del file.attrs[name]
            if keep != "/digests":
                del file["digests"]
            for name, item in file["data"].items():
                if f"data/{name}" != keep:
                    item.attrs.pop("digest", None)
        line = f"but the file has a digest: {keep}" if keep else "n_updates is not part of the optimizer state"
        with pytest.raises(circuits.InputError, match=line):
            circuits.open(path)
        path.write_bytes(content)


def test_states_to_resume_from_whose_number_changed_sign_are_named(path):
    with h5py.File(path, "r+") as file:
        for slot in (0, 1):
            file[f"resume/slot{slot}/sequence"][...] = np.iinfo(np.int64).min + slot
    with circuits.open(path) as run:
        assert damage(run) == ["resume/slot0, to resume from", "resume/slot1, to resume from"]
