"""Learning curves: accuracy and loss on the training and the test set, with the phases marked."""

import numpy as np
import plotly.graph_objects as go
import xarray as xr

from circuits.checkpoints.run import Run
from circuits.figures import generic
from circuits.figures.axes import frame
from circuits.figures.bands import add_band, add_seed_legend, seeds_shown
from circuits.figures.palette import TEST, TRAIN
from circuits.figures.phases import mark_phases, with_phases


def figures(run: Run, metrics: xr.Dataset) -> list[go.Figure]:
    """Accuracy and loss of a run, from its metrics, and the further metrics that its config asked for."""
    metrics = with_phases(run, metrics)
    return [accuracy(metrics), loss(metrics), *(generic.trajectory(metrics, name) for name in run.config.metrics)]


def accuracy(metrics: xr.Dataset) -> go.Figure:
    """Train and test accuracy over epochs: Figure 2 (left) of Merrill et al. 2023.

    Parameters
    ----------
    metrics
        `train_accuracy` and `test_accuracy` (step, seed), as `run.metrics` has them; with `memorization_epoch` and
        `generalization_epoch` (seed) the phases are marked: `run.metrics.merge(circuits.analysis.phases(run))`.
    """
    caption = "Share of right answers at every checkpoint, as in Figure 2 (left) of Merrill et al. 2023."
    figure = frame(
        metrics["train_accuracy"],
        "Accuracy",
        caption,
        subtitle=seeds_shown(metrics["train_accuracy"]),
        y_title="accuracy",
        y_axis={"range": [_floor(metrics), 1.03], "tickformat": ".1f"},
    )
    return _train_and_test(figure, metrics, "accuracy")


def loss(metrics: xr.Dataset) -> go.Figure:
    """Train and test loss over epochs: Figure 2 (middle) of Merrill et al. 2023.

    Parameters
    ----------
    metrics
        `train_loss` and `test_loss` (step, seed); further as in `accuracy`.
    """
    caption = (
        "Mean loss per example at every checkpoint, without the weight decay, "
        "as in Figure 2 (middle) of Merrill et al. 2023."
    )
    top = _ceiling(metrics)
    beyond = "" if top is None else " (larger values beyond the axis)"
    figure = frame(
        metrics["train_loss"],
        "Loss",
        caption,
        subtitle=seeds_shown(metrics["train_loss"]),
        y_title=f"mean loss{beyond}",
        y_axis={"rangemode": "tozero"} if top is None else {"range": [0, top]},
    )
    return _train_and_test(figure, metrics, "loss")


def _train_and_test(figure: go.Figure, metrics: xr.Dataset, what: str) -> go.Figure:
    add_band(figure, metrics[f"train_{what}"], "train", TRAIN)
    add_band(figure, metrics[f"test_{what}"], "test", TEST)
    add_seed_legend(figure, metrics["seed"])
    mark_phases(figure, metrics)
    return figure


def _floor(metrics: xr.Dataset) -> float:
    """A tenth below which no accuracy falls, so that the axis has no empty half."""
    values = np.concatenate([metrics[name].values.ravel() for name in ("train_accuracy", "test_accuracy")])
    known = values[np.isfinite(values)]
    return float(np.floor(known.min() * 10) / 10) - 0.03 if known.size else -0.03


def _ceiling(metrics: xr.Dataset) -> float | None:
    """Ten times the largest loss at the start, if a seed goes beyond: where one diverges, the others stay legible."""
    values = np.stack([metrics[name].transpose("step", "seed").values for name in ("train_loss", "test_loss")])
    start = values[:, 0]
    top = 10 * float(start.max(where=np.isfinite(start), initial=0))
    return top if top > 0 and bool((values > top).any()) else None
