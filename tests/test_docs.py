"""The documentation does what it says: its examples run, and every name in the registry is described."""

import importlib.util
import inspect
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import circuits
from circuits import registry
from circuits.cli.main import main

ROOT = Path(__file__).parent.parent
PAGES = ("getting-started", "training", "presets")


def code_blocks(document: str) -> list[str]:
    """The Python blocks of a Markdown file."""
    return re.findall(
        r"^```python\n(.*?)^```$", (ROOT / document).read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )


@pytest.fixture(scope="module")
def measured(analyzed_path, tmp_path_factory):
    """A folder with a small run and its sidecar, where the documentation expects a big one."""
    folder = tmp_path_factory.mktemp("measured")
    (folder / "checkpoints").mkdir()
    for ending in (".h5", ".analysis.nc"):
        shutil.copy(analyzed_path.with_suffix(ending), folder / "checkpoints" / f"merrill-2023{ending}")
    return folder


@pytest.fixture
def run_in_place(measured, tmp_path, monkeypatch):
    """A copy of it to work in; gives a step that the run kept."""
    shutil.copytree(measured, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    with circuits.open("checkpoints/merrill-2023.h5") as run:
        return int(run.steps[3])


EXAMPLES = ("getting-started", "own-network", "published-weights", "training", "run-file", "analysis")
DOCUMENTS = ["README.md", *(f"docs/{page}.md" for page in EXAMPLES)]
SLOW = ("README.md", "docs/getting-started.md", "docs/own-network.md", "docs/run-file.md")


@pytest.fixture
def registrations_end():
    """Take back what an example registers."""
    tables = (registry.TASKS, registry.MODELS, registry.MEASUREMENTS, registry.PRESETS)
    before = [dict(table.added) for table in tables]
    yield
    for table, added in zip(tables, before, strict=True):
        table.added.clear()
        table.added.update(added)


@pytest.mark.parametrize(
    "document",
    [pytest.param(page, marks=pytest.mark.slow) if page in SLOW else page for page in DOCUMENTS],
)
@pytest.mark.usefixtures("registrations_end")
def test_the_examples_of_the_documents_run(document, run_in_place):
    with circuits.open("checkpoints/merrill-2023.h5") as run:
        names = {"run": run}
        for example in code_blocks(document):
            exec(compile(example.replace("step=3200", f"step={run_in_place}"), document, "exec"), names)


def test_a_loop_of_ones_own_becomes_a_figure_in_30_lines():
    example = code_blocks("docs/own-network.md")[0]
    assert "circuits.record(" in example
    assert "circuits.figures." in example
    assert len([line for line in example.splitlines() if line.strip()]) <= 30


@pytest.mark.parametrize("table", ["MEASUREMENTS", "TASKS", "MODELS", "OPTIMIZERS", "PRESETS"])
def test_every_name_of_the_registry_is_described(table):
    text = (ROOT / "docs" / "analysis.md").read_text(encoding="utf-8")
    if table != "MEASUREMENTS":
        text += "".join((ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8") for page in PAGES)
    assert [name for name in getattr(registry, table) if f"`{name}`" not in text] == []


def test_every_option_of_the_measurements_is_described():
    text = (ROOT / "docs" / "analysis.md").read_text(encoding="utf-8")
    assert [name for name in circuits.analysis.Options.model_fields if f"`{name}`" not in text] == []


def test_every_public_name_is_in_the_api_reference():
    text = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    documented = set(re.findall(r"[\w.]+", text))
    public = [
        *(f"circuits.{name}" for name in circuits.__all__ if not inspect.ismodule(getattr(circuits, name))),
        *(f"circuits.analysis.{name}" for name in circuits.analysis.__all__),
        *(f"circuits.figures.{name}" for name in circuits.figures.__all__),
    ]
    assert [name for name in public if name not in documented and name.rpartition(".")[2] not in documented] == []


@pytest.fixture
def participation(tmp_path, monkeypatch):
    """The measurement of CONTRIBUTING.md, its test and its line in the registry, put in place."""
    source, test, line = code_blocks("CONTRIBUTING.md")[:3]
    module = _load("circuits.analysis.subnetworks.participation", source, tmp_path, monkeypatch)
    entries = eval("{" + line + "}", {"MeasurementEntry": registry.MeasurementEntry})
    for name, entry in entries.items():
        monkeypatch.setitem(registry.MEASUREMENTS, name, entry)
    return module, _load("test_participation", test, tmp_path, monkeypatch)


def _load(name, source, folder, monkeypatch):
    path = folder / f"{name.rpartition('.')[2]}.py"
    path.write_text(source, encoding="utf-8")
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    return module


def test_the_measurement_of_contributing_passes_its_own_test(participation, tiny_run):
    module, test = participation
    for n_equal in (1, 3, 50):
        test.test_equal_norms_count_as_many_neurons(n_equal)
    test.test_measure_equals_the_formula_on_a_stored_network(tiny_run)
    assert ">>> participation_ratio(np.array([2.0, 2.0, 0.0]))\n    2.0" in module.participation_ratio.__doc__
    assert module.participation_ratio(module.np.array([2.0, 2.0, 0.0])) == 2.0


@pytest.mark.slow
def test_the_measurement_of_contributing_is_on_the_command_line_and_the_page(
    participation, tiny_path, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    shutil.copy(tiny_path, "run.h5")
    assert main(["analyze", "run.h5", "--participation", "--norm", "path"]) == 0
    assert "participation" in capsys.readouterr().out
    assert main(["analyze", "run.h5", "--json", "--quiet"]) == 0
    assert "participation" in circuits.read_json(capsys.readouterr().out)
    assert main(["report", "run.h5", "--quiet"]) == 0
    assert "participation ratio of the neuron norms" in Path("run.html").read_text(encoding="utf-8").lower()


def test_the_task_of_contributing_trains_and_is_measured(tmp_path, monkeypatch, capsys):
    source, line = code_blocks("CONTRIBUTING.md")[3:5]
    module = _load("circuits.tasks.majority", source, tmp_path, monkeypatch)
    monkeypatch.setitem(registry.TASKS, "majority", eval("{" + line + "}", {"Entry": registry.Entry})["majority"])
    task = module.Majority(n=7, k=3)
    inputs = task.train_data(0)["inputs"]
    assert task.target(inputs).tolist() == [1 if row[:3].tolist().count(1) > 1 else -1 for row in inputs]
    with pytest.raises(ValueError, match="k = 4 must be odd"):
        module.Majority(k=4)
    monkeypatch.chdir(tmp_path)
    words = ["--set", "task.kind=majority", "--set", "task.n_train=50", "--epochs", "2", "--seeds", "0", "--quiet"]
    assert main(["train", "merrill-2023", *words, "--out", "run.h5"]) == 0
    assert main(["analyze", "run.h5", "--subnetwork", "--progress", "--quiet"]) == 0
    assert "progress, at epoch 2" in capsys.readouterr().out


@pytest.mark.slow
def test_the_model_of_contributing_trains_and_is_pruned(tmp_path, monkeypatch, capsys):
    source, line = code_blocks("CONTRIBUTING.md")[5:]
    _load("circuits.models.folded", source, tmp_path, monkeypatch)
    monkeypatch.setitem(registry.MODELS, "folded", eval("{" + line + "}", {"Entry": registry.Entry})["folded"])
    monkeypatch.chdir(tmp_path)
    words = ["--set", "model.kind=folded", "--set", "model.width=9", "--epochs", "2", "--seeds", "0", "--quiet"]
    assert main(["train", "merrill-2023", *words, "--out", "run.h5"]) == 0
    assert main(["analyze", "run.h5", "--subnetwork", "--norms", "--faithfulness", "--quiet"]) == 0
    assert "size of the active subnetwork (neurons)" in capsys.readouterr().out
    with circuits.open("run.h5") as run:
        net, inputs = run.arrays(0, -1), run.data(0)["test_inputs"].values
        outputs = run.model(seed=0, checkpoint=-1)(torch.from_numpy(inputs).float()).detach().numpy()
        assert outputs == pytest.approx(np.abs(inputs @ net["W"].T + net["b"]) @ net["u"], abs=1e-5)


def test_relative_links_lead_somewhere():
    for document in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "checkpoints" / "README.md"]:
        links = re.findall(r"\]\(([^)#:]+?)(?:#[^)]*)?\)", document.read_text(encoding="utf-8"))
        missing = [link for link in links if not (document.parent / link).exists()]
        assert missing == [], document
