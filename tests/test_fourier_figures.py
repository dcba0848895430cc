"""Figures of the Fourier views: heat maps over epochs, tiles with sliders, losses."""

from itertools import pairwise

import numpy as np
import plotly.graph_objects as go
import pytest
import xarray as xr

import circuits
from circuits import figures
from circuits.figures.drawing.heat import domains, heat_over_epochs
from circuits.figures.drawing.tiles import tile_range, tiled, tiles
from circuits.figures.fourier import figures as drawn_figures


@pytest.fixture(scope="module")
def modular_run(tmp_path_factory):
    config = circuits.preset("modular-31").replace(
        task__p=11, model__widths=[24], epochs=60, checkpoints__every_epochs=10, seeds=(0, 1)
    )
    with circuits.train(config, tmp_path_factory.mktemp("runs") / "modular.h5", progress=False) as run:
        yield run


@pytest.fixture(scope="module")
def fourier(modular_run):
    found = circuits.analyze(modular_run, "fourier")["fourier"]
    return found.merge(circuits.analysis.phases(modular_run))


def test_every_figure_has_a_title_axes_and_a_caption(modular_run, fourier):
    drawn = drawn_figures(modular_run, fourier)
    assert len(drawn) >= 4
    for figure in drawn:
        assert isinstance(figure, go.Figure)
        assert figure.layout.title.text
        assert figure.layout.xaxis.title.text
        assert figure.layout.yaxis.title.text
        assert figure.layout.meta["caption"].endswith(".")
        assert all(trace.type in ("scatter", "heatmap") for trace in figure.data), "WebGL is not needed"


def test_the_losses_drawn_are_those_measured(fourier):
    figure = figures.fourier_losses(fourier)
    (line,) = [trace for trace in figure.data if trace.name == "restricted, all tuples"]
    expected = fourier["restricted_loss"].sel(set="all").mean("seed").values[1:]  # epoch 0 has no place on a log axis
    assert np.asarray(line.y) == pytest.approx(expected, rel=1e-5)


def test_the_measures_drawn_are_both_shares_and_that_of_the_biases(fourier):
    figure = figures.fourier_measures(fourier)
    for name, variable in (
        ("key cosines", "key_logit_share"), ("key waves", "key_wave_share"), ("class biases", "bias_share"),
    ):  # fmt: skip
        (line,) = [trace for trace in figure.data if trace.name == name]
        assert np.asarray(line.y) == pytest.approx(fourier[variable].mean("seed").values[1:], rel=1e-5), name


@pytest.mark.slow
@pytest.mark.parametrize(
    ("operation", "named"),
    [("x+y", "x + y"), ("x-y", "x − y"), ("x*y", "log x + log y"), ("x/y", "log x − log y")],
)
def test_captions_name_what_the_frequencies_are_of(tmp_path, operation, named):
    config = circuits.preset("modular-31").replace(task__p=7, task__operation=operation, epochs=0, seeds=(0,))
    with circuits.train(config, tmp_path / "run.h5", progress=False) as run:
        drawn = drawn_figures(
            run, circuits.analyze(run, "fourier", options=circuits.analysis.Options(key_share=0.0))["fourier"]
        )
    captions = [figure.layout.meta["caption"] for figure in drawn]
    assert len(captions) == 6
    assert sum(named in caption for caption in captions) == 5  # that of the neurons names no frequency
    others = {"x + y", "x − y", "log x + log y", "log x − log y"} - {named}
    assert not [other for other in others for caption in captions if other in caption]
    assert ("logarithms" in captions[4]) == ("log" in named)


def test_the_heat_map_has_a_panel_for_the_logits_and_each_table_of_weights(fourier):
    figure = figures.frequency_norms(fourier)
    shown = [trace for trace in figure.data if trace.type == "heatmap" and trace.visible]
    assert len(shown) == 5  # cosines, waves, embeddings of x and y, unembedding, which is the neuron-to-logit map too
    assert all(trace.zmin == 0 and trace.zmax == pytest.approx(np.asarray(trace.z).max()) for trace in shown)
    assert np.asarray(shown[1].z) == pytest.approx(fourier["wave_share"].sel(seed=0).values[1:].T, rel=1e-5)
    assert np.asarray(shown[2].z) == pytest.approx(
        fourier["embedding_norm"].sel(seed=0, embedding="x").values[1:].T, rel=1e-5
    )


def test_phases_run_through_all_panels_of_a_heat_map():
    epoch = ("step", [0.0, 1.0, 2.0, 3.0], {"long_name": "epoch"})
    values = xr.DataArray(
        np.arange(8.0).reshape(4, 1, 2), {"epoch": epoch, "seed": [0], "row": [1, 2]}, ("step", "seed", "row")
    )
    result = xr.Dataset({"memorization_epoch": ("seed", [2.0]), "generalization_epoch": ("seed", [np.nan])})
    figure = heat_over_epochs(
        result.assign_coords(seed=[0]), {"one": values, "two": values}, "row", "Rows", "A caption.", marked={0: [2]}
    )
    assert {shape.yref for shape in figure.layout.shapes} == {"paper"}
    (mark, _) = [trace for trace in figure.data if trace.type == "scatter"]
    assert list(mark.y) == [2]


@pytest.mark.parametrize("n_panels", range(1, 6))
def test_panels_fill_the_height_without_overlap(n_panels):
    found = domains(n_panels)
    assert found[0][1] == pytest.approx(1)
    assert found[-1][0] == pytest.approx(0)
    for (low, _), (_, high) in pairwise(found):
        assert high < low


def test_the_range_of_a_tile_shows_its_map_and_no_other():
    maps = np.random.default_rng(0).normal(size=(3, 2, 5, 4))
    whole = tiled(maps)
    for row in range(3):
        for column in range(2):
            (left, right), (low, high) = tile_range(column, 4), tile_range(row, 5)
            part = whole[int(low + 0.5) : int(high + 0.5), int(left + 0.5) : int(right + 0.5)]
            np.testing.assert_array_equal(part, maps[row, column])


def test_every_tile_has_a_scale_of_its_own_and_a_constant_one_the_lowest_color():
    trace = tiles(np.stack([np.array([[[1.0, 2.0], [3.0, 5.0]]]), np.full((1, 2, 2), 7.0)]))
    assert np.asarray(trace.z)[:2].min() == 0
    assert np.asarray(trace.z)[:2].max() == 255
    assert (np.asarray(trace.z)[2:] == 0).all()


def test_sliders_choose_checkpoint_and_neuron_independently(fourier):
    figure = figures.neuron_activations(fourier)
    moved = [{name for step in slider.steps for name in step.args[0]} for slider in figure.layout.sliders]
    assert moved == [{"xaxis.range"}, {"yaxis.range"}]
    assert [len(slider.steps) for slider in figure.layout.sliders] == [
        fourier.sizes["shown"],
        fourier.sizes["shown_neuron"],
    ]
