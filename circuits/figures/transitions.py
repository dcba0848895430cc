"""When each measure moves: a row for each, with its onset and the interval of it, seed by seed."""

import numpy as np
import plotly.graph_objects as go
import xarray as xr

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
        `onset`, `onset_low`, `onset_high`, `midpoint` (measure, seed) and `share` (measure, step, seed) of
        `circuits.analysis.transitions`, and when each seed memorised and generalised. Measures that move in no seed are
        left out; the others are in the order of their mean onset.
    """
    onset = result["onset"]
    known = np.isfinite(onset.transpose("measure", "seed").values).any(axis=1)
    order = np.argsort(np.where(known, np.nan_to_num(onset.mean("seed").values, nan=np.inf), np.inf), kind="stable")
    rows = [str(onset["measure"].values[at]) for at in order if known[at]]
    caption = (
        "Filled: onset of each measure's move, with its 95 % interval; open: its midpoint. From a ramp fitted along "
        "log epoch from memorisation on; an onset at memorisation means that it was moving already."
    )
    figure = frame(measured_steps(result["share"]),
                   "When each measure moves", caption, y_title="",
                   subtitle="filled: onset and its 95 % interval; open: midpoint; a line for each seed")  # fmt: skip
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
    name = f"seed {seed}"
    figure.add_scatter(
        x=single(onset), y=single(np.array(y)), name=name, legendgroup=name, mode="markers",
        marker={"color": colour, "size": 6},
        error_x={
            "array": single(high - onset), "arrayminus": single(onset - low), "color": colour, "thickness": 1.2,
            "width": 0,
        },
        customdata=np.array([f"{a:.5g} to {b:.5g}" for a, b in zip(low, high, strict=True)]),
        text=[str(measure) for measure in at["measure"].values],
        hovertemplate="%{text}: onset %{x:.5~g}, %{customdata}<extra>" + name + "</extra>",
    )  # fmt: skip
    figure.add_scatter(
        x=single(at["midpoint"].values), y=single(np.array(y)), name=name, legendgroup=name, showlegend=False,
        mode="markers", marker={"color": colour, "size": 6, "symbol": "circle-open"},
        text=[str(measure) for measure in at["measure"].values],
        hovertemplate="%{text}: midpoint %{x:.5~g}<extra>" + name + "</extra>",
    )  # fmt: skip
