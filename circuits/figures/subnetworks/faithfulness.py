"""What each group of neurons, alone, gets right: of the whole network's predictions, and of the answers."""

import plotly.graph_objects as go
import xarray as xr

from circuits.checkpoints.run import Run
from circuits.figures.drawing.axes import frame, variable
from circuits.figures.drawing.bands import add_band, add_seed_legend, seeds_shown
from circuits.figures.drawing.palette import style_of
from circuits.figures.drawing.papers import as_in, with_setting
from circuits.figures.drawing.phases import mark_phases


def figures(run: Run, faithfulness: xr.Dataset) -> list[go.Figure]:
    """Agreement and accuracy of the groups of a run."""
    faithfulness = with_setting(run, faithfulness)
    return [agreement(faithfulness), group_accuracy(faithfulness)]


def agreement(result: xr.Dataset | xr.DataArray) -> go.Figure:
    """Agreement of each group with the whole network over epochs: Figure 3 (right) of Merrill et al. 2023.

    Parameters
    ----------
    result
        `agreement` (group, step, seed), alone or in the dataset of `circuits.analyze(run, "faithfulness")`; with
        `memorization_epoch` and `generalization_epoch` (seed) the phases are marked.
    """
    paper = as_in(result, "Figure 3 (right)")
    caption = (
        "Share of test inputs on which a group of neurons alone predicts what the whole network predicts"
        f"{f'{paper}, with the memorizing group added' if paper else ''}."
    )
    return _groups(result, variable(result, "agreement"), "Agreement of each group", caption)


def group_accuracy(result: xr.Dataset | xr.DataArray) -> go.Figure:
    """Test accuracy of each group alone over epochs.

    Parameters
    ----------
    result
        `accuracy` (group, step, seed), or the dataset that has it; further as in `agreement`.
    """
    caption = "Share of test inputs that a group of neurons alone answers right."
    return _groups(result, variable(result, "accuracy"), "Accuracy of each group", caption)


def _groups(result: xr.Dataset | xr.DataArray, values: xr.DataArray, title: str, caption: str) -> go.Figure:
    axis = {"range": [-0.03, 1.03], "tickformat": ".1f"}
    figure = frame(values, title, caption, subtitle=seeds_shown(values), y_axis=axis)
    for index, group in enumerate(values["group"].values.tolist()):
        add_band(figure, values.sel(group=group), group, style_of(group, index))
    add_seed_legend(figure, values["seed"])
    mark_phases(figure, result)
    return figure
