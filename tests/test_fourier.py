"""The measurement `fourier` of small runs: its values are those of the pure functions, whatever the model."""

import json

import numpy as np
import pytest
import torch
import xarray as xr
from waves import each, plain_losses, wave_logits

import circuits
from circuits.analysis import (
    cyclic_group,
    excluded_losses,
    frequency_norms,
    gini,
    logit_frequencies,
    neuron_frequencies,
    restricted_losses,
)
from circuits.analysis.fourier.cyclic import is_cyclic
from circuits.analysis.fourier.logit_frequencies import least_key_share
from circuits.analysis.fourier.snapshots import shown_checkpoints, shown_neurons
from circuits.analysis.options import Options
from circuits.analysis.sidecar import write_sidecar
from circuits.analysis.store import to_json
from circuits.cli.main import main
from circuits.config import parse

MODELS = {
    "mlp": {"kind": "mlp", "widths": [24]},
    "deep": {"kind": "mlp", "widths": [12, 10]},
    "embedded_mlp": {"kind": "embedded_mlp", "widths": [14], "d_embed": 6, "embedding": "per_slot"},
    "rnn": {"kind": "rnn", "hidden": 10, "d_embed": 6},
    "transformer": {"kind": "transformer", "n_heads": 2, "d_model": 8, "d_mlp": 12},
    "normalized": {"kind": "transformer", "n_heads": 2, "d_model": 8, "d_mlp": 12, "normalization": "LN"},
}
LAST = {
    "mlp": "hidden.0.hook_post",
    "deep": "hidden.1.hook_post",
    "embedded_mlp": "hidden.0.hook_post",
    "rnn": "hook_dropped",
    "transformer": "blocks.0.mlp.hook_post",
    "normalized": "blocks.0.mlp.hook_post",
}


def config(model="mlp", **changes):
    tokens = {} if model == "mlp" or model == "deep" else {"encoding": "tokens", "sequence": "y x ="}
    return parse(
        {
            "name": model, "task": {"kind": "modular", "p": 11, "train_fraction": 0.7, **tokens},
            "model": MODELS[model], "optimizer": {"kind": "adamw", "lr": 0.02, "weight_decay": 0.1},
            "loss": "cross_entropy", "batch_size": None, "epochs": 40, "seeds": [1, 5],
            "checkpoints": {"every_epochs": 20},
        }
    ).replace(**changes)  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Opens a run of a config, trained once in this module."""
    folder, made = tmp_path_factory.mktemp("runs"), {}

    def open_run(chosen):
        path = folder / f"{len(made)}.h5"
        if (key := chosen.model_dump_json()) not in made:
            made[key] = path
            circuits.train(chosen, path, progress=False).close()
        return circuits.open(made[key])

    return open_run


@pytest.fixture(params=MODELS)
def run(request, trained):
    with trained(config(request.param)) as run:
        yield run


def measured(run, **options):
    return circuits.analyze(run, "fourier", options=Options(**options))["fourier"]


def seen(run, group, seed, checkpoint):
    """Activations (x, y, neuron) of the last layer and logits (tuple, class), through TransformerLens's hooks."""
    inputs = torch.from_numpy(run.config.task.encode(group.tuples))
    inputs = inputs.long() if run.config.model.reads == "tokens" else inputs.float()
    with torch.no_grad():
        logits, cache = run.hooked_model(seed, checkpoint).run_with_cache(inputs)
    neurons = cache[LAST[run.config.name]]
    neurons = neurons if neurons.ndim == 2 else neurons[:, -1]
    return neurons.numpy().reshape(group.order, group.order, -1), logits.numpy()


@pytest.mark.slow
def test_waves_and_losses_are_those_of_the_network_on_all_pairs(run):
    group, found = cyclic_group("x+y", 11), measured(run)
    assert found.sizes["step"] == 3
    for seed, checkpoint in ((1, 0), (5, 2)):
        at = found.sel(seed=seed).isel(step=checkpoint)
        neurons, logits = seen(run, group, seed, checkpoint)
        by_sum = logits[group.by_sum]
        waves = logit_frequencies(by_sum, group.classes)
        np.testing.assert_allclose(at["logit_cos"], waves.cosine, atol=1e-5)
        np.testing.assert_allclose(at["logit_sin"], waves.sine, atol=1e-5)
        np.testing.assert_allclose(at["logit_share"], waves.share, atol=1e-5)
        full = plain_losses(logits.astype(float), group.sums)
        everyone = at.sel(set="all")
        assert float(everyone["loss"]) == pytest.approx(full.mean(), rel=1e-5)
        excluded = excluded_losses(by_sum, group.classes, each(11)).mean(axis=(0, 1))
        np.testing.assert_allclose(everyone["excluded_loss_of"], excluded, rtol=1e-5)
        restricted = restricted_losses(by_sum, group.classes, each(11)).mean(axis=0)
        np.testing.assert_allclose(everyone["restricted_loss_of"], restricted, rtol=1e-5)
        waves = neuron_frequencies(neurons.astype(float))
        several = (neurons != 0).sum(axis=(0, 1)) > 1  # one that fires for a single pair has all frequencies alike
        np.testing.assert_array_equal(at["neuron_frequency"][several], waves.frequency[several])
        np.testing.assert_allclose(at["neuron_linear_share"], waves.linear_share, atol=1e-4)
        np.testing.assert_allclose(at["neuron_share"], waves.linear_share + waves.product_share, atol=1e-4)
        mostly = waves.frequency[waves.linear_share + waves.product_share > 0.5]
        np.testing.assert_array_equal(at["cluster_size"], np.bincount(mostly, minlength=6)[1:])


@pytest.mark.slow
def test_its_losses_on_train_and_test_set_are_those_measured_while_training(run):
    found = measured(run)
    for which in ("train", "test"):
        np.testing.assert_allclose(found["loss"].sel(set=which), run.metrics[f"{which}_loss"], rtol=1e-4)
    sizes = run.config.task.train_size, run.config.task.test_size
    for name in ("loss", "restricted_loss", "excluded_loss", "restricted_loss_of", "excluded_loss_of"):
        train, test = (found[name].sel(set=which) for which in ("train", "test"))
        both = (sizes[0] * train + sizes[1] * test) / sum(sizes)
        np.testing.assert_allclose(found[name].sel(set="all"), both, rtol=1e-9)
    norms = (run.parameters**2).map(
        lambda values: values.sum([dim for dim in values.dims if dim not in ("step", "seed")])
    )
    np.testing.assert_allclose(found["sum_of_squared_weights"], norms.to_dataarray().sum("variable"), rtol=1e-5)


def test_a_network_at_its_initialization_has_no_key_frequency(run):
    assert float(measured(run)["logit_share"].isel(step=0).max()) < least_key_share(11) / 3


def test_key_frequencies_are_of_the_last_checkpoint_whichever_are_measured(trained):
    with trained(config()) as run:
        last = measured(run, checkpoints="-1:")["logit_share"].isel(step=0)
        least = float(last.sel(seed=1).max())  # so that seed 1 has one
        everything, first = measured(run, key_share=least), measured(run, checkpoints="0:1", key_share=least)
    for found in (everything, first):
        np.testing.assert_array_equal(found["key"], last >= least)
        rule = f"cos of the frequency in x + y - c has at least {least:.3g} of the sum of squares of the logits"
        assert found.attrs["key_rule"] == f"{rule}, class biases included, at the last checkpoint, step 40"
    xr.testing.assert_allclose(everything["restricted_loss"].isel(step=[0]), first["restricted_loss"])
    xr.testing.assert_allclose(everything["shown_logits"], first["shown_logits"])
    alone = everything["key"].sum("frequency") == 1
    assert alone.sel(seed=1)
    shares = everything["logit_share"].where(everything["key"], 0).sum("frequency")
    np.testing.assert_allclose(everything["key_logit_share"], shares)
    for name in ("restricted_loss", "excluded_loss"):
        of_one = everything[f"{name}_of"].where(everything["key"], 0).sum("frequency")
        np.testing.assert_allclose(*(values.where(alone, drop=True) for values in (everything[name], of_one)))


def test_a_seed_without_key_frequencies_is_warned_about(trained):
    with trained(config()) as run:
        found = measured(run, key_share=1.0)
    assert not found["key"].any()
    assert found.attrs["warnings"][0].startswith(
        "seed 1 has no key frequency: no cosine has 1 of its logits' sum of squares at the last checkpoint."
    )
    np.testing.assert_allclose(found["excluded_loss"], found["loss"])


def test_one_hot_inputs_have_an_embedding_per_operand_and_the_readout_is_the_neuron_to_logit_map(trained):
    with trained(config()) as run:
        found, net = measured(run).sel(seed=5).isel(step=-1), run.arrays(5)
    W, U = net["hidden.0.W"].astype(float), net["readout.W"].astype(float)
    assert found["embedding"].values.tolist() == ["x", "y"]
    np.testing.assert_allclose(found["embedding_norm"], [frequency_norms(W[:, :11].T), frequency_norms(W[:, 11:].T)])
    np.testing.assert_allclose(found["unembedding_norm"], frequency_norms(U))
    strongest = [[int(frequency_norms(row[:, None]).argmax()) for row in of] for of in (W[:, :11], W[:, 11:])]
    assert float(found["same_frequency"]) == np.mean([x == y for x, y in zip(*strongest, strict=True)])
    np.testing.assert_allclose(found["neuron_logit_norm"], frequency_norms(U), rtol=1e-6)
    assert float(found["unembedding_gini"]) == pytest.approx(gini(frequency_norms(U)))
    assert float(found["embedding_gini"].sel(embedding="y")) == pytest.approx(gini(frequency_norms(W[:, 11:].T)))


def test_tokens_have_one_embedding_and_the_neurons_read_out_through_the_unembedding(trained):
    with trained(config("transformer")) as run:
        found, net = measured(run).sel(seed=5).isel(step=-1), run.arrays(5)
    W_U = net["unembed.W_U"].astype(float)
    assert found["embedding"].values.tolist() == ["tokens"]
    np.testing.assert_allclose(found["embedding_norm"][0], frequency_norms(net["embed.W_E"][:11].astype(float)))
    np.testing.assert_allclose(found["unembedding_norm"], frequency_norms(W_U.T))
    W_L = net["blocks.0.mlp.W_out"].astype(float) @ W_U
    np.testing.assert_allclose(found["neuron_logit_norm"], frequency_norms(W_L.T), rtol=1e-5)


def test_tables_of_positions_are_told_by_their_operands(trained):
    with trained(config("embedded_mlp")) as run:  # the sequence is "y x ="
        found, net = measured(run).sel(seed=1).isel(step=-1), run.arrays(1)
    for operand, position in (("x", 1), ("y", 0)):
        expected = frequency_norms(net["embed"][position, :11].astype(float))
        np.testing.assert_allclose(found["embedding_norm"].sel(embedding=operand), expected)


def test_what_is_not_linear_in_the_neurons_has_no_map_to_the_logits(trained):
    missing = {"neuron_logit_norm", "neuron_logit_gini", "neuron_output_phase", "phase_residual", "phase_agreement"}
    with trained(config("normalized")) as run:
        found = measured(run)
    assert not missing & set(found.data_vars)
    assert {"unembedding_norm", "neuron_phase"} <= set(found.data_vars)
    with trained(config("deep")) as run:
        whole, early = measured(run), measured(run, layer="hidden.0.hook_post")
    assert missing <= set(whole.data_vars)
    assert set(whole.data_vars) - set(early.data_vars) == missing
    assert (whole.sizes["neuron"], early.sizes["neuron"]) == (10, 12)
    assert early.attrs["layer"] == "hidden.0.hook_post"


def test_without_hidden_layers_the_logits_are_still_analyzed(trained, monkeypatch):
    with trained(config("rnn")) as run:
        whole = measured(run)
        monkeypatch.setattr(type(run.config.model), "prunable_layers", lambda self, signature: {})
        found = measured(run)
    assert not [name for name in found.variables if "neuron" in str(name)]
    xr.testing.assert_allclose(found["excluded_loss_of"], whole["excluded_loss_of"])
    xr.testing.assert_allclose(found["shown_logits"], whole["shown_logits"])


@pytest.mark.slow
@pytest.mark.parametrize("operation", ["x-y", "x*y", "x/y"])
def test_other_operations_are_reindexed(operation, trained):
    with trained(config(task__operation=operation)) as run:
        found, group = measured(run), cyclic_group(operation, 11)
        data = run.data(1)
        assert found.sizes["frequency"] == group.order // 2
        net = run.arrays(1)
        _, logits = seen(run, group, 1, -1)
    at = found.sel(seed=1).isel(step=-1)
    losses = plain_losses(logits.astype(float), group.classes[group.sums])
    of = {tuple(row): loss for row, loss in zip(group.tuples.tolist(), losses, strict=True)}
    for which in ("train", "test"):
        rows = run.config.task.decode(data[f"{which}_inputs"].values).tolist()
        expected = np.mean([of[tuple(row)] for row in rows if tuple(row) in of])
        assert float(at["loss"].sel(set=which)) == pytest.approx(expected, rel=1e-5)
    assert float(at["loss"].sel(set="all")) == pytest.approx(losses.mean(), rel=1e-5)
    tables = [net["hidden.0.W"][:, 11 * slot + residues].T for slot, residues in enumerate(group.residues)]
    np.testing.assert_allclose(at["embedding_norm"], [frequency_norms(table.astype(float)) for table in tables])
    np.testing.assert_array_equal(found["y"], group.residues[1])
    assert ("operands and results 0 are left out" in found.attrs["sets"]) == (operation in ("x*y", "x/y"))


@pytest.mark.slow
def test_three_summands_are_analyzed_but_not_shown(trained):
    with trained(config(task__n_summands=3, task__p=5)) as run:
        found, group = measured(run), cyclic_group("x+y", 5, 3)
        inputs = torch.from_numpy(run.config.task.encode(group.tuples)).float()
        with torch.no_grad():
            logits, cache = run.hooked_model(5).run_with_cache(inputs)
    at = found.sel(seed=5).isel(step=-1)
    np.testing.assert_allclose(
        at["logit_cos"], logit_frequencies(logits.numpy()[group.by_sum], np.arange(5)).cosine, atol=1e-5
    )
    neurons = neuron_frequencies(cache["hidden.0.hook_post"].numpy().astype(float).reshape(5, 5, 5, -1))
    np.testing.assert_array_equal(at["neuron_frequency"], neurons.frequency)
    np.testing.assert_allclose(at["neuron_product_share"], neurons.product_share, atol=1e-4)
    assert found["operand"].values.tolist() == ["x", "y", "z"]
    assert not [name for name in found.data_vars if str(name).startswith("shown")]


def test_a_network_that_adds_by_cosines_is_read_off_its_run(tmp_path, monkeypatch):
    """As if the model computed Σ_k cos(2πk(x + y - c)/p)."""
    chosen = config(epochs=1, checkpoints={"every_epochs": 1})
    group = cyclic_group("x+y", 11)
    table = torch.from_numpy(wave_logits(group, {2: 9.0, 5: 6.0})).reshape(11, 11, 11)
    circuits.train(chosen, tmp_path / "run.h5", progress=False).close()

    def forward(self, parameters, inputs, tap):
        pairs = chosen.task.decode(inputs.numpy().astype(np.int8))
        tap("hidden.0.hook_post", torch.zeros(len(inputs), 24))
        return table[pairs[:, 0], pairs[:, 1]]

    monkeypatch.setattr(type(chosen.model), "forward", forward)
    with circuits.open(tmp_path / "run.h5") as run:
        found = measured(run)
    assert (1 + np.flatnonzero(found["key"].sel(seed=1))).tolist() == [2, 5]
    np.testing.assert_allclose(found["excluded_loss"], np.log(11))
    np.testing.assert_allclose(found["restricted_loss"], found["loss"], rtol=1e-9)
    np.testing.assert_allclose(found["key_logit_share"], 1)
    assert (found["neuron_frequency"] == 0).all()


@pytest.mark.parametrize("value", [0.0, float("nan"), float("inf"), 1e30])
def test_a_network_that_collapsed_or_diverged_is_measured_as_it_is(value, trained, monkeypatch):
    with trained(config()) as run:

        def forward(self, parameters, inputs, tap):
            tap("hidden.0.hook_post", torch.full((len(inputs), 24), value))
            return torch.full((len(inputs), 11), value)

        monkeypatch.setattr(type(run.config.model), "forward", forward)
        found = measured(run)
    assert not found["key"].any()
    assert (found["neuron_frequency"] == 0).all()
    assert found["phase_agreement"].isnull().all()
    expected = np.log(11) if np.isfinite(value) else np.nan
    np.testing.assert_allclose(found["loss"], np.full(found["loss"].shape, expected))
    np.testing.assert_allclose(found["excluded_loss_of"], np.full(found["excluded_loss_of"].shape, expected))


def test_shown_neurons_and_logits_are_those_of_their_checkpoints(trained):
    group = cyclic_group("x+y", 11)
    with trained(config()) as run:
        found = measured(run)
        assert found["shown"].values.tolist() == run.steps[shown_checkpoints(run, Options())].tolist()
        assert {0, 40} <= set(found["shown"].values.tolist())
        neurons, logits = seen(run, group, 5, -1)
    at = found.sel(seed=5, shown=40)
    picked = at["shown_neuron_index"].values
    np.testing.assert_allclose(at["shown_activation"], np.moveaxis(neurons[:, :, picked], 2, 0), atol=1e-6)
    np.testing.assert_array_equal(at["shown_neuron_frequency"], at["neuron_frequency"].isel(step=-1).values[picked])
    centered = logits - logits.mean(axis=1, keepdims=True)
    assert float((at["shown_logits"] ** 2).sum()) == pytest.approx((centered**2).sum(), rel=1e-4)


def test_shown_neurons_take_turns_over_the_key_frequencies():
    frequency, share = np.array([4, 4, 4, 1, 0, 2]), np.array([0.9, 0.8, 0.7, 0.1, np.nan, 0.95])
    key = np.array([True, False, False, True])
    assert shown_neurons(frequency, share, key, 6).tolist() == [0, 3, 1, 2, 5, 4]


@pytest.mark.slow
def test_the_result_survives_json_and_the_sidecar(run, tmp_path):
    found = measured(run)
    restored = circuits.read_json(to_json(run, {"fourier": found}))["fourier"]
    assert restored.identical(found)
    path = write_sidecar(run, {"fourier": found}, path=tmp_path / "kept.nc")
    with xr.open_datatree(path, engine="h5netcdf") as kept:
        assert kept["fourier"].to_dataset().load().equals(found)


@pytest.mark.slow
def test_the_command_line_lists_the_strongest_key_frequencies(trained, tmp_path, capsys):
    with trained(config()) as run:
        found = measured(run, key_share=0.002)
        words = ["analyze", str(run.path), "--fourier", "--key-share", "0.002", "--quiet"]
        words += ["--out", str(tmp_path / "kept.nc")]
        assert main(words) == 0
        told = capsys.readouterr().out
        assert main([*words, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["fourier"]["attrs"]["group"] == "Z_11"
    assert "Fourier analysis of x+y on Z_11, at epoch 40" in told
    at = found.sel(seed=1).isel(step=-1)
    strongest = [k for k in (1 + np.argsort(-at["logit_share"].values)).tolist() if bool(at["key"].sel(frequency=k))]
    assert len(strongest) > 1
    assert f" {' '.join(map(str, strongest))} " in told


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (
            {"task__operation": "x^2+y^2"},
            r"'x\^2\+y\^2' is not a sum on a cyclic group, unlike x\+y, x-y, x\*y, x/y. Leave 'fourier' out.",
        ),
        (
            {"task__operation": "x*y", "task__p": 9},
            r"p = 9 is not a prime, so the residues other than 0 are not a group under 'x\*y'. Leave 'fourier' out.",
        ),
        (
            {"task__operation": "x*y", "task__p": 2},
            "there is only one residue mod 2 other than 0, so 'x.y' has no frequency",
        ),
        (
            {"task__p": 51, "task__n_summands": 4, "task__max_examples": 1000},
            r"51\^4 tuples times 51 neurons or classes are more than the 16,000,000 numbers that fourier holds in",
        ),
    ],
)
def test_a_run_of_which_it_cannot_be_made_says_why(changes, text, tmp_path):
    chosen = config(**changes, epochs=1)
    with circuits.train(chosen, tmp_path / "run.h5", progress=False) as run:
        with pytest.raises(circuits.InputError, match=text):
            measured(run)
        assert "fourier" not in circuits.analyze(run)


@pytest.mark.parametrize("changes", [{"task__p": 31, "task__n_summands": 3}, {"task__p": 97}, {"task__p": 113}])
def test_tables_of_the_papers_fit(changes):
    assert is_cyclic(config(model__widths=[512], **changes)) is None
