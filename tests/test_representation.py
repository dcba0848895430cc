"""Representations: clusters, pictures and densities are what closed forms and slow oracles say."""

import re
import warnings

import numpy as np
import pytest
import torch
import xarray as xr

import circuits
from circuits.analysis import Options, silhouette, weight_density
from circuits.analysis.networks.evaluator import evaluator
from circuits.analysis.networks.layers import Layer, last_layer
from circuits.analysis.representation.clusters import cluster_labels
from circuits.analysis.representation.density import weights_of
from circuits.analysis.representation.embedding import neighbor_embedding, principal_components
from circuits.analysis.representation.measurement import points_of
from circuits.analysis.representation.snapshots import (
    N_PANELS,
    along_the_run,
    panel_checkpoints,
    panels_of_seeds,
    pictured_seed,
)
from circuits.analysis.sidecar import read_sidecar, write_sidecar
from circuits.analysis.store import read_json, to_json
from circuits.cli.main import main
from circuits.constructions import dnf, modular_addition
from circuits.convert import from_construction

NAN = float("nan")


@pytest.fixture(scope="module")
def grokked(grokked_path):
    with circuits.open(grokked_path) as run:
        return circuits.analyze(run, "representation")["representation"]


@pytest.fixture(scope="module")
def modular_path(tmp_path_factory):
    """x + y mod 7 by two hidden layers, a few epochs."""
    path = tmp_path_factory.mktemp("runs") / "modular.h5"
    config = circuits.preset("modular-31").replace(
        name="small", task__p=7, model__widths=(12, 9), epochs=60, seeds=[0, 1], checkpoints__every_epochs=10
    )
    circuits.train(config, path, progress=False).close()
    return path


# ---- silhouette ----


def slow_silhouette(values, labels):
    """Rousseeuw 1987, point by point."""
    scores = []
    for i, point in enumerate(values):
        distances = np.array([np.sqrt(((point - other) ** 2).sum()) for other in values])
        own = labels == labels[i]
        if own.sum() == 1:
            scores.append(0.0)
            continue
        a = distances[own].sum() / (own.sum() - 1)
        b = min(distances[labels == other].mean() for other in set(labels) - {labels[i]})
        scores.append((b - a) / max(a, b))
    return np.mean(scores)


def test_silhouette_is_the_mean_of_its_definition_over_points():
    random = np.random.default_rng(0)
    values, labels = random.normal(size=(40, 3)), random.integers(0, 5, 40)
    labels[0] = 7  # a cluster of one
    assert silhouette(values, labels) == pytest.approx(slow_silhouette(values, labels), abs=1e-12)


def test_labels_that_have_nothing_to_do_with_the_place_have_a_silhouette_near_zero():
    random = np.random.default_rng(1)
    assert abs(silhouette(random.normal(size=(600, 20)), random.integers(0, 4, 600))) < 0.02


@pytest.mark.slow
@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_the_gates_of_a_dnf_separate_the_patterns_of_its_bits_perfectly(k, tmp_path):
    with from_construction(dnf(k), tmp_path / "net.h5", n=12, support=[3 * i % 12 for i in range(k)]) as run:
        found = circuits.analyze(run, "representation")["representation"]
        assert found["silhouette"].values == pytest.approx(1.0, abs=1e-7)
        assert found["label"].size == 2**k
        assert float(found["panel_silhouette"].sel(space="activations")[0]) == pytest.approx(1.0, abs=1e-7)
        assert np.isnan(found["panel_epoch"].values[1:]).all()
        # 2^k equidistant points span 2^k - 1 dimensions evenly, up to how often each pattern was drawn.
        explained = found["pca_explained"].values[0]
        assert (explained[: min(2**k - 1, 10)] > 0.5 / (2**k - 1)).all()
        assert explained[2**k - 1 :] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        (np.ones((5, 2)), [0, 0, 1, 1, 1]),
        (np.array([[0.0], [NAN], [1.0]]), [0, 1, 1]),
        (np.array([[0.0], [np.inf], [1.0]]), [0, 1, 1]),
        (np.array([[0.0], [2.0], [1.0]]), [1, 1, 1]),
        (np.array([[0.0], [2.0], [1.0]]), [0, 1, 2]),
    ],
)
def test_there_is_no_silhouette_without_places_or_clusters(values, labels):
    assert np.isnan(silhouette(values, np.array(labels)))


def test_labels_of_parity_are_the_patterns_of_the_relevant_bits_also_where_targets_are_flipped(tmp_path, make_config):
    config = make_config(task__k=3, task__support=(6, 1, 4), task__flip_fraction=0.3, epochs=0)
    with circuits.train(config, tmp_path / "a.h5", progress=False) as run:
        found = cluster_labels(run, 1)
        inputs = run.data(1)["train_inputs"].values
        bits = run.config.task.relevant_bits
        for row, label in zip(inputs, found.of_example, strict=True):
            assert found.names[label] == "".join("+" if row[bit] > 0 else "-" for bit in bits)


def test_labels_of_modular_arithmetic_are_the_results(tmp_path):
    config = circuits.preset("modular-31").replace(task__p=7, model__widths=(12, 9), epochs=0, seeds=[0, 1])
    with circuits.train(config, tmp_path / "a.h5", progress=False) as run:
        found = cluster_labels(run, 1)
        data = run.data(1)
        assert [int(found.names[label]) for label in found.of_example] == data["train_targets"].values.tolist()


# ---- embeddings ----


@pytest.mark.parametrize(("n_points", "width"), [(30, 5), (6, 20), (50, 1), (3, 2)])
def test_explained_shares_and_coordinates_are_those_of_a_singular_value_decomposition(n_points, width):
    values = np.random.default_rng(2).normal(size=(n_points, width)) * np.arange(1, width + 1)
    found = principal_components(values, 4)
    U, S, _ = np.linalg.svd(values - values.mean(axis=0), full_matrices=False)
    shares = np.pad(S**2 / (S**2).sum(), (0, 10))
    assert found.explained == pytest.approx(shares[:4], abs=1e-10)
    expected = np.pad(U * S, ((0, 0), (0, 2)))[:, :2]
    assert np.abs(found.points) == pytest.approx(np.abs(expected), abs=1e-8)


def test_t_sne_keeps_clusters_and_is_the_same_bits_each_time():
    random = np.random.default_rng(3)
    labels = np.repeat(np.arange(3), 20)
    values = 10 * np.eye(3)[labels] + random.normal(size=(60, 3)) * 0.1
    first, again = neighbor_embedding(values, 5), neighbor_embedding(values, 5)
    assert (first == again).all()
    assert silhouette(first, labels) > 0.7


@pytest.mark.parametrize("values", [np.zeros((9, 4)), np.full((9, 4), NAN), np.zeros((0, 3)), np.eye(3)])
def test_what_cannot_be_placed_is_not(values):
    assert np.isnan(neighbor_embedding(values, 0)).all()


@pytest.mark.parametrize("values", [np.eye(4), np.arange(12.0)[:, None], np.repeat([[0.0, 1.0], [1.0, 0.0]], 20, 0)])
def test_few_points_one_neuron_and_repeated_points_are_placed(values):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = neighbor_embedding(values, 0)
    assert found.shape == (len(values), 2)
    assert np.isfinite(found).all()


# ---- densities ----


def test_a_density_is_the_sum_of_gaussians_written_out_and_integrates_to_one():
    weights = np.random.default_rng(4).normal(size=80) ** 3
    found = weight_density(weights)
    h = weights.std(ddof=1) * len(weights) ** (-1 / 5)
    kernels = np.exp(-((found.places[:, None] - weights) ** 2) / (2 * h**2)) / np.sqrt(2 * np.pi * h**2)
    assert found.density == pytest.approx(kernels.mean(axis=1), rel=1e-9)
    assert found.places[[0, -1]] == pytest.approx([weights.min() - 3 * h, weights.max() + 3 * h])
    assert np.trapezoid(found.density, found.places) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("weights", [[], [1.0], [2.0, 2.0], [1.0, NAN], [1.0, np.inf]])
def test_weights_that_are_equal_or_not_finite_have_no_density(weights):
    assert np.isnan(weight_density(np.array(weights)).density).all()


@pytest.mark.parametrize("preset", ["merrill-2023", "modular-31", "nanda-2023", "ahmed-2024-lstm"])
def test_every_parameter_but_the_biases_is_weights(preset):
    config = next(iter(circuits.preset_configs(preset).values()))
    names = list(config.shapes)
    left = set(names) - set(weights_of(names))
    assert all(re.search(r"(^|\.)(b|b_\w+|bias_\w+)$", name) for name in left), left
    assert weights_of(names)


# ---- which checkpoints ----


def test_five_checkpoints_between_the_phases_and_the_last_are_pictured(grokked_run):
    found = panels_of_seeds(grokked_run, Options())
    when = circuits.analysis.phases(grokked_run)
    for row, seed in zip(found, grokked_run.seeds, strict=True):
        epochs = grokked_run.epochs[row]
        at = when.sel(seed=seed)
        assert epochs[[0, 4, 5]].tolist() == [at["memorization_epoch"], at["generalization_epoch"], 200]
        assert np.abs(np.diff(epochs[:5]) - np.diff(epochs[:5]).mean()).max() <= 2  # a checkpoint every two epochs


@pytest.mark.parametrize(
    ("memorized", "generalized", "last", "expected"),
    [
        (10, 50, 300, [10, 20, 30, 40, 50, 300]),
        (10, 11, 300, [10, 11, 12, 13, 14, 300]),
        (10, NAN, 50, [10, 20, 30, 40, 50, -1]),
        (NAN, NAN, 100, [0, 25, 50, 75, 100, -1]),
        (40, 20, 300, [20, 25, 30, 35, 40, 300]),
        (299, 300, 300, [299, 300, -1, -1, -1, -1]),
        (0, 0, 0, [0, -1, -1, -1, -1, -1]),
    ],
)
def test_short_and_odd_runs_picture_what_they_have(memorized, generalized, last, expected):
    assert panel_checkpoints(float(memorized), float(generalized), last).tolist() == expected


def test_chosen_checkpoints_are_those_measured_and_six_of_them_pictured(grokked_run):
    options = Options(checkpoints="10:60:5")
    found = panels_of_seeds(grokked_run, options)
    assert (found == [10, 20, 30, 35, 45, 55]).all()
    assert along_the_run(grokked_run, options, found).tolist() == list(range(10, 60, 5))


def test_the_seed_of_the_longest_delay_is_pictured(grokked_run, tiny_run):
    delays = circuits.analysis.phases(grokked_run)["grokking_delay"]
    assert pictured_seed(grokked_run, Options()) == grokked_run.seeds[int(delays.values.argmax())]
    assert pictured_seed(tiny_run, Options(generalization_threshold=1.0)) == tiny_run.seeds[0]


# ---- along a run ----


def test_activations_are_those_of_the_formula_and_of_the_models_own_forward_pass(grokked_run, modular_path):
    net = grokked_run.arrays(1, -1)
    points = points_of(grokked_run, 1)
    found = evaluator(grokked_run.config, points.inputs, last_layer(grokked_run.config)).hidden(net)
    assert found == pytest.approx(np.maximum(points.inputs @ net["W"].T + net["b"], 0), abs=1e-5)
    with circuits.open(modular_path) as run:
        net = run.arrays(0, -1)
        inputs = points_of(run, 0).inputs
        first = (inputs @ net["hidden.0.W"].T) ** 2
        layers = run.config.prunable_layers
        for hook, expected in zip(layers, (first, (first @ net["hidden.1.W"].T) ** 2), strict=True):
            assert evaluator(run.config, inputs, Layer(run.config, hook, layers[hook])).hidden(net) == pytest.approx(
                expected, rel=1e-4, abs=1e-5
            )


@pytest.mark.slow
def test_clusters_come_with_generalization(grokked, grokked_run):
    when = circuits.analysis.phases(grokked_run)
    for seed in grokked_run.seeds:
        own = grokked["silhouette"].sel(seed=seed).swap_dims(step="epoch")
        assert float(own.sel(epoch=float(when["memorization_epoch"].sel(seed=seed)))) < 0.1
        assert float(own[-1]) > 0.5
    pictures = grokked["panel_silhouette"]
    assert (pictures[:, -1] > pictures[:, 0] + 0.3).all()
    assert float(pictures.sel(space="tsne")[-1]) > 0.7


@pytest.mark.slow
def test_what_is_pictured_agrees_with_the_curve_and_with_its_own_points(grokked):
    seed = int(grokked["pictured_seed"])
    clusters = grokked["point_label"].values
    for panel in range(N_PANELS):
        step = int(grokked["panel_step"][panel])
        scores = grokked["panel_silhouette"][:, panel]
        assert float(scores.sel(space="activations")) == float(grokked["silhouette"].sel(step=step, seed=seed))
        for space in ("pca", "tsne"):
            points = grokked[space].values[panel].astype(np.float64)
            assert float(scores.sel(space=space)) == pytest.approx(silhouette(points, clusters), abs=1e-4)
        for parameter in ("W", "u"):
            at = grokked.sel(parameter=parameter).isel(panel=panel)
            assert np.trapezoid(at["density"], at["weight"]) == pytest.approx(1, abs=0.02)


@pytest.mark.slow
def test_measured_twice_it_is_the_same(grokked, grokked_run):
    options = Options(checkpoints="-1:")
    found = [circuits.analyze(grokked_run, "representation", options=options)["representation"] for _ in range(2)]
    xr.testing.assert_identical(*found)
    assert (found[0]["tsne"].values[0] == grokked["tsne"].values[-1]).all()


@pytest.mark.slow
def test_any_hidden_layer_of_any_model_can_be_looked_at(modular_path):
    with circuits.open(modular_path) as run:
        found = {
            layer: circuits.analyze(run, "representation", options=Options(layer=layer))["representation"]
            for layer in run.config.prunable_layers
        }
    assert {layer: data.attrs["layer"] for layer, data in found.items()} == {layer: layer for layer in found}
    for data in found.values():
        assert data["parameter"].values.tolist() == ["hidden.0.W", "hidden.1.W", "readout.W"]
        assert data["label"].values.tolist() == list("0123456")
        assert np.isfinite(data["silhouette"].values).all()


@pytest.mark.slow
def test_a_sequence_models_neurons_are_looked_at_at_its_last_position(tmp_path):
    config = next(iter(circuits.preset_configs("nanda-2023").values())).replace(
        task__p=5, model__d_model=8, model__n_heads=2, model__d_head=4, model__d_mlp=10, model__n_layers=2, epochs=0
    )
    with circuits.train(config, tmp_path / "t.h5", progress=False) as run:
        inputs = points_of(run, 0).inputs
        for hook, layer in run.config.prunable_layers.items():
            found = evaluator(run.config, inputs, Layer(run.config, hook, layer)).hidden(run.arrays(0, 0))
            tokens = torch.from_numpy(inputs)
            _, cache = run.hooked_model(0, 0).run_with_cache(tokens)
            expected = cache[hook].detach().numpy()
            expected = expected if expected.ndim == 2 else expected[:, -1]
            expected = expected if expected.ndim == 2 else np.linalg.norm(expected, axis=-1)  # heads are vectors
            assert found == pytest.approx(expected, abs=1e-5)


def test_the_network_that_adds_by_cosines_separates_no_results_by_its_squares(tmp_path):
    with from_construction(modular_addition(11, [1]), tmp_path / "net.h5") as run:
        found = circuits.analyze(run, "representation")["representation"]
        # cos w(x-y) moves a point as far as cos w(x+y) does, so places are no function of x + y
        assert float(found["silhouette"][0, 0]) < 0.3


@pytest.mark.slow
@pytest.mark.filterwarnings("error")
def test_a_diverged_or_a_dead_network_has_no_clusters(tmp_path, make_config):
    for lr in (1e30, 0.1):
        config = make_config(optimizer__lr=lr, model__init_scale=1e-30 if lr < 1 else 1.0, epochs=2, seeds=[0])
        with circuits.train(config, tmp_path / f"{lr}.h5", progress=False) as run:
            found = circuits.analyze(run, "representation")["representation"]
            assert found["tsne"].shape[1:] == (50, 2)
            if lr > 1:
                assert np.isnan(found["silhouette"].values[-1]).all()
                assert np.isnan(found["density"].sel(parameter="W").values[2]).all()


# ---- on disk, on the command line ----


def test_the_sidecar_and_json_hold_all_of_it(grokked, grokked_run, tmp_path):
    path = write_sidecar(grokked_run, {"representation": grokked}, path=tmp_path / "s.nc")
    assert read_sidecar(grokked_run, path=path).results["representation"].equals(grokked)
    assert read_json(to_json(grokked_run, {"representation": grokked}))["representation"].identical(grokked)


@pytest.mark.slow
def test_the_command_shows_silhouettes_of_every_seed_and_every_picture(grokked_path, grokked, tmp_path, capsys):
    words = ["analyze", str(grokked_path), "--representation", "--quiet", "--out", str(tmp_path / "a.nc")]
    assert main([*words, "--checkpoints", "-1:"]) == 0
    out, _ = capsys.readouterr()
    assert "Silhouette of the hidden activations by relevant bits, -1 to 1" in out
    for seed in grokked["seed"].values.tolist():
        (row,) = re.findall(rf"^ {seed} +– +– +([0-9.]+)$", out, re.MULTILINE)
        assert row == f"{float(grokked['silhouette'].sel(seed=seed)[-1]):.3f}"
    assert f"Seed {int(grokked['pictured_seed'])}, pictured: silhouettes by relevant bits" in out


def test_without_scikit_learn_it_is_refused_in_one_line_and_left_out(grokked_path, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("circuits.analysis.representation.embedding.find_spec", lambda name: None)
    out = str(tmp_path / "a.nc")
    assert main(["analyze", str(grokked_path), "--representation", "--quiet", "--out", out]) == 2
    assert capsys.readouterr().err == (
        f"error: {grokked_path}: t-SNE, PCA and silhouettes need scikit-learn. "
        "Install it: pip install 'grokking-circuits[embed]'. Leave --representation out.\n"
    )
    with circuits.open(grokked_path) as run:
        assert "norms" in circuits.analyze(run, "norms")


def test_representation_is_measured_only_when_named(tiny_run):
    from circuits.analysis.measurements import usual

    assert "representation" not in usual(tiny_run.config)


@pytest.mark.parametrize("offset", [0.0, 1e2, 1e4])
def test_a_silhouette_does_not_see_where_the_points_lie_as_a_whole(offset):
    random = np.random.default_rng(0)
    labels = np.repeat([0, 1], 40)
    values = 1e-4 * (labels[:, None] + random.normal(size=(80, 3)))
    assert silhouette(values + offset, labels) == pytest.approx(silhouette(values, labels), abs=1e-4)
