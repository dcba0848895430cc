"""Which measure moves first: for each measure and seed a ramp along log epoch, and its lag against test accuracy.

The ramp (`ramp`) is fitted from the memorization checkpoint on, since before it everything moves; of a seed that never
memorises, from the first update. Its breakpoints are called onset and end, the place halfway between them, along the
log axis, midpoint. A lag is the onset, or midpoint, minus that of test accuracy, negative for what moves before it; its
interval puts the two errors together in quadrature (Zou and Donner 2008), as if they were independent. Only what moves
surely after the start, and like a ramp, is ranked: its onset's interval lies after it, and the ramp explains 0.9.
"""

from collections.abc import Mapping

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float

from circuits.analysis.ramp import Ramp, fitted_ramp
from circuits.errors import InputError

DECADE = 10.0  # a positive measure whose largest value is more than so many times its smallest is taken as logarithm
ACCURACY = "accuracy"
SHARES = (ACCURACY, "share")  # but not what ends on these: from 0.01 to 0.1 is not half of the way to 1
MOST_LABELS = 16  # a further dimension of at most so many entries is taken apart, one measure each
REFERENCE = "test_accuracy"
LEAST_EXPLAINED = 0.9  # of what is ranked; of random walks of 150 points one in six comes so far, of AR(0.9) none
VARIABLES = {
    "onset": "epoch at which it begins to move",
    "onset_low": "low end of the 95 % interval of the onset",
    "onset_high": "high end of the 95 % interval of the onset",
    "midpoint": "epoch at which it is halfway",
    "midpoint_low": "low end of the 95 % interval of the midpoint",
    "midpoint_high": "high end of the 95 % interval of the midpoint",
    "end": "epoch at which it has moved",
    "end_low": "low end of the 95 % interval of the end",
    "end_high": "high end of the 95 % interval of the end",
    "before": "level before",
    "after": "level after",
    "explained": "share of the variance that the ramp explains",
    "lag": "epochs from the onset of test accuracy to this onset",
    "lag_low": "low end of the 95 % interval of the lag",
    "lag_high": "high end of the 95 % interval of the lag",
    "midpoint_lag": "epochs from the midpoint of test accuracy to this midpoint",
    "midpoint_lag_low": "low end of the 95 % interval of the midpoint's lag",
    "midpoint_lag_high": "high end of the 95 % interval of the midpoint's lag",
    "direction": "1 rises, -1 falls, 0 does not move",
    "rank": "1 moves first; 0 moves, but perhaps already at the start, or not like a ramp; -1 does not move",
}


def moves(
    measures: Mapping[str, xr.DataArray],
    start: Float[np.ndarray, " seed"],
    reference: str = REFERENCE,
    *,
    generalised: Bool[np.ndarray, " seed"] | None = None,
    log_scale: bool | None = None,
) -> xr.Dataset:
    """When each measure moves in each seed, and how long before or after the reference.

    Parameters
    ----------
    measures
        By name, each (step, seed) with a coordinate `epoch` along the steps, the same for all.
    start
        (seed,) epoch from which on to look; NaN: from the first after 0.
    reference
        The measure against which lags are taken. An accuracy that falls has none.
    generalised
        (seed,) of which seeds the reference counts; the others have no lags. None: of all.
    log_scale
        Whether to take logarithms, of all but accuracies and shares; what is not positive is then left out. None: of
        what `spans_decades`.

    Returns
    -------
    Each of `VARIABLES`, (measure, seed), NaN where the measure does not move; `share` (measure, step, seed), the share
    of the way from its level before to its level after, NaN before `start`; `log_scale` (measure) whether its logarithm
    was taken, which is then what before and after are levels of; `first_mover` (seed) the measure of rank 1, of
    several the one with the narrowest interval, or "". Ranked from 1 on are those whose interval of the onset lies
    after the start and whose ramp explains at least 0.9.

    Raises
    ------
    InputError
        There is no measure.
    """
    if not measures:
        raise InputError("There is no measure to look at: pass variables (step, seed).")
    first = next(iter(measures.values()))
    epochs, seeds = first["epoch"].values.astype(np.float64), first["seed"].values
    found = {name: np.full((len(measures), len(seeds)), np.nan) for name in VARIABLES}
    found["direction"][:], found["rank"][:] = 0, -1
    share = np.full((len(measures), len(epochs), len(seeds)), np.nan)
    logs = np.zeros(len(measures), bool)
    at_start = np.zeros((len(measures), len(seeds)), bool)
    windows = [epochs > 0 if np.isnan(begin) else (epochs >= begin) & (epochs > 0) for begin in start]
    for row, (name, values) in enumerate(measures.items()):
        y = values.transpose("step", "seed").values.astype(np.float64)
        curves = [y[window, column] for column, window in enumerate(windows)]
        logs[row] = not name.endswith(SHARES) and (spans_decades(curves) if log_scale is None else log_scale)
        for column, window in enumerate(windows):
            t, curve = np.log10(epochs[window]), y[window, column]
            curve = np.log10(np.where(curve > 0, curve, np.nan)) if logs[row] else curve
            ramp = fitted_ramp(t, curve)
            if ramp is None or not ramp.moves:
                continue
            for key, value in _described(ramp, epochs).items():
                found[key][row, column] = value
            at_start[row, column] = ramp.onset[1] <= t[np.isfinite(curve)][0]
            share[row, window, column] = (curve - ramp.before) / (ramp.after - ramp.before)
    names = list(measures)
    if reference in names:
        place = names.index(reference)
        counts = found["direction"][place] > 0 if reference.endswith(ACCURACY) else np.ones(len(seeds), bool)
        _add_lags(found, place, counts if generalised is None else counts & generalised)
    first_mover = _ranked(found, at_start, names)
    variables = {
        name: (("measure", "seed"), values.astype(np.int64) if name in ("direction", "rank") else values)
        for name, values in found.items()
    }
    result = xr.Dataset(
        {
            **{name: (*value, {"long_name": VARIABLES[name]}) for name, value in variables.items()},
            "share": (("measure", "step", "seed"), share, {"long_name": "share of the way from before to after"}),
            "log_scale": ("measure", logs, {"long_name": "whether its logarithm is taken"}),
            "first_mover": ("seed", np.array(first_mover, np.str_), {"long_name": "first to move after memorisation"}),
        },
        {"measure": names, **{name: first.coords[name] for name in ("step", "epoch", "seed")}},
    )
    result.attrs["reference"] = reference
    return result


def spans_decades(curves: list[Float[np.ndarray, " _"]]) -> bool:
    """Whether all finite values are positive and in some curve the largest is more than ten times the smallest.

    Examples
    --------
    >>> spans_decades([np.array([1.0, 5.0]), np.array([0.1, 2.0])]), spans_decades([np.array([0.0, 50.0])])
    (True, False)
    """
    known = [curve[np.isfinite(curve)] for curve in curves]
    known = [curve for curve in known if curve.size]
    positive = all(bool((curve > 0).all()) for curve in known)
    return positive and any(bool(curve.max() > DECADE * curve.min()) for curve in known)


def flattened(result: xr.Dataset | Mapping[str, xr.DataArray]) -> dict[str, xr.DataArray]:
    """Every numeric variable over step and seed by name; one further dimension of few labels is taken apart.

    Examples
    --------
    >>> dims, coords = ("step", "seed", "matrix"), {"matrix": ["W", "u"]}
    >>> list(flattened(xr.Dataset({"norm": (dims, np.zeros((3, 2, 2)))}, coords)))
    ['norm W', 'norm u']
    """
    found = {}
    for name, values in result.items():
        others = [dim for dim in values.dims if dim not in ("step", "seed")]
        if not {"step", "seed"} <= set(values.dims) or values.dtype.kind not in "fiub" or len(others) > 1:
            continue
        if not others:
            found[str(name)] = values
        elif values.sizes[others[0]] <= MOST_LABELS:
            for index, label in enumerate(values[others[0]].values.tolist()):
                found[f"{name} {label}"] = values.isel({others[0]: index}, drop=True)
    return found


def _described(ramp: Ramp, epochs: Float[np.ndarray, " step"]) -> dict[str, float]:
    """A ramp along log10 epoch, in epochs; its breakpoints are those of checkpoints, without what the powers round."""
    said: dict[str, float] = {}
    for name, estimate in (("onset", ramp.onset), ("midpoint", ramp.middle), ("end", ramp.end)):
        for part, value in zip(("", "_low", "_high"), estimate, strict=True):
            at = 10.0**value
            said[name + part] = at if name == "midpoint" else float(epochs[np.abs(epochs - at).argmin()])
    rises = 1.0 if ramp.after > ramp.before else -1.0
    return said | {"before": ramp.before, "after": ramp.after, "explained": ramp.explained, "direction": rises}


def _add_lags(found: dict[str, np.ndarray], reference: int, counts: Bool[np.ndarray, " seed"]) -> None:
    """Lags of all onsets and midpoints against those of the reference, in the seeds where it counts."""
    for place, lag in (("onset", "lag"), ("midpoint", "midpoint_lag")):
        at, low, high = (found[f"{place}{part}"] for part in ("", "_low", "_high"))
        found[lag] = at - np.where(counts, at[reference], np.nan)
        found[f"{lag}_low"] = found[lag] - np.hypot(at - low, high[reference] - at[reference])
        found[f"{lag}_high"] = found[lag] + np.hypot(high - at, at[reference] - low[reference])
        for end in ("low", "high"):
            found[f"{lag}_{end}"][reference] = found[lag][reference]  # its lag to itself is known to be 0


def _ranked(found: dict[str, np.ndarray], at_start: np.ndarray, names: list[str]) -> list[str]:
    """Fill in the ranks; the first mover of each seed, of several the one with the narrowest interval."""
    firsts = []
    for column in range(at_start.shape[1]):
        onset, low, high, explained = (
            found[key][:, column] for key in ("onset", "onset_low", "onset_high", "explained")
        )
        inside = np.flatnonzero(
            ~at_start[:, column] & (explained >= LEAST_EXPLAINED)
        )  # NaN, what does not move, is not
        found["rank"][np.isfinite(onset), column] = 0
        found["rank"][inside, column] = 1 + np.searchsorted(np.sort(onset[inside]), onset[inside])
        order = np.lexsort(((high - low)[inside], onset[inside]))
        firsts.append(names[inside[order[0]]] if len(order) else "")
    return firsts
