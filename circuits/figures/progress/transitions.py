"""Onset (where the change begins) and midpoint of each progress measure's change: a row per measure, a line per seed.

Onsets have a 95 % interval. An open triangle marks an upper bound of an onset. An arrow marks a bound of a midpoint.
"""

import numpy as np
import plotly.graph_objects as go
import xarray as xr

from circuits.analysis.networks.bounded import bounded
from circuits.analysis.progress.earliest import earliest_summary
from circuits.figures.drawing.axes import PALE, frame
from circuits.figures.drawing.bands import single
from circuits.figures.drawing.palette import TEST, faint, shades
from circuits.figures.drawing.phases import mark_phases

ROW, AROUND = 27, 165  # pixels of a row, and above and below all rows
SPREAD = 0.62  # share of a row over which its seeds are spread


def transitions(result: xr.Dataset) -> go.Figure:
    """Onset and midpoint of each measure's change, the onset with its 95 % interval; a line for each seed.

    Parameters
    ----------
    result
        Dataset of `circuits.analysis.transitions`. The figure marks `memorization_epoch` and `generalization_epoch`
        (seed) if present. An onset or midpoint whose interval has one infinite end is drawn at the finite end, which
        bounds it. Measures without a change in any seed are left out. Rows are ordered by the mean of the drawn onsets.
        The caption lists `earliest` (seed): the measure that surely changes first in a seed, "" if there is none.
    """
    onset = result["onset"]
    drawn = onset.where(~result["onset_censored"], result["onset_high"])
    measured = np.isfinite(onset.transpose("measure", "seed").values).any(axis=1)
    order = np.argsort(np.where(measured, np.nan_to_num(drawn.mean("seed").values, nan=np.inf), np.inf), kind="stable")
    rows = [str(onset["measure"].values[at]) for at in order if measured[at]]
    caption = (
        "Filled: onset of each measure, with its 95 % interval; open triangle: upper bound of an onset that may lie "
        "before the window, the high end of its interval; open circle: midpoint; arrow: bound of a midpoint, the "
        "finite end of its interval. All are from a ramp fitted along log epoch, from memorization on. "
        f"{earliest_summary(result)}"
    )
    figure = frame(measured_steps(result["share"]),
                   "Onset of each measure", caption, y_title="",
                   subtitle="filled: onset, 95 % interval; ◁: that or earlier; open circle: midpoint; arrow: its "
                   "bound; a line for each seed")  # fmt: skip
    places = {name: len(rows) - 1 - index for index, name in enumerate(rows)}
    labels = [f"<b>{spoken(name)}</b>" if name == result.attrs.get("reference") else spoken(name) for name in rows]
    figure.update_yaxes(
        tickmode="array", tickvals=list(places.values()), ticktext=labels, range=[-0.6, len(rows) - 0.4],
        ticks="", gridcolor=PALE, title={"text": "measure"},
    )  # fmt: skip
    figure.update_layout(height=AROUND + ROW * len(rows), hovermode="closest", margin={"l": 190})
    seeds = onset["seed"].values.tolist()
    offsets = np.linspace(SPREAD / 2, -SPREAD / 2, len(seeds)) if len(seeds) > 1 else [0.0]
    for seed, offset, (color, _) in zip(seeds, offsets, shades([str(seed) for seed in seeds]), strict=True):
        _draw(figure, result.sel(seed=seed, measure=rows), [places[name] + offset for name in rows], seed, color)
    mark_phases(figure, result)
    if (reference := result.attrs.get("reference")) in places:
        figure.add_hrect(
            y0=places[reference] - 0.5, y1=places[reference] + 0.5, fillcolor=faint(TEST.color, 0.12), line_width=0,
            layer="below",
        )  # fmt: skip
    return figure


def measured_steps(share: xr.DataArray) -> xr.DataArray:
    """`share` (measure, step, seed) without the checkpoints at which no value is finite."""
    measured = np.isfinite(share.transpose("step", "measure", "seed").values).any(axis=(1, 2))
    return share.isel(step=np.flatnonzero(measured))


def spoken(name: str) -> str:
    """The name of a measure in words; a label after it, such as a parameter name, stays unchanged.

    Examples
    --------
    >>> spoken("spectral_norm embed.W_E")
    'spectral norm embed.W_E'
    """
    measure, space, label = name.partition(" ")
    return measure.replace("_", " ") + space + label


def _draw(figure: go.Figure, at: xr.Dataset, y: list[float], seed: int, color: str) -> None:
    onset, low, high = (at[f"onset{part}"].values for part in ("", "_low", "_high"))
    censored = at["onset_censored"].values
    name = f"seed {seed}"
    text, rows = [str(measure) for measure in at["measure"].values], single(np.array(y))
    words = [bounded(c, True) if bound else f"{bounded(a)}, {bounded(b)} to {bounded(c)}"
             for a, b, c, bound in zip(onset, low, high, censored, strict=True)]  # fmt: skip
    figure.add_scatter(
        x=single(np.where(censored, high, onset)), y=rows, name=name, legendgroup=name, mode="markers", text=text,
        marker={
            "color": color, "size": np.where(censored, 9, 6),
            "symbol": ["triangle-left-open" if bound else "circle" for bound in censored],
        },
        error_x={
            "array": single(np.where(censored, 0.0, high - onset)),
            "arrayminus": single(np.where(censored, 0.0, onset - low)), "color": color, "thickness": 1.2, "width": 0,
        },
        customdata=words, hovertemplate="%{text}: onset %{customdata}<extra>" + name + "</extra>",
    )  # fmt: skip
    ends = zip(*(at[f"midpoint{part}"].values for part in ("", "_low", "_high")), strict=True)
    places, middles, symbols = zip(*(_midpoint(*of) for of in ends), strict=True)
    figure.add_scatter(
        x=single(np.array(places)), y=rows, name=name, legendgroup=name, showlegend=False, mode="markers", text=text,
        marker={"color": color, "size": 6, "symbol": symbols}, customdata=middles,
        hovertemplate="%{text}: midpoint %{customdata}<extra>" + name + "</extra>",
    )  # fmt: skip


def _midpoint(value: float, low: float, high: float) -> tuple[float, str, str]:
    """Position, text and symbol of a midpoint, or of the finite end of its interval if the other end is infinite.

    Examples
    --------
    >>> _midpoint(50.0, 40.0, 60.0), _midpoint(50.0, -np.inf, 60.0), _midpoint(50.0, 40.0, np.inf)
    ((50.0, '50', 'circle-open'), (60.0, '≤ 60', 'arrow-left-open'), (40.0, '≥ 40', 'arrow-right-open'))
    """
    value, low, high = float(value), float(low), float(high)
    if np.isinf(low) and np.isfinite(high):
        return high, bounded(high, True), "arrow-left-open"
    if np.isinf(high) and np.isfinite(low):
        return low, bounded(low, True, sign="≥"), "arrow-right-open"
    return value, bounded(value), "circle-open"
