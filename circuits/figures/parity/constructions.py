"""Figures of learned parity circuits: number of neurons, size of the weights, margins, firing of neurons, diagrams."""

from typing import Any

import numpy as np
import plotly.graph_objects as go
import xarray as xr

from circuits.checkpoints.run import Run
from circuits.constructions.building.catalog import constructions_of
from circuits.figures.drawing.axes import INK, PALE, frame, variable
from circuits.figures.drawing.curves import curves_over_epochs
from circuits.figures.drawing.palette import ALONE, BLUE, SKY, VERMILLION
from circuits.figures.drawing.phases import PHASES
from circuits.figures.drawing.seed_menu import add_seed_menu
from circuits.figures.parity.diagram import circuit_diagram, readable

ROW = 26  # pixels of a neuron
PARTS = {"network": (BLUE, "circle"), "subnetwork": (VERMILLION, "circle-open")}
FIRES = {  # senses in which a neuron fires, from the strongest to the weakest
    "whatever the other bits are": ("square", BLUE),
    "with the other bits at their mean": ("square", SKY),
    "for some choice of the other bits": ("square-open", BLUE),
}


def figures(run: Run, result: xr.Dataset) -> list[go.Figure]:
    """Every figure of the measurement `constructions` of a run."""
    candidates, nearest = constructions_of(result.sizes["bit"]), result["nearest"].values
    diagrams = [
        circuit_diagram(result.isel(seed=np.flatnonzero(nearest == name)), candidates[name])
        for name in dict.fromkeys(nearest.tolist())
        if name in candidates
    ]
    return [*diagrams, *(draw(result) for draw in (merged_sparsity, cost_over_least, pattern_margins, firing_patterns))]


def merged_sparsity(result: xr.Dataset | xr.DataArray) -> go.Figure:
    """Merged sparsity over epochs: how many neurons the predictions need, if near-parallel neurons count as one.

    Parameters
    ----------
    result
        `merged_sparsity` (step, seed), alone or in the dataset of `circuits.analyze(run, "constructions")`. The figure
        marks `memorization_epoch` and `generalization_epoch` (seed) if the dataset has them.
    """
    values = variable(result, "merged_sparsity")
    caption = (
        "Fewest circuit elements, near-parallel neurons counted as one, with the same sign as the whole network on "
        "the agreement set. A gap: no number of elements agrees, because neurons too small for an element decide, or "
        "the network has collapsed."
    )
    lines, axis = [(values.where(values > 0), "merged sparsity", ALONE)], {"type": "log"}
    return curves_over_epochs(result, values, "Merged sparsity", caption, lines, form=".4~g", y_axis=axis)


def cost_over_least(result: xr.Dataset | xr.DataArray) -> go.Figure:
    """Path cost per margin of the network over epochs, as a multiple of what the cheapest network for parity needs.

    The path cost of a network is Σ|readout|·‖(weights, bias)‖ over its neurons. The drawn ratio is 1 / `efficiency`.

    Parameters
    ----------
    result
        `efficiency` (step, seed), alone or in the dataset of `circuits.analyze(run, "constructions")`. The figure
        marks `memorization_epoch` and `generalization_epoch` (seed) if the dataset has them.
    """
    values = variable(result, "efficiency")
    ratio = (1 / values).assign_attrs(long_name="path cost per margin, divided by its least possible value")
    caption = (
        "Path cost Σ|readout|·‖(weights, bias)‖ of the whole network per unit of margin, divided by its least possible "
        "value; 1 is the optimum. A gap: the network does not compute parity."
    )
    lines, axis = [(ratio, "cost over the minimum", ALONE)], {"type": "log"}
    return curves_over_epochs(result, ratio, "Cost over the minimum", caption, lines, form=".4~g", y_axis=axis)


def pattern_margins(result: xr.Dataset) -> go.Figure:
    """Margin of each pattern (setting of the relevant bits): parity times the mean output over all irrelevant bits.

    Parameters
    ----------
    result
        The dataset of `circuits.analyze(run, "constructions")`; it has the margins of each seed's final checkpoint.
    """
    values = result["pattern_margin"]
    caption = (
        "Parity times output on every pattern of the relevant bits, the other bits averaged out; a point for each "
        "seed. The margin of a network is its lowest point. At the least cost all points of a network are equal."
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
    """For each neuron of the active subnetwork: the patterns (settings of the relevant bits) on which it fires.

    Whether a neuron fires on a pattern may depend on the irrelevant bits. Each of these bits is -1 or 1; its mean is 0.

    - A filled square: the neuron fires for all values of the irrelevant bits.
    - A pale square: the neuron fires for some values only, and it fires if all irrelevant bits are set to 0.
    - An open square: the neuron fires for some values only, and it does not fire if all irrelevant bits are set to 0.

    Parameters
    ----------
    result
        The dataset of `circuits.analyze(run, "constructions")`.
    """
    caption = (
        "Each row is a neuron of the active subnetwork, with its gate. Filled square: it fires for all values of the "
        "irrelevant bits; pale square: at their mean; open square: for some values."
    )
    figure = _over_patterns(result, "Firing patterns", caption, "")
    rows = result.sizes["rank"]
    axis = {"title": "neuron, by path norm", "range": [rows - 0.5, -0.5], "dtick": 1, "showticklabels": rows <= 40}
    figure.update_layout(yaxis=axis, hovermode="closest", height=max(320, 190 + ROW * min(rows, 40)))
    traces = {seed: _firing(result.sel(seed=seed)) for seed in result["seed"].values.tolist()}
    add_seed_menu(figure, traces, result.drop_vars(PHASES, errors="ignore"))
    return figure


def _firing(at: xr.Dataset) -> list[go.Scatter]:
    exists = at["neuron_index"].values >= 0
    always, mean, can = (at[name].values[exists] for name in ("always_fires", "fires", "can_fire"))
    gates = [readable(gate) for gate in at["gate"].values[exists].tolist()]
    patterns = [readable(pattern) for pattern in at["pattern"].values.tolist()]
    neurons = at["neuron_index"].values[exists]
    names = [f"neuron {neuron}, {gate}" for neuron, gate in zip(neurons, gates, strict=True)]
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
        text=gates, showlegend=False, hoverinfo="skip", cliponaxis=False,
    )  # fmt: skip
    return [*drawn, beside]


def _over_patterns(result: xr.Dataset, title: str, caption: str, subtitle: str) -> go.Figure:
    figure = frame(result["efficiency"], title, caption, subtitle=subtitle)
    names = [readable(pattern) for pattern in result["pattern"].values.tolist()]
    across: dict[str, Any] = {
        "type": "linear", "tickmode": "array", "tickvals": list(range(len(names))), "ticktext": names, "tickangle": 0,
        "range": [-0.5, len(names) + 0.4], "title": "pattern of the relevant bits", "showline": True,
        "linecolor": INK, "gridcolor": PALE, "title_font_size": 13.5, "zeroline": False,
    }  # fmt: skip
    figure.layout.xaxis = across
    return figure
