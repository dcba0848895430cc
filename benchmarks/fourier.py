"""Fourier analysis of a network of Nanda et al. 2023: excluded losses against the plain way, all against a limit."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from floors import Work
from timing import Pairs, Row, alternating, seconds

import circuits
from circuits.analysis.fourier.measurement import Views
from circuits.analysis.fourier.restricted_loss import excluded_losses
from circuits.analysis.networks.layers import last_layer
from circuits.threads import one_blas_thread, one_torch_thread

BUDGET = 180 * 2 / 251  # seconds of one core: a run of 251 checkpoints in three minutes on two


def plain_excluded(logits: np.ndarray, sums: np.ndarray, m: int) -> np.ndarray:
    """Excluded loss of each tuple for each frequency: two waves are projected out, and the softmax is taken again."""
    losses, rows = [], np.arange(len(logits))
    for k in range(1, m // 2 + 1):
        angle = 2 * np.pi * k * sums / m
        waves = np.sqrt(2 / len(sums)) * np.stack([np.cos(angle), np.sin(angle)], axis=1)
        left = logits - waves @ (waves.T @ logits)
        left -= left.max(axis=1, keepdims=True)
        losses.append(np.log(np.exp(left).sum(axis=1)) - left[rows, sums])
    return np.stack(losses, axis=1)


class Network:
    """One network of the preset, its logits and what both ways need."""

    def __init__(self) -> None:
        config = circuits.preset("nanda-2023")
        self.views = Views(config, last_layer(config))
        self.group = self.views.group
        start = config.model.initial(config.task.signature, 0)
        self.net = {name: values.astype(np.float32) for name, values in start.items()}
        self.each = np.eye(self.group.order // 2, dtype=bool)
        self.members = np.ones((3, *self.group.by_sum.shape), bool)
        self.logits = self.views.tuples.values(self.net)[1].astype(np.float64)

    def excluded(self) -> Pairs:
        """Seconds of the excluded losses of all 56 frequencies."""
        m, by_sum = self.group.order, self.logits[self.group.by_sum]
        both = (
            lambda: plain_excluded(self.logits, self.group.sums, m)[self.group.by_sum],
            lambda: excluded_losses(by_sum, self.group.classes, self.each),
        )
        np.testing.assert_allclose(*(way() for way in both), rtol=1e-9)
        return alternating(*(lambda way=way: seconds(way) for way in both))

    def whole(self) -> Pairs:
        """Seconds of all that is measured of one checkpoint, and what it may take."""

        def ours() -> None:
            values = self.views.waves(self.net)
            self.views.losses(values["by_sum"], self.each[0], self.members)

        return alternating(lambda: seconds(ours), lambda: BUDGET)


def on_one_core(way: Callable[[Network], Pairs]) -> Callable[[Path], Pairs]:
    """As `walk` measures a network: with one thread."""

    def measure(folder: Path) -> Pairs:
        torch.get_num_threads()  # loaded before it is limited
        with one_blas_thread(), one_torch_thread():
            return way(Network())

    return measure


P = 113
LOGITS = 8 * P**3  # bytes, of all tuples
PROJECTED = 2 * 2 * P**3  # multiply-adds: onto two waves, and back

ROWS = (
    Row("excluded loss of 56 frequencies", "one by one", "one product", "≥ 20", on_one_core(Network.excluded),
        (Work(PROJECTED * (P // 2)), Work(moved=LOGITS))),
    Row("Fourier analysis of one checkpoint, on one core", "here", "of", "≤ 1", on_one_core(Network.whole),
        (Work(P**2 * 128 * 512, LOGITS), None)),
)  # fmt: skip
