"""What keeping and reading checkpoints costs, against training without and against raw memory-mapped arrays."""

import time
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import numpy as np

import circuits
from circuits.checkpoints import layout
from circuits.checkpoints.writer import Writer

N_CHECKPOINTS = 300
READS = 20


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def cost_of_keeping(every: dict[str, int | None], epochs: int) -> Callable[[Path], list[tuple[float, float]]]:
    """Pairs of seconds: training with these checkpoints, and the same training with the writer doing nothing.

    Both measure the same metrics at the same steps, so that the ratio is that of storage alone.
    """

    def measure(folder: Path) -> list[tuple[float, float]]:
        config = circuits.preset("merrill-2023").replace(epochs=epochs, checkpoints=every)
        plain = config.replace(checkpoints={"every_epochs": None})

        def train(which: circuits.Config, name: str) -> float:
            return seconds(lambda: circuits.train(which, folder / name, overwrite=True, progress=False).close())

        def without() -> float:
            # the same stops and metrics, but nothing is stored
            with mock.patch.object(Writer, "append", return_value=None):
                return train(config, "without.h5")

        train(plain, "warm.h5")
        without()
        return [(train(config, "with.h5"), without()) for _ in range(5)]

    return measure


def reading(select: Callable[[np.ndarray], np.ndarray], many: int) -> Callable[[Path], list[tuple[float, float]]]:
    """Pairs of seconds: a selection of a run's W, and the same selection of a raw memory-mapped file of its numbers."""

    def measure(folder: Path) -> list[tuple[float, float]]:
        config = circuits.preset("merrill-2023").replace(epochs=N_CHECKPOINTS - 1)
        path, raw = folder / "read.h5", folder / "read.raw"
        path.unlink(missing_ok=True)
        random = np.random.default_rng(0)
        shape = (N_CHECKPOINTS, len(config.seeds), config.model.width, config.task.n_inputs)
        layout.create(path, config, {}, {}, {})
        mapped = np.memmap(raw, np.float32, "w+", shape=shape)
        with Writer(path) as writer:
            for index in range(N_CHECKPOINTS):
                row = {
                    f"parameters/{name}": random.standard_normal((shape[1], *size), np.float32)
                    for name, (_, size) in config.shapes.items()
                }
                mapped[index] = row["parameters/W"]
                row |= {f"metrics/{name}": np.zeros(shape[1]) for name in layout.METRICS}
                writer.append(index * config.steps_per_epoch, float(index), row)
        mapped.flush()
        with circuits.open(path) as run:
            W = run.parameters["W"]

            def ours() -> float:
                return seconds(lambda: [select(W).values for _ in range(many)])

            def plain() -> float:
                return seconds(
                    lambda: [np.array(select(np.memmap(raw, np.float32, "r", shape=shape))) for _ in range(many)]
                )

            ours(), plain()
            assert np.array_equal(select(W).values, select(mapped))
            return [(ours(), plain()) for _ in range(5)]

    return measure


COSTS = {  # pairs are (here, plain way): the ratio is a price, not a gain
    "keeping a checkpoint each epoch, against keeping none": (cost_of_keeping({"every_epochs": 1}, 60), "≤ 1.10"),
    "keeping a checkpoint each step, against keeping none": (
        cost_of_keeping({"every_epochs": None, "every_steps": 1}, 8),
        "≤ 1.5",
    ),
    "reading one checkpoint, against a memory map": (reading(lambda W: W[150], READS), "≤ 2"),
    "reading one neuron over all checkpoints, against a memory map": (reading(lambda W: W[:, 0, 7], READS), "≤ 3"),
    "reading everything, against a memory map": (reading(lambda W: W[:], 1), "≤ 2"),
}
