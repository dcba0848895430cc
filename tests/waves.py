"""Logits and groups made by hand, for the tests of Fourier analysis."""

import numpy as np

from circuits.analysis.fourier.basis import cyclic_basis, n_frequencies
from circuits.analysis.fourier.cyclic import CyclicGroup


def wave_logits(group: CyclicGroup, amplitudes: dict[int, float], n_classes: int | None = None) -> np.ndarray:
    """Σ_k amplitude_k cos(2πk(s - c)/m), (tuple, class), the classes where the group has them."""
    m = group.order
    differences = group.sums[:, None] - np.arange(m)
    logits = np.zeros((len(group.sums), n_classes or m))
    for k, amplitude in amplitudes.items():
        logits[:, group.classes] += amplitude * np.cos(2 * np.pi * k * differences / m)
    return logits


def waves_of_the_sum(group: CyclicGroup, frequencies) -> np.ndarray:
    """The functions cos and sin of these frequencies of the sum, over all tuples, orthonormal: (tuple, function)."""
    m = group.order
    places = [place for k in frequencies for place in (2 * k - 1, 2 * k) if place < m]
    waves = cyclic_basis(m)[group.sums][:, places]
    return waves / np.linalg.norm(waves, axis=0)


def plain_losses(logits: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """-log softmax at the target, example by example."""
    found = []
    for row, target in zip(logits, targets, strict=True):
        top = row.max()
        found.append(top + np.log(np.exp(row - top).sum()) - row[target])
    return np.array(found)


def each(m: int) -> np.ndarray:
    """Every frequency alone, as subsets."""
    return np.eye(n_frequencies(m), dtype=bool)


def subset(m: int, *frequencies: int) -> np.ndarray:
    """One subset, of these frequencies."""
    return np.isin(1 + np.arange(n_frequencies(m)), frequencies)[None]
