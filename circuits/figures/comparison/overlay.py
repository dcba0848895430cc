"""Several runs in one figure: a panel per metric, a line per run, labeled by the config field in which the runs differ.

    circuits.figures.curves(["a.h5", "b.h5"], ["accuracy", "loss"])

A line is the mean over seeds; for at most 5 runs, a band shows ± one standard deviation. Training sets have pale dotted
lines, test sets solid lines. Runs that differ in one number have shades from dark to light, other runs distinct colors.
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import plotly.graph_objects as go
import xarray as xr

from circuits.analysis.comparison.differing import differing_fields, differing_values
from circuits.analysis.fourier.commuted import MARK, commuted_share
from circuits.checkpoints.run import Run, open_run
from circuits.errors import InputError, nearest
from circuits.figures.drawing.axes import PALE, axis_number, frame, title_of
from circuits.figures.drawing.bands import add_mean, connected
from circuits.figures.drawing.decay import DECAY, mark_decay
from circuits.figures.drawing.palette import GREY, Style, faint, shades
from circuits.figures.learning import accuracy_axis, loss_ceiling, mark_commuted

PAIRS = {"accuracy": ("train_accuracy", "test_accuracy"), "loss": ("train_loss", "test_loss")}
ON_LOG_AXIS = ("effective_sparsity", "sparsity_ratio")  # they fall by orders of magnitude
FEW = 5  # runs with bands; the bands of more runs would cover each other
MOST_LETTERS = 24  # of the title beside a row
ROW, GAP = 270, 0.06  # pixels of a row; share of the height between two rows
Runs = Sequence[Run | str | Path] | Mapping[str, Run | str | Path]


class _Drawn(NamedTuple):
    run: Run
    values: dict[str, xr.DataArray]
    label: str
    color: str
    marker: str | None


def curves(
    runs: Runs,
    metrics: str | Sequence[str] = "accuracy",
    *,
    results: Sequence[xr.Dataset] | None = None,
    x: Literal["epoch", "step"] = "epoch",
    title: str | None = None,
) -> go.Figure:
    """Curves of several runs in one figure.

    Parameters
    ----------
    runs
        Runs or their paths. In a mapping, the keys are the labels. Otherwise the labels are the fields in which the
        configs differ, or the names of the runs if more than two fields differ.
    metrics
        One or more metrics, a panel each. "accuracy" and "loss" show the training and the test set. Other choices: a
        metric that every run has, such as "parameter_norm" or "weight_decay", or a variable (step, seed) of `results`.
    results
        One result per run, such as `circuits.analyze(run, "subnetwork")["subnetwork"]`.
    x
        Name of the coordinate along x.
    title
        Title of the figure; by default the names of the metrics.

    Raises
    ------
    InputError
        There are no runs, the numbers of runs and results differ, or a run lacks checkpoints or one of the metrics.

    Examples
    --------
    >>> curves([], "accuracy")
    Traceback (most recent call last):
    circuits.errors.InputError: There is no run to draw. Pass one or more runs, or paths of run files.
    """
    if not runs:
        raise InputError("There is no run to draw. Pass one or more runs, or paths of run files.")
    rows = [metrics] if isinstance(metrics, str) else list(metrics)
    with ExitStack() as stack:
        opened = [
            run if isinstance(run, Run) else stack.enter_context(open_run(run))
            for run in (runs.values() if isinstance(runs, Mapping) else runs)
        ]
        legend, labels = (None, list(runs)) if isinstance(runs, Mapping) else _labels(opened)
        drawn = _drawn(opened, labels, results, rows, x)
        figure = _frame(drawn, rows, x, title)
        for row, metric in enumerate(rows):
            _draw(figure, drawn, metric, row, len(rows))
    _legend(figure, drawn, legend, rows)
    return figure


def _labels(runs: Sequence[Run]) -> tuple[str | None, list[str]]:
    """Config field in which the runs differ, or None if no or several fields differ; and a label for each run."""
    configs = [run.config for run in runs]
    differences = differing_values(configs)
    if len(differences) == 1:
        ((field, values),) = differences.items()
        return field, values
    labels = differing_fields(configs)
    if len(set(labels)) == len(labels):
        return None, labels
    return None, [f"{label} ({run.path.stem})" for label, run in zip(labels, runs, strict=True)]


def _drawn(
    runs: Sequence[Run], labels: Sequence[str], results: Sequence[xr.Dataset] | None, rows: Sequence[str], x: str
) -> list[_Drawn]:
    if results is not None and len(results) != len(runs):
        raise InputError(f"There are {len(runs)} runs and {len(results)} results. Pass one result per run.")
    drawn = []
    for i, (run, label, (color, marker)) in enumerate(zip(runs, labels, shades(labels), strict=True)):
        run.checkpoint_index()  # raises if the run has no checkpoint
        metrics = connected(run.metrics) if run.config.model.is_recorded else run.metrics
        measured = [metrics] if results is None else [metrics, results[i]]
        values = {
            str(name): variable if x == "epoch" else variable.drop_vars("epoch", errors="ignore")
            for dataset in measured
            for name, variable in dataset.data_vars.items()
            if set(variable.dims) == {"step", "seed"}
        }
        if DECAY in rows and DECAY not in values:  # a constant weight decay
            values[DECAY] = xr.full_like(values["train_loss"], run.config.optimizer.weight_decay)
            values[DECAY].attrs = {"long_name": "weight decay of the next update"}
        for name in (name for row in rows for name in PAIRS.get(row, (row,))):
            if name not in values:
                raise InputError(f"{run.path} has no metric '{name}'. {nearest(name, [*PAIRS, *values])}")
        drawn.append(_Drawn(run, values, label, color, marker))
    return drawn


def _frame(drawn: Sequence[_Drawn], rows: Sequence[str], x: str, title: str | None) -> go.Figure:
    """An empty figure with a panel (a y axis) for each metric in `rows`, and one x axis for all runs' checkpoints."""
    places = np.unique(np.concatenate([one.run.metrics[x].values for one in drawn]).astype(np.float64))
    across = xr.DataArray(np.zeros(len(places)), {x: ("step", places)}, ["step"], "across")
    seeds = sorted({len(one.run.seeds) for one in drawn})
    n_seeds = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    mean = f"mean over {n_seeds} seeds" if seeds[-1] > 1 else "one seed each"
    subtitle = mean.replace("mean", "mean ± 1 standard deviation") if len(drawn) <= FEW else mean
    text = title or ", ".join(row.replace("_", " ") for row in rows).capitalize()
    caption = f"{text}: {len(drawn)} runs over each other, {subtitle}."
    figure = frame(across, text, caption, subtitle=subtitle, y_title="")
    plain = figure.layout.yaxis.to_plotly_json()
    height = (1 - GAP * (len(rows) - 1)) / len(rows)
    for row, metric in enumerate(rows):
        top = 1 - row * (height + GAP)
        axis = plain | _y_axis(drawn, metric)
        axis |= {"domain": [max(0.0, top - height), top], "anchor": "x", "gridcolor": PALE}
        figure.layout["yaxis" + axis_number(row)] = axis
    if len(rows) > 1:
        figure.update_layout(xaxis_anchor="y" + axis_number(len(rows) - 1), height=120 + ROW * len(rows))
    return figure


def _y_axis(drawn: Sequence[_Drawn], metric: str) -> dict:
    names = PAIRS.get(metric, (metric,))
    values = np.concatenate([one.values[name].values.ravel() for one in drawn for name in names])
    values = values[np.isfinite(values)]
    title = metric if metric in PAIRS else title_of(drawn[0].values[metric]).split(";")[0].split(",")[0]
    if len(title) > MOST_LETTERS:
        title = metric.replace("_", " ")
    axis: dict = {"title": {"text": title}, "type": "linear"}
    if "accuracy" in metric:
        return axis | accuracy_axis(values)
    if metric in ON_LOG_AXIS:
        return axis | {"type": "log", "title": {"text": f"{title} (log scale)"}, "exponentformat": "none"}
    if metric == "loss":
        start = np.array([one.values[name].values[0].max() for one in drawn for name in names])
        if top := loss_ceiling(start, values):  # the others stay legible if one run diverges
            return axis | {"range": [0, top], "title": {"text": f"{title} (larger values beyond the axis)"}}
    return axis | {"rangemode": "tozero"}


def _draw(figure: go.Figure, drawn: Sequence[_Drawn], metric: str, row: int, n_rows: int) -> None:
    axis = "y" + axis_number(row)
    shaded = 0.13 if len(drawn) <= FEW else 0.0
    for one in drawn:
        for name in PAIRS.get(metric, (metric,)):
            pale = name.startswith("train_") and metric in PAIRS
            values = one.values[name]
            if metric in ON_LOG_AXIS:
                values = values.where(values > 0)
            look: dict = {"legendgroup": one.label, "showlegend": False}
            if one.marker is not None and not pale:
                look |= {"mode": "lines+markers", "marker": {"symbol": one.marker, "maxdisplayed": 9, "size": 7}}
            if pale:
                look |= {"line": {"color": faint(one.color, 0.6), "dash": "dot", "width": 1.5}}
            label = f"{one.label}, {name.partition('_')[0]}" if metric in PAIRS else one.label
            opacity = shaded * (0.5 if pale else 1)
            add_mean(figure, values, label, Style(one.color), shaded=opacity, yaxis=axis, **look)
        if DECAY in one.values and metric != DECAY:
            mark_decay(
                figure, one.values[DECAY], name=f"{one.label}, weight decay", color=faint(one.color, 0.8),
                over=axis, yaxis="y" + axis_number(n_rows + row), legendgroup=one.label,
            )  # fmt: skip
    if metric == "accuracy":
        _mark_commuted(figure, drawn, axis)


def _mark_commuted(figure: go.Figure, drawn: Sequence[_Drawn], axis: str) -> None:
    """Draw each run's share of test examples that equal a training example up to operand order, as a horizontal line.

    Runs whose shares agree to 0.01 have one gray line.
    """
    colors: dict[float, list[str]] = {}  # share, rounded to 0.01 -> colors of its runs
    for one in drawn:
        if MARK in one.run.all_data:
            colors.setdefault(round(float(commuted_share(one.run).mean()), 2), []).append(one.color)
    for share, of_share in colors.items():
        mark_commuted(figure, share, axis, of_share[0] if len(of_share) == 1 else GREY)


def _legend(figure: go.Figure, drawn: Sequence[_Drawn], field: str | None, rows: Sequence[str]) -> None:
    for one in drawn:
        figure.add_scatter(
            x=[None], y=[None], name=one.label, legendgroup=one.label, mode="lines+markers" if one.marker else "lines",
            line={"color": one.color, "width": 2.4}, marker={"symbol": one.marker or "circle", "size": 7},
        )  # fmt: skip
    entries = []
    if set(rows) & set(PAIRS):
        entries += [("train", "dot"), ("test", "solid")]
    if any(DECAY in one.values for one in drawn):
        entries.append(("weight decay", "dash"))
    for name, dash in entries:
        figure.add_scatter(
            x=[None], y=[None], name=name, legendgroup=f"style {name}", mode="lines", legendrank=2000,
            line={"color": GREY, "width": 1.6, "dash": dash}, hoverinfo="skip",
        )  # fmt: skip
    beside = 1.09 if any(DECAY in one.values for one in drawn) else 1.01  # right of the axis of the weight decay
    right = {"orientation": "v", "x": beside, "y": 1, "yref": "paper", "yanchor": "top", "maxheight": None}
    legend = {"title": {"text": field or "", "font": {"size": 12.5}}} | (right if len(drawn) > FEW + 1 else {})
    figure.update_layout(legend=legend, hovermode="closest" if len(drawn) > FEW else "x unified")
