"""A hand-built and a learned network side by side, from bits to neurons to output; matched neurons share a row.

A line's width shows a weight relative to its neuron's largest weight, or a readout relative to the largest readout.
"""

from typing import NamedTuple

import numpy as np
import plotly.graph_objects as go
import xarray as xr
from jaxtyping import Float, Int

from circuits.constructions.building.construction import Construction
from circuits.constructions.reading.gates import nearest_gates
from circuits.figures.drawing.axes import FONT, INK, heading
from circuits.figures.drawing.palette import BLUE, GREEN, GREY, ORANGE, VERMILLION
from circuits.figures.drawing.phases import PHASES
from circuits.figures.drawing.seed_menu import add_seed_menu

WIDEST, THINNEST = 3.0, 0.6
ROW, MOST_ROWS = 46, 24  # pixels of a row; further elements are not drawn, as the subtitle then says
BUILT, LEARNED = 0.0, 3.25  # x of the bits of each network
GATE, BEHIND, OUTPUT = 1.0, 2.1, 2.7  # x of gates, of lines behind their labels, and of the output, from the bits


class Network(NamedTuple):
    """Weights of f(x) = Σ_j u_j relu(W_j·x + b_j) on the k relevant bits x; the row where each neuron j is drawn."""

    W: Float[np.ndarray, "neuron k"]
    b: Float[np.ndarray, " neuron"]
    u: Float[np.ndarray, " neuron"]
    rows: Int[np.ndarray, " neuron"]


def circuit_diagram(result: xr.Dataset, construction: Construction) -> go.Figure:
    """A hand-built network and, to its right, each seed's network with parallel neurons merged; matches share a row.

    Parameters
    ----------
    result
        The dataset of `circuits.analyze(run, "constructions")`; it must contain each seed's match to `construction`.
    construction
        The hand-built network; the figure permutes and flips its bits for the best match.
    """
    caption = (
        f"The construction {construction.name}, with bits permuted and flipped for the best match, beside the learned "
        "circuit, with near-parallel neurons merged and scaled to a largest weight of 1. Matched neurons share a row; "
        "green gates match, orange gates are missing or extra."
    )
    seeds = result["seed"].values.tolist()
    pairs = {seed: _aligned(result.sel(seed=seed), construction) for seed in seeds}
    n_rows = max(len(set(built.rows) | set(learned.rows)) for built, learned in pairs.values())
    figure = go.Figure(
        layout={
            "template": "plotly_white",
            "title": heading("Built and learned"),
            "font": {"family": FONT, "size": 12, "color": INK},
            "height": 170 + ROW * max(n_rows, 4), "margin": {"l": 20, "r": 20, "t": 92, "b": 76},
            "legend": {"orientation": "h", "x": 0, "y": 0, "yref": "container", "yanchor": "bottom"},
            "xaxis": {
                "title": "bits → gates → output", "range": [-0.2, LEARNED + OUTPUT + 0.2], "showgrid": False,
                "zeroline": False, "showticklabels": False,
            },
            "yaxis": {
                "title": "neuron", "range": [n_rows - 0.3, -1.3], "showgrid": False, "zeroline": False,
                "showticklabels": False,
            },
            "hovermode": "closest",
            "meta": {"caption": caption},
        }
    )  # fmt: skip
    traces = {}
    for seed, (built, learned) in pairs.items():
        matched_rows = set(built.rows.tolist()) & set(learned.rows.tolist())
        bits = result["bit"].values.tolist()
        titles = go.Scatter(
            x=[BUILT + OUTPUT / 2, LEARNED + OUTPUT / 2], y=[-1.0, -1.0], mode="text", textfont={"size": 13},
            text=[f"<b>{construction.name}</b>", f"<b>learned, seed {seed}</b>"], showlegend=False, hoverinfo="skip",
        )  # fmt: skip
        built_traces, learned_traces = (
            _drawn(net, left, bits, matched_rows, n_rows) for net, left in ((built, BUILT), (learned, LEARNED))
        )
        traces[seed] = [*built_traces, *learned_traces, titles, *_legend()]
    hidden = int((result["element_gate"] != "").sum("element").max()) > MOST_ROWS
    note = f"; the {MOST_ROWS} elements of largest path norm" if hidden else ""
    add_seed_menu(figure, traces, result.drop_vars(PHASES, errors="ignore"), note)
    return figure


def _aligned(of_seed: xr.Dataset, construction: Construction) -> tuple[Network, Network]:
    """The construction, with bits permuted and flipped for the best match, and the network that one seed learned."""
    match = of_seed.sel(construction=construction.name)
    rows = np.flatnonzero(of_seed["element_gate"].values != "")[:MOST_ROWS]
    neuron_of = match["construction_neuron"].values[rows]
    signs, order = match["bit_sign"].values, match["permutation"].values
    net = construction.arrays()
    matched = neuron_of[neuron_of >= 0]
    missing = np.setdiff1d(np.arange(construction.n_neurons), matched)
    built_rows = np.empty(construction.n_neurons, int)
    built_rows[matched] = np.arange(len(matched))
    built_rows[missing] = len(matched) + np.arange(len(missing))
    learned_rows = np.where(neuron_of >= 0, built_rows[np.maximum(neuron_of, 0)], -1)
    extra = learned_rows < 0
    learned_rows[extra] = construction.n_neurons + np.arange(extra.sum())
    built = Network(net["W"][:, order] * signs, net["b"], net["u"] * signs.prod(), built_rows)
    W, b, u = (of_seed[f"element_{name}"].values[rows] for name in ("weight", "bias", "readout"))
    sizes = np.abs(W).max(axis=1, initial=0.0)
    sizes = np.where(sizes > 0.01 * np.abs(b), sizes, np.abs(b))  # scale a constant by its bias
    sizes = np.where(sizes > 0, sizes, 1.0)
    return built, Network(W / sizes[:, None], b / sizes, u * sizes, learned_rows)


def _drawn(net: Network, left: float, bits: list[int], matched_rows: set[int], n_rows: int) -> list[go.Scatter]:
    """Traces of one of the figure's two networks, with its bits at x = `left` and its output to the right of them.

    `bits` are the indices of the relevant bits. The figure has `n_rows` rows. A row in `matched_rows` holds a neuron of
    each of the two networks, the hand-built and the learned one. In any other row, a neuron is drawn as unmatched.
    """
    heights = np.linspace(0.15, 0.85, len(bits)) * (n_rows - 1) if len(bits) > 1 else np.array([(n_rows - 1) / 2])
    middle = (n_rows - 1) / 2
    drawn = []
    largest = np.abs(net.u).max(initial=0.0) or 1.0
    for j, row in enumerate(net.rows.astype(float).tolist()):
        scale = np.abs(net.W[j]).max(initial=0.0) or 1.0
        for i, height in enumerate(heights):
            label = f"bit {bits[i]}: weight {net.W[j, i]:.3g}"
            drawn.append(_line((left, height), (left + GATE, row), net.W[j, i], net.W[j, i] / scale, label))
        ends = (left + BEHIND, row), (left + OUTPUT, middle)
        drawn.append(_line(*ends, net.u[j], net.u[j] / largest, f"readout {net.u[j]:.3g}"))
    names = nearest_gates(net.W, net.b).names
    labels = [readable(f"  {name} b {b:.2g}, u {u:.2g}") for name, b, u in zip(names, net.b, net.u, strict=True)]
    matched = [row in matched_rows for row in net.rows.tolist()]
    gates = go.Scatter(
        x=[left + GATE] * len(net.rows), y=net.rows, mode="markers+text", text=labels, textposition="middle right",
        textfont={"size": 11}, showlegend=False, hovertemplate="weights %{customdata}<extra></extra>",
        customdata=[", ".join(f"{weight:.3g}" for weight in row) for row in net.W],
        marker={
            "size": 13, "line": {"color": INK, "width": 1}, "color": [GREEN if one else ORANGE for one in matched],
            "symbol": ["circle" if one else "diamond" for one in matched],
        },
    )  # fmt: skip
    bits_and_output = go.Scatter(
        x=[left] * len(bits) + [left + OUTPUT], y=[*heights, middle], mode="markers+text", showlegend=False,
        text=[f"x<sub>{bit}</sub>" for bit in bits] + ["f"], textposition="middle center", hoverinfo="skip",
        marker={"size": 27, "color": "white", "line": {"color": INK, "width": 1.2}, "symbol": "square"},
    )  # fmt: skip
    return [*drawn, gates, bits_and_output]


def _line(start: tuple[float, float], end: tuple[float, float], sign: float, share: float, label: str) -> go.Scatter:
    """A line for a weight, with the hover text `label` in its middle; the sign of `sign` determines color and dash.

    `share` is the weight divided by the largest |weight| of the same neuron, or a readout weight divided by the largest
    |readout weight|. The line's width is proportional to |share|, but has a lower limit.
    """
    x, y = ([first, (first + last) / 2, last] for first, last in zip(start, end, strict=True))
    color, dash = (GREY, "dot") if sign == 0 else (BLUE, "solid") if sign > 0 else (VERMILLION, "dash")
    return go.Scatter(
        x=x, y=y, mode="lines", showlegend=False, text=label, hovertemplate="%{text}<extra></extra>",
        opacity=0.25 if sign == 0 else 0.9,
        line={"color": color, "dash": dash, "width": max(THINNEST, WIDEST * abs(share))},
    )  # fmt: skip


def _legend() -> list[go.Scatter]:
    lines = [("positive weight", BLUE, "solid"), ("negative weight", VERMILLION, "dash")]
    marks = [("matched", GREEN, "circle"), ("missing, or extra", ORANGE, "diamond")]
    drawn = [
        go.Scatter(x=[None], y=[None], mode="lines", name=name, line={"color": color, "dash": dash, "width": 2.2})
        for name, color, dash in lines
    ]
    for name, color, symbol in marks:
        marker = {"color": color, "symbol": symbol, "size": 11, "line": {"color": INK, "width": 1}}
        drawn.append(go.Scatter(x=[None], y=[None], mode="markers", name=name, marker=marker))
    return drawn


def readable(text: str) -> str:
    """The text with each hyphen replaced by a minus sign, which is as wide as a plus sign."""
    return text.replace("-", "−")
