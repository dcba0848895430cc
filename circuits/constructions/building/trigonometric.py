"""Hand-built addition of one-hot x, y mod p: logit cos ω(x + y − c) of class c, as in Nanda et al. 2023, but exact.

A frequency k, ω = 2πk/p, has six neurons (cos(ωx + a) + cos(ωy + b))², with these phases and a readout of amplitude A:

    a ∈ {0, ⅓, ⅔} of a turn,   b ∈ {a, a + ½ turn},   logit(c) = A/3 Σ_ab cos(ωc + a + b) (cos(ωx + a) + cos(ωy + b))²

Let X = cos(ωx + a), Y = cos(ωy + a), R = cos(ωc + 2a). In Σ_ab, the term with b = a is R (X + Y)². The term with
b = a + ½ turn is -R (X − Y)². The two terms add up to 4RXY = 2R [cos(ω(x+y) + 2a) + cos ω(x−y)] = cos ω(x+y−c) +
cos(ω(x+y+c) + 4a) + 2 cos ω(x−y) cos(ωc + 2a). Over the three a, the cosines that contain 2a or 4a add up to 0. The sum
Σ_ab is therefore 3 cos ω(x+y−c), for every p and k.

The logits A Σ_k cos ω_k(x + y − c) are largest at c = x + y. Other classes have equally large logits iff an integer
above 1 divides p and all frequencies. For p = 15 and frequency 3, the classes x + y, x + y + 5 and x + y + 10 have
equal logits. For p = 15 and the two frequencies 3 and 5, the only maximum is at x + y.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import gcd, log

import numpy as np
from einops import rearrange
from jaxtyping import Float

from circuits.errors import InputError

SMALL_LOSS = 1e-6  # nats; upper limit of the loss at the default amplitude
PHASES = tuple((third / 3, third / 3 + half / 2) for third in range(3) for half in range(2))  # (a, b) in turns
SOURCE = "Nanda et al. 2023, section 4, made exact"


@dataclass(frozen=True)
class ModularAddition:
    """A network of squares, f(x, y) = U (W [x, y])², whose logit of class c is A Σ_k cos ω_k(x + y − c).

    Attributes
    ----------
    p, frequencies
        Modulus, and the frequencies k, ascending, with ω_k = 2πk/p.
    amplitude
        Amplitude A of the logits, the same for every frequency.
    """

    p: int
    frequencies: tuple[int, ...]
    amplitude: float
    name: str = "modular_addition"
    source: str = SOURCE

    @property
    def n_neurons(self) -> int:
        """Number of hidden neurons: six per frequency."""
        return len(PHASES) * len(self.frequencies)

    def arrays(self) -> dict[str, np.ndarray]:
        """Float64 parameters of a model `mlp`: `hidden.0.W` (neuron, 2p) on one-hot x, y; `readout.W` (class, neuron).

        Examples
        --------
        >>> {name: values.shape for name, values in modular_addition(7, [1, 3]).arrays().items()}
        {'hidden.0.W': (12, 14), 'readout.W': (7, 12)}
        """
        k = np.array(self.frequencies)[:, None, None]  # (frequency, phases, residue)
        a, b = (np.array(turns)[:, None] for turns in zip(*PHASES, strict=True))
        turns = k * np.arange(self.p) % self.p / self.p  # rounded once
        W = np.concatenate([_cos(turns + a), _cos(turns + b)], axis=2)
        U = self.amplitude / 3 * _cos(turns + a + b)
        return {
            "hidden.0.W": rearrange(W, "frequency phase input -> (frequency phase) input"),
            "readout.W": rearrange(U, "frequency phase output -> output (frequency phase)"),
        }

    @cached_property
    def loss(self) -> float:
        """Cross-entropy, in nats, of the logits for one pair of inputs x, y; it is the same for all p² pairs."""
        return float(np.log1p(np.exp(-self.amplitude * _lead(self.p, self.frequencies)).sum()))


def modular_addition(p: int, frequencies: Sequence[int], amplitude: float | None = None) -> ModularAddition:
    """The network that adds mod p with the given frequencies. Arguments out of the ranges below raise an InputError.

    Parameters
    ----------
    p
        Modulus, at least 3.
    frequencies
        Distinct whole numbers in 1..p/2; p and all frequencies together have no common factor.
    amplitude
        Positive factor of all logits. With the default, the cross-entropy is a little smaller than 1e-6 nats.

    Examples
    --------
    >>> net = modular_addition(31, [1, 5, 9])
    >>> net.n_neurons, net.amplitude, net.loss < 1e-6
    (18, 15.0, True)
    """
    ordered = tuple(sorted(frequencies))
    if any(k != int(k) for k in ordered):
        raise InputError(f"frequencies {list(frequencies)} must be whole numbers in 1..{p // 2}.")
    ordered = tuple(int(k) for k in ordered)
    if p < 3:
        raise InputError(f"p = {p} is not possible. Pass a modulus p >= 3.")
    if not ordered:
        raise InputError(f"modular_addition needs frequencies: pass distinct whole numbers in 1..{p // 2}.")
    if not 1 <= ordered[0] <= ordered[-1] <= p // 2 or len(set(ordered)) < len(ordered):
        raise InputError(
            f"frequencies {list(frequencies)} must be different whole numbers in 1..{p // 2} (up to p / 2)."
        )
    if (factor := gcd(p, *ordered)) > 1:
        raise InputError(
            f"p = {p} and frequencies {list(ordered)} have the factor {factor} in common: output classes that "
            f"differ by {p // factor} would have equal logits. Add a frequency without this factor, such as 1."
        )
    if amplitude is None:
        least = log((p - 1) / SMALL_LOSS) / _lead(p, ordered).min()
        amplitude = float(f"{1.05 * least:.1e}")  # rounding to two digits is a change below 5 %
    if not 0 < amplitude < float("inf"):
        raise InputError(f"amplitude {amplitude:g} is not possible: pass a positive number.")
    return ModularAddition(p, ordered, amplitude)


def _lead(p: int, frequencies: Sequence[int]) -> Float[np.ndarray, " other"]:
    """For d = 1..p - 1: the logit of the right class x + y, minus the logit of the class x + y + d (mod p).

    The logit of class c is the sum of cos(2πk(x + y - c)/p) over k in `frequencies`.
    """
    turns = np.array(frequencies)[:, None] * np.arange(1, p) % p / p
    return (1 - _cos(turns)).sum(axis=0)


def _cos(turns: Float[np.ndarray, "*any"]) -> Float[np.ndarray, "*any"]:
    return np.cos(2 * np.pi * turns)
