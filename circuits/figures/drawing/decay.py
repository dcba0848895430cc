"""Weight decay that changes during a run: a dashed step line with its own axis on the right.

Seeds may change their weight decay at different epochs, if the change waits until a seed reaches an accuracy. The line
is the lower median over seeds, so every value was the weight decay of some seed.
"""

from collections.abc import Iterable

import numpy as np
import plotly.graph_objects as go
import xarray as xr

from circuits.figures.drawing.bands import points, single
from circuits.figures.drawing.palette import GREY

DECAY = "weight_decay"  # metric of a run whose weight decay changes
BELOW, ABOVE = 0.12, 1.3  # ends of the axis, so that the line meets no accuracy of 0 or 1


def mark_decay(
    figure: go.Figure,
    values: xr.DataArray,
    *,
    name: str = "weight decay",
    color: str = GREY,
    over: str = "y",
    yaxis: str = "y2",
    legendgroup: str | None = None,
) -> None:
    """Draw the weight decay over epochs; `values` (step, seed) holds its value in the update after each checkpoint.

    `figure` is a figure of `axes.frame`. With a `legendgroup`, the line has no entry of its own in the legend. `yaxis`
    is the name of the axis of the weight decay. If the figure lacks this axis, the function adds the axis. The axis
    lies over the figure's own y axis, which has the name `over`.
    """
    x, y = points(values)
    finite = y[np.isfinite(y)]
    if not finite.size:
        return
    key = "yaxis" + yaxis[1:]
    if key not in figure.layout:
        figure.layout.margin.r = 64
        figure.layout[key] = {
            "overlaying": over, "side": "right", "title": {"text": "weight decay", "standoff": 6}, "tickvals": [],
            "showgrid": False, "zeroline": False, "ticks": "outside", "tickmode": "array", "tickcolor": GREY,
            "title_font": {"size": 12.5, "color": GREY}, "tickfont": {"color": GREY}, "tickformat": "~g", "anchor": "x",
        }  # fmt: skip
    values_in_force = [*figure.layout[key].tickvals, *np.unique(finite).tolist()]
    top = max(values_in_force) or 1.0
    figure.layout[key].range = [-BELOW * top, ABOVE * top]
    figure.layout[key].tickvals = apart(values_in_force, 0.07 * top)
    seeds = y[:, np.isfinite(y).any(axis=0)]
    figure.add_scatter(
        x=single(x), y=single(np.nanquantile(seeds, 0.5, axis=1, method="lower")), name=name, yaxis=yaxis,
        legendgroup=legendgroup or name, showlegend=legendgroup is None, mode="lines", connectgaps=False,
        line={"color": color, "dash": "dash", "width": 1.4, "shape": "hv"}, hovertemplate="%{y:.3g}",
    )  # fmt: skip


def apart(values: Iterable[float], least: float) -> list[float]:
    """Values at least `least` apart, in ascending order, chosen from the largest down, so that ticks do not overlap.

    Examples
    --------
    >>> apart([0.01, 0.5, 0.02, 1.0, 0.5], 0.07)
    [0.02, 0.5, 1.0]
    """
    places: list[float] = []
    for value in sorted(values, reverse=True):
        if not places or places[-1] - value >= least:
            places.append(value)
    return places[::-1]
