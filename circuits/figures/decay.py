"""The weight decay in force, where it changes during a run: a dashed line that steps, with its own axis on the right.

Seeds may change at different moments, since each waits for an accuracy of its own: the line is their median.
"""

import numpy as np
import plotly.graph_objects as go
import xarray as xr

from circuits.figures.bands import points, single
from circuits.figures.palette import GREY

DECAY = "weight_decay"  # the metric that a run has where it changes


def mark_decay(
    figure: go.Figure,
    values: xr.DataArray,
    *,
    name: str = "weight decay",
    colour: str = GREY,
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
    name, colour, legendgroup
        Of its line; with a group it has no entry of its own in the legend.
    """
    x, y = points(values)
    known = y[np.isfinite(y)]
    if not known.size:
        return
    key = "yaxis" + yaxis[1:]
    top = max(float(known.max()), 0.0) or 1.0
    if figure.layout[key].overlaying is None:
        figure.update_layout(
            {
                key: {
                    "overlaying": over, "side": "right", "title": {"text": "weight decay", "standoff": 6},
                    "showgrid": False, "zeroline": False, "ticks": "outside", "nticks": 4, "tickcolor": GREY,
                    "title_font": {"size": 12.5, "color": GREY}, "tickfont": {"color": GREY}, "range": [0.0, 0.0],
                    "exponentformat": "power", "anchor": "x",
                },
                "margin_r": 64,
            }
        )  # fmt: skip
    top = max(top, figure.layout[key].range[1] / 1.06)
    figure.layout[key].range = [-0.03 * top, 1.06 * top]
    figure.add_scatter(
        x=single(x), y=single(np.nanmedian(y[:, np.isfinite(y).any(axis=0)], axis=1)), name=name, yaxis=yaxis,
        legendgroup=legendgroup or name, showlegend=legendgroup is None, mode="lines", connectgaps=False,
        line={"color": colour, "dash": "dash", "width": 1.4, "shape": "hv"}, hovertemplate="%{y:.3g}",
    )  # fmt: skip
