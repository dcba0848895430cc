"""The frame of every figure: epochs along x, on a log scale, as in many papers on grokking.

A log axis leaves out epoch 0, the initialization, and its title says so. A result with fewer than two checkpoints after
epoch 0 has a linear axis with all checkpoints.
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
    """The variable `name` of a dataset; an array is returned unchanged."""
    return result[name] if isinstance(result, xr.Dataset) else result


def axis_number(index: int) -> str:
    """Suffix of plotly's name for axis number `index`: "" for axis 0, "2" for axis 1, "3" for axis 2."""
    return str(index + 1) if index else ""


def epochs(values: xr.DataArray | xr.Dataset) -> xr.DataArray:
    """Position of each checkpoint on the x axis: its epoch, or its step if the values have no epochs."""
    return values["epoch"] if "epoch" in values.coords else values["step"]


def on_log_axis(values: xr.DataArray | xr.Dataset) -> bool:
    """Whether the x axis is a log axis: True if at least two checkpoints lie after epoch 0, the initialization."""
    return int((epochs(values) > 0).sum()) >= 2


def drawable(values: xr.DataArray) -> xr.DataArray:
    """The values at the checkpoints that the x axis can show: those after epoch 0 if it is a log axis."""
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
    """An empty figure with the epochs of `values` along x.

    The title of the y axis is `y_title` or, by default, the long name of `values`. `layout.meta` stores `caption`, the
    text below the figure on an HTML page. `y_axis` has further properties of the y axis.
    """
    x = epochs(values)
    x_axis: dict[str, Any]
    shown = epochs(drawable(values)).values
    label = str(x.attrs.get("long_name", x.name))
    if on_log_axis(values):
        left_out = f", {x.name} 0 left out" if shown.size < x.size else ""
        low, high = np.log10([shown.min(), shown.max()])
        edge = min(0.02 * (high - low), 0.04)  # no room for a tick before the first checkpoint
        x_axis = {"type": "log", "range": [low - edge, high + edge], "title": f"{label} (log scale{left_out})"}
    else:
        x_axis = {"type": "linear", "title": label}
    y_axis = {"type": "linear"} | (y_axis or {})
    for axis in (x_axis, y_axis):  # on a log axis "power" would write 2x10³ for 2000
        axis["exponentformat"] = "none" if axis["type"] == "log" else "power"
    shared = {
        "showline": True, "linecolor": INK, "ticks": "outside", "ticklen": 4, "tickcolor": INK, "gridcolor": PALE,
        "minorloglabels": "complete", "nticks": 6, "zeroline": False, "title_standoff": 10, "title_font_size": 13.5,
    }  # fmt: skip
    return go.Figure(
        layout={
            "template": "plotly_white",
            "title": heading(title, subtitle),
            "font": {"family": FONT, "size": 12.5, "color": INK},
            "height": HEIGHT,
            "margin": {"l": 64, "r": 18, "t": 88, "b": 52},
            "legend": {
                "orientation": "h", "x": 0, "xanchor": "left", "y": 0, "yref": "container", "yanchor": "bottom",
                "font": {"size": 12.5}, "itemwidth": 34, "tracegroupgap": 4, "maxheight": 110,
            },
            "hovermode": "x unified",
            "hoverlabel": {"font": {"size": 12}},
            "xaxis": shared | x_axis | {"unifiedhovertitle": {"text": f"{label} %{{x}}"}, "hoverformat": ".6~g"},
            "yaxis": shared | {"title": "<br>".join(wrap(y_title or title_of(values), WRAP))} | y_axis,
            "meta": {"caption": caption},
        }
    )  # fmt: skip


def heading(title: str, subtitle: str | None = None) -> dict[str, Any]:
    """Title and subtitle of a figure, in its upper left corner."""
    return {
        "text": title, "font": {"size": 17, "color": INK, "weight": 600},
        "subtitle": {"text": subtitle, "font": {"size": 12.5, "color": "#555555"}},
        "x": 0, "xref": "container", "xanchor": "left", "y": 1, "yref": "container", "yanchor": "top",
        "pad": {"t": 12, "l": 8},
    }  # fmt: skip


def title_of(values: xr.DataArray) -> str:
    """Title of a variable: its attribute `long_name`, or else its name with spaces, and the units in parentheses.

    Examples
    --------
    >>> title_of(xr.DataArray(1.0, name="group_norm"))
    'group norm'
    """
    text = str(values.attrs.get("long_name") or str(values.name or "value").replace("_", " "))
    units = values.attrs.get("units", "")
    return text if units in text else f"{text} ({units})"
