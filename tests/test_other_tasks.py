"""Tasks of others: what is about parity asks the task whether it is one, and captions name figures of its papers."""

from typing import Literal

import numpy as np
import pages
import pytest
from registered import only_own

import circuits
from circuits.analysis.measurements import usual
from circuits.analysis.options import Options
from circuits.cli.main import main
from circuits.figures.page.report import report, sections
from circuits.registry import MEASUREMENTS, TASKS, Entry
from circuits.tasks.parity import Parity
from circuits.tasks.signs import SignTask

OF_PARITY = ["constructions", "walsh", "certify"]


class Majority(SignTask):
    """The sign of the sum of three relevant bits out of n: it has relevant bits and is not their parity."""

    kind: Literal["majority"] = "majority"
    n: int = 8
    n_train: int = 60
    n_test: int = 40
    relevant_bits: tuple[int, ...] = (1, 4, 6)

    def target(self, inputs):
        return np.sign(inputs[:, list(self.relevant_bits)].sum(axis=1)).astype(np.int8)


class Xor(Parity):
    """A parity under another name."""

    kind: Literal["xor"] = "xor"


@pytest.fixture(scope="module", autouse=True)
def registered():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(TASKS, "majority", Entry("The sign of a sum.", f"{__name__}:Majority"))
        patch.setitem(TASKS, "xor", Entry("A parity.", f"{__name__}:Xor"))
        yield


def trained(folder, task, **changes):
    """A small run of a task, its path."""
    config = circuits.preset("merrill-2023").replace(
        name=task.kind, source="", task=task, model__width=16, batch_size=16, seeds=(0, 1), **({"epochs": 30} | changes)
    )
    circuits.train(config, folder / f"{task.kind}.h5", progress=False).close()
    return folder / f"{task.kind}.h5"


@pytest.fixture(scope="module")
def majority_path(registered, tmp_path_factory):
    return trained(tmp_path_factory.mktemp("majority"), Majority())


@pytest.fixture
def majority(majority_path):
    with circuits.open(majority_path) as run:
        yield run


def test_relevant_bits_alone_do_not_make_a_parity(majority, monkeypatch):
    only_own(monkeypatch)
    assert majority.config.task.relevant_bits == (1, 4, 6)
    assert majority.config.task.parity_bits is None
    assert usual(majority.config) == ["phases", "subnetwork", "norms", "faithfulness", "progress"]
    assert not [name for name in OF_PARITY if not MEASUREMENTS[name].load().applies(majority.config)]


@pytest.mark.slow
def test_every_table_of_another_task_says_nothing_about_parity(majority_path, capsys):
    assert main(["analyze", str(majority_path), "--quiet"]) == 0
    assert main(["analyze", str(majority_path), "--exact", "--quiet"]) == 0
    assert main(["show", str(majority_path)]) == 0
    assert "parity" not in capsys.readouterr().out.lower()


@pytest.mark.slow
def test_every_figure_and_the_page_of_another_task_say_nothing_about_parity_nor_name_a_papers_figure(
    majority, tmp_path
):
    text = pages.readable(report(majority, tmp_path / "page.html").read_text(encoding="utf-8"))
    assert "Sensitivity" in text
    for word in ("parity", "merrill", "figure 2", "as in"):
        assert word not in text.lower(), word
    assert "of_the_task" not in circuits.analyze(majority, "progress")["progress"]["sensitivity"].attrs


@pytest.mark.slow
def test_so_do_the_pictures_of_its_hidden_layer(majority):
    pytest.importorskip("sklearn", reason="t-SNE needs scikit-learn; `make install` has it")
    result = circuits.analyze(majority, "representation", options=Options(checkpoints="-2:"))
    drawn = sections(majority, result)["representation"].figures
    assert len(drawn) == 4
    for figure in drawn:
        for word in ("parity", "Fuangkawinsombut"):
            assert word not in figure.to_json()


@pytest.mark.parametrize("name", OF_PARITY)
def test_a_measurement_of_parity_refuses_it_in_one_line(majority_path, name, capsys):
    assert main(["analyze", str(majority_path), f"--{name}", "--quiet"]) == 2
    assert capsys.readouterr().err == (
        f"error: {majority_path}: the task 'majority' is not a parity. Gates, matches, efficiency, certificates and "
        f"Walsh spectra need one, such as the task 'parity'. Leave --{name} out.\n"
    )


def test_so_does_all_else_that_is_about_parity(majority_path, majority, capsys):
    for words in ([], ["--certify"], ["--subnetwork", "active"]):
        assert main(["verify", str(majority_path), *words]) == 2
        message = f"error: {majority_path} is a run of the task 'majority'. Only a parity task can be verified.\n"
        assert capsys.readouterr().err == message
    functions = ("walsh_spectrum", "efficiency", "prices")
    asked = [getattr(circuits.analysis, name) for name in functions if hasattr(circuits.analysis, name)]
    assert asked
    for function in [*asked, *(MEASUREMENTS[name].load().measure for name in OF_PARITY)]:
        with pytest.raises(circuits.InputError, match="task 'majority'"):
            function(majority) if function in asked else function(majority, Options())


@pytest.mark.slow
def test_a_parity_of_another_name_is_measured_as_one(tmp_path):
    path = trained(tmp_path, Xor(n=8, k=2, support=(5, 2), n_train=60, n_test=30), epochs=4)
    with circuits.open(path) as run:
        assert run.config.task.parity_bits == (2, 5)
        assert [name for name in OF_PARITY if not MEASUREMENTS[name].load().applies(run.config)] == OF_PARITY
        assert circuits.constructions.verify_run(run).bits == ("x2", "x5")
        results = circuits.analyze(run, "progress", "walsh")
        assert results["progress"]["sensitivity"].attrs["of_the_task"] == 2
        drawn = sections(run, results)
    assert any("the parity: 2" in figure.to_json() for figure in drawn["progress"].figures)
    assert "Figure 2 (left) of Merrill et al. 2023" in drawn["learning"].figures[0].layout.meta["caption"]


@pytest.mark.slow
@pytest.mark.parametrize(("preset", "changes"), [
    ("modular-31", {"task__p": 7, "model__widths": [8]}),
    ("merrill-2023", {"task__n": 8, "task__n_train": 50, "model": {"kind": "mlp", "widths": [8]}}),
])  # fmt: skip
def test_a_caption_names_a_papers_figure_only_for_its_task_and_model(preset, changes, tmp_path):
    config = circuits.preset(preset).replace(epochs=3, seeds=(0,), **changes)
    with circuits.train(config, tmp_path / "run.h5", progress=False) as run:
        results = circuits.analyze(run, "subnetwork", "norms", "faithfulness", "progress")
        drawn = sections(run, results)
    captions = [figure.layout.meta["caption"] for section in drawn.values() for figure in section.figures]
    assert len(captions) >= 10
    assert not [text for text in captions if "Figure" in text or "Merrill" in text]
    if preset == "modular-31":
        assert not [text for text in captions if " sign " in text]
        dashed = "Dashed: the share of test examples that are training examples in another order of operands."
        assert captions[0] == f"Share of right answers at every checkpoint. {dashed}"
