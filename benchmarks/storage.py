"""What keeping and reading checkpoints costs, against training without and against raw memory-mapped arrays."""

import time
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import numpy as np
from floors import ALL_CORES, PARAMETERS, WIDTH, N, Work
from timing import REPETITIONS, Pairs, Row, alternating, seconds

import circuits
from circuits.checkpoints import digests, layout, writer
from circuits.checkpoints.digests import row_digests
from circuits.checkpoints.writer import Writer

N_CHECKPOINTS = 300
READS = 20
LONG = 10_000
EACH_STEP = {"every_epochs": None, "every_steps": 1}


def cost_of_keeping(every: dict[str, int | None], epochs: int) -> Callable[[Path], Pairs]:
    """Pairs of seconds: training with these checkpoints, and the same training with the writer doing nothing.

    Both measure the same metrics at the same steps, so that the ratio is that of storage alone.
    """

    def measure(folder: Path) -> Pairs:
        config = circuits.preset("merrill-2023").replace(epochs=epochs, checkpoints=every)

        def train(which: circuits.Config, name: str) -> float:
            return seconds(lambda: circuits.train(which, folder / name, overwrite=True, progress=False).close())

        def without() -> float:
            # the same stops and metrics, but nothing is stored
            with mock.patch.object(Writer, "append", return_value=None):
                return train(config, "without.h5")

        return alternating(lambda: train(config, "with.h5"), without)

    return measure


def reading(select: Callable[[np.ndarray], np.ndarray], many: int) -> Callable[[Path], Pairs]:
    """Pairs of seconds: a selection of a run's W, and the same selection of a raw memory-mapped file of its numbers."""

    def measure(folder: Path) -> Pairs:
        config = circuits.preset("merrill-2023").replace(epochs=N_CHECKPOINTS - 1)
        path, raw = folder / "read.h5", folder / "read.raw"
        path.unlink(missing_ok=True)
        random = np.random.default_rng(0)
        shape = (N_CHECKPOINTS, len(config.seeds), config.model.width, config.task.signature.n_inputs)
        layout.create(path, config, {}, {}, {})
        mapped = np.memmap(raw, np.float32, "w+", shape=shape)
        with Writer(path) as writer:
            for index in range(N_CHECKPOINTS):
                row = {
                    f"parameters/{name}": random.standard_normal((shape[1], *size), np.float32)
                    for name, (_, size) in config.shapes.items()
                }
                mapped[index] = row["parameters/W"]
                row |= {f"metrics/{name}": np.zeros(shape[1]) for name in layout.metrics_of(config)}
                writer.append(index * config.steps_per_epoch, float(index), row)
        mapped.flush()
        with circuits.open(path) as run:
            W = run.parameters["W"]

            def ours() -> float:
                return seconds(lambda: [select(W).values for _ in range(many)]) / many

            def plain() -> float:
                mapped_anew = lambda: np.array(select(np.memmap(raw, np.float32, "r", shape=shape)))  # noqa: E731
                return seconds(lambda: [mapped_anew() for _ in range(many)]) / many

            assert np.array_equal(select(W).values, select(mapped))
            return alternating(ours, plain)

    return measure


def one_neuron(folder: Path) -> Pairs:
    """Seconds for one neuron over 10,000 checkpoints of a narrow run, and for everything."""
    config = circuits.preset("merrill-2023").replace(epochs=LONG - 1, model__width=200, seeds=[0])
    path = folder / "long.h5"
    layout.create(path, config, {}, {}, {})
    random = np.random.default_rng(0)
    row = {f"parameters/{name}": random.random((1, *size), np.float32) for name, (_, size) in config.shapes.items()}
    row |= {f"metrics/{name}": np.zeros(1) for name in layout.metrics_of(config)}
    with Writer(path) as writer:
        for index in range(LONG):
            writer.append(index * config.steps_per_epoch, float(index), row)
    with circuits.open(path) as run:
        W = run.parameters["W"]
        return alternating(
            lambda: seconds(lambda: W[:, 0, 7].values),
            lambda: seconds(lambda: [values for _, values in run.blocks(np.arange(LONG), "W", "b", "u")]),
        )


def share_of_digests(analyzed: bool) -> Callable[[Path], Pairs]:
    """Pairs of seconds: taking digests within a training, or checking them within an analysis, and all of it."""

    def measure(folder: Path) -> Pairs:
        config, path = circuits.preset("merrill-2023").replace(epochs=100), folder / "digests.h5"
        spent: list[float] = []

        def timed(rows: np.ndarray) -> np.ndarray:
            begun = time.perf_counter()
            try:
                return row_digests(rows)
            finally:
                spent.append(time.perf_counter() - begun)

        def analyze() -> None:
            with circuits.open(path) as run:
                circuits.analyze(run, "subnetwork")

        def train() -> None:
            circuits.train(config, path, overwrite=True, progress=False).close()

        def once() -> tuple[float, float]:
            spent.clear()
            with mock.patch.object(writer, "row_digests", timed), mock.patch.object(digests, "row_digests", timed):
                whole = seconds(analyze if analyzed else train)
            return sum(spent), whole

        train()
        return [once() for _ in range(REPETITIONS)]

    return measure


SEEDS, STEPS = 5, 32  # of the flagship: its seeds, and updates per epoch
ROW = SEEDS * PARAMETERS  # bytes of one checkpoint
W_ROW = SEEDS * WIDTH * N * 4


def kept(n_checkpoints: int, n_steps: int) -> tuple[Work, Work]:
    """Writing the checkpoints; and the updates alone, each of which reads every parameter."""
    return Work(stored=ROW * n_checkpoints), Work(moved=ROW * n_steps, cores=ALL_CORES)


def copied(size: float) -> tuple[Work, Work]:
    """Reading these bytes and writing them to memory, twice."""
    return Work(moved=2 * size), Work(moved=2 * size)


ROWS = (
    Row("a checkpoint each epoch", "with", "without", "≤ 1.10", cost_of_keeping({"every_epochs": 1}, 100),
        kept(101, 100 * STEPS)),
    Row("a checkpoint each step", "with", "without", "≤ 1.5", cost_of_keeping(EACH_STEP, 12),
        kept(12 * STEPS, 12 * STEPS)),
    Row("digests, within training with a checkpoint each epoch", "digests", "training", "≤ 0.03",
        share_of_digests(analyzed=False), (Work(moved=ROW * 101), Work(moved=ROW * 100 * STEPS, cores=ALL_CORES))),
    Row("digests, within `analyze --subnetwork`", "digests", "analysis", "≤ 0.05", share_of_digests(analyzed=True),
        (Work(moved=ROW * 101), Work(moved=ROW * 101))),
    Row("reading one checkpoint, against a memory map", "here", "map", "≤ 2", reading(lambda W: W[150], READS),
        copied(W_ROW)),
    Row("reading one neuron over 300 checkpoints", "here", "map", "≤ 3", reading(lambda W: W[:, 0, 7], READS),
        copied(N_CHECKPOINTS * N * 4)),
    Row("reading everything", "here", "map", "≤ 2", reading(lambda W: W[:], 1), copied(N_CHECKPOINTS * W_ROW)),
    Row("one neuron over 10,000 checkpoints, against all of them", "one", "all", "≤ 0.1", one_neuron,
        (Work(moved=2 * LONG * N * 4), Work(moved=2 * LONG * 200 * (N + 2) * 4))),
)  # fmt: skip
