"""A grid of heat maps in one figure that shows one map at a time; sliders choose the map.

The maps lie side by side, as tiles of one large heat map. The axes of the figure show one tile. A slider for the grid's
columns moves the range of the x axis, and a slider for the grid's rows moves the range of the y axis. In plotly, a
slider sets fixed values and does not know other sliders. Here each slider moves its own axis, without JavaScript.
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

    All values must be finite. A constant map has the lowest color. The trace gets the further properties in `look`.
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
    """An axis along `n_tiles` small maps (tiles) in a large heat map. At first, the axis shows only the tile `first`.

    Each tile has `size` cells along the axis. `labels` has a text for each cell of a tile, the same texts in all tiles.
    Without `labels`, the cells of each tile are numbered from 0.
    """
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

    `axis` is "xaxis" or "yaxis". A tile has `size` cells along the axis, and tile number `first` is shown first. The
    slider shows the text `what` and the tile's entry in `labels`. The upper edge of the slider is at height `y` in
    plotly's paper coordinates; a negative `y` is below the plot.
    """
    steps = [
        {"label": label, "method": "relayout", "args": [{f"{axis}.range": tile_range(index, size)}]}
        for index, label in enumerate(labels)
    ]
    return SLIDER | {
        "steps": steps, "active": first, "y": y, "yanchor": "top",
        "currentvalue": {"prefix": f"{what} ", "font": {"size": 12.5, "color": INK}},
    }  # fmt: skip
