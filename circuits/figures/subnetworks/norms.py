"""Figures of norms: mean neuron norm of each group, norms of single neurons; without groups, norms of parameters."""

import plotly.graph_objects as go
import xarray as xr

from circuits.checkpoints.run import Run
from circuits.figures.drawing.axes import variable
from circuits.figures.drawing.curves import curves_over_epochs, lines_by
from circuits.figures.drawing.papers import as_in, with_setting
from circuits.figures.subnetworks.neurons import all_neurons, dominant_neurons


def figures(run: Run, norms: xr.Dataset) -> list[go.Figure]:
    """Figures of the mean norm of each group and of single neurons; of parameters, if the model computes no outputs."""
    if "parameter_norm" in norms:
        return [parameter_norms(norms)]
    norms = with_setting(run, norms)
    return [group_norms(norms), dominant_neurons(norms), all_neurons(norms)]


def parameter_norms(result: xr.Dataset | xr.DataArray) -> go.Figure:
    """L2 norm of each parameter over epochs, from `parameter_norm` (step, seed, parameter)."""
    values = variable(result, "parameter_norm")
    lines, axis = lines_by(values, "parameter"), {"rangemode": "tozero"}
    return curves_over_epochs(
        result, values, "Norm of each parameter", "L2 norm of each parameter.", lines, y_axis=axis
    )


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
