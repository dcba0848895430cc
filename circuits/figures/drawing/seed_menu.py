"""A menu that shows one seed, or one part of a figure, at a time."""

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
    """Add the traces of every seed, with the traces of the first seed visible, and a menu of seeds.

    The menu also changes the subtitle, in which the text `note` follows the seed. It also changes the marks of
    memorization and generalization, if `result` has `memorization_epoch` and `generalization_epoch` (seed). `figure` is
    a figure of `axes.frame`. `further` gives, for each seed, more layout properties that the seed's menu entry sets, by
    plotly's names, such as `title.text`.
    """
    first = next(iter(traces))
    owners: list[int] = []
    for seed, seed_traces in traces.items():
        figure.add_traces([trace.update(visible=seed == first) for trace in seed_traces])
        owners += [seed] * len(seed_traces)
    changes = {
        seed: {**phase_marks(figure, result.sel(seed=seed)), "title.subtitle.text": f"seed {seed}{note}"}
        for seed in traces
    }
    figure.update_layout({key.replace(".", "_"): value for key, value in changes[first].items()})
    entries = {f"seed {seed}": {**changes[seed], **(further or {}).get(seed, {})} for seed in traces}
    add_menu(figure, [f"seed {owner}" for owner in owners], entries)


def add_menu(figure: go.Figure, owners: Sequence[str], changes: Mapping[str, Mapping[str, Any]]) -> None:
    """Add a menu with an entry for each label in `changes`, if there are several labels.

    `owners` has the label of each trace; a menu entry shows the traces with its label. `changes` gives, for each label,
    the layout properties that the menu entry sets, by plotly's names, such as `title.text`.
    """
    buttons = [
        {"label": label, "method": "update", "args": [{"visible": [owner == label for owner in owners]}, dict(change)]}
        for label, change in changes.items()
    ]
    menu = {
        "buttons": buttons, "showactive": True, "x": 1, "xanchor": "right", "y": 1, "yanchor": "bottom",
        "pad": {"b": 18}, "font": {"size": 12}, "bgcolor": "white",
    }  # fmt: skip
    if len(buttons) > 1:
        figure.update_layout(updatemenus=[menu])
