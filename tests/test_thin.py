"""Thinning a curve loses nothing that could be seen: in each pixel column its smallest and largest value stay."""

import numpy as np
import plotly.graph_objects as go
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from circuits import figures
from circuits.figures.drawing.bands import outline
from circuits.figures.drawing.thin import COLUMNS, LONG, extremes, thin

VALUES = st.sampled_from([0.0, 1.0, -2.0, 5.5, np.nan, np.inf])


def columns_of(x, on_log, n_columns):
    """The column of each point, one by one."""
    place = [float(np.log(at)) if on_log else float(at) for at in x]
    width = (place[-1] - place[0]) / n_columns or 1.0
    return [min(int((at - place[0]) // width), n_columns - 1) for at in place]


@given(st.lists(VALUES, min_size=1, max_size=60), st.integers(1, 12), st.booleans(), st.floats(0.1, 3))
def test_each_column_keeps_its_extremes_and_a_curve_its_ends(values, n_columns, on_log, first):
    x, y = first + np.arange(len(values), dtype=float), np.array(values)
    kept = extremes(x, y, on_log, columns=n_columns)
    assert (np.diff(kept) > 0).all()
    assert {0, len(x) - 1} <= set(kept.tolist())
    columns = columns_of(x, on_log, n_columns)
    for column in set(columns):
        own = [index for index, at in enumerate(columns) if at == column]
        finite = [y[index] for index in own if np.isfinite(y[index])]
        stayed = [y[index] for index in own if index in kept]
        if finite:
            assert min(finite) in stayed
            assert max(finite) in stayed
        else:
            assert stayed
            assert not np.isfinite(stayed).any()
    assert len(kept) <= 2 * len(set(columns)) + 2


def long_curves(n_checkpoints=50_000, n_seeds=2):
    values = np.zeros((n_checkpoints, n_seeds))
    values += np.random.default_rng(0).normal(size=values.shape) * 0.01
    epochs = np.arange(n_checkpoints, dtype=float)
    return xr.DataArray(
        values, {"step": np.arange(n_checkpoints), "epoch": ("step", epochs), "seed": range(n_seeds)}, ["step", "seed"]
    )


def curves(spike):
    values = long_curves()
    values[spike] = 7.0
    names = ("train_accuracy", "test_accuracy", "train_loss", "test_loss")
    return xr.Dataset(dict.fromkeys(names, values))


@pytest.mark.parametrize("spike", [1, 4321, 49_998])
def test_a_spike_at_one_of_many_checkpoints_stays_in_line_seed_and_band(spike):
    figure = figures.loss(curves(spike))
    before = {trace.name: len(trace.x) for trace in figure.data if trace.x is not None}
    thin(figure)
    for trace in figure.data:
        if trace.x is None or trace.x[0] is None:
            continue
        assert len(trace.x) < 0.2 * before[trace.name]
        assert np.nanmax(trace.y) == 7.0, trace.name
        assert spike in trace.x[np.asarray(trace.y) == 7.0]
        if trace.customdata is not None:
            assert len(trace.customdata) == len(trace.x)
    assert figure.layout.meta["caption"].endswith(
        f"Of 49,999 points a curve shows the smallest and the largest value in each of {COLUMNS:,} pixel columns."
    )


def test_a_thinned_band_covers_the_whole_one():
    x = np.arange(1.0, 20_001)
    random = np.random.default_rng(1)
    lower, upper = -random.random(len(x)), random.random(len(x))
    lower[7_000:9_000] = np.nan
    figure = go.Figure(layout={"xaxis": {"type": "log"}, "meta": {"caption": "A band."}})
    figure.add_scatter(**outline(x, lower, upper), mode="none", fill="toself")
    thin(figure)
    (band,) = figure.data
    breaks = np.flatnonzero(np.isnan(band.x))
    assert len(breaks) == 2  # one for each stretch
    first = band.x[: breaks[0]]
    assert first.max() == 7_000
    assert np.nanmin(band.x[breaks[0] + 1 :]) == 9_001
    columns = np.floor(np.log(x) / (np.log(x[-1]) / COLUMNS))
    for column in np.unique(columns)[::50]:
        own = columns == column
        if np.isnan(lower[own]).any() or own.sum() < 2:
            continue
        inside = (band.x >= x[own][0]) & (band.x <= x[own][-1])
        assert np.nanmin(band.y[inside]) <= np.float32(lower[own].min())
        assert np.nanmax(band.y[inside]) >= np.float32(upper[own].max())


def test_what_is_short_or_no_curve_stays_as_it_is():
    figure = go.Figure(layout={"meta": {"caption": "Many."}})
    figure.add_scatter(x=np.arange(LONG), y=np.arange(LONG), mode="lines")
    figure.add_scatter(x=np.arange(2 * LONG), y=np.arange(2 * LONG), mode="markers")
    figure.add_scatter(x=np.arange(2 * LONG)[::-1], y=np.arange(2 * LONG), mode="lines")
    figure.add_heatmap(z=np.zeros((2, 2 * LONG)))
    before = figure.to_dict()
    thin(figure)
    assert str(figure.to_dict()) == str(before)
