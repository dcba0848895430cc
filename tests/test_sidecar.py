"""A sidecar is never trusted: whatever lies there, nothing of it is used that does not hold, and no command ends."""

import os
import threading

import h5py
import numpy as np
import pytest
import xarray as xr
from registered import QUICK, only

import circuits
from circuits.analysis import Options, sidecar
from circuits.analysis.results import results_of
from circuits.analysis.sidecar import read_sidecar, write_sidecar
from circuits.cli.main import main


@pytest.fixture
def run(tiny_path, tmp_path):
    copy = tmp_path / "run.h5"
    copy.write_bytes(tiny_path.read_bytes())
    with circuits.open(copy) as opened:
        yield opened


@pytest.fixture
def few_measurements(monkeypatch):
    """Leaves only quick measurements: these tests are about the file, not about what is in it."""
    only(QUICK, monkeypatch)


@pytest.fixture
def written(run):
    """The path of a sidecar with norms in it."""
    return write_sidecar(run, circuits.analyze(run, "norms"))


def test_one_byte_changed_anywhere_is_noticed(run, written, tmp_path):
    content = written.read_bytes()
    random = np.random.default_rng(0)
    places = [*range(0, 96, 8), *random.integers(0, len(content), 200), *range(len(content) - 130, len(content), 5)]
    whole = read_sidecar(run)
    assert list(whole.results) == ["phases", "norms"]
    assert whole.remark() == ""
    for place in places:
        changed = bytearray(content)
        changed[place] ^= 1 << int(random.integers(8))
        written.write_bytes(changed)
        found = read_sidecar(run)
        assert found.results == {}
        assert str(written) in found.remark()


@pytest.mark.parametrize("kept", [0, 7, 8, 100, 5000, -1])
def test_what_is_left_of_a_sidecar_is_not_used(kept, run, written):
    written.write_bytes(written.read_bytes()[:kept])
    found = read_sidecar(run)
    assert found.results == {}
    assert str(written) in found.remark()


def test_what_another_tool_changed_is_not_used(run, written):
    with h5py.File(written, "r+") as file:
        file["norms/group_norm"][0] = 7
    assert read_sidecar(run).results == {}


@pytest.mark.slow
def test_a_group_of_other_provenance_alone_is_left_out(run, written):
    write_sidecar(run, circuits.analyze(run, "subnetwork"))
    with xr.open_datatree(written, engine="h5netcdf") as tree:
        tree = tree.load()
    tree["norms"].attrs["run_fingerprint"] = "another"
    tree.to_netcdf(written, engine="h5netcdf")
    sidecar._seal(written)
    found = read_sidecar(run)
    assert list(found.results) == ["phases", "subnetwork"]
    assert found.remark() == f"{written}: norms in it was of another run, or of an earlier state of this one"


def test_why_nothing_of_it_holds_is_said(run, written, monkeypatch):
    assert "was measured with other options" in read_sidecar(run, Options(norm="path")).remark()
    monkeypatch.setattr(circuits, "__version__", "0.0.0")
    assert "was made by another version of circuits" in read_sidecar(run).remark()


# ---- hostile files, which say that they are whole ----


def external_storage(file, secret):
    file["norms"].create_dataset("stolen", (8,), "u1", external=[(str(secret), 0, 8)])


def external_link(file, secret):
    file["norms/stolen"] = h5py.ExternalLink(str(secret), "/x")


def virtual(file, secret):
    layout = h5py.VirtualLayout((3,), "f8")
    layout[:] = h5py.VirtualSource(str(secret), "x", (3,))
    file["norms"].create_virtual_dataset("stolen", layout)


def cycle(file, secret):
    file["norms/again"] = file["/"]


def soft_link(file, secret):
    file["norms/again"] = h5py.SoftLink("/norms")


def never_stored(file, secret):
    file["norms"].create_dataset("huge", (1 << 40,), "f8")


def never_stored_chunks(file, secret):
    file["norms"].create_dataset("huge", (1 << 30,), "f8", chunks=(1 << 26,))


def bomb(file, secret):
    file["norms"].create_dataset("bomb", data=np.zeros(1 << 22), chunks=(1 << 22,), compression="gzip")


def reference(file, secret):
    file["norms"].create_dataset("reference", data=file["norms"].ref, dtype=h5py.ref_dtype)


POINTS_ELSEWHERE = [external_storage, external_link, virtual, cycle, soft_link, reference]
PRETENDS = [never_stored, never_stored_chunks, bomb]


@pytest.mark.slow
@pytest.mark.parametrize("change", [*POINTS_ELSEWHERE, *PRETENDS], ids=lambda one: one.__name__)
def test_a_hostile_sidecar_is_refused_by_name_and_made_anew(change, run, written, tmp_path, capsys):
    secret = tmp_path / "secret"
    secret.write_bytes(b"password")
    with h5py.File(written, "r+") as file:
        change(file, secret)
    sidecar._seal(written)
    found = read_sidecar(run)
    assert found.results == {}
    assert found.remark().startswith(f"{written} is refused: /norms/")
    assert main(["analyze", str(run.path), "--faithfulness", "--quiet"]) == 0
    assert f"warning: {found.remark()}, so it is made anew.\n" in capsys.readouterr().err
    assert list(read_sidecar(run).results) == ["phases", "faithfulness"]
    assert b"password" not in written.read_bytes()


# ---- something else in its place ----


def fifo(path):
    os.mkfifo(path)


def text(path):
    path.write_text("mine")


def other_hdf5(path):
    with h5py.File(path, "w") as file:
        file["mine"] = 1


def another_run(path):
    path.write_bytes(path.with_name("run.h5").read_bytes())


@pytest.mark.slow
@pytest.mark.parametrize("make", [fifo, text, other_hdf5, another_run], ids=lambda one: one.__name__)
def test_what_is_no_sidecar_stops_nothing_and_is_kept(make, run, tmp_path, capsys, few_measurements):
    path = sidecar.sidecar_path(run)
    make(path)
    before = path.read_bytes() if path.is_file() else None
    assert main(["report", str(run.path), "--quiet"]) == 0
    assert f"warning: {path} is " in capsys.readouterr().err
    (tmp_path / "run.analysis.nc.1").write_text("older")
    assert main(["analyze", str(run.path), "--norms", "--quiet"]) == 0
    err = capsys.readouterr().err
    assert err.count(str(path)) == 2, "it is named once, and again where the results are"
    assert list(read_sidecar(run).results) == ["phases", "norms"]
    aside = tmp_path / "run.analysis.nc.2"
    assert (aside.read_bytes() if aside.is_file() else None) == before
    assert (tmp_path / "run.analysis.nc.1").read_text() == "older"


@pytest.mark.slow
@pytest.mark.parametrize("change", ["missing", "another shape", "warnings"])
def test_one_that_was_edited_and_sealed_again_stops_nothing(change, run, written, capsys, few_measurements):
    content = written.read_bytes()
    written.write_bytes(content[: -sidecar.SEAL_BYTES])
    with h5py.File(written, "r+") as file:
        if change == "warnings":
            file["norms"].attrs["warnings"] = 3
        else:
            del file["norms/neuron_norm"]
        if change == "another shape":
            file["norms/neuron_norm"] = np.zeros(3)
    sidecar._seal(written)
    assert main(["report", str(run.path), "--quiet"]) == 0
    assert capsys.readouterr().err.count(f"warning: {written}") == 1
    assert main(["analyze", str(run.path), "--norms", "--quiet"]) == 0
    assert "bug" not in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize(
    "measurement", ["norms", pytest.param("subnetwork", marks=pytest.mark.long)], ids=["measured again", "kept"]
)
@pytest.mark.parametrize(
    "value",
    [np.arange(5), np.zeros(0), 3, True, b"\xff", np.array([b"a", b"b"]), "evil\x1b[31m", np.float16(1)],
    ids=repr,
)
def test_provenance_and_attributes_of_any_type_stop_nothing(value, measurement, run, written, capsys):
    content = written.read_bytes()
    for where in ("options", "run_fingerprint", "warnings"):
        written.write_bytes(content[: -sidecar.SEAL_BYTES])
        with h5py.File(written, "r+") as file:
            file["norms"].attrs[where] = value
        sidecar._seal(written)
        assert main(["analyze", str(run.path), f"--{measurement}", "--quiet"]) == 0
        out, err = capsys.readouterr()
        assert err.count("analysis.nc") <= 2
        assert not {"\x1b", "\x07"} & set(out + err)


def test_a_text_of_an_edited_sidecar_is_printed_and_not_obeyed(run, written, capsys):
    content = written.read_bytes()
    written.write_bytes(content[: -sidecar.SEAL_BYTES])
    with h5py.File(written, "r+") as file:
        texts = [item for item in file["norms"].values() if item.dtype.kind == "O"]
        for item in texts:
            item[...] = "a\x1b[31m\x07"
    assert texts
    sidecar._seal(written)
    assert main(["analyze", str(run.path), "--norms", "--quiet"]) == 0
    out, err = capsys.readouterr()
    assert not {"\x1b", "\x07"} & set(out + err)


def folder(path):
    path.mkdir()
    (path / "mine").write_text("mine")


def the_run_itself(path):
    os.link(path.with_name("run.h5"), path)


def dangling_link(path):
    path.symlink_to("nowhere")


@pytest.mark.parametrize("make", [folder, the_run_itself, dangling_link], ids=lambda one: one.__name__)
def test_a_folder_link_or_the_run_in_its_place_is_renamed_but_refused_where_it_was_asked_for(make, run, capsys):
    path = sidecar.sidecar_path(run)
    make(path)
    fingerprint = run.fingerprint
    assert main(["analyze", str(run.path), "--norms", "--quiet", "--out", str(path)]) == 2
    assert capsys.readouterr().err.endswith("Pass another --out.\n")
    assert main(["analyze", str(run.path), "--norms", "--quiet"]) == 0
    out, err = capsys.readouterr()
    assert "norm" in out
    assert err.count(f"warning: {path} ") == 1
    assert "; it is renamed to run.analysis.nc.1" in err
    assert list(read_sidecar(run).results) == ["phases", "norms"]
    aside = path.with_name("run.analysis.nc.1")
    if aside.is_symlink():
        assert os.readlink(aside) == "nowhere"
    else:
        assert (aside / "mine").read_text() == "mine" if aside.is_dir() else aside.samefile(run.path)
    assert circuits.open(run.path).fingerprint == fingerprint


def test_half_of_a_sidecar_is_replaced_and_not_kept_as_of_another_kind(run, written, tmp_path, capsys):
    content = written.read_bytes()
    written.write_bytes(content[: len(content) // 2])
    assert main(["analyze", str(run.path), "--norms", "--quiet"]) == 0
    assert f"warning: {written} is damaged" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run.analysis.nc", "run.h5"]


def test_thousands_of_attributes_are_refused_at_once(run, written):
    with h5py.File(written, "r+") as file:
        for number in range(501):
            file["norms"].attrs[f"x{number}"] = number
    sidecar._seal(written)
    problem = read_sidecar(run).problem
    assert problem.startswith(f"{written} is refused: /norms has 5")
    assert problem.endswith(" attributes, more than 500. A sidecar holds plain local arrays only")


@pytest.mark.slow
@pytest.mark.parametrize(
    "change", [{"optimizer__weight_decay": 3.0}, {"optimizer__lr": 1e30}], ids=["dead", "diverged"]
)
def test_results_without_entries_are_read_back(change, make_config, tmp_path):
    options = Options(walsh_samples=64)
    with circuits.train(make_config(epochs=8, **change), tmp_path / "a.h5", progress=False) as run:
        results = circuits.analyze(run, "walsh", "constructions", options=options)
        write_sidecar(run, results, options)
        stored = read_sidecar(run, options)
    assert stored.remark() == ""
    assert set(stored.results) == {"phases", "walsh", "constructions"}
    assert any(0 in values.shape for data in stored.results.values() for values in data.variables.values())


def test_a_result_that_is_edited_is_neither_read_again_nor_stored(run):
    results_of(run, "norms")
    first = results_of(run, "norms").datasets["norms"]["neuron_norm"]
    before, first.values.flat[0] = float(first.values.flat[0]), -123.0
    results_of(run, "phases", force=True)
    assert results_of(run, "norms").datasets["norms"]["neuron_norm"].values.flat[0] == before


def test_the_remark_names_the_file_to_which_another_is_moved(run):
    path = sidecar.sidecar_path(run)
    path.write_text("notes")
    assert results_of(run, "norms").remark.endswith("; it is renamed to run.analysis.nc.1")
    assert path.with_name("run.analysis.nc.1").read_text() == "notes"


def test_two_that_write_at_once_keep_the_results_of_both(run, monkeypatch):
    """The second comes while the first merges: it waits, and then keeps what the first has written."""
    merge, norms, groups = sidecar._as_netcdf, circuits.analyze(run, "norms"), circuits.analyze(run, "faithfulness")
    second = threading.Thread(target=write_sidecar, args=(run, groups))

    def merge_slowly(*arguments):
        monkeypatch.setattr(sidecar, "_as_netcdf", merge)
        second.start()
        second.join(1)  # it would be done by now
        return merge(*arguments)

    monkeypatch.setattr(sidecar, "_as_netcdf", merge_slowly)
    write_sidecar(run, norms)
    second.join()
    assert {"norms", "faithfulness"} <= set(read_sidecar(run).results)
