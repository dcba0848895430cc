"""Sparse parity: y = Π_{i ∈ S} x_i for x uniform on {-1, 1}^n and a hidden set S of k indices.

Barak et al. 2022; Merrill et al. 2023, section 2. Each seed draws its training set, and all seeds share one test set.
For small n the test set repeats training inputs, unless `test_unseen` excludes them. A fixed share of the
training targets can be flipped (Fuangkawinsombut 2024, section 3.2), or each target can be flipped with a probability
(Fuangkawinsombut and Somsirivattana 2023). Test targets are never flipped.

By default, this package's counter-based generator draws the examples. To reproduce a paper's exact data, Python's
`random` draws them, as in the paper's code: `random.seed(s)`, then `random.choice([-1, 1])` row by row. If `draw` is
"merrill-code" (parity.py of Merrill et al.), s is 17 · seed for training and 2001 for testing. If `draw` is
"thesis-code" (appendix B of Fuangkawinsombut 2024), s is the seed for training and 2023 for testing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, model_validator

from circuits.config_base import NonNegativeInt, PositiveInt
from circuits.errors import InputError
from circuits.randomness import generator
from circuits.seen import n_different, seen_inputs
from circuits.tasks.signs import SignTask

TEST_SEED = {"counter": 0, "unknown": 0, "merrill-code": 2001, "thesis-code": 2023}
LISTED = 4  # all 2^n inputs are listed if they are at most this many times the drawn ones; otherwise few are rejected
MOST_CHECKED = 10**7  # input bits drawn to check a config; larger data are checked when they are drawn


class Parity(SignTask):
    """Sparse parity of k relevant bits out of n."""

    kind: Literal["parity"] = "parity"
    k: PositiveInt = 3
    """Number of relevant bits."""
    support: tuple[NonNegativeInt, ...] | None = None
    """Indices of the relevant bits; by default the first k."""
    support_seed: NonNegativeInt | None = None
    """Seed from which the relevant bits are drawn, instead of `support`."""
    test_unseen: bool = False
    """Draw each seed's test set from the inputs outside its training set, without repetition."""
    draw: Literal["counter", "merrill-code", "thesis-code", "unknown"] = "counter"
    """counter: this package's random generator draws the examples. merrill-code: Python's `random` draws them as in the
    code of Merrill et al. 2023. thesis-code: Python's `random` draws them as in a thesis, Fuangkawinsombut 2024.
    unknown: there is no training set, since nobody knows the one of imported weights."""
    test_seed: NonNegativeInt | None = None
    """Seed that draws the test set. The default is 2001 if examples are drawn as in the code of Merrill et al. 2023
    (`draw` is merrill-code), 2023 if they are drawn as in Fuangkawinsombut 2024 (thesis-code), and 0 otherwise."""
    flip_fraction: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of the training targets that are flipped."""
    flip_rule: Literal["exact", "independent"] = "exact"
    """exact: flip round(flip_fraction * n_train) targets. independent: flip each with probability `flip_fraction`."""

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
        """Number of training examples of each seed."""
        return 0 if self.draw == "unknown" else self.n_train

    @property
    def test_is_shared(self) -> bool:
        """Whether all seeds have the same test set."""
        return not self.test_unseen

    @property
    def marks(self) -> dict[str, str]:
        """Groups of training examples whose accuracies a run records: {"flipped": "clean"}; {} if `flip_fraction` is 0.

        The key "flipped" names the examples with a flipped target. The value "clean" names all other examples.
        """
        return {"flipped": "clean"} if self.flip_fraction else {}

    @property
    def relevant_bits(self) -> tuple[int, ...]:
        """Indices, in ascending order, of the k bits whose product is the target.

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

    @property
    def parity_bits(self) -> tuple[int, ...]:
        """The relevant bits: their product is the target, except for flipped training targets."""
        return self.relevant_bits

    def train_data(self, seed: int) -> dict[str, np.ndarray]:
        """One seed's training set: `inputs` (example, input) and `targets` (example,), int8 in {-1, 1}; and `flipped`.

        `flipped` (example,) bool is True where the target is flipped, so that it is not the parity.
        """
        random = generator("train", seed)
        inputs = self._source(random, 17 * seed if self.draw == "merrill-code" else seed)(self.train_size)
        flipped = self._flipped(random)
        targets = np.where(flipped, -self.target(inputs), self.target(inputs)).astype(np.int8)
        return {"inputs": inputs, "targets": targets, "flipped": flipped}

    def test_data(self, seed: int = 0) -> dict[str, np.ndarray]:
        """The test set: `inputs` (example, input), `targets` (example,), int8 in {-1, 1}.

        Without `test_unseen`, all seeds have the same test set. With `test_unseen`, all seeds share a sequence of
        distinct inputs, and each seed takes the first `n_test` of these inputs that are not in its training set.
        If `test_unseen` leaves fewer than `n_test` inputs outside the training set, an `InputError` is raised.
        """
        drawn = TEST_SEED[self.draw] if self.test_seed is None else self.test_seed
        draw = self._source(generator("test", drawn), drawn)
        inputs = self._unseen(seed, drawn, draw) if self.test_unseen else draw(self.n_test)
        return {"inputs": inputs, "targets": self.target(inputs)}

    def check_seeds(self, seeds: Sequence[int]) -> None:
        """With `test_unseen`, raise an `InputError` if a seed has fewer than `n_test` inputs outside its training set.

        If the training sets of all seeds together have more than 10⁷ bits, the method checks nothing.
        """
        short = self.too_few_unseen(seeds) if self.test_unseen else None
        if short is not None:
            raise self._too_few(*short)

    def too_few_unseen(self, seeds: Sequence[int]) -> tuple[int, int] | None:
        """The seed with the fewest inputs outside its training set, and the number of these inputs.

        None if every seed has at least `n_test` inputs outside its training set. To save time, the method also returns
        None, without a check, if the training sets of all seeds together have more than 10⁷ bits.

        Examples
        --------
        >>> Parity(n=4, k=2, n_train=200, n_test=10).too_few_unseen([0, 1]), Parity().too_few_unseen([0])
        ((0, 0), None)
        """
        if 2**self.n - self.n_train >= self.n_test or len(seeds) * self.n_train * self.n > MOST_CHECKED:
            return None
        left = {seed: 2**self.n - n_different(self.train_data(seed)["inputs"]) for seed in seeds}
        seed = min(left, key=lambda seed: left[seed])
        return (seed, left[seed]) if left[seed] < self.n_test else None

    def target(self, inputs: np.ndarray) -> np.ndarray:
        """Parity of the relevant bits, which is the target of this task."""
        return self.parity(inputs)

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
            return random.random(self.train_size) < self.flip_fraction
        flipped = np.zeros(self.train_size, bool)
        flipped[random.permutation(self.train_size)[: round(self.flip_fraction * self.train_size)]] = True
        return flipped

    def _source(self, random: np.random.Generator, python_seed: int) -> Callable[[int], np.ndarray]:
        """Function that takes a number m and draws m random inputs of ±1: (m, input) int8.

        If self.draw is "counter", `random` draws them. Otherwise Python's own generator draws them from `python_seed`.
        """
        choice = Random(python_seed).choice

        def draw(n_examples: int) -> np.ndarray:
            if self.draw in ("counter", "unknown"):
                return self.signs(random, n_examples)
            drawn = [choice((-1, 1)) for _ in range(n_examples * self.n)]  # row by row
            return np.array(drawn, np.int8).reshape(n_examples, self.n)

        return draw

    def _unseen(self, seed: int, test_seed: int, draw: Callable[[int], np.ndarray]) -> np.ndarray:
        """Test inputs of a seed, (example, input) int8: `n_test` distinct inputs outside the seed's training set."""
        train = self.train_data(seed)["inputs"]
        if 2**self.n <= LISTED * (self.n_train + self.n_test):
            order = generator("test unseen", test_seed).permutation(2**self.n)
            inputs = (2 * (order[:, None] >> np.arange(self.n) & 1) - 1).astype(np.int8)
            inputs = inputs[~seen_inputs(inputs, train)]
            if len(inputs) < self.n_test:
                raise self._too_few(seed, len(inputs))
            return inputs[: self.n_test]
        inputs = np.empty((0, self.n), np.int8)
        while len(inputs) < self.n_test:
            inputs = np.concatenate([inputs, draw(self.n_test - len(inputs))])
            inputs = inputs[np.sort(np.unique(inputs, axis=0, return_index=True)[1])]
            inputs = inputs[~seen_inputs(inputs, train)]
        return inputs

    def _too_few(self, seed: int, left: int) -> InputError:
        lower = f"n_test to {left} or less, or n_train" if left else "n_train"
        return InputError(
            f"test_unseen needs n_test = {self.n_test} different inputs outside the training set, but seed {seed} "
            f"leaves {left} of the {2**self.n} inputs of n = {self.n} bits. Lower {lower}."
        )
