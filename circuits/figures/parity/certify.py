"""What is proved of a run's networks on all inputs: the worst-case margin, over epochs and pattern by pattern."""

import numpy as np
import plotly.graph_objects as go
import xarray as xr

from circuits.checkpoints.run import Run
from circuits.figures.drawing.axes import epochs, frame, title_of
from circuits.figures.drawing.bands import add_band, add_seed_legend, seeds_shown
from circuits.figures.drawing.palette import style_of
from circuits.figures.drawing.phases import mark_phases

NETWORKS = {"subnetwork": "", "whole network": "whole_"}  # and what their variables begin with


def figures(run: Run, certificates: xr.Dataset) -> list[go.Figure]:
    """Margin pattern by pattern at the last checkpoint measured; over epochs, if there are several."""
    several = certificates.sizes["step"] > 1
    return [*([certified_margin(certificates)] if several else []), certified_patterns(certificates)]


def certified_margin(result: xr.Dataset) -> go.Figure:
    """Certified margin of the active subnetwork and of the whole network over epochs.

    Parameters
    ----------
    result
        `certified_margin` and `whole_certified_margin` (step, seed), as `circuits.analyze(run, "certify")` gives them;
        with `memorization_epoch` and `generalization_epoch` (seed) the phases are marked.
    """
    caption = (
        "Above 0: proved to be right on all inputs with this margin. At or below 0: the margin of a counterexample. "
        "No line where neither is shown."
    )
    values = result["certified_margin"]
    figure = frame(values, "Margin over all inputs", caption, subtitle=seeds_shown(values), y_title="certified margin")
    for index, (name, begins) in enumerate(NETWORKS.items()):
        add_band(figure, result[f"{begins}certified_margin"], name, style_of(name, index))
    figure.add_hline(y=0, line={"color": "#222222", "width": 1})
    add_seed_legend(figure, values["seed"])
    mark_phases(figure, result)
    return figure


def certified_patterns(result: xr.Dataset) -> go.Figure:
    """Bounds of the worst-case margin on each pattern of the relevant bits, at the last checkpoint, for each seed.

    Parameters
    ----------
    result
        `pattern_lower`, `pattern_upper` (pattern, step, seed) and the same with `whole_`, as
        `circuits.analyze(run, "certify")` gives them.
    """
    last = result.isel(step=-1)
    epoch = float(epochs(result)[-1])
    figure = frame(
        result["pattern_lower"],
        "Worst-case margin of each pattern",
        f"From what is proved to the worst input found, on each pattern of the relevant bits, at epoch {epoch:g}. "
        "A mark above 0: no irrelevant bits can make the network wrong there.",
        subtitle=f"epoch {epoch:g}; a group of marks per pattern, a mark per seed",
        y_title=title_of(result["pattern_lower"]).replace("no input with the pattern has a smaller margin", "margin"),
    )
    patterns, seeds = last["pattern"].values.tolist(), last["seed"].values.tolist()
    figure.update_xaxes(
        type="linear", range=[-0.6, len(patterns) - 0.4], title="pattern of the relevant bits",
        tickvals=list(range(len(patterns))), ticktext=patterns,
    )  # fmt: skip
    figure.update_layout(hovermode="closest")
    for network, (name, begins) in enumerate(NETWORKS.items()):
        lower = last[f"{begins}pattern_lower"].transpose("pattern", "seed").values
        upper = last[f"{begins}pattern_upper"].transpose("pattern", "seed").values
        places = np.arange(len(patterns))[:, None] + 0.7 * _spread(len(seeds)) + 0.35 * (network - 0.5) / len(seeds)
        hover = [[f"seed {seed}, pattern {pattern}" for seed in seeds] for pattern in patterns]
        style = style_of(name, network)
        figure.add_scatter(
            x=places.ravel(), y=lower.ravel(), name=name, mode="markers", text=np.array(hover).ravel(),
            marker={"color": style.color, "size": 5, "symbol": ("circle", "diamond")[network]},
            error_y={"symmetric": False, "array": (upper - lower).ravel(), "thickness": 1.2, "width": 0},
            hovertemplate="%{text}: at least %{y:.3g}",
        )  # fmt: skip
    figure.add_hline(y=0, line={"color": "#222222", "width": 1})
    return figure


def _spread(n_places: int) -> np.ndarray:
    """So many places, evenly in -1/2..1/2."""
    return (np.arange(n_places) + 0.5) / n_places - 0.5
