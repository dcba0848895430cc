"""Heat maps with one slider per dimension: all maps are tiles of one large map, and the axes show one tile.

A slider of plotly sets fixed values and does not know the other sliders. So all maps lie side by side, along x for the
first dimension and along y for the second. Each slider moves the range of its own axis, so the sliders reach every pair
of values without JavaScript.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float

from circuits.figures.drawing.axes import INK
from circuits.figures.drawing.palette import COLORS

LEVELS = 255  # a byte per cell keeps a page small
SLIDER = {"len": 0.72, "x": 0.14, "xanchor": "left", "pad": {"t": 0, "b": 0}, "ticklen": 4, "font": {"size": 11}}


def tiled(maps: Float[np.ndarray, "row column y x"]) -> Float[np.ndarray, "all_y all_x"]:
    """One large map that shows each map at its row and column; the first row has the lowest y.

    Examples
    --------
    >>> tiled(np.arange(4.0).reshape(2, 2, 1, 1))
    array([[0., 1.],
           [2., 3.]])
    """
    n_rows, n_columns, height, width = maps.shape
    return maps.transpose(0, 2, 1, 3).reshape(n_rows * height, n_columns * width)


def tiles(maps: Float[np.ndarray, "row column y x"], **look: Any) -> go.Heatmap:
    """One trace of all maps; the colors of each map cover the range from its least to its largest value.

    Parameters
    ----------
    maps
        Finite values; a constant map has the lowest color.
    look
        Further properties of the trace.
    """
    low, high = (edge(maps, axis=(2, 3), keepdims=True) for edge in (np.min, np.max))
    shares = (maps - low) / np.where(high > low, high - low, 1.0)
    z = np.rint(tiled(shares) * LEVELS).astype(np.uint8)
    return go.Heatmap(z=z, zmin=0, zmax=LEVELS, colorscale=COLORS, showscale=False, **look)


def tile_range(index: int, size: int) -> list[float]:
    """Range of an axis that shows the `index`-th tile, if each tile has `size` cells.

    Examples
    --------
    >>> tile_range(1, 10)
    [9.5, 19.5]
    """
    return [index * size - 0.5, (index + 1) * size - 0.5]


def tile_axis(n_tiles: int, size: int, first: int, labels: Sequence[str] | None = None) -> dict[str, Any]:
    """An axis along tiles that shows tile `first`; the ticks of each tile show `labels`, or numbers from 0."""
    distance = max(1, round(size / 6 / 5) * 5) if size > 12 else 2
    within = list(range(0, size, distance))
    return {
        "tickmode": "array", "tickvals": [tile * size + at for tile in range(n_tiles) for at in within],
        "ticktext": [str(at) if labels is None else labels[at] for at in within] * n_tiles,
        "range": tile_range(first, size), "type": "linear", "constrain": "domain", "showgrid": False, "zeroline": False,
        "showline": True, "linecolor": INK, "ticks": "outside", "ticklen": 4, "title_font_size": 13.5,
    }  # fmt: skip


def tile_slider(axis: str, what: str, labels: Sequence[str], size: int, first: int, y: float) -> dict[str, Any]:
    """A slider that moves the range of an axis to one tile of a large heat map; each tile is a smaller map.

    Parameters
    ----------
    axis
        "xaxis" or "yaxis".
    what
        Text before the label of the shown tile.
    labels
        Label of each tile along the axis.
    size
        Number of cells of a tile along the axis.
    first
        Index of the tile to show first.
    y
        Upper edge of the slider in plotly's paper coordinates; below 0 it lies below the plot.
    """
    steps = [
        {"label": label, "method": "relayout", "args": [{f"{axis}.range": tile_range(index, size)}]}
        for index, label in enumerate(labels)
    ]
    return SLIDER | {
        "steps": steps, "active": first, "y": y, "yanchor": "top",
        "currentvalue": {"prefix": f"{what} ", "font": {"size": 12.5, "color": INK}},
    }  # fmt: skip
