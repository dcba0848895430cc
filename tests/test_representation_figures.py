"""Figures of representations draw the stored points, labels and densities, and compute nothing."""

import numpy as np
import pytest

import circuits
from circuits import figures
from circuits.convert import from_construction
from circuits.figures.representation import FEW_LABELS, MOST_DRAWN
from circuits.registry import MEASUREMENTS, load


@pytest.fixture(scope="module")
def result(grokked_path):
    with circuits.open(grokked_path) as run:
        return circuits.analyze(run, "representation")["representation"]


@pytest.mark.slow
@pytest.mark.parametrize("picture", ["tsne", "pca"])
def test_each_panel_has_every_point_once_in_the_color_of_its_pattern(result, picture):
    drawn = figures.activation_panels(result, picture)
    colors = {}
    for panel in range(6):
        suffix = "" if panel == 0 else str(panel + 1)
        traces = [trace for trace in drawn.data if trace.xaxis == f"x{suffix}"]
        for trace in traces:
            index = result["label"].values.tolist().index(trace.name.replace("−", "-"))
            own = result["point_label"].values == index
            assert np.array_equal(np.stack([trace.x, trace.y], axis=1), result[picture].values[panel][own])
            assert colors.setdefault(trace.name, trace.marker.color) == trace.marker.color
        assert sum(len(trace.x) for trace in traces) == result.sizes["point"]
    assert len(set(colors.values())) == len(colors) == 4
    assert len([trace for trace in drawn.data if trace.showlegend]) == 4


@pytest.mark.slow
def test_each_panel_says_its_epoch_its_silhouette_and_for_components_their_share(result):
    said = [note.text for note in figures.activation_panels(result, "pca").layout.annotations]
    scores = result["panel_silhouette"].sel(space="pca").values
    shares = result["pca_explained"].values[:, :2].sum(axis=1)
    epochs = result["panel_epoch"].values
    assert said == [
        f"epoch {epoch:g}<br>silhouette {score:.2f}<br>{share:.0%} of variance"
        for epoch, score, share in zip(epochs, scores, shares, strict=True)
    ]


@pytest.mark.slow
def test_many_results_share_a_scale_and_many_points_are_thinned(tmp_path):
    p = 45
    with from_construction(circuits.constructions.modular_addition(p, [2]), tmp_path / "a.h5") as run:
        found = circuits.analyze(run, "representation")["representation"]
    assert p > FEW_LABELS
    drawn = figures.activation_panels(found, "tsne")
    (trace,) = drawn.data
    assert 0.4 * MOST_DRAWN < len(trace.x) <= MOST_DRAWN
    assert (
        f", {len(trace.x)} of {found.sizes['point']} drawn, colored by its result, on a scale"
        in (drawn.layout.meta["caption"])
    )
    assert trace.marker.colorscale[0][1] == trace.marker.colorscale[-1][1]
    assert list(trace.text[:3]) == [str(label) for label in trace.marker.color[:3]]


@pytest.mark.slow
def test_the_menu_chooses_whose_weights_are_drawn(result):
    drawn = figures.weight_densities(result)
    (menu,) = drawn.layout.updatemenus
    assert [button.label for button in menu.buttons] == ["W", "u"]
    shown = [trace for trace, visible in zip(drawn.data, menu.buttons[1].args[0]["visible"], strict=True) if visible]
    assert [trace.visible for trace in drawn.data] == [True] * 6 + [False] * 6
    for panel, trace in enumerate(shown):
        at = result.sel(parameter="u").isel(panel=panel)
        assert np.array_equal(trace.y, at["density"].values.astype(np.float32))
        assert trace.name == f"epoch {float(at['panel_epoch']):g}"


@pytest.mark.slow
def test_every_figure_has_a_title_a_caption_and_no_webgl(result, grokked_run):
    drawn = load(MEASUREMENTS["representation"].figures)(grokked_run, result)
    assert [figure.layout.title.text for figure in drawn] == [
        "Clusters",
        "t-SNE of the activations",
        "Principal components",
        "Density of the weights",
    ]
    for figure in drawn:
        assert figure.layout.meta["caption"].endswith(".")
        assert all(trace.type == "scatter" for trace in figure.data)


@pytest.mark.slow
def test_a_run_of_one_checkpoint_has_one_panel(tmp_path):
    with from_construction(circuits.constructions.dnf(3), tmp_path / "a.h5", n=10) as run:
        found = circuits.analyze(run, "representation")["representation"]
        drawn = load(MEASUREMENTS["representation"].figures)(run, found)
    assert [note.text for note in drawn[1].layout.annotations] == [
        f"epoch 0<br>silhouette {float(found['panel_silhouette'][2, 0]):.2f}"
    ]
    assert {trace.marker.symbol for trace in drawn[1].data} == {"circle", "diamond-open"}
    assert len({(trace.marker.color, trace.marker.symbol) for trace in drawn[1].data}) == 8
