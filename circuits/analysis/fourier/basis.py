"""The orthonormal real basis of functions of t in Z_m: the constant, cos and sin of every frequency.

    1/√m,   √(2/m) cos(2πkt/m),   √(2/m) sin(2πkt/m)   for k = 1, 2, ... < m/2,   and (-1)^t/√m if m is even

The m functions are in the order 1, cos 1, sin 1, cos 2, sin 2, ... The alternating term is frequency m/2, which has no
sine. An FFT computes the coefficients. In a table with a row per element of Z_m, the norm of a frequency is √Σ c². The
sum is over the coefficients c of the frequency's cosine and sine in all columns (Nanda et al. 2023, section 4.1).
"""

import numpy as np
import scipy.fft
from einops import rearrange
from jaxtyping import Float, Int


def n_frequencies(m: int) -> int:
    """Number of frequencies 1, 2, ... of Z_m, without the constant.

    Examples
    --------
    >>> n_frequencies(113), n_frequencies(96)
    (56, 48)
    """
    return m // 2


def cyclic_basis(m: int) -> Float[np.ndarray, "element function"]:
    """Basis functions of Z_m as the columns of an orthogonal matrix.

    Examples
    --------
    >>> cyclic_basis(2).round(3).tolist()
    [[0.707, 0.707], [0.707, -0.707]]
    """
    angles = 2 * np.pi / m * (np.outer(np.arange(m), np.arange(1, n_frequencies(m) + 1)) % m)  # (element, frequency)
    waves = rearrange([np.cos(angles), np.sin(angles)], "wave element frequency -> element (frequency wave)")
    basis = np.concatenate([np.full((m, 1), m**-0.5), np.sqrt(2 / m) * waves], axis=1)[:, :m]
    if m % 2 == 0:
        basis[:, -1] /= np.sqrt(2)
    return basis


def basis_labels(m: int) -> list[str]:
    """Names of the basis functions of Z_m.

    Examples
    --------
    >>> basis_labels(4), basis_labels(3)
    (['1', 'cos 1', 'sin 1', 'cos 2'], ['1', 'cos 1', 'sin 1'])
    """
    return ["1", *(f"{wave} {k}" for k in range(1, n_frequencies(m) + 1) for wave in ("cos", "sin"))][:m]


def cyclic_coefficients(values: Float[np.ndarray, "*shape"], axis: int = 0) -> Float[np.ndarray, "*shape"]:
    """Coefficients in `cyclic_basis` along an axis, by FFT; the transform keeps sums of squares (Parseval).

    `values` (float32 or float64) is a function on Z_m along `axis`. The result has the same shape and dtype, with basis
    functions instead of elements along `axis`.

    Examples
    --------
    >>> waves = 3 + 2 * np.cos(2 * np.pi * np.arange(5) / 5)
    >>> (cyclic_coefficients(waves) / np.sqrt([5, 2.5, 2.5, 2.5, 2.5])).round(9) + 0.0
    array([3., 2., 0., 0., 0.])
    """
    values = np.moveaxis(values, axis, 0)
    m = len(values)
    transformed = scipy.fft.rfft(values, axis=0, norm="ortho")[1:]  # (frequency, ...)
    waves = rearrange([transformed.real, -transformed.imag], "wave frequency ... -> (frequency wave) ...")
    constant = values.sum(axis=0, keepdims=True) * values.dtype.type(m**-0.5)
    coefficients = np.concatenate([constant, np.sqrt(values.dtype.type(2)) * waves])[:m]
    if m % 2 == 0:
        coefficients[-1] /= np.sqrt(values.dtype.type(2))
    return np.moveaxis(coefficients, 0, axis)


def frequency_norms(table: Float[np.ndarray, "element feature"]) -> Float[np.ndarray, " frequency"]:
    """Norm of each frequency 1, 2, ... in a table with a row per element of Z_m, in float64.

    The squared norms, and the squares of the constant's coefficients, add up to the squared Frobenius norm.

    Examples
    --------
    >>> angle = 2 * np.pi * 2 * np.arange(5) / 5
    >>> frequency_norms(np.stack([np.cos(angle), np.sin(angle)], axis=1)).round(6)
    array([0.      , 2.236068])
    """
    return np.sqrt(_squares(table).sum(axis=1))


def strongest_frequencies(table: Float[np.ndarray, "element feature"]) -> Int[np.ndarray, " feature"]:
    """Strongest frequency of each column of `table`, a number from 1 to m/2; ties go to the lower frequency.

    A column has one value for each of the m elements of a cyclic group. The strength of a frequency is the sum of the
    squared coefficients of its cosine and sine in the column.

    Examples
    --------
    >>> angle = 2 * np.pi * np.arange(5) / 5
    >>> strongest_frequencies(np.stack([np.cos(angle), 9 + np.sin(2 * angle)], axis=1))
    array([1, 2])
    """
    return 1 + _squares(table).argmax(axis=0)


def _squares(table: Float[np.ndarray, "element feature"]) -> Float[np.ndarray, "frequency feature"]:
    """Sum of the squared coefficients of each frequency's cosine and sine, in float64."""
    squares = cyclic_coefficients(table.astype(np.float64))[1:] ** 2
    return np.add.reduceat(squares, np.arange(0, len(squares), 2), axis=0)


def gini(sizes: Float[np.ndarray, " frequency"]) -> float:
    """Gini coefficient of n sizes >= 0: 0 if all are equal, 1 - 1/n if all but one are 0, NaN if all are 0.

    The coefficient is the mean |a_i - a_j| over all i, j, divided by twice the mean size: Σ_ij |a_i - a_j| / (2 n Σ a).
    Nanda et al. 2023, section 5.1, compute it for the frequencies' norms in the embedding and the neuron-to-logit map.

    Examples
    --------
    >>> gini(np.array([1.0, 1.0, 1.0, 1.0])), gini(np.array([0.0, 0.0, 5.0, 0.0]))
    (0.0, 0.75)
    """
    n, total = len(sizes), float(sizes.sum())
    if not total > 0:
        return float("nan")
    ranks = 2 * np.arange(1, n + 1) - n - 1  # weights of ascending sizes in the sum of all distances
    return float(ranks @ np.sort(sizes)) / (n * total)
