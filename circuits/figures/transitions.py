"""Onset of each measure with its interval, a row for each, seed by seed; censored onsets as open triangles, ≤."""

import numpy as np
import plotly.graph_objects as go
import xarray as xr

from circuits.analysis.earliest import earliest_summary
from circuits.figures.axes import PALE, frame
from circuits.figures.bands import single
from circuits.figures.palette import TEST, faint, shades
from circuits.figures.phases import mark_phases

ROW, AROUND = 27, 165  # pixels for a row; above and below them
SPREAD = 0.62  # of a row, over which its seeds are spread


def transitions(result: xr.Dataset) -> go.Figure:
    """Onset of each measure with its interval, and its midpoint, a line for each seed.

    Parameters
    ----------
    result
        `onset`, `onset_low`, `onset_high`, `onset_censored`, `midpoint` (measure, seed), `share` (measure, step, seed)
        and `earliest` of `circuits.analysis.transitions`, and when each seed memorized and generalized. Measures that
        change in no seed are left out; the others are in the order of their mean onset, which is no claim.
    """
    onset = result["onset"]
    known = np.isfinite(onset.transpose("measure", "seed").values).any(axis=1)
    order = np.argsort(np.where(known, np.nan_to_num(onset.mean("seed").values, nan=np.inf), np.inf), kind="stable")
    rows = [str(onset["measure"].values[at]) for at in order if known[at]]
    caption = (
        "Filled: onset of each measure, with its 95 % interval; open triangle: an onset that may lie before the "
        "window, so an upper bound, with a line to the high end of its interval; open circle: midpoint. From a ramp "
        f"fitted along log epoch from memorization on. {earliest_summary(result)}"
    )
    figure = frame(measured_steps(result["share"]),
                   "Onset of each measure", caption, y_title="",
                   subtitle="filled: onset, 95 % interval; ◁: that or earlier; open circle: midpoint; a line for each "
                   "seed")  # fmt: skip
    places = {name: len(rows) - 1 - index for index, name in enumerate(rows)}
    labels = [f"<b>{spoken(name)}</b>" if name == result.attrs.get("reference") else spoken(name) for name in rows]
    figure.update_yaxes(
        tickmode="array", tickvals=list(places.values()), ticktext=labels, range=[-0.6, len(rows) - 0.4],
        ticks="", gridcolor=PALE, title={"text": "measure"},
    )  # fmt: skip
    figure.update_layout(height=AROUND + ROW * len(rows), hovermode="closest", margin={"l": 190})
    seeds = onset["seed"].values.tolist()
    offsets = np.linspace(SPREAD / 2, -SPREAD / 2, len(seeds)) if len(seeds) > 1 else [0.0]
    for seed, offset, (colour, _) in zip(seeds, offsets, shades([str(seed) for seed in seeds]), strict=True):
        _draw(figure, result.sel(seed=seed, measure=rows), [places[name] + offset for name in rows], seed, colour)
    mark_phases(figure, result)
    if (reference := result.attrs.get("reference")) in places:
        figure.add_hrect(
            y0=places[reference] - 0.5, y1=places[reference] + 0.5, fillcolor=faint(TEST.colour, 0.12), line_width=0,
            layer="below",
        )  # fmt: skip
    return figure


def measured_steps(share: xr.DataArray) -> xr.DataArray:
    """The checkpoints at which some measure of some seed has come some way."""
    known = np.isfinite(share.transpose("step", "measure", "seed").values).any(axis=(1, 2))
    return share.isel(step=np.flatnonzero(known))


def spoken(name: str) -> str:
    """The name of a measure in words; that of a label after it, such as a parameter's, stands as it is.

    Examples
    --------
    >>> spoken("spectral_norm embed.W_E")
    'spectral norm embed.W_E'
    """
    measure, space, label = name.partition(" ")
    return measure.replace("_", " ") + space + label


def _draw(figure: go.Figure, at: xr.Dataset, y: list[float], seed: int, colour: str) -> None:
    onset, low, high = (at[f"onset{part}"].values for part in ("", "_low", "_high"))
    censored = at["onset_censored"].values
    name = f"seed {seed}"
    below = [f"{b:.5g} or earlier" if bound else f"{a:.5g} to {b:.5g}"
             for a, b, bound in zip(low, high, censored, strict=True)]  # fmt: skip
    figure.add_scatter(
        x=single(onset), y=single(np.array(y)), name=name, legendgroup=name, mode="markers",
        marker={
            "color": colour, "size": np.where(censored, 9, 6),
            "symbol": ["triangle-left-open" if bound else "circle" for bound in censored],
        },
        error_x={
            "array": single(high - onset), "arrayminus": single(np.where(censored, 0.0, onset - low)), "color": colour,
            "thickness": 1.2, "width": 0,
        },
        customdata=np.stack([np.where(censored, "≤ ", ""), below], axis=1),
        text=[str(measure) for measure in at["measure"].values],
        hovertemplate="%{text}: onset %{customdata[0]}%{x:.5~g}, %{customdata[1]}<extra>" + name + "</extra>",
    )  # fmt: skip
    figure.add_scatter(
        x=single(at["midpoint"].values), y=single(np.array(y)), name=name, legendgroup=name, showlegend=False,
        mode="markers", marker={"color": colour, "size": 6, "symbol": "circle-open"},
        customdata=np.array([_bound(*ends) for ends in zip(at["midpoint_low"].values, at["midpoint_high"].values,
                                                           strict=True)]),
        text=[str(measure) for measure in at["measure"].values],
        hovertemplate="%{text}: midpoint %{customdata}%{x:.5~g}<extra>" + name + "</extra>",
    )  # fmt: skip


def _bound(low: float, high: float) -> str:
    """The mark of a number with this interval: a bound if an end is infinite."""
    return "≤ " if np.isneginf(low) else "≥ " if np.isposinf(high) else ""
