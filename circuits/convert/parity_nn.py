"""Runs of the released code of Merrill et al. 2023 (parity-nn), and of the thesis, which follows its file names.

    results/n_N/k_K/N_N/lr_LR/wd_WD/width_P/seedS_checkpoints/model_EPOCH.pt

The path is all there is of the config; the batch size is not in it. Both codes save `model_EPOCH.pt` at the top of an
epoch, before its updates: it is the state after EPOCH epochs, `model_0.pt` the initialization, and what the last epoch
did is not kept. So checkpoint EPOCH is step EPOCH × ceil(N / batch size). Neither code stores its data; both draw them
with Python's `random`, from seeds that are known, and `circuits.tasks.parity` draws them again.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from circuits.checkpoints.run import Run
from circuits.config import Config, parse
from circuits.convert.imported import Arrays, checkpoint_plan, imported_from, write_run
from circuits.convert.weights import check_shapes, read_weights
from circuits.errors import InputError, nearest

LAYOUT = "n_N/k_K/N_N/lr_LR/wd_WD/width_P/seedS_checkpoints/model_EPOCH.pt"
CODES = {
    "merrill-code": ("the released code of Merrill et al. 2023", 100),  # its name, its number of test examples
    "thesis-code": ("the code of Fuangkawinsombut 2024, appendix B", 100),
}
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
    """Bring a run of the released code of Merrill et al., or of the thesis, into a run file.

    `model_EPOCH.pt` is taken as the state after EPOCH epochs, which is when both codes save it. Metrics are computed
    from the weights, on the data that the code drew.

    Parameters
    ----------
    folder
        A seed's folder, the `width_P` folder above, or any folder above that which has one configuration below.
    out
        The run file to write.
    draw
        Whose data: "merrill-code" (train seed 17·seed, test seed 2001) or "thesis-code" (seed, 2023).
    batch_size
        Examples per update; the path does not say, both codes have 32.
    common_epochs
        Take the epochs that every seed has, when the seeds differ.
    overwrite, progress
        As in `circuits.train`.

    Returns
    -------
    The run, opened for reading.

    Raises
    ------
    InputError
        There are no such checkpoints, or those of several configurations; the seeds' epochs differ; a file cannot be
        read as a state dict, or a key or shape in it is not what the path says. The message names the file and the key.
    """
    folder = Path(folder)
    if draw not in CODES:
        raise InputError(f"There is no way to draw '{draw}' in these codes. {nearest(draw, CODES)}")
    place, seeds = _found(folder)
    epochs = _epochs(place, seeds, common_epochs)
    code, n_test = CODES[draw]
    config = _config(place, draw, n_test, batch_size, list(seeds), epochs, f"{imported_from(place)}, {code}")
    lengths = {"neuron": config.shapes["b"][1][0], "input": config.task.signature.n_inputs}

    def networks(step: int) -> list[Arrays]:
        paths = [files[step // config.steps_per_epoch] for files in seeds.values()]
        loaded = [read_weights(path, config.model) for path in paths]
        for path, parameters in zip(paths, loaded, strict=True):
            check_shapes(path, parameters, config.model, lengths, "its folder's name says")
        return loaded

    return write_run(Path(out), config, networks, str(place), overwrite=overwrite, progress=progress)


def _found(folder: Path) -> tuple[Path, Checkpoints]:
    """The one configuration's folder, and its checkpoints by seed and epoch."""
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder. Pass the one that holds {LAYOUT}, or a folder below it.")
    places: dict[Path, dict[int, Path]] = {}
    absolute = Path(os.path.abspath(folder))
    below = [absolute] if _seed(absolute) is not None else sorted(folder.rglob("seed*_checkpoints"))
    for path in below:
        seed = _seed(path)
        if seed is not None and path.is_dir():
            places.setdefault(path.parent, {})[seed] = path
    if not places:
        raise InputError(f"{folder} has no folder seedS_checkpoints, nor any folder below it. Expected: {LAYOUT}")
    if len(places) > 1:
        shown = ", ".join(map(str, places))
        raise InputError(f"{folder} has {len(places)} configurations: {shown}. Pass one of them.")
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
    """The epochs that every seed has, ascending; all of them, unless fewer were asked for."""
    common = set.intersection(*(set(files) for files in seeds.values()))
    everything = set.union(*(set(files) for files in seeds.values()))
    if common != everything and not common_epochs:
        lacking = {seed: sorted(everything - set(files)) for seed, files in seeds.items()}
        lacking_epochs = [f"seed {seed} lacks {_listed(epochs)}" for seed, epochs in lacking.items() if epochs]
        raise InputError(
            f"{place}: the seeds have different epochs: {'; '.join(lacking_epochs)}. Pass --common-epochs to take the "
            f"{len(common)} that all have."
        )
    if not common:
        raise InputError(f"{place}: no epoch is there for every one of the seeds {', '.join(map(str, seeds))}.")
    return sorted(common)


def _listed(epochs: list[int], most: int = 5) -> str:
    shown = ", ".join(map(str, epochs[:most]))
    return f"{shown} and {len(epochs) - most} more" if len(epochs) > most else shown


def _config(
    place: Path, draw: str, n_test: int, batch_size: int, seeds: list[int], epochs: list[int], source: str
) -> Config:
    fields = _fields(place)
    steps_per_epoch = -(-int(fields["N"]) // max(batch_size, 1))
    return parse(
        {
            "name": "parity-nn",
            "source": source,
            "task": {
                "kind": "parity", "n": fields["n"], "k": fields["k"], "n_train": fields["N"], "n_test": n_test,
                "draw": draw,
            },
            "model": {"kind": "relu", "width": fields["width"]},
            "optimizer": {"kind": "sgd", "lr": fields["lr"], "weight_decay": fields["wd"]},
            "loss": "hinge",
            "batch_size": batch_size,
            "seeds": seeds,
            **checkpoint_plan([epoch * steps_per_epoch for epoch in epochs], steps_per_epoch),
        }
    )  # fmt: skip


def _fields(place: Path) -> Mapping[str, int | float]:
    """What the folders above say: n, k, N, lr, wd, width."""
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
            f"{place} does not say what '{missing[0]}' is: expected folders {LAYOUT.rpartition('/seed')[0]}. For "
            f"checkpoints that lie elsewhere, use circuits convert state-dicts."
        )
    return fields
