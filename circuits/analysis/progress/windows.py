"""Measures in a window of epochs, and the ramp (constant, straight line, constant) fitted to each measure."""

from collections.abc import Mapping

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float

from circuits.analysis.progress.earliest import earliest_measures
from circuits.analysis.progress.ramp import Ramp, fitted_ramp

DECADE = 10.0  # ratio of the largest to the smallest value of a positive measure above which its logarithm is taken
ACCURACY = "accuracy"
SHARES = (ACCURACY, "share")  # endings of measures without logarithm: 0.1 is not half the way from 0.01 to 1


def _changing_ramp(t: Float[np.ndarray, " point"], curve: Float[np.ndarray, " point"]) -> Ramp | None:
    """Ramp (constant, straight line from onset to end, constant) fitted to a curve; None if the curve does not change.

    Onset, end and the middle between them each have a confidence interval. If the onset's interval reaches the first
    finite point, the intervals of onset and middle begin at -inf. If the end's interval reaches the last finite point,
    the intervals of middle and end stop at inf. If both conditions hold, the estimate of the middle is NaN.
    """
    ramp = fitted_ramp(t, curve)
    if ramp is None or not ramp.moves:
        return None
    first, last = t[np.isfinite(curve)][[0, -1]]
    at_first, at_last = bool(ramp.onset[1] <= first), bool(ramp.end[2] >= last)
    low, high = -np.inf if at_first else ramp.middle[1], np.inf if at_last else ramp.middle[2]
    return ramp._replace(
        onset=(ramp.onset[0], -np.inf if at_first else ramp.onset[1], ramp.onset[2]),
        middle=(np.nan if at_first and at_last else ramp.middle[0], low, high),
        end=(ramp.end[0], ramp.end[1], np.inf if at_last else ramp.end[2]),
    )


class Curves:
    """Measures as arrays, and the ramps (constant, straight line, constant) fitted to them, each stored for reuse."""

    def __init__(self, measures: Mapping[str, xr.DataArray]) -> None:
        first = next(iter(measures.values()))
        self.names, self.coords = list(measures), first.coords
        self.epochs, self.seeds = first["epoch"].values.astype(np.float64), first["seed"].values
        self._values = [each.transpose("step", "seed").values.astype(np.float64) for each in measures.values()]
        self._ramps: dict[tuple[int, int, int, bool], Ramp | None] = {}

    def logs(self, start: Float[np.ndarray, " seed"], log_scale: bool | None) -> Bool[np.ndarray, " measure"]:
        """Mask of the measures that are fitted as logarithms; accuracies and shares never are.

        `log_scale` True selects all other measures, and False selects none. If `log_scale` is None, the mask selects
        those that, from the epoch in `start` on, are positive in all seeds and change more than tenfold in some seed.
        """

        def taken(row: int) -> bool:
            curves = [self.window(row, column, float(begin), False)[1] for column, begin in enumerate(start)]
            return spans_decades(curves) if log_scale is None else log_scale

        return np.array([not name.endswith(SHARES) and taken(row) for row, name in enumerate(self.names)], bool)

    def window(self, row: int, column: int, begin: float, logged: bool) -> tuple[slice, Float[np.ndarray, " point"]]:
        """Slice of the steps from epoch `begin` on, without epoch 0, and the values of one measure at these steps.

        `row` is the measure's index, and `column` is the seed's. If `logged`, values > 0 become log10, others NaN.
        """
        window = slice(self._first(begin), None)
        curve = self._values[row][window, column]
        return window, np.log10(np.where(curve > 0, curve, np.nan)) if logged else curve

    def ramp(self, row: int, column: int, begin: float, logged: bool) -> Ramp | None:
        """Ramp (constant, straight line, constant) fitted to a measure; None if the measure does not change.

        The fit takes the values of measure `row` in seed `column` from epoch `begin` on, or their log10 if `logged`.
        """
        key = (row, column, self._first(begin), logged)
        if key not in self._ramps:
            window, curve = self.window(row, column, begin, logged)
            self._ramps[key] = _changing_ramp(np.log10(self.epochs[window]), curve)
        return self._ramps[key]

    def earliest(self, start: Float[np.ndarray, " seed"], log_scale: bool | None) -> list[str]:
        """For each seed, the name of the measure that surely begins to change first; "" if there is none.

        A ramp, fitted to each measure from the seed's epoch in `start` on, gives the onset's 95 % interval. The named
        measure's interval lies before all others. `log_scale` says which measures, except accuracies and shares, are
        fitted as logarithms. True: all. False: none. None: positive measures that change more than tenfold.
        """
        logs = self.logs(start, log_scale)
        low, high, explained = (np.full((len(self.names), len(self.seeds)), np.nan) for _ in range(3))
        for row, column in np.ndindex(*low.shape):
            ramp = self.ramp(row, column, float(start[column]), bool(logs[row]))
            if ramp is not None:
                low[row, column], high[row, column] = ramp.onset[1:]
                explained[row, column] = ramp.explained
        return earliest_measures(self.names, low, high, explained)

    def _first(self, begin: float) -> int:
        """Index of the first step at epoch `begin` or later, but after epoch 0."""
        return int(np.searchsorted(self.epochs, np.nextafter(0, 1) if np.isnan(begin) or begin <= 0 else begin))


def spans_decades(curves: list[Float[np.ndarray, " _"]]) -> bool:
    """Whether all finite values are positive, and in some curve the largest is more than ten times the smallest.

    Examples
    --------
    >>> spans_decades([np.array([1.0, 5.0]), np.array([0.1, 2.0])]), spans_decades([np.array([0.0, 50.0])])
    (True, False)
    """
    finite = [curve[np.isfinite(curve)] for curve in curves]
    finite = [curve for curve in finite if curve.size]
    positive = all(bool((curve > 0).all()) for curve in finite)
    return positive and any(bool(curve.max() > DECADE * curve.min()) for curve in finite)
