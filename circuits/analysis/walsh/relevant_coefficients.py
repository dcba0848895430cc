"""Walsh coefficients of relu neurons on the subsets of the relevant bits, averaged over the other bits.

For T within the relevant bits S, f^(T) = E f(x) χ_T(x) needs only the mean of f over the other bits at each of the 2^k
settings of S. These means are exact up to float rounding if at most 24 weights of the other bits are not 0, if these
weights are equal, or if they cannot change the sign of the preactivation. Otherwise each mean has an error bound,
usually at most about 4e-6 · ‖(w, b)‖. The error of a coefficient is at most the mean of the bounds.
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
