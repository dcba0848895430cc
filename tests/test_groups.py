import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import circuits
from circuits.analysis import (
    GROUPS,
    Options,
    agreement_and_accuracy,
    effective_sparsity,
    expected_jaccard,
    group_means,
    group_outputs,
    incoming_norms,
    jaccard,
    kept_neurons,
    neuron_groups,
    neuron_norms,
    phases,
)  # fmt: skip
from circuits.analysis.networks.phases import exceeds, first_true
from circuits.analysis.subnetworks.groups import median_place


def test_groups_are_what_the_paper_says(grokked_run):
    groups = neuron_groups(grokked_run)
    generalizing, memorizing, complementary, control = groups.kept
    assert groups.defined.all()
    sizes = effective_sparsity(grokked_run)
    memorized = phases(grokked_run)["memorization_epoch"].values.astype(int) // 2  # a checkpoint every two epochs
    for index, seed in enumerate(grokked_run.seeds):
        assert generalizing[index].sum() == sizes.values[-1, index] == control[index].sum()
        assert memorizing[index].sum() == sizes.values[memorized[index], index]
        assert (complementary[index] == ~generalizing[index]).all()
        last = grokked_run.arrays(seed, -1)
        norms = incoming_norms(last["W"], last["b"], last["u"])
        assert (generalizing[index] == kept_neurons(norms, int(sizes.values[-1, index]))).all()
    assert (control[0] != control[1]).any()


def test_the_same_network_groks_and_ends_sparser_than_it_memorized(grokked_run):
    result = circuits.analyze(grokked_run, "subnetwork")["subnetwork"]
    assert (result["grokking_delay"] > 0).all()
    assert (result["final_sparsity"] < result["memorizing_sparsity"]).all()


def test_groups_of_a_seed_that_never_memorized_are_nan(tiny_run):
    assert np.isnan(phases(tiny_run)["memorization_epoch"]).all()
    results = circuits.analyze(tiny_run)
    assert np.isnan(results["faithfulness"]["agreement"].sel(group="memorizing")).all()
    assert np.isnan(results["norms"]["group_norm"].sel(group="memorizing")).all()
    assert not np.isnan(results["faithfulness"]["agreement"].sel(group="generalizing")).any()
    assert np.isnan(results["subnetwork"]["overlap"]).all()
    assert "seed 1 never memorized, so the memorizing group is NaN." in results["subnetwork"].attrs["warnings"]


def test_final_median_takes_the_checkpoint_of_median_size(grokked_run):
    sizes = effective_sparsity(grokked_run).values[-50:]
    groups = neuron_groups(grokked_run, Options(final="median"))
    for index in range(len(grokked_run.seeds)):
        at = int(groups.checkpoint[index]) - (grokked_run.n_checkpoints - 50)
        assert sizes[at, index] == np.sort(sizes[:, index])[24]
        assert groups.kept[0, index].sum() == sizes[at, index]


def test_the_median_place_is_the_latest_of_equals_and_leaves_out_nan():
    assert median_place(np.array([5.0, 9.0, 5.0, np.nan])) == 2
    assert median_place(np.array([np.nan, np.nan])) == 1


def test_a_late_reading_far_above_the_median_is_warned_of():
    from circuits.analysis.subnetworks.subnetwork import warnings_about

    values = {"final_sparsity": 60.0, "diverged": False, "collapsed": False, "memorization_epoch": 3.0}
    result = xr.Dataset({name: ("seed", [value]) for name, value in values.items()})
    result["late_sparsity"] = (("statistic", "seed"), [[5.0], [6.0], [60.0]])
    result = result.assign_coords(statistic=["min", "median", "max"])
    (said,) = warnings_about((7,), result)
    assert said.startswith("seed 7: the last checkpoint needs 60 neurons, the median of the last 50 is 6")


@given(a=st.lists(st.booleans(), min_size=1, max_size=30), data=st.data())
@settings(max_examples=50)
def test_jaccard_is_shared_over_union(a, data):
    b = data.draw(st.lists(st.booleans(), min_size=len(a), max_size=len(a)))
    first, second = {i for i, x in enumerate(a) if x}, {i for i, x in enumerate(b) if x}
    found = jaccard(np.array(a), np.array(b))
    assert np.isnan(found) if not first | second else found == len(first & second) / len(first | second)


@pytest.mark.parametrize(("first", "second", "width"), [(3, 5, 20), (1, 9, 10), (7, 7, 8), (2, 0, 5)])
def test_expected_jaccard_is_the_mean_over_random_draws(first, second, width):
    random = np.random.default_rng(0)
    draws = []
    for _ in range(4000):
        a, b = np.zeros(width, bool), np.zeros(width, bool)
        a[random.permutation(width)[:first]] = True
        b[random.permutation(width)[:second]] = True
        draws.append(jaccard(a, b))
    error = np.std(draws) / 4000**0.5
    assert abs(np.mean(draws) - expected_jaccard(first, second, width)) <= 4 * error + 1e-12


def test_a_group_of_all_neurons_agrees_everywhere_and_an_empty_one_nowhere():
    random = np.random.default_rng(0)
    W, b, u = random.standard_normal((9, 4)), random.standard_normal(9), random.standard_normal(9)
    inputs = random.choice([-1.0, 1.0], (30, 4))
    outputs = group_outputs(W, b, u, inputs, np.array([[True] * 9, [False] * 9]))
    full = np.maximum(inputs @ W.T + b, 0) @ u
    np.testing.assert_allclose(outputs[0], full, rtol=1e-10)
    agreement, accuracy = agreement_and_accuracy(outputs, full, np.ones(30, int))
    assert agreement.tolist() == [1.0, 0.0]
    assert accuracy[0] == (full > 0).mean()


def test_faithfulness_equals_masking_the_torch_model(grokked_run):
    import torch

    found = circuits.analyze(grokked_run, "faithfulness", options=Options(checkpoints="::40"))["faithfulness"]
    groups = neuron_groups(grokked_run)
    for seed_index, seed in enumerate(grokked_run.seeds):
        inputs = torch.from_numpy(grokked_run.data(seed)["test_inputs"].values).double()
        for place, step in enumerate(found["step"].values):
            model = grokked_run.model(seed, step=int(step)).double()
            full = torch.sign(model(inputs))
            for index, group in enumerate(GROUPS):
                model.load_state_dict(grokked_run.state(seed, step=int(step)))
                with torch.no_grad():
                    model.u[torch.from_numpy(~groups.kept[index, seed_index])] = 0
                share = (torch.sign(model(inputs)) == full).double().mean().item()
                assert found["agreement"].sel(group=group).values[place, seed_index] == share


def test_norms_are_those_of_the_weights_and_group_norms_their_means(grokked_run):
    result = circuits.analyze(grokked_run, "norms")["norms"]
    W = grokked_run.parameters["W"].values.astype(float)
    np.testing.assert_allclose(result["neuron_norm"].values, np.linalg.norm(W, axis=-1), rtol=1e-6)
    generalizing = neuron_groups(grokked_run).kept[0]
    expected = [np.linalg.norm(W[:, s], axis=-1)[:, generalizing[s]].mean(axis=1) for s in range(2)]
    np.testing.assert_allclose(result["group_norm"].sel(group="generalizing").values.T, expected, rtol=1e-6)


def test_the_path_norm_does_not_change_when_a_neuron_is_rescaled():
    random = np.random.default_rng(0)
    W, b, u = random.standard_normal((9, 4)), random.standard_normal(9), random.standard_normal(9)
    scale = random.uniform(0.1, 10, 9)
    np.testing.assert_allclose(
        incoming_norms(W, b, u, "path"), incoming_norms(W * scale[:, None], b * scale, u / scale, "path"), rtol=1e-12
    )


def test_group_means_of_an_empty_group_are_nan():
    assert np.isnan(group_means(np.ones(3), np.zeros((1, 3), bool))).all()


def test_neuron_norms_take_the_norm_asked_for(tiny_run):
    net = tiny_run.arrays(0, -1)
    for norm in ("incoming", "incoming+bias", "path"):
        found = neuron_norms(tiny_run, Options(norm=norm, checkpoints="-1:"))
        np.testing.assert_allclose(found.values[0, 0], incoming_norms(net["W"], net["b"], net["u"], norm), rtol=1e-6)


@pytest.mark.parametrize(
    ("n_right", "n_examples", "threshold", "expected"),
    [(98, 100, 0.98, False), (99, 100, 0.98, True), (980, 1000, 0.98, False), (981, 1000, 0.98, True),
     (29, 100, 0.29, False), (30, 100, 0.29, True), (300, 300, 0.999, True), (299, 300, 0.999, False),
     (0, 7, 0.0, False)],
)  # fmt: skip
def test_thresholds_are_compared_by_counts_not_by_rounded_ratios(n_right, n_examples, threshold, expected):
    assert exceeds(np.array([n_right / n_examples]), n_examples, threshold).tolist() == [expected]


def test_the_first_true_of_a_seed_that_has_none_is_nan():
    found = first_true(np.array([[False, True], [False, False], [False, True]]))
    assert np.isnan(found[0])
    assert found[1] == 0


def test_phases_follow_the_thresholds(grokked_run):
    accuracy = grokked_run.metrics["test_accuracy"].values
    strict = phases(grokked_run, Options(generalization_threshold=0.999))
    for index in range(2):
        assert strict["generalization_epoch"].values[index] == grokked_run.epochs[np.argmax(accuracy[:, index] == 1)]


def test_a_run_without_hidden_layer_has_nothing_to_prune(tmp_path, make_config):
    with circuits.train(make_config().replace(model__kind="linear"), tmp_path / "a.h5", progress=False) as run:
        with pytest.raises(circuits.InputError, match="the 'linear' model has no hidden layer to prune"):
            circuits.analyze(run, "subnetwork")
        assert "progress" in circuits.analyze(run)  # needs none


def test_an_unknown_measurement_is_suggested(tiny_run):
    with pytest.raises(circuits.InputError, match=r"no measurement 'norm'\. Did you mean 'norms'?"):
        circuits.analyze(tiny_run, "norm")


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "lr"), [("float32", 1e30), ("float64", 1e200)])
def test_a_diverged_seed_is_nan_and_said(tmp_path, make_config, dtype, lr):
    config = make_config(optimizer__lr=lr, epochs=3, dtype=dtype)
    with circuits.train(config, tmp_path / "a.h5", progress=False) as run:
        results = circuits.analyze(run)
        assert np.isnan(results["subnetwork"]["final_sparsity"]).all()
        assert np.isnan(results["faithfulness"]["agreement"].isel(step=-1)).all()
        assert any("seed 0 diverged" in line for line in results["subnetwork"].attrs["warnings"])
