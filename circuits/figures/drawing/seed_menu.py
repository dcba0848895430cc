"""A menu that shows one seed at a time."""

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
import xarray as xr

from circuits.figures.drawing.phases import phase_marks


def add_seed_menu(
    figure: go.Figure,
    traces: Mapping[int, Sequence[Any]],
    result: xr.Dataset | xr.DataArray,
    note: str = "",
    further: Mapping[int, Mapping[str, Any]] | None = None,
) -> None:
    """Add every seed's traces, the first seed's visible, and a menu to choose another; phases and subtitle follow.

    Parameters
    ----------
    figure
        Made by `axes.frame`.
    traces
        Traces of each seed.
    result
        (seed) when each seed memorized and generalized, if it says so.
    note
        Follows the seed in the subtitle.
    further
        Properties of the layout, by their paths, that each seed sets when it is chosen.
    """
    first = next(iter(traces))
    owners: list[int] = []
    for seed, its_traces in traces.items():
        figure.add_traces([trace.update(visible=seed == first) for trace in its_traces])
        owners += [seed] * len(its_traces)
    changes = {
        seed: {**phase_marks(figure, result.sel(seed=seed)), "title.subtitle.text": f"seed {seed}{note}"}
        for seed in traces
    }
    figure.update_layout({key.replace(".", "_"): value for key, value in changes[first].items()})
    if len(traces) == 1:
        return
    buttons = [
        {
            "label": f"seed {seed}",
            "method": "update",
            "args": [
                {"visible": [owner == seed for owner in owners]},
                changes[seed] | dict((further or {}).get(seed, {})),
            ],
        }
        for seed in traces
    ]
    menu = {
        "buttons": buttons, "showactive": True, "x": 1, "xanchor": "right", "y": 1, "yanchor": "bottom",
        "pad": {"b": 18}, "font": {"size": 12}, "bgcolor": "white",
    }  # fmt: skip
    figure.update_layout(updatemenus=[menu])
