"""Figure of a result, such as the generalization epoch, against a setting that differs between runs.

Each seed of each run is a point, and a line connects the medians of the runs. Fuangkawinsombut 2024 has such figures
(3.1 and 3.4), and so have Liu, Chi and Wu (Figure 4). A number at the upper edge counts the seeds without a value, such
as seeds that never generalized. A triangle that points down is an upper bound of an epoch.
"""

from collections.abc import Mapping

import numpy as np
import plotly.graph_objects as go
import xarray as xr

from circuits.errors import InputError
from circuits.figures.drawing.axes import PALE, frame, title_of
from circuits.figures.drawing.bands import single
from circuits.figures.drawing.palette import faint, shades

BOUND = "triangle-down"


def against(
    values: xr.DataArray | Mapping[str, xr.DataArray],
    along: str,
    *,
    title: str | None = None,
    log_x: bool = False,
    y_range: tuple[float, float] | None = None,
) -> go.Figure:
    """Figure of a result of several runs over a setting in which the runs differ, such as the weight decay.

    Parameters
    ----------
    values
        (run, seed) variable of `circuits.analysis.outcomes` with a numeric coordinate along `run`; a mapping of several
        variables gives a line for each variable. The coordinate `memorization_censored` or `generalization_censored`
        marks epochs that are upper bounds.
    along
        Name of the numeric coordinate to draw along x.
    title
        Title of the figure; by default the title of the variable.
    log_x
        Whether the x axis is a log axis; it stays linear if some x is not above 0.
    y_range
        Ends of the y axis.

    Raises
    ------
    InputError
        There are no runs, or they have no numeric coordinate with this name.
    """
    lines = {"": values} if isinstance(values, xr.DataArray) else dict(values)
    if not lines:
        raise InputError("There is nothing to draw: `values` is empty. Pass one or more variables (run, seed).")
    first = next(iter(lines.values()))
    for line in lines.values():
        if along not in line.coords or line[along].dtype.kind not in "fiu":
            raise InputError(
                f"The runs have no numeric coordinate '{along}'. Add it: values.assign_coords({along}=('run', [...]))."
            )
    across = np.unique(np.concatenate([line[along].values for line in lines.values()]).astype(np.float64))
    text = title or title_of(first).capitalize()
    caption = f"{text} over {along}: every seed of every run, and a line through the medians."
    places = xr.DataArray(np.zeros(len(across)), {"step": across}, ["step"])
    figure = frame(places, text, caption, subtitle="points: seeds; line: their median", y_title=title_of(first))
    kind = "log" if log_x and across.min() > 0 else "linear"
    figure.layout.xaxis = figure.layout.xaxis.to_plotly_json() | {
        "type": kind, "range": None, "title": {"text": title_of(first[along])}, "gridcolor": PALE,
        "tickvals": across if len(across) <= 15 else None, "unifiedhovertitle": None, "tickformat": "~g",
    }  # fmt: skip
    if y_range is not None:
        figure.layout.yaxis.range = y_range
    for (name, line), (color, marker) in zip(lines.items(), shades(list(lines)), strict=True):
        _draw(figure, line.sortby(along).transpose("run", "seed"), along, name, color, marker)
    figure.update_layout(hovermode="closest", showlegend=len(lines) > 1)
    return figure


def _bounds(line: xr.DataArray) -> np.ndarray:
    """Mask (run, seed): True if the epoch in `line` is only an upper bound, so that the true epoch may be earlier.

    The mask is a coordinate of `line`. Its name is the name of `line` with `_censored` in place of `_epoch`, such as
    `memorization_censored` for `memorization_epoch`. If `line` lacks this coordinate, the mask is False everywhere.
    """
    censored = str(line.name).replace("_epoch", "_censored")
    if censored == line.name or censored not in line.coords:
        return np.zeros(line.shape, bool)
    return line[censored].transpose("run", "seed").values.astype(bool)


def _draw(figure: go.Figure, line: xr.DataArray, along: str, name: str, color: str, marker: str | None) -> None:
    x, y = (values.astype(np.float64) for values in (line[along].values, line.values))
    finite = np.isfinite(y)
    median = [np.median(row[known]) if known.any() else np.nan for row, known in zip(y, finite, strict=True)]
    places, seeds = np.nonzero(finite)
    bound = _bounds(line)[finite]
    hints = np.where(bound, ", at or before this epoch", "")
    hover = [f"seed {line['seed'].values[seed]}{more}" for seed, more in zip(seeds, hints, strict=True)]
    symbol = np.where(bound, BOUND, "circle").tolist() if bound.any() else "circle"
    figure.add_scatter(
        x=single(x[places]), y=single(y[finite]), text=hover, mode="markers", legendgroup=name, showlegend=False,
        marker={"color": faint(color, 0.45), "size": 6, "symbol": symbol},
        hovertemplate="%{y:.4~g} (%{text})<extra>" + name + "</extra>",
    )  # fmt: skip
    figure.add_scatter(
        x=single(x), y=single(np.array(median)), name=name, legendgroup=name, mode="lines+markers", connectgaps=False,
        line={"color": color, "width": 2.2}, marker={"symbol": marker or "circle", "size": 5},
        hovertemplate="median %{y:.4~g}<extra>" + name + "</extra>",
    )  # fmt: skip
    for place, n_none in enumerate((~finite).sum(axis=1)):
        if n_none:
            at = float(np.log10(x[place]) if figure.layout.xaxis.type == "log" else x[place])
            figure.add_annotation(
                x=at, y=1, yref="y domain", text=f"{n_none} none", showarrow=False, yanchor="bottom",
                font={"size": 11, "color": color},
            )  # fmt: skip
