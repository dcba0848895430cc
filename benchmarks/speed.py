"""Training and effective sparsity against the plain ways, and against the product that neither can do without."""

import sys
from collections.abc import Callable
from pathlib import Path

import naive
import numpy as np
import torch
from floors import ALL_CORES, EXAMPLES, PARAMETERS, PRODUCT, TEST, WIDTH, N, Work
from timing import Pairs, Row, alternating, seconds

import circuits
from circuits.analysis.networks.outputs import preactivations
from circuits.analysis.options import Options
from circuits.analysis.subnetworks.active import sparsity_at
from circuits.analysis.subnetworks.pruning import incoming_norms, pruning_order
from circuits.analysis.subnetworks.scan import smallest_agreeing
from circuits.threads import one_blas_thread
from circuits.training.paths import kernels
from circuits.training.paths.stepper import example_order

NAIVE_EPOCHS, OUR_EPOCHS = 4, 300
SAMPLED = 20  # the plain way of sparsity is timed at every so many checkpoints
SAMPLED_RELEASED = 60


def training(folder: Path) -> Pairs:
    """Seconds per seed and epoch of the flagship, with metrics and a checkpoint every epoch."""
    config = circuits.preset("merrill-2023").replace(epochs=OUR_EPOCHS)
    data, test = config.task.train_data(0), config.task.test_data()
    sets = [naive.dataset(which["inputs"], which["targets"]) for which in (data, test)]

    def plain() -> float:
        net = naive.Net(config.task.n, config.model.width)
        return seconds(lambda: naive.train(net, *sets, NAIVE_EPOCHS, folder)) / NAIVE_EPOCHS

    def ours() -> float:
        path = folder / "fused.h5"
        path.unlink(missing_ok=True)
        train = lambda: circuits.train(config, path, progress=False).close()  # noqa: E731
        return seconds(train) / (OUR_EPOCHS * len(config.seeds))

    return alternating(plain, ours)


def step(folder: Path) -> Pairs:
    """Seconds of the fused step over a whole training of one seed, and of a matrix product X Wᵀ each, on one core."""
    config = circuits.preset("merrill-2023")
    data = config.task.train_data(0)
    inputs, targets = data["inputs"].astype(np.float32), data["targets"].astype(np.float32)
    start = {name: values.astype(np.float32) for name, values in config.model.initial(config.task.signature, 0).items()}
    orders = [example_order(0, epoch, len(targets)) for epoch in range(config.epochs)]
    batch, product = inputs[: config.batch_size], np.empty((config.batch_size, config.model.width), np.float32)
    n_steps = config.total_steps

    patterns = kernels.patterns_of(inputs)
    room = kernels.scratch(config.task.n, config.model.width + 8, config.batch_size, np.dtype(np.float32))

    def fused() -> float:
        network = [kernels.padded(start[name].T) for name in ("W", "b", "u")]
        sgd = config.batch_size, config.optimizer.lr, config.optimizer.weight_decay, config.optimizer.l1

        def epochs() -> None:
            for order in orders:
                kernels.train_batches(*network, inputs, patterns, targets, order, 0, 32, *sgd, room)

        return seconds(epochs) / n_steps

    def products() -> float:
        weights_t = np.array(start["W"].T, order="C")

        def multiply() -> None:
            for _ in range(n_steps):
                np.dot(batch, weights_t, out=product)

        return seconds(multiply) / n_steps

    with one_blas_thread():
        return alternating(fused, products)


def flagship(folder: Path) -> circuits.Run:
    path = folder / "flagship.h5"
    if path.exists():
        return circuits.open(path)
    return circuits.train(circuits.preset("merrill-2023"), path, progress=False)


def network(run: circuits.Run, checkpoint: int) -> naive.Net:
    state = run.state(seed=0, checkpoint=checkpoint)
    net = naive.Net(*reversed(state["W"].shape))
    net.load_state_dict({"linear1.weight": state["W"], "linear1.bias": state["b"], "linear2.weight": state["u"][None]})
    return net


def _opened_anew(folder: Path, options: Options, use: Callable[[np.ndarray], object] = np.shape) -> float:
    """Seconds per checkpoint and seed of the flagship's sizes; opened anew, since an open run keeps what it found."""
    with flagship(folder) as run:
        every = np.arange(run.n_checkpoints)
        return seconds(lambda: use(sparsity_at(run, every, options))) / (run.n_checkpoints * len(run.seeds))


def sparsity(folder: Path) -> Pairs:
    """Seconds per checkpoint and seed, over the whole flagship; the plain way sampled."""
    with flagship(folder) as run:
        inputs = torch.tensor(run.data(0)["train_inputs"].values, dtype=torch.float32)
        sample = range(0, run.n_checkpoints, SAMPLED)
        networks = [network(run, checkpoint) for checkpoint in sample]
        found: dict[str, list[float]] = {}

        def plain() -> float:
            sizes = lambda: found.update(plain=[naive.effective_sparsity(net, inputs) for net in networks])  # noqa: E731
            return seconds(sizes) / len(networks)

        def ours() -> float:
            return _opened_anew(folder, Options(), lambda sizes: found.update(ours=sizes[::SAMPLED, 0].tolist()))

        pairs = alternating(plain, ours)
        apart = [(a, b) for a, b in zip(found["plain"], found["ours"], strict=True) if a != b]
        print(f"  sizes that differ (float32 against float64 sums): {apart or 'none'}", file=sys.stderr)
        return pairs


def sparsity_released(folder: Path) -> Pairs:
    """The same against the released code's way: batches of 32, masked and full accuracy for each k."""
    with flagship(folder) as run:
        data = run.data(0)
        train_set = naive.dataset(data["train_inputs"].values, data["train_targets"].values)
        networks = [network(run, checkpoint) for checkpoint in range(0, run.n_checkpoints, SAMPLED_RELEASED)]

        def plain() -> float:
            return seconds(lambda: [naive.released_sparsity(net, train_set) for net in networks]) / len(networks)

        return alternating(plain, lambda: _opened_anew(folder, Options(criterion="accuracy")))


def sparsity_of_one(folder: Path) -> Pairs:
    """Effective sparsity of one network, before it groks, and the product of its agreement set alone, on one core."""
    with flagship(folder) as run:
        W, b, u = (run.parameters[name][30, 0].values for name in "Wbu")
        inputs = run.data(0)["train_inputs"].values.astype(np.float32)
        targets = run.data(0)["train_targets"].values
        hidden, times = np.empty((len(u), len(inputs)), np.float32), 100

        def whole() -> None:
            for _ in range(times):
                order = pruning_order(incoming_norms(W, b, u))
                smallest_agreeing(preactivations(W, b, inputs, hidden), u, order, targets)

        def product() -> None:
            for _ in range(times):
                np.matmul(W, inputs.T, out=hidden)

        with one_blas_thread():
            return alternating(lambda: seconds(whole) / times, lambda: seconds(product) / times)


STEPS = EXAMPLES // 32  # per epoch, a partial batch left out
TRAINED = Work(
    3 * PRODUCT + (EXAMPLES + TEST) * N * WIDTH, 2 * PARAMETERS * STEPS, PARAMETERS
)  # forward, backward twice
FUSED = Work(moved=PARAMETERS * STEPS, stored=PARAMETERS)
ONE = Work(PRODUCT)

ROWS = (
    Row("training with metrics and a checkpoint each epoch, per seed and epoch", "plain", "here", "≥ 25", training,
        (TRAINED.times(1, ALL_CORES), FUSED.times(1, ALL_CORES))),
    Row("one fused step, mean over a training, against its forward product", "step", "sgemm", "≤ 1.5", step,
        (Work(moved=PARAMETERS), Work(32 * N * WIDTH))),
    Row("effective sparsity, mean over the flagship, against mask and forward", "plain", "here", "≥ 100", sparsity,
        (ONE.times(1, ALL_CORES), ONE.times(1, ALL_CORES))),
    Row("effective sparsity against the released code's way", "released", "here", "≥ 500", sparsity_released,
        (ONE.times(1, ALL_CORES), ONE.times(1, ALL_CORES))),
    Row("effective sparsity of one network, against its forward product", "scan", "sgemm", "≤ 3", sparsity_of_one,
        (ONE, ONE)),
)  # fmt: skip
