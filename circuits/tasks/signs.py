"""The common base of tasks on n signs, -1 or 1: a new task defines only the target of an input."""

from abc import abstractmethod
from typing import ClassVar

import numpy as np

from circuits.config_base import PositiveInt
from circuits.interfaces import Signature, Task
from circuits.randomness import generator


class SignTask(Task):
    """A task whose target is a sign. Each seed draws its training set; all seeds share one test set."""

    inputs_are_signs: ClassVar[bool] = True
    n: PositiveInt = 40
    """Number of signs, or bits, of an input."""
    n_train: PositiveInt = 1000
    """Number of training examples of each seed."""
    n_test: PositiveInt = 100
    """Number of test examples."""

    @abstractmethod
    def target(self, inputs: np.ndarray) -> np.ndarray:
        """The targets (example,), int8 in {-1, 1}, of inputs (example, input) in {-1, 1}."""

    @property
    def train_size(self) -> int:
        """Number of training examples of each seed."""
        return self.n_train

    @property
    def test_size(self) -> int:
        """Number of test examples."""
        return self.n_test

    @property
    def signature(self) -> Signature:
        """`n` input numbers and one output."""
        return Signature(self.n)

    def train_data(self, seed: int) -> dict[str, np.ndarray]:
        """One seed's training set: `inputs` (example, input) and `targets` (example,), int8 in {-1, 1}."""
        return self._drawn(generator("train", seed), self.n_train)

    def test_data(self, seed: int = 0) -> dict[str, np.ndarray]:
        """The test set, the same for all seeds: arrays as in `train_data`."""
        return self._drawn(generator("test", 0), self.n_test)

    def _drawn(self, random: np.random.Generator, n_examples: int) -> dict[str, np.ndarray]:
        inputs = self.signs(random, n_examples)
        return {"inputs": inputs, "targets": self.target(inputs)}

    def signs(self, random: np.random.Generator, n_examples: int) -> np.ndarray:
        """Inputs drawn uniformly from {-1, 1}^n: (example, input) int8."""
        return (2 * random.integers(0, 2, (n_examples, self.n), dtype=np.int8) - 1).astype(np.int8)
