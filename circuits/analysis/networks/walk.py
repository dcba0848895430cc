"""Walk over a run: apply a function of one network to every checkpoint and seed, block by block.

A block is read while the previous block is measured. Networks are spread over threads, with one BLAS thread each. If a
network takes less than a millisecond, one thread measures all: more threads would mostly wait for Python's lock. Memory
holds two blocks and the results, for any number of checkpoints.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from functools import partial
from itertools import chain
from typing import Any

import numpy as np

from circuits.analysis.networks.applies import is_one_relu_layer, require
from circuits.analysis.networks.layers import relu_weights
from circuits.bars import progress_bar
from circuits.checkpoints.run import Run
from circuits.threads import one_blas_thread, one_torch_thread, usable_cores

Network = Mapping[str, np.ndarray]  # one network's parameters by name
FIRST, LONG = 9, 1e-3  # networks measured one by one at first; seconds per network above which threads are faster


def walk(
    run: Run,
    checkpoints: np.ndarray,
    measure_one: Callable[[int, Network], Mapping[str, Any]],
    *,
    what: str,
    progress: bool = False,
) -> dict[str, np.ndarray]:
    """Measure every network of the given checkpoints.

    `measure_one(index of the seed, parameters of the network by name)` returns numbers or arrays by name. The names,
    shapes and dtypes must be the same for every network. `walk` returns the results by name, each (step, seed, …).
    `checkpoints` has ascending indices. `what` is the label of the progress bar. `progress` says whether to show this
    bar on stderr, if stderr is a terminal.
    """
    uses_torch = run.config.model.relu_parameters is None
    n_seeds = len(run.seeds)
    results: dict[str, np.ndarray] = {}
    threads: bool | None = None  # unknown until some networks are timed

    def one(place: tuple[int, int], block: Mapping[str, np.ndarray]) -> Any:
        step, seed = place
        with np.errstate(over="ignore", invalid="ignore"):  # diverging networks give inf and NaN
            return measure_one(seed, {name: np.asarray(values[step, seed]) for name, values in block.items()})

    with (
        one_blas_thread(),
        one_torch_thread() if uses_torch else nullcontext(),
        ThreadPoolExecutor(usable_cores()) as pool,
        ThreadPoolExecutor(1) as reader,
        progress_bar(total=len(checkpoints), desc=what, unit="checkpoint", shown=progress) as bar,
    ):
        blocks = run.blocks(checkpoints, *run.config.shapes)
        following = reader.submit(next, blocks, None)
        while (current := following.result()) is not None:
            following = reader.submit(next, blocks, None)
            where, block = current
            n_steps = where.stop - where.start
            places = [(step, seed) for step in range(n_steps) for seed in range(n_seeds)]
            of_block = partial(one, block=block)
            begun, threads = _first(of_block, places, threads)
            rest = places[len(begun) :]
            measured = chain(begun, pool.map(of_block, rest) if threads else map(of_block, rest))
            for (step, seed), named in zip(places, measured, strict=True):
                for name, value in named.items():
                    if name not in results:
                        first = np.asarray(value)
                        results[name] = np.empty((len(checkpoints), n_seeds, *first.shape), first.dtype)
                    results[name][where.start + step, seed] = value
            bar.update(n_steps)
    return results


def _first(
    one: Callable[[tuple[int, int]], Any], places: Sequence[tuple[int, int]], threads: bool | None
) -> tuple[list[Any], bool | None]:
    """Measure the first few networks, and decide by their run times whether threads are faster for all other networks.

    The first run time does not count, since it may include compilation. If `threads` is not None, the choice is already
    made: the function measures nothing and returns `threads`.
    """
    if threads is not None:
        return [], threads
    results, taken = [], []
    for place in places[:FIRST]:
        begin = time.perf_counter()
        results.append(one(place))
        taken.append(time.perf_counter() - begin)
    return results, len(taken) < 2 or float(np.median(taken[1:])) > LONG


def one_by_one(
    run: Run, checkpoints: np.ndarray, *, what: str, progress: bool = False
) -> Iterator[tuple[tuple[int, int], Network]]:
    """Every network of the given checkpoints in turn, for measurements with a time limit per network.

    `checkpoints` has ascending indices. `what` is the label of the progress bar. `progress` says whether to show this
    bar on stderr, if stderr is a terminal.

    Yields
    ------
    The network's indices in `checkpoints` and in `run.seeds`, as a pair, and its weights by the names W, b, u.

    Raises
    ------
    InputError
        The networks are not exactly uᵀ relu(W x + b).
    """
    require(run, is_one_relu_layer)
    total = len(checkpoints) * len(run.seeds)
    with progress_bar(total=total, desc=what, unit="network", shown=progress) as bar:
        for where, block in run.blocks(checkpoints, *run.config.shapes):
            for step in range(where.stop - where.start):
                for seed in range(len(run.seeds)):
                    net = {name: values[step, seed] for name, values in block.items()}
                    yield (where.start + step, seed), dict(zip("Wbu", relu_weights(run.config, net), strict=True))
                    bar.update()
