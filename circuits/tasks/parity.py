"""Sparse parity: y = Π_{i ∈ S} x_i for x uniform on {-1, 1}^n and a hidden set S of k indices.

Barak et al. 2022; Merrill et al. 2023, section 2. The training set is drawn per seed, the test set once for all seeds;
a share of the training targets can be flipped (Fuangkawinsombut 2024, section 3.2), never of the test targets.
"""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from pydantic import Field, model_validator

from circuits.config import NonNegativeInt, PositiveInt, Task
from circuits.random import generator


class Parity(Task):
    """Sparse parity of k relevant bits out of n."""

    kind: Literal["parity"] = "parity"
    n: PositiveInt = 40
    """Bits of an input."""
    k: PositiveInt = 3
    """Relevant bits."""
    support: tuple[NonNegativeInt, ...] | None = None
    """Indices of the relevant bits; by default the first k."""
    support_seed: NonNegativeInt | None = None
    """Draw the relevant bits from this seed instead."""
    n_train: PositiveInt = 1000
    """Training examples of each seed."""
    n_test: PositiveInt = 100
    """Test examples, the same for all seeds."""
    test_seed: NonNegativeInt = 0
    """Which test set."""
    flip_fraction: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of the training targets that is flipped; rounded to whole examples."""

    @model_validator(mode="after")
    def _consistent(self) -> Parity:
        if self.k > self.n:
            raise ValueError(f"k = {self.k} relevant bits do not fit in n = {self.n} inputs")
        if self.support is not None:
            if self.support_seed is not None:
                raise ValueError("give support or support_seed, not both")
            if len(set(self.support)) != self.k or len(self.support) != self.k:
                raise ValueError(f"support {list(self.support)} must name k = {self.k} different bits")
            if max(self.support) >= self.n:
                raise ValueError(f"support {list(self.support)} must lie in 0..{self.n - 1}")
        return self

    @property
    def n_inputs(self) -> int:
        """Bits of an input."""
        return self.n

    @property
    def relevant_bits(self) -> tuple[int, ...]:
        """The k indices whose product is the target, ascending.

        Examples
        --------
        >>> Parity(n=40, k=3).relevant_bits
        (0, 1, 2)
        """
        if self.support is not None:
            return tuple(sorted(self.support))
        if self.support_seed is not None:
            drawn = generator("support", self.support_seed).choice(self.n, size=self.k, replace=False)
            return tuple(sorted(int(bit) for bit in drawn))
        return tuple(range(self.k))

    def train_data(self, seed: int) -> dict[str, np.ndarray]:
        """One seed's training set.

        Returns
        -------
        `inputs` (example, input) int8 in {-1, 1}; `targets` (example,) int8 in {-1, 1}, flips applied; `flipped`
        (example,) bool, where the target is not the parity.
        """
        random = generator("train", seed)
        inputs = self._draw(random, self.n_train)
        flipped = np.zeros(self.n_train, bool)
        flipped[random.permutation(self.n_train)[: round(self.flip_fraction * self.n_train)]] = True
        targets = np.where(flipped, -self.parity(inputs), self.parity(inputs)).astype(np.int8)
        return {"inputs": inputs, "targets": targets, "flipped": flipped}

    def test_data(self) -> dict[str, np.ndarray]:
        """The test set: `inputs` (example, input) and `targets` (example,), int8 in {-1, 1}."""
        inputs = self._draw(generator("test", self.test_seed), self.n_test)
        return {"inputs": inputs, "targets": self.parity(inputs)}

    def parity(self, inputs: np.ndarray) -> np.ndarray:
        """Parity of the relevant bits, (example,) int8 in {-1, 1}.

        Examples
        --------
        >>> Parity(n=4, k=2).parity(np.array([[1, -1, 1, 1], [-1, -1, 1, -1]]))
        array([-1,  1], dtype=int8)
        """
        return inputs[:, list(self.relevant_bits)].prod(axis=1).astype(np.int8)

    def _draw(self, random: np.random.Generator, n_examples: int) -> np.ndarray:
        return (2 * random.integers(0, 2, (n_examples, self.n), dtype=np.int8) - 1).astype(np.int8)
