"""One AND gate per pattern (setting of the k relevant bits): disjunctive normal form, 2^k neurons.

The gate of a pattern s in {-1, 1}^k is relu(s·x + bias). The product s·x is k on s and at most k - 2 elsewhere. So a
gate with -k < bias <= -(k-2) fires on s alone, and a gate with bias -k never fires. Two networks have one gate per s:

    dnf          Merrill et al. 2023, Prop. 1: the gate fires on s; its readout weight is the parity of s, +1 or -1
    thesis_dnf   Fuangkawinsombut 2024, Prop. 4.1: the gate fires on s if s has parity 1; otherwise it never fires

On every pattern of parity -1, `thesis_dnf` has the output 0, but Merrill et al. require a negative output.
"""

from circuits.constructions.building.construction import Construction
from circuits.constructions.patterns import parities, patterns
from circuits.errors import InputError

MOST_BITS = 16  # 2^16 neurons; a request for more is a mistake


def dnf(k: int, biases: str = "k-1") -> Construction:
    """Network of 2^k AND gates, one per setting of the relevant bits (pattern); readout weights are the parities.

    Parameters
    ----------
    k
        Relevant bits, 1..16.
    biases
        "k-1": every gate has the bias -(k-1), as in Merrill et al.'s Prop. 1 and 2, and outputs 1 on its own pattern.
        "k-2": every gate has the bias -(k-2), the largest bias with which a gate fires on its own pattern only. On
        this pattern the gate outputs 2, so half the readout weight gives the same margin.

    Raises
    ------
    InputError
        k is out of range, or biases is neither "k-1" nor "k-2".

    Examples
    --------
    >>> dnf(2).W, dnf(2).b, dnf(2).u
    (((-1, -1), (-1, 1), (1, -1), (1, 1)), (-1, -1, -1, -1), (1, -1, -1, 1))
    """
    W, bias_of = _gates(k), {"k-1": 1 - k, "k-2": 2 - k}
    if biases not in bias_of:
        raise InputError(f"biases cannot be '{biases}'. Pass k-1 for the bias -(k-1), or k-2 for the bias -(k-2).")
    u = tuple(parities(k).tolist())
    return Construction("dnf", W, b=(bias_of[biases],) * 2**k, u=u, source="Merrill et al. 2023, Prop. 1")


def thesis_dnf(k: int) -> Construction:
    """Network of 2^k AND gates, one for each bit setting; gates for parity -1 never fire, so the output is 1 or 0.

    Fuangkawinsombut 2024 describes this network in the proof of Prop. 4.1, without weights. Here the incoming weights
    are those of `dnf`. All readout weights are 1. The bias is -(k-1) in a gate for parity 1, and -k for parity -1.

    Examples
    --------
    >>> thesis_dnf(2).b, thesis_dnf(2).u
    ((-1, -2, -2, -1), (1, 1, 1, 1))
    """
    W, b = _gates(k), tuple(1 - k if parity == 1 else -k for parity in parities(k))
    return Construction("thesis_dnf", W, b, u=(1,) * 2**k, source="Fuangkawinsombut 2024, Prop. 4.1")


def _gates(k: int) -> tuple[tuple[int, ...], ...]:
    if not 1 <= k <= MOST_BITS:
        raise InputError(f"k = {k} is not possible: 2^k AND gates are built for k in 1..{MOST_BITS}.")
    return tuple(tuple(row) for row in patterns(k).tolist())
