"""How often a network is wrong on random inputs, with an interval: so that a refutation is read in proportion.

One counterexample among 2^n inputs refutes a network that may be right on all but a few in a million. Inputs are
uniform; the interval is Clopper and Pearson's (1934), which holds its level whatever the rate, also where no failure
was seen.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from circuits.constructions.certifying.binomial import clopper_pearson
from circuits.constructions.certifying.restriction import irrelevant_bits
from circuits.randomness import generator

BLOCK = 2**13  # inputs evaluated at a time: small enough for the cache


@dataclass(frozen=True)
class FailureRate:
    """Failures among random inputs; the rate lies in [low, high] with the level of confidence asked for."""

    n_failures: int
    n_inputs: int
    low: float
    high: float

    @property
    def rate(self) -> float:
        """Share of inputs that fail, in 0..1."""
        return self.n_failures / self.n_inputs


def failure_rate(
    W: Float[np.ndarray, "neuron input"],
    b: Float[np.ndarray, " neuron"],
    u: Float[np.ndarray, " neuron"],
    support: Sequence[int],
    *,
    n_inputs: int = 10**6,
    seed: int = 0,
    level: float = 0.95,
) -> FailureRate:
    """Share of uniform inputs on which the sign of f(x) = uᵀ relu(W x + b), in float64, is not the parity.

    Parameters
    ----------
    W, b, u
        (neuron, input), (neuron,), (neuron,).
    support
        (k,) relevant bits.
    n_inputs, seed
        How many inputs, and which.
    level
        Confidence of the interval.

    Examples
    --------
    A network that outputs 0 has no sign, and fails everywhere.

    >>> failure_rate(np.ones((1, 3)), np.zeros(1), np.zeros(1), [0], n_inputs=1000).rate
    1.0
    """
    irrelevant_bits(W.shape[1], support)  # says what is wrong with the support
    random = generator("failures", seed)
    weights = np.ascontiguousarray(W.T, np.float64)
    biases, readout, relevant = b.astype(np.float64), u.astype(np.float64), list(map(int, support))
    n_failures = 0
    for start in range(0, n_inputs, BLOCK):
        shape = (min(BLOCK, n_inputs - start), W.shape[1])
        bits = (
            2 * np.unpackbits(np.frombuffer(random.bytes(-(-shape[0] * shape[1] // 8)), np.uint8)).astype(np.int8) - 1
        )
        inputs = bits[: shape[0] * shape[1]].reshape(shape)
        outputs = np.maximum(inputs.astype(np.float64) @ weights + biases, 0.0) @ readout
        n_failures += int((outputs * inputs[:, relevant].prod(axis=1) <= 0).sum())
    low, high = clopper_pearson(n_failures, n_inputs, level)
    return FailureRate(n_failures, n_inputs, low, high)
