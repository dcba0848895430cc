"""The training path "fused": compiled loops train the networks in parallel threads; an update uses one thread."""

import threading
from importlib.metadata import version
from typing import Any, ClassVar

import numpy as np
import xarray as xr

from circuits.collapse import LARGEST_OUTPUT, is_collapsed
from circuits.config import Config
from circuits.threads import one_blas_thread, usable_cores
from circuits.training.losses import marked_accuracies
from circuits.training.paths import kernels
from circuits.training.paths.stepper import Snapshot, Stepper, example_order
from circuits.training.rates import Rates
from circuits.training.start import Arrays, Start
from circuits.training.unseen import unseen_accuracy, unseen_of

SERVES = (
    "The fused kernel serves the relu model with hinge loss and SGD on inputs of ±1, on cpu, with the loss in the "
    "precision of the parameters"
)


class FusedRelu(Stepper):
    """The relu networks of all seeds, updated by the compiled `kernels.train_batches`.

    Each network has its own arrays, and only one thread at a time changes them. So a network's parameters are the same,
    to the last bit, for any number of threads or seeds.
    """

    name: ClassVar[str] = "fused"

    @classmethod
    def device(cls, config: Config, wanted: str) -> str:
        return "cpu" if wanted == "auto" else wanted

    @classmethod
    def refusal(cls, config: Config, device: str) -> str | None:
        draws_or_keeps = config.input_noise or config.optimizer.moments or config.batch_size is None
        kinds = (config.model.kind, config.loss, config.optimizer.kind)
        one_precision = config.loss_dtype in (None, config.dtype)
        fits = kinds == ("relu", "hinge", "sgd") and config.task.inputs_are_signs and one_precision
        serves = fits and not draws_or_keeps and device == "cpu"
        return None if serves else SERVES

    @classmethod
    def numerics(cls, config: Config, device: str) -> dict[str, Any]:
        """Number of threads, method of summation, CPU model and library versions; they decide an update's last bits."""
        import llvmlite.binding

        libraries = {name: version(name) for name in ("numpy", "numba", "llvmlite")}  # no BLAS: the update uses none
        cpu = llvmlite.binding.get_host_cpu_name()
        return {"threads_per_step": 1, "arithmetic": "sums of patterns", "cpu": cpu, **libraries}

    def __init__(self, config: Config, data: xr.Dataset, start: Start, device: str) -> None:
        self.config = config
        loaded = kernels.train_batches.signatures  # the types for which it is compiled in this process
        self.preparing = "" if loaded else "loading the compiled step; the first time here, compiling it: about 10 s"
        self.n_lanes = len(config.seeds)
        self.n_threads = min(self.n_lanes, usable_cores())
        self._width = start.parameters["u"].shape[-1]
        self._networks = [
            (kernels.padded(W.T), kernels.padded(b), kernels.padded(u))
            for W, b, u in zip(*(start.parameters[name] for name in "Wbu"), strict=True)
        ]
        train, test = (
            [data[f"{which}_{name}"].values.astype(config.dtype) for name in ("inputs", "targets")]
            for which in ("train", "test")
        )
        self._train = list(zip(*train, strict=True))
        self._patterns = [kernels.patterns_of(inputs) for inputs in train[0]]
        self._marked = [
            {
                name: (kernels.patterns_of(inputs[mark]), targets[mark])
                for name in config.task.marks
                for mark in [data[f"train_{name}"].values[index].astype(bool)]
            }
            for index, (inputs, targets) in enumerate(self._train)
        ]
        shared = data["test_targets"].ndim == 1  # one test set for all seeds
        tests = [test] if shared else zip(*test, strict=True)
        patterned = [(kernels.patterns_of(inputs), targets) for inputs, targets in tests]
        self._test = patterned * (self.n_lanes if shared else 1)
        unseen = unseen_of(data)
        self._unseen = None if unseen is None else [
            (patterns[mask], targets[mask]) for (patterns, targets), mask in zip(self._test, unseen, strict=True)
        ]  # fmt: skip
        self._of_thread = threading.local()
        self._limits = one_blas_thread()  # for metrics that multiply matrices; the step does not

    def advance(self, network: int, epoch: int, start: int, stop: int, rates: Rates) -> None:
        inputs, targets = self._train[network]
        order = example_order(self.config.seeds[network], epoch, len(targets))
        kernels.train_batches(
            *self._networks[network], inputs, self._patterns[network], targets, order, start, stop,
            self.config.batch_size, rates.lr, rates.weight_decay[0], self.config.optimizer.l1, self._room(),
        )  # fmt: skip

    def snapshots(self, network: int) -> list[Snapshot]:
        arrays, targets = self._networks[network], self._train[network][1]
        room = self._room()
        train_loss, train_right, train_zero, largest = kernels.evaluate(*arrays, self._patterns[network], targets, room)
        test_loss, test_right, _, _ = kernels.evaluate(*arrays, *self._test[network], room)
        alive = not is_collapsed(largest)  # a collapsed network has no right answers
        train_right, test_right = alive * train_right, alive * test_right
        W, b, u = (values[..., : self._width].T for values in arrays)
        metrics = {
            "train_loss": train_loss,
            "test_loss": test_loss,
            "train_accuracy": train_right / len(targets),
            "test_accuracy": test_right / len(self._test[network][1]),
            "train_zero_outputs": train_zero,
            LARGEST_OUTPUT: largest,
        }

        def n_and_n_right(patterns: np.ndarray, targets: np.ndarray) -> tuple[int, int]:
            right = alive * kernels.evaluate(*arrays, patterns, targets, room)[1] if len(targets) else 0
            return len(targets), int(right)

        if self._unseen is not None:
            n_unseen, n_right = n_and_n_right(*self._unseen[network])
            metrics |= unseen_accuracy(n_right, n_unseen)
        marked = {name: n_and_n_right(*examples) for name, examples in self._marked[network].items()}
        metrics |= marked_accuracies(self.config, len(targets), int(train_right), marked)
        parameters = {"W": np.array(W, order="C"), "b": b.copy(), "u": u.copy()}
        return [(parameters, {name: float(value) for name, value in metrics.items()})]

    def _room(self) -> tuple[np.ndarray, ...]:
        if not hasattr(self._of_thread, "room"):
            n_inputs, width = self._networks[0][0].shape
            self._of_thread.room = kernels.scratch(n_inputs, width, self.config.batch, np.dtype(self.config.dtype))
        return self._of_thread.room

    def optimizer_state(self) -> Arrays:
        return {}  # plain SGD keeps none

    def close(self) -> None:
        """Restore the number of threads of BLAS."""
        self._limits.restore_original_limits()
