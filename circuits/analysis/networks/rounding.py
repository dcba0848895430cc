"""Which outputs of uᵀ relu(W x + b) are 0 as far as float64 can tell.

Where neurons cancel, the exact output is 0 and the computed one is what rounding leaves, of either sign. With unit
roundoff ε = 2⁻⁵³, n inputs and m neurons, sums in any order satisfy

    |f̂(x) − f(x)|  ≤  (n + m + 4) ε Σ_j |u_j| (Σ_i |W_ji| |x_i| + |b_j|)

(Higham 2002, section 3.1, with a margin for second-order terms). An output within this bound counts as 0 for the
active subnetwork, the smallest subset, merged elements, faithfulness, margins, sensitivity and arity alike. Accuracies
while training are those of the training's own arithmetic.
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
    """How far each neuron's term can be off by rounding, so that bounds of subsets are sums over their neurons.

    Parameters
    ----------
    W, b, u
        (neuron, input), (neuron,), (neuron,) of the whole network.
    reach
        (input,) largest |x_i| over the inputs that are looked at, see `reach_of`.

    Returns
    -------
    (neuron,) >= 0. All 0 for a network whose bound is not finite: it has diverged, and nothing is rounded to 0.

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
    """Largest |x_i| of every input over the examples; 0 where there is no example.

    Examples
    --------
    >>> reach_of(np.array([[1, -3], [-1, 2]]))
    array([1., 3.])
    """
    return np.abs(inputs).max(axis=0, initial=0).astype(np.float64)


def prefix_bounds(
    terms: Float[np.ndarray, " neuron"], order: Int[np.ndarray, " neuron"]
) -> Float[np.ndarray, " prefix"]:
    """Rounding bound of the sum over the first k neurons in `order`, for k = 0..neuron.

    Examples
    --------
    >>> prefix_bounds(np.array([1.0, 2.0]), np.array([1, 0]))
    array([0., 2., 3.])
    """
    return np.append(0.0, np.cumsum(terms[order]))


def rounded(
    outputs: Float[np.ndarray, "*outputs"], bound: Float[np.ndarray, "*bounds"] | float
) -> Float[np.ndarray, "*outputs"]:
    """Outputs, 0 where they are within their rounding bound of it; NaN stays.

    Examples
    --------
    >>> rounded(np.array([1e-17, -1.0, np.nan]), 1e-16)
    array([ 0., -1., nan])
    """
    return np.where(np.abs(outputs) <= bound, 0.0, outputs)
