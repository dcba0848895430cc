"""Walsh coefficients of a relu neuron f(x) = relu(w·x + b) at all subsets T of the relevant bits.

The coefficient at T is f^(T) = E f(x) Π_{i∈T} x_i, a mean over all inputs x. For each setting of the relevant bits, the
code first computes the mean of f over all values of the other bits. From these means, it computes all f^(T).
A mean is exact up to float rounding if at most 24 of the other bits have a nonzero weight in w. It is also exact if all
these nonzero weights have equal size, or if the other bits never change the sign of w·x + b. Otherwise, a mean has an
error bound, usually at most about 4e-6 · ‖(w, b)‖. The error of f^(T) is at most the mean of these bounds.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from circuits.analysis.walsh.transform import walsh_coefficients
from circuits.constructions.verifying.averaging import averaged_activations
from circuits.lazy import renamed_keyword


@renamed_keyword("support", "relevant_bits")
def relevant_coefficients(
    W: Float[np.ndarray, "neuron input"],
    b: Float[np.ndarray, " neuron"],
    u: Float[np.ndarray, " neuron"],
    relevant_bits: Sequence[int],
) -> Float[np.ndarray, "neuron subset"]:
    """Walsh coefficients of each neuron's term u_j relu(w_j·x + b_j); they add up to the network's coefficients.

    Returns
    -------
    (neuron, 2^k) float64 for k relevant bits. Write a column's index in binary with k digits. The first digit is 1 if
    the column's subset contains relevant_bits[0], and so on.

    Examples
    --------
    2 relu(x_0) = 1 + x_0.

    >>> relevant_coefficients(np.array([[1.0, 0.0]]), np.zeros(1), np.array([2.0]), [0])
    array([[1., 1.]])
    """
    return walsh_coefficients(u.astype(np.float64)[:, None] * averaged_activations(W, b, relevant_bits))
