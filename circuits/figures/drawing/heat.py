"""Heat maps over epochs: a row for each entry of a dimension, such as frequencies, panel below panel, a menu of seeds.

Colors run from 0 to each panel's largest value. Of many checkpoints some are drawn, and the caption says how many.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
import xarray as xr
from jaxtyping import Int

from circuits.analysis.networks.labels import spread
from circuits.figures.drawing.axes import drawable, epochs, frame
from circuits.figures.drawing.bands import single
from circuits.figures.drawing.palette import SCALE, VERMILLION
from circuits.figures.drawing.phases import PANELS
from circuits.figures.drawing.seed_menu import add_seed_menu

MOST_COLUMNS, GAP = 160, 0.05
COLORS = [[i / (len(SCALE) - 1), color] for i, color in enumerate(SCALE)]
PANEL, AROUND = 190, 190  # pixels


def heat_over_epochs(
    result: xr.Dataset,
    panels: Mapping[str, xr.DataArray],
    rows: str,
    title: str,
    caption: str,
    *,
    marked: Mapping[int, Sequence[int]] | None = None,
    note: str = "",
) -> go.Figure:
    """A heat map for each panel, epochs across.

    Parameters
    ----------
    result
        (seed) when each seed memorized and generalized, if it says so.
    panels
        Title -> (step, seed, rows) values >= 0.
    rows
        The dimension along y.
    marked
        Of each seed the entries of `rows` that get a mark on the right.
    note
        Follows the seed in the subtitle.
    """
    values = next(iter(panels.values()))
    n_checkpoints, n_drawn = drawable(values).sizes["step"], len(_drawn_steps(values))
    some = "" if n_drawn == n_checkpoints else f" Drawn at {n_drawn} of {n_checkpoints:,} checkpoints."
    figure = frame(values, title, caption + some)
    first = figure.layout.yaxis.to_plotly_json()
    for index, (name, domain) in enumerate(zip(panels, domains(len(panels)), strict=True)):
        axis = first | {"title": {"text": f"{name}<br>{rows}"}, "domain": domain, "showgrid": False, "nticks": 6}
        figure.layout[f"yaxis{index + 1 if index else ''}"] = axis
    figure.layout.xaxis.anchor = f"y{len(panels)}" if len(panels) > 1 else "y"
    figure.layout.meta = figure.layout.meta | {PANELS: len(panels)}
    traces = {}
    for seed in values["seed"].values.tolist():
        own = [_heat(panel.sel(seed=seed), rows, index) for index, panel in enumerate(panels.values())]
        marks = [_marks(panel, (marked or {}).get(seed, ()), index) for index, panel in enumerate(panels.values())]
        traces[seed] = own + [mark for mark in marks if mark is not None]
    add_seed_menu(figure, traces, result, note)
    figure.update_layout(height=AROUND + PANEL * len(panels), hovermode="closest", showlegend=False)
    return figure


def domains(n_panels: int) -> list[list[float]]:
    """Where panels lie, below each other, as shares of the height, the first on top.

    Examples
    --------
    >>> domains(1), domains(2)
    ([[0.0, 1.0]], [[0.525, 1.0], [0.0, 0.475]])
    """
    height = (1 + GAP) / n_panels - GAP
    starts = [(n_panels - 1 - index) * (height + GAP) for index in range(n_panels)]
    return [[round(start, 6), round(start + height, 6)] for start in starts]


def _drawn_steps(values: xr.DataArray) -> Int[np.ndarray, " some"]:
    """Indices of the checkpoints that are drawn, among those that have a place on the axis."""
    return spread(np.maximum(epochs(drawable(values)).values, 1e-9), MOST_COLUMNS)


def _heat(values: xr.DataArray, rows: str, index: int) -> go.Heatmap:
    drawn = drawable(values).isel(step=_drawn_steps(values)).transpose(rows, "step")
    z = single(drawn.values)
    finite = z[np.isfinite(z)]
    return go.Heatmap(
        x=single(epochs(drawn).values), y=drawn[rows].values, z=z, yaxis=_axis(index),
        zmin=0, zmax=float(finite.max(initial=0)) or 1.0,  # plotly takes neither without the other
        colorscale=COLORS, showscale=False,
        hovertemplate=f"epoch %{{x:.6~g}}, {rows} %{{y}}: %{{z:.3g}}<extra></extra>",
    )  # fmt: skip


def _marks(values: xr.DataArray, marked: Sequence[int], index: int) -> go.Scatter | None:
    """Triangles beside the marked rows, at the last checkpoint."""
    if not len(marked):
        return None
    end = float(epochs(values).values[-1])
    return go.Scatter(
        x=[end] * len(marked), y=list(marked), yaxis=_axis(index), mode="markers", cliponaxis=False, hoverinfo="skip",
        marker={"symbol": "triangle-left", "size": 11, "color": VERMILLION, "line": {"color": "white", "width": 1}},
    )  # fmt: skip


def _axis(index: int) -> str:
    return f"y{index + 1}" if index else "y"
