"""Effective sparsity over epochs: the number of neurons that the network's predictions need."""

import numpy as np
import plotly.graph_objects as go
import xarray as xr

from circuits.checkpoints.run import Run
from circuits.figures.drawing.axes import title_of, variable
from circuits.figures.drawing.curves import curves_over_epochs
from circuits.figures.drawing.palette import ALONE
from circuits.figures.drawing.papers import as_in, with_setting


def figures(run: Run, subnetwork: xr.Dataset) -> list[go.Figure]:
    """Figure of a run's effective sparsity, the number of neurons that the predictions need."""
    return [effective_sparsity(with_setting(run, subnetwork))]


def effective_sparsity(result: xr.Dataset | xr.DataArray) -> go.Figure:
    """Number of neurons that the predictions need, over epochs: Figure 2 (right) of Merrill et al. 2023.

    Parameters
    ----------
    result
        `effective_sparsity` (step, seed), alone or in the dataset of `circuits.analyze(run, "subnetwork")`. The figure
        marks `memorization_epoch` and `generalization_epoch` (seed) if the dataset has them.
    """
    values = variable(result, "effective_sparsity")
    zeros = ", 0 left out" if bool((values == 0).any()) else ""
    prediction = result.attrs.get("prediction", "prediction")
    caption = (
        f"Fewest neurons of largest norm that give the same {prediction} as the whole network on every input of the "
        f"agreement set{as_in(result, 'Figure 2 (right)')}; down is sparser."
    )
    return curves_over_epochs(
        result, values, "Effective sparsity", caption, [(values.where(values > 0), "effective sparsity", ALONE)],
        form=".4~g", y_title=f"{title_of(values)} (log scale{zeros})", y_axis={"type": "log", "range": _range(values)},
    )  # fmt: skip


def _range(values: xr.DataArray) -> list[float] | None:
    finite = values.values[np.isfinite(values.values) & (values.values > 0)]
    if not finite.size:
        return None
    low, high = np.log10([finite.min(), finite.max()])
    edge = 0.04 * max(high - low, 1.0)
    return [float(low - edge), float(high + edge)]
