"""The orthonormal real basis of functions on Z_m: the constant, cos and sin of every frequency.

    1/√m,   √(2/m) cos(2πkt/m),   √(2/m) sin(2πkt/m)   for k = 1, 2, ... < m/2,   and (-1)^t/√m if m is even

There are m of them, in this order: 1, cos 1, sin 1, cos 2, sin 2, ... The alternating term is frequency m/2, which has
no sine. Coefficients are found by FFT. The norm of a frequency in a table, a row per element of Z_m, is what its cosine
and its sine have of the table's norm: √Σ (coefficients)² over both and all columns (Nanda et al. 2023, section 4.1).
"""

import numpy as np
import scipy.fft
from einops import rearrange
from jaxtyping import Float, Int


def n_frequencies(m: int) -> int:
    """Frequencies 1, 2, ... of Z_m besides the constant.

    Examples
    --------
    >>> n_frequencies(113), n_frequencies(96)
    (56, 48)
    """
    return m // 2


def cyclic_basis(m: int) -> Float[np.ndarray, "element function"]:
    """The basis functions as columns, an orthogonal matrix: the slow way to `cyclic_coefficients`.

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
    """What each basis function is called.

    Examples
    --------
    >>> basis_labels(4), basis_labels(3)
    (['1', 'cos 1', 'sin 1', 'cos 2'], ['1', 'cos 1', 'sin 1'])
    """
    return ["1", *(f"{wave} {k}" for k in range(1, n_frequencies(m) + 1) for wave in ("cos", "sin"))][:m]


def frequency_of(m: int) -> Int[np.ndarray, " function"]:
    """The frequency of each basis function, 0 for the constant.

    Examples
    --------
    >>> frequency_of(6).tolist()
    [0, 1, 1, 2, 2, 3]
    """
    return (np.arange(m) + 1) // 2


def cyclic_coefficients(values: Float[np.ndarray, "*shape"], axis: int = 0) -> Float[np.ndarray, "*shape"]:
    """Coefficients in the basis, along an axis, by FFT; an isometry, so sums of squares stay (Parseval).

    Parameters
    ----------
    values
        A function on Z_m along `axis`, in float32 or float64, which the result keeps.

    Returns
    -------
    As `values`, with basis functions in place of elements.

    Examples
    --------
    >>> waves = 3 + 2 * np.cos(2 * np.pi * np.arange(5) / 5)
    >>> (cyclic_coefficients(waves) / np.sqrt([5, 2.5, 2.5, 2.5, 2.5])).round(9) + 0.0
    array([3., 2., 0., 0., 0.])
    """
    values = np.moveaxis(values, axis, 0)
    m = len(values)
    found = scipy.fft.rfft(values, axis=0, norm="ortho")[1:]  # (frequency, ...)
    waves = rearrange([found.real, -found.imag], "wave frequency ... -> (frequency wave) ...")
    constant = values.sum(axis=0, keepdims=True) * values.dtype.type(m**-0.5)
    coefficients = np.concatenate([constant, np.sqrt(values.dtype.type(2)) * waves])[:m]
    if m % 2 == 0:
        coefficients[-1] /= np.sqrt(values.dtype.type(2))
    return np.moveaxis(coefficients, 0, axis)


def frequency_norms(table: Float[np.ndarray, "element feature"]) -> Float[np.ndarray, " frequency"]:
    """Norm of each frequency 1, 2, ... in a table, a row per element of Z_m, in float64.

    Their squares, and that of the constant, add up to the squared Frobenius norm.

    Examples
    --------
    >>> angle = 2 * np.pi * 2 * np.arange(5) / 5
    >>> frequency_norms(np.stack([np.cos(angle), np.sin(angle)], axis=1)).round(6)
    array([0.      , 2.236068])
    """
    norms: np.ndarray = np.sqrt(_squares(table).sum(axis=1))
    return norms


def strongest_frequencies(table: Float[np.ndarray, "element feature"]) -> Int[np.ndarray, " feature"]:
    """The frequency of the largest norm in each column, in 1, 2, ...; the lowest of equal ones.

    Examples
    --------
    >>> angle = 2 * np.pi * np.arange(5) / 5
    >>> strongest_frequencies(np.stack([np.cos(angle), 9 + np.sin(2 * angle)], axis=1))
    array([1, 2])
    """
    return 1 + _squares(table).argmax(axis=0)


def _squares(table: Float[np.ndarray, "element feature"]) -> Float[np.ndarray, "frequency feature"]:
    """Squared coefficients of the cosine and the sine of each frequency together, in float64."""
    squares = cyclic_coefficients(table.astype(np.float64))[1:] ** 2
    sums: np.ndarray = np.add.reduceat(squares, np.arange(0, len(squares), 2), axis=0)
    return sums


def gini(sizes: Float[np.ndarray, " frequency"]) -> float:
    """Gini coefficient of sizes >= 0: 0 when all are equal, 1 - 1/n when one has everything; NaN when all are 0.

    The mean distance of two of them over twice their mean, Σ_ij |a_i - a_j| / (2 n Σ a).

    References
    ----------
    Nanda et al. 2023, section 5.1, of the norms of the frequencies in the embedding and the neuron-to-logit map.

    Examples
    --------
    >>> gini(np.array([1.0, 1.0, 1.0, 1.0])), gini(np.array([0.0, 0.0, 5.0, 0.0]))
    (0.0, 0.75)
    """
    n, total = len(sizes), float(sizes.sum())
    if not total > 0:
        return float("nan")
    ranks = 2 * np.arange(1, n + 1) - n - 1  # in ascending order; sums to the distances of all pairs
    return float(ranks @ np.sort(sizes)) / (n * total)
