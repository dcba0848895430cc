"""Learning curves: accuracy and loss on the training and the test set, with lines at memorization and generalization.

A task may divide its training set into groups, such as examples with flipped and with clean targets. Then a further
figure shows the accuracy on each group.
"""

from typing import Any

import numpy as np
import plotly.graph_objects as go
import xarray as xr
from jaxtyping import Float

from circuits.analysis.fourier.commuted import MARK, commuted_share
from circuits.checkpoints.layout import UNSEEN_ACCURACY
from circuits.checkpoints.run import Run
from circuits.errors import InputError
from circuits.figures import generic
from circuits.figures.drawing.bands import add_band, connected
from circuits.figures.drawing.curves import curves_over_epochs
from circuits.figures.drawing.palette import GREY, TEST, TRAIN, UNSEEN, style_of
from circuits.figures.drawing.papers import as_in, with_setting

MARKED = "train_accuracy_"


def figures(run: Run, metrics: xr.Dataset) -> list[go.Figure]:
    """Figures of a run: accuracy, loss, and each further metric that the config names."""
    metrics = with_setting(run, metrics)
    metrics = connected(metrics) if run.config.model.is_recorded else metrics
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
        `train_accuracy` and `test_accuracy` (step, seed), as in `run.metrics`. A test input may also occur in the
        training set. The optional `test_accuracy_unseen` leaves out these test inputs. The figure marks
        `memorization_epoch` and `generalization_epoch` (seed) if present;
        `run.metrics.merge(circuits.analysis.phases(run))` adds them. A dashed line shows `commuted_share` (seed) of
        `circuits.analysis.commuted_share(run)`, if present: the share of test examples that have the operands of a
        training example in another order.
    """
    share = float(metrics["commuted_share"].mean()) if "commuted_share" in metrics else 0.0
    commuted = ". Dashed: the share of test examples that are training examples in another order of operands"
    caption = (
        f"Share of right answers at every checkpoint{as_in(metrics, 'Figure 2 (left)')}{commuted if share else ''}."
    )
    if UNSEEN_ACCURACY in metrics:
        caption += " Unseen: on the test inputs that are not in the training set."
    names = [name for name in ("train_accuracy", "test_accuracy", UNSEEN_ACCURACY) if name in metrics]
    y_axis = accuracy_axis(np.concatenate([metrics[name].values.ravel() for name in names]))
    figure = _train_and_test(metrics, "accuracy", "Accuracy", caption, "accuracy", y_axis)
    if UNSEEN_ACCURACY in metrics:
        add_band(figure, metrics[UNSEEN_ACCURACY], "test, unseen", UNSEEN)
    mark_commuted(figure, share)
    return figure


def marked_accuracy(metrics: xr.Dataset) -> go.Figure:
    """Accuracy over epochs on the test set, and on each group into which a task divides its training set.

    For instance, one group has wrong (flipped) targets, the other right (clean) targets: Fuangkawinsombut, sec. 3.2.

    Parameters
    ----------
    metrics
        Variables (step, seed) as in `run.metrics`: `test_accuracy`, and the accuracy on each group, such as
        `train_accuracy_flipped`. Vertical lines show `memorization_epoch` and `generalization_epoch` (seed) if present.

    Raises
    ------
    InputError
        The metrics have no accuracy on a group, since the task does not divide its training set into groups.
    """
    names = _marks(metrics)
    if not names:
        raise InputError(
            "These metrics have no accuracy on a group of training examples, such as train_accuracy_flipped. Pass the "
            "metrics of a run with flipped targets."
        )
    marks = [name.removeprefix(MARKED) for name in names]
    listed = " and ".join(marks)
    flips = "; a network that is right on flipped examples has memorized them, at 0 it follows the rule"
    caption = (
        f"Share of right answers on the {listed} training examples, as labeled, and on the test set"
        f"{flips if 'flipped' in marks else ''}."
    )
    lines = [(metrics[f"{MARKED}{mark}"], f"train, {mark}", style_of(mark, index)) for index, mark in enumerate(marks)]
    test, y_axis = metrics["test_accuracy"], {"range": [-0.03, 1.03], "tickformat": ".1f"}
    title, lines = f"Accuracy on {listed} examples", [*lines, (test, "test", TEST)]
    return curves_over_epochs(metrics, test, title, caption, lines, y_title="accuracy", y_axis=y_axis)


def accuracy_axis(values: Float[np.ndarray, "*any"]) -> dict[str, Any]:
    """Properties of an axis that ends at 1 and begins at the least accuracy, rounded down to a multiple of 0.1."""
    finite = values[np.isfinite(values)]
    low = float(np.floor(finite.min() * 10) / 10) if finite.size else 0.0
    return {"range": [low - 0.03, 1.03], "tickformat": ".1f"}


def mark_commuted(figure: go.Figure, share: float, yaxis: str = "y", color: str = GREY) -> None:
    """Draw a dashed line at height `share`, unless `share` is 0.

    `share` is the share of test examples, such as 3 + 5, whose operands in another order are a training example, 5 + 3.
    """
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
        `train_loss` and `test_loss` (step, seed), as in `run.metrics`. The figure marks `memorization_epoch` and
        `generalization_epoch` (seed) if present.
    """
    caption = (
        f"Mean loss per example at every checkpoint, without the weight decay{as_in(metrics, 'Figure 2 (middle)')}."
    )
    values = np.stack([metrics[name].transpose("step", "seed").values for name in ("train_loss", "test_loss")])
    top = loss_ceiling(values[:, 0], values)
    if top is None:
        return _train_and_test(metrics, "loss", "Loss", caption, "mean loss", {"rangemode": "tozero"})
    y_title = "mean loss (larger values beyond the axis)"
    return _train_and_test(metrics, "loss", "Loss", caption, y_title, {"range": [0, top]})


def _train_and_test(
    metrics: xr.Dataset, what: str, title: str, caption: str, y_title: str, y_axis: dict[str, Any]
) -> go.Figure:
    train = metrics[f"train_{what}"]
    lines = [(train, "train", TRAIN), (metrics[f"test_{what}"], "test", TEST)]
    return curves_over_epochs(metrics, train, title, caption, lines, y_title=y_title, y_axis=y_axis)


def _marks(metrics: xr.Dataset) -> list[str]:
    return [str(name) for name in metrics.data_vars if str(name).startswith(MARKED)]


def loss_ceiling(initial: Float[np.ndarray, "*any"], losses: Float[np.ndarray, "*all"]) -> float | None:
    """Upper end m of a loss axis: 10 times the largest finite initial loss. None if m is 0, or if no loss exceeds m."""
    top = 10 * float(initial.max(where=np.isfinite(initial), initial=0))  # a diverged seed must not flatten the others
    return top if top > 0 and bool((losses > top).any()) else None
