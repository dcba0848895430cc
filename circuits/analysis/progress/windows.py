"""Measures in the window that is looked at, and their ramps, each fitted once however many analysis choices need it.

The window of a seed begins at an epoch that is chosen, and a measure may be taken as its logarithm. A ramp whose
onset's interval touches the first point of the window is censored there, and one whose end's interval touches the
last, there.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float

from circuits.analysis.progress.earliest import earliest_measures
from circuits.analysis.progress.ramp import Estimate, fitted_ramp

DECADE = 10.0  # a positive measure whose largest value is more than so many times its smallest is taken as logarithm
ACCURACY = "accuracy"
SHARES = (ACCURACY, "share")  # but not what ends on these: from 0.01 to 0.1 is not half of the way to 1


class ChangingRamp(NamedTuple):
    """A ramp that beats a constant, with infinite ends where it is `censored`, at its onset and at its end."""

    onset: Estimate
    middle: Estimate
    end: Estimate
    before: float
    after: float
    explained: float
    censored: tuple[bool, bool]


def _changing_ramp(t: Float[np.ndarray, " point"], curve: Float[np.ndarray, " point"]) -> ChangingRamp | None:
    ramp = fitted_ramp(t, curve)
    if ramp is None or not ramp.moves:
        return None
    first, last = t[np.isfinite(curve)][[0, -1]]
    at_first, at_last = bool(ramp.onset[1] <= first), bool(ramp.end[2] >= last)
    low, high = -np.inf if at_first else ramp.middle[1], np.inf if at_last else ramp.middle[2]
    return ChangingRamp(
        onset=(ramp.onset[0], -np.inf if at_first else ramp.onset[1], ramp.onset[2]),
        middle=(np.nan if at_first and at_last else ramp.middle[0], low, high),
        end=(ramp.end[0], ramp.end[1], np.inf if at_last else ramp.end[2]),
        before=ramp.before,
        after=ramp.after,
        explained=ramp.explained,
        censored=(at_first, at_last),
    )


class Curves:
    """The measures as arrays, and their ramps, each fitted once however many choices need it."""

    def __init__(self, measures: Mapping[str, xr.DataArray]) -> None:
        first = next(iter(measures.values()))
        self.names, self.coords = list(measures), first.coords
        self.epochs, self.seeds = first["epoch"].values.astype(np.float64), first["seed"].values
        self._values = [of.transpose("step", "seed").values.astype(np.float64) for of in measures.values()]
        self._ramps: dict[tuple[int, int, int, bool], ChangingRamp | None] = {}

    def logs(self, start: Float[np.ndarray, " seed"], log_scale: bool | None) -> Bool[np.ndarray, " measure"]:
        """Of which measures the logarithm is taken."""
        logs = np.zeros(len(self.names), bool)
        for row, name in enumerate(self.names):
            if not name.endswith(SHARES):
                seeds = range(len(self.seeds))
                whole = [self.window(row, column, float(start[column]), False)[1] for column in seeds]
                logs[row] = spans_decades(whole) if log_scale is None else log_scale
        return logs

    def window(self, row: int, column: int, begin: float, logged: bool) -> tuple[slice, Float[np.ndarray, " point"]]:
        """The steps that are looked at, and one measure of one seed there."""
        window = slice(self._first(begin), None)
        curve = self._values[row][window, column]
        return window, np.log10(np.where(curve > 0, curve, np.nan)) if logged else curve

    def ramp(self, row: int, column: int, begin: float, logged: bool) -> ChangingRamp | None:
        """The ramp of one measure of one seed; None if it does not change."""
        key = (row, column, self._first(begin), logged)
        if key not in self._ramps:
            window, curve = self.window(row, column, begin, logged)
            self._ramps[key] = _changing_ramp(np.log10(self.epochs[window]), curve)
        return self._ramps[key]

    def earliest(self, start: Float[np.ndarray, " seed"], log_scale: bool | None) -> list[str]:
        """The earliest measure of each seed with other choices."""
        logs = self.logs(start, log_scale)
        low, high, explained = (np.full((len(self.names), len(self.seeds)), np.nan) for _ in range(3))
        for row, column in np.ndindex(*low.shape):
            ramp = self.ramp(row, column, float(start[column]), bool(logs[row]))
            if ramp is not None:
                low[row, column], high[row, column] = ramp.onset[1:]
                explained[row, column] = ramp.explained
        return earliest_measures(self.names, low, high, explained)

    def _first(self, begin: float) -> int:
        """Index of the first step that is looked at."""
        return int(np.searchsorted(self.epochs, np.nextafter(0, 1) if np.isnan(begin) or begin <= 0 else begin))


def spans_decades(curves: list[Float[np.ndarray, " _"]]) -> bool:
    """Whether all finite values are positive and in some curve the largest is more than ten times the smallest.

    Examples
    --------
    >>> spans_decades([np.array([1.0, 5.0]), np.array([0.1, 2.0])]), spans_decades([np.array([0.0, 50.0])])
    (True, False)
    """
    finite = [curve[np.isfinite(curve)] for curve in curves]
    finite = [curve for curve in finite if curve.size]
    positive = all(bool((curve > 0).all()) for curve in finite)
    return positive and any(bool(curve.max() > DECADE * curve.min()) for curve in finite)
