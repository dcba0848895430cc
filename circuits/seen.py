"""Which test inputs are also training inputs.

A test set that is drawn like the training set repeats some training inputs: N draws from 2^n inputs miss any given
input with probability (1 - 2^-n)^N. At n = 40 nearly all test inputs are new. At n = 6 and N = 50 more than half are
training inputs, which a network can answer from memory, without generalization. A test input is *seen* if a training
example has the same input, whatever its target: a flipped label makes no new input.
"""

import numpy as np
from jaxtyping import Bool, Shaped

SEEN = "test_seen"  # name of the mark in a run's data, (seed, test_example)


def seen_inputs(
    test: Shaped[np.ndarray, "test_example input"], train: Shaped[np.ndarray, "example input"]
) -> Bool[np.ndarray, " test_example"]:
    """Mask of the test inputs that are also training inputs; inputs are rows of numbers or tokens.

    Rows are compared by a 64-bit checksum first. Only rows with equal checksums are compared exactly.

    Examples
    --------
    >>> seen_inputs(np.array([[1, -1], [-1, -1]]), np.array([[1, -1], [1, 1], [1, -1]]))
    array([ True, False])
    """
    kind = np.result_type(test, train)
    test, train = (np.ascontiguousarray(rows, kind) for rows in (test, train))
    if kind.kind == "f":
        test, train = test + 0.0, train + 0.0  # -0.0 equals 0.0, but its bytes differ
    test_sums, train_sums = _sums(test), _sums(train)
    seen = np.isin(test_sums, train_sums)
    if seen.any():
        alike = np.isin(train_sums, test_sums)
        seen[seen] = np.isin(_as_items(test[seen]), _as_items(train[alike]))
    return seen


def n_different(inputs: Shaped[np.ndarray, "example input"]) -> int:
    """Number of different rows.

    Examples
    --------
    >>> n_different(np.array([[1, -1], [1, 1], [1, -1]]))
    2
    """
    return len(np.unique(inputs, axis=0))


def _as_items(rows: np.ndarray) -> np.ndarray:
    """Each row as one item of raw bytes, which NumPy compares as a whole."""
    return rows.view(np.dtype((np.void, rows.dtype.itemsize * rows.shape[1])))[:, 0]


def _sums(rows: np.ndarray) -> np.ndarray:
    """Weighted sum, modulo 2^64, of each row's bytes, read as 64-bit numbers; equal rows have equal sums."""
    n_bytes = rows.dtype.itemsize * rows.shape[1]
    words = np.zeros((len(rows), -(-n_bytes // 8) * 8), np.uint8)
    words[:, :n_bytes] = rows.view(np.uint8).reshape(len(rows), n_bytes)
    weights = np.random.Generator(np.random.Philox(0)).integers(0, 2**63, words.shape[1] // 8, dtype=np.uint64)
    return words.view(np.uint64) @ (2 * weights + 1)
