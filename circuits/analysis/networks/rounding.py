"""Rounding bounds: outputs of uᵀ relu(W x + b) that float64 cannot distinguish from 0.

If neurons cancel, the exact output is 0 and the computed output is a rounding error of either sign. With unit roundoff
ε = 2⁻⁵³, n inputs and m neurons, sums in any order satisfy

    |f̂(x) − f(x)|  ≤  (n + m + 4) ε Σ_j |u_j| (Σ_i |W_ji| |x_i| + |b_j|)

(Higham 2002, section 3.1, with a margin for second-order terms). An output within this bound counts as 0 in
active subnetworks, smallest subsets, merged elements, faithfulness, margins, sensitivity and arity. The accuracies that
training stores are computed without this bound.
"""

import numpy as np
from jaxtyping import Float, Int, Real

ROUNDOFF = 2.0**-53


def rounding_terms(
    W: Float[np.ndarray, "neuron input"],
    b: Float[np.ndarray, " neuron"],
    u: Float[np.ndarray, " neuron"],
    reach: Float[np.ndarray, " input"],
) -> Float[np.ndarray, " neuron"]:
    """Upper bound, for each neuron, of the rounding error that the neuron adds to the output uᵀ relu(W x + b).

    W, b and u are the weights of the whole network. `reach` is the largest |x_i| over the examples, for each input i.
    The bounds are >= 0 and hold for all examples. If only a group of neurons is kept, the bound of the output is the
    sum of the group's bounds. An output within its bound counts as 0. If the sum of all bounds is not finite, the
    network has diverged. All bounds are then set to 0, so no output other than 0 counts as 0.

    Examples
    --------
    >>> W, b, u = np.array([[1.0, -2.0]]), np.array([0.5]), np.array([2.0])
    >>> rounding_terms(W, b, u, np.ones(2)) / ROUNDOFF
    array([49.])
    """
    W, b, u = (np.abs(values.astype(np.float64)) for values in (W, b, u))
    n_neurons, n_inputs = W.shape
    with np.errstate(over="ignore", invalid="ignore"):
        terms = (n_inputs + n_neurons + 4) * ROUNDOFF * u * (W @ reach + b)
        return terms if np.isfinite(terms.sum()) else np.zeros_like(terms)


def reach_of(inputs: Real[np.ndarray, "example input"]) -> Float[np.ndarray, " input"]:
    """Largest |x_i| over the examples, for each input i; 0 without examples.

    Examples
    --------
    >>> reach_of(np.array([[1, -3], [-1, 2]]))
    array([1., 3.])
    """
    return np.abs(inputs).max(axis=0, initial=0).astype(np.float64)


def prefix_bounds(
    terms: Float[np.ndarray, " neuron"], order: Int[np.ndarray, " neuron"]
) -> Float[np.ndarray, " prefix"]:
    """Rounding bound of the output of the first k neurons in `order`, k = 0, 1, ...; `terms` has one bound per neuron.

    Examples
    --------
    >>> prefix_bounds(np.array([1.0, 2.0]), np.array([1, 0]))
    array([0., 2., 3.])
    """
    return np.append(0.0, np.cumsum(terms[order]))


def rounded(
    outputs: Float[np.ndarray, "*outputs"], bound: Float[np.ndarray, "*bounds"] | float
) -> Float[np.ndarray, "*outputs"]:
    """Outputs, with 0 in place of every output whose absolute value is at most its rounding bound; NaN stays.

    Examples
    --------
    >>> rounded(np.array([1e-17, -1.0, np.nan]), 1e-16)
    array([ 0., -1., nan])
    """
    return np.where(np.abs(outputs) <= bound, 0.0, outputs)
