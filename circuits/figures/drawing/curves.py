"""Curves over epochs: lines with bands, a legend entry for each seed, and marks at memorization and generalization."""

from collections.abc import Iterable
from typing import Any

import plotly.graph_objects as go
import xarray as xr

from circuits.figures.drawing.axes import frame
from circuits.figures.drawing.bands import add_band, add_seed_legend, seeds_shown
from circuits.figures.drawing.palette import Style, style_of
from circuits.figures.drawing.phases import mark_phases


def curves_over_epochs(
    result: xr.Dataset | xr.DataArray,
    values: xr.DataArray,
    title: str,
    caption: str,
    lines: Iterable[tuple[xr.DataArray, str, Style]],
    *,
    form: str = ".3g",
    y_title: str | None = None,
    y_axis: dict[str, Any] | None = None,
) -> go.Figure:
    """A figure of several lines, each the mean over seeds with a band.

    `lines` has the values (step, seed), the name and the style of each line. The figure does not draw `values`: their
    epochs and their name determine the axes, and their seeds the legend. The figure marks `memorization_epoch` and
    `generalization_epoch` (seed) if `result` has them. `form` is the format of a value in the hover text. `caption` is
    the text below the figure on an HTML page. `y_axis` has further properties of the y axis.
    """
    figure = frame(values, title, caption, subtitle=seeds_shown(values), y_title=y_title, y_axis=y_axis)
    for of_line, name, style in lines:
        add_band(figure, of_line, name, style, form)
    add_seed_legend(figure, values["seed"])
    mark_phases(figure, result)
    return figure


def lines_by(values: xr.DataArray, dim: str) -> list[tuple[xr.DataArray, str, Style]]:
    """Values, name and style of a line for each entry along a dimension; name and style come from the entry's label."""
    labels = [str(label) for label in values[dim].values.tolist()]
    return [(values.isel({dim: index}), label, style_of(label, index)) for index, label in enumerate(labels)]
