"""Tasks on n signs, -1 or 1: what all of them share, so that a new one says only what the target of an input is."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import numpy as np

from circuits.config_base import PositiveInt
from circuits.interfaces import Signature, Task
from circuits.randomness import generator


class SignTask(Task):
    """A sign for each input of n signs. The training set is drawn for each seed, the test set once for all of them."""

    inputs_are_signs: ClassVar[bool] = True
    n: PositiveInt = 40
    """Signs, or bits, of an input."""
    n_train: PositiveInt = 1000
    """Training examples of each seed."""
    n_test: PositiveInt = 100
    """Test examples."""

    @abstractmethod
    def target(self, inputs: np.ndarray) -> np.ndarray:
        """The targets (example,), int8 in {-1, 1}, of inputs (example, input) in {-1, 1}."""

    @property
    def train_size(self) -> int:
        """Training examples of each seed."""
        return self.n_train

    @property
    def test_size(self) -> int:
        """Test examples."""
        return self.n_test

    @property
    def signature(self) -> Signature:
        """N numbers in, one number out."""
        return Signature(self.n)

    def train_data(self, seed: int) -> dict[str, np.ndarray]:
        """One seed's training set: `inputs` (example, input) and `targets` (example,), int8 in {-1, 1}."""
        return self._drawn(generator("train", seed), self.n_train)

    def test_data(self, seed: int = 0) -> dict[str, np.ndarray]:
        """The test set, the same for all seeds, as `train_data` gives it."""
        return self._drawn(generator("test", 0), self.n_test)

    def _drawn(self, random: np.random.Generator, n_examples: int) -> dict[str, np.ndarray]:
        inputs = self.signs(random, n_examples)
        return {"inputs": inputs, "targets": self.target(inputs)}

    def signs(self, random: np.random.Generator, n_examples: int) -> np.ndarray:
        """So many inputs, uniform on {-1, 1}^n: (example, input) int8."""
        return (2 * random.integers(0, 2, (n_examples, self.n), dtype=np.int8) - 1).astype(np.int8)
