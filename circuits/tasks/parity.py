"""Sparse parity: y = Π_{i ∈ S} x_i for x uniform on {-1, 1}^n and a hidden set S of k indices.

Barak et al. 2022; Merrill et al. 2023, section 2. The training set is drawn per seed, the test set once for all seeds;
a share of the training targets can be flipped (Fuangkawinsombut 2024, section 3.2), or each with a probability, as
Fuangkawinsombut and Somsirivattana 2023 say it; never of the test targets.

Examples come from this package's counter-based generator or, to have exactly the data of a paper, from Python's
`random` as in its code: `random.seed(s)`, then `random.choice([-1, 1])` row by row, with

    merrill-code    s = 17 · seed for training, 2001 for testing    (parity.py of Merrill et al.)
    thesis-code     s = seed for training, 2023 for testing         (appendix B of the thesis)
"""

from __future__ import annotations

from random import Random
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from circuits.interfaces import Signature, Task
from circuits.parts import NonNegativeInt, PositiveInt
from circuits.random import generator

TEST_SEED = {"counter": 0, "merrill-code": 2001, "thesis-code": 2023}


class Parity(Task):
    """Sparse parity of k relevant bits out of n."""

    inputs_are_signs: ClassVar[bool] = True
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
    draw: Literal["counter", "merrill-code", "thesis-code"] = "counter"
    """How examples are drawn: this package's generator, or Python's random as in the code of a paper."""
    test_seed: NonNegativeInt | None = None
    """Which test set; by default 0, with merrill-code 2001, with thesis-code 2023, as those codes have it."""
    flip_fraction: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of the training targets that is flipped."""
    flip_rule: Literal["exact", "independent"] = "exact"
    """exact: that share, rounded to whole examples. independent: each example with that probability."""

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

    @property
    def marks(self) -> dict[str, str]:
        """Flipped and clean examples, where there are flips."""
        return {"flipped": "clean"} if self.flip_fraction else {}

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
        inputs = self._draw(random, self.n_train, 17 * seed if self.draw == "merrill-code" else seed)
        flipped = self._flipped(random)
        targets = np.where(flipped, -self.parity(inputs), self.parity(inputs)).astype(np.int8)
        return {"inputs": inputs, "targets": targets, "flipped": flipped}

    def test_data(self, seed: int = 0) -> dict[str, np.ndarray]:
        """The test set, the same for all seeds: `inputs` (example, input), `targets` (example,), int8 in {-1, 1}."""
        drawn = TEST_SEED[self.draw] if self.test_seed is None else self.test_seed
        inputs = self._draw(generator("test", drawn), self.n_test, drawn)
        return {"inputs": inputs, "targets": self.parity(inputs)}

    def parity(self, inputs: np.ndarray) -> np.ndarray:
        """Parity of the relevant bits, (example,) int8 in {-1, 1}.

        Examples
        --------
        >>> Parity(n=4, k=2).parity(np.array([[1, -1, 1, 1], [-1, -1, 1, -1]]))
        array([-1,  1], dtype=int8)
        """
        return inputs[:, list(self.relevant_bits)].prod(axis=1).astype(np.int8)

    def _flipped(self, random: np.random.Generator) -> np.ndarray:
        if self.flip_rule == "independent":
            return random.random(self.n_train) < self.flip_fraction
        flipped = np.zeros(self.n_train, bool)
        flipped[random.permutation(self.n_train)[: round(self.flip_fraction * self.n_train)]] = True
        return flipped

    def _draw(self, random: np.random.Generator, n_examples: int, python_seed: int) -> np.ndarray:
        if self.draw == "counter":
            return (2 * random.integers(0, 2, (n_examples, self.n), dtype=np.int8) - 1).astype(np.int8)
        choice = Random(python_seed).choice
        drawn = [choice((-1, 1)) for _ in range(n_examples * self.n)]  # row by row
        return np.array(drawn, np.int8).reshape(n_examples, self.n)
