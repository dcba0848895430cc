"""Bars of the Walsh spectrum at a few checkpoints, with a slider for the checkpoint and a menu for the seed.

Each bar shows the estimated Walsh coefficient of one subset of the input bits. Bars on the left are for subsets of the
relevant bits. Bars on the right show the largest estimates for subsets with an irrelevant bit; the other such subsets
are too many to draw. Sampling alone makes estimates differ from 0, so two dotted lines, one above 0 and one below, show
how large estimates get by chance: if all subsets with an irrelevant bit have coefficient 0, the largest estimate among
them is beyond a line with probability 1/2.
"""

import numpy as np
import plotly.graph_objects as go
import xarray as xr

from circuits.figures.drawing.axes import INK, PALE, frame
from circuits.figures.drawing.palette import BLUE, GREEN, GREY, ORANGE
from circuits.figures.drawing.phases import PHASES
from circuits.figures.drawing.seed_menu import add_seed_menu

MOST_SUBSETS = 15  # subsets of the relevant bits to draw: if there are more, the parity and the largest others
OTHERS = "largest with an irrelevant bit"


def walsh_bars(result: xr.Dataset) -> go.Figure:
    """Walsh coefficients divided by the output's standard deviation; their squares are shares of the output's variance.

    Parameters
    ----------
    result
        The dataset of `circuits.analyze(run, "walsh")`.
    """
    caption = (
        "Walsh coefficients over the standard deviation of the output: of every subset of the relevant bits, and the "
        "largest of all others, with their subsets at the bars. If all other coefficients were 0, their largest "
        "estimate would reach the gray lines by chance."
    )
    figure = frame(result["share"], "Walsh spectrum", caption)
    shown = _subsets_shown(result)
    n_others = result.sizes["place"]
    names = result["subset"].values[shown].tolist()
    figure.layout.xaxis = {
        "type": "linear", "tickmode": "array", "tickvals": [*range(len(names)), len(names) + 0.5 + (n_others - 1) / 2],
        "ticktext": [*names, OTHERS], "tickangle": 0 if len(names) < 5 else -60, "title": "subset of the input bits",
        "range": [-0.7, len(names) + n_others + 0.2], "showline": True, "linecolor": INK, "showgrid": False,
        "title_font_size": 13.5, "zeroline": False,
    }  # fmt: skip
    figure.update_yaxes(
        title="coefficient / standard deviation", range=[-1.05, 1.05], zeroline=True, zerolinecolor=INK, gridcolor=PALE
    )
    frames = range(result.sizes["frame"])
    last = frames[-1]
    seeds = result["seed"].values.tolist()
    columns = [[_contents(result, seed, at, shown) for seed in seeds] for at in frames]  # (frame, seed)
    traces = {seed: _traces(columns[last][place], len(names), n_others) for place, seed in enumerate(seeds)}
    add_seed_menu(figure, traces, result.drop_vars(PHASES, errors="ignore"))
    steps = []
    for at, epoch in zip(frames, result["frame_epoch"].values.tolist(), strict=True):
        flat = [content for of_seed in columns[at] for content in of_seed]
        change = {"y": [list(y) for y, _ in flat], "text": [list(text) for _, text in flat]}
        steps.append({"label": f"{epoch:.6g}", "method": "restyle", "args": [change]})  # keeps the chosen seed
    slider = {
        "active": last, "steps": steps, "x": 0, "len": 1, "y": 0, "yanchor": "top", "pad": {"t": 76, "b": 8},
        "currentvalue": {"prefix": "epoch ", "font": {"size": 13}, "xanchor": "left"}, "font": {"size": 11},
        "ticklen": 4, "minorticklen": 0,
    }  # fmt: skip
    figure.update_layout(
        sliders=[slider], hovermode="closest", height=560, bargap=0.25, barmode="overlay",
        margin={"l": 64, "r": 18, "t": 88, "b": 190},
    )  # fmt: skip
    return figure


def _subsets_shown(result: xr.Dataset) -> list[int]:
    """Indices of at most 15 non-empty subsets of the relevant bits: small subsets first, all bits (the parity) last."""
    names = result["subset"].values.tolist()
    proper = list(range(1, len(names) - 1))
    if len(proper) + 1 > MOST_SUBSETS:
        peaks = np.abs(np.nan_to_num(result["coefficient"].values)).max(axis=(0, 1))
        proper = sorted(proper, key=lambda place: -peaks[place])[: MOST_SUBSETS - 1]
    return [*sorted(proper, key=lambda place: (names[place].count(","), -place)), len(names) - 1]


def _contents(result: xr.Dataset, seed: int, at: int, shown: list[int]) -> list[tuple[np.ndarray, list[str]]]:
    """Heights and texts of the four traces that show a seed's Walsh coefficients at one checkpoint.

    `at` is the index of the checkpoint on the slider. `shown` holds the indices of the subsets of the relevant bits to
    draw; the last is the subset of all relevant bits. All heights are divided by the standard deviation of the output.

    - The first trace has a bar for each subset in `shown` except the last.
    - The second trace is one bar, for the subset of all relevant bits.
    - The third trace has bars for the largest coefficients of subsets with an irrelevant bit. Texts name these subsets.
    - The fourth trace has two horizontal lines, one above and one below 0. If all true coefficients of subsets with an
      irrelevant bit were 0, their largest estimate would still lie beyond a line with probability 1/2.
    """
    at_frame = result.sel(seed=seed).isel(frame=at)
    now = result.sel(seed=seed, step=int(at_frame["frame_step"]))
    with np.errstate(invalid="ignore", divide="ignore"):
        deviation = np.sqrt(float(now["variance"]))
        inside = now["coefficient"].values[shown] / deviation
        others = at_frame["other_coefficient"].values / deviation
        chance = float(at_frame["other_by_chance"]) / deviation
    inside, others = (np.where(np.isfinite(values), values, 0.0).round(5) for values in (inside, others))
    level = chance if np.isfinite(chance) else 0.0
    return [
        (inside[:-1], [""] * (len(shown) - 1)),  # proper subsets of the relevant bits
        (inside[-1:], [""]),  # all relevant bits: the parity
        (others, at_frame["other_subset"].values.tolist()),  # subsets with an irrelevant bit
        (np.array([level, level, np.nan, -level, -level]).round(5), [""] * 5),  # the chance level, above and below 0
    ]


def _traces(contents: list[tuple[np.ndarray, list[str]]], n_inside: int, n_others: int) -> list[go.Bar | go.Scatter]:
    places = [np.arange(n_inside - 1), np.array([n_inside - 1]), n_inside + 0.5 + np.arange(n_others)]
    looks = (("subset of the relevant bits", ORANGE), ("their parity", GREEN), ("with an irrelevant bit", BLUE))
    drawn: list[go.Bar | go.Scatter] = [
        go.Bar(
            x=x, y=y, text=text, name=name, marker={"color": color}, textposition="outside", textangle=-90,
            textfont={"size": 11}, constraintext="none", cliponaxis=False,
            hovertemplate="%{text} %{y:.4f}<extra></extra>",
        )
        for x, (y, text), (name, color) in zip(places, contents, looks, strict=False)
    ]  # fmt: skip
    left, right = n_inside, n_inside + n_others
    chance = go.Scatter(
        x=[left, right, None, left, right], y=contents[3][0], name="largest by chance", mode="lines",
        line={"color": GREY, "width": 1.4, "dash": "dot"}, hoverinfo="skip",
    )  # fmt: skip
    return [*drawn, chance]
