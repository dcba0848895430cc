"""Figures: what they draw is what the labeled results hold, and nothing is invented where there is nothing."""

import inspect

import numpy as np
import plotly.graph_objects as go
import plotly.io as pio
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import circuits
from circuits import figures
from circuits.analysis.measurements import usual
from circuits.analysis.networks.labels import spread
from circuits.analysis.results import results_of
from circuits.figures import generic
from circuits.figures.drawing import bands
from circuits.figures.page.report import sections
from circuits.figures.subnetworks.neurons import MOST_POINTS, dominant

NAN = float("nan")


def trajectories(values, dims=("step", "seed"), epochs=None, **coords) -> xr.DataArray:
    """A labeled result over steps and seeds, with one checkpoint per epoch."""
    values = np.asarray(values, np.float64)
    sizes = dict(zip(dims, values.shape, strict=True))
    epochs = np.arange(sizes["step"], dtype=float) if epochs is None else np.asarray(epochs, np.float64)
    labels = {"step": (10 * epochs).astype(int), "epoch": ("step", epochs), "seed": list(range(sizes["seed"]))}
    return xr.DataArray(values, labels | coords, dims, name="size", attrs={"long_name": "neurons in use"})


def norms(values, memorized) -> xr.Dataset:
    """Neuron norms (step, seed, neuron) and when each seed memorized."""
    return xr.Dataset(
        {
            "neuron_norm": trajectories(values, ("step", "seed", "neuron")),
            "memorization_epoch": ("seed", np.asarray(memorized, np.float64)),
            "generalization_epoch": ("seed", np.full(len(memorized), NAN)),
        }
    )


def trace(figure: go.Figure, name: str) -> go.Scatter:
    (found,) = [trace for trace in figure.data if trace.name == name]
    return found


def lines_at(figure: go.Figure) -> list[float]:
    return [shape.x0 for shape in figure.layout.shapes if shape.type == "line"]


@pytest.fixture(scope="module")
def results(analyzed_path):
    with circuits.open(analyzed_path) as run:
        return results_of(run).datasets


def test_certified_margins_have_a_zero_line_and_the_tint_and_line_of_each_phase():
    margins = trajectories([[-1.0], [0.5], [1.0]])
    result = xr.Dataset(
        {
            "certified_margin": margins,
            "whole_certified_margin": margins,
            "memorization_epoch": ("seed", [1.0]),
            "generalization_epoch": ("seed", [2.0]),
        }
    )
    shapes = figures.certified_margin(result).layout.shapes
    assert [(shape.y0, shape.y1) for shape in shapes if shape.xref == "x domain"] == [(0, 0)]
    assert [(shape.type, shape.x0) for shape in shapes if shape.yref == "y domain"] == [
        ("rect", 1.0), ("line", 1.0), ("rect", 2.0), ("line", 2.0)
    ]  # fmt: skip


# ---- seeds as mean and band ----


def test_a_band_is_the_mean_and_the_standard_deviation_of_the_seeds():
    values = np.random.default_rng(0).normal(size=(7, 5))
    mean, std, n_seeds = bands.band(values)
    np.testing.assert_allclose(mean, values.mean(axis=1))
    np.testing.assert_allclose(std, values.std(axis=1))
    assert (n_seeds == 5).all()


@pytest.mark.parametrize("missing", [np.nan, np.inf, -np.inf])
def test_a_band_leaves_out_seeds_that_have_no_finite_value(missing):
    mean, std, n_seeds = bands.band(np.array([[1.0, missing, 5.0], [missing] * 3]))
    np.testing.assert_array_equal(mean, [3.0, NAN])
    np.testing.assert_array_equal(std, [2.0, NAN])
    assert n_seeds.tolist() == [2, 0]


def test_the_drawn_line_is_the_mean_and_the_drawn_band_reaches_one_deviation_either_way():
    values = trajectories([[1, 1], [2, 4], [3, 9]])
    figure = figures.effective_sparsity(values)
    line, band = trace(figure, "effective sparsity"), trace(figure, "effective sparsity, band")
    assert line.x.tolist() == [1, 2]  # epoch 0 has no place on a log axis
    assert line.y.tolist() == [3, 6]
    assert band.x[:5].tolist() == [1, 2, 2, 1, 1]
    assert band.y[:5].tolist() == [2, 3, 9, 4, 2]
    assert np.isnan(band.y[5])


def test_a_gap_splits_the_band_into_stretches():
    nan = NAN
    drawn = bands.outline(
        np.arange(1.0, 7.0), np.array([0, 0, nan, 0, 0, nan]), np.array([1.0, 1.0, nan, 1.0, 1.0, nan])
    )
    assert np.isnan(drawn["x"]).sum() == 2
    assert 3 not in drawn["x"]


def test_the_legend_says_of_how_many_seeds_a_line_is():
    agreement = trajectories(
        [[[1, 1, 1]] * 3, [[0.5, NAN, 0.5]] * 3, [[NAN] * 3] * 3, [[1, 1, 1], [1, 1, 1], [1, NAN, 1]]],
        ("group", "step", "seed"),
        group=["generalizing", "memorizing", "complementary", "control"],
    )
    names = {trace.name for trace in figures.agreement(agreement).data if trace.showlegend is not False}
    assert names >= {
        "generalizing",
        "memorizing (2 of 3 seeds)",
        "complementary (0 of 3 seeds)",
        "control (2–3 of 3 seeds)",
    }


def test_each_seed_is_hidden_until_its_one_entry_in_the_legend_is_clicked(tiny_run):
    figure = figures.accuracy(tiny_run.metrics)
    for seed in (0, 1, 2):
        group = [trace for trace in figure.data if trace.legendgroup == f"seed {seed}"]
        curves = {f"{which}, seed {seed}" for which in ("train", "test", "test, unseen")}
        assert {trace.name for trace in group} == {*curves, f"seed {seed}"}
        assert {trace.visible for trace in group} == {"legendonly"}
        assert {trace.name for trace in group if trace.showlegend is False} == curves
    np.testing.assert_allclose(trace(figure, "test, seed 1").y, tiny_run.metrics["test_accuracy"][1:, 1], rtol=1e-6)


def test_a_single_seed_is_a_line_without_band_or_further_entries(tiny_run):
    figure = figures.loss(tiny_run.metrics.isel(seed=[1]))
    assert [trace.name for trace in figure.data] == ["train", "test"]
    assert figure.layout.title.subtitle.text == "seed 1"


def test_on_a_log_axis_the_band_ends_at_the_smallest_seed():
    band = trace(figures.effective_sparsity(trajectories([[9, 9], [1, 199], [1, 199]])), "effective sparsity, band")
    assert band.y[:2].tolist() == [1, 1]  # mean - deviation = 100 - 99


def test_sizes_of_zero_are_left_out_of_a_log_axis_and_the_axis_says_so():
    figure = figures.effective_sparsity(trajectories([[4, 4], [0, 2], [0, 0]]))
    assert trace(figure, "effective sparsity (0–1 of 2 seeds)").y[0] == 2
    assert "0 left out" in figure.layout.yaxis.title.text.replace("<br>", " ")


def test_values_too_large_for_a_page_leave_a_gap():
    assert np.isnan(bands.single(np.array([1e300, np.inf]))).all()


# ---- the epoch axis ----


def test_epochs_are_on_a_log_axis_that_says_that_the_initialization_is_left_out(tiny_run):
    axis = figures.accuracy(tiny_run.metrics).layout.xaxis
    assert axis.type == "log"
    assert axis.title.text == "epoch (log scale, epoch 0 left out)"
    assert axis.range[0] <= 0 <= np.log10(4) <= axis.range[1]


@pytest.mark.parametrize("n_checkpoints", [1, 2])
def test_with_fewer_than_two_later_checkpoints_all_are_drawn_on_a_linear_axis(tiny_run, n_checkpoints):
    figure = figures.accuracy(tiny_run.metrics.isel(step=slice(n_checkpoints)))
    assert figure.layout.xaxis.type == "linear"
    assert trace(figure, "train").x.tolist() == [0.0, 1.0][:n_checkpoints]
    assert trace(figure, "train").mode == "lines+markers"


# ---- phases ----


def test_phases_are_marked_at_each_seed_that_had_them(tiny_run):
    when = {"memorization_epoch": ("seed", [2.0, NAN, 3.0]), "generalization_epoch": ("seed", [NAN, NAN, NAN])}
    figure = figures.accuracy(tiny_run.metrics.assign(when))
    assert lines_at(figure) == [2.0, 3.0]
    (label,) = figure.layout.annotations
    assert label.text == "memorized"
    assert label.x == pytest.approx(np.log10(6) / 2)  # an annotation's place on a log axis is a power of ten


def test_labels_of_phases_close_to_each_other_do_not_overlap(tiny_run):
    when = {"memorization_epoch": ("seed", [2.0] * 3), "generalization_epoch": ("seed", [2.2] * 3)}
    first, second = figures.accuracy(tiny_run.metrics.assign(when)).layout.annotations
    assert (first.yshift, second.yshift) == (0, 15)


def test_without_phases_nothing_is_marked(tiny_run):
    assert not figures.accuracy(tiny_run.metrics).layout.shapes


# ---- every figure of every measurement ----


USUAL = usual(circuits.preset("merrill-2023"))


@pytest.mark.slow
@pytest.mark.parametrize("name", USUAL)
def test_every_measurement_brings_figures_with_title_axes_and_caption(name, grokked_run, results):
    drawn = sections(grokked_run, results)["learning" if name == "phases" else name].figures
    assert drawn
    for figure in drawn:
        assert isinstance(figure, go.Figure)
        assert figure.layout.title.text
        assert figure.layout.xaxis.title.text
        assert figure.layout.yaxis.title.text
        assert figure.layout.meta["caption"].endswith(".")
        assert figure.layout.template.layout.paper_bgcolor == "white"
        if "epoch" in figure.layout.xaxis.title.text:
            assert lines_at(figure), "a run that memorized has its phases marked"
        assert {trace.type for trace in figure.data} <= {"scatter", "bar"}, "WebGL is not needed"


def test_every_exported_figure_is_one_function_that_says_what_it_takes():
    for name in figures.__all__:
        function = getattr(figures, name)
        assert "Parameters" in function.__doc__
        assert inspect.signature(function).return_annotation is go.Figure


def test_drawing_leaves_the_global_theme_and_the_result_alone(results):
    before = pio.templates.default
    copy = results["subnetwork"].copy(deep=True)
    figures.effective_sparsity(results["subnetwork"])
    assert pio.templates.default == before
    xr.testing.assert_identical(results["subnetwork"], copy)


def test_a_group_has_the_same_color_in_every_figure(results):
    def colors(figure):
        return {trace.legendgroup: trace.line.color for trace in figure.data if trace.legendgroup in groups}

    groups = set(results["norms"]["group"].values)
    expected = colors(figures.agreement(results["faithfulness"]))
    assert len(set(expected.values())) == 4
    assert colors(figures.group_norms(results["norms"])) == expected
    assert colors(figures.group_accuracy(results["faithfulness"])) == expected


def test_a_bare_array_is_drawn_like_the_dataset_that_holds_it(results):
    bare = figures.effective_sparsity(results["subnetwork"]["effective_sparsity"])
    whole = figures.effective_sparsity(results["subnetwork"])
    assert [trace.to_json() for trace in bare.data] == [trace.to_json() for trace in whole.data]
    assert bare.layout.yaxis == whole.layout.yaxis


def test_a_seed_that_diverges_does_not_flatten_the_loss_of_the_others():
    losses = trajectories([[1.0, 1.2], [0.5, 1e30], [0.1, np.inf]])
    metrics = xr.Dataset({"train_loss": losses, "test_loss": losses})
    axis = figures.loss(metrics).layout.yaxis
    assert axis.range == (0, 12)
    assert "beyond the axis" in axis.title.text.replace("<br>", " ")


# ---- single neurons ----


def test_dominant_neurons_are_the_largest_at_memorization_and_at_the_end():
    #         neuron  0  1  2
    values = [[[3, 2, 1]], [[2, 4, 1]], [[1, 1, 1]], [[0, 1, 9]]]
    found = dominant(norms(values, [1]), 0)
    assert [(one.neuron, one.epoch) for one in found] == [(1, 1.0), (2, 3.0)]
    figure = figures.dominant_neurons(norms(values, [1]))
    assert [trace.y.tolist() for trace in figure.data] == [[4, 1, 1], [1, 1, 9]]


def test_a_seed_that_never_memorized_has_one_dominant_neuron_and_a_diverged_one_its_last_finite():
    values = [[[1, 2], [1, 2]], [[3, 1], [5, 4]], [[4, 5], [NAN, NAN]]]
    result = norms(values, [NAN, NAN])
    assert [one.neuron for one in dominant(result, 0)] == [1]
    assert [(one.neuron, one.epoch) for one in dominant(result, 1)] == [(0, 1.0)]


def test_norms_that_were_never_finite_draw_nothing():
    result = norms(np.full((3, 1, 2), NAN), [NAN])
    assert dominant(result, 0) == []
    assert np.isnan(figures.all_neurons(result).data[0].y).all()


def test_the_label_names_the_checkpoint_that_stands_in_for_one_that_was_not_measured():
    result = norms(np.ones((4, 1, 2)), [2]).isel(step=[0, 1, 3])
    assert dominant(result, 0)[0].label == "neuron 0, largest at memorization (epoch 1)"


def test_the_menu_shows_one_seed_at_a_time(results):
    for figure in (figures.dominant_neurons(results["norms"]), figures.all_neurons(results["norms"])):
        (menu,) = figure.layout.updatemenus
        shown = np.array([button.args[0]["visible"] for button in menu.buttons])  # (seed, trace)
        assert (shown.sum(axis=0) == 1).all()
        assert [trace.visible for trace in figure.data] == shown[0].tolist()
        assert [button.label for button in menu.buttons] == ["seed 0", "seed 1"]
        assert [button.args[1]["title.subtitle.text"].split(";")[0] for button in menu.buttons] == ["seed 0", "seed 1"]


def test_all_neurons_draws_every_neuron_as_one_line_with_a_gap_after_it(results):
    values = results["norms"]["neuron_norm"]
    cloud = figures.all_neurons(results["norms"]).data[0]
    lines = np.array(cloud.y).reshape(values.sizes["neuron"], -1)
    n_drawn = lines.shape[1] - 1
    assert n_drawn <= 64
    assert np.isnan(lines[:, -1]).all()
    assert not np.isnan(lines[:, :-1]).any()
    drawn = values.sel(seed=0, step=values["epoch"].isin(cloud.x[:n_drawn]))
    np.testing.assert_array_equal(lines[:, :-1], drawn.transpose("neuron", "step"))


def test_all_neurons_tells_the_generalizing_subnetwork_from_the_rest(results):
    kept = results["subnetwork"]["kept"]
    rest, own = figures.all_neurons(results["norms"].assign(kept=kept)).data[:2]
    assert set(own.customdata) == set(np.flatnonzero(kept.sel(seed=0)))
    assert set(rest.customdata) == set(np.flatnonzero(~kept.sel(seed=0)))


def test_all_neurons_of_a_very_wide_network_stays_small_and_says_which_it_draws():
    n_neurons = MOST_POINTS // 16 + 1000
    values = np.tile(np.arange(float(n_neurons)), (40, 1, 1)).astype(np.float32)
    figure = figures.all_neurons(norms(values, [NAN]))
    assert sum(len(trace.y) for trace in figure.data) < 1.1 * MOST_POINTS
    assert 0 not in figure.data[0].customdata
    assert f"the {MOST_POINTS // 16} of {n_neurons} with the largest peak" in figure.layout.meta["caption"]


@given(st.integers(2, 400), st.integers(2, 64), st.floats(0.01, 10) | st.just(0.0))
def test_spread_keeps_the_ends_and_no_more_than_asked(n_checkpoints, count, first):
    at = first + np.arange(n_checkpoints, dtype=float)
    chosen = spread(at, count)
    assert chosen[0] == 0
    assert chosen[-1] == n_checkpoints - 1
    assert len(chosen) <= count
    assert (np.diff(chosen) > 0).all()


# ---- measurements without figures of their own ----


def test_a_measurement_without_figures_has_every_variable_over_steps_and_seeds_drawn(tiny_run):
    steps = tiny_run.metrics["train_loss"]
    dataset = xr.Dataset(
        {
            "entropy": steps,
            "by_kind": steps.expand_dims(kind=["a", "b"]),
            "flag": steps > 0.5,
            "per_seed": steps.isel(step=0, drop=True),
            "too_long": steps.expand_dims(frequency=np.arange(100)),
            "words": steps.astype(str),
        }
    )
    drawn = generic.figures(tiny_run, dataset)
    assert [figure.layout.title.text for figure in drawn] == ["Entropy", "By kind", "Flag"]
    assert {trace.legendgroup for trace in drawn[1].data} >= {"a", "b"}


# ---- constructions ----


@pytest.fixture(scope="module")
def built_and_learned(results):
    return results["constructions"]


def test_the_cost_over_the_minimum_is_one_over_efficiency_and_nothing_before(built_and_learned):
    drawn = figures.cost_over_least(built_and_learned)
    line = trace(drawn, "cost over the minimum, seed 0")
    expected = (1 / built_and_learned["efficiency"].sel(seed=0)).values[1:]
    np.testing.assert_allclose(np.asarray(line.y), expected, rtol=1e-6)
    assert np.isnan(line.y[0])


def test_every_seeds_margin_is_a_point_on_every_pattern(built_and_learned):
    drawn = figures.pattern_margins(built_and_learned)
    for part in ("network", "subnetwork"):
        values = built_and_learned["pattern_margin"].sel(part=part).values
        np.testing.assert_array_equal(trace(drawn, part).y, values.ravel())
        assert trace(drawn, part).x.tolist() == [0, 1, 2, 3] * 2
    assert list(drawn.layout.xaxis.ticktext) == ["−−", "−+", "+−", "++"]


def test_a_square_stands_where_a_neuron_fires_and_is_filled_where_nothing_can_stop_it(built_and_learned):
    drawn = figures.firing_patterns(built_and_learned)
    at = built_and_learned.sel(seed=0)
    always, can = at["always_fires"].values, at["can_fire"].values & ~at["fires"].values
    for name, where in (("whatever the other bits are", always), ("for some choice of the other bits", can)):
        found = next(one for one in drawn.data if one.name == f"fires {name}")
        assert sorted(zip(found.y, found.x, strict=True)) == sorted(zip(*np.nonzero(where), strict=True))
    gates = next(one for one in drawn.data if one.mode == "text")
    assert [text.replace("−", "-") for text in gates.text] == [name for name in at["gate"].values if name]


def test_matched_neurons_share_a_line_in_the_diagram_and_others_do_not(built_and_learned):
    from circuits.constructions.building.least_norm import min_norm
    from circuits.figures.parity.diagram import GATE, LEARNED

    one_seed = built_and_learned.sel(seed=[0])
    drawn = figures.circuit_diagram(one_seed, min_norm(2))
    gates = [one for one in drawn.data if one.mode == "markers+text"]
    built, learned = (next(one for one in gates if one.x[0] == left + GATE) for left in (0, LEARNED))
    neuron_of = one_seed["construction_neuron"].sel(construction="min_norm", seed=0).values
    n_elements = int((one_seed["element_gate"] != "").sum())
    for element in range(n_elements):
        height = learned.y[element]
        if neuron_of[element] >= 0:
            assert built.y[neuron_of[element]] == height
            assert learned.marker.symbol[element] == "circle"
        else:
            assert height not in built.y
            assert learned.marker.symbol[element] == "diamond"
    gates = one_seed["element_gate"].values[0]
    assert [text.split()[0].replace("−", "-") for text in learned.text] == [name for name in gates if name]


@pytest.mark.slow
def test_the_constructions_of_a_run_that_never_grokked_are_drawn_too(tiny_run):
    from circuits.figures.parity.constructions import figures as draw

    found = circuits.analyze(tiny_run, "constructions")["constructions"]
    assert len(draw(tiny_run, found)) == 4 + len(set(found["nearest"].values.tolist()))
