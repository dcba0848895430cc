"""Parity by k + 1 neurons that depend on the sum of the bits alone: Prop. 3 generalized to any k.

The sum X = x_0 + … + x_{k-1} is k - 2m when m bits are -1. So the parity is a zigzag in X: (-1)^m at X = -k, -k+2, …,
k. A piecewise linear function with slopes ±1 and a kink at each of the k - 1 inner values passes through these points.
At its leftmost kink a = -k+2 this function has the value c = (-1)^(k-1):

    f(X) = c · [1 - σ(a - X) - σ(X - a) + 2 σ(X - a - 2) - 2 σ(X - a - 4) + …]   with σ = relu

The terms are a constant, one neuron that rises to the left and k - 1 neurons that rise to the right. For k = 3 this is
the network of Merrill et al. 2023, Prop. 3; for k = 2 it is -1 plus twice the network of Fuangkawinsombut 2024.
"""

from circuits.constructions.building.construction import Construction
from circuits.errors import InputError

MOST_BITS = 1000


def threshold(k: int) -> Construction:
    """A network of k + 1 neurons whose output, a zigzag in the sum of the bits, is the parity itself, 1 or -1.

    With X the sum of the bits, neuron 0 is the constant 1, neuron i = 1..k-1 is relu(X - k + 2i), and neuron k is
    relu(-X - k + 2).

    Parameters
    ----------
    k
        Relevant bits, 1..1000.

    Raises
    ------
    InputError
        k is out of range.

    References
    ----------
    Generalizes Merrill et al. 2023, Prop. 3, which lists the neurons in the same order.

    Examples
    --------
    >>> threshold(2).W, threshold(2).b, threshold(2).u
    (((0, 0), (1, 1), (-1, -1)), (1, 0, 0), (-1, 1, 1))
    """
    if not 1 <= k <= MOST_BITS:
        raise InputError(f"k = {k} is not possible: threshold(k) is built for k in 1..{MOST_BITS}.")
    value = (-1) ** (k - 1)
    kinks = range(2 - k, k, 2)  # the inner values of X; none for k = 1
    slopes = [value * (-1) ** (index + 1) * (2 if index else 1) for index in range(len(kinks))]
    right = list(zip(kinks, slopes, strict=True))[::-1]
    return Construction(
        "threshold",
        W=((0,) * k, *((1,) * k for _ in right), (-1,) * k),
        b=(1, *(-kink for kink, _ in right), 2 - k),
        u=(value, *(slope for _, slope in right), -value),
        source="after Merrill et al. 2023, Prop. 3",
    )
