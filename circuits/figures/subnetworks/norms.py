"""Figures of neuron norms: mean norm of each group (generalizing, memorizing, ...), and norms of single neurons."""

import plotly.graph_objects as go
import xarray as xr

from circuits.checkpoints.run import Run
from circuits.figures.drawing.axes import variable
from circuits.figures.drawing.curves import curves_over_epochs, lines_by
from circuits.figures.drawing.papers import as_in, with_setting
from circuits.figures.subnetworks.neurons import all_neurons, dominant_neurons


def figures(run: Run, norms: xr.Dataset) -> list[go.Figure]:
    """Figures of the mean norm of each group of neurons, and of the norms of single neurons."""
    norms = with_setting(run, norms)
    return [group_norms(norms), dominant_neurons(norms), all_neurons(norms)]


def group_norms(result: xr.Dataset | xr.DataArray) -> go.Figure:
    """Mean norm of the neurons in each group over epochs: Figure 3 (left) of Merrill et al. 2023.

    Parameters
    ----------
    result
        `group_norm` (group, step, seed), alone or in the dataset of `circuits.analyze(run, "norms")`. The figure
        marks `memorization_epoch` and `generalization_epoch` (seed) if the dataset has them.
    """
    values = variable(result, "group_norm")
    paper = as_in(result, "Figure 3 (left)")
    caption = f"Mean norm of the neurons in each group{f'{paper}, with the memorizing group added' if paper else ''}."
    lines, axis = lines_by(values, "group"), {"rangemode": "tozero"}
    return curves_over_epochs(result, values, "Norm of each group", caption, lines, y_axis=axis)
