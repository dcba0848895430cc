"""The least path cost per unit of margin of any network for parity, and a network that attains it.

A network f(z) = Σ_j u_j relu(w_j·z + b_j) reads k bits z in {-1, 1}^k, whose parity is π(z). Its margin m is the least
π(z) f(z) over all z; the hinge loss raises m. Its path cost is P = Σ_j |u_j|·‖(w_j, b_j)‖; weight decay lowers P. Let
E(w, b) be the mean of π(z) relu(w·z + b) over all z. The least P/m of all networks with m > 0 is

    C*(k) = 1 / max |E(w, b)|  over all neurons (w, b) with ‖(w, b)‖ = 1.

Proof. The margin m is at most the mean of π(z) f(z) over all z, which is Σ_j u_j E(w_j, b_j). By the definition of C*,
each |E(w_j, b_j)| is at most ‖(w_j, b_j)‖ / C*. So m is at most P / C*. The network `min_norm` has P/m = C*. Its
neurons are 2^k copies of one maximizer (w, b), one for each choice of signs of the entries of w; see `min_norm`.

The maximum needs no local search. Flipping the sign of an entry of w, or permuting w, keeps |E(w, b)|. So only neurons
with w_1 >= … >= w_k >= 0 matter. If one of these neurons fires on z, the neuron also fires on every z' with
z'_1 + … + z'_i >= z_1 + … + z_i for all i. So the neuron's firing set, all inputs on which it fires, is an up-set (see
`up_sets`; 1172 non-empty ones for k = 6). All neurons with the same firing set form a cone. On this cone, E(w, b) is
the dot product of (w, b) with a fixed vector. So the largest |E(w, b)| is the length of the projection of this vector,
or of its negative, on the cone. Non-negative least squares computes the projection, exact but for float rounding.
"""

from fractions import Fraction
from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Float
from scipy.optimize import nnls

from circuits.constructions.building.construction import Construction
from circuits.constructions.patterns import parities, patterns
from circuits.errors import InputError

MOST_BITS = 6  # 7 bits have some 44,000 up-sets
_LARGEST_DENOMINATOR = 10**6  # weights are ratios of small integers; this only removes rounding errors


def least_cost(k: int) -> float:
    """C*(k), the least possible path cost / margin of a network Σ_j u_j relu(w_j·x + b_j) for parity of k bits.

    The path cost is Σ_j |u_j|·‖(w_j, b_j)‖. The margin is the least parity · output over all inputs x in {-1, 1}^k.

    Let training minimize the mean hinge loss over all inputs plus λ/2 times the sum of squared weights and biases. For
    a weight decay λ > 1 / C*(k), the minimum is the network whose weights are all 0. If training uses only some of the
    inputs, networks that memorize these inputs can be the minimum at larger λ. A k outside 1..6 raises InputError.

    Examples
    --------
    >>> [round(least_cost(k), 4) for k in (1, 2, 3)]
    [1.4142, 2.8284, 8.0]
    """
    return 1 / _optimum(k)[0]


def optimal_gates(k: int) -> list[tuple[tuple[Fraction, ...], Fraction, int]]:
    """Every neuron that maximizes |E[π(z) relu(w·z + b)]| / ‖(w, b)‖, as a tuple (w, b, sign of the mean E[…]).

    E is the mean over z in {-1, 1}^k, π(z) the parity of z; the maximum is 1 / `least_cost(k)`. Each neuron has w_1 >=
    … >= w_k >= 0 and is scaled to largest entry 1. `min_norm` builds a network for parity from one of these neurons.
    This network, and networks that mix several of the neurons, have the least possible path cost for their margin. A
    path cost sums |readout weight|·‖(w, b)‖ over a network's neurons. A margin is the least parity · output.

    Examples
    --------
    For k = 3 these are the AND gate and, with the other sign, the majority gate.

    >>> for w, b, sign in optimal_gates(3):
    ...     print([int(weight) for weight in w], b, sign)
    [1, 1, 1] -1 1
    [1, 1, 1] 1 -1
    """
    return [(tuple(_rational(weight) for weight in v[:-1]), _rational(v[-1]), sign) for v, sign in _optimum(k)[1]]


def min_norm(k: int) -> Construction:
    """Network u·relu(W x + b) for parity of k bits with the least possible path cost Σ|u|·‖(w, b)‖ per margin.

    The margin is the least parity · output. The network has 2^k neurons, one for each s in {-1, 1}^k. Neuron s has the
    weights s_1 w_1, …, s_k w_k, the bias b, and the readout weight c times the parity of s. The triple (w, b, c), with
    c = 1 or -1, is `optimal_gates(k)[0]`: for k = 2, w = (1, 1), b = 0, c = 1. A k outside 1..6 raises InputError.

    Examples
    --------
    >>> min_norm(2).W, min_norm(2).b, min_norm(2).u
    (((-1, -1), (-1, 1), (1, -1), (1, 1)), (0, 0, 0, 0), (1, -1, -1, 1))
    """
    w, b, sign = optimal_gates(k)[0]
    return Construction(
        name="min_norm",
        W=tuple(tuple(_whole(int(s) * weight) for s, weight in zip(row, w, strict=True)) for row in patterns(k)),
        b=(_whole(b),) * 2**k,
        u=tuple(sign * int(parity) for parity in parities(k)),
        source="the dual of least path cost at unit margin, solved numerically",
    )


def correlation(v: Float[np.ndarray, " weight"]) -> float:
    """E[π(z) relu(w·z + b)] for a neuron v = (w, b): the mean over all z in {-1, 1}^k, with π(z) the parity of z.

    Examples
    --------
    >>> correlation(np.array([1.0, 1.0, 0.0]))
    0.5
    """
    k = len(v) - 1
    return float((parities(k) * np.maximum(_augmented(k) @ v, 0)).mean())


@lru_cache
def _optimum(k: int) -> tuple[float, list[tuple[np.ndarray, int]]]:
    """Maximize |mean of π(z) relu(w·z + b)| / ‖v‖ over all neurons v = (w, b); the mean is over all z in {-1, 1}^k.

    π(z) is the parity of z. The result has the maximum and all maximizers with w_1 >= … >= w_k >= 0, each as a pair (v,
    sign of the mean), with 1 as largest |entry| of v. Permuting w or flipping signs in w gives further maximizers.
    """
    if not 1 <= k <= MOST_BITS:
        raise InputError(f"k = {k} is not possible: the number of parity bits k must be in 1..{MOST_BITS}.")
    points, parity = _augmented(k), parities(k).astype(float)
    falling = np.eye(k) - np.eye(k, k=1)  # w_i - w_(i+1) >= 0, and w_k >= 0
    ordered = -np.c_[falling, np.zeros(k)]
    best = 0.0
    neurons: list[tuple[np.ndarray, int]] = []
    for fires in up_sets(k):
        cone = np.concatenate([np.where(fires[:, None], -points, points), ordered])  # v is in it if cone @ v <= 0
        slope = (parity * fires) @ points / 2**k
        for sign in (1, -1):
            normals, value = nnls(cone.T, sign * slope)  # slope in the polar cone; length of the residual
            if value > best * (1 + 1e-9):
                best, neurons = value, []
            if value >= best * (1 - 1e-9):
                v = sign * slope - cone.T @ normals
                v /= np.abs(v).max()
                if not any(np.allclose(v, other, atol=1e-9) and sign == other_sign for other, other_sign in neurons):
                    neurons.append((v, sign))
    neurons = [(np.array([float(_rational(entry)) for entry in v]), sign) for v, sign in neurons]
    neurons.sort(key=lambda one: tuple(one[0]))
    return abs(correlation(neurons[0][0])) / float(np.linalg.norm(neurons[0][0])), neurons


def up_sets(k: int) -> list[Bool[np.ndarray, " pattern"]]:
    """Every non-empty up-set of inputs in {-1, 1}^k, as a mask over the rows of `patterns(k)`, which are all inputs.

    An up-set contains, with each input z, every input z' with z'_1 + … + z'_i >= z_1 + … + z_i for all i in 1..k. For
    k = 1, the non-empty up-sets are {1} and {-1, 1}.

    Examples
    --------
    >>> [members.astype(int).tolist() for members in up_sets(1)]
    [[0, 1], [1, 1]]
    >>> [len(up_sets(k)) for k in range(1, 5)]
    [2, 4, 9, 26]
    """
    sums = patterns(k).cumsum(axis=1)
    above = (sums[:, None] >= sums[None]).all(axis=2) & ~np.eye(2**k, dtype=bool)  # [z, z']: z stands above z'
    needed = [sum(1 << int(z) for z in np.flatnonzero(column)) for column in above.T]
    seen, waiting = {0}, [0]
    while waiting:
        members = waiting.pop()
        for z, required in enumerate(needed):
            larger = members | 1 << z
            if larger not in seen and required & ~members == 0:
                seen.add(larger)
                waiting.append(larger)
    return [np.array([members >> z & 1 for z in range(2**k)], bool) for members in sorted(seen - {0})]


def _augmented(k: int) -> np.ndarray:
    return np.c_[patterns(k).astype(float), np.ones(2**k)]


def _rational(value: float) -> Fraction:
    return Fraction(float(value)).limit_denominator(_LARGEST_DENOMINATOR)


def _whole(value: Fraction) -> Fraction | int:
    return int(value) if value.denominator == 1 else value
