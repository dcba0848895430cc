"""Dead networks: outputs that are 0 to within a thousandth of what the loss asks for, wherever they are looked at."""

import json
import shutil

import h5py
import numpy as np
import pytest
from renew import as_version_1, renew_digests

import circuits
from circuits.analysis import Options
from circuits.analysis.networks.evaluator import evaluator
from circuits.analysis.subnetworks.active import as_read
from circuits.cli.main import main
from circuits.collapse import COLLAPSED_SHARE, LARGEST_OUTPUT, is_collapsed, largest_output, loss_range
from circuits.constructions import dnf, verify, verify_run
from circuits.figures.page.summary import cautions, headline
from circuits.figures.walsh.curves import figures
from circuits.presets import preset_configs
from circuits.registry import PRESETS
from circuits.training.start import initial_parameters

SEEDS = [0, 1]


@pytest.fixture(scope="module")
def dead_path(tmp_path_factory):
    """(10,3) parity, 50 neurons, so much weight decay that the weights shrink by a tenth at every update."""
    config = circuits.preset("merrill-2023").replace(
        task__n=10, model__width=50, optimizer__weight_decay=1.0, epochs=60, seeds=SEEDS, checkpoints__every_epochs=2
    )
    path = tmp_path_factory.mktemp("dead") / "dead.h5"
    circuits.train(config, path, progress=False).close()
    return path


@pytest.fixture
def dead(dead_path):
    with circuits.open(dead_path) as run:
        yield run


@pytest.fixture(scope="module")
def dead_logits_path(tmp_path_factory):
    """x + y mod 7 with a weight decay that leaves nothing."""
    config = circuits.preset("modular-31").replace(
        task__p=7, model__widths=[24], optimizer__weight_decay=90.0, epochs=60, seeds=SEEDS
    )
    path = tmp_path_factory.mktemp("dead") / "logits.h5"
    circuits.train(config, path, progress=False).close()
    return path


def test_the_unit_is_what_the_loss_asks_for():
    assert largest_output(np.array([0.2, -0.9]), False) == 0.9
    assert largest_output(np.array([[5.0, 5.0, 5.2], [1.0, 1.1, 1.0]]), True) == pytest.approx(0.2)
    below, above = COLLAPSED_SHARE * (1 - 1e-9), COLLAPSED_SHARE
    assert is_collapsed(np.array([0.0, below, above, np.inf, np.nan])).tolist() == [True, True, False, False, False]
    assert np.isnan(largest_output(np.array([1.0, np.nan]), False))
    assert np.isnan(largest_output(np.array([[np.inf, np.inf]]), True))


@pytest.mark.parametrize("loss", ["hinge", "mse", "cross_entropy"])
@pytest.mark.parametrize("n_classes", [None, 5])
def test_every_collapsed_network_has_a_loss_within_the_range_that_is_searched(loss, n_classes, make_config):
    import torch

    from circuits.training.losses import per_example

    if loss == "hinge" and n_classes is not None:
        assert loss_range("mse", n_classes) is None  # a constant added to the logits changes it
        return
    between = loss_range(loss, n_classes)
    config = make_config() if n_classes is None else circuits.preset("modular-31")
    config = config.model_copy(update={"loss": loss, "loss_dtype": "float64"})
    random = np.random.default_rng(0)
    for _ in range(200):
        outputs = random.uniform(-1, 1, 40 if n_classes is None else (40, n_classes)) * COLLAPSED_SHARE / 2
        outputs = outputs * (2 if n_classes is None else 1)
        targets = random.choice([-1, 1], 40) if n_classes is None else random.integers(0, n_classes, 40)
        assert is_collapsed(largest_output(outputs, n_classes is not None))
        value = float(per_example(torch.from_numpy(outputs), torch.from_numpy(targets), config).mean())
        assert between is None or between[0] <= value <= between[1]


def test_one_number_decides_at_every_checkpoint_of_training_and_analysis(dead):
    collapsed = dead.collapsed.values
    assert not collapsed[0].any()
    assert collapsed[-1].all()
    assert (collapsed == (dead.metrics[LARGEST_OUTPUT].values < COLLAPSED_SHARE)).all()
    for name in ("train_accuracy", "test_accuracy"):
        assert (dead.metrics[name].values[collapsed] == 0).all()
        assert (dead.metrics[name].values[~collapsed] > 0.3).all()
    sizes = circuits.analysis.effective_sparsity(dead).values
    assert (sizes[collapsed] == 0).all()
    assert (sizes[~collapsed] > 0).all()


def test_the_stored_number_is_the_largest_output_of_the_stored_network(dead):
    for checkpoint in (0, 1, 4):
        for index, seed in enumerate(dead.seeds):
            inputs = as_read(dead.config, dead.data(seed)["train_inputs"].values)
            outputs = evaluator(dead.config, inputs).outputs(dead.arrays(seed, checkpoint))
            stored = float(dead.metrics[LARGEST_OUTPUT].values[checkpoint, index])
            assert stored == pytest.approx(np.abs(outputs).max(), rel=1e-4, abs=1e-30)


@pytest.mark.slow
@pytest.mark.parametrize("kernel", ["fused", "reference", "batched"])
def test_every_path_calls_the_same_networks_collapsed(kernel, tmp_path, make_config):
    config = make_config(optimizer__weight_decay=3.0, epochs=8)
    with circuits.train(config, tmp_path / f"{kernel}.h5", kernel=kernel, progress=False) as run:
        assert run.collapsed.values[:, 0].tolist() == [False] * 2 + [True] * 7
        assert (run.metrics["test_accuracy"].values[run.collapsed.values] == 0).all()


@pytest.mark.slow
def test_a_collapsed_network_is_dead_in_every_measurement(dead):
    results = circuits.analyze(
        dead, "subnetwork", "faithfulness", "progress", "constructions", "walsh", options=Options(walsh_samples=64)
    )
    last = {name: result.isel(step=-1) for name, result in results.items() if name != "phases"}
    sizes = last["subnetwork"]
    assert sizes["collapsed"].all()
    for name in ("effective_sparsity", "sparsity_ratio", "final_sparsity"):
        assert (sizes[name] == 0).all(), name
    assert not sizes["kept"].any()
    agreement, accuracy = last["faithfulness"]["agreement"], last["faithfulness"]["accuracy"]
    assert agreement.isnull().all()
    assert (accuracy.sel(group="complementary") == 0).all()
    progress = last["progress"]
    for name in ("train_margin_least", "test_margin_mean", "normalised_margin", "sensitivity", "network_arity"):
        assert progress[name].isnull().all(), name
    assert (last["constructions"]["merged_sparsity"] == 0).all()
    for name in ("margin", "efficiency", "final_margin", "final_efficiency"):
        assert last["constructions"][name].isnull().all(), name
    assert last["walsh"]["share"].isnull().all()
    assert last["walsh"]["sign_parity"].isnull().all()


@pytest.mark.slow
@pytest.mark.parametrize("checkpoints", ["-1:", "-2:"])
def test_a_collapsed_network_is_dead_in_what_is_made_on_request(checkpoints, dead):
    results = circuits.analyze(
        dead, "certify", "exact", "representation", options=Options(checkpoints=checkpoints, time_limit=0.2)
    )
    last = {name: result.isel(step=-1) for name, result in results.items() if name != "phases"}
    assert (last["certify"]["verdict"] == "collapsed").all()
    assert (last["certify"]["whole_verdict"] == "collapsed").all()
    assert last["certify"]["whole_margin_upper"].isnull().all()
    assert (last["exact"]["smallest_size"] == 0).all()
    assert (last["exact"]["prefix_size"] == 0).all()
    assert last["representation"]["silhouette"].isnull().all()


@pytest.mark.slow
def test_logits_without_spread_are_dead_too(dead_logits_path):
    with circuits.open(dead_logits_path) as run:
        assert run.collapsed.values[-1].all()
        assert not run.collapsed.values[0].any()
        assert (run.metrics["train_accuracy"].values[-1] == 0).all()
        found = circuits.analyze(run, "subnetwork", "fourier")
    assert (found["subnetwork"]["final_sparsity"] == 0).all()
    assert not found["fourier"]["key"].any()
    shares = [name for name in found["fourier"] if "logit" in str(name) and "share" in str(name)]
    assert shares
    for name in shares:
        assert found["fourier"][name].isel(step=-1).isnull().all(), name


def test_verify_says_collapsed_and_prints_no_margin(dead, dead_path, capsys):
    found = verify_run(dead)
    assert found.collapsed
    assert not found.computes_parity
    assert main(["verify", str(dead_path), "--certify"]) == 4
    out = capsys.readouterr().out
    assert "has collapsed" in out
    assert "Nothing to certify: the network has collapsed." in out
    assert "argin" not in out
    assert main(["verify", str(dead_path), "--json"]) == 4
    data = json.loads(capsys.readouterr().out)
    assert (data["collapsed"], data["margin"], data["thresholds"]) == (True, None, None)


@pytest.mark.parametrize(("scale", "collapsed"), [(1.0, False), (1e-2, False), (1e-4, True)])
def test_arrays_are_held_against_a_margin_of_one(scale, collapsed):
    net = dnf(3).arrays()
    found = verify({**net, "u": net["u"] * scale})
    assert found.collapsed == collapsed
    assert found.computes_parity == (not collapsed)
    assert ("has collapsed. Its largest output on the 8 patterns is 0.0001" in str(found)) == collapsed


def test_verify_prints_neither_patterns_nor_firing_conditions(dead_path, capsys):
    assert main(["verify", str(dead_path)]) == 4
    out = capsys.readouterr().out
    assert "has collapsed" in out
    assert main(["verify", str(dead_path), "--checkpoint", "0"]) == 4
    alive = capsys.readouterr().out
    for words in ("fires when", "Every pattern", "wrong"):
        assert words in alive
        assert words not in out


def test_a_collapsed_seed_has_collapsed_in_every_sentence(dead, dead_path, tmp_path, capsys):
    results = circuits.analyze(dead, "subnetwork", "constructions", options=Options(checkpoints="-1:"))
    assert results["constructions"]["verdict"].values.tolist() == ["collapsed"] * 2
    warnings = results["constructions"].attrs["warnings"]
    assert warnings[:2] == ["seed 0 collapsed, so there is no circuit.", "seed 1 collapsed, so there is no circuit."]
    phases = circuits.analysis.phases(dead)
    said = headline(dead, phases, results)
    assert "2 of 2 seeds collapsed." in said
    assert "suffice" not in said
    both = "seeds 0, 1 collapsed: all outputs on the training set are within 0.001 of 0, so accuracy counts as 0."
    assert both in cautions(dead, phases, results)
    assert both in cautions(dead, phases, {})
    for keep in ("active", "random"):
        words = ["train", "--from", str(dead_path), "--seed", "1", "--keep", keep, "--out", str(tmp_path / "t.h5")]
        assert main(words) == 2
        assert f"{dead_path}: seed 1 has collapsed: its outputs are all 0" in capsys.readouterr().err
    with pytest.raises(circuits.InputError, match=r"no neuron of seed 1 is kept.* Its network has collapsed"):
        circuits.ticket(dead, tmp_path / "t.h5", np.zeros(50, bool), seed=1, progress=False)


def revived(path, folder, seed):
    """The same run, but the last network of one seed, with its metrics, is that of checkpoint 0."""
    copy = folder / "revived.h5"
    shutil.copy(path, copy)
    with h5py.File(copy, "r+") as file:
        for group in ("parameters", "metrics"):
            for values in file[group].values():
                if values.ndim > 1:
                    values[-1, seed] = values[0, seed]
    renew_digests(copy)
    return copy


@pytest.mark.slow
def test_the_checkpoint_of_the_group_decides_whether_it_has_collapsed(dead_path, tmp_path):
    with circuits.open(revived(dead_path, tmp_path, 1)) as run:
        phases = circuits.analysis.phases(run)
        assert phases["collapsed"].values.tolist() == [True, False]
        last, median = (
            circuits.analyze(
                run, "subnetwork", "constructions", "walsh", options=Options(final=final, walsh_samples=64)
            )
            for final in ("last", "median")
        )
        assert last["constructions"]["verdict"].values[0] == "collapsed"
        assert last["constructions"]["verdict"].values[1] not in ("collapsed", "diverged")
        assert median["constructions"]["verdict"].values.tolist() == ["collapsed"] * 2
        assert "seed 1 collapsed, so there is no circuit." in median["constructions"].attrs["warnings"]
        said = [text for text in median["subnetwork"].attrs["warnings"] if text.startswith("seed 1: the final")]
        assert len(said) == 1
        assert "is that of epoch 58, where the network had collapsed, so it is empty." in said[0]
        for results in (last, median):
            assert not any("the median of the last" in text for text in results["subnetwork"].attrs["warnings"])
        size = int(last["subnetwork"]["final_sparsity"][1])
        assert f"At the end {size} of 50 neurons suffice for the predictions of the other seeds" in headline(
            run, phases, last
        )
        assert "suffice" not in headline(run, phases, median)

        def parity(results):
            return results["walsh"]["group_parity"].isel(seed=1, step=-1)

        assert np.isfinite(parity(last).sel(group=["generalizing", "control"])).all()
        assert np.isnan(parity(last).sel(group="complementary"))  # all 50 are in the generalizing group
        assert np.isnan(parity(median).sel(group=["generalizing", "control"])).all()  # empty groups of a live network
        assert np.isfinite(parity(median).sel(group="complementary"))


@pytest.mark.slow
def test_what_is_held_against_other_weights_is_nan_of_a_collapsed_network(dead):
    found = circuits.analyze(dead, "walsh", options=Options(walsh_samples=64))["walsh"]
    collapsed = dead.collapsed
    for name in ("group_parity", "group_parity_error", "layer_gap", "neuron_gap", "fourier_gap"):
        assert found[name].where(collapsed).isnull().all(), name
    assert np.isfinite(found["layer_gap"].isel(step=0)).all()
    assert np.isfinite(found["group_parity"].isel(step=0).sel(group="complementary")).all()
    assert np.isnan(found["group_parity"].isel(step=0).sel(group="generalizing")).all()  # nobody is in it
    assert figures(dead, found)


@pytest.mark.slow
def test_the_interval_of_certify_has_four_digits_and_one_dash_for_a_collapsed_network(dead_path, tmp_path, capsys):
    path = revived(dead_path, tmp_path, 1)
    assert main(["analyze", str(path), "--certify", "--checkpoints", "-1:", "--out", str(tmp_path / "a.nc")]) == 0
    out = capsys.readouterr().out
    whole = [line.split() for line in out[out.index("Whole network") :].splitlines() if line.startswith((" 0", " 1"))]
    assert whole[0] == ["0", "collapsed", "–", "–", "–", "–"]
    low, high = whole[1][-1].split("–")
    assert low < whole[1][-2] < high
    assert "––" not in out


def test_a_collapsed_network_has_no_circuit(dead):
    with pytest.raises(circuits.InputError, match="seed 1 has collapsed at this checkpoint"):
        circuits.analysis.circuit_of(dead, 1)


def test_the_merged_size_of_a_collapsed_network_is_zero_like_its_late_sizes(dead):
    found = circuits.analyze(dead, "constructions")["constructions"]
    assert found["merged_size"].values.tolist() == [0, 0]
    assert (found["late_merged"].sel(statistic="max") >= 0).all()
    assert "seed 0 collapsed, so there is no circuit." in found.attrs["warnings"]


def without_largest_output(path, folder):
    """The same run as an earlier version would have stored it: no largest output, accuracies of rounding noise."""
    old = folder / "old.h5"
    shutil.copy(path, old)
    with h5py.File(old, "r+") as file:
        del file[f"metrics/{LARGEST_OUTPUT}"]
        file["metrics/test_accuracy"][-1] = 0.54
    as_version_1(old)
    return old


@pytest.mark.slow
def test_of_an_earlier_run_collapse_is_computed_again_and_said(dead, dead_path, tmp_path, capsys):
    old = without_largest_output(dead_path, tmp_path)
    with circuits.open(old) as run:
        assert (run.collapsed.values == dead.collapsed.values).all()
        assert run.collapsed.attrs["recomputed"] == 1
        assert (run.metrics["test_accuracy"].values[-1] == 0).all()
        assert (run.metrics["test_accuracy"].values[0] == dead.metrics["test_accuracy"].values[0]).all()
    capsys.readouterr()
    remark = "before the present definition of collapse"
    for words in (
        ["show"], ["verify", "--certify"], ["verify", "--json"], ["analyze", "--exact", "--time-limit", "0.2"],
        ["analyze", "--subnetwork", "--final", "median"],
    ):  # fmt: skip
        for path, count in ((old, 1), (dead_path, 0)):
            assert main([words[0], str(path), *words[1:]]) == (4 if words[0] == "verify" else 0)
            assert "".join(capsys.readouterr()).count(remark) == count
    assert main(["report", str(old), "--quiet"]) == 0
    assert old.with_suffix(".html").read_text().count(remark) == 1


def test_of_an_earlier_run_logits_are_computed_again(dead_logits_path, tmp_path):
    old = without_largest_output(dead_logits_path, tmp_path)
    with circuits.open(dead_logits_path) as new, circuits.open(old) as run:
        assert (run.collapsed.values == new.collapsed.values).all()


def test_an_earlier_run_goes_on_without_the_new_metric(tmp_path, make_config, cut_short):
    config = make_config()
    with circuits.train(config, tmp_path / "whole.h5", progress=False) as whole:
        cut_short(config, tmp_path / "cut.h5", 14)
        old = without_largest_output(tmp_path / "cut.h5", tmp_path)
        with circuits.train(None, old, resume=True, progress=False) as run:
            assert LARGEST_OUTPUT not in run.metrics
            assert run.steps.tolist() == whole.steps.tolist()
            assert (run.parameters["W"].values == whole.parameters["W"].values).all()


def test_the_metric_effective_sparsity_is_zero_where_the_network_has_collapsed(tmp_path, make_config):
    config = make_config(optimizer__weight_decay=3.0, epochs=8, metrics=["effective_sparsity"])
    with circuits.train(config, tmp_path / "a.h5", progress=False) as run:
        stored, collapsed = run.metrics["effective_sparsity"].values, run.collapsed.values
        assert collapsed.any()
        assert ((stored == 0) == collapsed).all()
        assert (stored == circuits.analysis.effective_sparsity(run).values).all()


def test_a_network_whose_weights_are_tiny_after_sixty_epochs_has_collapsed(tmp_path):
    config = circuits.preset("fuangkawinsombut-2024").replace(optimizer__weight_decay=1.0, epochs=60, seeds=[0])
    with circuits.train(config, tmp_path / "a.h5", progress=False) as run:
        assert 0 < np.abs(run.arrays()["W"]).max() < 1e-10
        assert circuits.analysis.phases(run)["collapsed"].all()
        assert run.metrics["test_accuracy"].values[-1] == 0
        assert circuits.analysis.effective_sparsity(run).values[-1] == 0


def initial_outputs(config):
    """Largest output at the initialization, per seed, over the first 500 training examples."""
    parameters = initial_parameters(config)
    for index, seed in enumerate(config.seeds):
        inputs = as_read(config, config.task.train_data(seed)["inputs"][:500])
        outputs = evaluator(config, inputs).outputs({name: values[index] for name, values in parameters.items()})
        yield largest_output(outputs, outputs.ndim > 1)


@pytest.mark.parametrize(
    "name",
    ["merrill-2023", pytest.param("fuangkawinsombut-2024-widths", marks=pytest.mark.slow), "modular-31-init-scale"],
)
def test_checkpoint_0_has_not_collapsed(name):
    for config in preset_configs(name).values():
        assert min(initial_outputs(config)) > 20 * COLLAPSED_SHARE


@pytest.mark.slow
@pytest.mark.parametrize("name", PRESETS)
def test_checkpoint_0_of_no_preset_has_collapsed(name):
    seen = set()
    for config in preset_configs(name).values():
        kind = (config.model.model_dump_json(), config.task.signature, config.seeds)
        if kind not in seen:
            seen.add(kind)
            assert not any(is_collapsed(value) for value in initial_outputs(config))
