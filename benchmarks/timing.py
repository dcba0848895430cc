"""Timing two ways of doing the same in turn, so that a slow moment of the machine hits both."""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Protocol

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


class Floor(Protocol):
    """What a figure cannot be below, such as `floors.Work`."""

    def floor(self, rates: Any) -> float: ...


@dataclass(frozen=True)
class Row:
    """One line of the table: the ratio of two ways, and what it should be."""

    name: str
    numerator: str
    denominator: str
    aim: str
    """Such as "≥ 25" or "≤ 1.5"."""
    measure: Callable[[Path], Pairs]
    least: tuple[Floor, Floor | None]
    """The least work behind each of the two figures; None if the second is a limit and not measured."""

    def cells(self, pairs: Pairs, rates: Any) -> tuple[str, ...]:
        """What the table says of these repetitions."""
        ratios = sorted(a / b for a, b in pairs)
        middle, bound = median(ratios), float(self.aim.split()[1])
        met = middle >= bound if self.aim.startswith("≥") else middle <= bound
        figures = [
            f"{name} {_time(median(figure))}{f' (floor {_time(work.floor(rates))})' if work else ''}"
            for name, figure, work in self._figures(pairs)
        ]
        spread = f"{ratios[0]:.3g} to {ratios[-1]:.3g}"
        return self.name, *figures, f"{middle:.3g}", spread, f"{self.aim}{'' if met else '  missed'}"

    def errors(self, pairs: Pairs, rates: Any) -> list[str]:
        """What is wrong with the benchmark: figures that no machine of these rates can reach."""
        return [
            f"{self.name}: '{name}' took {_time(min(figure))}, but its work takes {_time(work.floor(rates))} at least. "
            f"It is not doing the work: see whether a result is kept from one repetition to the next."
            for name, figure, work in self._figures(pairs)
            if work and min(figure) < work.floor(rates)
        ]

    def _figures(self, pairs: Pairs) -> list[tuple[str, tuple[float, ...], Floor | None]]:
        return list(zip((self.numerator, self.denominator), zip(*pairs, strict=True), self.least, strict=True))


def _time(value: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value / 1e-6:.3g} µs"
