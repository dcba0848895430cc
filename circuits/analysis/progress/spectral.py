"""Sizes of the weights: the norm of all parameters and of each layer, and two norms of every weight matrix.

The spectral norm ‖A‖₂ is the largest singular value, the largest factor by which A stretches a vector. The Frobenius
norm is the root of the sum of all squared singular values, so ‖A‖₂ ≤ ‖A‖_F ≤ √rank ‖A‖₂. Fuangkawinsombut 2024, section
2.2.3, follows the spectral norm through memorization and generalization.

A layer is the parameters whose names agree up to the last dot, such as hidden.0.W and hidden.0.b. In the relu model, W
and b are the layer "hidden", and u is "readout". A recurrent layer's parameters form one layer, such as "recurrent.0".
"""

import math
import re
from collections.abc import Mapping

import numpy as np
from einops import rearrange
from jaxtyping import Float

from circuits.config import Config

READOUTS = ("w", "readout.W")  # like u of the relu model, vectors that count as matrices of one row


def spectral_norm(matrix: Float[np.ndarray, "row column"]) -> float:
    """Largest singular value, >= 0; NaN or infinity if an entry is NaN or infinite.

    It is computed as the root of the largest eigenvalue of the smaller Gram matrix, in float64. The relative
    error, mostly of that matrix and of the eigenvalue solver, is about 10⁻¹⁴ for up to a few hundred rows or columns.

    Examples
    --------
    >>> spectral_norm(np.array([[3.0, 0.0], [0.0, -4.0], [0.0, 0.0]]))
    4.0
    """
    matrix = matrix.astype(np.float64)
    largest = float(np.abs(matrix).max(initial=0.0))
    if largest == 0 or not math.isfinite(largest):
        return largest
    scale = math.ldexp(1.0, math.frexp(largest)[1])  # a power of two: squares neither overflow nor vanish
    matrix = matrix / scale
    gram = matrix @ matrix.T if len(matrix) <= matrix.shape[1] else matrix.T @ matrix
    return scale * math.sqrt(max(float(np.linalg.eigvalsh(gram)[-1]), 0.0))


def frobenius_norm(values: Float[np.ndarray, "*any"]) -> float:
    """Root of the sum of squares of all entries, in float64.

    Examples
    --------
    >>> frobenius_norm(np.array([[3.0, 0.0], [0.0, -4.0]]))
    5.0
    """
    return float(np.linalg.norm(values.astype(np.float64).ravel()))


def matrix_names(config: Config) -> list[str]:
    """Names of the weight matrices: all parameters of at least two dimensions except biases; also a readout vector.

    Examples
    --------
    >>> import circuits
    >>> matrix_names(circuits.preset("merrill-2023")), len(matrix_names(circuits.preset("nanda-2023")))
    (['W', 'u'], 9)
    """
    readouts = {*READOUTS, *(config.model.relu_parameters or ())[2:]}

    def is_matrix(name: str, dims: tuple[str, ...]) -> bool:
        return name in readouts or (len(dims) >= 2 and not name.rpartition(".")[2].startswith("b"))

    return [name for name, (dims, _) in config.shapes.items() if is_matrix(name, dims)]


def as_matrix(values: Float[np.ndarray, "*any"], dims: tuple[str, ...]) -> Float[np.ndarray, "row column"]:
    """A parameter as one matrix, with all attention heads together.

    A vector is one row. The dimensions `head` and `d_head` are joined, so W_Q (head, d_model, d_head) maps d_model to
    the queries of all heads. Without these two dimensions, all dimensions before the last are joined.

    Examples
    --------
    >>> as_matrix(np.zeros((4, 12, 3)), ("head", "d_model", "d_head")).shape
    (12, 12)
    """
    if values.ndim < 3:
        return np.atleast_2d(values)
    rows = ("head", "d_head") if {"head", "d_head"} < set(dims) else dims[:-1]
    axes = {dim: f"axis{at}" for at, dim in enumerate(dims)}  # einops refuses names of a recorded module, such as 0_out
    kept, others = ([axes[dim] for dim in dims if (dim in rows) == is_row] for is_row in (True, False))
    return rearrange(values, f"{' '.join(axes.values())} -> ({' '.join(kept)}) ({' '.join(others)})")


def layer_of_parameter(config: Config) -> dict[str, str]:
    """Layer of each parameter, by the parameter's name.

    Examples
    --------
    >>> import circuits
    >>> layer_of_parameter(circuits.preset("merrill-2023"))
    {'W': 'hidden', 'b': 'hidden', 'u': 'readout'}
    """
    relu = dict(zip(config.model.relu_parameters or (), ("hidden", "hidden", "readout"), strict=False))

    def layer(name: str) -> str:
        recurrent = re.fullmatch(r"(?:weight|bias)_\w+_l(\d+)", name)
        return relu.get(name) or (f"recurrent.{recurrent[1]}" if recurrent else name.rpartition(".")[0] or name)

    return {name: layer(name) for name in config.shapes}


def layer_norms(parameters: Mapping[str, np.ndarray], layer_of: Mapping[str, str]) -> dict[str, float]:
    """L2 norm of all parameters of each layer; the squares add up to the squared norm of the whole network.

    Examples
    --------
    >>> layer_norms({"a.W": np.array([[3.0]]), "a.b": np.array([4.0])}, {"a.W": "a", "a.b": "a"})
    {'a': 5.0}
    """
    squares: dict[str, float] = {}
    for name, values in parameters.items():
        squares[layer_of[name]] = squares.get(layer_of[name], 0.0) + frobenius_norm(np.asarray(values)) ** 2
    return {layer: math.sqrt(square) for layer, square in squares.items()}
