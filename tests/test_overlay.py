"""Several runs in one figure: each line is its run's mean, labeled by what it alone has, whatever else is drawn."""

from itertools import pairwise

import numpy as np
import pytest

import circuits
from circuits import figures
from circuits.config import parse
from circuits.figures.drawing.decay import apart
from circuits.figures.drawing.palette import MANY, shades

LAB = {
    "name": "lab", "task": {"kind": "modular", "p": 5}, "model": {"kind": "mlp", "widths": [4]},
    "optimizer": {"kind": "adamw"}, "loss": "cross_entropy", "batch_size": None, "epochs": 3, "seeds": [0, 1],
}  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("several")

    def train(config, name):
        return circuits.train(config, folder / f"{name}.h5", progress=False)

    return train


@pytest.fixture(scope="module")
def by_decay(trained):
    """Three weight decays, of which the last changes at epoch 2."""
    small = {
        "task__n": 8, "task__k": 2, "task__n_train": 50, "task__n_test": 20, "model__width": 16, "batch_size": 8,
        "epochs": 4, "metrics": ["parameter_norm"],
    }  # fmt: skip
    one = circuits.preset("merrill-2023").replace(**small, seeds=[0, 1])
    return [
        trained(one, "one"),
        trained(one.replace(weight_decay_changes=[{"epoch": 2, "value": 0.1}], epochs=6), "raised"),
        trained(one.replace(weight_decay_changes=[{"epoch": 2, "value": 0.5}]), "raised-more"),
    ]


@pytest.fixture(scope="module")
def by_fraction(trained):
    return [trained(parse(LAB).replace(task__train_fraction=f), f"fraction{f}") for f in (0.8, 0.3, 0.5)]


def named(figure, name):
    (found,) = [trace for trace in figure.data if trace.name == name]
    return found


def entries(figure):
    return [trace.name for trace in figure.data if trace.showlegend is not False]


def test_each_line_is_the_mean_over_the_seeds_of_its_run(by_fraction):
    figure = figures.curves(by_fraction, "loss")
    for run, label in zip(by_fraction, ("0.8", "0.3", "0.5"), strict=True):
        for part in ("train", "test"):
            expected = run.metrics[f"{part}_loss"].mean("seed").values[1:]  # epoch 0 has no place on a log axis
            np.testing.assert_allclose(named(figure, f"{label}, {part}").y, expected, rtol=1e-6)


def test_the_legend_has_the_field_and_one_entry_per_run(by_fraction):
    figure = figures.curves(by_fraction)
    assert figure.layout.legend.title.text == "task.train_fraction"
    assert entries(figure) == ["0.8", "0.3", "0.5", "train", "test"]


def test_paths_are_drawn_as_the_runs_in_them(by_fraction):
    of_paths = figures.curves([run.path for run in by_fraction], ["accuracy", "loss"])
    assert of_paths.to_json() == figures.curves(by_fraction, ["accuracy", "loss"]).to_json()


def test_a_mapping_gives_its_own_labels(by_fraction):
    figure = figures.curves({"most": by_fraction[0], "least": by_fraction[1]})
    assert entries(figure)[:2] == ["most", "least"]


def test_runs_that_differ_in_nothing_are_told_apart_by_their_files(by_fraction, trained):
    again = trained(by_fraction[0].config, "again")
    assert entries(figures.curves([by_fraction[0], again]))[:2] == ["lab (fraction0.8)", "lab (again)"]


@pytest.mark.slow
def test_every_metric_has_a_row_and_the_rows_share_the_epochs(by_decay):
    figure = figures.curves(by_decay, ["accuracy", "loss", "parameter_norm"])
    axes = [figure.layout[name] for name in ("yaxis", "yaxis2", "yaxis3")]
    assert [axis.title.text for axis in axes] == ["accuracy", "loss", "parameter norm"]
    domains = [axis.domain for axis in axes]
    assert all(upper[0] > lower[1] for upper, lower in pairwise(domains))
    assert figure.layout.xaxis.anchor == "y3"
    assert figure.layout.yaxis3.range is None  # not that of the accuracy
    assert figure.layout.xaxis.range[1] >= np.log10(6)  # the longest run's


def test_the_decay_in_force_is_a_dashed_step_in_every_row_and_only_where_it_changes(by_decay):
    figure = figures.curves(by_decay, ["accuracy", "loss"])
    lines = [trace for trace in figure.data if trace.name and trace.name.endswith(", weight decay")]
    assert [line.yaxis for line in lines] == ["y3", "y3", "y4", "y4"]
    assert {line.line.dash for line in lines} == {"dash"}
    assert {line.line.shape for line in lines} == {"hv"}
    stored = by_decay[1].metrics["weight_decay"].values[1:, 0]
    np.testing.assert_allclose(lines[0].y, stored, rtol=1e-6)
    assert set(np.round(stored, 3)) == {0.01, 0.1}
    assert (figure.layout.yaxis3.overlaying, figure.layout.yaxis4.overlaying) == ("y", "y2")
    assert list(figure.layout.yaxis3.tickvals) == [0.01, 0.1, 0.5]


def test_the_weight_decay_can_be_drawn_as_a_curve_of_its_own(by_decay):
    figure = figures.curves(by_decay[1:], "weight_decay")
    assert not [trace for trace in figure.data if trace.name and trace.name.endswith(", weight decay")]
    mean = next(one for one in figure.data if one.name == "0.1 from epoch 2" and one.mode != "none")
    np.testing.assert_allclose(mean.y, by_decay[1].metrics["weight_decay"].mean("seed").values[1:], rtol=1e-6)


def test_what_commuting_solves_is_a_dashed_line_across(by_fraction):
    figure = figures.curves(by_fraction)
    heights = [shape.y0 for shape in figure.layout.shapes]
    expected = [round(float(run.all_data["test_commuted"].mean()), 2) for run in by_fraction]
    assert heights == [share for share in dict.fromkeys(expected) if share > 0]


def test_other_results_are_drawn_beside_the_metrics(by_decay):
    measured = [circuits.analyze(run, "subnetwork")["subnetwork"] for run in by_decay]
    figure = figures.curves(by_decay, ["accuracy", "sparsity_ratio"], results=measured)
    assert figure.layout.yaxis2.type == "log"
    expected = measured[0]["sparsity_ratio"].mean("seed").values[1:]
    (line,) = [t for t in figure.data if t.yaxis == "y2" and t.name == "none" and t.mode != "none"]
    np.testing.assert_allclose(line.y, expected, rtol=1e-6)


def test_results_at_fewer_checkpoints_are_joined_by_a_line(by_decay):
    options = circuits.analysis.Options(checkpoints="::2")
    measured = [circuits.analyze(run, "subnetwork", options=options)["subnetwork"] for run in by_decay[:1]]
    figure = figures.curves(by_decay[:1], ["accuracy", "effective_sparsity"], results=measured)
    (line,) = [t for t in figure.data if t.yaxis == "y2" and t.mode != "none"]
    assert line.x.tolist() == [2, 4]
    np.testing.assert_allclose(line.y, measured[0]["effective_sparsity"].mean("seed").values[1:], rtol=1e-6)


def test_curves_may_run_over_steps(by_fraction):
    figure = figures.curves(by_fraction, x="step")
    assert figure.layout.xaxis.title.text.startswith("step")
    np.testing.assert_array_equal(named(figure, "0.8, test").x, by_fraction[0].steps[1:])


def test_of_many_runs_the_bands_are_left_out_and_the_subtitle_says_so(by_fraction):
    few, many = figures.curves(by_fraction), figures.curves({str(i): by_fraction[0] for i in range(14)})
    assert [t for t in few.data if t.mode == "none"]
    assert not [t for t in many.data if t.mode == "none"]
    assert "standard deviation" in few.layout.title.subtitle.text
    assert "standard deviation" not in many.layout.title.subtitle.text
    assert many.layout.legend.orientation == "v"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda runs: figures.curves([]), "There is no run to draw"),
        (lambda runs: figures.curves(runs, "acuracy"), "has no metric 'acuracy'. Did you mean 'accuracy'?"),
        (lambda runs: figures.curves(runs, "loss", results=[]), "There are 3 runs and 0 results"),
        (lambda runs: figures.curves(["nowhere.h5"]), "nowhere.h5"),
    ],
)
def test_what_cannot_be_drawn_is_said_in_a_line(by_fraction, call, message):
    with pytest.raises(circuits.InputError) as error:
        call(by_fraction)
    assert message in str(error.value)


def test_fourteen_numbers_have_fourteen_shades_and_fourteen_words_a_color_or_a_marker_each():
    numbers = shades([str(0.05 * i) for i in range(14)])
    words = shades([chr(97 + i) for i in range(14)])
    assert len({color for color, _ in numbers}) == 14
    assert len(set(words)) == 14
    assert {color for color, _ in words} == set(MANY)


def test_the_scale_of_numbers_gets_lighter_so_that_it_survives_black_and_white():
    def lightness(color):
        return sum(
            weight * int(color[i : i + 2], 16) for weight, i in zip((0.299, 0.587, 0.114), (1, 3, 5), strict=True)
        )

    scale = [lightness(color) for color, _ in shades([str(i) for i in range(14)])]
    assert (np.diff(scale) > 0).all()
    assert scale[-1] < 200  # on white paper


def test_ticks_keep_their_distance():
    assert apart([0.01, 0.012, 0.1], 0.005) == [0.012, 0.1]


# ---- a setting across ----


def test_outcomes_are_the_phases_and_accuracies_of_every_run(by_decay):
    found = circuits.analysis.outcomes(dict(zip("abc", by_decay, strict=True)))
    assert found["run"].values.tolist() == ["a", "b", "c"]
    for name, run in zip("abc", by_decay, strict=True):
        phases = circuits.analysis.phases(run)
        for what in ("memorization_epoch", "generalization_epoch", "grokking_delay"):
            np.testing.assert_array_equal(found[what].sel(run=name), phases[what])
        np.testing.assert_array_equal(
            found["best_test_accuracy"].sel(run=name), run.metrics["test_accuracy"].max("step")
        )


def test_a_seed_that_a_run_lacks_has_no_outcome(by_decay, by_fraction, trained):
    other = trained(by_decay[0].config.replace(seeds=[5]), "seed5")
    found = circuits.analysis.outcomes({"a": by_decay[0], "b": other})["last_train_accuracy"]
    assert found["seed"].values.tolist() == [0, 1, 5]
    np.testing.assert_array_equal(np.isnan(found), [[False, False, True], [True, True, False]])


def test_against_draws_every_seed_and_their_median_in_order_of_the_setting(by_fraction):
    found = circuits.analysis.outcomes({run.path.stem: run for run in by_fraction})["best_test_accuracy"]
    found = found.assign_coords(fraction=("run", [0.8, 0.3, 0.5]))
    figure = figures.against(found, "fraction")
    points, line = figure.data
    np.testing.assert_allclose(line.x, [0.3, 0.5, 0.8], rtol=1e-6)
    np.testing.assert_allclose(line.y, found.sortby("fraction").median("seed"), rtol=1e-6)
    assert len(points.y) == 6


def test_against_says_how_many_seeds_have_no_value(by_fraction):
    found = circuits.analysis.outcomes({"a": by_fraction[0]})["generalization_epoch"]
    figure = figures.against((found * np.nan).assign_coords(fraction=("run", [0.8])), "fraction")
    assert [note.text for note in figure.layout.annotations] == ["2 none"]
    assert np.isnan(figure.data[1].y).all()


def test_against_needs_a_number_across(by_fraction):
    found = circuits.analysis.outcomes({"a": by_fraction[0]})["generalization_epoch"]
    with pytest.raises(circuits.InputError, match="The runs have no numeric coordinate 'decay'"):
        figures.against(found, "decay")
    with pytest.raises(circuits.InputError, match="There is nothing to draw"):
        figures.against({}, "decay")


def test_a_run_whose_weight_decay_never_changes_is_drawn_with_it(tmp_path, make_config):
    plain = make_config()
    changed = make_config(weight_decay_changes=[{"epoch": 2, "value": 0.0}])
    paths = [tmp_path / "plain.h5", tmp_path / "changed.h5"]
    for config, path in zip((plain, changed), paths, strict=True):
        circuits.train(config, path, progress=False).close()
    figure = circuits.figures.curves(paths, "weight_decay")
    drawn = [set(np.round(np.asarray(trace.y, float), 6)) for trace in figure.data if trace.y is not None]
    assert {0.01} in drawn
    assert {0.01, 0.0} in drawn
