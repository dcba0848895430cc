"""The measurement `progress`: its variables are those of the slow formulas, whatever the run, and survive the disk."""

import json

import numpy as np
import pytest
import torch
import xarray as xr

import circuits
from circuits.analysis import progress_measures, transitions
from circuits.analysis.networks.bounded import bounded
from circuits.analysis.options import Options
from circuits.analysis.progress.arity import arities
from circuits.analysis.progress.change_points import change_points, flattened
from circuits.analysis.progress.earliest import earliest_summary, tied
from circuits.analysis.progress.measurement import run_change_points
from circuits.analysis.progress.tables import lag_cell, progress_tables
from circuits.analysis.sidecar import write_sidecar
from circuits.analysis.store import to_json
from circuits.cli.main import main
from circuits.config import parse
from circuits.figures.drawing.phases import with_phases
from circuits.figures.progress import measures as drawn
from circuits.figures.progress.transitions import spoken


@pytest.fixture(scope="module")
def grokked(grokked_path):
    with circuits.open(grokked_path) as run:
        yield circuits.analyze(run, "progress")["progress"]


@pytest.fixture(scope="module", params=["mlp", pytest.param("transformer", marks=pytest.mark.slow)])
def modular_path(request, tmp_path_factory):
    models = {
        "mlp": {"kind": "mlp", "widths": [16], "activation": "square", "biases": False},
        "transformer": {"kind": "transformer", "n_heads": 2, "d_model": 8, "d_mlp": 12},
    }
    encoding = "one-hot" if request.param == "mlp" else "tokens"
    config = parse(
        {
            "name": request.param, "task": {"kind": "modular", "p": 7, "train_fraction": 0.7, "encoding": encoding},
            "model": models[request.param], "optimizer": {"kind": "adamw", "lr": 0.02, "weight_decay": 0.1},
            "loss": "cross_entropy", "batch_size": None, "epochs": 120, "seeds": [1, 5],
            "checkpoints": {"every_epochs": 4}, "metrics": ["parameter_norm", "effective_sparsity"],
        }
    )  # fmt: skip
    path = tmp_path_factory.mktemp("runs") / f"{request.param}.h5"
    circuits.train(config, path, progress=False).close()
    return path


def test_norms_of_a_stored_network_are_those_of_its_arrays(tiny_run):
    found = progress_measures(tiny_run).sel(seed=2).isel(step=3)
    net = {name: values.astype(float) for name, values in tiny_run.arrays(seed=2, checkpoint=3).items()}
    assert found["spectral_norm"].sel(matrix="W") == pytest.approx(np.linalg.norm(net["W"], 2))
    assert found["frobenius_norm"].sel(matrix="W") == pytest.approx(np.linalg.norm(net["W"]))
    assert found["spectral_norm"].sel(matrix="u") == pytest.approx(np.linalg.norm(net["u"]))
    assert found["layer_norm"].sel(layer="readout") == pytest.approx(np.linalg.norm(net["u"]))
    assert found["parameter_norm"] == pytest.approx(np.sqrt(sum((values**2).sum() for values in net.values())))


def test_margins_of_a_stored_network_are_those_of_its_model(tiny_run):
    found = progress_measures(tiny_run).sel(seed=1).isel(step=-1)
    data, model = tiny_run.data(1), tiny_run.model(seed=1)
    for which in ("train", "test"):
        with torch.no_grad():
            outputs = model(torch.from_numpy(data[f"{which}_inputs"].values.astype(np.float32))).numpy()
        margin = outputs * data[f"{which}_targets"].values
        assert found[f"{which}_margin_least"] == pytest.approx(margin.min(), abs=1e-5)
        assert found[f"{which}_margin_mean"] == pytest.approx(margin.mean(), abs=1e-5)
    assert found["normalised_margin"] == pytest.approx(found["train_margin_least"] / found["parameter_norm"] ** 2)


def test_arities_of_a_stored_network_are_those_on_its_agreement_set(tiny_run):
    data, net = tiny_run.data(0), tiny_run.arrays(0)
    for agreement_set in ("train", "test"):
        inputs = data[f"{agreement_set}_inputs"].values.astype(float)
        f = np.maximum(inputs @ net["W"].T.astype(float) + net["b"], 0) @ net["u"].astype(float)
        found = progress_measures(tiny_run, Options(agreement_set=agreement_set, checkpoints="-1:"))["arity"].sel(
            seed=0
        )
        np.testing.assert_array_equal(found.values[0], arities(net["W"], net["b"], net["u"], inputs, f))


@pytest.mark.slow
def test_a_network_that_learned_parity_has_its_sensitivity_and_its_neurons_its_arity(grokked):
    last = grokked.isel(step=-1)
    assert grokked["sensitivity"].attrs["of_the_task"] == 2
    np.testing.assert_allclose(last["sensitivity"], 2, atol=0.2)
    assert (last["subnetwork_arity"] <= 3).all()
    assert (grokked["sensitivity"].isel(step=slice(10, 60)).mean("step") > 3).all()  # while it has only memorized
    assert (grokked["network_arity"].isel(step=0) > 5 * last["network_arity"]).all()


@pytest.mark.slow
def test_sparsity_is_that_of_the_measurement_subnetwork(grokked, grokked_run):
    expected = circuits.analyze(grokked_run, "subnetwork")["subnetwork"]
    xr.testing.assert_equal(grokked["effective_sparsity"].drop_attrs(), expected["effective_sparsity"].drop_attrs())
    xr.testing.assert_equal(grokked["sparsity_ratio"].drop_attrs(), expected["sparsity_ratio"].drop_attrs())


def test_the_measures_move_and_test_accuracy_between_memorization_and_generalization(grokked, grokked_run):
    phases = circuits.analysis.phases(grokked_run)
    own = grokked.sel(measure="test_accuracy")
    assert (own["onset"] >= phases["memorization_epoch"]).all()
    assert (own["onset"] < phases["generalization_epoch"]).all()
    assert (own["direction"] == 1).all()
    assert (grokked["direction"].sel(measure="network_arity") == -1).all()
    for seed, name in zip(grokked["seed"].values, grokked["earliest"].values, strict=True):
        ranks = grokked[["rank", "rank_high"]].sel(seed=seed)
        assert (ranks["rank_high"] == 1).sum() <= 1
        if name:
            assert int(ranks["rank_high"].sel(measure=name)) == 1
        else:
            assert ((ranks["rank"] == 1).sum() > 1) or (grokked["explained"].sel(seed=seed).min() < 0.9)


@pytest.mark.slow
def test_the_agreement_is_that_of_eight_analysis_choices(grokked, grokked_run):
    measures = {name: grokked[name] for name in ("parameter_norm", "test_margin_mean", "network_arity")}
    plain = run_change_points(grokked_run, Options(), measures)
    assert plain["earliest_choices"].attrs["n_choices"] == 8
    counts = np.zeros(len(grokked_run.seeds))
    for share in (0.9, 0.99, 0.999, 0.9999):
        for logs in (False, True):
            one = run_change_points(grokked_run, Options(memorization_threshold=share), measures, log_scale=logs)
            counts += one["earliest"].values == plain["earliest"].values
    expected = np.where(plain["earliest"].values == "", np.nan, counts / 8)
    np.testing.assert_allclose(plain["earliest_choices"], expected)


def test_censored_onsets_are_marked_in_cells_and_figures(grokked_run, grokked):
    censored = bool(grokked["onset_censored"].sel(seed=0).any())
    assert censored
    figure = circuits.figures.transitions(with_phases(grokked_run, grokked))
    at = grokked.sel(seed=0, measure=list(figure.data[0].text))
    open_triangle = [symbol == "triangle-left-open" for symbol in figure.data[0].marker.symbol]
    assert open_triangle == at["onset_censored"].values.tolist()
    bounds = np.flatnonzero(open_triangle)
    np.testing.assert_allclose(figure.data[0].x[bounds], at["onset_high"].values[bounds], rtol=1e-6)
    assert (figure.data[0].error_x.array[bounds] == 0).all()
    assert (figure.data[0].error_x.arrayminus[bounds] == 0).all()
    assert [figure.data[0].customdata[place] for place in bounds] == [
        bounded(float(at["onset_high"][place]), True) for place in bounds
    ]
    assert "upper bound" in str(figure.layout.meta)
    assert earliest_summary(grokked) in str(figure.layout.meta)


@pytest.mark.parametrize(
    ("low", "high", "lag", "cell"),
    [
        (-4.0, 7.0, 2.0, "12 ↓: +2 (-4 to 7)"),
        (-9280.0, -0.2, -5000.0, "12 ↓: -5,000 (-9,280 to 0)"),
        (-np.inf, -50.4, -54.0, "≤ 1,400 ↓: ≤ -50"),
        (9.7, np.inf, 13.0, "12 ↓: ≥ 9"),
        (-0.5, np.inf, 13.0, "12 ↓: ≥ -1"),
        (-np.inf, -0.5, -3.0, "≤ 1,400 ↓: ≤ 0"),
        (-np.inf, np.inf, np.nan, "≤ 1,400 ↓: unknown"),
        (np.nan, np.nan, np.nan, "12 ↓"),
    ],
)
def test_a_cell_has_the_estimate_with_its_interval_or_the_finite_end_of_the_interval_as_a_bound(low, high, lag, cell):
    values = {"onset": 12.0, "onset_high": 1400.0, "onset_censored": cell[0] == "≤", "direction": -1, "lag": lag}
    assert lag_cell(xr.Dataset(values | {"lag_low": low, "lag_high": high})) == cell


def test_the_legend_explains_only_the_signs_in_the_table(grokked, grokked_run):
    phases, no = circuits.analysis.phases(grokked_run), grokked["onset_censored"] & False
    of_reference = no | (grokked["measure"] == "test_accuracy")
    plain = grokked.assign(lag_low=grokked["lag"] - 1, lag_high=grokked["lag"] + 1, onset_censored=no)
    for told, signs in (
        (plain, ""),
        (plain.assign(onset_censored=of_reference, lag_low=plain["lag_low"].where(~of_reference, -np.inf)), "≤"),
        (plain.assign(lag_high=plain["lag_high"].where(of_reference, np.inf)), "≥"),
        (plain.assign(lag_low=no - np.inf, lag_high=no + np.inf), "u"),
    ):
        _, (title, _), _ = progress_tables(told, phases)
        first = title.split("\n")[2:]
        assert "".join(line[0] for line in first) == signs, title


def test_the_table_of_the_earliest_names_it_or_those_that_are_tied(grokked, grokked_run):
    phases = circuits.analysis.phases(grokked_run)
    n_seeds = grokked.sizes["seed"]
    attrs = grokked["earliest_choices"].attrs
    named = grokked.assign(
        earliest=("seed", ["sensitivity"] + [""] * (n_seeds - 1)),
        earliest_choices=("seed", [0.75] + [np.nan] * (n_seeds - 1), attrs),
        earliest_seeds=("seed", [1 / n_seeds] + [np.nan] * (n_seeds - 1)),
    )
    *_, (title, table) = progress_tables(named, phases)
    assert title.startswith("Earliest measure: the 95 % interval of its onset lies before all others")
    rows = list(zip(*(column.cells for column in table.columns), strict=True))
    assert rows[0] == ("0", "sensitivity", "6 of 8", f"1 of {n_seeds}", "")
    assert rows[1][1:4] == ("none", "–", "–")
    assert tied(grokked, 1)[0] in rows[1][4]


@pytest.mark.slow
def test_transitions_are_those_of_the_measurement_and_take_further_measures(grokked, grokked_run):
    plain = transitions(grokked_run)
    assert plain["onset"].equals(grokked["onset"])
    merged = circuits.analyze(grokked_run, "constructions")["constructions"]
    more = transitions(grokked_run, merged)
    assert set(more["measure"].values) - set(plain["measure"].values) >= {"merged_sparsity", "path_cost"}
    assert more["lag"].sel(measure=plain["measure"]).equals(plain["lag"])
    again = transitions(grokked_run, {"parameter_norm": -grokked["parameter_norm"]})
    assert (again["direction"].sel(measure="parameter_norm") == -plain["direction"].sel(measure="parameter_norm")).all()


def test_seeds_that_did_not_generalize_have_onsets_but_no_lags_and_logarithms_may_be_asked_for(grokked, grokked_run):
    given = {"parameter_norm": grokked["parameter_norm"]}
    options = Options(generalization_threshold=1.0)  # more than all test accuracies
    never = run_change_points(grokked_run, options, given, log_scale=True)
    assert np.isfinite(never["onset"].sel(measure="test_accuracy")).all()
    assert np.isnan(never["lag"]).all()
    assert never["log_scale"].sel(measure=["test_accuracy", "parameter_norm"]).values.tolist() == [False, True]
    assert not run_change_points(grokked_run, Options(), given)["log_scale"].sel(measure="parameter_norm")


@pytest.mark.slow
def test_measures_of_other_checkpoints_are_refused_in_one_line(grokked, grokked_run):
    with pytest.raises(circuits.InputError, match=r"the measure 'x' differ from the 101 steps of .*grokked\.h5"):
        transitions(grokked_run, {"x": grokked["parameter_norm"].isel(step=slice(5))})


@pytest.mark.slow
def test_classes_have_margins_but_neither_sensitivity_nor_arity(modular_path):
    with circuits.open(modular_path) as run:
        found = circuits.analyze(run, "progress")["progress"]
        assert not {"sensitivity", "arity"} & set(found)
        assert ("normalised_margin" in found) == (run.config.model.kind == "mlp")
        np.testing.assert_allclose(found["parameter_norm"], run.metrics["parameter_norm"], rtol=1e-6)
        assert found["effective_sparsity"].equals(circuits.analysis.effective_sparsity(run))
        right = found["test_margin_least"] > 0
        np.testing.assert_array_equal(right, run.metrics["test_accuracy"] == 1)
        assert {figure.layout.title.text for figure in drawn.figures(run, found)} >= {"Spectral norm", "Margins"}


def test_the_stored_metric_is_used_only_where_it_is_the_same_thing(modular_path, monkeypatch):
    with circuits.open(modular_path) as run:
        asked = []
        monkeypatch.setattr(
            "circuits.analysis.progress.measurement.sparsity_at",
            lambda run, checkpoints, options, progress: asked.append(options) or np.ones((len(checkpoints), 2)),
        )
        progress_measures(run, Options(checkpoints="-2:"))
        assert not asked
        progress_measures(run, Options(checkpoints="-2:", agreement_set="test"))
        assert len(asked) == 1


@pytest.mark.slow
def test_results_survive_json_and_the_sidecar(tiny_run, tmp_path):
    found = circuits.analyze(tiny_run, "progress")
    restored = circuits.read_json(to_json(tiny_run, found))["progress"]
    assert restored.identical(found["progress"])
    path = write_sidecar(tiny_run, found, path=tmp_path / "a.nc")
    with xr.open_datatree(path, engine="h5netcdf") as tree:
        assert tree["progress"].to_dataset().load().equals(found["progress"])


def test_a_diverged_seed_is_nan_and_has_no_arity(tmp_path, make_config):
    config = make_config(optimizer__lr=1e30, epochs=3, seeds=[0])
    with circuits.train(config, tmp_path / "a.h5", progress=False) as run:
        last = circuits.analyze(run, "progress")["progress"].isel(step=-1, seed=0)
    assert not np.isfinite(last["parameter_norm"])
    assert np.isnan(last["sensitivity"])
    assert np.isnan(last["arity"]).all()
    assert np.isnan(last["network_arity"])


@pytest.mark.slow
def test_a_collapse_midway_is_no_measurement_of_arity(tmp_path, make_config):
    small = {"task__n": 6, "model__width": 4, "epochs": 40, "seeds": [0]}
    config = make_config(**small, optimizer__lr=0.1, optimizer__weight_decay=0.5)
    with circuits.train(config, tmp_path / "a.h5", progress=False) as run:
        found = circuits.analyze(run, "progress")["progress"]
        phases, dead = circuits.analysis.phases(run), run.collapsed.values[:, 0]
    assert 5 < dead.argmax() < len(dead) - 5
    of_neurons = found["arity"].sel(seed=0)
    assert np.isnan(of_neurons.values[dead]).all()
    assert ((of_neurons.values[~dead] >= 0) & (of_neurons.values[~dead] <= 6)).all()
    (_, values), *_ = progress_tables(found, phases)
    rows = {row: cells for row, *cells in zip(*(column.cells for column in values.columns), strict=True)}
    assert [rows[f"arity {neuron}"] for neuron in range(4)] == [["–"]] * 4
    alive = found.isel(step=np.flatnonzero(~dead))
    names = [name for name in found["measure"].values if "arity" in name]
    assert len(names) >= 4
    until = change_points(flattened(alive[["arity", "network_arity"]]), np.array([np.nan]))
    onsets = change_points(flattened(found[["arity", "network_arity"]]), np.array([np.nan]))
    for name in ("onset", "onset_low", "onset_high", "after"):
        xr.testing.assert_equal(onsets[name], until[name])


@pytest.mark.slow
def test_the_command_prints_what_moves_and_writes_everything(grokked_path, tmp_path, capsys, grokked):
    words = ["analyze", str(grokked_path), "--progress", "--quiet", "--out", str(tmp_path / "a.nc")]
    assert main(words) == 0
    printed = capsys.readouterr().out
    assert "When each measure begins to change" in printed
    at = grokked.sel(measure="test_accuracy", seed=0)
    onset = bounded(float(at["onset_high" if at["onset_censored"] else "onset"]), bool(at["onset_censored"]))
    assert f" {onset} ↑: +0 (0 to 0)" in printed
    assert "Earliest measure" in printed
    assert "≤" in printed
    assert "Never memorized" not in printed
    assert main([*words, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)["progress"]
    assert {"arity", "share", "loss_spectrum", "onset_censored", "earliest", "earliest_choices"} <= set(
        document["data_vars"]
    )


def test_the_table_has_arrows_no_signed_zeros_and_names_the_seeds_that_never_memorized(grokked, grokked_run):
    never = circuits.analysis.phases(grokked_run)
    never["memorization_epoch"] = never["memorization_epoch"].where(never["seed"] != 1)
    told = grokked.assign(parameter_norm=grokked["parameter_norm"] * -0.0)
    (_, values), (title, moves), _ = progress_tables(told, never)
    assert title.endswith("Never memorized, so from the first update: seed 1")
    assert "-0" not in {cell for column in values.columns for cell in column.cells}
    rows = list(moves.columns[0].cells)
    cells = list(moves.columns[1].cells)
    assert cells[rows.index("network_arity")].split(":")[0].endswith(" ↓")
    assert cells[rows.index("test_accuracy")].split(":")[0].endswith(" ↑")


def test_where_nothing_moves_one_line_says_why(grokked_run, grokked):
    phases = circuits.analysis.phases(grokked_run)
    last = circuits.analyze(grokked_run, "progress", options=Options(checkpoints="-5:"))["progress"]
    for found, line in (
        (last, "Only 5 checkpoints after memorization; to see a measure change takes 10."),
        (grokked.assign(onset=grokked["onset"] * np.nan), "No measure changes."),
    ):
        _, (title, moves) = progress_tables(found, phases)
        of_none = progress_tables(found, phases.assign(memorization_epoch=phases["memorization_epoch"] * np.nan))
        after_none = line.replace("memorization", "initialization")
        assert [column.header for column in of_none[1][1].columns] == [after_none]
        assert [column.header for column in moves.columns] == [line]
        assert not set(title) & set("≤≥")
        assert "unknown" not in title
        assert moves.row_count == 0


# ---- figures ----


def test_one_figure_has_the_measures_by_name_with_the_phases_marked(grokked_run, grokked):
    told = with_phases(grokked_run, grokked)
    figure = circuits.figures.measures(told, ["parameter_norm", "test_margin_mean"], title="Two", log_y=True)
    first, second = [trace for trace in figure.data if trace.showlegend is not False][:2]
    assert first.name == "L2 norm of all parameters"
    assert second.name.startswith("mean margin on the test set")
    np.testing.assert_allclose(first.y, grokked["parameter_norm"].mean("seed")[1:], rtol=1e-6)
    assert np.nanmin(second.y) > 0  # what is not has no place on a log axis
    assert figure.layout.xaxis.type == figure.layout.yaxis.type == "log"
    assert {note.text for note in figure.layout.annotations} == {"memorized", "generalized"}
    with pytest.raises(circuits.InputError, match=r"no measure 'sensitivty'\. Did you mean 'sensitivity'"):
        circuits.figures.measures(told, ["sensitivty"])


def test_the_bold_lines_go_from_0_at_the_onset_to_1_at_the_end(grokked_run, grokked):
    figure = circuits.figures.transition_shares(with_phases(grokked_run, grokked), ["test_accuracy"])
    at = grokked.sel(measure="test_accuracy", seed=1)
    line = [trace for trace in figure.data if trace.name == "test accuracy"][1]
    np.testing.assert_allclose(line.x[1:3], [at["onset"], at["end"]], rtol=1e-6)
    assert list(line.y) == [0, 0, 1, 1]


def test_the_rows_stand_in_the_order_of_their_mean_onset_and_hold_the_intervals(grokked_run, grokked):
    figure = circuits.figures.transitions(with_phases(grokked_run, grokked))
    labels = [label.replace("<b>", "").replace("</b>", "") for label in figure.layout.yaxis.ticktext]
    assert {"test accuracy", "spectral norm W"} <= set(labels)
    assert len(labels) == int(np.isfinite(grokked["onset"]).any("seed").sum())
    first = figure.data[0]
    at = grokked.sel(seed=0, measure=list(first.text))
    np.testing.assert_allclose(first.x, np.where(at["onset_censored"], at["onset_high"], at["onset"]), rtol=1e-6)
    np.testing.assert_allclose(first.x + first.error_x.array, at["onset_high"], rtol=1e-5)
    low = np.where(at["onset_censored"], at["onset_high"], at["onset_low"])
    np.testing.assert_allclose(first.x - first.error_x.arrayminus, low, rtol=1e-5)
    drawn_at = grokked["onset"].where(~grokked["onset_censored"], grokked["onset_high"])
    means = drawn_at.mean("seed").sel(measure=list(first.text)).values
    assert (np.diff(means) >= 0).all()


def test_the_sensitivity_of_the_task_is_a_dashed_line(grokked_run, grokked):
    figure = circuits.figures.sensitivity(with_phases(grokked_run, grokked))
    dashed = [shape for shape in figure.layout.shapes if shape.line.dash == "dash" and shape.y0 == shape.y1 == 2]
    assert len(dashed) == 1
    assert "the parity: 2" in {note.text for note in figure.layout.annotations}


def test_a_run_where_nothing_can_move_yet_has_no_figures_of_moves(tiny_run):
    titles = [
        figure.layout.title.text
        for figure in drawn.figures(tiny_run, circuits.analyze(tiny_run, "progress")["progress"])
    ]
    assert "Change of each measure" not in titles
    assert "Sensitivity" in titles


def test_the_names_of_parameters_stand_as_they_are_and_twelve_of_them_are_drawn():
    assert spoken("spectral_norm embed.W_E") == "spectral norm embed.W_E"
    steps, matrices = np.arange(1, 4), [f"block.W_{i}" for i in range(13)]
    coords = {"step": steps, "epoch": ("step", steps * 1.0), "seed": [0], "matrix": matrices}
    norms = xr.DataArray(np.ones((3, 1, 13)), coords, ("step", "seed", "matrix"))
    figure = drawn.by_label(xr.Dataset({"spectral_norm": norms}), "spectral_norm", "Norms", "Of each.")
    assert [trace.name for trace in figure.data] == matrices[:12]
    assert "The first 12 of 13 are drawn." in str(figure.layout)
