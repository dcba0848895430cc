"""One AND gate per pattern: disjunctive normal form, 2^k neurons.

The gate of a pattern s in {-1, 1}^k is relu(s·x + bias): s·x is k on s and at most k - 2 elsewhere, so with any bias
above -k, up to -(k-2), it fires on s alone. Two networks are made of these gates:

    dnf          Merrill et al. 2023, Prop. 1: every gate is read out with the parity of its pattern, +1 or -1
    thesis_dnf   Fuangkawinsombut 2024, Prop. 4.1: the gates of parity -1 fire nothing, so the output there is 0

The second computes no parity under the definition of the first, which asks for a negative output.
"""

from circuits.constructions.building.construction import Construction
from circuits.constructions.patterns import parities, patterns
from circuits.errors import InputError

MOST_BITS = 16
"""2^16 neurons; a construction with more is a mistake."""


def dnf(k: int, biases: str = "k-1") -> Construction:
    """An AND gate for each of the 2^k patterns, read out with its parity.

    Parameters
    ----------
    k
        Relevant bits, 1..16.
    biases
        "k-1": -(k-1), as the AND gates of Prop. 2 have it; a gate outputs 1 on its pattern. "k-2": -(k-2), the largest
        that fires on no other pattern; a gate outputs 2, so the same margin costs about half the readout weight.

    Raises
    ------
    InputError
        k or biases is not one of these.

    References
    ----------
    Merrill et al. 2023, Prop. 1.

    Examples
    --------
    >>> dnf(2).W, dnf(2).b, dnf(2).u
    (((-1, -1), (-1, 1), (1, -1), (1, 1)), (-1, -1, -1, -1), (1, -1, -1, 1))
    """
    bias = -_offset(k, biases)
    return Construction(
        name="dnf",
        W=_gates(k),
        b=(bias,) * 2**k,
        u=tuple(int(parity) for parity in parities(k)),
        source="Merrill et al. 2023, Prop. 1",
    )


def thesis_dnf(k: int) -> Construction:
    """2^k gates of which those of parity -1 never fire, as the thesis has it: output 1 and 0, never negative.

    The proof of Prop. 4.1 gives no weights. Each gate here is that of `dnf`, read out with 1, but for the bias of those
    of parity -1: -k, at which not even their own pattern fires them.

    References
    ----------
    Fuangkawinsombut 2024, Prop. 4.1.

    Examples
    --------
    >>> thesis_dnf(2).b, thesis_dnf(2).u
    ((-1, -2, -2, -1), (1, 1, 1, 1))
    """
    fires = -_offset(k, "k-1")
    return Construction(
        name="thesis_dnf",
        W=_gates(k),
        b=tuple(fires if parity == 1 else -k for parity in parities(k)),
        u=(1,) * 2**k,
        source="Fuangkawinsombut 2024, Prop. 4.1",
    )


def _offset(k: int, biases: str) -> int:
    if not 1 <= k <= MOST_BITS:
        raise InputError(f"k = {k} is not possible: 2^k AND gates are built for k in 1..{MOST_BITS}.")
    offsets = {"k-1": k - 1, "k-2": k - 2}
    if biases not in offsets:
        raise InputError(f"biases cannot be '{biases}'. There are: k-1, for -(k-1), and k-2, for -(k-2).")
    return offsets[biases]


def _gates(k: int) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(row) for row in patterns(k).tolist())
