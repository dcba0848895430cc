"""The weight decay in force, where it changes during a run: a dashed line that steps, with its own axis on the right.

Seeds may change at different moments, since each waits for an accuracy of its own: the line is their median, of two
middle ones the lower, so that it is a weight decay that was in force.
"""

from collections.abc import Iterable

import numpy as np
import plotly.graph_objects as go
import xarray as xr

from circuits.figures.drawing.bands import points, single
from circuits.figures.drawing.palette import GREY

DECAY = "weight_decay"  # the metric that a run has where it changes
BELOW, ABOVE = 0.12, 1.3  # room, so that the line lies on no accuracy of 0 or 1


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
    """Draw the weight decay (step, seed) that each checkpoint's next update has.

    Parameters
    ----------
    figure
        Made by `axes.frame`.
    over, yaxis
        The y axis that it is drawn over, and its own, which is made if need be.
    name, color, legendgroup
        Of its line; with a group it has no entry of its own in the legend.
    """
    x, y = points(values)
    finite = y[np.isfinite(y)]
    if not finite.size:
        return
    key = "yaxis" + yaxis[1:]
    if key not in figure.layout:
        figure.update_layout(
            {
                key: {
                    "overlaying": over, "side": "right", "title": {"text": "weight decay", "standoff": 6},
                    "showgrid": False, "zeroline": False, "ticks": "outside", "tickmode": "array", "tickcolor": GREY,
                    "title_font": {"size": 12.5, "color": GREY}, "tickfont": {"color": GREY}, "tickvals": [],
                    "tickformat": "~g", "anchor": "x",
                },
                "margin_r": 64,
            }
        )  # fmt: skip
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
    """The values from the largest down that lie at least `least` apart, ascending: ticks that can be read.

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
