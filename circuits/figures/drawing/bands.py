"""Curves over seeds: their mean with a band of ± one standard deviation; a click in the legend shows one seed.

Mean and deviation are over the n seeds with a finite value at the checkpoint. The hover text gives n, and so does the
legend if some seeds are left out. The variance is the sum of squared deviations divided by n. On a log axis the band
does not extend below the smallest value of any seed, since mean minus deviation may be negative.
"""

from typing import Any, NamedTuple

import numpy as np
import plotly.graph_objects as go
import xarray as xr
from jaxtyping import Float, Float32, Int, Shaped

from circuits.figures.drawing.axes import drawable, epochs
from circuits.figures.drawing.palette import GREY, Style, faint

CONNECTED = "connected"  # attribute of a variable: NaN means that the value was not measured
FEW = 3  # up to this number of checkpoints, lines have markers


class Band(NamedTuple):
    """Mean and standard deviation over the `n_seeds` seeds with a finite value at each step; NaN where n_seeds is 0."""

    mean: Float[np.ndarray, " step"]
    std: Float[np.ndarray, " step"]
    n_seeds: Int[np.ndarray, " step"]


def band(values: Float[np.ndarray, "step seed"]) -> Band:
    """Mean and standard deviation at each step over the seeds with a finite value.

    Examples
    --------
    >>> band(np.array([[1.0, 3.0, np.nan], [np.nan, np.nan, np.nan]]))
    Band(mean=array([ 2., nan]), std=array([ 1., nan]), n_seeds=array([2, 0]))
    """
    finite = np.isfinite(values)
    n_seeds = finite.sum(axis=1)
    some = np.maximum(n_seeds, 1)
    with np.errstate(over="ignore", invalid="ignore"):  # before a seed diverges, its square may overflow
        mean = np.where(finite, values, 0.0).sum(axis=1) / some
        std = np.sqrt((np.where(finite, values - mean[:, None], 0.0) ** 2).sum(axis=1) / some)
    return Band(np.where(n_seeds > 0, mean, np.nan), np.where(n_seeds > 0, std, np.nan), n_seeds)


def add_band(figure: go.Figure, values: xr.DataArray, name: str, style: Style, form: str = ".3g") -> None:
    """Draw the mean over seeds in a band of ± 1 standard deviation and, for two or more seeds, a line for each seed.

    The lines of the seeds are hidden at first. A click on a seed in the legend shows the lines of this seed. `figure`
    is a figure of `axes.frame`. In `values` (step, seed), NaN and infinity leave a gap. `name` and `style` are those of
    the mean's line. `form` is the format of a value in the hover text.
    """
    add_mean(figure, values, name, style, form)
    x, y = points(values)
    labels = [int(seed) for seed in values["seed"].values]
    for index, seed in enumerate(labels if len(labels) > 1 else []):
        figure.add_scatter(
            x=single(x), y=single(y[:, index]), name=f"{name}, seed {seed}", legendgroup=f"seed {seed}",
            mode=_mode(x), connectgaps=False, showlegend=False, visible="legendonly", hovertemplate=f"%{{y:{form}}}",
            line={"color": style.color, "dash": style.dash, "width": 1},
        )  # fmt: skip


def add_mean(
    figure: go.Figure,
    values: xr.DataArray,
    name: str,
    style: Style,
    form: str = ".3g",
    *,
    shaded: float = 0.17,
    yaxis: str = "y",
    **line: Any,
) -> None:
    """Draw the mean of (step, seed) values over seeds, and the band of ± 1 standard deviation around the mean.

    `name` and `style` are those of the mean's line. `form` is the format of a value in the hover text. `shaded` is the
    opacity of the band; 0 draws no band. `yaxis` is the y axis of the traces, by plotly's name, such as "y2". `line`
    holds further properties of the mean's trace.
    """
    x, y = points(values)
    mean, std, n_seeds = band(y)
    several = y.shape[1] > 1
    group = line.get("legendgroup", name)
    if several and shaded:
        lower, upper = mean - std, mean + std
        if figure.layout["yaxis" + yaxis[1:]].type == "log":
            lower = np.maximum(lower, np.where(np.isfinite(y), y, np.inf).min(axis=1))
        figure.add_scatter(
            **outline(x, lower, upper), name=f"{name}, band", legendgroup=group, showlegend=False, hoverinfo="skip",
            mode="none", fill="toself", fillcolor=faint(style.color, shaded), line={"width": 0}, yaxis=yaxis,
        )  # fmt: skip
    look = {
        "name": _named(name, n_seeds, y.shape[1]), "legendgroup": group, "mode": _mode(x), "connectgaps": False,
        "line": {"color": style.color, "dash": style.dash, "width": 2.2}, "yaxis": yaxis,
        "customdata": single(np.stack([std, n_seeds], axis=1)) if several else None,
        "hovertemplate": f"%{{y:{form}}}" + (" ± %{customdata[0]:.2g} (%{customdata[1]:d} seeds)" if several else ""),
    }  # fmt: skip
    figure.add_scatter(x=single(x), y=single(mean), **(look | line))


def add_intervals(figure: go.Figure, low: xr.DataArray, high: xr.DataArray, name: str, style: Style) -> None:
    """Shade the interval from `low` to `high` (step, seed) of each seed, unless both ends are equal everywhere.

    With several seeds, a seed's interval is hidden until a click in the legend, like the seed's line.
    """
    (x, lows), (_, highs) = points(low), points(high)
    seeds = low["seed"].values.tolist()
    for index, seed in enumerate(seeds):
        if not (lows[:, index] < highs[:, index]).any():
            continue
        several = len(seeds) > 1
        figure.add_scatter(
            **outline(x, lows[:, index], highs[:, index]), name=f"{name}, 95 % interval", showlegend=False,
            legendgroup=f"seed {seed}" if several else name, visible="legendonly" if several else True,
            hoverinfo="skip", mode="none", fill="toself", fillcolor=faint(style.color, 0.25), line={"width": 0},
        )  # fmt: skip


def points(values: xr.DataArray) -> tuple[Float[np.ndarray, " step"], Float[np.ndarray, "step seed"]]:
    """Coordinates of points: the epochs x (step,) of the checkpoints, and the values y (step, seed) at these epochs.

    If `values` have no epochs, x holds steps. Where a value is infinite, y is NaN. A log axis cannot show epoch 0. So
    if at least two checkpoints lie after epoch 0, x and y leave out epoch 0.
    """
    values = values.dropna("step", how="all") if values.attrs.get(CONNECTED) else values
    values = drawable(values).transpose("step", "seed")
    y = np.where(np.isfinite(values.values), values.values, np.nan).astype(np.float64)
    return epochs(values).values.astype(np.float64), y


def connected(metrics: xr.Dataset) -> xr.Dataset:
    """The metrics of a recorded run, whose lines leave no gap at checkpoints at which nothing was measured."""
    return metrics.assign({name: values.assign_attrs({CONNECTED: 1}) for name, values in metrics.data_vars.items()})


def add_seed_legend(figure: go.Figure, seeds: xr.DataArray) -> None:
    """Add an entry per seed to the legend; a click shows the lines of the seed."""
    for seed in seeds.values.tolist() if seeds.size > 1 else []:
        figure.add_scatter(
            x=[None], y=[None], name=f"seed {seed}", legendgroup=f"seed {seed}", mode="lines", visible="legendonly",
            line={"color": GREY, "width": 1}, hoverinfo="skip", legendrank=2000,
        )  # fmt: skip


def seeds_shown(values: xr.DataArray) -> str:
    """Subtitle of a figure with bands, which says how many seeds the figure shows."""
    seeds = values["seed"].values.tolist()
    if len(seeds) == 1:
        return f"seed {seeds[0]}"
    return f"mean ± 1 standard deviation over {len(seeds)} seeds; click a seed to add it"


def outline(
    x: Float[np.ndarray, " step"], lower: Float[np.ndarray, " step"], upper: Float[np.ndarray, " step"]
) -> dict[str, Float32[np.ndarray, " point"]]:
    """Closed outlines of a band, as `x` and `y`: one for each stretch of two or more finite steps, separated by NaN.

    Examples
    --------
    >>> nan = np.nan
    >>> outline(np.array([1.0, 2.0, 3.0]), np.array([0.0, 0.0, nan]), np.array([1.0, 2.0, nan]))["x"]
    array([ 1.,  2.,  2.,  1.,  1., nan], dtype=float32)
    """
    finite = np.isfinite(lower) & np.isfinite(upper)
    stretches = np.split(np.arange(len(x)), np.flatnonzero(np.diff(finite)) + 1)
    xs, ys = [np.empty(0)], [np.empty(0)]
    for stretch in stretches:
        if len(stretch) > 1 and finite[stretch[0]]:
            forward, back = stretch, stretch[::-1]
            xs += [x[forward], x[back], x[forward[:1]], np.array([np.nan])]
            ys += [lower[forward], upper[back], lower[forward[:1]], np.array([np.nan])]
    return {"x": single(np.concatenate(xs)), "y": single(np.concatenate(ys))}


def single(values: Shaped[np.ndarray, "*any"]) -> Float32[np.ndarray, "*any"]:
    """Values in single precision, which halves the size of an HTML page; NaN if not finite or too large.

    Examples
    --------
    >>> single(np.array([1.0, 1e300]))
    array([ 1., nan], dtype=float32)
    """
    with np.errstate(over="ignore"):
        small = values.astype(np.float32)
    return np.where(np.isfinite(small), small, np.float32(np.nan))


def _mode(x: Float[np.ndarray, " step"]) -> str:
    return "lines+markers" if len(x) <= FEW else "lines"


def _named(name: str, n_seeds: Int[np.ndarray, " step"], all_seeds: int) -> str:
    least, most = int(n_seeds.min(initial=all_seeds)), int(n_seeds.max(initial=0))
    if least == all_seeds:
        return name
    return f"{name} ({most if least == most else f'{least}–{most}'} of {all_seeds} seeds)"
