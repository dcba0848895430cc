"""Figures of a measurement that brings none of its own: one for each variable over steps and seeds.

A variable with one further short dimension has a line for each of its entries.
"""

import plotly.graph_objects as go
import xarray as xr

from circuits.checkpoints.run import Run
from circuits.figures.drawing.axes import frame, title_of
from circuits.figures.drawing.bands import add_band, add_seed_legend, seeds_shown
from circuits.figures.drawing.decay import DECAY
from circuits.figures.drawing.palette import ALONE, style_of
from circuits.figures.drawing.phases import mark_phases

MOST_LINES = 8  # a further dimension of at most so many entries is drawn, one line each


def figures(run: Run, result: xr.Dataset) -> list[go.Figure]:
    """A figure for every numeric variable over step and seed, and at most one further short dimension."""
    drawn = []
    for name, values in result.data_vars.items():
        others = [dim for dim in values.dims if dim not in ("step", "seed")]
        over_steps = {"step", "seed"} <= set(values.dims) and values.dtype.kind in "fiub"
        if name != DECAY and over_steps and len(others) <= 1 and all(values.sizes[dim] <= MOST_LINES for dim in others):
            drawn.append(trajectory(result, str(name)))
    return drawn


def trajectory(result: xr.Dataset, name: str) -> go.Figure:
    """The variable `name` over epochs; a further dimension gives one line each.

    Parameters
    ----------
    result
        The variable (step, seed) or (step, seed, one more); with `memorization_epoch` and `generalization_epoch` (seed)
        the phases are marked.
    """
    values = result[name].astype(float)
    values.attrs = result[name].attrs
    others = [dim for dim in values.dims if dim not in ("step", "seed")]
    along = f", by {others[0]}" if others else ""
    title = name.replace("_", " ").capitalize()
    caption = f"{title_of(values).capitalize()} over epochs{along}."
    figure = frame(values, title, caption, subtitle=seeds_shown(values))
    if others:
        dim = others[0]
        for index, label in enumerate(values[dim].values.tolist()):
            add_band(figure, values.isel({dim: index}), str(label), style_of(str(label), index))
    else:
        add_band(figure, values, title_of(values), ALONE)
    add_seed_legend(figure, values["seed"])
    mark_phases(figure, result)
    return figure
