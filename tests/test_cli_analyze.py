"""`circuits analyze`: which measurements are made, what is printed, what is kept."""

import json
import shutil
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import circuits
from circuits import registry
from circuits.analysis import results
from circuits.analysis.measurement import Measurement
from circuits.analysis.measurements import usual
from circuits.cli.main import main
from circuits.registry import MEASUREMENTS, MeasurementEntry

USUAL = usual(circuits.preset("merrill-2023"))


@pytest.fixture
def run_path(grokked_path, tmp_path, monkeypatch):
    """A grokked run in an empty working folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    shutil.copy(grokked_path, "run.h5")
    return "run.h5"


FEW = ("--checkpoints", "-12:")  # where every measurement is made again and again


@pytest.fixture
def analyzed(run_path, capsys):
    """Stdout and stderr of `circuits analyze run.h5` with these words."""

    def run(*words):
        assert main(["analyze", run_path, *words]) == 0
        return capsys.readouterr()

    return run


@pytest.fixture(scope="module")
def everything(grokked_path, tmp_path_factory):
    """`circuits analyze run.h5 --json` at a few checkpoints: stdout, stderr, whether the run changed, the sidecar."""
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(StringIO()) as out, redirect_stderr(StringIO()) as err:
        patch.chdir(folder := tmp_path_factory.mktemp("everything"))
        before = Path(shutil.copy(grokked_path, folder / "run.h5")).read_bytes()
        assert main(["analyze", "run.h5", "--json", "--quiet", *FEW]) == 0
        changed = (folder / "run.h5").read_bytes() != before
        return out.getvalue(), err.getvalue(), changed, folder / "run.analysis.nc"


@pytest.fixture
def document(analyzed):
    """What `--json` prints, read back."""
    return lambda *words: circuits.read_json(analyzed("--json", *words).out)


def _refuse_constant(name):
    raise AssertionError(f"{name} is not JSON")


@pytest.mark.slow
def test_without_a_measurement_flag_all_that_apply_are_made(everything):
    found = circuits.read_json(everything[0])
    assert list(found) == ["schema_version", "run", "options", *USUAL]
    assert "neuron_norm" not in found["norms"]


@pytest.mark.slow
def test_named_measurements_alone_are_made(document):
    assert list(document("--norms")) == ["schema_version", "run", "options", "phases", "norms"]


@pytest.mark.slow
def test_the_json_is_strict_and_alone_on_stdout(everything):
    out, err, *_ = everything
    assert json.loads(out, parse_constant=_refuse_constant)["schema_version"] == 1
    assert err.splitlines()[-1] == "Results are in run.analysis.nc."


@pytest.mark.slow
def test_the_json_restores_what_the_library_computes(document, run_path):
    found = document("--subnetwork", "--faithfulness")
    with circuits.open(run_path) as run:
        expected = circuits.analyze(run, "subnetwork", "faithfulness")
    xr.testing.assert_identical(found["subnetwork"], expected["subnetwork"])
    xr.testing.assert_identical(found["faithfulness"], expected["faithfulness"])


@pytest.mark.slow
def test_the_json_has_the_promised_variables(everything):
    found = circuits.read_json(everything[0])
    dims = {
        "effective_sparsity": ("step", "seed"),
        "sparsity_ratio": ("step", "seed"),
        "kept": ("seed", "neuron"),
        "memorization_epoch": ("seed",),
        "generalization_epoch": ("seed",),
    }
    assert {name: found["subnetwork"][name].dims for name in dims} == dims
    assert found["norms"]["group_norm"].dims == ("group", "step", "seed")
    assert (
        found["faithfulness"]["agreement"].dims == found["faithfulness"]["accuracy"].dims == ("group", "step", "seed")
    )
    assert found["faithfulness"]["group"].values.tolist() == ["generalizing", "memorizing", "complementary", "control"]
    trajectories = ("merged_sparsity", "path_cost", "margin", "efficiency")
    assert all(found["constructions"][name].dims == ("step", "seed") for name in trajectories)
    assert all({"step", "epoch", "seed"} <= set(found[name].coords) for name in USUAL if name != "phases")


@pytest.mark.slow
def test_all_makes_the_same_and_every_neurons_norm_is_in_the_json_only_when_norms_are_named(document, everything):
    shutil.copy(everything[3], "run.analysis.nc")  # what is kept is not measured again
    found = document("--all", *FEW)
    assert list(found) == ["schema_version", "run", "options", *USUAL]
    assert "neuron_norm" not in found["norms"]
    assert document("--all", "--norms", *FEW)["norms"]["neuron_norm"].dims == ("step", "seed", "neuron")
    assert "neuron_norm" in document("--norms", "--subnetwork", *FEW)["norms"]
    assert {*USUAL, "exact"} <= set(document("--all", "--exact", "--time-limit", "0.05", *FEW))


@pytest.mark.slow
@pytest.mark.parametrize("words", [["--checkpoints", "-5:"], ["--checkpoints=-5:"], ["--checkpoints", "96::1"]])
def test_checkpoints_is_a_python_slice(words, document):
    assert document("--subnetwork", *words)["subnetwork"]["epoch"].values.tolist() == [192, 194, 196, 198, 200]


@pytest.mark.slow
def test_options_reach_the_measurement_and_are_stored(document):
    found = document(
        "--subnetwork", "--agreement-set", "test", "--norm", "path", "--final", "median", "--criterion", "accuracy"
    )
    assert found["options"] == {
        "checkpoints": ":", "layer": None, "agreement_set": "test", "criterion": "accuracy", "norm": "path",
        "final": "median", "merge_cosine": 0.9, "merge_floor": 0.02, "memorization_threshold": 0.98,
        "generalization_threshold": 0.98, "key_share": None, "walsh_samples": 1024, "walsh_exact_bits": 12,
        "time_limit": 60.0, "most_checkpoints": None, "ablation_components": "neurons", "ablation_method": "zero",
        "ablation_set": "test",
    }  # fmt: skip
    never = document("--subnetwork", "--memorization-threshold", "1")["subnetwork"]
    assert np.isnan(never["memorization_epoch"]).all()


@pytest.mark.slow
def test_the_sidecar_is_always_written_and_out_says_where(analyzed):
    _, err = analyzed("--subnetwork")
    assert err.splitlines()[-1] == "Results are in run.analysis.nc."
    _, err = analyzed("--norms", "--json", "--out", "other.nc")
    assert err.splitlines()[-1] == "Results are in other.nc."
    with xr.open_datatree("other.nc", engine="h5netcdf") as tree:
        assert "neuron_norm" in tree["norms"]


@pytest.mark.slow
def test_the_tables_show_what_a_researcher_asks_first(analyzed, analyzed_path, run_path):
    shutil.copy(analyzed_path.with_suffix(".analysis.nc"), "run.analysis.nc")
    out, err = analyzed()
    assert "walsh: kept from before; --force measures again." in err
    lines = out.splitlines()
    assert lines[0] == "run.h5: tiny, 2 seeds, 101 checkpoints, 4,200 parameters per network"
    assert max(map(len, lines)) <= 80
    with circuits.open(run_path) as run:
        found = circuits.analyze(run, "subnetwork", "faithfulness")
        steps_per_epoch = run.config.steps_per_epoch
    sizes = next(line.split() for line in lines if line.startswith(" 0 "))
    at = found["subnetwork"].sel(seed=0)
    expected = [at["memorization_epoch"], at["generalization_epoch"], at["final_sparsity"], *at["late_sparsity"]]
    assert [float(cell) for cell in sizes[1:]] == [float(value) for value in expected]
    memorized = found["faithfulness"]["agreement"].sel(seed=0, step=int(at["memorization_epoch"]) * steps_per_epoch)
    row = next(line.split() for line in lines if line.startswith(" memorized"))
    assert row == ["memorized", "0", *(f"{float(value):.3f}" for value in memorized)]
    assert any(line.startswith(" epoch 200") for line in lines)


def test_agreement_at_a_checkpoint_that_was_not_measured_is_said_to_be_missing(analyzed):
    out, _ = analyzed("--faithfulness", "--checkpoints", "-1:")
    assert "(– at memorization: that checkpoint is not among the measured ones)" in out
    assert "101 checkpoints (1 of them measured)" in out
    assert "generalized" in out


def test_a_new_line_in_the_registry_shows_up_in_help_and_tables(analyzed, capsys, monkeypatch):
    def measure(run, options, *, progress=False):
        values = np.arange(2.0)[None].repeat(3, axis=0)
        return xr.Dataset(
            {
                "spread": (("step", "seed"), values + 0.5),
                "by_side": (("side", "step", "seed"), np.stack([values, values + 10])),
                "large": (("step", "seed", "neuron"), np.zeros((3, 2, 9))),
            },
            {"step": [0, 1, 2], "epoch": ("step", [0.0, 1.0, 2.0]), "seed": [0, 1], "side": ["left", "right"]},
        )

    def loaded(self):
        return Measurement(measure) if self.path == "here" else registry.load(self.path)

    monkeypatch.setattr(MeasurementEntry, "load", loaded)
    monkeypatch.setitem(MEASUREMENTS, "weight-spread", MeasurementEntry("Spread of the weights.", "here"))
    assert main(["analyze", "--help"]) == 0
    assert "--weight-spread" in capsys.readouterr().out
    out, _ = analyzed("--weight-spread")
    lines = out.splitlines()
    title = lines.index("weight-spread, at epoch 2")
    assert lines[title + 1].split() == ["by_side", "by_side"]
    assert lines[title + 2].split() == ["seed", "spread", "left", "right"]
    assert [line.split() for line in lines[title + 4 : title + 6]] == [["0", "0.5", "0", "10"], ["1", "1.5", "1", "11"]]


@pytest.mark.slow
def test_the_constructions_are_summarized_per_seed_in_words_and_prices(analyzed, run_path):
    out, _ = analyzed("--constructions", "--checkpoints", "-3:", "--merge-cosine", "0.95")
    lines = out.splitlines()[1:]
    assert max(map(len, lines)) <= 80
    with circuits.open(run_path) as run:
        options = circuits.analysis.Options(checkpoints="-3:", merge_cosine=0.95)
        found = circuits.analyze(run, "constructions", options=options)["constructions"]
    assert "(cosine > 0.95, path norm > 0.02 of the largest);" in lines
    assert "Path cost per unit of margin; least possible C* = 2.828" in lines
    assert any(line.startswith("(1/C* = 0.354: weight decay above which parity is not worth") for line in lines)
    for seed in (0, 1):
        at = found.sel(seed=seed)
        gates = str(at["verdict"].values).split(";")[0]
        assert sum(f" {gates}" in line for line in lines) >= 1
        paid = [f"{float(at[name].sel(part='network')):.3f}" for name in ("final_cost_per_margin", "final_resolved")]
        row = next(line.split() for line in lines if line.startswith(f" seed {seed}, network"))
        assert row[3:5] == paid
    assert next(line.split() for line in lines if line.startswith(" min_norm")) == [
        "min_norm",
        "2.828",
        "2.828",
        "1.000",
    ]


@pytest.mark.slow
def test_the_sidecar_holds_the_constructions_as_the_library_gives_them(analyzed, run_path):
    analyzed("--constructions", "--checkpoints", "-12:")
    with circuits.open(run_path) as run, xr.open_datatree("run.analysis.nc", engine="h5netcdf") as tree:
        expected = circuits.analyze(run, "constructions", options=circuits.analysis.Options(checkpoints="-12:"))[
            "constructions"
        ]
        stored = tree["constructions"].to_dataset().load()
    assert stored["verdict"].values.tolist() == expected["verdict"].values.tolist()
    np.testing.assert_array_equal(stored["merged_sparsity"], expected["merged_sparsity"])
    np.testing.assert_array_equal(stored["fires"], expected["fires"])
    assert stored.attrs["merge_cosine"] == 0.9


def test_warnings_go_to_stderr_once(analyzed):
    _, err = analyzed("--subnetwork", "--faithfulness", "--memorization-threshold", "1")
    assert err.count("warning: seed 0 never memorized") == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "circuits analyze needs RUN.h5. `circuits analyze --help` shows its arguments."),
        (["none.h5"], "none.h5 does not exist. There are: run.h5."),
        (["run.h5", "--sunbetwork"], "circuits analyze has no option --sunbetwork. Did you mean --subnetwork?"),
        (
            ["run.h5", "--checkpoints", "5x"],
            "--checkpoints: '5x' is not a Python slice START:STOP:STEP, such as '::10'",
        ),
        (["run.h5", "--checkpoints", "::-1"], "checkpoints '::-1': STEP of START:STOP:STEP must be at least 1"),
        (["run.h5", "--checkpoints", "900:"], "run.h5 has 101 checkpoints, so --checkpoints 900: selects none."),
        (["run.h5", "--agreement-set", "al"], "--agreement-set cannot be 'al'. There are: test, train, train+test."),
        (["run.h5", "--memorization-threshold", "2"], "--memorization-threshold: must be at most 1"),
        (["run.h5", "--merge-cosine", "1.5"], "--merge-cosine: must be less than 1.0 (given: 1.5)"),
        (["run.h5", "--merge-floor", "-1"], "--merge-floor: must be at least 0"),
        (["run.h5", "--out", "run.h5"], "run.h5 exists and is the run itself, so it is not overwritten."),
        (["run.h5", "--out", "a/b.nc"], "a/b.nc: the folder a does not exist."),
    ],
)
def test_a_bad_command_line_gets_one_line(words, message, run_path, capsys):
    assert main(["analyze", *words]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"error: {message}")
    assert err.count("\n") == 1


@pytest.mark.parametrize("content", [b"not HDF5 at all", b"\x89HDF\r\n\x1a\n" + bytes(100)])
@pytest.mark.parametrize("command", ["analyze", "show", "report"])
def test_a_foreign_or_damaged_file_gets_one_line(command, content, tmp_path, capsys):
    path = tmp_path / "bad.h5"
    path.write_bytes(content)
    assert main([command, str(path)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"error: {path} ")
    assert err.count("\n") == 1


@pytest.mark.slow
def test_a_run_without_a_hidden_layer_cannot_be_pruned(make_config, tmp_path, capsys):
    config = make_config(model__kind="linear")
    circuits.train(config, tmp_path / "linear.h5", progress=False).close()
    assert main(["analyze", str(tmp_path / "linear.h5"), "--subnetwork"]) == 2
    assert "linear.h5: the 'linear' model has no hidden layer to prune." in capsys.readouterr().err


@pytest.mark.slow
def test_the_run_is_only_read(everything):
    _, _, changed, _ = everything
    assert not changed


@pytest.mark.slow
def test_what_is_kept_is_not_measured_again_unless_forced(run_path, monkeypatch, capsys):
    made = []
    measure = circuits.analysis.analyze
    monkeypatch.setattr(
        results, "analyze", lambda run, *names, **more: made.append(names) or measure(run, *names, **more)
    )

    def asked(*words):
        made.clear()
        assert main(["analyze", run_path, "--quiet", *words]) == 0
        return capsys.readouterr()

    first = asked("--norms", "--subnetwork")
    second = asked("--norms", "--subnetwork")
    assert made == []
    assert second.out == first.out
    assert "subnetwork, norms: kept from before; --force measures again." in second.err
    third = asked("--norms", "--faithfulness", "--time-limit", "5")
    assert made == [("faithfulness",)]
    assert "norms: kept from before" in third.err
    asked("--norms", "--force")
    assert made == [("phases", "norms")]
    other = asked("--norms", "--norm", "path")
    assert made == [("norms",)]
    assert "norms in it was measured with other options, so it is made anew." in other.err
    asked("--subnetwork", "--faithfulness")
    assert made == []
    numbers = [json.loads(asked("--subnetwork", "--json", *words).out) for words in ([], ["--force"])]
    assert numbers[0] == numbers[1]


def test_progress_is_shown_unless_quiet(run_path, monkeypatch, capsys):
    asked = []

    measure = circuits.analysis.analyze

    def analyze(run, *names, options, progress):
        asked.append(progress)
        return measure(run, "phases", options=options)

    monkeypatch.setattr(results, "analyze", analyze)
    assert main(["analyze", run_path, "--phases", "--force"]) == 0
    assert main(["analyze", run_path, "--phases", "--force", "--quiet"]) == 0
    assert asked == [True, False]


@pytest.mark.slow
def test_many_relevant_bits_leave_out_what_looks_at_every_pattern_unless_it_is_named(make_config, tmp_path, capsys):
    path = tmp_path / "k12.h5"
    config = make_config(task__n=13, task__k=12, epochs=1, seeds=[0])
    circuits.train(config, path, progress=False).close()
    assert main(["analyze", str(path), "--quiet"]) == 0
    with circuits.open(path) as run:
        assert list(circuits.analyze(run)) == ["phases", "subnetwork", "norms", "faithfulness", "progress"]
    assert main(["analyze", str(path), "--constructions"]) == 2
    assert "k may be at most 10. Leave --constructions out." in capsys.readouterr().err


def test_a_former_flag_works_and_names_the_present_one(tiny_path, tmp_path, capsys):
    path = shutil.copy(tiny_path, tmp_path / "a.h5")
    assert main(["analyze", str(path), "--subnetwork", "--support=test", "--json", "--quiet"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["options"]["agreement_set"] == "test"
    assert "warning: --support is now --agreement-set, and goes in the next version.\n" in err
