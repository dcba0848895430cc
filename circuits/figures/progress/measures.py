"""Figures of progress measures over epochs, and of how far each measure has changed at each epoch."""

from collections.abc import Sequence
from itertools import chain, count
from typing import Any

import numpy as np
import plotly.graph_objects as go
import xarray as xr

from circuits.analysis.networks.bounded import bounded
from circuits.checkpoints.run import Run
from circuits.errors import InputError, nearest
from circuits.figures.drawing.axes import drawable, epochs, frame, title_of
from circuits.figures.drawing.bands import FEW, add_band, add_intervals, add_seed_legend, seeds_shown, single
from circuits.figures.drawing.curves import curves_over_epochs
from circuits.figures.drawing.palette import ALONE, GREY, TEST, Style, faint, style_of
from circuits.figures.drawing.papers import as_in, with_setting
from circuits.figures.drawing.seed_menu import add_seed_menu
from circuits.figures.progress.transitions import measured_steps, spoken, transitions

MOST_LINES = 8
MOST_LABELS = 12  # labels of one variable that are drawn: enough for all matrices of a one-layer transformer
SHOWN = (  # the first choice among the measures that change, in this order
    "test_accuracy", "effective_sparsity", "sensitivity", "test_margin_mean", "network_arity", "parameter_norm",
    "spectral_norm", "test_loss", "normalised_margin", "layer_norm", "train_loss",
)  # fmt: skip


def figures(run: Run, progress: xr.Dataset) -> list[go.Figure]:
    """Every figure of the measurement `progress` of a run, except those whose variables are missing."""
    result = with_setting(run, progress)
    margins = ["train_margin_least", "train_margin_mean", "test_margin_mean"]
    arities = ["subnetwork_arity", "network_arity"]
    drawn = [transition_shares(result), transitions(result)] if bool(np.isfinite(result["onset"]).any()) else []
    if "spectral_norm" in result:
        drawn.append(
            by_label(result, "spectral_norm", "Spectral norm", "Largest singular value of each weight matrix.")
        )
    drawn.append(
        by_label(result, "layer_norm", "Norm of each layer", "L2 norm of the parameters of each layer together.")
    )
    if margins[0] in result:
        drawn.append(measures(result, margins, title="Margins", y_title="margin"))
    if "sensitivity" in result:
        drawn.append(sensitivity(result))
    if "arity" in result:
        drawn.append(measures(result, arities, title="Arity", y_title="inputs that a neuron needs"))
    if "loss_spectrum" in result:
        drawn.append(loss_spectrum(result))
    return drawn


def measures(
    result: xr.Dataset,
    names: Sequence[str],
    *,
    title: str = "Progress measures",
    caption: str | None = None,
    y_title: str | None = None,
    log_y: bool = False,
) -> go.Figure:
    """Several measures over epochs on one pair of axes, with marks at memorization and generalization.

    Parameters
    ----------
    result
        The variables, (step, seed) each; their long names label the lines. The figure marks `memorization_epoch` and
        `generalization_epoch` (seed) if the dataset has them.
    names
        Names of the variables to draw.
    title, caption, y_title
        Texts above and below the figure and along its y axis. By default the caption lists the variables' long names;
        the y axis shows the long name of a single variable, otherwise the title.
    log_y
        Whether the y axis is a log axis, which leaves out values that are not above 0.

    Raises
    ------
    InputError
        The result has no variable of one of these names.
    """
    for name in names:
        if name not in result.data_vars:
            raise InputError(f"There is no measure '{name}'. {nearest(name, [str(known) for known in result])}")
    titles = [title_of(result[name]) for name in names]
    first = result[names[0]]
    caption = caption or f"{'; '.join(titles).capitalize()}, over epochs."
    y_title = (y_title or (titles[0] if len(names) == 1 else title.lower())) + (" (log scale)" if log_y else "")
    lines = [
        (result[name].where(result[name] > 0) if log_y else result[name], line,
         ALONE if len(names) == 1 else style_of(name, index))
        for index, (name, line) in enumerate(zip(names, titles, strict=True))
    ]  # fmt: skip
    y_axis = {"type": "log"} if log_y else {}
    return curves_over_epochs(result, first, title, caption, lines, y_title=y_title, y_axis=y_axis)


def by_label(result: xr.Dataset, name: str, title: str, caption: str) -> go.Figure:
    """Figure of the variable `name` on a log y axis, with a line for each of its first 12 labels (such as matrices).

    Parameters
    ----------
    result
        The dataset. Its variable `name` is positive and has the dimensions step, seed and one other, the dimension of
        the labels. An instance is `spectral_norm` (step, seed, matrix).
    """
    values = result[name]
    (dim,) = (dim for dim in values.dims if dim not in ("step", "seed"))
    labels = values[dim].values.tolist()
    shown = labels[:MOST_LABELS]
    lines = {
        f"{name} {label}": values.sel({dim: label}, drop=True).assign_attrs(long_name=str(label)) for label in shown
    }
    more = "" if len(shown) == len(labels) else f" The first {len(shown)} of {len(labels)} are drawn."
    return measures(
        result.assign(lines), list(lines), title=title, caption=caption + more, y_title=title_of(values), log_y=True
    )


def transition_shares(result: xr.Dataset, names: Sequence[str] | None = None) -> go.Figure:
    """Change of each measure as a share of its whole change, and the fitted ramp (flat, linear, flat); a menu of seeds.

    Parameters
    ----------
    result
        Dataset of `circuits.analysis.transitions`, with `share` (measure, step, seed) and the fitted corners of the
        ramp, `onset` and `end` (measure, seed). The figure marks `memorization_epoch` and `generalization_epoch` (seed)
        if present. An onset without a finite lower bound has a hover text with its upper bound, such as "onset ≤ 120".
        An end without a finite upper bound has a hover text with its lower bound, such as "end ≥ 900".
    names
        Measures to draw; by default at most 8 measures that change.
    """
    share = result["share"]
    moves = np.isfinite(result["onset"].transpose("measure", "seed").values).any(axis=1)
    moving = [str(name) for name in share["measure"].values[moves]]
    if names is None:
        names = [name for begin in SHOWN for name in moving if name == begin or name.startswith(begin + " ")]
        names = (names + [name for name in moving if name not in names])[:MOST_LINES]
    later = measured_steps(share)
    caption = (
        "Every measure from its level before the change, 0, to its level after the change, 1, whether it rises or "
        "falls. Thin: the measured values. Bold: the ramp along log epoch fitted to them from memorization on. The "
        "corners of the ramp are estimates; the label of a censored corner gives its bound, the finite end of its 95 % "
        "interval. Measures that span decades are on a log scale."
    )
    y_axis = {"range": [-0.45, 1.45], "dtick": 0.5}
    figure = frame(later, "Change of each measure", caption, y_title="share of the way", y_axis=y_axis)
    spare = (style for index in count() if (style := style_of("", index)).color != TEST.color)
    styles = {name: TEST if name == "test_accuracy" else next(spare) for name in names}
    ramps = result[["onset", "onset_high", "onset_censored", "end", "end_low", "end_censored"]]
    traces: dict[int, list[go.Scatter]] = {}
    for seed in later["seed"].values.tolist():
        at, ramp = later.sel(seed=seed), ramps.sel(seed=seed)
        lines = (_share_lines(at.sel(measure=name), ramp.sel(measure=name), styles[name]) for name in names)
        traces[seed] = list(chain.from_iterable(lines))
    add_seed_menu(figure, traces, result)
    return figure


def sensitivity(result: xr.Dataset) -> go.Figure:
    """Mean number of bits whose flip alone changes the prediction; a dashed line at the value of the parity itself.

    Parameters
    ----------
    result
        `sensitivity` (step, seed); on a parity task its attribute `of_the_task` is the parity's number of bits.
    """
    values = result["sensitivity"]
    caption = (
        "Mean number of bits of a test input whose flip alone changes the network's prediction"
        f"{as_in(result, 'the code')}{'; a parity of k bits has k' if 'of_the_task' in values.attrs else ''}."
        " Shaded at a single seed: 95 % interval of the mean over all inputs."
    )
    figure = measures(result, ["sensitivity"], title="Sensitivity", caption=caption)
    figure.update_yaxes(rangemode="tozero")
    if "sensitivity_low" in result:
        add_intervals(figure, result["sensitivity_low"], result["sensitivity_high"], "sensitivity", Style(GREY))
    if "of_the_task" in values.attrs:
        k = int(values.attrs["of_the_task"])
        figure.add_hline(
            y=k, line={"color": GREY, "dash": "dash", "width": 1.2}, annotation_text=f"the parity: {k}",
            annotation_position="bottom right", annotation_font={"size": 12, "color": GREY},
        )  # fmt: skip
    return figure


def loss_spectrum(result: xr.Dataset) -> go.Figure:
    """Power of the loss curves' oscillations early in training, over frequency.

    Parameters
    ----------
    result
        `loss_spectrum` (curve, seed, curve_frequency).
    """
    values = result["loss_spectrum"]
    window = f"epochs {values.attrs['first_epoch']:g} to {values.attrs['last_epoch']:g}"
    caption = (
        f"Power of log10 loss around its straight-line fit, {window}, at each number of cycles per epoch; "
        "after Notsawo et al. 2023, who look for low frequencies."
    )
    across = values.rename(curve_frequency="step").drop_vars("epoch", errors="ignore")
    y_title = f"{title_of(values)} (log scale)"
    figure = frame(
        across, "Spectrum of the loss", caption, subtitle=seeds_shown(values), y_title=y_title, y_axis={"type": "log"}
    )
    figure.update_xaxes(title={"text": "frequency, one over the period (log scale)"}, unifiedhovertitle=None)
    for curve in values["curve"].values.tolist():
        add_band(figure, across.sel(curve=curve).where(lambda at: at > 0), curve, style_of(curve))
    add_seed_legend(figure, values["seed"])
    return figure


def _share_lines(values: xr.DataArray, ramp: xr.Dataset, style: Style) -> list[go.Scatter]:
    """Lines of one measure of one seed: measured values, and fitted ramp. No lines if the measure does not change."""
    if not bool(np.isfinite(ramp["onset"])):
        return []
    name = str(values["measure"].values)
    values = drawable(values)
    x, y = single(epochs(values).values), single(values.values)
    first, last = x[np.isfinite(y)][[0, -1]]
    shared: dict[str, Any] = {"legendgroup": name, "connectgaps": False}
    onset = f", onset {bounded(float(ramp['onset_high']), True)}" if ramp["onset_censored"] else ""
    end = f", end {bounded(float(ramp['end_low']), True, sign='≥')}" if ramp["end_censored"] else ""
    return [
        go.Scatter(
            x=x, y=y, name=f"{spoken(name)}, measured", showlegend=False, hoverinfo="skip", **shared,
            mode="lines+markers" if len(y) <= FEW else "lines", line={"color": faint(style.color, 0.4), "width": 1},
        ),
        go.Scatter(
            x=single(np.array([first, ramp["onset"], ramp["end"], last])), y=[0, 0, 1, 1],
            name=spoken(name), mode="lines", hovertemplate="epoch %{x:.5~g}%{customdata}",
            customdata=["", onset, end, ""], **shared,
            line={"color": style.color, "dash": style.dash, "width": 3.4 if style == TEST else 2},
        ),
    ]  # fmt: skip
