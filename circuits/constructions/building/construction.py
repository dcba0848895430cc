"""A hand-built network f(x) = uᵀ relu(W x + b) on k relevant bits, with rational weights.

Rational weights allow checks in exact arithmetic. Placed on `relevant_bits` among n inputs, the network becomes the
parameters W, b, u of a run, with weight 0 on every other bit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from circuits.lazy import renamed_keyword

Rational = Fraction | int


@dataclass(frozen=True)
class Construction:
    """A hand-built network on k relevant bits, with exact rational weights.

    Attributes
    ----------
    name
        Name of the construction in `circuits construct`.
    W, b, u
        (neuron, k) weights, (neuron,) biases, (neuron,) readout weights: exact rationals.
    source
        Paper and proposition.
    printed
        Firing condition of each neuron as the source prints it, such as `x0 = -1`; empty if the source prints none.

    Examples
    --------
    >>> identity = Construction("one", W=((1,), (-1,)), b=(0, 0), u=(1, -1), source="x = relu(x) - relu(-x)")
    >>> identity.k, identity.n_neurons
    (1, 2)
    """

    name: str
    W: tuple[tuple[Rational, ...], ...]
    b: tuple[Rational, ...]
    u: tuple[Rational, ...]
    source: str
    printed: tuple[str, ...] = ()

    @property
    def k(self) -> int:
        """Number of relevant bits."""
        return len(self.W[0])

    @property
    def n_neurons(self) -> int:
        """Number of hidden neurons."""
        return len(self.W)

    @renamed_keyword("support", "relevant_bits")
    def arrays(self, n: int | None = None, relevant_bits: Sequence[int] | None = None) -> dict[str, np.ndarray]:
        """Float64 weights W (neuron, n), biases b (neuron,) and readout weights u (neuron,) of the network on n inputs.

        The network's own k bits become the inputs with indices `relevant_bits`, by default 0..k-1. All other inputs get
        the weight 0. By default, n = k.

        Examples
        --------
        >>> Construction("one", W=((1,),), b=(0,), u=(2,), source="").arrays(n=3, relevant_bits=[1])["W"]
        array([[0., 1., 0.]])
        """
        n = self.k if n is None else n
        bits = list(range(self.k) if relevant_bits is None else relevant_bits)
        if len(set(bits)) != self.k or not all(0 <= bit < n for bit in bits):
            raise ValueError(f"relevant_bits {bits} must name k = {self.k} different bits of 0..{n - 1}")
        W = np.zeros((self.n_neurons, n))
        W[:, bits] = np.array(self.W, float)
        return {"W": W, "b": np.array(self.b, float), "u": np.array(self.u, float)}
