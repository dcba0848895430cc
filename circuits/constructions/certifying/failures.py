"""Failure rate of a network on uniform random inputs, with an interval.

One counterexample among 2^n inputs refutes a network that may be right on all but a few in a million. The failure rate
shows how rare counterexamples are. The interval of Clopper and Pearson (1934) contains the true rate with at least the
probability `level`, whatever the rate is, and also if none of the sampled inputs fails.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from circuits.constructions.certifying.binomial import share_intervals
from circuits.constructions.certifying.restriction import irrelevant_bits
from circuits.randomness import generator

BLOCK = 2**13  # inputs evaluated at a time: small enough for the cache


@dataclass(frozen=True)
class FailureRate:
    """How often a network fails on random inputs: the sign of its output is not the parity of the relevant bits.

    Of `n_inputs` random inputs, `n_failures` fail. [low, high] is a confidence interval of the rate over all inputs.
    """

    n_failures: int
    n_inputs: int
    low: float
    high: float

    @property
    def rate(self) -> float:
        """`n_failures` / `n_inputs`, the share of the random inputs on which the network fails."""
        return self.n_failures / self.n_inputs


def failure_rate(
    W: Float[np.ndarray, "neuron input"],
    b: Float[np.ndarray, " neuron"],
    u: Float[np.ndarray, " neuron"],
    relevant_bits: Sequence[int],
    *,
    n_inputs: int = 10**6,
    seed: int = 0,
    level: float = 0.95,
) -> FailureRate:
    """Share of random inputs on which sign f(x) is not the parity, with a confidence interval; f(x) = uᵀ relu(W x + b).

    Parameters
    ----------
    n_inputs, seed
        Number of inputs, and the seed that draws them, uniformly from {-1, 1}^n. Outputs are in float64.
    level
        Least probability with which the confidence interval contains the true failure rate of all inputs.

    Examples
    --------
    An output of 0 has no sign, so a network with readout weights 0 fails on every input.

    >>> failure_rate(np.ones((1, 3)), np.zeros(1), np.zeros(1), [0], n_inputs=1000).rate
    1.0
    """
    irrelevant_bits(W.shape[1], relevant_bits)  # raises an error for bad bits
    random = generator("failures", seed)
    weights = np.ascontiguousarray(W.T, np.float64)
    biases, readout, relevant = b.astype(np.float64), u.astype(np.float64), list(map(int, relevant_bits))
    n_failures = 0
    for start in range(0, n_inputs, BLOCK):
        shape = (min(BLOCK, n_inputs - start), W.shape[1])
        n_bits = shape[0] * shape[1]
        bits = np.unpackbits(np.frombuffer(random.bytes(-(-n_bits // 8)), np.uint8), count=n_bits)
        inputs = 2 * bits.astype(np.int8).reshape(shape) - 1
        outputs = np.maximum(inputs.astype(np.float64) @ weights + biases, 0.0) @ readout
        n_failures += int((outputs * inputs[:, relevant].prod(axis=1) <= 0).sum())
    low, high = share_intervals(np.array(n_failures), np.array(n_inputs), level).tolist()
    return FailureRate(n_failures, n_inputs, low, high)
