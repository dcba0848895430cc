"""How much of the logits waves of x + y are, by two shares, and the key frequencies: those that carry them at the end.

A network that adds by trigonometry has logits Σ_k A_k cos(2πk(x + y - c)/m), each largest at c = x + y (Nanda et al.
2023, section 3). A softmax does not see what is the same for all classes, so each tuple's mean over classes is
subtracted from its logits first. The sum of squares that is left has three parts: constant class biases, which are the
logits' mean over tuples; waves of x + y in any direction of the classes; the rest. For frequency k

    share         what cos(2πk(x + y - c)/m) alone has of the sum of squares, class biases included
    wave_share    what cos and sin of 2πk(x + y)/m have, whatever their coefficients on the classes, of the sum of
                  squares without class biases: of the logits' variance over tuples
    bias_share    what the class biases have of the sum of squares

A frequency is *key* if its `share` at the end of training is at least 1/m, half of what each of the m/2 frequencies has
if they share the logits equally. The losses of `restricted_loss` keep, or remove, what `wave_share` counts. Of random
logits each frequency has a share of 1/m^(K+1). A lookup table, right on a part f of the tuples and zero elsewhere, has
2f/(m - 1) at every frequency: none is key while f is below a half, but waves of x + y it has.
"""

from typing import NamedTuple

import numpy as np
import scipy.fft
from jaxtyping import Bool, Float, Float64, Int

from circuits.analysis.fourier.basis import frequency_norms, n_frequencies

ROUNDING = 1e-28  # of a sum of squares: (1e-14)², above float64's 2e-16


class LogitWaves(NamedTuple):
    """Of each frequency 1, 2, ...: logits = Σ_k cosine_k cos(2πk(s - c)/m) + sine_k sin(2πk(s - c)/m) + the rest."""

    cosine: Float64[np.ndarray, " frequency"]
    sine: Float64[np.ndarray, " frequency"]
    share: Float64[np.ndarray, " frequency"]
    """What the cosine has of the sum of squares, class biases included, in 0..1; NaN if all logits are equal."""
    wave_share: Float64[np.ndarray, " frequency"]
    """What waves of s have in any direction of the classes, of the variance over tuples, in 0..1; NaN if that is 0."""
    bias_share: float
    """What constant class biases have of the sum of squares, in 0..1; NaN if all logits are equal."""


def logit_frequencies(
    by_sum: Float[np.ndarray, "element tuple_of_sum class"], classes: Int[np.ndarray, " element"]
) -> LogitWaves:
    """Amplitude of each wave of x + y - c in the logits, and the shares of the logits that are waves and biases.

    Parameters
    ----------
    by_sum
        Logits of all tuples, those of equal sum together, as `CyclicGroup.by_sum` orders them.
    classes
        The class at each element; a class that is at none, 0 of products, is left out.

    Examples
    --------
    >>> waves = 9 * np.cos(2 * np.pi * (np.arange(5)[:, None] - np.arange(5)) / 5)
    >>> found = logit_frequencies(np.repeat(waves[:, None], 5, axis=1), np.arange(5))
    >>> found.cosine.round(6) + 0.0, found.share.round(6) + 0.0
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
    return LogitWaves(
        amplitude.real, -amplitude.imag, share, wave_shares(logits), biases / total if total else float("nan")
    )


def wave_shares(values: Float[np.ndarray, "element tuple_of_sum class"]) -> Float64[np.ndarray, " frequency"]:
    """Share of values' variance over tuples on cos and sin of 2πk s/m, in any direction of the classes.

    Parameters
    ----------
    values
        A number per tuple and class, tuples of equal sum s together. Each class is taken about its mean over tuples.

    Returns
    -------
    Of each frequency 1, 2, ..., in 0..1; together at most 1, and 1 for functions of s alone. NaN if nothing varies.

    Examples
    --------
    A wave of one class, beside a larger bias of another, is all the variance:

    >>> values = np.zeros((5, 5, 2))
    >>> values[:, :, 0] = np.sin(2 * np.pi * 2 * np.arange(5) / 5)[:, None]
    >>> values[:, :, 1] = 100.0
    >>> wave_shares(values).round(6) + 0.0
    array([0., 1.])
    """
    about_mean = values.astype(np.float64)
    about_mean -= about_mean.mean(axis=(0, 1), keepdims=True)
    total = _sum_of_squares(about_mean, values)
    if not total:
        return np.full(n_frequencies(len(values)), np.nan)
    return values.shape[1] * frequency_norms(about_mean.mean(axis=1)) ** 2 / total


def _sum_of_squares(left: Float[np.ndarray, "*any"], of: Float[np.ndarray, "*all"]) -> float:
    """Σ left², where `left` is what a mean leaves of some numbers; 0 if it is their rounding."""
    total = float((left**2).sum())
    return total if total > ROUNDING * float((of.astype(np.float64) ** 2).sum()) else 0.0


def least_key_share(m: int) -> float:
    """The share from which a frequency is key, if no other is asked for.

    Examples
    --------
    >>> least_key_share(100)
    0.01
    """
    return 1 / m


def key_frequencies(share: Float[np.ndarray, "*seeds frequency"], least: float) -> Bool[np.ndarray, "*seeds frequency"]:
    """Which frequencies are key: cos ω(x + y - c) has at least this share of the logits' sum of squares.

    Parameters
    ----------
    share
        `share` of `logit_frequencies`; NaN is not key.
    least
        A share in 0..1, such as `least_key_share`.

    Examples
    --------
    >>> key_frequencies(np.array([0.5, 0.001, 0.2]), least_key_share(7))
    array([ True, False,  True])
    """
    return share >= least
