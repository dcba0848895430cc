"""The measurement `certify` of a run, its figures and its table."""

from dataclasses import replace
from itertools import cycle

import numpy as np
import plotly.graph_objects as go
import pytest

import circuits
from circuits import figures
from circuits.analysis import Options, active_subnetwork
from circuits.analysis.measurements import usual
from circuits.analysis.parity import certificates as certificates_
from circuits.analysis.parity.certificates import measure
from circuits.analysis.subnetworks.active import examples_of
from circuits.cli.main import main
from circuits.constructions.certifying.certify import certify
from circuits.constructions.certifying.flips import fewest_flips
from circuits.constructions.certifying.interval import interval_bounds
from circuits.registry import MEASUREMENTS, load


@pytest.fixture(autouse=True)
def _few_random_inputs(monkeypatch):
    monkeypatch.setattr("circuits.analysis.parity.certificates.N_RANDOM", 2000)


@pytest.fixture(scope="module")
def certificates(grokked_path):
    with pytest.MonkeyPatch.context() as patch, circuits.open(grokked_path) as run:
        patch.setattr("circuits.analysis.parity.certificates.N_RANDOM", 2000)
        return measure(run, Options(checkpoints="::100", time_limit=5.0))


@pytest.mark.slow
def test_a_runs_certificates_are_those_of_its_subnetworks(grokked_run, certificates):
    assert certificates["certified_margin"].dims == ("step", "seed")
    for step, checkpoint in enumerate(range(0, grokked_run.n_checkpoints, 100)):
        for index, seed in enumerate(grokked_run.seeds):
            net = grokked_run.arrays(seed, checkpoint)
            W, b, u = net["W"], net["b"], net["u"]
            kept = active_subnetwork(W, b, u, examples_of(grokked_run, index, "train")[0])
            proof = certify(W[kept], b[kept], u[kept], [0, 1], time_limit=5.0)
            at = certificates.isel(step=step, seed=index)
            assert at["n_kept"] == kept.sum()
            assert str(at["verdict"].values) == proof.verdict
            if proof.exact:
                assert at["margin_upper"] == proof.margin
                np.testing.assert_array_equal(at["worst_input"], proof.input)
            sums = proof.pattern_lower + interval_bounds(W[~kept], b[~kept], u[~kept], [0, 1])
            assert float(at["subnetwork_minus_rest"]) <= float(at["whole_margin_upper"])
            if proof.exact:
                assert float(at["subnetwork_minus_rest"]) == pytest.approx(sums.min())


@pytest.mark.slow
def test_the_certified_margin_says_which_way_and_is_nan_where_nothing_is_shown(certificates):
    for begins in ("", "whole_"):
        margin, verdict = certificates[f"{begins}certified_margin"], certificates[f"{begins}verdict"]
        assert (margin.values[verdict.values == "certified"] > 0).all()
        assert (margin.values[verdict.values == "refuted"] <= 0).all()
        assert np.isnan(margin.values[verdict.values == "undecided"]).all()
    assert (certificates["whole_verdict"].isel(step=0) == "refuted").all(), "an initialization does not compute parity"


@pytest.mark.slow
def test_both_networks_of_a_grokked_run_fail_on_no_or_few_random_inputs(certificates):
    last = certificates.isel(step=-1)
    assert (last["whole_failure_rate"] < 0.02).all()
    assert (certificates["whole_failure_rate"].isel(step=0) > 0.1).all()
    for begins in ("", "whole_"):
        low, rate, high = (last[f"{begins}failure_{part}"] for part in ("low", "rate", "high"))
        assert ((low <= rate) & (rate <= high) & (high > low)).all()
        never = last[f"{begins}verdict"] == "certified"
        assert (rate.values[never.values] == 0).all()
    assert (last["fewest_flips_min"].values[(last["verdict"] == "certified").values] == np.inf).all()


def test_the_fewest_flips_are_of_test_inputs(tiny_run):
    found = circuits.analyze(tiny_run, "certify")["certify"].isel(step=-1)
    differs = False
    for index, seed in enumerate(tiny_run.seeds):
        net = tiny_run.arrays(seed)
        train, test = (examples_of(tiny_run, index, name)[0] for name in ("train", "test"))
        kept = active_subnetwork(**{name: net[name] for name in "Wbu"}, inputs=train)
        W, b, u = (net[name][kept] for name in "Wbu")
        of_test, of_train = (fewest_flips(W, b, u, [0, 1], inputs).fewest for inputs in (test, train))
        assert float(found["fewest_flips_min"].sel(seed=seed)) == of_test.min()
        assert float(found["fewest_flips_median"].sel(seed=seed)) == np.median(of_test)
        differs |= bool(np.median(of_test) != np.median(of_train))
    assert differs, "the training inputs would have given other numbers"


def test_a_warning_advises_what_can_help(tiny_run, monkeypatch):
    def undecided(*args, **options):
        return replace(certify(*args, **options), verdict="undecided", seconds_left=next(left))

    left = cycle([100.0, 1e12])  # of the whole network, then of the subnetwork
    monkeypatch.setattr(certificates_, "certify", undecided)
    found = measure(tiny_run, Options(time_limit=60.0))
    said = "\n".join(found.attrs["warnings"])
    assert found["seconds_left"].sizes == {"step": 1, "seed": 3}
    assert said.count("is undecided at 1 of 1 checkpoints") == 6
    assert said.count("Pass time_limit=260.") == 3
    assert said.count("A longer time_limit may not decide it") == 3
    assert np.isnan(found["certified_margin"]).all()


def test_the_last_checkpoint_alone_is_certified_by_default(tiny_run):
    found = circuits.analyze(tiny_run, "certify")["certify"]
    assert found["step"].values.tolist() == [tiny_run.steps[-1]]
    assert found["pattern"].values.tolist() == ["--", "-+", "+-", "++"]


def test_everything_can_be_asked_for_as_a_slice(tiny_run):
    found = circuits.analyze(tiny_run, "exact", options=Options(checkpoints="0:", time_limit=0.0))["exact"]
    assert found["step"].values.tolist() == tiny_run.steps.tolist()


def test_a_diverged_network_has_no_certificate(make_config, tmp_path):
    config = make_config(optimizer__lr=1e200, epochs=1, seeds=[0])
    circuits.train(config, tmp_path / "diverged.h5", progress=False).close()
    with circuits.open(tmp_path / "diverged.h5") as run:
        found = circuits.analyze(run, "certify", "exact")
    assert found["certify"]["verdict"].values.tolist() == [["none"]]
    assert np.isnan(found["certify"]["certified_margin"]).all()
    assert np.isnan(found["exact"]["smallest_size"]).all()


def test_a_task_that_is_no_parity_is_refused(tiny_run, monkeypatch):
    monkeypatch.setattr(type(tiny_run.config.task), "parity_bits", None)
    with pytest.raises(circuits.InputError, match=r"the task 'parity' is not a parity"):
        measure(tiny_run, Options())


# ---- on request only ----


def test_what_takes_long_is_made_only_when_named(tiny_run):
    on_request = {name for name, entry in MEASUREMENTS.items() if entry.load().on_request(tiny_run.config)}
    assert {"certify", "exact"} <= on_request
    assert on_request.isdisjoint(usual(tiny_run.config))
    assert list(circuits.analyze(tiny_run)) == usual(tiny_run.config)
    assert list(circuits.analyze(tiny_run, "exact", options=Options(time_limit=0.0))) == ["phases", "exact"]


@pytest.mark.slow
def test_the_command_line_shows_verdicts_and_keeps_them(tiny_path, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "120")
    out = str(tmp_path / "a.nc")
    words = [str(tiny_path), "--certify", "--exact", "--time-limit", "2", "--out", out, "--quiet"]
    assert main(["analyze", *words]) == 0
    shown = capsys.readouterr().out
    assert "Active subnetwork at epoch 4: worst-case margin" in shown
    assert "Whole network at epoch 4" in shown
    assert "smallest subnetwork, any subset, at epoch 4" in shown
    assert main(["analyze", *words, "--json"]) == 0
    found = circuits.read_json(capsys.readouterr().out)
    assert found["options"]["time_limit"] == 2
    assert set(found["certify"]["verdict"].values.ravel().tolist()) <= {"certified", "refuted", "undecided", "none"}
    assert found["certify"]["fewest_flips_min"].dims == ("step", "seed")


# ---- figures ----


@pytest.mark.slow
def test_the_figures_show_patterns_and_over_several_checkpoints_the_margin(grokked_run, certificates):
    draw = load(MEASUREMENTS["certify"].figures)
    over_epochs, by_pattern = draw(grokked_run, certificates)
    assert over_epochs.layout.shapes, "zero, and the phases, are marked"
    assert list(by_pattern.layout.xaxis.ticktext) == ["--", "-+", "+-", "++"]
    (alone,) = draw(grokked_run, certificates.isel(step=[-1]))
    for figure in (over_epochs, by_pattern, alone):
        assert isinstance(figure, go.Figure)
        assert figure.layout.meta["caption"].endswith(".")
        assert figure.layout.title.text


@pytest.mark.slow
def test_a_mark_runs_from_what_is_proved_to_the_worst_input_found(certificates):
    figure = figures.certified_patterns(certificates)
    subnetwork, whole = figure.data
    last = certificates.isel(step=-1).transpose("pattern", "seed", ...)
    for trace, begins in ((subnetwork, ""), (whole, "whole_")):
        np.testing.assert_array_equal(trace.y, last[f"{begins}pattern_lower"].values.ravel())
        np.testing.assert_allclose(
            np.add(trace.y, trace.error_y.array), last[f"{begins}pattern_upper"].values.ravel(), atol=1e-12
        )
    assert trace.text[1] == "seed 1, pattern --"
