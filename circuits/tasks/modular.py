"""Modular arithmetic: the result of x ∘ y (mod p), learned from a part of the operation's table.

The operations on residues x, y in 0..p-1 are those of Power et al. 2022 (`operations`). Liu, Chi, Wu, section 4, extend
x + y to K summands, (x1 + … + xK) mod p. Each seed puts the p^K tuples of operands in a random order; the first
`train_fraction` of them is the training set, the rest the test set. With `max_examples` only that many tuples are
drawn, in memory proportional to their number, not to p^K.

A network that has memorized x + y can answer y + x by swapping the operands. The method `commuted` marks the test
examples that are reorderings of a training example with the same result. Merrill et al. 2023, Fig. 4, plot the share of
marked test examples. For x + y with x ≠ y, a test example is marked with probability train_size / (p² - 1), about
train_fraction. For K different summands, a test example has K! - 1 reorderings. With four summands and all tuples,
nearly all test examples are marked.
"""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Annotated, Literal

import numpy as np
from einops import rearrange
from jaxtyping import Bool, Int, Int8, Int16
from pydantic import Field, model_validator

from circuits.config_base import NonNegativeInt
from circuits.errors import InputError
from circuits.interfaces import Signature, Task
from circuits.randomness import generator
from circuits.tasks.operations import VALUES, Operation, is_prime

MOST_EXAMPLES = 10**8  # drawn at once; their int64 numbers alone take 0.8 GB
MOST_TOKENS = 2**15  # int16
LETTERS = ("x", "y", "z", "w")


def distinct(random: np.random.Generator, n_numbers: int, n_drawn: int) -> Int[np.ndarray, " drawn"]:
    """`n_drawn` distinct numbers, drawn uniformly from 0..n_numbers-1, in random order and in O(n_drawn) memory.

    If n_numbers > 4 n_drawn, these are the first n_drawn distinct numbers of a sequence of independent draws.
    The numbers must satisfy 1 <= n_numbers <= 2^63 - 1, and 0 <= n_drawn <= n_numbers.

    Examples
    --------
    >>> sorted(distinct(generator("split", 0), 5, 5).tolist())
    [0, 1, 2, 3, 4]
    """
    if n_numbers <= 4 * n_drawn:
        return random.permutation(n_numbers)[:n_drawn]
    drawn = np.empty(0, np.int64)
    while len(drawn) < n_drawn:
        drawn = np.concatenate([drawn, random.integers(0, n_numbers, n_drawn - len(drawn))])
        drawn = drawn[np.sort(np.unique(drawn, return_index=True)[1])]
    return drawn


class Modular(Task):
    """The result of an operation on residues mod p, as one of p classes."""

    kind: Literal["modular"] = "modular"
    p: Annotated[int, Field(ge=2, le=MOST_TOKENS)] = 97
    """Modulus: operands are 0..p-1, results are p classes. Division needs a prime."""
    operation: Operation = "x+y"
    """Operation mod p: one of those in Power et al. 2022, appendix A.1, or x*y."""
    n_summands: Annotated[int, Field(ge=2, le=64)] = 2
    """Number of operands; more than 2 only with x+y, as in x + y + z."""
    train_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """Share of the examples in the training set, rounded to whole examples; the rest is the test set."""
    max_examples: Annotated[int, Field(ge=2, le=MOST_EXAMPLES)] | None = None
    """Number of training and test examples together, if fewer than all tuples; by default all tuples."""
    encoding: Literal["one-hot", "tokens"] = "one-hot"
    """one-hot: p (the modulus) inputs per operand, 1 at the operand's value, else 0. tokens: a sequence of integers."""
    sequence: str | None = None
    """Words of a token input, such as "<sos> x + y mod =". The operands are x, y, z, w (x1, x2, ... if more than 4).
    Fixed words get the tokens p, p + 1, ... in order of first appearance. By default only the operands."""
    draw: Literal["circuits", "nanda-code", "torch-randperm", "given", "unknown"] = "circuits"
    """Order of all tuples, of which the first are for training. circuits: that of this package. nanda-code: Python's
    `random.seed(seed)` and `random.shuffle` of the tuples in ascending order (code of Nanda et al. 2023).
    torch-randperm: `torch.manual_seed(seed)` and `torch.randperm`. Both codes round the training set's size down.
    given: the run file alone holds the split. unknown: there is no training set, and every tuple is in the test set."""
    split_seed: NonNegativeInt | None = None
    """One seed for the examples and the split of all networks; by default each network uses its own seed."""

    @model_validator(mode="after")
    def _consistent(self) -> Modular:
        if "/" in self.operation and not is_prime(self.p):
            raise ValueError(f"operation '{self.operation}' divides mod p, which needs a prime p, not {self.p}")
        if self.n_summands > 2 and self.operation != "x+y":
            raise ValueError(f"n_summands = {self.n_summands} needs operation 'x+y', not '{self.operation}'")
        if self.n_tuples >= 2**63:
            raise ValueError(f"p^n_summands = {self.p}^{self.n_summands} exceeds 2^63 - 1; take fewer summands")
        if self.n_examples > MOST_EXAMPLES:
            raise ValueError(f"all {self.n_tuples:,} tuples exceed the limit of {MOST_EXAMPLES:,}; set max_examples")
        if self.draw != "circuits" and self.max_examples is not None:
            raise ValueError(f"draw '{self.draw}' takes all tuples, so max_examples has no place")
        if self.draw != "unknown" and not 0 < self.train_size < self.n_examples:
            part = "test" if self.train_size else "training"
            raise ValueError(
                f"train_fraction = {self.train_fraction} of {self.n_examples} examples leaves no {part} set"
            )
        self._check_sequence()
        return self

    def _check_sequence(self) -> None:
        if self.encoding == "one-hot":
            if self.sequence is not None:
                raise ValueError("the field 'sequence' needs encoding 'tokens', but encoding is 'one-hot'")
            return
        counts = Counter(self.words)
        sequence, operands = f"sequence '{self.sequence}'", ", ".join(self.operands)
        for name in self.operands:
            if counts[name] != 1:
                raise ValueError(
                    f"{sequence} has '{name}' {counts[name]} times; give each of the operands {operands} once"
                )
        foreign = [name for name in LETTERS if counts[name] and name not in self.operands]
        if foreign:
            raise ValueError(f"{sequence} has '{foreign[0]}', but the operands are {operands}")
        if len(self.vocabulary) > MOST_TOKENS:
            raise ValueError(f"{len(self.vocabulary)} tokens exceed the limit of {MOST_TOKENS}; take a smaller p")

    @property
    def n_tuples(self) -> int:
        """Number of tuples on which the operation is defined: p^n_summands, but p (p - 1) for x/y.

        Examples
        --------
        >>> Modular(p=5).n_tuples, Modular(p=5, operation="x/y").n_tuples
        (25, 20)
        """
        return self.p * (self.p - 1) if self.operation == "x/y" else self.p**self.n_summands

    @property
    def n_examples(self) -> int:
        """Training and test examples of one seed together."""
        return self.n_tuples if self.max_examples is None else min(self.n_tuples, self.max_examples)

    @property
    def train_size(self) -> int:
        """Examples in one seed's training set."""
        if self.draw == "unknown":
            return 0
        n = self.train_fraction * self.n_examples
        return int(n) if self.draw in ("nanda-code", "torch-randperm") else round(n)

    @property
    def test_size(self) -> int:
        """Examples in one seed's test set."""
        return self.n_examples - self.train_size

    @property
    def test_is_shared(self) -> bool:
        """False: the test set of a seed consists of its examples that are not in its training set."""
        return False

    @property
    def operands(self) -> tuple[str, ...]:
        """Names of the operands: x, y, z, w; or x1, x2, … for more than four.

        Examples
        --------
        >>> Modular(n_summands=3).operands, Modular(p=3, n_summands=5).operands
        (('x', 'y', 'z'), ('x1', 'x2', 'x3', 'x4', 'x5'))
        """
        if self.n_summands <= len(LETTERS):
            return LETTERS[: self.n_summands]
        return tuple(f"x{slot + 1}" for slot in range(self.n_summands))

    @property
    def words(self) -> tuple[str, ...]:
        """The words of a token input, in order: operands, and fixed words such as `=`."""
        return self.operands if self.sequence is None else tuple(self.sequence.split())

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """Text of each token: 0..p-1, then the fixed words.

        Examples
        --------
        >>> Modular(p=3, encoding="tokens", sequence="<sos> x + y =").vocabulary
        ('0', '1', '2', '<sos>', '+', '=')
        """
        fixed = dict.fromkeys(word for word in self.words if word not in self.operands)
        return (*map(str, range(self.p)), *fixed)

    @property
    def signature(self) -> Signature:
        """Number of inputs, classes and tokens of a network for this task."""
        if self.encoding == "one-hot":
            return Signature(self.n_summands * self.p, self.p)
        return Signature(len(self.words), self.p, len(self.vocabulary))

    def train_data(self, seed: int) -> dict[str, np.ndarray]:
        """One seed's training set, in the order of the draws.

        Returns
        -------
        `inputs` (example, input) int8 in {0, 1}, or int16 tokens; `targets` (example,) int16 in 0..p-1.
        """
        tuples = self._tuples(seed, slice(self.train_size))
        return {"inputs": self.encode(tuples), "targets": self.results(tuples)}

    def test_data(self, seed: int) -> dict[str, np.ndarray]:
        """One seed's test set: all its examples that are not in its training set.

        Returns
        -------
        `inputs` and `targets` as in `train_data`. `commuted` (example,) bool: whether a test example is a reordering of
        a training example with the same target.
        """
        test, train = (self._tuples(seed, part) for part in (slice(self.train_size, None), slice(self.train_size)))
        return {"inputs": self.encode(test), "targets": self.results(test), "commuted": self.commuted(test, train)}

    def commuted_share(self, seed: int) -> float:
        """Share (0..1) of one seed's test examples that are reorderings of a training example with the same result."""
        test, train = (self._tuples(seed, part) for part in (slice(self.train_size, None), slice(self.train_size)))
        return float(self.commuted(test, train).mean())

    def commuted(
        self, test: Int[np.ndarray, "example operand"], train: Int[np.ndarray, "train_example operand"]
    ) -> Bool[np.ndarray, " example"]:
        """Mask of the test tuples for which some training tuple is a reordering with the same result.

        Operands are in 0..p-1.

        Examples
        --------
        >>> test, train = np.array([[1, 2], [2, 2]]), np.array([[2, 1], [0, 2]])
        >>> Modular(p=5).commuted(test, train)
        array([ True, False])
        >>> Modular(p=5, operation="x-y").commuted(test, train)
        array([False, False])
        """
        return np.isin(self._unordered(test), self._unordered(train))

    def results(self, operands: Int[np.ndarray, "example operand"]) -> Int16[np.ndarray, " example"]:
        """The operation's result mod p, for each row of operands.

        Examples
        --------
        >>> Modular(p=5, operation="x/y").results(np.array([[1, 2], [4, 2]]))
        array([3, 2], dtype=int16)
        """
        if self.operation == "x+y":
            return (operands.sum(axis=1, dtype=np.int64) % self.p).astype(np.int16)
        x, y = operands.T.astype(np.int64)
        return (VALUES[self.operation](x, y, self.p) % self.p).astype(np.int16)

    def encode(
        self, operands: Int[np.ndarray, "example operand"]
    ) -> Int8[np.ndarray, "example input"] | Int16[np.ndarray, "example input"]:
        """Inputs for operands in 0..p-1.

        Examples
        --------
        >>> Modular(p=3).encode(np.array([[0, 2]]))
        array([[1, 0, 0, 0, 0, 1]], dtype=int8)
        >>> Modular(p=3, encoding="tokens", sequence="x y =").encode(np.array([[0, 2]]))
        array([[0, 2, 3]], dtype=int16)
        """
        if self.encoding == "one-hot":
            inputs = np.zeros((len(operands), self.n_summands * self.p), np.int8)
            for slot in range(self.n_summands):
                inputs[np.arange(len(operands)), slot * self.p + operands[:, slot].astype(np.int64)] = 1
            return inputs
        token = {word: self.p + place for place, word in enumerate(self.vocabulary[self.p :])}
        template = np.array([token.get(word, 0) for word in self.words], np.int16)
        inputs = np.repeat(template[None], len(operands), axis=0)
        inputs[:, self._positions] = operands
        return inputs

    def decode(self, inputs: Int[np.ndarray, "example input"]) -> Int16[np.ndarray, "example operand"]:
        """The operands of inputs, x in the first column; the inverse of `encode`.

        Examples
        --------
        >>> task = Modular(p=5, encoding="tokens", sequence="y + x =")
        >>> task.decode(np.array([[3, 5, 4, 6]]))
        array([[4, 3]], dtype=int16)
        """
        if inputs.shape[1] != self.signature.n_inputs:
            raise ValueError(f"inputs have {inputs.shape[1]} columns, but this task has {self.signature.n_inputs}")
        if self.encoding == "one-hot":
            one_hot = rearrange(inputs, "example (operand residue) -> example operand residue", residue=self.p)
            return one_hot.argmax(axis=2).astype(np.int16)
        return inputs[:, self._positions].astype(np.int16)

    @property
    def _positions(self) -> list[int]:
        return [self.words.index(name) for name in self.operands]

    def _tuples(self, seed: int, part: slice) -> Int16[np.ndarray, "example operand"]:
        """Operands of the examples in the slice `part` of a seed's examples."""
        return self._tuples_of(self._drawn(seed if self.split_seed is None else self.split_seed)[part])

    def all_tuples(self) -> Int16[np.ndarray, "example operand"]:
        """Every tuple of operands in ascending order, the first operand changing last.

        Examples
        --------
        >>> Modular(p=3).all_tuples()[:4].tolist()
        [[0, 0], [0, 1], [0, 2], [1, 0]]
        """
        return self._tuples_of(np.arange(self.n_tuples))

    def _drawn(self, seed: int) -> Int[np.ndarray, " example"]:
        """Numbers of the tuples, in the order of the draw."""
        if self.draw == "given":
            raise InputError("The task's split was given with its weights; only the run file holds it.")
        if self.draw == "unknown":
            return np.arange(self.n_tuples)
        if self.draw == "nanda-code":
            numbers = list(range(self.n_tuples))
            Random(seed).shuffle(numbers)
            return np.array(numbers)
        if self.draw == "torch-randperm":
            import torch

            return torch.randperm(self.n_tuples, generator=torch.Generator().manual_seed(seed)).numpy()
        return distinct(generator("split", seed), self.n_tuples, self.n_examples)

    def _tuples_of(self, numbers: Int[np.ndarray, " example"]) -> Int16[np.ndarray, "example operand"]:
        """Operands of the tuples with these numbers."""
        least = 1 if self.operation == "x/y" else 0  # smallest value of the last operand
        tuples = np.empty((len(numbers), self.n_summands), np.int16)
        numbers, tuples[:, -1] = np.divmod(numbers, self.p - least)
        tuples[:, -1] += least
        for slot in range(self.n_summands - 2, -1, -1):
            numbers, tuples[:, slot] = np.divmod(numbers, self.p)
        return tuples

    def _unordered(self, tuples: Int[np.ndarray, "example operand"]) -> Int[np.ndarray, " example"]:
        """A number per tuple; two tuples have the same number iff they are reorderings and have the same result."""
        keys = np.zeros(len(tuples), np.int64)
        for column in np.sort(tuples, axis=1).T:
            keys = keys * self.p + column
        return keys if self.operation == "x+y" else keys * self.p + self.results(tuples)
