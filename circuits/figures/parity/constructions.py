"""What circuits the seeds have learned: sizes and price along training, margins, firing patterns, and the diagram."""

from typing import Any

import numpy as np
import plotly.graph_objects as go
import xarray as xr

from circuits.checkpoints.run import Run
from circuits.constructions.building.catalog import known
from circuits.figures.drawing.axes import INK, PALE, frame, variable
from circuits.figures.drawing.bands import add_band, add_seed_legend, seeds_shown
from circuits.figures.drawing.palette import ALONE, BLUE, SKY, VERMILLION
from circuits.figures.drawing.phases import PHASES, mark_phases
from circuits.figures.drawing.seed_menu import add_seed_menu
from circuits.figures.parity.diagram import circuit_diagram

ROW = 26  # pixels for a neuron
PARTS = {"network": (BLUE, "circle"), "subnetwork": (VERMILLION, "circle-open")}
FIRES = {  # where a neuron fires, from the strongest sense to the weakest
    "whatever the other bits are": ("square", BLUE),
    "with the other bits at their mean": ("square", SKY),
    "for some choice of the other bits": ("square-open", BLUE),
}


def figures(run: Run, result: xr.Dataset) -> list[go.Figure]:
    """Every figure of the constructions of a run."""
    candidates = known(result.sizes["bit"])
    nearest = [str(name) for name in result["nearest"].values]
    diagram = [
        circuit_diagram(result.isel(seed=[place for place, one in enumerate(nearest) if one == name]), candidates[name])
        for name in dict.fromkeys(nearest)
        if name in candidates
    ]
    along_training = [merged_sparsity(result), cost_over_least(result)]
    return [*diagram, *along_training, pattern_margins(result), firing_patterns(result)]


def merged_sparsity(result: xr.Dataset | xr.DataArray) -> go.Figure:
    """Merged elements needed over epochs.

    Parameters
    ----------
    result
        `merged_sparsity` (step, seed), alone or in the dataset of `circuits.analyze(run, "constructions")`; with
        `memorization_epoch` and `generalization_epoch` (seed) the phases are marked.
    """
    values = variable(result, "merged_sparsity")
    caption = (
        "Fewest circuit elements, near-parallel neurons counted as one, with the same sign as the whole network on "
        "every input of the support. A gap is where no number of elements agrees, since neurons below the floor "
        "decide, or where the network has collapsed."
    )
    axis = {"type": "log"}
    figure = frame(values, "Merged sparsity", caption, subtitle=seeds_shown(values), y_axis=axis)
    add_band(figure, values.where(values > 0), "merged sparsity", ALONE, ".4~g")
    add_seed_legend(figure, values["seed"])
    mark_phases(figure, result)
    return figure


def cost_over_least(result: xr.Dataset | xr.DataArray) -> go.Figure:
    """Path cost per margin over the least possible, 1 / efficiency, over epochs.

    Parameters
    ----------
    result
        `efficiency` (step, seed), alone or in the dataset of `circuits.analyze(run, "constructions")`; with
        `memorization_epoch` and `generalization_epoch` (seed) the phases are marked.
    """
    values = variable(result, "efficiency")
    ratio = (1 / values).assign_attrs(long_name="path cost per margin / the least possible")
    caption = (
        "What the whole network pays for a unit of margin, over the least any network could; 1 is the optimum. "
        "Nothing is drawn where the network does not compute parity."
    )
    axis = {"type": "log"}
    figure = frame(ratio, "Cost over the minimum", caption, subtitle=seeds_shown(ratio), y_axis=axis)
    add_band(figure, ratio, "cost over the minimum", ALONE, ".4~g")
    add_seed_legend(figure, ratio["seed"])
    mark_phases(figure, result)
    return figure


def pattern_margins(result: xr.Dataset) -> go.Figure:
    """Parity times output on each pattern of the relevant bits, of every seed at its final checkpoint.

    Parameters
    ----------
    result
        The dataset of `circuits.analyze(run, "constructions")`.
    """
    values = result["pattern_margin"]
    caption = (
        "Parity times output on every pattern of the relevant bits, the other bits averaged out; a point for each "
        "seed. The margin is the least of them. Equal margins are what least cost asks for."
    )
    n_seeds = values.sizes["seed"]
    subtitle = f"{n_seeds} seeds at the final checkpoint" if n_seeds > 1 else "at the final checkpoint"
    figure = _over_patterns(result, "Margin of each pattern", caption, subtitle)
    figure.update_yaxes(title="parity × output", rangemode="tozero", zeroline=True, zerolinecolor=INK)
    for part, (color, symbol) in PARTS.items():
        of_part = values.sel(part=part).transpose("seed", "pattern")
        figure.add_scatter(
            x=np.tile(np.arange(values.sizes["pattern"]), n_seeds), y=of_part.values.ravel(), name=part, mode="markers",
            customdata=np.repeat(values["seed"].values, values.sizes["pattern"]),
            marker={"color": color, "symbol": symbol, "size": 9, "line": {"width": 1.6}},
            hovertemplate=f"{part}, seed %{{customdata}}: %{{y:.3f}}<extra></extra>",
        )  # fmt: skip
    figure.update_layout(hovermode="closest")
    return figure


def firing_patterns(result: xr.Dataset) -> go.Figure:
    """On which patterns each neuron of the active subnetwork fires, and in which sense.

    Parameters
    ----------
    result
        The dataset of `circuits.analyze(run, "constructions")`.
    """
    caption = (
        "Each row is a neuron of the active subnetwork, with its gate; a filled square where it fires whatever the "
        "irrelevant bits are, a pale one where it does at their mean, an open one where it can."
    )
    figure = _over_patterns(result, "Firing patterns", caption, "")
    rows = result.sizes["rank"]
    axis = {"title": "neuron, by path norm", "range": [rows - 0.5, -0.5], "dtick": 1, "showticklabels": rows <= 40}
    figure.update_layout(yaxis=axis, hovermode="closest", height=max(320, 190 + ROW * min(rows, 40)))
    traces = {seed: _firing(result.sel(seed=seed)) for seed in result["seed"].values.tolist()}
    add_seed_menu(figure, traces, result.drop_vars([name for name in PHASES if name in result]))
    return figure


def _firing(at: xr.Dataset) -> list[go.Scatter]:
    exists = at["neuron_index"].values >= 0
    always, mean, can = (at[name].values[exists] for name in ("always_fires", "fires", "can_fire"))
    gates, patterns = at["gate"].values[exists], [_readable(name) for name in at["pattern"].values.tolist()]
    names = [
        f"neuron {neuron}, {_readable(gate)}"
        for neuron, gate in zip(at["neuron_index"].values[exists], gates, strict=True)
    ]
    drawn = []
    for where, (sense, (symbol, color)) in zip((always, mean & ~always, can & ~mean), FIRES.items(), strict=True):
        row, column = np.nonzero(where)
        trace = go.Scatter(
            x=column, y=row, name=f"fires {sense}", mode="markers", hovertemplate="%{customdata}<extra></extra>",
            customdata=[f"{names[j]} on {patterns[z]}" for j, z in zip(row, column, strict=True)],
            marker={"symbol": symbol, "color": color, "size": 14, "line": {"width": 1.6}},
        )  # fmt: skip
        drawn.append(trace)
    beside = go.Scatter(
        x=[len(patterns) - 0.6] * len(gates), y=np.arange(len(gates)), mode="text", textposition="middle right",
        text=[_readable(gate) for gate in gates], showlegend=False, hoverinfo="skip", cliponaxis=False,
    )  # fmt: skip
    return [*drawn, beside]


def _over_patterns(result: xr.Dataset, title: str, caption: str, subtitle: str) -> go.Figure:
    """The frame of every figure, with the patterns across in place of epochs."""
    figure = frame(result["efficiency"], title, caption, subtitle=subtitle)
    names = [_readable(pattern) for pattern in result["pattern"].values.tolist()]
    across: dict[str, Any] = {
        "type": "linear", "tickmode": "array", "tickvals": list(range(len(names))), "ticktext": names, "tickangle": 0,
        "range": [-0.5, len(names) + 0.4], "title": "pattern of the relevant bits", "showline": True,
        "linecolor": INK, "gridcolor": PALE, "title_font_size": 13.5, "zeroline": False,
    }  # fmt: skip
    figure.layout.xaxis = across
    return figure


def _readable(pattern: str) -> str:
    """A pattern with a minus as wide as its plus."""
    return str(pattern).replace("-", "−")
