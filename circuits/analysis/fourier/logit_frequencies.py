"""Shares of a network's logits that waves of x + y explain, and the key frequencies, whose share is large at the end.

A network that adds by trigonometry gives class c the logit Σ_k A_k cos(2πk(x + y - c)/m). Each cosine is largest at the
right class, c = x + y (Nanda et al. 2023, section 3). The words and letters are:

    m        number of elements of the cyclic group Z_m; the operands x, y and the classes c are elements of Z_m
    k        a frequency from 1 to m/2
    tuple    one choice of all K operands, such as a pair (x, y); there are m^K tuples

From the logits of each tuple, their mean over classes is subtracted: a softmax ignores a term that all classes share.
The results are the *centered logits*. If subtracting a fit reduces a sum of squares by some share, the fit *explains*
this share. For a frequency k, `share` is the share of the centered logits' sum of squares that A cos(2πk(x + y - c)/m)
explains, with the same A for all classes. `wave_share` is the share of the centered logits' variance over tuples that
cos and sin of 2πk(x + y)/m explain; each class has its own weights of the two waves.

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
    """Waves of the operands' sum s in a network's logits: their amplitudes, and how much of the logits they explain.

    For each frequency k = 1, 2, ..., the logit of class c contains the waves cosine_k cos(2πk(s - c)/m) and
    sine_k sin(2πk(s - c)/m). Here s and c are elements of the cyclic group of m elements. `share` is the share of
    the logits that the cosine explains. `wave_share` is the share that waves of s explain, with weights for each class.
    `bias_share` is the share that one constant per class explains.
    """

    cosine: Float64[np.ndarray, " frequency"]
    sine: Float64[np.ndarray, " frequency"]
    share: Float64[np.ndarray, " frequency"]
    """For each frequency k, the share of the logits' sum of squares that the wave cos(2πk(s - c)/m) explains, in 0..1.
    Here s is the sum of an input's operands, and c is the class; both are elements of the cyclic group of m elements.
    First, each input's mean logit over classes is subtracted. Each class's mean logit over inputs is not subtracted.
    The share is NaN if each input has the same logit for all classes."""
    wave_share: Float64[np.ndarray, " frequency"]
    """For each frequency k, the share of the logits' variance that the waves of frequency k explain, in 0..1. The waves
    are cos(2πks/m) and sin(2πks/m), where s is the sum of an input's operands in the cyclic group of m elements. Each
    class has its own weights of the two waves. First, each input's mean logit over classes is subtracted. The variance
    is over the inputs, summed over classes. The share is NaN if the variance is 0."""
    bias_share: float
    """Share of the logits' sum of squares that constant biases explain, in 0..1. First, each input's mean logit over
    classes is subtracted. The bias of a class is then the mean of this class's logits over all inputs. The share is NaN
    if each input has the same logit for all classes."""


def logit_frequencies(
    by_sum: Float[np.ndarray, "element tuple_of_sum class"], classes: Int[np.ndarray, " element"]
) -> LogitWaves:
    """Amplitudes of waves in the logits, and the shares of the logits that the waves explain, for each frequency.

    The task's operation is written as a sum s mod m. For x * y, s is log x + log y, with discrete logarithms. Row s of
    `by_sum` holds the logits of all inputs with the sum s, and `classes[s]` is the right class of these inputs. The
    waves are cosines and sines; `LogitWaves` has the formulas. For products and quotients, class 0 is left out.

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
    """For each frequency k = 1, 2, ..., the share of the variance of `values` that waves of frequency k explain.

    Row s of `values` holds the tuples of operands with the sum s in the cyclic group of m elements. The variance is
    over all tuples, summed over classes. The waves are cos(2πks/m) and sin(2πks/m), with separate weights per class.
    The shares are in 0..1, or NaN if no value varies. Their sum is at most 1, and 1 if the values depend on s alone.

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
    """Mask of the key frequencies: the frequencies whose `share` is at least `least`, in 0..1.

    For each frequency k, `share` is the share of the logits' sum of squares that cos(2πk(s - c)/m) explains. Here s is
    the sum of the operands, and c is the class, in the cyclic group of m elements. A NaN share is not key.

    Examples
    --------
    >>> key_frequencies(np.array([0.5, 0.001, 0.2]), least_key_share(7))
    array([ True, False,  True])
    """
    return share >= least
