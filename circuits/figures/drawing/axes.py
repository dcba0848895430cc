"""The frame of every figure: epochs across, on a log scale as in the papers, on white.

Epoch 0, the initialization, has no place on a log axis: it is left out, and the axis says so. A result with fewer than
two later checkpoints is drawn on a linear axis, with all there is.
"""

from textwrap import wrap
from typing import Any

import numpy as np
import plotly.graph_objects as go
import xarray as xr

HEIGHT, WRAP = 450, 30  # pixels; characters in a line of the y axis's title
FONT = "system-ui, -apple-system, 'Segoe UI', 'Helvetica Neue', Arial, sans-serif"
INK, PALE = "#222222", "#E4E4E4"


def variable(result: xr.Dataset | xr.DataArray, name: str) -> xr.DataArray:
    """The variable `name` of a dataset; an array is taken as it is."""
    return result[name] if isinstance(result, xr.Dataset) else result


def epochs(values: xr.DataArray | xr.Dataset) -> xr.DataArray:
    """Where each checkpoint lies on the x axis: its epoch, or its step if it carries no epoch."""
    return values["epoch"] if "epoch" in values.coords else values["step"]


def on_log_axis(values: xr.DataArray | xr.Dataset) -> bool:
    """Whether at least two checkpoints lie after the initialization."""
    return int((epochs(values) > 0).sum()) >= 2


def drawable(values: xr.DataArray) -> xr.DataArray:
    """The checkpoints that have a place on the x axis."""
    return values.isel(step=np.flatnonzero(epochs(values).values > 0)) if on_log_axis(values) else values


def frame(
    values: xr.DataArray,
    title: str,
    caption: str,
    *,
    subtitle: str = "",
    y_title: str | None = None,
    y_axis: dict[str, Any] | None = None,
) -> go.Figure:
    """An empty figure with the epochs of `values` across.

    Parameters
    ----------
    values
        What will be drawn; its attributes name the y axis unless `y_title` does.
    title, subtitle
        Above the figure.
    caption
        One sentence for a page to print below it; kept in `layout.meta`.
    y_axis
        Further properties of the y axis.
    """
    x = epochs(values)
    x_axis: dict[str, Any]
    place = drawable(values)
    shown = epochs(place).values
    label = str(x.attrs.get("long_name", x.name))
    if on_log_axis(values):
        left_out = f", {x.name} 0 left out" if shown.size < x.size else ""
        low, high = np.log10([shown.min(), shown.max()])
        edge = min(0.02 * (high - low), 0.04)  # so that no tick stands before the first checkpoint
        x_axis = {"type": "log", "range": [low - edge, high + edge], "title": f"{label} (log scale{left_out})"}
    else:
        x_axis = {"type": "linear", "title": label}
    y_axis = {"type": "linear"} | (y_axis or {})
    for axis in (x_axis, y_axis):  # "none" writes 2000 on a log axis where "power" writes 2x10³
        axis["exponentformat"] = "none" if axis["type"] == "log" else "power"
    shared = {
        "showline": True, "linecolor": INK, "ticks": "outside", "ticklen": 4, "tickcolor": INK, "gridcolor": PALE,
        "minorloglabels": "complete", "nticks": 6, "zeroline": False, "title_standoff": 10, "title_font_size": 13.5,
    }  # fmt: skip
    return go.Figure(
        layout={
            "template": "plotly_white",
            "title": {
                "text": title,
                "font": {"size": 17, "color": INK, "weight": 600},
                "subtitle": {"text": subtitle, "font": {"size": 12.5, "color": "#555555"}},
                "x": 0, "xref": "container", "xanchor": "left", "y": 1, "yref": "container", "yanchor": "top",
                "pad": {"t": 12, "l": 8},
            },
            "font": {"family": FONT, "size": 12.5, "color": INK},
            "height": HEIGHT,
            "margin": {"l": 64, "r": 18, "t": 88, "b": 52},
            "legend": {
                "orientation": "h", "x": 0, "xanchor": "left", "y": 0, "yref": "container", "yanchor": "bottom",
                "font": {"size": 12.5},
                "itemwidth": 34, "tracegroupgap": 4, "maxheight": 110,
            },
            "hovermode": "x unified",
            "hoverlabel": {"font": {"size": 12}},
            "xaxis": shared | x_axis | {"unifiedhovertitle": {"text": f"{label} %{{x}}"}, "hoverformat": ".6~g"},
            "yaxis": shared | {"title": "<br>".join(wrap(y_title or title_of(values), WRAP))} | y_axis,
            "meta": {"caption": caption},
        }
    )  # fmt: skip


def title_of(values: xr.DataArray) -> str:
    """A variable's title: its long name, or its name in words.

    Examples
    --------
    >>> title_of(xr.DataArray(1.0, name="group_norm"))
    'group norm'
    """
    text = str(values.attrs.get("long_name") or str(values.name or "value").replace("_", " "))
    return text + (
        f" ({values.attrs['units']})" if "units" in values.attrs and values.attrs["units"] not in text else ""
    )
