"""The fused path: one compiled loop per seed, seeds on threads, one BLAS thread inside a step."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import numpy as np
import xarray as xr
from threadpoolctl import threadpool_info

from circuits.config import Config
from circuits.threads import one_blas_thread, usable_cores
from circuits.training import kernels
from circuits.training.steppers import Arrays, Snapshot, example_order


class FusedRelu:
    """The relu networks of all seeds, stepped by `kernels.train_batches`.

    Each network has its own arrays and is touched by one thread at a time, so its bits do not depend on how many
    threads or seeds there are.
    """

    def __init__(self, config: Config, data: xr.Dataset, parameters: Mapping[str, np.ndarray]) -> None:
        self.config = config
        loaded = kernels.train_batches.signatures  # the types it is compiled for in this process
        self.preparing = "" if loaded else "loading the compiled step; the first time here, compiling it: about 10 s"
        self.n_networks = len(config.seeds)
        self.n_threads = min(self.n_networks, usable_cores())
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

    def advance(self, network: int, epoch: int, start: int, stop: int) -> None:
        """Take updates `start` to `stop` of an epoch, for one network."""
        sgd = self.config.optimizer
        inputs, targets = self._train[network]
        order = example_order(self.config.seeds[network], epoch, len(targets))
        kernels.train_batches(
            *self._networks[network], inputs, targets, order, start, stop, self.config.batch_size, sgd.lr,
            sgd.weight_decay, sgd.l1,
        )  # fmt: skip

    def snapshot(self, network: int) -> Snapshot:
        """Copies of a network's parameters, and its metrics as it is now, by name."""
        arrays, train = self._networks[network], self._train[network]
        train_loss, train_right, train_zero = kernels.evaluate(*arrays, *train)
        test_loss, test_right, _ = kernels.evaluate(*arrays, *self._test)
        weights_t, biases, readout = arrays
        metrics = {
            "train_loss": train_loss,
            "test_loss": test_loss,
            "train_accuracy": train_right / len(train[1]),
            "test_accuracy": test_right / len(self._test[1]),
            "train_zero_outputs": train_zero,
        }
        return (
            {"W": np.array(weights_t.T, order="C"), "b": biases.copy(), "u": readout.copy()},
            {name: float(value) for name, value in metrics.items()},
        )

    def optimizer_state(self) -> Arrays:
        """Plain SGD keeps none."""
        return {}

    def close(self) -> None:
        """Give BLAS its threads back."""
        self._limits.restore_original_limits()


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
