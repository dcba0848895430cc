"""Marks of the epochs at which the seeds memorized and generalized, and of a weight decay that changes.

Each seed has a line, and a tint covers the range of all seeds. "≤" marks an upper bound: the seed memorized or
generalized at or before the first stored checkpoint. A dashed line with an axis on the right is the weight decay.
"""

from typing import Any

import numpy as np
import plotly.graph_objects as go
import xarray as xr

from circuits.analysis.networks.phases import phases
from circuits.checkpoints.run import Run
from circuits.figures.drawing.decay import DECAY, mark_decay
from circuits.figures.drawing.palette import GENERALIZATION, MEMORIZATION, Style, faint

PHASES = {"memorization_epoch": ("memorized", MEMORIZATION), "generalization_epoch": ("generalized", GENERALIZATION)}
CENSORED = {name: name.replace("_epoch", "_censored") for name in PHASES}  # (seed,) whether the epoch is a bound
PANELS = "panels"  # in a figure's meta: number of panels on its epoch axis, which the marks cross
CLOSE = 0.22  # two labels nearer than this share of the axis stand at different heights


def with_phases(run: Run, result: xr.Dataset, when: xr.Dataset | None = None) -> xr.Dataset:
    """The result plus each seed's memorization and generalization epochs, from `when` or, by default, `phases(run)`.

    If the run's weight decay changes, the result also has `weight_decay` (step, seed).
    """
    reached = phases(run) if when is None else when
    result = result.assign({name: reached[name] for name in (*PHASES, *CENSORED.values())})
    if DECAY in run.metrics and DECAY not in result and "step" in result.dims:
        result = result.assign({DECAY: run.metrics[DECAY].sel(step=result["step"])})
    return result


def mark_phases(figure: go.Figure, result: xr.Dataset | xr.DataArray) -> None:
    """Mark each seed's memorization and generalization epoch, and draw the weight decay, if `result` has them."""
    figure.update_layout(phase_marks(figure, result))
    if isinstance(result, xr.Dataset) and DECAY in result:
        mark_decay(figure, result[DECAY])


def phase_marks(figure: go.Figure, result: xr.Dataset | xr.DataArray) -> dict[str, list[dict[str, Any]]]:
    """Plotly `shapes` and `annotations` that mark when the seeds in `result` memorized and generalized."""
    whole = "paper" if PANELS in (figure.layout.meta or {}) else "y domain"
    shapes: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    last_place = -np.inf
    for name, (label, style) in PHASES.items():
        if not isinstance(result, xr.Dataset) or name not in result:
            continue
        at = np.atleast_1d(result[name].values)
        bound = np.atleast_1d(result[CENSORED[name]].values) if CENSORED[name] in result else np.zeros(at.shape, bool)
        drawn = at > 0 if figure.layout.xaxis.type == "log" else np.isfinite(at)
        at, bound = at[drawn], bound[drawn]
        if not at.size:
            continue
        shapes += _lines(at, style, whole)
        if bound.any():  # every bound is the epoch of the first checkpoint
            label = f"{label} ≤" if bound.all() else f"{label} ({bound.sum()} ≤)"
        position, place = _label_position(figure, at)
        annotations.append(
            {
                "x": position, "xref": "x", "y": 1, "yref": whole, "yanchor": "bottom", "showarrow": False,
                "yshift": 15 if abs(place - last_place) < CLOSE else 0, "text": label,
                "xanchor": "left" if place < 0.08 else "right" if place > 0.92 else "center",
                "font": {"size": 12, "color": style.color},
            }
        )  # fmt: skip
        last_place = place
    return {"shapes": shapes, "annotations": annotations}


def _lines(at: np.ndarray, style: Style, whole: str) -> list[dict[str, Any]]:
    across = {"yref": whole, "y0": 0, "y1": 1, "layer": "above" if whole == "paper" else "below"}
    tint = {
        "type": "rect", "x0": float(at.min()), "x1": float(at.max()), "fillcolor": faint(style.color, 0.08),
        "line": {"width": 0},
    }  # fmt: skip
    line = {"color": style.color, "width": 1.2, "dash": style.dash}
    lines = [{"type": "line", "x0": float(x), "x1": float(x), "line": line} for x in sorted(set(at.tolist()))]
    return [across | shape for shape in (tint, *lines)]


def _label_position(figure: go.Figure, at: np.ndarray) -> tuple[float, float]:
    """The x midway between the first and last epoch of `at` (log10 on a log axis), and x as a share of the axis."""
    axis = figure.layout.xaxis
    ends = np.array([at.min(), at.max()], np.float64)
    middle = float((np.log10(ends) if axis.type == "log" else ends).mean())
    if axis.range is None:
        return middle, 0.5
    low, high = axis.range
    return middle, (middle - low) / (high - low)
