"""Change points: a ramp along log epoch for each measure and seed, with its onset, midpoint, end, lag and rank.

All measures change during memorization. To leave this change out, a ramp (constant, straight line, constant; `ramp`)
is fitted from memorization on. If a seed never memorizes, the fit starts at the first update. The line begins at the
onset and stops at the end; the midpoint is halfway between them on the log axis. Each of these three epochs has an
estimate and a 95 % confidence interval.

If the confidence interval of the onset reaches the first fitted point, the onset is *censored*: the change may have
begun earlier. The interval is then set to (−∞, `onset_high`]. The true onset is at most `onset_high`, but may be later
than the estimate `onset`. Likewise, the end is censored if its confidence interval reaches the last point. The interval
is then set to [`end_low`, ∞). A lag is the onset (or midpoint) of a measure minus that of test accuracy, negative if
the measure changes first (`lags`). Only the onset intervals rank the measures (`earliest`).
"""

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float

from circuits.analysis.progress.earliest import agreement, earliest_measures, ranks
from circuits.analysis.progress.lags import lags
from circuits.analysis.progress.ramp import Ramp
from circuits.analysis.progress.windows import ACCURACY, Curves
from circuits.errors import InputError

MOST_LABELS = 16  # a further dimension of at most this many labels gives one measure per label
REFERENCE = "test_accuracy"
VARIABLES = {
    "onset": "estimated epoch at which the change begins; where onset_censored, the upper bound is onset_high",
    "onset_low": "low end of the 95 % interval of the onset; -inf where censored",
    "onset_high": "high end of the 95 % interval of the onset; its upper bound where censored",
    "midpoint": "estimated epoch at which half of the change is done; NaN where onset and end are both censored",
    "midpoint_low": "low end of the 95 % interval of the midpoint; -inf where the onset is censored",
    "midpoint_high": "high end of the 95 % interval of the midpoint; inf where the end is censored",
    "end": "estimated epoch at which the change ends; where end_censored, the lower bound is end_low",
    "end_low": "low end of the 95 % interval of the end; its lower bound where censored",
    "end_high": "high end of the 95 % interval of the end; inf where censored",
    "before": "level before",
    "after": "level after",
    "explained": "share of the variance that the ramp explains",
    "lag": "estimated epochs from the onset of test accuracy to this onset; where one end of its interval is infinite, "
    "the other is the bound; NaN where both are",
    "lag_low": "low end of the 95 % interval of the lag; -inf where this onset is censored",
    "lag_high": "high end of the 95 % interval of the lag; inf where the onset of test accuracy is censored",
    "midpoint_lag": "epochs from the midpoint of test accuracy to this midpoint",
    "midpoint_lag_low": "low end of the 95 % interval of the midpoint's lag",
    "midpoint_lag_high": "high end of the 95 % interval of the midpoint's lag",
    "direction": "1: rises, -1: falls, 0: does not change",
    "rank": "1 + number of measures whose onset interval lies before; 0: does not change",
    "rank_high": "number of measures whose onset interval does not lie after, itself included; 0: does not change",
}
COUNTS = ("direction", "rank", "rank_high")
FLAGS = {
    "onset_censored": "whether the change may have begun before the window: the interval is (-inf, onset_high]",
    "end_censored": "whether the change may end after the last checkpoint: the interval is [end_low, inf)",
}
Choice = tuple[Float[np.ndarray, " seed"], bool]  # start, log_scale


def change_points(
    measures: Mapping[str, xr.DataArray],
    start: Float[np.ndarray, " seed"],
    reference: str = REFERENCE,
    *,
    generalized: Bool[np.ndarray, " seed"] | None = None,
    log_scale: bool | None = None,
    choices: Sequence[Choice] = (),
) -> xr.Dataset:
    """Onset, midpoint, end, lag and rank of each measure in each seed, and the earliest measure.

    Parameters
    ----------
    measures
        Measures by name, each (step, seed) with a coordinate `epoch` along the steps, the same for all.
    start
        (seed,) epoch at which the fit of a ramp (constant, straight line, constant) begins; NaN: first epoch after 0.
    reference
        The measure from which lags are counted. If it is an accuracy, only seeds in which it rises have lags.
    generalized
        (seed,) mask of the seeds that may have lags; None: all.
    log_scale
        Which measures, except accuracies and shares, are fitted as logarithms. True: all; values <= 0 are dropped.
        False: none. None: positive measures that change more than tenfold (`spans_decades`).
    choices
        Other combinations (start, log_scale); `earliest` is computed again with each.

    Returns
    -------
    Numbers and flags (measure, seed). `onset`, `midpoint`, `end`, `lag` and `midpoint_lag` are epochs. Each has a 95 %
    interval, such as [`onset_low`, `onset_high`]. `onset_censored` says whether the onset may lie before the fitted
    epochs, `end_censored` whether the end may lie after them. `before` and `after` are the levels of the ramp before
    its onset and after its end. `explained` is the share of the variance that the ramp
    explains. `direction` is 1 for a rise, -1 for a fall. `rank` and `rank_high` are the first and the
    last place that the measure can have in the order of onsets; they differ where intervals of onsets overlap. If a
    measure does not change, direction and ranks are 0, other numbers NaN, flags False.

    `share` (measure, step, seed) is (value − before)/(after − before), the completed share of the change; NaN before
    `start`. `log_scale` (measure) says whether `before`, `after` and the value in `share` are logarithms.

    `earliest` (seed) is the measure whose onset interval lies before the onset intervals of all other measures that
    change, if its ramp explains at least 0.9 of the variance; otherwise "". `earliest_choices` (seed) is the share of
    the `choices` that give the seed the same `earliest`. `earliest_seeds` (seed) is the share of all seeds that have
    the same `earliest`. Both shares are NaN if `earliest` is "".

    Raises
    ------
    InputError
        `measures` is empty.
    """
    if not measures:
        raise InputError("There is no measure to fit a ramp to. Pass at least one, with dimensions (step, seed).")
    curves = Curves(measures)
    names, epochs = curves.names, curves.epochs
    logs = curves.logs(start, log_scale)
    shape = (len(names), len(curves.seeds))
    arrays = {name: np.full(shape, 0 if name in COUNTS else np.nan) for name in VARIABLES}
    flags = {name: np.zeros(shape, bool) for name in FLAGS}
    share = np.full((len(names), len(epochs), shape[1]), np.nan)
    for row, column in np.ndindex(*shape):
        begin, logged = float(start[column]), bool(logs[row])
        window, curve = curves.window(row, column, begin, logged)
        ramp = curves.ramp(row, column, begin, logged)
        if ramp is None:
            continue
        flags["onset_censored"][row, column] = np.isinf(ramp.onset[1])
        flags["end_censored"][row, column] = np.isinf(ramp.end[2])
        for key, value in _described(ramp, epochs).items():
            arrays[key][row, column] = value
        share[row, window, column] = (curve - ramp.before) / (ramp.after - ramp.before)
    if reference in names:
        place = names.index(reference)
        counts = (arrays["direction"][place] > 0) | (not reference.endswith(ACCURACY))
        arrays |= lags(arrays, place, counts if generalized is None else counts & generalized)
    low, high = arrays["onset_low"], arrays["onset_high"]
    arrays["rank"], arrays["rank_high"] = ranks(low, high)
    earliest = earliest_measures(names, low, high, arrays["explained"])
    of_choices, of_seeds = agreement(earliest, [curves.earliest(*choice) for choice in choices])
    long_names = VARIABLES | FLAGS
    chosen = {"long_name": "share of the analysis choices in which it is the earliest", "n_choices": len(choices)}
    return xr.Dataset(
        {
            **{
                name: (("measure", "seed"), values, {"long_name": long_names[name]})
                for name, values in (arrays | flags).items()
            },
            "share": (("measure", "step", "seed"), share, {"long_name": "share of the way from before to after"}),
            "log_scale": ("measure", logs, {"long_name": "whether its logarithm is taken"}),
            "earliest": ("seed", np.array(earliest, np.str_), {"long_name": "measure that surely changes first"}),
            "earliest_choices": ("seed", of_choices, chosen),
            "earliest_seeds": ("seed", of_seeds, {"long_name": "share of the seeds in which it is the earliest"}),
        },
        {"measure": names, **{name: curves.coords[name] for name in ("step", "epoch", "seed")}},
        {"reference": reference},
    )


def flattened(
    result: xr.Dataset | Mapping[str, xr.DataArray], most: int = MOST_LABELS, between: str = " "
) -> dict[str, xr.DataArray]:
    """Numeric variables (step, seed) by name; a variable with a third dimension of at most `most` labels is split.

    Each label gives one part; its name is the variable's name, the text `between`, and the label.

    Examples
    --------
    >>> dims, coords = ("step", "seed", "matrix"), {"matrix": ["W", "u"]}
    >>> list(flattened(xr.Dataset({"norm": (dims, np.zeros((3, 2, 2)))}, coords)))
    ['norm W', 'norm u']
    """
    curves = {}
    for name, values in result.items():
        others = [dim for dim in values.dims if dim not in ("step", "seed")]
        if not {"step", "seed"} <= set(values.dims) or values.dtype.kind not in "fiub" or len(others) > 1:
            continue
        if not others:
            curves[str(name)] = values
        elif values.sizes[others[0]] <= most:
            for index, label in enumerate(values[others[0]].values.tolist()):
                curves[f"{name}{between}{label}"] = values.isel({others[0]: index}, drop=True)
    return curves


def _described(ramp: Ramp, epochs: Float[np.ndarray, " step"]) -> dict[str, float]:
    """Numbers of a ramp, named as in `VARIABLES`; onset, end and their intervals are rounded to checkpoint epochs."""
    numbers: dict[str, float] = {}
    for name, estimate in (("onset", ramp.onset), ("midpoint", ramp.middle), ("end", ramp.end)):
        for part, value in zip(("", "_low", "_high"), estimate, strict=True):
            epoch = 10.0**value if np.isfinite(value) else value
            is_checkpoint = np.isfinite(value) and name != "midpoint"
            numbers[name + part] = float(epochs[np.abs(epochs - epoch).argmin()]) if is_checkpoint else epoch
    direction = 1.0 if ramp.after > ramp.before else -1.0
    return numbers | {"before": ramp.before, "after": ramp.after, "explained": ramp.explained, "direction": direction}
