"""Merged sparsity and efficiency along runs, and the measurement that brings everything together."""

import itertools

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import circuits
from circuits.analysis import (
    Options,
    active_subnetwork,
    circuit_of,
    efficiency,
    elements_needed,
    gate_history,
    incoming_norms,
    merged_sparsity,
)
from circuits.analysis.parity.efficiency import parity_bits
from circuits.analysis.subnetworks.active import examples_of
from circuits.constructions.building.construction import Construction
from circuits.constructions.building.least_norm import least_cost, min_norm
from circuits.constructions.patterns import parities, patterns
from circuits.constructions.reading.elements import elements


def brute_force(W, b, u, inputs, cosine=0.9, floor=0.02):
    """Link, walk, sort, add up one element after the other, compare signs. Slow and obvious; None where none agrees."""
    rows = np.c_[W, b].astype(float)
    path = incoming_norms(W, b, u, "path")
    left = [j for j in np.argsort(-path, kind="stable") if path[j] > floor * path.max()]
    groups = []
    while left:
        group = [left.pop(0)]
        for j in group:
            near = [
                i for i in left
                if u[i] * u[j] > 0
                and rows[i] @ rows[j] > cosine * np.linalg.norm(rows[i]) * np.linalg.norm(rows[j])
            ]  # fmt: skip
            group += near
            left = [i for i in left if i not in near]
        groups.append(group)
    groups.sort(key=lambda group: -path[group].sum())
    given = np.maximum(W @ inputs.T.astype(W.dtype) + b[:, None], 0).astype(float) * u.astype(float)[:, None]
    wanted = np.sign(given.sum(axis=0))
    for n in range(len(groups) + 1):
        inside = list(itertools.chain(*groups[:n]))
        if (np.sign(given[inside].sum(axis=0)) == wanted).all():
            return n
    return None


@given(
    seed=st.integers(0, 10_000), width=st.integers(1, 25), n_inputs=st.integers(1, 4), floor=st.sampled_from([0.0, 0.3])
)
@settings(max_examples=120)
def test_elements_needed_equals_brute_force_in_any_order_of_neurons(seed, width, n_inputs, floor):
    random = np.random.default_rng(seed)
    W, b, u = (random.standard_normal(shape) for shape in ((width, n_inputs), width, width))
    W[: width // 2], b[: width // 2] = W[0] + 0.1 * W[: width // 2], b[0]
    inputs = random.choice([-1, 1], (12, n_inputs))
    shuffled = random.permutation(width)
    expected = brute_force(W, b, u, inputs, floor=floor)
    assert elements_needed(W, b, u, inputs, floor=floor) == expected
    assert elements_needed(W[shuffled], b[shuffled], u[shuffled], inputs, floor=floor) == expected


def planted(k, n, random, noise=1e-4):
    """An AND gate per pattern of the first k bits, each split over three neurons, among 30 tiny ones.

    No gate can be spared: without it the output on its pattern is 0.
    """
    gates = np.zeros((2**k, n))
    gates[:, :k] = patterns(k)
    W = np.concatenate([gates] * 3 + [noise * random.standard_normal((30, n))])
    b = np.concatenate([np.full(3 * 2**k, 1.0 - k), noise * random.standard_normal(30)])
    u = np.concatenate([parities(k) * share for share in (0.5, 0.3, 0.2)] + [noise * random.standard_normal(30)])
    scale, shuffled = random.uniform(0.5, 1.5, len(u)), random.permutation(len(u))
    return (W * scale[:, None])[shuffled], (b * scale)[shuffled], (u / scale)[shuffled]


@pytest.mark.parametrize("k", [2, 3, 4])
def test_a_planted_circuit_of_split_gates_needs_one_element_per_gate(k):
    random = np.random.default_rng(k)
    W, b, u = planted(k, 12, random)
    inputs = random.choice([-1, 1], (400, 12))
    assert active_subnetwork(W, b, u, inputs).sum() > 2**k
    assert elements_needed(W, b, u, inputs) == 2**k


def test_accuracy_needs_targets_and_counts_right_answers():
    W, b, u = np.array([[1.0], [-1.0], [0.05]]), np.zeros(3), np.array([1.0, -1.0, 1.0])
    inputs = np.array([[1], [-1]])
    with pytest.raises(ValueError, match="pass targets"):
        elements_needed(W, b, u, inputs, criterion="accuracy")
    assert elements_needed(W, b, u, inputs, np.array([1, -1]), criterion="accuracy") == 2
    assert (
        elements_needed(W, b, u, inputs, np.array([-1, 1]), criterion="accuracy") == 0
    )  # no right answer, as the whole


def test_a_network_that_its_elements_do_not_explain_has_no_merged_sparsity():
    """A large neuron that fires on one input; on the other a neuron below the floor decides."""
    W, b, u = np.array([[1.0], [-0.01]]), np.zeros(2), np.array([1.0, -1.0])
    assert elements_needed(W, b, u, np.array([[1], [-1]])) is None
    assert elements_needed(W, b, u, np.array([[1], [-1]]), floor=0.001) == 2
    assert elements_needed(np.array([[np.nan]]), np.zeros(1), np.ones(1), np.array([[1]])) is None


def test_merged_sparsity_of_a_run_equals_brute_force_at_every_checkpoint(tiny_run):
    found = merged_sparsity(tiny_run)
    assert found.dims == ("step", "seed")
    assert (found.attrs["merge_cosine"], found.attrs["merge_floor"]) == (0.9, 0.02)
    for index, seed in enumerate(tiny_run.seeds):
        inputs, _ = examples_of(tiny_run, index, "train")
        for checkpoint in range(tiny_run.n_checkpoints):
            net = tiny_run.arrays(seed, checkpoint)
            expected = brute_force(net["W"], net["b"], net["u"], inputs)
            value = found.values[checkpoint, index]
            assert np.isnan(value) if expected is None else value == expected


def test_efficiency_of_a_run_is_what_enumerating_all_inputs_gives(tiny_run):
    """Eight bits: all 256 inputs."""
    found = efficiency(tiny_run)
    bits = list(tiny_run.config.task.relevant_bits)
    inputs = patterns(8)
    for index, seed in enumerate(tiny_run.seeds):
        for checkpoint in range(tiny_run.n_checkpoints):
            net = {name: values.astype(float) for name, values in tiny_run.arrays(seed, checkpoint).items()}
            outputs = np.maximum(net["W"] @ inputs.T + net["b"][:, None], 0).T @ net["u"]
            means = [outputs[(inputs[:, bits] == z).all(axis=1)].mean() for z in patterns(2)]
            least = (parities(2) * means).min()
            cost = incoming_norms(net["W"], net["b"], net["u"], "path").sum()
            value = found.values[checkpoint, index]
            if least > 0:
                assert value == pytest.approx(least_cost(2) * least / cost)
            else:
                assert np.isnan(value)


# ---- the measurement ----


@pytest.fixture(scope="module")
def grokked(grokked_path):
    with circuits.open(grokked_path) as run:
        return circuits.analyze(run, "constructions")["constructions"]


@pytest.mark.slow
def test_a_grokked_run_has_found_its_bits_and_computes_parity_with_and_gates(grokked):
    assert (grokked["bit_found"].sum("input") == 2).all()
    assert grokked["bit_found"].values[:, :2].all()
    assert not grokked["bits_ambiguous"].any()
    assert (grokked["sign_agrees"].where(grokked["neuron_index"] >= 0, 1) == 1).all()
    assert (grokked["gate_cosine"].where(grokked["neuron_index"] >= 0, 1) > 0.98).all()
    assert all("4 AND gates" in str(verdict) for verdict in grokked["verdict"].values)


@pytest.mark.slow
def test_efficiency_is_a_progress_measure_that_rises_from_none(grokked):
    values = grokked["efficiency"].values
    assert np.isnan(values[0]).all()
    assert ((values > 0) & (values <= 1) | np.isnan(values)).all()
    assert (values[-1] > 0.6).all()
    assert (values[-1] > np.nanmin(values, axis=0)).all()
    assert float(grokked["critical_weight_decay"]) == pytest.approx(1 / (2 * 2**0.5))


@pytest.mark.slow
def test_the_price_at_the_end_is_that_of_the_trajectory(grokked):
    at_end = grokked.isel(step=-1)
    np.testing.assert_allclose(at_end["efficiency"], grokked["final_efficiency"].sel(part="network"))
    np.testing.assert_allclose(at_end["margin"], grokked["pattern_margin"].sel(part="network").min("pattern"))
    assert (grokked["final_resolved"] <= grokked["final_cost_per_margin"] * (1 + 1e-9)).all()


def test_padding_is_told_from_neurons(grokked):
    there = grokked["neuron_index"] >= 0
    assert (grokked["gate"].values[~there.values] == "").all()
    assert np.isnan(grokked["gate_cosine"].values[~there.values]).all()
    assert (there.sum("rank") >= grokked["merged_size"]).all()
    elements_there = (grokked["element_gate"] != "").sum("element")
    assert (elements_there == grokked["merged_size"]).all()


def test_the_circuit_of_one_network_is_that_of_the_measurement(grokked, grokked_run):
    for index, seed in enumerate(grokked_run.seeds):
        one = circuit_of(grokked_run, seed)
        assert one.verdict == str(grokked["verdict"].values[index])
        assert one.gates.names == [name for name in grokked["gate"].values[index] if name]
    early = circuit_of(grokked_run, 0, checkpoint=0)
    assert len(early.gates.t) == 100  # nothing is pruned yet
    assert early.gates.names.count("?") > 30


def test_a_circuit_is_matched_with_the_constructions_given(grokked_run):
    mine = {"dnf": Construction("dnf", min_norm(2).W, (-1,) * 4, min_norm(2).u, "AND gates")}
    one = circuit_of(grokked_run, 0, constructions=mine)
    assert list(one.matches) == ["dnf"]
    assert one.verdict == "4 AND gates; a DNF"


def test_gates_along_a_run_end_as_the_final_gates(grokked, grokked_run):
    history = gate_history(grokked_run, Options(checkpoints="::25"))
    assert history["gate_cosine"].dims == ("step", "seed", "rank")
    assert history["gate_cosine"].shape == (5, 2, grokked.sizes["rank"])
    np.testing.assert_allclose(history["gate_cosine"].values[-1], grokked["gate_cosine"].values)
    assert (history["relevant_share"].values[-1] > history["relevant_share"].values[0])[
        grokked["neuron_index"] >= 0
    ].all()


def test_options_select_checkpoints_and_thresholds(tiny_run):
    everything = circuits.analyze(tiny_run, "constructions")["constructions"]
    some = circuits.analyze(tiny_run, "constructions", options=Options(checkpoints="1::2"))["constructions"]
    xr.testing.assert_identical(some["efficiency"], everything["efficiency"].isel(step=slice(1, None, 2)))
    xr.testing.assert_identical(some["late_merged"], everything["late_merged"])
    coarse = circuits.analyze(tiny_run, "constructions", options=Options(merge_cosine=-0.99, merge_floor=0.0))
    assert (coarse["constructions"]["merged_size"] <= 2).all()
    assert coarse["constructions"].attrs["merge_cosine"] == -0.99


def test_a_run_that_never_grokked_says_that_its_bits_are_ambiguous(tiny_run):
    found = circuits.analyze(tiny_run, "constructions")["constructions"]
    ambiguous = found["bits_ambiguous"].values
    assert ambiguous.any()
    said = found.attrs["warnings"]
    for seed, unclear in zip(tiny_run.seeds, ambiguous, strict=True):
        assert any(line.startswith(f"seed {seed}: the weights do not say") for line in said) == unclear


def test_a_diverged_seed_has_no_circuit(make_config, tmp_path):
    config = make_config(optimizer__lr=1e30, seeds=[0])
    with circuits.train(config, tmp_path / "diverged.h5", progress=False) as run:
        found = circuits.analyze(run, "constructions")["constructions"]
        assert found["verdict"].values.tolist() == ["diverged"]
        assert np.isnan(found["merged_size"]).all()
        assert "seed 0 diverged, so there is no circuit." in found.attrs["warnings"]
        with pytest.raises(circuits.InputError, match="seed 0 has diverged at this checkpoint"):
            circuit_of(run, 0)


def test_another_task_has_no_constructions(tiny_path, monkeypatch):
    with circuits.open(tiny_path) as run:
        run.config.task.__dict__["kind"] = "another"
        monkeypatch.setattr(type(run.config.task), "parity_bits", None)
        assert "constructions" not in circuits.analyze(run, options=Options(checkpoints="-1:"))
        with pytest.raises(circuits.InputError, match=r"the task 'another' is not a parity.*Leave 'constructions' out"):
            circuits.analyze(run, "constructions")
        with pytest.raises(circuits.InputError, match="the task 'another' is not a parity"):
            efficiency(run)


def test_too_many_bits_are_refused(make_config, tmp_path):
    config = make_config(task__n=12, task__k=11, seeds=[0], epochs=1)
    with (
        circuits.train(config, tmp_path / "many.h5", progress=False) as run,
        pytest.raises(circuits.InputError, match="has k = 11 relevant bits, and all 2\\^k patterns"),
    ):
        parity_bits(run)


def test_beyond_six_bits_there_are_gates_but_no_efficiency(make_config, tmp_path):
    config = make_config(task__n=8, task__k=7, seeds=[0], epochs=1)
    with circuits.train(config, tmp_path / "seven.h5", progress=False) as run:
        found = circuits.analyze(run, "constructions")["constructions"]
        assert np.isnan(found["efficiency"]).all()
        assert "The least cost is solved for k up to 6, so for k = 7 there is no efficiency." in found.attrs["warnings"]


def test_a_model_without_hidden_layer_has_no_constructions(make_config, tmp_path):
    with (
        circuits.train(make_config(model__kind="linear"), tmp_path / "linear.h5", progress=False) as run,
        pytest.raises(circuits.InputError, match="the 'linear' model has no hidden layer"),
    ):
        circuits.analyze(run, "constructions")


def test_elements_is_what_elements_needed_counts():
    W, b, u = planted(2, 6, np.random.default_rng(0))
    found = elements(W, b, u)
    inputs = np.random.default_rng(1).choice([-1, 1], (50, 6))
    assert elements_needed(W, b, u, inputs, found=found) == len(found.path_norms) == 4
