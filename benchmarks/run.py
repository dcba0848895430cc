"""`make bench`: how many times faster than the plain way, measured side by side in this one process.

Every row is a ratio of medians, with the smallest and the largest ratio of its repetitions; the plain way and ours
alternate, so that a slow moment of the machine hits both. Times depend on the machine, ratios much less.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import naive
import numpy as np
import storage
import torch
from rich.console import Console
from rich.table import Table

import circuits
from circuits.analysis.active import sparsity_at
from circuits.options import Options

REPETITIONS = 5
NAIVE_EPOCHS = 4
FUSED_EPOCHS = 60


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def alternating(slow: Callable[[], float], fast: Callable[[], float]) -> list[tuple[float, float]]:
    fast(), slow()  # compiles, and warms the caches
    pairs = []
    for index in range(REPETITIONS):
        pairs.append((slow(), fast()))
        print(f"  repetition {index + 1} of {REPETITIONS}: {pairs[-1][0] / pairs[-1][1]:.0f} ×", file=sys.stderr)
    return pairs


def training(folder: Path) -> list[tuple[float, float]]:
    """Seconds per seed and epoch of the flagship, with metrics and a checkpoint every epoch."""
    config = circuits.preset("merrill-2023").replace(epochs=FUSED_EPOCHS)
    data, test = config.task.train_data(0), config.task.test_data()
    sets = [naive.dataset(which["inputs"], which["targets"]) for which in (data, test)]

    def slow() -> float:
        net = naive.Net(config.task.n, config.model.width)
        return seconds(lambda: naive.train(net, *sets, NAIVE_EPOCHS, folder)) / NAIVE_EPOCHS

    def fast() -> float:
        path = folder / "fused.h5"
        run = []
        took = seconds(lambda: run.append(circuits.train(config, path, overwrite=True, progress=False)))
        run[0].close()
        return took / (FUSED_EPOCHS * len(config.seeds))

    return alternating(slow, fast)


def sparsity(folder: Path) -> list[tuple[float, float]]:
    """Seconds per checkpoint and seed, over checkpoints from the initialisation to the end of the flagship."""
    path = folder / "flagship.h5"
    with circuits.train(circuits.preset("merrill-2023"), path, progress=False) as run:
        sample = np.arange(0, run.n_checkpoints, 25)
        inputs = torch.tensor(run.data(0)["train_inputs"].values, dtype=torch.float32)

        def network(checkpoint: int) -> naive.Net:
            state = run.state(seed=0, checkpoint=int(checkpoint))
            net = naive.Net(*reversed(state["W"].shape))
            net.load_state_dict(
                {"linear1.weight": state["W"], "linear1.bias": state["b"], "linear2.weight": state["u"][None]}
            )
            return net

        networks = [network(checkpoint) for checkpoint in sample]
        found: dict[str, list[int]] = {}

        def slow() -> float:
            return seconds(
                lambda: found.update(naive=[naive.effective_sparsity(net, inputs) for net in networks])
            ) / len(sample)

        def fast() -> float:
            sizes: list[np.ndarray] = []
            took = seconds(lambda: sizes.append(sparsity_at(run, sample, Options())))
            found["fused"] = sizes[0][:, 0].astype(int).tolist()
            return took / (len(sample) * len(run.seeds))

        pairs = alternating(slow, fast)
        apart = [(a, b) for a, b in zip(found["naive"], found["fused"], strict=True) if a != b]
        print(f"  sizes that differ (float32 against float64 sums): {apart or 'none'}", file=sys.stderr)
        return pairs


ROWS = {
    "training, metrics and a checkpoint each epoch (per seed and epoch)": training,
    "effective sparsity (per checkpoint and seed)": sparsity,
}


def main() -> None:
    table = Table("row", "plain way", "here", "ratio", "min to max", title=f"medians of {REPETITIONS} repetitions")
    with tempfile.TemporaryDirectory() as folder:
        for name, measure in ROWS.items():
            print(name, file=sys.stderr)
            pairs = measure(Path(folder))
            slow, fast = (median(column) for column in zip(*pairs, strict=True))
            ratios = [a / b for a, b in pairs]
            spread = f"{min(ratios):.0f} to {max(ratios):.0f} ×"
            table.add_row(name, f"{slow * 1e3:.2f} ms", f"{fast * 1e3:.2f} ms", f"{slow / fast:.0f} ×", spread)
    prices = Table("row", "here", "plain way", "ratio", "min to max", "aim", title="what storage costs")
    with tempfile.TemporaryDirectory() as folder:
        for name, (measure, aim) in storage.COSTS.items():
            print(name, file=sys.stderr)
            pairs = measure(Path(folder))
            here, plain = (median(column) for column in zip(*pairs, strict=True))
            ratios = [a / b for a, b in pairs]
            spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
            prices.add_row(name, f"{here * 1e3:.1f} ms", f"{plain * 1e3:.1f} ms", f"{here / plain:.2f}", spread, aim)
    Console().print(table, prices)


if __name__ == "__main__":
    main()
