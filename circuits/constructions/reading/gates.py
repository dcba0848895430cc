"""The logic gate of a neuron: the nearest t-of-k threshold gate, and the signs s of its k bits.

Let s·z be the number of the k relevant bits z that agree with s, minus the number that do not. The t-of-k gate is

    relu(s·z + k - 2t + 2).

The gate is 0 if fewer than t bits agree with s, 2 if t bits agree, 4 if t + 1 bits agree, and so on. A larger bias
would make the gate positive for t - 1 bits. t = k is the AND gate A(s), t = (k+1)/2 the majority gate M(s), t = 1 the
OR gate; for k = 3 their biases are -1, 1 and 3. Two other gates are the constant (w = 0, b > 0) and the one-sided
linear gate relu(s·z), which for even k is the gate t = k/2 + 1.

In a network for the parity π(z), a gate's readout weight has the sign of the mean of π(z)·gate(z) over all z. For the
t-of-k gates with t >= 2, this sign is Π s · (-1)^(k-t). For k >= 2, the mean is 0 for the OR gate, for the constant
and, if k is odd, for the linear gate. These gates have no sign.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from circuits.constructions.patterns import patterns
from circuits.tabular import count

CONSTANT, LINEAR = -1, -2  # values of `t` for the gates that are not t-of-k
LIKE_A_GATE = 0.9  # cosine above which a neuron has its gate's name
_KINK = 1e-9  # preactivations this small, relative to the weights, count as 0, so that rounding decides nothing


@dataclass(frozen=True)
class Gates:
    """The nearest logic gate of each neuron, in a network for the parity (product) of k bits.

    A gate with `t` > 0 fires if at least `t` of the k bits agree with `signs`. A gate with `t` = CONSTANT = -1 has no
    weights, and `signs` is 0. The gate with `t` = LINEAR = -2 is relu(signs·bits). `cosine`, -1..1, compares the
    (weights, bias) of neuron and gate. `expected` is the readout sign that parity needs: 1, -1, or 0 if it needs none.
    """

    t: Int[np.ndarray, " neuron"]
    signs: Int[np.ndarray, "neuron k"]
    cosine: Float[np.ndarray, " neuron"]
    expected: Int[np.ndarray, " neuron"]

    @property
    def names(self) -> list[str]:
        """Short name of each neuron's nearest gate: A(+-+) is an AND gate that fires on the bits 1, -1, 1.

        A means AND, M majority, L relu(signs·bits), and 1 the constant gate. T2(++-+) fires if at least 2 of the bits
        have these signs. A neuron whose cosine to its nearest gate is at most .9 gets the name "?".
        """
        k = self.signs.shape[1]
        return [
            _lettered(int(t), signs, k) if cosine > LIKE_A_GATE else "?"
            for t, signs, cosine in zip(self.t, self.signs, self.cosine, strict=True)
        ]


def nearest_gates(W: Float[np.ndarray, "neuron k"], b: Float[np.ndarray, " neuron"]) -> Gates:
    """The nearest logic gate of each neuron, from the neuron's weights on the k relevant bits and its bias.

    A t-of-k gate fires if at least t bits agree with its signs. The nearest gate has the largest `cosine` between the
    (weights, bias) of neuron and gate. Ties go to larger t; a bit of weight 0 counts as +. A neuron with only 0 weights
    gets the constant gate, and the sign of its bias (1, 0, -1) as `cosine`.

    Examples
    --------
    The gates are AND (A), majority (M) and constant (1). `expected` is the readout sign that parity needs, if any.

    >>> W = np.array([[1.0, -1.0, 1.0], [-0.9, 1.0, 1.0], [0.0, 0.0, 0.0]])
    >>> gates = nearest_gates(W, np.array([-1.0, 1.1, 2.0]))
    >>> gates.names, gates.expected.tolist()
    (['A(+-+)', 'M(-++)', '1'], [-1, 1, 0])
    """
    k = W.shape[1]
    codes, biases = templates(k)
    signs = np.where(W < 0, -1, 1)
    reach = np.abs(W).sum(axis=1)  # w·s
    size = np.sqrt((W**2).sum(axis=1) + b**2)
    with np.errstate(invalid="ignore", divide="ignore"):
        cosines = (reach[:, None] + b[:, None] * biases) / (size[:, None] * np.sqrt(k + biases**2))
        cosines = np.c_[cosines, b / size]
    cosines = np.where(np.isfinite(cosines), cosines, 0.0)
    best = cosines.argmax(axis=1)
    best = np.where(reach > 0, best, len(codes))
    t = np.append(codes, CONSTANT)[best]
    with_pattern = (t != CONSTANT)[:, None]
    counted = t >= 2 if k > 1 else t != CONSTANT  # for k = 1, every gate with a weight
    expected = np.where(counted, signs.prod(axis=1) * (1 - 2 * ((k - t) % 2 * (t > 0))), 0)
    return Gates(t, np.where(with_pattern, signs, 0), cosines[np.arange(len(W)), best], expected)


def templates(k: int) -> tuple[Int[np.ndarray, " gate"], Float[np.ndarray, " gate"]]:
    """Threshold t and bias of every t-of-k gate with weights 1, from t = k to 1.

    For odd k, a last entry describes the gate relu(sum of bits), with bias 0. Its t is the code LINEAR = -2.

    Examples
    --------
    >>> templates(3)
    (array([ 3,  2,  1, -2]), array([-1.,  1.,  3.,  0.]))
    """
    t = np.arange(k, 0, -1)
    codes, biases = t, (k - 2 * t + 2).astype(float)
    return (np.append(codes, LINEAR), np.append(biases, 0.0)) if k % 2 else (codes, biases)


def firing_sets(
    W: Float[np.ndarray, "neuron input"], b: Float[np.ndarray, " neuron"], relevant_bits: Sequence[int]
) -> tuple[Bool[np.ndarray, "neuron pattern"], Bool[np.ndarray, "neuron pattern"], Bool[np.ndarray, "neuron pattern"]]:
    """Masks of the patterns (settings of the relevant bits) on which each neuron fires.

    Returns
    -------
    fires, always, can
        (neuron, pattern) each. `fires`: the neuron fires with the other bits at 0. `always`: it fires for all values of
        the other bits. `can`: it fires for some values. `always` is a subset of `fires`, `fires` a subset of `can`.

    Examples
    --------
    >>> W, b = np.array([[2.0, 0.5]]), np.array([-1.8])
    >>> [fires.tolist() for fires in firing_sets(W, b, [0])]
    [[[False, True]], [[False, False]], [[False, True]]]
    """
    bits = list(relevant_bits)
    weights, bias = W.astype(np.float64), b.astype(np.float64)
    at_mean = weights[:, bits] @ patterns(len(bits)).T + bias[:, None]
    others = np.abs(np.delete(weights, bits, axis=1)).sum(axis=1)[:, None]
    least = _KINK * (np.abs(weights).sum(axis=1) + np.abs(bias))[:, None]
    return at_mean > least, at_mean - others > least, at_mean + others > least


def gate_name(t: int, k: int) -> str:
    """Name of the gate that fires if at least `t` of `k` bits agree with its signs, or of the gate with code `t` < 0.

    Examples
    --------
    >>> [gate_name(t, 3) for t in (3, 2, 1, CONSTANT, LINEAR)]
    ['AND gate', 'majority gate', 'OR gate', 'constant', 'one-sided linear gate']
    >>> gate_name(3, 4)
    '3-of-4 gate'
    """
    if t in (CONSTANT, LINEAR):
        return "constant" if t == CONSTANT else "one-sided linear gate"
    if t == k:
        return "AND gate"
    if 2 * t == k + 1:
        return "majority gate"
    return "OR gate" if t == 1 else f"{t}-of-{k} gate"


def gates_text(gates: Gates) -> str:
    """Number of gates of each kind, in words.

    Examples
    --------
    >>> W, b = np.array([[1.0, 1.0, 1.0], [1.0, -1.0, 1.0], [1.0, 1.0, 1.0]]), np.array([-1.0, -1.1, 1.0])
    >>> gates_text(nearest_gates(W, b))
    '2 AND gates and 1 majority gate'
    """
    k = gates.signs.shape[1]
    alike = gates.cosine > LIKE_A_GATE
    kinds = Counter(int(t) for t in gates.t[alike])
    words = [count(n, gate_name(t, k)) for t, n in sorted(kinds.items(), reverse=True)]
    if others := int((~alike).sum()):
        words.append(count(others, "neuron") + " like no gate")
    if len(words) < 2:
        return words[0] if words else "no neuron"
    return f"{', '.join(words[:-1])} and {words[-1]}"


def _lettered(t: int, signs: np.ndarray, k: int) -> str:
    if t == CONSTANT:
        return "1"
    letter = "L" if t == LINEAR else "A" if t == k else "M" if 2 * t == k + 1 else f"T{t}"
    return f"{letter}({''.join('+' if sign > 0 else '-' for sign in signs)})"
