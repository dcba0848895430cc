"""Timing two ways of doing the same in turn, so that a slow moment of the machine hits both."""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

REPETITIONS = 5
Pairs = list[tuple[float, float]]  # seconds of the two ways, per repetition


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def alternating(first: Callable[[], float], second: Callable[[], float]) -> Pairs:
    second(), first()  # compiles, and warms the caches
    pairs = []
    for index in range(REPETITIONS):
        pairs.append((first(), second()))
        print(f"  {index + 1} of {REPETITIONS}: {pairs[-1][0] / pairs[-1][1]:.3g}", file=sys.stderr)
    return pairs


@dataclass(frozen=True)
class Row:
    """One line of the table: the ratio of two ways, and what it should be."""

    name: str
    numerator: str
    denominator: str
    aim: str
    """Such as "≥ 25" or "≤ 1.5"."""
    measure: Callable[[Path], Pairs]

    def cells(self, folder: Path) -> tuple[str, ...]:
        print(self.name, file=sys.stderr)
        pairs = self.measure(folder)
        above, below = (median(column) for column in zip(*pairs, strict=True))
        ratios = sorted(a / b for a, b in pairs)
        middle, bound = median(ratios), float(self.aim.split()[1])
        met = middle >= bound if self.aim.startswith("≥") else middle <= bound
        return (
            self.name,
            f"{self.numerator} {_time(above)}",
            f"{self.denominator} {_time(below)}",
            f"{middle:.3g}",
            f"{ratios[0]:.3g} to {ratios[-1]:.3g}",
            f"{self.aim}{'' if met else '  missed'}",
        )


def _time(value: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value / 1e-6:.3g} µs"
