"""Runs of two codes that name files alike: Merrill et al. 2023 (parity-nn) and Fuangkawinsombut 2024 (thesis).

    results/n_BITS/k_K/N_TRAIN/lr_LR/wd_WD/width_P/seedS_checkpoints/model_EPOCH.pt

Each of BITS, K, TRAIN, LR, WD, P, S and EPOCH stands for a number: the folder `N_1000` has 1000 training examples. The
path is the only record of the config. Both codes save a network when an epoch begins, never when training ends. So no
file holds the network after the last epoch: `model_0.pt` is the initialization, and `model_EPOCH.pt` is the network
after EPOCH × ceil(TRAIN / batch size) steps. Neither code stores its data. Both draw them with Python's `random` from
known seeds, as `circuits.tasks.parity` does.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path

from circuits.checkpoints.run import Run
from circuits.config import Config, parse
from circuits.convert.imported import Arrays, checkpoint_plan, imported_from, write_run
from circuits.convert.weights import read_alike
from circuits.errors import InputError, nearest

LAYOUT = "n_BITS/k_K/N_TRAIN/lr_LR/wd_WD/width_P/seedS_checkpoints/model_EPOCH.pt"
CODES = {
    "merrill-code": "the released code of Merrill et al. 2023",
    "thesis-code": "the code of Fuangkawinsombut 2024, appendix B",
}
N_TEST = 100  # test examples in both codes
_FIELDS = (("n", int), ("k", int), ("N", int), ("lr", float), ("wd", float), ("width", int))

Checkpoints = dict[int, dict[int, Path]]  # seed -> epoch -> file


def from_parity_nn(
    folder: str | Path,
    out: str | Path,
    *,
    draw: str = "merrill-code",
    batch_size: int = 32,
    common_epochs: bool = False,
    overwrite: bool = False,
    progress: bool = True,
) -> Run:
    """Convert a run of the released code of Merrill et al. 2023, or of Fuangkawinsombut 2024 (thesis), into a run file.

    Metrics are computed from the weights, on the data that the code drew. The result is the run, opened for reading.

    Parameters
    ----------
    folder
        A seed's folder, the `width_P` folder above it, or a higher folder with a single configuration.
    out
        The run file to write.
    draw
        Code that drew the data. For a folder `seedS_checkpoints`, "merrill-code" drew training data with seed 17·S and
        test data with seed 2001. "thesis-code" drew training data with seed S and test data with seed 2023.
    batch_size
        Examples per update, which the folder names do not contain; 32 in both codes.
    common_epochs
        If the seeds have different epochs, convert only the epochs that all seeds have.
    overwrite, progress
        As in `circuits.train`.

    Raises
    ------
    InputError
        `folder` has no checkpoints or several configurations, or the seeds' epochs differ. Or a file cannot be read as
        a state dict, or a key or shape in it disagrees with the path. The message names the file and the key.
    """
    folder = Path(folder)
    if draw not in CODES:
        raise InputError(f"There is no data source '{draw}'. {nearest(draw, CODES)}")
    place, seeds = _configuration(folder)
    epochs = _epochs(place, seeds, common_epochs)
    config = _config(place, draw, batch_size, list(seeds), epochs)
    lengths = {"neuron": config.shapes["b"][1][0], "input": config.task.signature.n_inputs}

    def networks(step: int) -> list[Arrays]:
        paths = [files[step // config.steps_per_epoch] for files in seeds.values()]
        return read_alike(paths, config.model, lengths, "The shape must match the folder's name")

    return write_run(Path(out), config, networks, str(place), overwrite=overwrite, progress=progress)


def _configuration(folder: Path) -> tuple[Path, Checkpoints]:
    """Returns the folder that holds the folders `seedS_checkpoints`, and their files: seed -> epoch -> file.

    `folder` is one of the folders `seedS_checkpoints`, or any folder above them. The path of the returned folder states
    the training settings. Folders `seedS_checkpoints` in several places raise an error: their settings differ.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder. Pass the folder that holds {LAYOUT}, or a folder in it.")
    places: dict[Path, dict[int, Path]] = {}
    absolute = Path(os.path.abspath(folder))
    for path in [absolute] if _seed(absolute) is not None else sorted(folder.rglob("seed*_checkpoints")):
        if (seed := _seed(path)) is not None and path.is_dir():
            places.setdefault(path.parent, {})[seed] = path
    if not places:
        raise InputError(f"{folder} holds no folder seedS_checkpoints at any depth. Expected: {LAYOUT}")
    if len(places) > 1:
        shown = ", ".join(map(str, places))
        raise InputError(f"{folder} has {len(places)} configurations: {shown}. Pass the folder of one.")
    place, folders = next(iter(places.items()))
    checkpoints = {seed: _models(folders[seed]) for seed in sorted(folders)}
    for seed, files in checkpoints.items():
        if not files:
            raise InputError(f"{folders[seed]} has no model_EPOCH.pt, such as model_0.pt.")
    return place, checkpoints


def _seed(folder: Path) -> int | None:
    named = re.fullmatch(r"seed(\d+)_checkpoints", folder.name)
    return int(named[1]) if named else None


def _models(folder: Path) -> dict[int, Path]:
    named = ((re.fullmatch(r"model_(\d+)\.pt", path.name), path) for path in folder.iterdir())
    return {int(match[1]): path for match, path in named if match}


def _epochs(place: Path, seeds: Checkpoints, common_epochs: bool) -> list[int]:
    """The epochs that every seed has, ascending; an error if the seeds differ, unless `common_epochs`."""
    common = set.intersection(*(set(files) for files in seeds.values()))
    everything = set.union(*(set(files) for files in seeds.values()))
    if common != everything and not common_epochs:
        lacking = {seed: sorted(everything - set(files)) for seed, files in seeds.items()}
        lacking_epochs = [f"seed {seed} lacks {_listed(epochs)}" for seed, epochs in lacking.items() if epochs]
        raise InputError(
            f"{place}: the seeds have different epochs: {'; '.join(lacking_epochs)}. Pass common_epochs=True to "
            f"convert the {len(common)} epochs that all seeds have."
        )
    if not common:
        raise InputError(f"{place}: the seeds {', '.join(map(str, seeds))} have no epoch in common.")
    return sorted(common)


def _listed(epochs: list[int], most: int = 5) -> str:
    shown = ", ".join(map(str, epochs[:most]))
    return f"{shown} and {len(epochs) - most} more" if len(epochs) > most else shown


def _config(place: Path, draw: str, batch_size: int, seeds: list[int], epochs: list[int]) -> Config:
    fields = _fields(place)
    task = {"n": fields["n"], "k": fields["k"], "n_train": fields["N"]}
    steps_per_epoch = -(-int(fields["N"]) // max(batch_size, 1))
    return parse(
        {
            "name": "parity-nn",
            "source": f"{imported_from(place)}, {CODES[draw]}",
            "task": {"kind": "parity", "draw": draw, "n_test": N_TEST, **task},
            "model": {"kind": "relu", "width": fields["width"]},
            "optimizer": {"kind": "sgd", "lr": fields["lr"], "weight_decay": fields["wd"]},
            "loss": "hinge",
            "batch_size": batch_size,
            "seeds": seeds,
            **checkpoint_plan([epoch * steps_per_epoch for epoch in epochs], steps_per_epoch),
        },
        place,
    )


def _fields(place: Path) -> Mapping[str, int | float]:
    """The values in the path `place`: n bits, k of them relevant, N training examples, lr, wd (weight decay), width."""
    parts = Path(os.path.abspath(place)).parts[-len(_FIELDS) :]
    fields: dict[str, int | float] = {}
    for (name, number), part in zip(_FIELDS, parts, strict=False):
        prefix, _, value = part.partition("_")
        try:
            if prefix == name:
                fields[name] = number(value)
        except ValueError:
            pass
    missing = [name for name, _ in _FIELDS if name not in fields]
    if missing:
        raise InputError(
            f"The path {place} lacks a value of '{missing[0]}': expected folders {LAYOUT.rpartition('/seed')[0]}. For "
            f"checkpoints in folders with other names, use circuits convert state-dicts."
        )
    return fields
