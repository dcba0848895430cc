"""The frequency of each neuron: the frequency whose waves explain most of the neuron's variance over all tuples.

The operands x, y and the classes c are elements of the cyclic group of m elements. A neuron's activation a(x, y) is
expanded in products of a basis function of x and a basis function of y. The terms of frequency k, with ω = 2πk/m, are

    linear terms    cos ωx, sin ωx, cos ωy, sin ωy
    products        cos ωx cos ωy, cos ωx sin ωy, sin ωx cos ωy, sin ωx sin ωy

The share of frequency k in the variance is the sum of the squared coefficients of these terms, divided by the sum for
all terms but the constant (Nanda et al. 2023, section 4.3). With K operands, products of 2, 3, ... operands count.

A neuron that multiplies cos(ωx + φ_x) and cos(ωy + φ_y) has a term cos(ω(x + y) + φ_x + φ_y). Suppose that the neuron's
weight to the logit of class c is cos(ωc + φ_out), and that the *phase relation* φ_x + φ_y = φ_out holds. If many such
neurons have different phases φ_out, their contributions to the logit add up (Gromov 2023, arXiv 2301.02679):

    Σ_neurons cos(ω(x + y) + φ_out) cos(ωc + φ_out)  →  cos ω(x + y - c).

The code reads φ_x from the linear terms cos ωx and sin ωx, and φ_y likewise. With two operands, a neuron's products may
explain more of its variance than its linear terms. In this case, the code reads both phases from the products. Neurons
with the activation function z², for example, have only products at their frequency. The products contain a wave of
x + y with the phase φ_x + φ_y, and a wave of x - y with the phase φ_x - φ_y. Half the sum of these two phases is φ_x,
and half their difference is φ_y. Both φ_x and φ_y may be off by π: adding π to both of them changes neither wave.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from circuits.analysis.fourier.basis import cyclic_basis, cyclic_coefficients, n_frequencies

ROUNDING = 1e-6  # a neuron that varies by less than this share of its mean counts as constant (float32)


class NeuronWaves(NamedTuple):
    """For each neuron, the frequency whose waves explain most of its variance, and how these waves explain it.

    Waves of a single operand explain `linear_share`; products of waves of several operands explain `product_share`.
    """

    frequency: Int[np.ndarray, " neuron"]
    """Frequency 1, 2, ..., or 0 if the neuron's values are constant or not finite. At 0, all other fields are NaN."""
    linear_share: Float[np.ndarray, " neuron"]
    """Share of the neuron's variance, in 0..1, on waves of one operand (linear terms) at the neuron's frequency."""
    product_share: Float[np.ndarray, " neuron"]
    """Share of the neuron's variance, in 0..1, on products of waves of different operands, such as cos ωx cos ωy. All
    these waves have the neuron's frequency. Waves of a single operand count in `linear_share`, not here."""
    phase: Float[np.ndarray, "operand neuron"]
    """Phase, in -π..π, of each operand's wave cos(2πkt/m + phase). Here t is the operand, an element of the cyclic
    group Z_m, and k is the neuron's frequency. NaN at k = m/2, which has no sine."""


def spectrum(activations: Float[np.ndarray, "*tuples neuron"]) -> Float[np.ndarray, "*functions neuron"]:
    """Fourier coefficients of every neuron's activations along the axis of each operand.

    `activations` is (m, ..., m, neuron), with one axis per operand; each operand is an element of the cyclic group Z_m.
    The result has the same shape. With two operands, its entry (i, j, neuron) is the coefficient of f_i of the first
    operand times f_j of the second, where f_i is column i of `cyclic_basis(m)`. The code multiplies each axis by a
    matrix. An FFT gives the same result, but takes 3 times as long for a prime m and 1000 neurons.
    """
    m, n_operands = len(activations), activations.ndim - 1
    transform = np.ascontiguousarray(cyclic_basis(m).T, activations.dtype)
    mean = activations.mean(axis=tuple(range(n_operands)))
    values = activations - mean  # without a large mean the rest keeps its digits
    for axis in range(n_operands):
        values = transform @ values.reshape(m**axis, m, -1)
    values = values.reshape(activations.shape)
    values[(0,) * n_operands] += mean * activations.dtype.type(m ** (n_operands / 2))
    return values


def neuron_frequencies(activations: Float[np.ndarray, "*tuples neuron"]) -> NeuronWaves:
    """Frequency, shares and phases of each neuron; `activations` (m, ..., m, neuron) has one axis per operand.

    Examples
    --------
    >>> angle = 2 * np.pi * np.arange(31) / 31
    >>> waves = np.cos(2 * angle[:, None] + 0.5) + np.cos(2 * angle + 0.3)
    >>> neurons = neuron_frequencies(np.maximum(waves, 0)[..., None])
    >>> neurons.frequency, neurons.phase.round(3).ravel()
    (array([2]), array([0.5, 0.3]))
    """
    m, n_operands, n_neurons = len(activations), activations.ndim - 1, activations.shape[-1]
    coefficients = spectrum(activations)
    constant = coefficients[(0,) * n_operands].copy()
    coefficients[(0,) * n_operands] = 0
    squares = np.einsum("tn,tn->n", *[coefficients.reshape(-1, n_neurons)] * 2)
    varies = squares > (ROUNDING * constant) ** 2  # False for NaN
    order = np.indices((3,) * n_operands).astype(bool).sum(axis=0)  # number of operands in a term
    powers = np.zeros((n_operands + 1, n_frequencies(m), n_neurons), coefficients.dtype)
    for k in range(1, n_frequencies(m) + 1):
        terms = coefficients[np.ix_(*[_waves(k, m)] * n_operands)] ** 2
        n_of_term = order[(slice(len(_waves(k, m))),) * n_operands]
        for n in range(1, n_operands + 1):
            powers[n, k - 1] = terms[n_of_term == n].sum(axis=0)
    shares = powers / np.where(varies, squares, np.nan)
    best = shares.sum(axis=0).argmax(axis=0)  # 0 where all are NaN
    linear, product = (part[best, np.arange(n_neurons)] for part in (shares[1], shares[2:].sum(axis=0)))
    phase = np.where(varies, _input_phases(coefficients, best + 1, linear < product), np.nan)
    return NeuronWaves(np.where(varies, best + 1, 0), linear, product, phase)


def output_phases(
    readout: Float[np.ndarray, "neuron element"], frequency: Int[np.ndarray, " neuron"]
) -> Float[np.ndarray, " neuron"]:
    """Phase in -π..π of each neuron's output wave, the part cos(ωc + phase) of its weights to the logits of classes c.

    `readout` holds these weights, with classes in the order of the group Z_m. Here ω = 2πk/m, and k is the neuron's
    `frequency`. The phase is NaN for k = 0 and k = m/2, and for weights without this wave.
    """
    m, neuron = readout.shape[1], np.arange(len(readout))
    coefficients = cyclic_coefficients(readout, axis=1)
    wave = coefficients[neuron, 2 * frequency - 1] - 1j * coefficients[neuron, 2 * frequency % m]
    return np.where((frequency > 0) & (2 * frequency != m) & (wave != 0), np.angle(wave), np.nan)


def phase_residuals(
    phase: Float[np.ndarray, "operand neuron"], output_phase: Float[np.ndarray, " neuron"]
) -> Float[np.ndarray, " neuron"]:
    """Sum of the input phases minus the output phase, in -π..π; 0 if the phase relation φ_x + φ_y = φ_out holds.

    Examples
    --------
    >>> phase_residuals(np.array([[3.0], [3.0]]), np.array([5.0 - 2 * np.pi])).round(6)
    array([1.])
    """
    return np.angle(np.exp(1j * (phase.sum(axis=0) - output_phase)))


def phase_agreement(residuals: Float[np.ndarray, " neuron"], weights: Float[np.ndarray, " neuron"]) -> float:
    """Weighted mean cosine of the `phase_residuals`, in -1..1: 1 if all residuals are 0, about 0 for random phases.

    NaN residuals are skipped; if the weights add up to 0, the mean is NaN.

    Examples
    --------
    >>> phase_agreement(np.array([0.0, 0.0, np.pi, np.nan]), np.array([1.0, 1.0, 2.0, 5.0]))
    0.0
    """
    defined = ~np.isnan(residuals)
    total = float(weights[defined].sum())
    return float((np.cos(residuals[defined]) * weights[defined]).sum() / total) if total else float("nan")


def _waves(k: int, m: int) -> list[int]:
    """Columns in `cyclic_basis(m)`, as indices, of the constant and of cos k and sin k; k = m/2 has no sine."""
    return [place for place in (0, 2 * k - 1, 2 * k) if place < m]


def _input_phases(coefficients: np.ndarray, frequency: np.ndarray, by_products: np.ndarray) -> np.ndarray:
    """Phase φ of each operand's wave cos(ωt + φ) in each neuron, (operand, neuron).

    The operand t is an element of the cyclic group of m elements. ω is 2πk/m for the neuron's `frequency` k; φ is NaN
    if k = m/2. `coefficients` (m, ..., m, neuron) has each neuron's Fourier coefficients, with one axis per operand.
    Usually, the coefficients of cos ωt and sin ωt give φ. If there are two operands x and y, neurons in the mask
    `by_products` get both phases from the coefficients of products instead, such as cos ωx sin ωy.
    """
    m, n_operands, neuron = len(coefficients), coefficients.ndim - 1, np.arange(len(frequency))
    c, s = 2 * frequency - 1, 2 * frequency % m

    def linear(operand: int) -> np.ndarray:
        at = [[place if axis == operand else 0 for axis in range(n_operands)] for place in (c, s)]
        cosine, sine = (coefficients[(*places, neuron)] for places in at)
        return np.angle(cosine - 1j * sine)  # A cos(ωt + φ) = Re A exp(iφ) exp(iωt)

    phases = np.stack([linear(operand) for operand in range(n_operands)])  # (operand, neuron)
    phases[:, 2 * frequency == m] = np.nan  # the alternating term has a sign but no phase
    if n_operands != 2:
        return phases
    cc, cs, sc, ss = (coefficients[x, y, neuron] for x in (c, s) for y in (c, s))
    of_sum, of_difference = np.angle((cc - ss) - 1j * (sc + cs)), np.angle((cc + ss) - 1j * (sc - cs))
    halves = np.stack([of_sum + of_difference, of_sum - of_difference]) / 2
    return np.where(by_products & (2 * frequency != m), np.angle(np.exp(1j * halves)), phases)
