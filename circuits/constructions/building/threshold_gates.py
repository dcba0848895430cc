"""The parity of k bits by a network of k + 1 neurons that depend only on the sum of the bits, for any k.

If m of the bits are -1, the parity is (-1)^m, and the sum of the bits is X = k - 2m. So X is one of -k, -k+2, …, k, and
the parity changes sign from each of these values to the next. A piecewise linear zigzag f(X) with slopes ±1 passes
through all parities, with a kink at each value except -k and k. Let a = -k+2 be the leftmost kink, c = (-1)^(k-1) the
parity at X = a, and σ = relu. Then

    f(X) = c · [1 - σ(a - X) - σ(X - a) + 2 σ(X - a - 2) - 2 σ(X - a - 4) + …]

One neuron gives the constant 1. One neuron gives σ(a - X). The other k - 1 neurons, one per kink, give σ(X - a),
σ(X - a - 2), … For k = 3 this is the network of Merrill et al. 2023, Prop. 3. For k = 2 its output f(X) is -1 plus
twice the output of the network of Fuangkawinsombut 2024.
"""

from circuits.constructions.building.construction import Construction
from circuits.errors import InputError

MOST_BITS = 1000


def threshold(k: int) -> Construction:
    """A network of k + 1 neurons whose output, a zigzag in the sum of the bits, is the parity itself, 1 or -1.

    With X the sum of the bits, neuron 0 is the constant 1, neuron i = 1..k-1 is relu(X - k + 2i), and neuron k is
    relu(-X - k + 2). Merrill et al. 2023, Prop. 3, list the neurons of their network for k = 3 in the same order.

    Parameters
    ----------
    k
        Number of relevant bits, 1..1000. Any other k raises an InputError.

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
