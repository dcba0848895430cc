"""Figures of parity runs: a network's output as a sum of products of input bits, and measures of Barak et al. 2022."""

import numpy as np
import plotly.graph_objects as go
import xarray as xr

from circuits.checkpoints.run import Run
from circuits.figures.drawing.axes import drawable, epochs, frame, variable
from circuits.figures.drawing.bands import FEW, add_band, add_intervals, add_seed_legend, seeds_shown, single
from circuits.figures.drawing.curves import curves_over_epochs, lines_by
from circuits.figures.drawing.palette import ALONE, BLACK, BLUE, GREEN, GREY, MANY, ORANGE, SKY, VERMILLION, Style
from circuits.figures.drawing.phases import mark_phases
from circuits.figures.drawing.seed_menu import add_seed_menu
from circuits.figures.walsh.bars import walsh_bars

PARTS = {
    "parity": ("the parity", Style(GREEN)),
    "subsets": ("its subsets", Style(ORANGE, "dash")),
    "rest": ("everything else", Style(BLUE, "dashdot")),
}
DEGREES = (Style(BLUE), Style(VERMILLION, "dash"), Style(GREEN, "dashdot"), Style(GREY, "dot"))
LEAST_SHARE = 1e-5  # lower end of the log axis


def figures(run: Run, result: xr.Dataset) -> list[go.Figure]:
    """Every figure of the measurement `walsh` of a run."""
    drawn = [walsh_bars(result), weight_shares(result), degree_weights(result)]
    if "group_parity" in result:
        drawn.append(group_parities(result))
    if result.sizes.get("rank", 0):
        drawn.append(neuron_parities(result))
    drawn.append(weight_movement(result))
    if "layer_gap" in result:
        drawn += [layer_gaps(result), neuron_gaps(result)]
    return drawn


def weight_shares(result: xr.Dataset | xr.DataArray) -> go.Figure:
    """Shares of the output's variance from three kinds of products of input bits: the parity, its subsets, all others.

    The output is a sum of products of input bits ±1, each times a constant. The parity is the product of all relevant
    bits. A subset of the parity is a product of only some relevant bits. All other products have an irrelevant bit.

    Parameters
    ----------
    result
        `share` (part, step, seed), alone or in the dataset of `circuits.analyze(run, "walsh")`. The figure
        marks `memorization_epoch` and `generalization_epoch` (seed) if the dataset has them.
    """
    values = variable(result, "share")
    caption = (
        "Share of the variance of the output on the parity of the relevant bits, on its proper subsets, and on all "
        "subsets with an irrelevant bit. Shaded at a single seed: 95 % interval, if inputs are sampled."
    )
    axis = {"type": "log", "range": [np.log10(LEAST_SHARE), 0.05]}
    figure = frame(values, "Weight on the parity", caption, subtitle=seeds_shown(values), y_axis=axis)
    for part, (name, style) in PARTS.items():
        of_part = values.sel(part=part)
        if bool((of_part > 0).any()):
            if "share_low" in result:
                low, high = (result[f"share_{end}"].sel(part=part).clip(LEAST_SHARE) for end in ("low", "high"))
                add_intervals(figure, low, high, name, style)
            add_band(figure, of_part.where(of_part > 0), name, style)
    add_seed_legend(figure, values["seed"])
    mark_phases(figure, result)
    return figure


def degree_weights(result: xr.Dataset) -> go.Figure:
    """Shares of the output's variance from products of 1, of 2, of 3 and of more input bits, at a few checkpoints.

    The output is a sum of products of input bits ±1, times constants. Only products with an irrelevant bit count here.

    Parameters
    ----------
    result
        The dataset of `circuits.analyze(run, "walsh")`.
    """
    variances = result["variance"].sel(step=result["frame_step"].values)
    values = _over_frames(result, "degree_weight") / variances.values[..., None]
    values.attrs["long_name"] = "share of the variance"
    caption = (
        "Subsets with an irrelevant bit, by their number of bits: memorization consists of these. "
        "The estimates are unbiased, so a small one can be negative."
    )
    degrees = zip(values["degree"].values.tolist(), DEGREES, strict=True)
    lines = [(values.sel(degree=degree), f"degree {degree}", style) for degree, style in degrees]
    return curves_over_epochs(result, values, "Everything else, by degree", caption, lines)


def group_parities(result: xr.Dataset) -> go.Figure:
    """Walsh coefficient of each group of neurons alone, over epochs: the mean of the group's output times parity (±1).

    The parity is that of the relevant bits. The groups are: generalizing (the neurons that predictions need at the
    end), memorizing (needed at memorization), complementary (all but the generalizing) and control (random).

    Parameters
    ----------
    result
        The dataset of `circuits.analyze(run, "walsh")`.
    """
    values = result["group_parity"]
    caption = (
        "Walsh coefficient of the output of each group of neurons alone, at the parity of the relevant bits; the "
        "generalizing and the complementary group add up to the network."
    )
    lines = [(result["coefficient"].isel(subset=-1), "network", ALONE), *lines_by(values, "group")]
    return curves_over_epochs(result, values, "Parity, by group of neurons", caption, lines)


def neuron_parities(result: xr.Dataset) -> go.Figure:
    """Walsh coefficient, at the parity of the relevant bits, of up to 64 neurons that the trained network needs.

    Each neuron has a curve over epochs. They are the neurons of largest norm among those that the predictions need.

    Parameters
    ----------
    result
        The dataset of `circuits.analyze(run, "walsh")`. A menu chooses the seed.
    """
    values = result["neuron_coefficient"].isel(subset=-1)
    values.attrs["long_name"] = "coefficient at the parity"
    caption = (
        "Walsh coefficient at the parity of the relevant bits: of the output of each neuron in the generalizing group, "
        "and of the network in black; the neurons of largest norm are named."
    )
    figure = frame(values, "Parity of each neuron", caption)
    shown = drawable(values)
    x = single(epochs(shown).values)
    mode = "lines+markers" if len(x) <= FEW else "lines"
    traces = {}
    for seed in values["seed"].values.tolist():
        at = shown.sel(seed=seed)
        names = result["neuron_index"].sel(seed=seed).values
        whole = result["coefficient"].isel(subset=-1).sel(seed=seed, step=shown["step"])
        lines = [
            go.Scatter(
                x=x, y=single(at.isel(rank=rank).values), name=f"neuron {names[rank]}", mode=mode,
                line={"color": MANY[rank] if rank < len(MANY) - 1 else SKY, "width": 1.6 if rank < 6 else 0.8},
                showlegend=rank < len(MANY) - 1, hovertemplate="%{y:.3g}",
            )
            for rank in range(values.sizes["rank"])
            if names[rank] >= 0
        ]  # fmt: skip
        total = go.Scatter(
            x=x, y=single(whole.values), name="network", mode=mode, line={"color": BLACK, "width": 2.2},
            hovertemplate="%{y:.3g}",
        )  # fmt: skip
        traces[seed] = [total, *lines]
    add_seed_menu(figure, traces, result)
    figure.update_layout(hovermode="closest")
    return figure


def weight_movement(result: xr.Dataset | xr.DataArray) -> go.Figure:
    """Largest change of the first layer's weights since checkpoint 0, at relevant and irrelevant inputs, over epochs.

    Parameters
    ----------
    result
        `movement` (moved, step, seed), alone or in the dataset of `circuits.analyze(run, "walsh")`.
    """
    values = variable(result, "movement")
    caption = (
        "‖W_t − W_0‖∞ of the first layer (Barak et al. 2022, appendix C.3) is the larger of the two lines: the largest "
        "change of a weight at a relevant, and at an irrelevant input."
    )
    parts = (("relevant", Style(GREEN)), ("irrelevant", Style(BLUE, "dashdot")))
    lines = [(values.sel(moved=part), f"{part} inputs", style) for part, style in parts]
    return curves_over_epochs(result, values, "Weight movement", caption, lines, y_axis={"rangemode": "tozero"})


def layer_gaps(result: xr.Dataset | xr.DataArray) -> go.Figure:
    """Fourier gap of the hidden layer over epochs: above 0, the gradient singles out the relevant bits.

    Let g_ij be the correlation loss's gradient in the weight from bit i to neuron j, as a mean over all inputs. The
    norm of bit i is √(Σ_j g_ij²). The gap is the smallest norm of a relevant bit, minus the largest norm of an
    irrelevant bit.

    Parameters
    ----------
    result
        `layer_gap` (step, seed), alone or in the dataset of `circuits.analyze(run, "walsh")`, of a relu model.
    """
    values = variable(result, "layer_gap").dropna("step", how="all")
    caption = (
        "Population gradient of the correlation loss in the first layer: its least size at a relevant input, over all "
        "neurons, minus its greatest at an irrelevant one. The line has gaps where this is not above 0, so that the "
        "gradient does not single out the relevant bits, and where the network has collapsed."
    )
    lines = [(values.where(values > 0), "whole layer", ALONE)]
    return curves_over_epochs(result, values, "Fourier gap of the layer", caption, lines, y_axis={"type": "log"})


def neuron_gaps(result: xr.Dataset | xr.DataArray) -> go.Figure:
    """Fourier gaps of up to 64 neurons that the trained network needs: at each epoch, the least, median and greatest.

    The correlation loss is the mean of -label · output over all inputs. Let g_i be the gradient of this loss in the
    neuron's weight from bit i, divided by the neuron's readout weight. The neuron's Fourier gap is the smallest |g_i|
    of a relevant bit minus the largest |g_i| of an irrelevant bit.

    Parameters
    ----------
    result
        `fourier_gap` (statistic, step, seed) of a relu model, alone or in the dataset of `analyze(run, "walsh")`.
    """
    values = variable(result, "fourier_gap")
    caption = (
        "Fourier gap (Barak et al. 2022, Definition 1) of the population gradients of the generalizing group's "
        "neurons, without their readout: above 0 a neuron's gradient is larger at every relevant input than elsewhere."
    )
    styles = {"max": Style(GREEN), "median": Style(ORANGE, "dash"), "min": Style(GREY, "dot")}
    lines = [(values.sel(statistic=statistic), statistic, style) for statistic, style in styles.items()]
    return curves_over_epochs(result, values, "Fourier gap of the neurons", caption, lines)


def _over_frames(result: xr.Dataset, name: str) -> xr.DataArray:
    """The variable `name`; its dimension `frame` (the few checkpoints that are drawn) is renamed to `step`."""
    values = result[name].rename(frame="step").drop_vars(["frame_step", "frame_epoch"], errors="ignore")
    epoch = ("step", result["frame_epoch"].values, result["epoch"].attrs)
    return values.assign_coords(step=result["frame_step"].values, epoch=epoch)
