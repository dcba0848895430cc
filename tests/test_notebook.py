"""What a notebook shows: errors of `sel`, displays of runs, configs and results, phases after training, names, help."""

import json
import pickle
import pydoc
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pytest
import xarray as xr

import circuits
from circuits import notebook
from circuits.analysis.measured import Measured
from circuits.analysis.results import results_of
from circuits.analysis.store import read_json, to_json
from circuits.checkpoints.labeled import labeled
from circuits.registry import MEASUREMENTS
from circuits.tabular import new_table

NEAREST = 'The nearest is step {}; method="nearest" selects it.'


@pytest.fixture
def values():
    coordinates = {"step": [0, 32, 64], "epoch": ("step", [0.0, 1.0, 2.0]), "seed": [3, 5], "group": ["end", "others"]}
    variables = {"norm": (("step", "seed"), np.arange(6.0).reshape(3, 2)), "size": (("group",), [4, 9])}
    return labeled(xr.Dataset(variables, coordinates, {"about": "norms"}))


@pytest.fixture
def plain(values):
    return xr.Dataset(values.data_vars, values.coords, values.attrs)


@pytest.mark.parametrize(
    "select",
    [
        lambda run: run.parameters["W"].sel(step=15),
        lambda run: run.parameters["W"].sel(seed=0, step=15),
        lambda run: run.parameters.sel(step=15),
        lambda run: run.parameters.W.loc[15],
        lambda run: run.metrics["test_loss"].sel(step=15),
        lambda run: run.metrics.sel({"step": [0, 15]}),
        lambda run: circuits.analyze(run, "norms")["norms"].sel(step=15),
        lambda run: circuits.analyze(run, "norms")["norms"]["neuron_norm"].sel(step=15),
        lambda run: circuits.analyze(run, "norms")["norms"]["neuron_norm"].mean("neuron").sel(step=15),
        lambda run: results_of(run, "norms", keep=False).datasets["norms"].sel(step=15),
    ],
)
def test_a_missing_step_is_named_with_the_nearest(tiny_run, select):
    with pytest.raises(circuits.InputError) as caught:
        select(tiny_run)
    assert str(caught.value) == f"There is no step 15. {NEAREST.format(14)}"
    assert isinstance(caught.value, KeyError)  # xarray's own class
    assert caught.value.__suppress_context__  # no second traceback


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({"step": 33}, f"There is no step 33. {NEAREST.format(32)}"),
        ({"step": np.array([0, 90])}, f"There is no step 90. {NEAREST.format(64)}"),
        ({"step": 90, "method": "bfill"}, 'step 90 has no label on the side that method="bfill" takes. The nearest is'),
        ({"step": 40, "method": "nearest", "tolerance": 4}, "There is no step within 4 of 40. The nearest is step 32."),
        ({"step": "32"}, "There is no step '32'. There are: 0, 32, 64."),
        ({"step": float("nan")}, "There is no step nan. There are: 0, 32, 64."),
        ({"epoch": 1.2}, 'There is no epoch 1.2. The nearest is epoch 1.0; method="nearest" selects it.'),
        ({"seed": 4}, "There is no seed 4. There are: 3, 5."),
        ({"group": "other"}, "There is no group 'other'. Did you mean 'others'? There are: end, others."),
    ],
)
def test_a_missing_label_is_named(values, labels, message):
    with pytest.raises(circuits.InputError) as caught:
        values.sel(**labels)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_a_long_list_of_labels_is_cut():
    with pytest.raises(circuits.InputError, match=r"There is no seed 50\. There are 30, such as 0 and 29\."):
        labeled(xr.Dataset(coords={"seed": np.arange(30)})).sel(seed=50)


def test_what_exists_is_selected_as_in_xarray(values, plain):
    for labels in ({"step": 32}, {"epoch": 1.0}, {"step": slice(1, 70)}, {"step": 33, "method": "nearest"}):
        assert values.sel(**labels).identical(plain.sel(**labels))
    with pytest.raises(KeyError, match="not a valid dimension or coordinate"):
        values.sel(checkpoint=3)
    stacked = values.stack(network=("step", "seed"))
    assert float(stacked["norm"].sel(network=(32, 5))) == 3
    with pytest.raises(KeyError):  # xarray's own error
        stacked.sel(network=(33, 5))


def test_operations_of_xarray_keep_values_and_the_error(values, plain, tmp_path):
    other = xr.DataArray([1.0, 2.0], {"seed": [5, 7]}, name="other")
    for operation in (
        lambda data: data["norm"] * 2 + data["norm"].mean("seed"),
        lambda data: data.mean("seed"),
        lambda data: data["norm"] + other,
        lambda data: xr.concat([data[["norm"]], data[["norm"]].assign_coords(seed=[6, 7])], "seed", data_vars="all"),
        lambda data: xr.concat([data["norm"], data["norm"].assign_coords(seed=[6, 7])], "seed"),
        lambda data: xr.align(data, other)[0],
        lambda data: data.merge(other, join="inner"),
        lambda data: data["norm"].to_dataset(),
        lambda data: data[["norm"]].isel(seed=0),
        lambda data: data["norm"].cumsum("step").diff("seed"),
        lambda data: data.groupby("seed").map(lambda one: one),
        lambda data: data.rename(norm="size_of_it")["size_of_it"].round(),
        lambda data: pickle.loads(pickle.dumps(data)),
        lambda data: pickle.loads(pickle.dumps(data["norm"])),
    ):
        result = operation(values)
        assert result.identical(operation(plain))
        with pytest.raises(circuits.InputError, match="There is no step 33"):
            result.sel(step=33)
    for function in (np.log1p, lambda data: data.where(data > 1), lambda data: data.astype(int)):
        assert function(values["norm"]).identical(function(plain["norm"]))  # plain results, as xarray makes them
    assert (other + values["norm"]).identical(other + plain["norm"])
    assert xr.align(other, values)[1].identical(xr.align(other, plain)[1])
    values.to_netcdf(tmp_path / "values.nc", engine="h5netcdf")
    with xr.open_dataset(tmp_path / "values.nc", engine="h5netcdf") as stored:
        assert stored.identical(plain)
    assert repr(values) == repr(plain)
    assert repr(values["norm"]) == repr(plain["norm"])


def test_labels_change_nothing_and_read_nothing(tiny_run, plain):
    assert labeled(plain).identical(plain)
    assert type(plain) is xr.Dataset
    assert not tiny_run.parameters["W"].variable._in_memory
    assert not labeled(tiny_run.parameters)["W"][:2].variable._in_memory


def test_results_read_from_json_and_from_the_sidecar_have_the_error(tiny_run, tmp_path):
    results = circuits.analyze(tiny_run, "norms")
    stored = results_of(tiny_run, "norms", out=tmp_path / "a.nc")
    again = results_of(tiny_run, "norms", out=tmp_path / "a.nc")
    assert not stored.reused
    assert again.reused == ("phases", "norms")
    for one in (read_json(to_json(tiny_run, results))["norms"], again.datasets["norms"]):
        xr.testing.assert_equal(one, results["norms"])
        with pytest.raises(circuits.InputError, match="There is no step 15"):
            one.sel(step=15)


class Page(HTMLParser):
    """The texts and the elements of HTML; every element must be closed, and none may load or run anything."""

    def __init__(self, html):
        super().__init__()
        self.texts, self.open, self.seen = [], [], set()
        self.feed(html)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.open.append(tag)
        self.seen.add(tag)
        assert {name for name, _ in attributes} <= {"style"}

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


PLAIN = {"div", "table", "thead", "tbody", "tr", "td", "th", "details", "summary"}


def test_a_run_displays_its_facts_and_reads_no_parameters(tiny_run, monkeypatch):
    monkeypatch.setattr(type(tiny_run), "parameters", property(lambda run: pytest.fail("parameters were read")))
    page = Page(tiny_run._repr_html_())
    assert page.seen <= PLAIN
    for text in (f"circuits.Run {tiny_run.path}", "complete", "5 of 5, steps 0 to 28, epochs 0 to 4", "0 1 2"):
        assert text in page.texts


def test_a_run_displays_after_it_was_closed_and_its_file_removed(tmp_path, make_config):
    with circuits.train(make_config(epochs=0), tmp_path / "a.h5", progress=False) as run:
        run.path.unlink()
    assert "the file is gone" in Page(run._repr_html_()).texts


def test_a_config_displays_what_differs_from_the_defaults_first(make_config):
    page = Page(make_config()._repr_html_())
    assert page.seen <= PLAIN
    fold = next(place for place, text in enumerate(page.texts) if text.endswith(" fields at their defaults"))
    assert page.texts.index("seeds") < fold < page.texts.index("loss")
    assert page.texts[page.texts.index("name") + 1] == "tiny"
    assert set(type(make_config()).model_fields) <= set(page.texts)
    assert "n_train" in Page(make_config().task._repr_html_()).texts


def test_results_display_the_tables_and_the_datasets(tiny_run):
    results = circuits.analyze(tiny_run, "norms")
    html = results._repr_html_()
    for text in ("Results of circuits.analyze", "Phases, in epochs", "memorized", '["phases"]', '["norms"]'):
        assert notebook.text_html(text) in html
    assert html.count("<details") >= 2
    assert isinstance(results, dict)
    assert pickle.loads(pickle.dumps(results))["norms"].identical(results["norms"])
    of_file = results_of(tiny_run, "norms", keep=False)._repr_html_()
    assert "tiny.analysis.nc" in of_file
    assert "Phases, in epochs" in of_file
    assert "norms" in Measured({"norms": results["norms"]})._repr_html_()  # without phases, no tables


def test_what_files_hold_is_escaped(make_config, tmp_path):
    attack = '<script>alert(1)</script> & "x"'
    config = make_config(source=attack, epochs=0)
    with circuits.train(config, tmp_path / "<i>a.h5", progress=False) as run:
        for html in (config._repr_html_(), run._repr_html_()):
            page = Page(html)
            assert page.seen <= PLAIN
            assert any(attack in text for text in page.texts)
    table = new_table("<b>seed", "x")
    table.add_row("<i>", "[red]\x1b[31m")
    page = Page(notebook.table_html("<u>", table))
    assert page.seen <= PLAIN
    assert page.texts == ["<u>", "<b>seed", "x", "<i>", "[red]\\x1b[31m"]


def test_long_values_are_cut():
    html = notebook.facts_html({"seeds": ", ".join(map(str, range(5000)))})
    assert len(html) < 1000
    assert "4999" in html


@pytest.fixture
def shown(monkeypatch):
    """What a notebook would display."""
    bundles = []
    monkeypatch.setattr("circuits.training.loop.in_notebook", lambda: True)
    monkeypatch.setattr("IPython.display.display", lambda bundle, raw: bundles.append(bundle))
    return bundles


def test_training_in_a_notebook_displays_the_phases(tmp_path, make_config, shown, capsys):
    for resume in (False, True):  # a complete run too
        with circuits.train(make_config(epochs=1, task__n_test=4), tmp_path / "a.h5", resume=resume) as run:
            (bundle,) = shown
            page = Page(bundle["text/html"])
            assert page.seen <= PLAIN
            start = page.texts.index("Phases, in epochs")
            assert page.texts[start + 1 : start + 5] == ["seed", "memorized", "generalized", "delay"]
            assert {str(seed) for seed in run.seeds} <= set(page.texts)
            assert "memorized" in bundle["text/plain"]
        shown.clear()
    circuits.train(make_config(), tmp_path / "b.h5", progress=False).close()
    assert not shown
    assert "memorized" not in capsys.readouterr().out


def test_training_outside_a_notebook_displays_nothing(tmp_path, make_config, monkeypatch, capsys):
    monkeypatch.setattr("circuits.training.loop.show", lambda *_: pytest.fail("displayed"))
    circuits.train(make_config(), tmp_path / "a.h5").close()
    assert capsys.readouterr().out == ""


@pytest.mark.slow
def test_a_notebook_displays_phases_run_and_results(tmp_path, make_config):
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    (tmp_path / "config.json").write_text(make_config().to_json())
    cells = [
        "import json, circuits\nrun = circuits.train(json.load(open('config.json')), 'a.h5')",
        "run",
        "circuits.analyze(run, 'norms')",
        "quiet = circuits.train(json.load(open('config.json')), 'b.h5', progress=False)",
    ]
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    nbclient.NotebookClient(book, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    trained, displayed, results, quiet = (
        "".join(output.get("data", {}).get("text/html", "") for output in cell.outputs) for cell in book.cells
    )
    assert "Phases, in epochs" in trained
    assert "circuits.Run a.h5" in displayed
    assert "Phases, in epochs" in results
    assert not quiet


def test_dir_lists_what_is_public(tiny_run):
    for package in (circuits, circuits.analysis, circuits.constructions, circuits.figures):
        assert set(dir(package)) == {*package.__all__, *({"__version__"} & vars(package).keys())}
        assert all(hasattr(package, name) for name in dir(package) if not name.endswith("Callback"))
    assert "__version__" in dir(circuits)
    names = dir(tiny_run)
    assert not [name for name in names if name.startswith("_")]
    assert {"parameters", "metrics", "config", "steps", "path", "phases", "checkpoint_index"} <= set(names)


def test_help_lists_every_measurement_also_a_later_one():
    before = circuits.analyze.__doc__
    for name, entry in MEASUREMENTS.items():
        assert f"    - {name}: {entry.help}\n" in before
    try:

        @circuits.register_measurement(name="spread")
        def _(run, options):
            """How far the weights spread."""

        assert circuits.analyze.__doc__ == before.rstrip() + "\n    - spread: How far the weights spread.\n    "
        assert "- spread: How far the weights spread." in pydoc.render_doc(circuits.analyze)
    finally:
        del MEASUREMENTS["spread"]
    assert circuits.analyze.__doc__ == before


def test_importing_circuits_loads_no_more_than_before():
    code = "import circuits, json, sys; print(json.dumps(sorted(sys.modules)))"
    loaded = json.loads(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
    assert {name for name in loaded if name.startswith("circuits")} == {"circuits", "circuits.lazy"}
    assert not {"numpy", "xarray", "IPython", "pydantic", "rich"} & set(loaded)
