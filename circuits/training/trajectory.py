"""Trains all networks in parallel and yields their checkpoints in order.

Networks are independent: each trains from checkpoint to checkpoint at its own pace, on any thread, and waits for no
other. A checkpoint is yielded when the last network has reached it; other networks train on while it is written.
Order and values are the same for any number of threads.
"""

import math
import threading
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from circuits.config import Config
from circuits.training.paths.stepper import Snapshot, Stepper
from circuits.training.rates import Pace
from circuits.training.start import Arrays

BYTES_AHEAD = 32 << 20
ROWS_AHEAD = 8
POLL_SECONDS = 0.1

Row = Arrays  # "parameters/NAME" (seed, …) and "metrics/NAME" (seed,)
Moved = Callable[[int], object]
Further = Callable[[int, Arrays, dict[str, float]], dict[str, float]]


class Stopped(Exception):
    """A network stopped on request before its next checkpoint."""


def trajectory(
    stepper: Stepper,
    config: Config,
    step: int,
    targets: Sequence[int],
    stop: threading.Event,
    moved: Moved,
    pace: Pace,
    further: Further = lambda network, parameters, metrics: {},
) -> Generator[Row]:
    """Train from `step` to each step of `targets` in turn; yield a row (all parameters and metrics) at each target.

    Parameters
    ----------
    stepper, config
        The networks and their config. If `stepper.n_threads` is 0, networks train to the step of a row, then pause
        until the caller asks for the next row. So the caller can store the row with the optimizer's state at this step.
    step, targets
        Current step of the networks, and the steps of the rows in ascending order.
    stop
        Once it is set, every network stops within an epoch, and only complete rows are yielded.
    moved
        Called repeatedly, in the caller's thread, with the last step that all networks have reached.
    pace
        Learning rate and weight decay of each network at every step.
    further
        Function of (network index, its parameters, its metrics) that returns further metrics.
    """
    reached = [step] * stepper.n_lanes
    closed = threading.Event()
    in_lane = [range(len(config.seeds))] if stepper.n_lanes == 1 else [range(i, i + 1) for i in range(stepper.n_lanes)]

    def look(lane: int) -> None:
        if pace.awaits(in_lane[lane], reached[lane]):
            for network, (_, metrics) in zip(in_lane[lane], stepper.snapshots(lane), strict=True):
                pace.look(network, reached[lane], metrics)

    def reach(lane: int, target: int) -> list[Snapshot]:
        networks, per_epoch = in_lane[lane], config.steps_per_epoch
        while reached[lane] < target:
            if stop.is_set() or closed.is_set():
                raise Stopped
            start = reached[lane]
            end = pace.end_of_stretch(networks, start, target)
            epoch, first = divmod(start, per_epoch)
            stepper.advance(lane, epoch, first, first + end - start, pace.rates(networks, start))
            reached[lane] = end
            look(lane)
        return [
            (values, metrics | pace.metrics(network, target) | further(network, values, metrics))
            for network, (values, metrics) in zip(networks, stepper.snapshots(lane), strict=True)
        ]

    def report() -> None:
        moved(min(reached))

    for lane in range(stepper.n_lanes):
        look(lane)
    if stepper.n_threads:
        rows = _ahead(reach, stepper, targets, _rows_ahead(config), report, closed)
    else:
        rows = _in_turn(reach, stepper, targets, report)
    try:
        yield from rows
    except Stopped:
        return
    finally:
        rows.close()


def _in_turn(reach: Callable, stepper: Stepper, targets: Sequence[int], report: Callable[[], None]) -> Generator[Row]:
    for target in targets:
        row: list[Snapshot] = []
        for lane in range(stepper.n_lanes):
            row += reach(lane, target)
            report()
        yield stacked(row)


def _ahead(
    reach: Callable, stepper: Stepper, targets: Sequence[int], n_rows: int, report: Callable, closed: threading.Event
) -> Generator[Row]:
    """Yield a checkpoint (row) at each step of `targets`. Threads train the networks up to `n_rows` rows ahead."""
    rows: deque[list[Future]] = deque()
    last: list[Future | None] = [None] * stepper.n_lanes

    def follow(before: Future | None, lane: int, target: int) -> list[Snapshot]:
        if before is not None:
            before.result()  # ends, since the pool starts calls in the order of submission
        return reach(lane, target)

    with ThreadPoolExecutor(stepper.n_threads) as pool:
        try:
            for target in targets:
                row = [pool.submit(follow, before, lane, target) for lane, before in enumerate(last)]
                rows.append(row)
                last[:] = row
                if len(rows) > n_rows:
                    yield _finished(rows.popleft(), report)
            while rows:
                yield _finished(rows.popleft(), report)
        finally:
            closed.set()  # lanes stop within an epoch instead of going on to their next target
            pool.shutdown(cancel_futures=True)


def _rows_ahead(config: Config) -> int:
    n_numbers = len(config.seeds) * sum(math.prod(shape) for _, shape in config.shapes.values())
    return max(1, min(ROWS_AHEAD, BYTES_AHEAD // (n_numbers * np.dtype(config.dtype).itemsize)))


def _finished(row: list[Future], report: Callable[[], None]) -> Row:
    results: list[Snapshot] = []
    for future in row:
        while True:
            try:
                results += future.result(POLL_SECONDS)
                break
            except TimeoutError:
                report()
    report()
    return stacked(results)


def stacked(networks: Sequence[Snapshot]) -> Row:
    """Parameters and metrics of several networks, stacked as one checkpoint of a run file.

    Examples
    --------
    >>> stacked([({"b": np.zeros(2)}, {"loss": 1.0}), ({"b": np.ones(2)}, {"loss": 2.0})])
    {'parameters/b': array([[0., 0.],
           [1., 1.]]), 'metrics/loss': array([1., 2.])}
    """
    parameters, metrics = zip(*networks, strict=True)
    row = {f"parameters/{name}": np.stack([values[name] for values in parameters]) for name in parameters[0]}
    return row | {f"metrics/{name}": np.array([values[name] for values in metrics], np.float64) for name in metrics[0]}
