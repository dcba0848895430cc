"""Figures of the norms of single neurons over epochs, for one seed at a time (Merrill et al. 2023, Figure 5).

A neuron is dominant at a checkpoint if it has the largest norm of all neurons there.
"""

from typing import Any, NamedTuple

import numpy as np
import plotly.graph_objects as go
import xarray as xr
from jaxtyping import Int

from circuits.analysis.networks.labels import spread
from circuits.figures.drawing.axes import drawable, epochs, frame
from circuits.figures.drawing.bands import FEW, single
from circuits.figures.drawing.palette import GENERALIZATION, GREY, MEMORIZATION, Style, faint
from circuits.figures.drawing.papers import as_in
from circuits.figures.drawing.seed_menu import add_seed_menu

MOST_POINTS = 320_000  # in the figure of all neurons, over all seeds: fast enough without a graphics card
MOST_CHECKPOINTS, LEAST_CHECKPOINTS = 64, 16
REST, KEPT = {"color": faint(GREY, 0.3), "width": 0.6}, {"color": GENERALIZATION.color, "width": 1.1}


class Dominant(NamedTuple):
    """A neuron, and the epoch at which it has the largest norm of all neurons."""

    neuron: int
    epoch: float
    label: str
    style: Style


def dominant_neurons(result: xr.Dataset) -> go.Figure:
    """Norm over epochs of the neurons of largest norm at memorization and at the end: Merrill et al., Figure 5 (left).

    Parameters
    ----------
    result
        `neuron_norm` (step, seed, neuron) and `memorization_epoch` (seed). A menu chooses the seed.
    """
    values = result["neuron_norm"]
    caption = (
        "The neuron of largest norm at the memorization checkpoint and the one of largest norm at the end"
        f"{as_in(result, 'Figure 5 (left)')}."
    )
    figure = frame(values, "Dominant neurons", caption, y_axis={"rangemode": "tozero"})
    few = drawable(values)
    traces = {
        seed: [_line(few.sel(seed=seed), neuron) for neuron in dominant(result, seed)]
        for seed in values["seed"].values.tolist()
    }
    add_seed_menu(figure, traces, result)
    return figure


def all_neurons(result: xr.Dataset) -> go.Figure:
    """Norm of every neuron over epochs, a thin line each: Figure 5 (right) of Merrill et al. 2023.

    Two lines are bold: the neuron of largest norm at memorization, and the neuron of largest norm at the end. The
    figure shows at most 64 checkpoints, evenly spaced in log epoch. It has a point for each seed, neuron and
    checkpoint. Browsers are slow with over 320,000 points. If 64 checkpoints give more points, the figure shows fewer
    checkpoints: 32 for 10 seeds of 1000 neurons. If even 16 checkpoints give more points, the figure shows 16
    checkpoints and fewer neurons. It then keeps the neurons of each seed with the largest peak norms.

    Parameters
    ----------
    result
        `neuron_norm` (step, seed, neuron) and `memorization_epoch` (seed). A menu chooses the seed. The optional mask
        `kept` (seed, neuron) of `circuits.analyze(run, "subnetwork")` chooses the neurons that are drawn in color.
    """
    values = result["neuron_norm"]
    n_seeds, width = values.sizes["seed"], values.sizes["neuron"]
    n_neurons = min(width, MOST_POINTS // (n_seeds * LEAST_CHECKPOINTS))
    n_checkpoints = min(MOST_CHECKPOINTS, max(LEAST_CHECKPOINTS, MOST_POINTS // (n_seeds * width)))
    few = drawable(values)
    few = few.isel(step=spread(epochs(few).values, n_checkpoints))
    which = f"all {width}" if n_neurons == width else f"the {n_neurons} of {width} with the largest peak"
    thinned = f" at {few.sizes['step']} checkpoints" if few.sizes["step"] < values.sizes["step"] else ""
    caption = (
        f"Norm of single neurons, {which}, each a line{thinned}; the two dominant ones in bold"
        f"{as_in(result, 'Figure 5 (right)')}."
    )
    figure = frame(values, "All neurons", caption, y_axis={"rangemode": "tozero"})
    traces = {}
    for seed in values["seed"].values.tolist():
        of_seed = few.sel(seed=seed)
        largest = np.sort(np.argsort(-_finite_norms(of_seed).max(axis=0), kind="stable")[:n_neurons])
        kept = result["kept"].sel(seed=seed).values[largest] if "kept" in result else np.zeros(n_neurons, bool)
        drawn = [_cloud(of_seed, largest[~kept], "every other neuron" if kept.any() else "every neuron", REST)]
        if kept.any():
            drawn.append(_cloud(of_seed, largest[kept], f"generalizing subnetwork ({kept.sum()} neurons)", KEPT))
        traces[seed] = drawn + [_line(of_seed, neuron) for neuron in dominant(result, seed)]
    add_seed_menu(figure, traces, result, "; hover for a neuron's index")
    figure.update_layout(hovermode="closest")
    return figure


def dominant(result: xr.Dataset, seed: int) -> list[Dominant]:
    """A seed's neurons of largest norm: at memorization, if reached, and at the last checkpoint with a finite norm.

    If the result has no checkpoint at `memorization_epoch`, the nearest checkpoint is used.
    """
    norms = result["neuron_norm"].sel(seed=seed)
    finite_norms, at = _finite_norms(norms), epochs(norms).values
    finite = np.flatnonzero(np.isfinite(norms.values).any(axis=1))
    if not finite.size:
        return []
    neurons = []
    if "memorization_epoch" in result and np.isfinite(memorized := float(result["memorization_epoch"].sel(seed=seed))):
        nearest = int(np.abs(at - memorized).argmin())
        neuron = int(finite_norms[nearest].argmax())
        bound = "≤ " * bool(result.get("memorization_censored", result["seed"] < -1).sel(seed=seed))
        label = f"neuron {neuron}, largest at memorization (epoch {bound}{at[nearest]:g})"
        neurons.append(Dominant(neuron, float(at[nearest]), label, MEMORIZATION._replace(dash="dash")))
    last = int(finite[-1])
    neuron = int(finite_norms[last].argmax())
    label = f"neuron {neuron}, largest at the end (epoch {at[last]:g})"
    return [*neurons, Dominant(neuron, float(at[last]), label, GENERALIZATION._replace(dash="solid"))]


def _finite_norms(norms: xr.DataArray) -> np.ndarray:
    values = norms.transpose("step", "neuron").values
    return np.where(np.isfinite(values), values, -1.0)


def _line(norms: xr.DataArray, largest: Dominant) -> go.Scatter:
    y = single(norms.isel(neuron=largest.neuron).values)
    return go.Scatter(
        x=single(epochs(norms).values), y=y, name=largest.label,
        mode="lines+markers" if len(y) <= FEW else "lines", hovertemplate="%{y:.3g}",
        line={"color": largest.style.color, "dash": largest.style.dash, "width": 2.2},
    )  # fmt: skip


def _cloud(norms: xr.DataArray, neurons: Int[np.ndarray, " neuron"], name: str, line: dict[str, Any]) -> go.Scatter:
    """Many neurons as one trace: a line for each neuron, with gaps between the lines."""
    y = single(norms.transpose("neuron", "step").values[neurons])
    y = np.pad(y, ((0, 0), (0, 1)), constant_values=np.nan)  # (neuron, step + 1)
    x = single(np.pad(epochs(norms).values, (0, 1), mode="edge"))
    n_steps = len(x)
    index = np.min_scalar_type(int(norms.sizes["neuron"]))
    return go.Scatter(
        x=np.tile(x, len(y)), y=y.ravel(), customdata=np.repeat(neurons, n_steps).astype(index), name=name,
        mode="lines+markers" if n_steps <= FEW + 1 else "lines", connectgaps=False, line=line,
        hovertemplate="neuron %{customdata}: %{y:.3g}, epoch %{x:.6~g}<extra></extra>",
    )  # fmt: skip
