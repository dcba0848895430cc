"""Default figures, for a measurement without its own figures: one figure for each variable over steps and seeds.

A variable with one further dimension of at most 8 entries has a line for each entry.
"""

import plotly.graph_objects as go
import xarray as xr

from circuits.checkpoints.run import Run
from circuits.figures.drawing.axes import title_of
from circuits.figures.drawing.curves import curves_over_epochs, lines_by
from circuits.figures.drawing.decay import DECAY
from circuits.figures.drawing.palette import ALONE

MOST_LINES = 8  # entries of a further dimension, a line for each


def figures(run: Run, result: xr.Dataset) -> list[go.Figure]:
    """A figure for every numeric variable over step, seed and at most one further dimension of at most 8 entries."""
    drawn = []
    for name, values in result.data_vars.items():
        others = [dim for dim in values.dims if dim not in ("step", "seed")]
        over_steps = {"step", "seed"} <= set(values.dims) and values.dtype.kind in "fiub"
        if name != DECAY and over_steps and len(others) <= 1 and all(values.sizes[dim] <= MOST_LINES for dim in others):
            drawn.append(trajectory(result, str(name)))
    return drawn


def trajectory(result: xr.Dataset, name: str) -> go.Figure:
    """The variable `name` over epochs, with a line for each entry of a further dimension.

    Parameters
    ----------
    result
        Dataset with the variable (step, seed) or (step, seed, further dimension). The figure marks
        `memorization_epoch` and `generalization_epoch` (seed) if the dataset has them.
    """
    values = result[name].astype(float)
    values.attrs = result[name].attrs
    others = [dim for dim in values.dims if dim not in ("step", "seed")]
    along = f", by {others[0]}" if others else ""
    title = name.replace("_", " ").capitalize()
    caption = f"{title_of(values).capitalize()} over epochs{along}."
    lines = lines_by(values, str(others[0])) if others else [(values, title_of(values), ALONE)]
    return curves_over_epochs(result, values, title, caption, lines)
