"""The logits as waves of x + y - c, and the key frequencies: those that carry the logits at the end.

A network that adds by trigonometry has logits Σ_k A_k cos(2πk(x + y - c)/m), each largest at c = x + y (Nanda et al.
2023, section 3). A_k is found from the logits averaged over the tuples of equal sum s, by a 2-D FFT over s and c. A
softmax does not see what is the same for all classes, so the mean over classes is subtracted from each tuple's logits
first. The share of frequency k is what its cosine has of the sum of squares that is left.

A frequency is *key* if its share at the end of training is at least 1/m, half of what each of the m/2 frequencies has
if they share the logits equally. Of random logits each has 1/m^(K+1). A lookup table, right on a part f of the tuples
and zero elsewhere, has 2f/(m - 1) at every frequency: none is key while f is below a half, but waves of x + y it has.
"""

from typing import NamedTuple

import numpy as np
import scipy.fft
from jaxtyping import Bool, Float, Float64, Int

from circuits.analysis.cyclic_basis import n_frequencies


class LogitWaves(NamedTuple):
    """Of each frequency 1, 2, ...: logits = Σ_k cosine_k cos(2πk(s - c)/m) + sine_k sin(2πk(s - c)/m) + the rest."""

    cosine: Float64[np.ndarray, " frequency"]
    sine: Float64[np.ndarray, " frequency"]
    share: Float64[np.ndarray, " frequency"]
    """What the cosine explains of the logits' variance over tuples and classes, in 0..1; NaN if all are equal."""


def logit_waves(
    by_sum: Float[np.ndarray, "element tuple_of_sum class"], classes: Int[np.ndarray, " element"]
) -> LogitWaves:
    """Amplitude of each wave of x + y - c in the logits, and its share.

    Parameters
    ----------
    by_sum
        Logits of all tuples, those of equal sum together, as `CyclicGroup.by_sum` orders them.
    classes
        The class at each element; a class that is at none, 0 of products, is left out.

    Examples
    --------
    >>> waves = 9 * np.cos(2 * np.pi * (np.arange(5)[:, None] - np.arange(5)) / 5)
    >>> found = logit_waves(np.repeat(waves[:, None], 5, axis=1), np.arange(5))
    >>> found.cosine.round(6) + 0.0, found.share.round(6) + 0.0
    (array([9., 0.]), array([1., 0.]))
    """
    m = len(classes)
    logits = by_sum[:, :, classes].astype(np.float64)
    logits -= logits.mean(axis=2, keepdims=True)
    averaged = logits.mean(axis=1)
    k = np.arange(1, n_frequencies(m) + 1)
    found = scipy.fft.fft2(averaged)[k, -k]  # Σ L̄(s, c) exp(-2πik(s - c)/m)
    norm = np.where(2 * k == m, m**2, m**2 / 2)  # Σ cos² over sums and classes
    amplitude = found / norm
    total = float((logits**2).sum())
    explained = by_sum.shape[1] * amplitude.real**2 * norm
    share = explained / total if total else np.full(len(k), np.nan)
    return LogitWaves(amplitude.real, -amplitude.imag, share)


def least_key_share(m: int) -> float:
    """The share from which a frequency is key, if no other is asked for.

    Examples
    --------
    >>> least_key_share(100)
    0.01
    """
    return 1 / m


def key_frequencies(share: Float[np.ndarray, "*seeds frequency"], least: float) -> Bool[np.ndarray, "*seeds frequency"]:
    """Which frequencies are key: their cosine of x + y - c explains at least this share of the logits' variance.

    Parameters
    ----------
    share
        As `logit_waves` gives it; NaN is not key.
    least
        A share in 0..1, such as `least_key_share`.

    Examples
    --------
    >>> key_frequencies(np.array([0.5, 0.001, 0.2]), least_key_share(7))
    array([ True, False,  True])
    """
    return share >= least
