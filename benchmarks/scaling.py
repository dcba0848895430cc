"""Cost against size: a straight line, if the time per unit stays what it was."""

import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median

from floors import ALL_CORES, Rates, Work
from timing import REPETITIONS, seconds

import circuits

BASE = {"epochs": 20, "seeds": list(range(4))}
SIZES: dict[str, tuple[tuple[int, ...], Callable[[int], dict]]] = {
    "checkpoints": ((50, 100, 200, 400), lambda size: {"epochs": size}),
    "seeds": ((4, 8, 16, 32), lambda size: {"seeds": list(range(size))}),
    "examples": ((1000, 2000, 4000, 8000), lambda size: {"task__n_train": size}),
    "width": ((1000, 2000, 4000, 8000), lambda size: {"model__width": size}),
}


Times = dict[tuple[str, str], list[list[float]]]  # by cost and quantity: seconds of every repetition at every size


def measured(folder: Path) -> Times:
    """Seconds of training and of effective sparsity at four sizes of each quantity, each run opened anew."""
    found: Times = {}
    for what, (sizes, change) in SIZES.items():
        print(f"cost against {what}", file=sys.stderr)
        configs = [_config(change(size)) for size in sizes]
        for _ in range(REPETITIONS):
            taken = [_both(config, folder) for config in configs]
            for place, kind in enumerate(("training", "effective sparsity")):
                found.setdefault((kind, what), []).append([both[place] for both in taken])
    return found


def rows(times: Times) -> list[tuple[str, ...]]:
    """Per cost and quantity: time per unit at four sizes, as multiples of the first."""
    found = []
    for (kind, what), repetitions in times.items():
        sizes = SIZES[what][0]
        per_unit = [median(column) / size for column, size in zip(zip(*repetitions, strict=True), sizes, strict=True)]
        relative = [f"{size}: {one / per_unit[0]:.2f}" for size, one in zip(sizes, per_unit, strict=True)]
        found.append((kind, what, *relative))
    return found


def errors(times: Times, rates: Rates) -> list[str]:
    """Figures below their floors."""
    found = []
    for (kind, what), repetitions in times.items():
        sizes, change = SIZES[what]
        for size, column in zip(sizes, zip(*repetitions, strict=True), strict=True):
            floor = least(_config(change(size)), kind).floor(rates)
            if min(column) < floor:
                took = f"took {min(column):.2g} s, but its work takes {floor:.2g} s at least"
                found.append(f"{kind} at {size} {what} {took}. It is not doing the work.")
    return found


def least(config: circuits.Config, kind: str) -> Work:
    """What a run of this config cannot do without: its product at every checkpoint, or storing its checkpoints."""
    n_networks = len(config.seeds) * (config.epochs + 1)
    n, width = config.task.n, config.model.width
    if kind == "effective sparsity":
        return Work(config.task.n_train * n * width * n_networks, cores=ALL_CORES)
    return Work(stored=4 * width * (n + 2) * n_networks)


def _config(changes: dict) -> circuits.Config:
    return circuits.preset("merrill-2023").replace(**(BASE | changes))


def _both(config: circuits.Config, folder: Path) -> tuple[float, float]:
    path = folder / "scaling.h5"
    train = seconds(lambda: circuits.train(config, path, overwrite=True, progress=False).close())
    with circuits.open(path) as run:
        return train, seconds(lambda: circuits.analysis.effective_sparsity(run))
