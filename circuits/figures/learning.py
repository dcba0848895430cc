"""Learning curves: accuracy and loss on the training and the test set, with the phases marked.

Where the training set has marked examples, such as flipped ones, their accuracy is told apart. A dashed line across
says how much of a test set of modular arithmetic commuting would solve.
"""

import numpy as np
import plotly.graph_objects as go
import xarray as xr

from circuits.analysis.fourier.commuted import MARK, commuted_share
from circuits.checkpoints.layout import UNSEEN_ACCURACY
from circuits.checkpoints.run import Run
from circuits.errors import InputError
from circuits.figures import generic
from circuits.figures.drawing.axes import frame
from circuits.figures.drawing.bands import add_band, add_seed_legend, seeds_shown
from circuits.figures.drawing.palette import GREY, TEST, TRAIN, UNSEEN, style_of
from circuits.figures.drawing.papers import as_in, with_setting
from circuits.figures.drawing.phases import mark_phases

MARKED = "train_accuracy_"


def figures(run: Run, metrics: xr.Dataset) -> list[go.Figure]:
    """Accuracy and loss of a run, from its metrics, and the further metrics that its config asked for."""
    metrics = with_setting(run, metrics)
    if MARK in run.all_data:
        metrics = metrics.assign(commuted_share=commuted_share(run))
    marked = [marked_accuracy(metrics)] if _marks(metrics) else []
    further = [generic.trajectory(metrics, name) for name in run.config.metrics]
    return [accuracy(metrics), *marked, loss(metrics), *further]


def accuracy(metrics: xr.Dataset) -> go.Figure:
    """Train and test accuracy over epochs: Figure 2 (left) of Merrill et al. 2023.

    Parameters
    ----------
    metrics
        `train_accuracy` and `test_accuracy` (step, seed), as `run.metrics` has them; with `memorization_epoch` and
        `generalization_epoch` (seed) the phases are marked: `run.metrics.merge(circuits.analysis.phases(run))`; with
        `commuted_share` (seed), of `circuits.analysis.commuted_share(run)`, a dashed line says what commuting would
        give, as in Figure 4 there; `test_accuracy_unseen`, where it is, is drawn beside.
    """
    share = float(metrics["commuted_share"].mean()) if "commuted_share" in metrics else 0.0
    commuted = (
        ". Dashed across: the share of test examples that are training examples in another order of operands"
        if share
        else ""
    )
    caption = f"Share of right answers at every checkpoint{as_in(metrics, 'Figure 2 (left)')}{commuted}."
    if UNSEEN_ACCURACY in metrics:
        caption += " Unseen: on the test inputs that are not in the training set."
    figure = frame(
        metrics["train_accuracy"],
        "Accuracy",
        caption,
        subtitle=seeds_shown(metrics["train_accuracy"]),
        y_title="accuracy",
        y_axis={"range": [_floor(metrics), 1.03], "tickformat": ".1f"},
    )
    _train_and_test(figure, metrics, "accuracy")
    if UNSEEN_ACCURACY in metrics:
        add_band(figure, metrics[UNSEEN_ACCURACY], "test, unseen", UNSEEN)
    mark_commuted(figure, share)
    return figure


def marked_accuracy(metrics: xr.Dataset) -> go.Figure:
    """Accuracy on the marked training examples, on the others, and on the test set: thesis, section 3.2.

    Parameters
    ----------
    metrics
        `train_accuracy_flipped` and `train_accuracy_clean` (step, seed), or of whatever the task marks, as
        `run.metrics` has them, and `test_accuracy`; further as in `accuracy`.

    Raises
    ------
    InputError
        The task marks no training example.
    """
    names = _marks(metrics)
    if not names:
        raise InputError("These metrics tell no training examples apart. Pass those of a run with flipped targets.")
    listed = " and ".join(name.removeprefix(MARKED) for name in names)
    flips = "; a network that is right on flipped examples has memorized them, at 0 it answers what the rule says"
    caption = (
        f"Share of right answers on the training examples that are {listed}, as they are labeled, and on the test set"
        f"{flips if f'{MARKED}flipped' in names else ''}."
    )
    figure = frame(
        metrics["test_accuracy"],
        f"Accuracy on {listed} examples",
        caption,
        subtitle=seeds_shown(metrics["test_accuracy"]),
        y_title="accuracy",
        y_axis={"range": [-0.03, 1.03], "tickformat": ".1f"},
    )
    for index, name in enumerate(names):
        mark = name.removeprefix(MARKED)
        add_band(figure, metrics[name], f"train, {mark}", style_of(mark, index))
    add_band(figure, metrics["test_accuracy"], "test", TEST)
    add_seed_legend(figure, metrics["seed"])
    mark_phases(figure, metrics)
    return figure


def mark_commuted(figure: go.Figure, share: float, yaxis: str = "y", color: str = GREY) -> None:
    """A dashed line across at the share of the test set that commuting would solve, if there is any."""
    if not share > 0:
        return
    figure.add_shape(
        type="line", xref="x domain", x0=0, x1=1, yref=yaxis, y0=share, y1=share, layer="below",
        line={"color": color, "dash": "dash", "width": 1.3},
    )  # fmt: skip
    figure.add_annotation(
        x=1, xref="x domain", xanchor="right", y=share, yref=yaxis, yanchor="bottom", showarrow=False,
        text=f"by commuting: {share:.2f}", font={"size": 11.5, "color": color},
    )  # fmt: skip


def loss(metrics: xr.Dataset) -> go.Figure:
    """Train and test loss over epochs: Figure 2 (middle) of Merrill et al. 2023.

    Parameters
    ----------
    metrics
        `train_loss` and `test_loss` (step, seed); further as in `accuracy`.
    """
    caption = (
        f"Mean loss per example at every checkpoint, without the weight decay{as_in(metrics, 'Figure 2 (middle)')}."
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


def _marks(metrics: xr.Dataset) -> list[str]:
    return [str(name) for name in metrics.data_vars if str(name).startswith(MARKED)]


def _floor(metrics: xr.Dataset) -> float:
    """A tenth below which no accuracy falls, so that the axis has no empty half."""
    names = [name for name in ("train_accuracy", "test_accuracy", UNSEEN_ACCURACY) if name in metrics]
    values = np.concatenate([metrics[name].values.ravel() for name in names])
    finite = values[np.isfinite(values)]
    return float(np.floor(finite.min() * 10) / 10) - 0.03 if finite.size else -0.03


def _ceiling(metrics: xr.Dataset) -> float | None:
    """Ten times the largest loss at the start, if a seed goes beyond: where one diverges, the others stay legible."""
    values = np.stack([metrics[name].transpose("step", "seed").values for name in ("train_loss", "test_loss")])
    start = values[:, 0]
    top = 10 * float(start.max(where=np.isfinite(start), initial=0))
    return top if top > 0 and bool((values > top).any()) else None
