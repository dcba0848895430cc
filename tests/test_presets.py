"""Every experiment of the five papers has a preset, and every preset trains."""

import importlib
import json
import math
import subprocess
import sys
from functools import cache

import pytest

import circuits
from circuits.checkpoints.layout import size_on_disk
from circuits.config import parse
from circuits.registry import PRESETS
from circuits.tasks.operations import VALUES

# The experiments of the papers by their number: of the thesis (T), the blog (B), Ahmed (A), Merrill et al. (M) and Liu,
# Chi and Wu (P).
EXPERIMENTS = [
    *(f"T{i}" for i in range(1, 17)),
    *(f"B{i}" for i in range(1, 7)),
    *(f"A{i}" for i in range(1, 12)),
    *(f"M{i}" for i in range(1, 13)),
    *(f"P{i}" for i in range(1, 9)),
]
THESIS, AHMED, MERRILL, LIU = "fuangkawinsombut-2024", "ahmed-2024", "merrill-2023", "liu-chi-wu"
TRAINED = {
    **{key: [THESIS] for key in ["T1", "T2", "T3", "T4", "B1", "B2", "B3", "B4"]},
    **{key: [f"{THESIS}-raised-decay"] for key in ["T5", "T6", "B5"]},
    **{key: [f"{THESIS}-outliers"] for key in ["T7", "T8", "T9", "B6"]},
    **{key: [f"{THESIS}-widths"] for key in ["T12", "T13"]},
    **{key: [f"{THESIS}-k3"] for key in ["T14", "T15", "T16"]},
    "A1": [f"{AHMED}-lstm", f"{AHMED}-transformer"],
    "A2": [f"{AHMED}-rnn"],
    "A3": [f"{AHMED}-no-decay"],
    **{key: [f"{AHMED}-decay-removed"] for key in ["A4", "A5"]},
    "A6": [f"{AHMED}-decay-introduced"],
    "A7": [f"{AHMED}-adam"],
    **{key: [f"{AHMED}-dropout"] for key in ["A8", "A9"]},
    "A10": [f"{AHMED}-init-scale"],
    **{key: [MERRILL] for key in ["M1", "M2", "M3", "M4", "M5", "M6"]},
    "M7": [f"{MERRILL}-weak-decay"],
    "M8": [f"{MERRILL}-k4"],
    "M9": [f"{MERRILL}-addition", f"{MERRILL}-division"],
    **{key: [f"{LIU}-transformer"] for key in ["P1", "P6"]},
    "P2": [f"{LIU}-mlp"],
    "P3": [f"{LIU}-lstm"],
    "P4": [
        f"{LIU}-{panel}"
        for panel in ("full-batch", "minibatch", "adam", "weight-decay", "dropout", "large-lr", "small-lr", "rmsprop")
    ],
    "P5": [f"{LIU}-three-summands", f"{LIU}-four-summands"],
    "P7": [f"{LIU}-sparsity"],
    "P8": [f"{LIU}-perturbation"],
}
NOTHING_TO_TRAIN = {
    "T10": "a construction: circuits construct thesis_dnf",
    "T11": "a construction: circuits construct two_neuron",
    "A11": "a table of the literature",
    "M10": "a construction: circuits construct dnf",
    "M11": "a construction: circuits construct six_neuron",
    "M12": "a construction: circuits construct four_neuron",
}
BEYOND = ["power-2022", "nanda-2023", "modular-31"]  # and the laboratory's variants


def shrunk(name):
    """Three updates of a preset on a few examples, one seed, small transformers; everything else is as it was."""
    config = circuits.preset(name)
    few = {"task__n_train": 24, "task__n_test": 8} if config.task.kind == "parity" else {"task__p": 7}
    if getattr(config.task, "max_examples", None):
        few["task__max_examples"] = 100
    if config.model.kind == "transformer":
        few |= {"model__d_model": 16, "model__d_mlp": 16}
    checkpoints = {"every_epochs": None, "every_steps": 1}
    batch = None if config.batch_size is None else 8
    return config.replace(**few, batch_size=batch, steps=3, stop=None, seeds=config.seeds[:1], checkpoints=checkpoints)


def test_every_experiment_has_a_preset_or_trains_nothing():
    assert sorted(TRAINED | NOTHING_TO_TRAIN) == sorted(EXPERIMENTS)
    assert not TRAINED.keys() & NOTHING_TO_TRAIN.keys()
    assert [name for names in TRAINED.values() for name in names if name not in PRESETS] == []


def test_every_preset_is_of_an_experiment_or_beyond_the_papers():
    of_papers = {name for names in TRAINED.values() for name in names}
    assert [name for name in PRESETS if name not in of_papers and not name.startswith(tuple(BEYOND))] == []


@cache
def made_by(preset):
    """The module of a preset, its function, and the configs that it makes, as a list."""
    module, function = PRESETS[preset].path.split(":")
    module = importlib.import_module(module)
    function = getattr(module, function)
    configs = function()
    return module, function, configs if isinstance(configs, list) else [configs]


def test_a_preset_says_what_it_is_where_it_is_from_and_how_long_it_takes():
    for preset, entry in PRESETS.items():
        module, function, configs = made_by(preset)
        texts = [module.__doc__, function.__doc__, entry.help, entry.paper]
        assert all(texts), preset
        assert entry.shows or preset.startswith("modular-31"), preset
        assert 0 < circuits.preset_seconds(preset) < 24 * 3600, preset
        assert all(config.source for config in configs), preset
        names = list(circuits.preset_configs(preset))
        assert names == [config.name for config in configs]
        assert names == [preset] or all(name.startswith(f"{preset}/") and name.count("/") == 1 for name in names)


def test_the_configs_of_a_preset_differ_and_fit_the_disk():
    for preset in PRESETS:
        _, _, configs = made_by(preset)
        assert len({config.name for config in configs}) == len(configs), preset
        assert len({config.replace(name="one").to_json() for config in configs}) == len(configs), preset
        assert all(size_on_disk(config) < 1e9 for config in configs), preset


def test_every_config_of_a_preset_round_trips_through_json_exactly():
    for preset in PRESETS:
        for config in made_by(preset)[2]:
            again = parse(json.loads(config.to_json()))
            assert again == config, config.name
            assert again.to_json() == config.to_json(), config.name


@pytest.mark.slow  # together half a minute
@pytest.mark.parametrize("preset", PRESETS)
def test_the_first_and_the_last_config_of_a_preset_train(preset, tmp_path):
    names = list(circuits.preset_configs(preset))
    for name in dict.fromkeys([names[0], names[-1]]):
        with circuits.train(shrunk(name), tmp_path / "run.h5", overwrite=True, progress=False) as run:
            assert run.is_complete, name
            assert run.steps.tolist() == [0, 1, 2, 3]
            losses = run.metrics["train_loss"][:, 0]
            assert all(math.isfinite(loss) for loss in losses), name
            assert losses[-1] != losses[0], name


def test_power_2022_has_every_operation():
    assert {config.task.operation for config in circuits.preset_configs("power-2022").values()} == set(VALUES)


def test_presets_differ_from_their_paper_s_set_up_in_what_they_are_about():
    def differences(one, other):
        a, b = (circuits.preset(name).model_dump(mode="json") for name in (one, other))
        return {key for key in a if a[key] != b[key]} - {"name", "source", "checkpoints"}

    assert differences("merrill-2023-weak-decay", "merrill-2023") == {"optimizer", "epochs"}
    assert differences("merrill-2023-k4", "merrill-2023") == {"task"}
    assert differences("fuangkawinsombut-2024-raised-decay/0.2", "fuangkawinsombut-2024") == {"weight_decay_changes"}
    assert differences("ahmed-2024-decay-removed/epoch-200", "ahmed-2024-lstm/fraction-0.5") == {"weight_decay_changes"}
    assert differences("ahmed-2024-no-decay", "ahmed-2024-lstm/fraction-0.5") == {"optimizer", "epochs"}
    assert differences("ahmed-2024-init-scale/lstm-5", "ahmed-2024-lstm/fraction-0.7") == set()
    assert differences("liu-chi-wu-dropout/fraction-0.30", "liu-chi-wu-minibatch/fraction-0.30") == {"model"}
    assert differences("liu-chi-wu-full-batch/fraction-0.30", "liu-chi-wu-minibatch/fraction-0.30") == {"batch_size"}
    assert differences("modular-31-noise/0.0", "modular-31") == set()


def test_making_every_preset_loads_no_torch():
    code = (
        "import sys, circuits; from circuits.registry import PRESETS; "
        "[circuits.preset_configs(name) for name in PRESETS]; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
