"""What a notebook may write for short: names of presets and checkpoints, files for runs, dictionaries for options."""

import re
import threading
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import numpy as np
import pytest

import circuits
from circuits.analysis import Options
from circuits.cli.main import main
from circuits.config import Checkpoints
from circuits.registry import MODELS, OPTIMIZERS, TASKS

TINY = {
    "name": "tiny", "task": {"kind": "parity", "n": 8, "k": 2, "n_train": 50, "n_test": 20},
    "model": {"kind": "relu", "width": 16}, "epochs": 2, "seeds": [0, 1],
}  # fmt: skip


def test_a_preset_by_name_and_a_dictionary_train_like_their_config(tmp_path):
    with circuits.train(TINY, tmp_path / "a.h5", progress=False) as run:
        assert run.config == circuits.Config.model_validate(TINY)
    with pytest.raises(circuits.InputError, match=r"'merrill-2032'.*Did you mean 'merrill-2023'"):
        circuits.train("merrill-2032", tmp_path / "b.h5")
    with pytest.raises(circuits.InputError, match=r"there is no field 'epoch'\. Did you mean 'epochs'"):
        circuits.train(TINY | {"epoch": 3}, tmp_path / "b.h5")
    assert not (tmp_path / "b.h5").exists()


def test_resume_auto_begins_then_goes_on(tmp_path, cut_short, make_config):
    config, path = make_config(), tmp_path / "a.h5"
    cut_short(config, path, 14, resume="auto")
    with circuits.train(config, path, resume="auto", progress=False) as run:
        assert run.is_complete
    with pytest.raises(circuits.InputError, match=r"resume is 'always'\. Pass True, False or 'auto'\."):
        circuits.train(config, path, resume="always")


def test_a_file_and_a_dictionary_are_measured_as_the_run_with_options(tiny_path, tiny_run, tmp_path):
    found = circuits.analyze(str(tiny_path), "norms", options={"norm": "path"})["norms"]
    expected = circuits.analyze(tiny_run, "norms", options=circuits.analysis.Options(norm="path"))["norms"]
    assert found.identical(expected)
    assert circuits.report(tiny_path, tmp_path / "a.html").exists()
    for wrong, said in (
        ({"norms": 1}, "no option 'norms'. Did you mean 'norm'"),
        ({"norm": "size"}, "norm: must be one of"),
    ):
        with pytest.raises(circuits.InputError, match=said):
            circuits.analyze(tiny_run, options=wrong)


@pytest.mark.parametrize(("phase", "name"), [("memorization", "memorized"), ("generalization", "generalized")])
def test_a_phase_names_its_checkpoint_for_each_seed(grokked_run, phase, name):
    when = grokked_run.phases()
    for seed in grokked_run.seeds:
        index = grokked_run.checkpoint_index(name, seed=seed)
        assert grokked_run.epochs[index] == when[f"{phase}_epoch"].sel(seed=seed)
        for key, values in grokked_run.arrays(seed, name).items():
            assert (values == grokked_run.arrays(seed, index)[key]).all()


def test_the_best_checkpoint_has_the_highest_accuracy_then_the_lowest_loss(grokked_run):
    for index, seed in enumerate(grokked_run.seeds):
        accuracy, loss = (grokked_run.metrics[f"test_{name}"].values[:, index] for name in ("accuracy", "loss"))
        best = max(range(len(accuracy)), key=lambda at: (accuracy[at], -loss[at], -at))
        assert grokked_run.checkpoint_index("best", seed=seed) == best
    assert grokked_run.checkpoint_index("last") == grokked_run.n_checkpoints - 1


def test_a_checkpoint_that_a_seed_lacks_is_said(tiny_run):
    with pytest.raises(circuits.InputError, match="seed 1 has no checkpoint 'generalized': it never generalized"):
        tiny_run.state(1, "generalized")
    with pytest.raises(circuits.InputError, match=r"no checkpoint 'memorised'\. Did you mean 'memorized'"):
        tiny_run.state(1, "memorised")


def test_the_command_line_takes_the_names_too(grokked_path, grokked_run, tmp_path, capsys):
    out = tmp_path / "a.npz"
    assert main(["export", str(grokked_path), "--checkpoint", "memorized", "--seed", "1", "--out", str(out)]) == 0
    with np.load(out) as file:
        assert (file["W"] == grokked_run.arrays(1, "memorized")["W"]).all()
    assert main(["verify", str(grokked_path), "--checkpoint", "-1"]) == 0
    assert main(["verify", str(grokked_path), "--checkpoint", "first"]) == 2
    assert "There is no checkpoint 'first'" in capsys.readouterr().err


def test_open_waits_for_a_run_that_is_about_to_be_written(tmp_path, make_config):
    path = tmp_path / "a.h5"
    with pytest.raises(circuits.InputError, match="does not exist"):
        circuits.open(path, wait=0.2)
    circuits.train(make_config(), tmp_path / "b.h5", progress=False).close()
    later = threading.Timer(0.3, lambda: (tmp_path / "b.h5").rename(path))
    later.start()
    with circuits.open(path, wait=True) as run:
        assert run.config == make_config()
    later.join()


BAD_CALLS = {
    "train: exists": (lambda run, to: circuits.train(TINY, run.path), "exists. Pass resume=True"),
    "train: folder": (lambda run, to: circuits.train(TINY, to), "is a folder"),
    "train: other config": (
        lambda run, to: circuits.train(TINY, run.path, resume=True),
        "resume=True takes its config",
    ),
    "train: fewer epochs": (
        lambda run, to: circuits.train(run.config.replace(epochs=2), run.path, resume=True),
        "epochs=2 cannot shorten it",
    ),
    "train: not a run": (lambda run, to: circuits.train(TINY, to / "a.txt", overwrite=True), "overwrite=True replaces"),
    "train: under a file": (lambda run, to: circuits.train(TINY, to / "a.txt" / "a.h5"), "Pass another path"),
    "train: kernel": (lambda run, to: circuits.train(MLP, to / "a.h5", kernel="fused"), "pass kernel='auto'"),
    "train: no arrays": (lambda run, to: circuits.train(TINY | {"task": "arrays"}, to / "a.h5"), "arrays"),
    "train: resume nothing": (lambda run, to: circuits.train(TINY, to / "a.h5", resume=True), "does not exist"),
    "analyze: none chosen": (lambda run, to: circuits.analyze(run, options={"checkpoints": "9:"}), "checkpoints='9:'"),
    "analyze: beyond": (lambda run, to: circuits.analyze(run, options={"checkpoints": 9}), "selects none"),
    "analyze: layer": (lambda run, to: circuits.analyze(run, options={"layer": "x"}), "no layer 'x'"),
    "analyze: not listed": (lambda run, to: circuits.analyze(run, ["norms", "nrms"]), "Did you mean 'norms'"),
    "analyze: other task": (lambda run, to: circuits.analyze(run, "fourier"), "Leave 'fourier' out"),
    "ablate: components": (lambda run, to: circuits.analysis.ablate(run, "all"), "components: must be one of"),
    "ablate: checkpoints": (lambda run, to: circuits.analysis.ablate(run, checkpoints="x"), "not a Python slice"),
    "results_of: out": (lambda run, to: circuits.analysis.results_of(run, out=run.path), "Pass another path"),
    "results_of: folder": (
        lambda run, to: circuits.analysis.results_of(run, out=to / "b" / "c.nc"),
        "pass another path",
    ),
    "export: itself": (lambda run, to: circuits.export(run, run.path), "is the run itself. Pass another path"),
    "export: exists": (lambda run, to: circuits.export(run, to / "a.txt"), "Pass overwrite=True to replace it"),
    "export: a run": (lambda run, to: circuits.export(run, to / "b.h5", overwrite=True), "Pass another path"),
    "report: itself": (lambda run, to: circuits.report(run, run.path), "is the run itself"),
    "report: foreign": (lambda run, to: circuits.report(run, to / "a.txt"), "not a page made by circuits"),
    "report: no folder": (lambda run, to: circuits.report(run, to / "b" / "c.html"), "pass another path"),
    "replay: itself": (lambda run, to: circuits.replay(run, run.path, from_step=0, to_step=7), "Pass another path"),
    "replay: exists": (lambda run, to: circuits.replay(run, to / "b.h5", from_step=0, to_step=7), "overwrite=True"),
    "ticket: itself": (lambda run, to: circuits.ticket(run, run.path, np.ones(16, bool)), "Pass another path"),
    "build: k": (lambda run, to: circuits.constructions.build("dnf"), "pass k=3"),
    "build: p": (lambda run, to: circuits.constructions.build("modular_addition", frequencies=[1]), "pass p=31"),
    "convert: exists": (
        lambda run, to: circuits.convert.from_construction(circuits.constructions.dnf(3), run.path),
        "Pass overwrite=True to replace it, or another path",
    ),
    "convert: no run": (lambda run, to: circuits.convert.from_parity_nn(to, to / "c.h5"), ""),
    "resolve_config: two": (lambda run, to: circuits.resolve_config("merrill-2023", file="a.json"), "Pass only one"),
    "open: nothing": (lambda run, to: circuits.open(to / "c.h5"), "does not exist"),
    "open: not a run": (lambda run, to: circuits.open(to / "a.txt"), ""),
    "repair: not a run": (lambda run, to: circuits.repair(to / "a.txt"), ""),
    "read_json: not JSON": (lambda run, to: circuits.read_json(to / "a.txt"), ""),
    "preset": (lambda run, to: circuits.preset("merril-2023"), "Did you mean"),
    "record: exists": (lambda run, to: circuits.record(run.path, torch_module()).__enter__(), "resume=True"),
}
MLP = TINY | {"model": "mlp"}


def torch_module():
    import torch

    return torch.nn.Linear(2, 1)


@pytest.mark.parametrize("name", BAD_CALLS)
def test_an_error_in_python_is_one_line_without_flags(name, tiny_path, tiny_run, tmp_path):
    (tmp_path / "a.txt").write_text("mine")
    (tmp_path / "b.h5").write_bytes(tiny_path.read_bytes())
    call, said = BAD_CALLS[name]
    with pytest.raises(circuits.InputError) as caught:
        call(tiny_run, tmp_path)
    text = str(caught.value)
    assert said in text
    assert "\n" not in text
    assert " --" not in re.sub(r"circuits [a-z]+ .*", "", text)
    assert (tmp_path / "a.txt").read_text() == "mine"


def test_names_of_measurements_may_be_a_list(tiny_run):
    listed = circuits.analyze(tiny_run, ["phases", "norms"])
    assert list(listed) == ["phases", "norms"]
    assert listed["norms"].identical(circuits.analyze(tiny_run, "phases", "norms")["norms"])
    assert list(circuits.analyze(tiny_run, ("norms",), "phases")) == ["phases", "norms"]


@pytest.mark.parametrize(("index", "place"), [(3, 3), (-1, 4), (-2, 3), (np.int64(0), 0), ("3", 3), (" -1 ", 4)])
def test_an_index_selects_one_checkpoint(index, place, tiny_run):
    found = circuits.analyze(tiny_run, "norms", options={"checkpoints": index})["norms"]
    assert found["step"].values.tolist() == [tiny_run.steps[place]]
    assert Options(checkpoints=index).slice == Options(checkpoints=Options(checkpoints=index).checkpoints).slice
    assert (
        circuits.analysis.ablate(tiny_run, "groups", index if isinstance(index, str) else int(index)).sizes["step"] == 1
    )


def test_an_index_on_the_command_line_selects_the_same(tiny_path, tmp_path, capsys):
    words = ["analyze", str(tiny_path), "--norms", "--json", "--quiet", "--out", str(tmp_path / "a.nc")]
    for index in ("3", "-1"):
        assert main([*words, "--checkpoints", index]) == 0
        with circuits.open(tiny_path) as run:
            expected = circuits.analyze(run, "norms", options={"checkpoints": int(index)})["norms"]
        (tmp_path / "a.json").write_text(capsys.readouterr().out)
        assert circuits.read_json(tmp_path / "a.json")["norms"]["step"].equals(expected["step"])


@pytest.mark.parametrize("wrong", [True, 2.0, None, [3]])
def test_what_is_no_index_is_no_choice_of_checkpoints(wrong, tiny_run):
    with pytest.raises(circuits.InputError, match="options: checkpoints: must be text"):
        circuits.analyze(tiny_run, options={"checkpoints": wrong})


PARTS = [
    circuits.Config,
    Checkpoints,
    *(entry.load() for table in (TASKS, MODELS, OPTIMIZERS) for entry in table.values()),
]


def item_of(annotation: Any) -> Any:
    """An item of the lists that a type allows, None if it allows none."""
    kind, inner = get_origin(annotation), get_args(annotation)
    if kind is Annotated:
        return item_of(inner[0])
    if kind in (Union, UnionType):
        return next((item for choice in inner if (item := item_of(choice)) is not None), None)
    if kind not in (tuple, list) or len(inner) != 2 or inner[1] is not ...:
        return None
    one = get_args(inner[0])[0] if get_origin(inner[0]) is Annotated else inner[0]
    return {int: 3, float: 0.5, str: "a"}.get(one, {"epoch": 1, "value": 0})


LISTS = [(part, name) for part in PARTS for name, field in part.model_fields.items() if item_of(field.annotation)]


@pytest.mark.parametrize(("part", "name"), LISTS, ids=[f"{part.__name__}.{name}" for part, name in LISTS])
def test_every_list_of_a_config_takes_one_item(part, name):
    item = item_of(part.model_fields[name].annotation)
    assert part._one_item_for_a_list({name: item, "kind": "x"}) == {name: (item,), "kind": "x"}
    for untouched in (None, True, [item], (item,)):
        assert part._one_item_for_a_list({name: untouched}) == {name: untouched}


def test_the_fields_that_are_lists_are_known():
    names = {f"{part.__name__}.{name}" for part, name in LISTS}
    assert {"Config.seeds", "Config.metrics", "Config.weight_decay_changes", "Checkpoints.at_steps"} <= names
    assert {"MLP.widths", "Parity.support", "Arrays.input_shape"} <= names
    assert not [name for name in names if name.endswith("betas")]  # two numbers, never one


def test_one_item_makes_the_config_of_a_list():
    short = circuits.Config(
        seeds=0, model={"kind": "mlp", "widths": 128}, metrics="parameter_norm", checkpoints={"at_steps": 5},
        weight_decay_changes={"epoch": 5, "value": 0},
    )  # fmt: skip
    assert short == circuits.Config(
        seeds=[0], model={"kind": "mlp", "widths": [128]}, metrics=["parameter_norm"], checkpoints={"at_steps": [5]},
        weight_decay_changes=[{"epoch": 5, "value": 0}],
    )  # fmt: skip
    assert short == circuits.Config.model_validate_json(short.to_json())
    assert circuits.preset("merrill-2023").replace(seeds=np.int64(7), task__support=None).seeds == (7,)
    assert Checkpoints.model_json_schema()["properties"]["at_steps"]["type"] == "array"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"seeds": "0"}, "config: seeds: must be a list (given: '0')"),
        ({"seeds": True}, "config: seeds: must be a list (given: True)"),
        ({"seeds": 1.5}, "config: seeds: must be a list (given: 1.5)"),
        ({"seeds": -1}, "config: seeds.0: must be at least 0 (given: -1)"),
        ({"metrics": 3}, "config: metrics: must be a list (given: 3)"),
        ({"metrics": "norm"}, "config: there is no metric 'norm'"),
        ({"checkpoints": {"at_steps": "5"}}, "config: checkpoints.at_steps: must be a list (given: '5')"),
        ({"weight_decay_changes": {"epok": 5, "value": 0}}, "config: there is no field 'weight_decay_changes.0.epok'."),
        ({"task": "modulr"}, "config: task: there is no task 'modulr'. Did you mean 'modular'?"),
        ({"task": 3}, "config: task: must be an object with its fields (given: 3)"),
    ],
)
def test_an_item_of_another_type_is_refused_as_before(fields, said):
    with pytest.raises(circuits.InputError, match=f"^{re.escape(said)}"):
        circuits.Config(**fields)


def test_a_kind_alone_has_the_defaults_of_its_fields():
    assert circuits.Config(model="mlp", optimizer="adam") == circuits.Config(
        model={"kind": "mlp"}, optimizer={"kind": "adam"}
    )
    preset = circuits.preset("merrill-2023")
    assert (
        preset.replace(model="mlp", model__widths=7).model == preset.replace(model__kind="mlp", model__widths=7).model
    )
    both = circuits.resolve_config("merrill-2023", overrides={"model": "mlp", "model.widths": 7})
    assert both.model.widths == (7,)
    with pytest.raises(circuits.InputError, match=r"there is no model 'mpl'. Did you mean 'mlp'"):
        circuits.resolve_config("merrill-2023", overrides={"model": "mpl"})
