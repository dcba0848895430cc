"""How large the neurons are: each group on average, and single ones."""

import plotly.graph_objects as go
import xarray as xr

from circuits.checkpoints.run import Run
from circuits.figures.drawing.axes import frame, variable
from circuits.figures.drawing.bands import add_band, add_seed_legend, seeds_shown
from circuits.figures.drawing.palette import style_of
from circuits.figures.drawing.papers import as_in, with_setting
from circuits.figures.drawing.phases import mark_phases
from circuits.figures.subnetworks.neurons import all_neurons, dominant_neurons


def figures(run: Run, norms: xr.Dataset) -> list[go.Figure]:
    """Norms of the groups and of single neurons of a run."""
    norms = with_setting(run, norms)
    return [group_norms(norms), dominant_neurons(norms), all_neurons(norms)]


def group_norms(result: xr.Dataset | xr.DataArray) -> go.Figure:
    """Mean neuron norm of each group over epochs: Figure 3 (left) of Merrill et al. 2023.

    Parameters
    ----------
    result
        `group_norm` (group, step, seed), alone or in the dataset of `circuits.analyze(run, "norms")`; with
        `memorization_epoch` and `generalization_epoch` (seed) the phases are marked.
    """
    values = variable(result, "group_norm")
    paper = as_in(result, "Figure 3 (left)")
    caption = f"Mean norm of the neurons in each group{f'{paper}, with the memorizing group added' if paper else ''}."
    axis = {"rangemode": "tozero"}
    figure = frame(values, "Norm of each group", caption, subtitle=seeds_shown(values), y_axis=axis)
    for index, group in enumerate(values["group"].values.tolist()):
        add_band(figure, values.sel(group=group), group, style_of(group, index))
    add_seed_legend(figure, values["seed"])
    mark_phases(figure, result)
    return figure
