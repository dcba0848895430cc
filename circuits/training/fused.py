"""The fused path: one compiled loop per seed, seeds on threads, one BLAS thread inside a step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from typing import Any

import numpy as np
import xarray as xr
from threadpoolctl import threadpool_info

from circuits.config import Config
from circuits.threads import one_blas_thread, usable_cores
from circuits.training import kernels
from circuits.training.steppers import Arrays, example_order


class FusedRelu:
    """The relu networks of all seeds, stepped by `kernels.train_batches`.

    Each network has its own arrays and is touched by one thread at a time, so its bits do not depend on how many
    threads or seeds there are.
    """

    def __init__(self, config: Config, data: xr.Dataset, parameters: Mapping[str, np.ndarray]) -> None:
        self.config = config
        self._networks = [
            (np.array(W.T, order="C"), np.array(b), np.array(u))
            for W, b, u in zip(parameters["W"], parameters["b"], parameters["u"], strict=True)
        ]
        train, test = (
            [data[f"{which}_{name}"].values.astype(config.dtype) for name in ("inputs", "targets")]
            for which in ("train", "test")
        )
        self._train = list(zip(*train, strict=True))
        self._test = tuple(test)
        self._limits = one_blas_thread()
        self._threads = ThreadPoolExecutor(min(len(config.seeds), usable_cores()))

    def advance(self, epoch: int, start: int, stop: int) -> None:
        """Take updates `start` to `stop` of an epoch, for every seed."""
        sgd = self.config.optimizer

        def one(index: int) -> None:
            inputs, targets = self._train[index]
            order = example_order(self.config.seeds[index], epoch, len(targets))
            kernels.train_batches(
                *self._networks[index], inputs, targets, order, start, stop, self.config.batch_size, sgd.lr,
                sgd.weight_decay,
            )  # fmt: skip

        self._for_each_seed(one)

    def parameters(self) -> Arrays:
        """Copies of the parameters, each (seed, …)."""
        weights_t, biases, readout = zip(*self._networks, strict=True)
        return {"W": np.stack([w.T for w in weights_t]), "b": np.stack(biases), "u": np.stack(readout)}

    def metrics(self) -> Arrays:
        """Metrics of the networks as they are, each (seed,)."""

        def one(index: int) -> tuple[float | int, ...]:
            network, train = self._networks[index], self._train[index]
            train_loss, train_right, train_zero = kernels.evaluate(*network, *train)
            test_loss, test_right, _ = kernels.evaluate(*network, *self._test)
            n_train, n_test = len(train[1]), len(self._test[1])
            return train_loss, test_loss, train_right / n_train, test_right / n_test, train_zero

        names = ("train_loss", "test_loss", "train_accuracy", "test_accuracy", "train_zero_outputs")
        columns = zip(*self._for_each_seed(one), strict=True)
        return {name: np.array(column, np.float64) for name, column in zip(names, columns, strict=True)}

    def optimizer_state(self) -> Arrays:
        """Plain SGD keeps none."""
        return {}

    def close(self) -> None:
        """Stop the threads and give BLAS its own back."""
        self._threads.shutdown()
        self._limits.restore_original_limits()

    def _for_each_seed(self, work: Callable[[int], Any]) -> list[Any]:
        return list(self._threads.map(work, range(len(self._networks))))


def numerics(device: str) -> dict[str, Any]:
    """BLAS kernel, processor as the compiler sees it, and the libraries that compute."""
    import llvmlite.binding

    loaded = [lib for lib in threadpool_info() if lib["user_api"] == "blas"]
    own = [lib for lib in loaded if "scipy.libs" in lib["filepath"]]  # SciPy's wheels bring their own
    names = {f"{lib['internal_api']} {lib['version']} {lib.get('architecture', '')}".strip() for lib in own or loaded}
    return {
        "threads_per_step": 1,
        "blas": sorted(names),
        "cpu": llvmlite.binding.get_host_cpu_name(),
        **{name: version(name) for name in ("numpy", "scipy", "numba", "llvmlite")},
    }
