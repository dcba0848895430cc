"""Figures of networks that keep only one group of neurons: accuracy, and agreement with the whole network."""

import plotly.graph_objects as go
import xarray as xr

from circuits.checkpoints.run import Run
from circuits.figures.drawing.axes import variable
from circuits.figures.drawing.curves import curves_over_epochs, lines_by
from circuits.figures.drawing.papers import as_in, with_setting


def figures(run: Run, faithfulness: xr.Dataset) -> list[go.Figure]:
    """Figures of the agreement and the accuracy of each group of neurons in a run."""
    faithfulness = with_setting(run, faithfulness)
    return [agreement(faithfulness), group_accuracy(faithfulness)]


def agreement(result: xr.Dataset | xr.DataArray) -> go.Figure:
    """Agreement of each neuron group alone with the whole network over epochs: Figure 3 (right) of Merrill et al. 2023.

    Parameters
    ----------
    result
        `agreement` (group, step, seed), alone or in the dataset of `circuits.analyze(run, "faithfulness")`. The figure
        marks `memorization_epoch` and `generalization_epoch` (seed) if the dataset has them.
    """
    paper = as_in(result, "Figure 3 (right)")
    caption = (
        "Share of test inputs on which a group of neurons alone has the prediction of the whole network"
        f"{f'{paper}, with the memorizing group added' if paper else ''}."
    )
    return _groups(result, "agreement", "Agreement of each group", caption)


def group_accuracy(result: xr.Dataset | xr.DataArray) -> go.Figure:
    """Test accuracy of each group of neurons alone, over epochs.

    Parameters
    ----------
    result
        `accuracy` (group, step, seed), alone or in the dataset of `circuits.analyze(run, "faithfulness")`.
    """
    caption = "Share of test inputs that a group of neurons alone answers right."
    return _groups(result, "accuracy", "Accuracy of each group", caption)


def _groups(result: xr.Dataset | xr.DataArray, name: str, title: str, caption: str) -> go.Figure:
    values, axis = variable(result, name), {"range": [-0.03, 1.03], "tickformat": ".1f"}
    return curves_over_epochs(result, values, title, caption, lines_by(values, "group"), y_axis=axis)
