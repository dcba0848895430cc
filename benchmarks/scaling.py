"""Cost against size: a straight line, if the time per unit stays what it was."""

import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median

from timing import REPETITIONS, seconds

import circuits

BASE = {"epochs": 20, "seeds": list(range(4))}
SIZES: dict[str, tuple[tuple[int, ...], Callable[[int], dict]]] = {
    "checkpoints": ((50, 100, 200, 400), lambda size: {"epochs": size}),
    "seeds": ((4, 8, 16, 32), lambda size: {"seeds": list(range(size))}),
    "examples": ((1000, 2000, 4000, 8000), lambda size: {"task__n_train": size}),
    "width": ((1000, 2000, 4000, 8000), lambda size: {"model__width": size}),
}


def rows(folder: Path) -> list[tuple[str, ...]]:
    """Per quantity: time per unit at four sizes, of training and of effective sparsity, as multiples of the first."""
    found = []
    for what, (sizes, change) in SIZES.items():
        print(f"cost against {what}", file=sys.stderr)
        configs = [circuits.preset("merrill-2023").replace(**(BASE | change(size))) for size in sizes]
        times: dict[str, list[list[float]]] = {"training": [], "effective sparsity": []}
        for _ in range(REPETITIONS):
            taken = [_both(config, folder) for config in configs]
            for place, kind in enumerate(times):
                times[kind].append([both[place] / size for both, size in zip(taken, sizes, strict=True)])
        for kind, repetitions in times.items():
            middle = [median(column) for column in zip(*repetitions, strict=True)]
            relative = [f"{size}: {one / middle[0]:.2f}" for size, one in zip(sizes, middle, strict=True)]
            found.append((kind, what, *relative))
    return found


def _both(config: circuits.Config, folder: Path) -> tuple[float, float]:
    path = folder / "scaling.h5"
    train = seconds(lambda: circuits.train(config, path, overwrite=True, progress=False).close())
    with circuits.open(path) as run:
        return train, seconds(lambda: circuits.analysis.effective_sparsity(run))
