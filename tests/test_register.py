"""Tasks, models, measurements and presets of a notebook or of an installed package work like the package's own."""

import subprocess
import sys
from typing import ClassVar, Literal

import numpy as np
import pytest
import xarray as xr

import circuits
from circuits import registry
from circuits.cli.main import main
from circuits.interfaces import Model, untouched
from circuits.registry import MEASUREMENTS, MODELS, PRESETS, TASKS
from circuits.tasks.signs import SignTask


class Majority(SignTask):
    """The sign of the sum of the first three bits."""

    kind: Literal["majority"] = "majority"

    def target(self, inputs):
        return np.sign(inputs[:, :3].sum(axis=1)).astype(np.int8)


class Cubic(Model):
    """A cubed sum: f(x) = (w·x)³."""

    gives_classes: ClassVar[bool] = False
    kind: Literal["cubic"] = "cubic"

    def shapes(self, signature):
        return {"w": (("input",), (signature.n_inputs,))}

    def initial(self, signature, seed):
        return {"w": np.random.default_rng(seed).normal(size=signature.n_inputs)}

    def forward(self, parameters, inputs, tap=untouched):
        return (inputs @ parameters["w"]) ** 3


@pytest.fixture(autouse=True)
def only_here():
    before = {id(table): dict(table.added) for table in (TASKS, MODELS, MEASUREMENTS, PRESETS)}
    yield
    for table in (TASKS, MODELS, MEASUREMENTS, PRESETS):
        table.added.clear()
        table.added.update(before[id(table)])


def small(**fields):
    return {"task": {"kind": "majority", "n": 7, "n_train": 40, "n_test": 30}, "epochs": 3, "seeds": [0, 1], **fields}


def test_a_task_and_a_model_train_and_are_measured(tmp_path, capsys):
    assert circuits.register_task(Majority) is Majority
    circuits.register_model(Cubic)
    with circuits.train(small(model={"kind": "cubic"}), tmp_path / "a.h5", progress=False) as run:
        assert (run.data(1)["train_targets"] == np.sign(run.data(1)["train_inputs"][:, :3].sum("input"))).all()
    assert main(["show", str(tmp_path / "a.h5")]) == 0
    assert "majority" in capsys.readouterr().out
    assert main(["analyze", str(tmp_path / "a.h5"), "--quiet"]) == 0
    assert main(["report", str(tmp_path / "a.h5"), "--quiet"]) == 0
    assert main(["train", "merrill-2023", "--set", "task.kind=majority", "--help"]) == 0
    assert "majority" in capsys.readouterr().out


def test_a_measurement_has_a_flag_a_table_and_a_figure(tiny_path, capsys):
    @circuits.register_measurement
    def biggest(run, options):
        """Largest weight."""
        values = abs(run.parameters["W"]).max(("neuron", "input")).astype(float)
        return xr.Dataset({"biggest": (("step", "seed"), values.values, {"long_name": "largest weight"})},
                          {"step": run.steps, "epoch": ("step", run.epochs), "seed": list(run.seeds)})  # fmt: skip

    with circuits.open(tiny_path) as run:
        found = circuits.analyze(run, "biggest")["biggest"]["biggest"]
        assert float(found[-1, 0]) == np.abs(run.arrays(0)["W"]).max()
        assert circuits.report(run, tiny_path.with_name("biggest.html")).exists()
    assert main(["analyze", str(tiny_path), "--biggest", "--json", "--quiet"]) == 0
    assert "biggest" in circuits.read_json(capsys.readouterr().out)
    assert main(["analyze", "--help"]) == 0
    assert "Largest weight." in capsys.readouterr().out


def test_a_preset_is_trained_by_its_name(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    circuits.register_task(Majority)

    @circuits.register_preset
    def small_majority():
        """Majority of three bits."""
        return circuits.resolve_config(overrides={"name": "small-majority", "task.kind": "majority", "epochs": 1})

    assert main(["presets"]) == 0
    assert "Majority of three bits." in capsys.readouterr().out
    assert main(["train", "small-majority", "--out", str(tmp_path / "a.h5"), "--quiet"]) == 0


def test_a_preset_has_one_config_or_several_under_its_own_name():
    @circuits.register_preset
    def widths():
        """Two widths."""
        small = circuits.preset("merrill-2023").replace(epochs=1)
        return {"10": small.replace(model__width=10), "20": small.replace(model__width=20)}

    @circuits.register_preset
    def brief():
        """One epoch."""
        return circuits.preset("merrill-2023").replace(epochs=1)

    assert list(circuits.preset_configs("widths")) == ["widths/10", "widths/20"]
    assert circuits.preset("widths/20").model.width == 20
    assert circuits.preset("brief").name == "brief"


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (int, "is not a subclass of circuits.interfaces.Task"),
        (type("Parity", (Majority,), {"__annotations__": {"kind": Literal["parity"]}, "kind": "parity"}),
         "There is a task 'parity' in this package already"),
        (type("Nameless", (SignTask,), {}), "has no default kind|lacks target"),
    ],
)  # fmt: skip
def test_what_cannot_be_registered_is_said(made, said):
    with pytest.raises(circuits.InputError, match=said):
        circuits.register_task(made)


def test_a_cell_that_runs_again_replaces_its_task_and_another_does_not():
    circuits.register_task(Majority)
    circuits.register_task(Majority)
    other = type("Other", (Majority,), {"__module__": "elsewhere"})
    with pytest.raises(circuits.InputError, match="'majority' is registered by"):
        circuits.register_task(other)


PLUGIN = '''
from typing import Literal
import circuits
from circuits.tasks.signs import SignTask

class Last(SignTask):
    """The last of n signs."""
    kind: Literal["last"] = "last"
    def target(self, inputs):
        return inputs[:, -1]

circuits.register_task(Last)
'''


def test_an_installed_package_registers_itself_and_a_broken_one_is_named(tmp_path):
    for name, code in (("good", PLUGIN), ("bad", "raise RuntimeError('no luck')")):
        (tmp_path / f"{name}_plugin.py").write_text(code)
        (tmp_path / f"{name}-1.0.dist-info").mkdir()
        (tmp_path / f"{name}-1.0.dist-info" / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
        )
        (tmp_path / f"{name}-1.0.dist-info" / "entry_points.txt").write_text(
            f"[circuits.plugins]\n{name} = {name}_plugin\n"
        )
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from circuits.cli.main import main; "
    code += "sys.exit(main(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", code, "train", "merrill-2023", "--set", "task.kind=last", "--dry-run"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[0] == "warning: the plugin bad (bad_plugin) cannot be loaded: no luck"


def test_the_tables_of_the_package_need_no_plugin(monkeypatch):
    monkeypatch.setattr(registry, "entry_points", lambda **_: pytest.fail("plugins were looked for"))
    monkeypatch.setattr(registry.Registered, "_plugins_are_loaded", False)
    assert TASKS["parity"].help


def train_elsewhere(path):
    """A run of `Majority` and `Cubic`, trained by a process that registers them."""
    fields = small(model={"kind": "cubic"}, metrics=["parameter_norm"])
    code = (
        f"import sys; sys.path.insert(0, {str(__import__('pathlib').Path(__file__).parent)!r})\n"
        f"import circuits\nfrom test_register import Cubic, Majority\n"
        f"circuits.register_task(Majority); circuits.register_model(Cubic)\n"
        f"run = circuits.train({fields!r}, {str(path)!r}, progress=False)\n"
        f"circuits.analyze(run)\nprint(run.fingerprint)"
    )
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.parametrize("known", [(), ("task",), ("model",)])
def test_a_run_of_a_task_or_model_that_is_unknown_here_opens_anyway(tmp_path, capsys, known):
    path = tmp_path / "a.h5"
    fingerprint = train_elsewhere(path)
    for what in known:
        getattr(circuits, f"register_{what}")({"task": Majority, "model": Cubic}[what])
    with circuits.open(path) as run:
        assert run.fingerprint == fingerprint
        assert run.parameters["w"].dims == ("step", "seed", "input")
        assert run.metrics["test_accuracy"].shape == (4, 2)
        assert run.data()["train_inputs"].shape == (40, 7)
        found = circuits.analyze(run)
        if "model" in known:
            assert "test_margin_mean" in found["progress"]
        else:
            norms = found["norms"]["parameter_norm"].sel(parameter="w").values
            np.testing.assert_allclose(norms, np.linalg.norm(run.parameters["w"].values.astype(float), axis=-1))
            np.testing.assert_allclose(norms, run.metrics["parameter_norm"].values)
            with pytest.raises(circuits.InputError, match=r"model 'cubic' is not registered here.*register_model"):
                circuits.analyze(run, "faithfulness")
    for words in (["show"], ["analyze", "--quiet"], ["report", "--quiet"], ["repair"]):
        assert main([words[0], str(path), *words[1:]]) == 0
    with circuits.open(path) as run, pytest.raises(circuits.InputError, match="is not registered here"):
        circuits.train(run.config, tmp_path / "new.h5", progress=False)
    assert not (tmp_path / "new.h5").exists()
    assert main(["train", "--resume", "--epochs", "5", "--out", str(path), "--quiet"]) == 2
    assert "is not registered here" in capsys.readouterr().err


def products(i, j):
    """The task of the product of bits i and j on 200 fixed inputs."""
    inputs = np.random.default_rng(0).choice([-1, 1], (200, 6))
    return circuits.arrays({"inputs": inputs, "targets": inputs[:, i] * inputs[:, j]}, train_fraction=0.5)


def test_a_run_on_given_arrays_is_not_resumed_with_others(tmp_path):
    path = tmp_path / "a.h5"
    fields = {"epochs": 1, "seeds": [0, 1], "model": {"kind": "relu", "width": 4}}
    circuits.train(circuits.Config(task=products(0, 1), **fields), path, progress=False).close()
    again = circuits.Config(task=products(0, 1), **fields | {"epochs": 2})
    circuits.train(again, path, resume="auto", progress=False).close()
    for resume in (True, "auto"):
        other = circuits.Config(task=products(2, 3), **fields | {"epochs": 3})
        with pytest.raises(circuits.InputError, match="was trained on other data: train_targets differs"):
            circuits.train(other, path, resume=resume, progress=False)
    circuits.train(None, path, resume=True, progress=False).close()


@pytest.mark.parametrize(
    ("values", "kept"),
    [
        ([-128, 127], np.int8), ([128, 0], np.int16), ([-32768, 5], np.int16), ([40_000, 0], np.int32),
        ([3_000_000_000, 0], np.int64), ([0.5, 1.0], np.float64),
    ],
)  # fmt: skip
def test_given_numbers_keep_their_values(values, kept):
    inputs = np.array([values, values])
    task = circuits.arrays({"inputs": inputs, "targets": [0, 1]}, train_fraction=0.5)
    data = task.train_data(0)["inputs"]
    assert data.dtype == kept
    np.testing.assert_array_equal(data[0], values)
    inputs[:] = 0
    np.testing.assert_array_equal(task.test_data(0)["inputs"][0], values)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, 1j, "text"])
def test_given_arrays_are_finite_real_numbers(wrong):
    for arrays in ({"inputs": [[wrong], [1]], "targets": [0, 1]}, {"inputs": [[0], [1]], "targets": [wrong, 1]}):
        with pytest.raises(circuits.InputError, match="Arrays must be finite real numbers"):
            circuits.arrays(arrays, train_fraction=0.5)
