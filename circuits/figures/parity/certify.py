"""Figures of certificates (proved margins of a network on all inputs), over epochs and by setting of relevant bits."""

import numpy as np
import plotly.graph_objects as go
import xarray as xr

from circuits.checkpoints.run import Run
from circuits.figures.drawing.axes import epochs, frame, title_of
from circuits.figures.drawing.curves import curves_over_epochs
from circuits.figures.drawing.palette import style_of

NETWORKS = {"subnetwork": "", "whole network": "whole_"}  # and the prefixes of their variables


def figures(run: Run, certificates: xr.Dataset) -> list[go.Figure]:
    """A figure of margins over epochs, and a figure of the final margin for each setting of the relevant bits.

    A result with a single checkpoint has no figure over epochs.
    """
    several = certificates.sizes["step"] > 1
    return [*([certified_margin(certificates)] if several else []), certified_patterns(certificates)]


def certified_margin(result: xr.Dataset) -> go.Figure:
    """Margin proved on all inputs, over epochs: for the whole network, and for its active subnetwork alone.

    Parameters
    ----------
    result
        `certified_margin` and `whole_certified_margin` (step, seed), as `circuits.analyze(run, "certify")` gives them.
        The figure marks `memorization_epoch` and `generalization_epoch` (seed) if the dataset has them.
    """
    caption = (
        "Above 0: a proof that the network is right on all inputs with this margin. At or below 0: the margin of a "
        "counterexample. A gap: neither a proof nor a counterexample within the time limit."
    )
    lines = [
        (result[f"{prefix}certified_margin"], name, style_of(name, index))
        for index, (name, prefix) in enumerate(NETWORKS.items())
    ]
    title, y_title = "Margin over all inputs", "certified margin"
    figure = curves_over_epochs(result, result["certified_margin"], title, caption, lines, y_title=y_title)
    figure.add_hline(y=0, line={"color": "#222222", "width": 1})
    return figure


def certified_patterns(result: xr.Dataset) -> go.Figure:
    """Bounds of each seed's worst-case margin for each setting (pattern) of the relevant bits, at the last checkpoint.

    Parameters
    ----------
    result
        The bounds (pattern, step, seed) of `circuits.analyze(run, "certify")`: `pattern_lower`, `pattern_upper` of the
        active subnetwork alone; `whole_pattern_lower`, `whole_pattern_upper` of the whole network.
    """
    last = result.isel(step=-1)
    epoch = float(epochs(result)[-1])
    caption = (
        f"From the proved lower bound to the worst input found, on each pattern of the relevant bits, at epoch "
        f"{epoch:g}. A mark above 0: no choice of the irrelevant bits makes the network wrong on the pattern."
    )
    subtitle = f"epoch {epoch:g}; a group of marks per pattern, a mark per seed"
    y_title = title_of(result["pattern_lower"]).replace("no input with the pattern has a smaller margin", "margin")
    title = "Worst-case margin of each pattern"
    figure = frame(result["pattern_lower"], title, caption, subtitle=subtitle, y_title=y_title)
    patterns, seeds = last["pattern"].values.tolist(), last["seed"].values.tolist()
    figure.update_xaxes(
        type="linear", range=[-0.6, len(patterns) - 0.4], title="pattern of the relevant bits",
        tickvals=list(range(len(patterns))), ticktext=patterns,
    )  # fmt: skip
    figure.update_layout(hovermode="closest")
    spread = (np.arange(len(seeds)) + 0.5) / len(seeds) - 0.5  # evenly in -1/2..1/2
    hover = [f"seed {seed}, pattern {pattern}" for pattern in patterns for seed in seeds]
    for network, (name, prefix) in enumerate(NETWORKS.items()):
        lower = last[f"{prefix}pattern_lower"].transpose("pattern", "seed").values
        upper = last[f"{prefix}pattern_upper"].transpose("pattern", "seed").values
        places = np.arange(len(patterns))[:, None] + 0.7 * spread + 0.35 * (network - 0.5) / len(seeds)
        figure.add_scatter(
            x=places.ravel(), y=lower.ravel(), name=name, mode="markers", text=hover,
            marker={"color": style_of(name, network).color, "size": 5, "symbol": ("circle", "diamond")[network]},
            error_y={"symmetric": False, "array": (upper - lower).ravel(), "thickness": 1.2, "width": 0},
            hovertemplate="%{text}: at least %{y:.3g}",
        )  # fmt: skip
    figure.add_hline(y=0, line={"color": "#222222", "width": 1})
    return figure
