"""Thinning of long curves: each pixel column keeps its smallest and its largest value, so that spikes remain.

A column is one pixel wide, and the points in it cover each other. So its smallest and its largest value determine the
picture. Bands keep their lowest and highest edge in the same way, and a gap of a column or more remains a gap.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float, Int

COLUMNS = 1200  # pixels across the widest figure of a page
LONG = 2 * COLUMNS  # points; longer curves are thinned


def thin(figure: go.Figure) -> None:
    """Thin long curves and bands in place, to the extremes of each pixel column, and add a sentence to the caption.

    Heat maps, markers without lines and lines whose x descends stay unchanged.
    """
    most = 0
    for trace in figure.data:
        if trace.type != "scatter" or trace.x is None or len(trace.x) <= LONG:
            continue
        on_log = figure.layout[f"xaxis{(trace.xaxis or 'x')[1:]}"].type == "log"
        x, y = (np.asarray(values, np.float64) for values in (trace.x, trace.y))
        if trace.fill == "toself":
            trace.x, trace.y = (values.astype(np.float32) for values in _thinned_outlines(x, y, on_log))
            most = max(most, (len(x) - 1) // 2)
        elif "lines" in (trace.mode or "lines") and (np.diff(x) >= 0).all() and not (on_log and x[0] <= 0):
            _keep(trace, extremes(x, y, on_log))
            most = max(most, len(x))
    if most:
        sentence = (
            f"Of {most:,} points a curve shows the smallest and the largest value in each of {COLUMNS:,} pixel columns."
        )
        figure.layout.meta = figure.layout.meta | {"caption": f"{figure.layout.meta['caption']} {sentence}"}


def extremes(
    x: Float[np.ndarray, " point"],
    y: Float[np.ndarray, " point"],
    on_log: bool = False,
    ends: Sequence[str] = ("least", "greatest"),
    columns: int = COLUMNS,
    span: tuple[float, float] | None = None,
) -> Int[np.ndarray, " kept"]:
    """Indices of the smallest and the largest value in each pixel column, and of the first and the last point.

    Parameters
    ----------
    x
        (point,) ascending; above 0 on a log axis.
    y
        (point,) NaN and infinities are gaps; a column without finite values keeps its first point.
    on_log
        Whether columns have equal width in log x.
    ends
        Extremes to keep: "least", "greatest" or both.
    span
        Least and greatest x of the picture; by default the first and last x of the curve.

    Examples
    --------
    >>> extremes(np.arange(8.0), np.array([0.0, 0.0, 9.0, 0.0, 0.0, -1.0, 0.0, 0.0]), columns=2)
    array([0, 2, 4, 5, 7])
    """
    place, edges = (np.log(at) if on_log else np.asarray(at) for at in (x, span or (x[0], x[-1])))
    width = (edges[1] - edges[0]) / columns or 1.0
    column = np.minimum((place - edges[0]) // width, columns - 1)
    starts = np.flatnonzero(np.diff(column, prepend=-1.0))
    group = np.repeat(np.arange(len(starts)), np.diff(starts, append=len(x)))
    finite = np.isfinite(y)
    empty = ~np.logical_or.reduceat(finite, starts)
    kept = [starts[empty], np.array([0, len(x) - 1])]
    for end, beyond, reduce in (("least", np.inf, np.minimum), ("greatest", -np.inf, np.maximum)):
        if end in ends:
            filled = np.where(finite, y, beyond)
            hits = np.flatnonzero(finite & (filled == reduce.reduceat(filled, starts)[group]))
            kept.append(hits[np.flatnonzero(np.diff(group[hits], prepend=-1))])  # the first of equal values
    return np.unique(np.concatenate(kept))


def _thinned_outlines(x: np.ndarray, y: np.ndarray, on_log: bool) -> tuple[np.ndarray, np.ndarray]:
    """Outlines one after another, as in `bands.outline`, each thinned along its lower and its upper edge.

    An outline of n steps holds n points along the lower edge, n back along the upper edge, the first again, and NaN.
    """
    xs, ys = [], []
    span = (float(np.nanmin(x)), float(np.nanmax(x)))
    for stretch in np.split(np.arange(len(x)), np.flatnonzero(np.isnan(x)) + 1):
        n = (len(stretch) - 2) // 2
        if n < 1:
            continue
        forward, back = stretch[:n], stretch[n : 2 * n][::-1]
        lower = forward[extremes(x[forward], y[forward], on_log, ["least"], span=span)]
        upper = back[extremes(x[back], y[back], on_log, ["greatest"], span=span)]
        kept = np.concatenate([lower, upper[::-1], lower[:1]])
        xs.append(np.append(x[kept], np.nan))
        ys.append(np.append(y[kept], np.nan))
    return np.concatenate(xs), np.concatenate(ys)


def _keep(trace: Any, kept: Int[np.ndarray, " kept"]) -> None:
    """Keep only the points `kept` of a trace: in x and y, and in customdata and text if they have a value per point."""
    n_points = len(trace.x)
    for name in ("x", "y", "customdata", "text"):
        values = trace[name]
        if values is not None and not isinstance(values, str) and len(values) == n_points:
            trace[name] = np.asarray(values)[kept]
