"""Shares of the logits that waves of x + y explain, and the key frequencies, whose share is large at the end.

A network that adds by trigonometry gives class c the logit Σ_k A_k cos(2πk(x + y - c)/m). Each cosine is largest at
c = x + y, the right class (Nanda et al. 2023, section 3). Here m is the number of elements of the cyclic group Z_m, and
k is a frequency from 1 to m/2. The operands x, y and the classes c are elements of Z_m. A tuple is one choice of the K
operands, such as a pair (x, y). The shares are computed from the logits of all m^K tuples, in these steps:

1. From each logit, subtract the mean over classes of the tuple's logits: a softmax ignores a term that all classes
   share. The results are the centered logits.
2. Add up the squares of the centered logits, over tuples and classes. This sum is the *total*.
3. For each class, average the centered logit over tuples. This average is the *bias* of the class. If all centered
   logits were equal to the biases, their sum of squares would be m^K Σ bias². `bias_share` is this sum / total.
4. For each k, `share` is the part of the total that the wave cos(2πk(x + y - c)/m) explains, divided by the total.
5. Subtract each class's bias from the class's centered logits. The sum of squares of the differences is the *variance
   over tuples*. For each k, `wave_share` is the share of this variance that cos and sin of 2πk(x + y)/m explain, with
   any weights per class.

A frequency k is *key* if its `share` at the end of training is at least 1/m. If all m/2 frequencies had the same share
and explained everything, each share would be 2/m, twice this threshold. In random logits each `share` is about
1/m^(K+1). Now suppose that a network only memorizes: it knows the answers to a fraction f of all tuples. Let the logit
of a known answer be 1, and all other logits 0. Then each `share` for k < m/2 is 2f/(m - 1), which is below the
threshold if f is below (m - 1)/(2m). Each `wave_share` of this network is above 0.
"""

from typing import NamedTuple

import numpy as np
import scipy.fft
from jaxtyping import Bool, Float, Float64, Int

from circuits.analysis.fourier.basis import frequency_norms, n_frequencies

ROUNDING = 1e-28  # share of a sum of squares that counts as 0: (1e-14)², above float64's 2e-16


class LogitWaves(NamedTuple):
    """Waves of the operands' sum s in a network's logits, and the shares of the logits that these waves explain.

    For each frequency k = 1, 2, ..., the logit of class c contains the waves cosine_k cos(2πk(s - c)/m) and
    sine_k sin(2πk(s - c)/m). Here s and c are elements of the cyclic group of m elements.
    """

    cosine: Float64[np.ndarray, " frequency"]
    sine: Float64[np.ndarray, " frequency"]
    share: Float64[np.ndarray, " frequency"]
    """For each frequency k, share of cos(2πk(s - c)/m) in the logits' sum of squares. The tuple's sum s and the class c
    are elements of the cyclic group of m elements. Each tuple's mean over classes is first subtracted, but not the
    class biases. In 0..1; NaN if each tuple has the same logit for all classes."""
    wave_share: Float64[np.ndarray, " frequency"]
    """For each frequency k, how much of the logits' variance over tuples a fit with cos and sin of 2πks/m explains. The
    fit has two weights per class; s is the tuple's sum in the cyclic group. In 0..1; NaN if this variance is 0."""
    bias_share: float
    """Share of the class biases (each class's mean logit over tuples) in the logits' sum of squares. Each tuple's mean
    over classes is first subtracted. In 0..1; NaN if each tuple has the same logit for all classes."""


def logit_frequencies(
    by_sum: Float[np.ndarray, "element tuple_of_sum class"], classes: Int[np.ndarray, " element"]
) -> LogitWaves:
    """Waves of the operands' sum in the logits: amplitudes and shares for each frequency; see `LogitWaves`.

    `by_sum` holds the logits of all tuples, grouped by the sum of operands as in `CyclicGroup.by_sum`. `classes` is
    `CyclicGroup.classes`. Logits of other classes, such as class 0 for products, are dropped.

    Examples
    --------
    >>> waves = 9 * np.cos(2 * np.pi * (np.arange(5)[:, None] - np.arange(5)) / 5)
    >>> amplitudes = logit_frequencies(np.repeat(waves[:, None], 5, axis=1), np.arange(5))
    >>> amplitudes.cosine.round(6) + 0.0, amplitudes.share.round(6) + 0.0
    (array([9., 0.]), array([1., 0.]))
    """
    m = len(classes)
    logits = by_sum[:, :, classes].astype(np.float64)
    logits -= logits.mean(axis=2, keepdims=True)
    averaged = logits.mean(axis=1)
    k = np.arange(1, n_frequencies(m) + 1)
    amplitudes = scipy.fft.fft2(averaged)[k, -k]  # Σ L̄(s, c) exp(-2πik(s - c)/m)
    norm = np.where(2 * k == m, m**2, m**2 / 2)  # Σ cos² over sums and classes
    amplitude = amplitudes / norm
    total = _sum_of_squares(logits, by_sum)
    explained = by_sum.shape[1] * amplitude.real**2 * norm
    biases = logits.shape[0] * logits.shape[1] * float((averaged.mean(axis=0) ** 2).sum())
    share = explained / total if total else np.full(len(k), np.nan)
    bias_share = biases / total if total else float("nan")
    return LogitWaves(amplitude.real, -amplitude.imag, share, wave_shares(logits), bias_share)


def wave_shares(values: Float[np.ndarray, "element tuple_of_sum class"]) -> Float64[np.ndarray, " frequency"]:
    """Share of the variance over tuples that waves of the tuple's sum explain, for each frequency of the waves.

    Row s of `values` holds the tuples whose operands have the sum s in the cyclic group of m elements. The code first
    subtracts each class's mean over tuples. For each frequency k, the result is the share, in 0..1, that cos and sin of
    2πks/m explain. Each class has its own weights of cos and sin. The shares add up to at most 1, and to 1 for
    functions of s alone. NaN if the values do not vary.

    Examples
    --------
    One class is a wave of frequency 2. The other class is a constant bias, which adds no variance:

    >>> values = np.zeros((5, 5, 2))
    >>> values[:, :, 0] = np.sin(2 * np.pi * 2 * np.arange(5) / 5)[:, None]
    >>> values[:, :, 1] = 100.0
    >>> wave_shares(values).round(6) + 0.0
    array([0., 1.])
    """
    deviations = values.astype(np.float64)
    deviations -= deviations.mean(axis=(0, 1), keepdims=True)
    total = _sum_of_squares(deviations, values)
    if not total:
        return np.full(n_frequencies(len(values)), np.nan)
    return values.shape[1] * frequency_norms(deviations.mean(axis=1)) ** 2 / total


def _sum_of_squares(deviations: Float[np.ndarray, "*any"], values: Float[np.ndarray, "*all"]) -> float:
    """Σ deviations², for the deviations of `values` from a mean; 0 if the deviations are rounding errors."""
    total = float((deviations**2).sum())
    return total if total > ROUNDING * float((values.astype(np.float64) ** 2).sum()) else 0.0


def least_key_share(m: int) -> float:
    """Default threshold for key frequencies of Z_m: a cosine needs a share of 1/m of the logits' sum of squares.

    Examples
    --------
    >>> least_key_share(100)
    0.01
    """
    return 1 / m


def key_frequencies(share: Float[np.ndarray, "*seeds frequency"], least: float) -> Bool[np.ndarray, "*seeds frequency"]:
    """Mask of the key frequencies: the cosine of each has a share >= `least` (in 0..1) of the logits' sum of squares.

    `share` is a field of `LogitWaves`; a frequency with a NaN share is not key.

    Examples
    --------
    >>> key_frequencies(np.array([0.5, 0.001, 0.2]), least_key_share(7))
    array([ True, False,  True])
    """
    return share >= least
