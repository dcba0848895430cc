"""Heat maps over epochs, in panels: a row for each entry of a dimension, such as each frequency, and a menu of seeds.

Colors run from 0 to each panel's largest value. At most 160 checkpoints are drawn; the caption gives their number.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
import xarray as xr
from jaxtyping import Int

from circuits.analysis.networks.labels import spread
from circuits.figures.drawing.axes import axis_number, drawable, epochs, frame
from circuits.figures.drawing.bands import single
from circuits.figures.drawing.palette import COLORS, VERMILLION
from circuits.figures.drawing.phases import PANELS
from circuits.figures.drawing.seed_menu import add_seed_menu

MOST_COLUMNS, GAP = 160, 0.05  # checkpoints; share of the height between panels
PANEL, AROUND = 190, 190  # pixels of a panel, and around all panels


def heat_over_epochs(
    result: xr.Dataset,
    panels: Mapping[str, xr.DataArray],
    rows: str,
    title: str,
    caption: str,
    *,
    marked: Mapping[int, Sequence[int]] | None = None,
) -> go.Figure:
    """A heat map for each panel, with epochs along x.

    `panels` maps a panel's title to its values >= 0, which have the dimensions step, seed and `rows`. The dimension
    `rows` lies along y. `marked` maps a seed to entries of `rows`; a triangle at the panel's right edge marks each of
    these entries. The figure marks `memorization_epoch` and `generalization_epoch` (seed) if `result` has them.
    """
    values = next(iter(panels.values()))
    n_checkpoints, n_drawn = drawable(values).sizes["step"], len(_drawn_steps(values))
    some = "" if n_drawn == n_checkpoints else f" Drawn at {n_drawn} of {n_checkpoints:,} checkpoints."
    figure = frame(values, title, caption + some)
    first = figure.layout.yaxis.to_plotly_json()
    for index, (name, domain) in enumerate(zip(panels, domains(len(panels)), strict=True)):
        axis = first | {"title": {"text": f"{name}<br>{rows}"}, "domain": domain, "showgrid": False, "nticks": 6}
        figure.layout[f"yaxis{axis_number(index)}"] = axis
    axes = {f"y{axis_number(index)}": panel for index, panel in enumerate(panels.values())}
    figure.layout.xaxis.anchor = list(axes)[-1]
    figure.layout.meta = figure.layout.meta | {PANELS: len(panels)}
    traces = {}
    for seed in values["seed"].values.tolist():
        maps = [_heat(panel.sel(seed=seed), rows, axis) for axis, panel in axes.items()]
        entries = list((marked or {}).get(seed, ()))
        marks = [_marks(panel, entries, axis) for axis, panel in axes.items()] if entries else []
        traces[seed] = [*maps, *marks]
    add_seed_menu(figure, traces, result)
    figure.update_layout(height=AROUND + PANEL * len(panels), hovermode="closest", showlegend=False)
    return figure


def domains(n_panels: int) -> list[list[float]]:
    """Vertical ranges of panels below each other, as shares of the height, the first on top.

    Examples
    --------
    >>> domains(1), domains(2)
    ([[0.0, 1.0]], [[0.525, 1.0], [0.0, 0.475]])
    """
    height = (1 + GAP) / n_panels - GAP
    starts = [(n_panels - 1 - index) * (height + GAP) for index in range(n_panels)]
    return [[round(start, 6), round(start + height, 6)] for start in starts]


def _drawn_steps(values: xr.DataArray) -> Int[np.ndarray, " some"]:
    """Indices in `drawable(values)` of at most 160 checkpoints to draw; `drawable` drops epoch 0 on a log axis."""
    return spread(np.maximum(epochs(drawable(values)).values, 1e-9), MOST_COLUMNS)


def _heat(values: xr.DataArray, rows: str, axis: str) -> go.Heatmap:
    drawn = drawable(values).isel(step=_drawn_steps(values)).transpose(rows, "step")
    z = single(drawn.values)
    finite = z[np.isfinite(z)]
    return go.Heatmap(
        x=single(epochs(drawn).values), y=drawn[rows].values, z=z, yaxis=axis,
        zmin=0, zmax=float(finite.max(initial=0)) or 1.0,  # plotly needs both or none
        colorscale=COLORS, showscale=False,
        hovertemplate=f"epoch %{{x:.6~g}}, {rows} %{{y}}: %{{z:.3g}}<extra></extra>",
    )  # fmt: skip


def _marks(values: xr.DataArray, marked: list[int], axis: str) -> go.Scatter:
    end = float(epochs(values).values[-1])
    return go.Scatter(
        x=[end] * len(marked), y=marked, yaxis=axis, mode="markers", cliponaxis=False, hoverinfo="skip",
        marker={"symbol": "triangle-left", "size": 11, "color": VERMILLION, "line": {"color": "white", "width": 1}},
    )  # fmt: skip
