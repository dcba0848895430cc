import json

import numpy as np
import pytest
import xarray as xr

import circuits
from circuits.analysis import Options
from circuits.analysis.sidecar import read_sidecar, sidecar_path, write_sidecar
from circuits.analysis.store import read_json, to_json
from circuits.checkpoints.labeled import labeled
from circuits.registry import MEASUREMENTS, load


@pytest.fixture(scope="module")
def results(tiny_path):
    with circuits.open(tiny_path) as run:
        return circuits.analyze(run)


def identical(a, b):
    xr.testing.assert_identical(labeled(a), labeled(b))  # of one class
    assert all(a[name].dtype == b[name].dtype for name in a.variables)


def test_json_is_strict_and_restores_exactly(tiny_run, results):
    text = to_json(tiny_run, results)
    document = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not strict JSON"))
    assert document["schema_version"] == 1
    assert document["run"]["seeds"] == [0, 1, 2]
    for name, dataset in results.items():
        identical(read_json(text)[name], dataset)


def test_json_restores_nan_infinity_bool_text_float32_and_empty(tiny_run):
    odd = xr.Dataset(
        {
            "x": ("a", np.array([np.nan, np.inf, -np.inf, 0.1], np.float32)),
            "ok": ("a", [True, False, True, True]),
            "none": (("b", "a"), np.zeros((0, 4))),
            "n": ((), 3),
        },
        {"a": ["p", "q", "r", "s"]},
        {"note": "text", "list": ["one", "two"]},
    )
    text = to_json(tiny_run, {"odd": odd})
    assert '"data": [null, "Infinity", "-Infinity", 0.1' in text
    identical(read_json(text)["odd"], odd)


def test_json_reads_from_a_file(tmp_path, tiny_run, results):
    path = tmp_path / "r.json"
    path.write_text(to_json(tiny_run, results))
    identical(read_json(path)["norms"], results["norms"])


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "not JSON"), ('{"schema_version": 9}', "schema_version 9"), ("/none.json", "No such file")],
)
def test_what_is_no_result_is_said(text, message):
    with pytest.raises(circuits.InputError, match=message):
        read_json(text)


@pytest.mark.slow
def test_the_sidecar_holds_the_results_and_what_made_them(tmp_path, tiny_run, results):
    path = write_sidecar(tiny_run, results, path=tmp_path / "s.nc")
    with xr.open_datatree(path, engine="h5netcdf") as tree:
        assert tree.attrs["run_fingerprint"] == tiny_run.fingerprint
        assert tree.attrs["circuits_version"] == circuits.__version__
        assert json.loads(tree["subnetwork"].attrs["options"])["agreement_set"] == "train"
        found = tree["subnetwork"].to_dataset()["effective_sparsity"]
        assert (found.values == results["subnetwork"]["effective_sparsity"].values).all()


def test_the_sidecar_lies_beside_the_run(tiny_run):
    assert sidecar_path(tiny_run) == tiny_run.path.with_name("tiny.analysis.nc")


def test_neither_the_run_nor_a_foreign_file_is_overwritten(tmp_path, tiny_run, results):
    before = tiny_run.path.read_bytes()
    with pytest.raises(circuits.InputError, match="is the run itself"):
        write_sidecar(tiny_run, results, path=tiny_run.path)
    assert tiny_run.path.read_bytes() == before
    other = tmp_path / "notes.nc"
    other.write_text("mine")
    with pytest.raises(circuits.InputError, match="not an analysis sidecar"):
        write_sidecar(tiny_run, results, path=other)
    assert other.read_text() == "mine"
    with pytest.raises(circuits.InputError, match=r"the folder .* does not exist"):
        write_sidecar(tiny_run, results, path=tmp_path / "no" / "s.nc")


def groups(path):
    with xr.open_datatree(path, engine="h5netcdf") as tree:
        return list(tree.children)


def test_a_sidecar_keeps_what_was_measured_under_the_same_options(tmp_path, tiny_run, results):
    path = write_sidecar(tiny_run, {"norms": results["norms"]}, path=tmp_path / "s.nc")
    write_sidecar(tiny_run, {"subnetwork": results["subnetwork"]}, path=path)
    assert groups(path) == ["subnetwork", "norms"]
    with xr.open_datatree(path, engine="h5netcdf") as tree:
        assert (tree["norms/group_norm"].values == results["norms"]["group_norm"].values)[0].all()


@pytest.mark.slow
def test_each_measurement_is_kept_with_its_own_options(tmp_path, tiny_run, results):
    path = write_sidecar(tiny_run, results, path=tmp_path / "s.nc")
    other = Options(norm="path", time_limit=3, walsh_samples=32)
    write_sidecar(tiny_run, circuits.analyze(tiny_run, "norms", options=other), other, path)
    assert groups(path) == list(results)
    assert set(read_sidecar(tiny_run, path=path).results) == set(results) - {"norms"}
    assert set(read_sidecar(tiny_run, other, path).results) == {"phases", "norms"}
    assert read_sidecar(tiny_run, other, path).dropped["subnetwork"] == "measured with other options"
    unread = Options(time_limit=3, key_share=0.5)
    assert set(read_sidecar(tiny_run, unread, path).results) == set(results) - {"norms"}
    assert set(read_sidecar(tiny_run, Options(walsh_samples=32), path).results) == set(results) - {"norms", "walsh"}


@pytest.mark.slow
def test_a_sidecar_drops_what_other_code_or_another_state_of_the_run_made(tmp_path, tiny_run, results, monkeypatch):
    path = write_sidecar(tiny_run, results, path=tmp_path / "s.nc")
    norms = {"norms": results["norms"]}
    with monkeypatch.context() as patch:
        patch.setattr("circuits.analysis.sidecar._code", lambda: "an edited measurement")
        stored = read_sidecar(tiny_run, path=path)
        assert stored.results == {}
        assert stored.remark() == f"{path}: its content was made by another version of circuits"
        write_sidecar(tiny_run, norms, path=path)
        assert groups(path) == ["norms"]
    assert read_sidecar(tiny_run, path=path).results == {}


def test_the_options_of_all_measurements_are_those_of_each_and_no_others():
    own = [load(entry.options) for entry in MEASUREMENTS.values()]
    assert set(Options.model_fields) == {name for kind in own for name in kind.model_fields}
    assert all(issubclass(Options, kind) for kind in own)


@pytest.mark.slow
def test_what_is_stored_is_read_back_with_its_warnings_as_a_list(tmp_path, tiny_run, results):
    path = write_sidecar(tiny_run, results, path=tmp_path / "s.nc")
    found = read_sidecar(tiny_run, path=path).results
    assert list(found) == list(results)
    for name, dataset in results.items():
        assert found[name].equals(dataset)
        assert found[name].attrs.get("warnings") == dataset.attrs.get("warnings")
        assert not isinstance(found[name].attrs.get("warnings"), str)


@pytest.mark.slow
def test_nothing_is_read_of_a_sidecar_of_other_options_another_version_or_another_state_of_the_run(
    tmp_path, tiny_run, results, monkeypatch, make_config
):
    path = write_sidecar(tiny_run, results, path=tmp_path / "s.nc")
    assert read_sidecar(tiny_run, Options(memorization_threshold=0.5), path).results == {}
    with circuits.train(make_config(seeds=[5]), tmp_path / "other.h5", progress=False) as other:
        assert read_sidecar(other, path=path).results == {}
    monkeypatch.setattr(circuits, "__version__", "0.0.0")
    assert read_sidecar(tiny_run, path=path).results == {}


@pytest.mark.parametrize("content", [None, b"", b"mine", b"\x89HDF\r\n\x1a\n damaged"])
def test_nothing_is_read_where_there_is_no_sidecar(tmp_path, tiny_run, content):
    path = tmp_path / "s.nc"
    if content is not None:
        path.write_bytes(content)
    assert read_sidecar(tiny_run, path=path).results == {}
    assert read_sidecar(tiny_run, path=tiny_run.path).results == {}
