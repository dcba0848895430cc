"""`analyze --walsh` on runs: every number against brute force over all inputs, every kind of model, figures, files."""

import numpy as np
import pytest
import xarray as xr

import circuits
from circuits.analysis import Options, walsh_coefficients, walsh_spectrum
from circuits.analysis.sidecar import write_sidecar
from circuits.analysis.store import read_json, to_json
from circuits.analysis.subnetworks.groups import GROUPS, neuron_groups
from circuits.analysis.walsh.measurement import few_checkpoints, measure
from circuits.analysis.walsh.population_gradient import fourier_gaps, halfspace_gradient
from circuits.analysis.walsh.transform import membership, subset_name
from circuits.analysis.walsh.weights import PARTS
from circuits.cli.main import main
from circuits.constructions.patterns import patterns
from circuits.figures.walsh.curves import figures

SAMPLED = Options(walsh_exact_bits=0, walsh_samples=4096)


@pytest.fixture(scope="module")
def exact(tiny_path):
    with circuits.open(tiny_path) as run:
        return measure(run, Options())


@pytest.fixture(scope="module")
def sampled(tiny_path):
    with circuits.open(tiny_path) as run:
        return measure(run, SAMPLED)


def outputs(run, seed, checkpoint, x) -> np.ndarray:
    net = run.arrays(seed, checkpoint)
    return np.maximum(x @ net["W"].T.astype(float) + net["b"], 0) @ net["u"]


def all_coefficients(run, seed, checkpoint) -> dict[tuple[int, ...], float]:
    """The slow twin: every subset's character over all inputs."""
    n = run.config.task.n
    x = patterns(n).astype(float)
    values = outputs(run, seed, checkpoint, x)
    subsets = [tuple(np.flatnonzero(row).tolist()) for row in membership(n)]
    return {subset: float(np.mean(values * x[:, list(subset)].prod(axis=1))) for subset in subsets}


@pytest.mark.parametrize(("seed", "checkpoint"), [(0, 0), (2, 4)])
def test_every_coefficient_and_weight_is_that_over_all_inputs(tiny_run, exact, seed, checkpoint):
    truth = all_coefficients(tiny_run, seed, checkpoint)
    at = exact.sel(seed=seed).isel(step=checkpoint)
    for name, value in zip(at["subset"].values.tolist(), at["coefficient"].values, strict=True):
        assert value == pytest.approx(next(v for s, v in truth.items() if subset_name(s) == name), abs=1e-6)
    relevant_bits = set(tiny_run.config.task.relevant_bits)
    parts = dict.fromkeys(PARTS, 0.0)
    for subset, value in truth.items():
        if subset:
            part = "parity" if set(subset) == relevant_bits else "subsets" if set(subset) < relevant_bits else "rest"
            parts[part] += value**2
    assert at["weight"].values == pytest.approx(list(parts.values()), rel=1e-4, abs=1e-9)
    assert float(at["variance"]) == pytest.approx(sum(parts.values()), rel=1e-4)
    assert at["share"].values == pytest.approx(np.array(list(parts.values())) / sum(parts.values()), rel=1e-4, abs=1e-9)
    assert at["coefficient_error"] == 0


@pytest.mark.parametrize(("seed", "checkpoint"), [(0, 0), (2, 4)])
def test_the_largest_others_and_the_degrees_are_those_over_all_inputs(tiny_run, exact, seed, checkpoint):
    relevant_bits = set(tiny_run.config.task.relevant_bits)
    beyond = {s: v for s, v in all_coefficients(tiny_run, seed, checkpoint).items() if not set(s) <= relevant_bits}
    at = exact.sel(seed=seed).isel(frame=checkpoint)  # as many frames as checkpoints
    largest = sorted(beyond, key=lambda subset: -abs(beyond[subset]))[: at.sizes["place"]]
    assert at["other_subset"].values.tolist() == [subset_name(subset) for subset in largest]
    assert at["other_coefficient"].values == pytest.approx([beyond[subset] for subset in largest], abs=1e-6)
    degrees = [sum(v**2 for s, v in beyond.items() if len(s) == d) for d in (1, 2, 3)]
    degrees.append(sum(v**2 for s, v in beyond.items() if len(s) > 3))
    assert at["degree_weight"].values == pytest.approx(degrees, rel=1e-3, abs=1e-8)
    assert at["other_error"] == 0 == at["other_by_chance"]


@pytest.mark.slow
def test_a_sample_agrees_with_all_inputs_within_its_standard_errors(exact, sampled):
    assert (sampled.attrs["exact"], exact.attrs["exact"]) == (0, 1)
    for name in ("weight", "share"):
        distance = np.abs(sampled[name] - exact[name])
        assert bool((distance <= 5 * sampled[f"{name}_error"] + 1e-6).all()), name
    for name in ("share", "sign_share", "sign_parity"):
        inside = (sampled[f"{name}_low"] <= exact[name] + 1e-6) & (exact[name] - 1e-6 <= sampled[f"{name}_high"])
        unknown = sampled[name].isnull() | exact[name].isnull()  # of a prediction that is the same everywhere
        assert float((inside | unknown).mean()) > 0.9, name
        assert not unknown.all()
        assert exact[f"{name}_low"].equals(exact[name]) or name == "share"
    # Six other bits: their signs are summed over, so these are exact although the inputs are a sample.
    assert not sampled["coefficient_error"].any()
    assert float(sampled["neuron_coefficient_error"].max()) == 0
    assert sampled["coefficient"].values == pytest.approx(exact["coefficient"].values, abs=1e-6)
    assert sampled["neuron_coefficient"].values == pytest.approx(
        exact["neuron_coefficient"].values, abs=1e-6, nan_ok=True
    )


def test_the_parity_of_the_prediction_is_its_accuracy_over_all_inputs(tiny_run, exact):
    x = patterns(8).astype(float)
    for seed in (0, 1):
        right = np.mean(np.sign(outputs(tiny_run, seed, -1, x)) == x[:, 0] * x[:, 1])
        assert float(exact["sign_parity"].sel(seed=seed)[-1]) == pytest.approx(2 * right - 1)


def test_neurons_and_groups_are_sums_of_their_contributions(tiny_run, exact):
    groups = neuron_groups(tiny_run)
    x = patterns(8).astype(float)
    net = tiny_run.arrays(1, 3)
    each = net["u"] * np.maximum(x @ net["W"].T.astype(float) + net["b"], 0)  # (input, neuron)
    chi = x[:, 0] * x[:, 1]
    at = exact.sel(seed=1).isel(step=3)
    for rank, neuron in enumerate(at["neuron_index"].values.tolist()):
        if neuron >= 0:
            assert groups.kept[0, 1, neuron]
            assert float(at["neuron_coefficient"][rank, -1]) == pytest.approx((each[:, neuron] * chi).mean(), abs=1e-6)
            gap = fourier_gaps(halfspace_gradient(net["W"][[neuron]], net["b"][[neuron]], (0, 1)), (0, 1))
            assert float(at["neuron_gap"][rank]) == pytest.approx(gap[0])
            moved = np.abs(net["W"][neuron].astype(float) - tiny_run.arrays(1, 0)["W"][neuron]).max()
            assert float(at["neuron_movement"][rank]) == pytest.approx(moved)
    for index, group in enumerate(GROUPS):
        if groups.defined[index, 1]:
            expected = (
                (each[:, groups.kept[index, 1]].sum(axis=1) * chi).mean() if groups.kept[index, 1].any() else np.nan
            )
            assert float(at["group_parity"].sel(group=group)) == pytest.approx(expected, abs=1e-6, nan_ok=True)
    both = exact["group_parity"].sel(group=["generalizing", "complementary"]).sum("group")
    assert both.values == pytest.approx(exact["coefficient"].isel(subset=-1).values, abs=1e-6)


def test_movement_is_from_the_initialization_and_the_gap_statistics_are_of_the_neurons(tiny_run, exact):
    W, W_0 = (tiny_run.arrays(2, checkpoint)["W"].astype(float) for checkpoint in (4, 0))
    moved = np.abs(W - W_0)
    found = exact["movement"].sel(seed=2).isel(step=4)
    assert found.values == pytest.approx([moved.max(), moved[:, :2].max(), moved[:, 2:].max()])
    assert not exact["movement"].isel(step=0).any()
    assert exact["fourier_gap"].sel(statistic="median").values == pytest.approx(
        exact["neuron_gap"].median("rank").values
    )
    assert bool((exact["fourier_gap"].sel(statistic="min") <= exact["fourier_gap"].sel(statistic="max")).all())


@pytest.mark.slow
def test_a_network_that_generalizes_ends_on_the_parity(grokked_run):
    found = measure(grokked_run, Options())
    share = found["share"].sel(part="parity")
    assert bool((share.isel(step=0) < 0.02).all())
    assert bool((share.isel(step=-1) > 0.8).all())
    assert found["share"].sum("part").values == pytest.approx(1.0)
    generalizing = found["group_parity"].sel(group="generalizing").isel(step=-1)
    assert bool((generalizing > 0.5 * found["coefficient"].isel(step=-1, subset=-1)).all())
    movement = found["movement"].isel(step=-1)
    assert bool((movement.sel(moved="relevant") > movement.sel(moved="irrelevant")).all())
    assert bool((found["layer_gap"].isel(step=-1) > 0).all())


@pytest.mark.slow
def test_the_spectrum_of_one_network_is_exact_up_to_the_bits_asked_for(tiny_run, grokked_run):
    found = walsh_spectrum(tiny_run, seed=1, checkpoint=2)
    truth = all_coefficients(tiny_run, 1, 2)
    assert found["subset"].values.tolist() == [subset_name(s) for s in sorted(truth, key=lambda s: (len(s), s))]
    assert found["coefficient"].values == pytest.approx(
        [truth[s] for s in sorted(truth, key=lambda s: (len(s), s))], abs=1e-6
    )
    assert not found["error"].any()
    many = walsh_spectrum(grokked_run)
    assert many.sizes["subset"] == 10_701
    assert many.attrs["exact"] == 0
    assert abs(float(many["coefficient"].sel(subset="{0,1}"))) == float(np.abs(many["coefficient"][1:]).max())
    within, beyond = (float(many["error"].sel(subset=subset)) for subset in ("{0,1}", "{0,7}"))
    assert 0 < within < 1e-4 < beyond  # a bound of the averaging over 38 bits; a standard error


@pytest.mark.slow
def test_the_table_of_the_relevant_bits_is_that_of_the_transform(grokked_run):
    """Coefficients of the network from its values on the patterns, the other bits averaged by a large sample."""
    found = measure(grokked_run, Options(checkpoints="-1:"))
    random = np.random.default_rng(0)
    others = random.choice([-1.0, 1.0], (20_000, 38))
    x = [np.c_[np.tile(row, (len(others), 1)), others] for row in patterns(2).astype(float)]
    means = [outputs(grokked_run, 0, -1, inputs).mean() for inputs in x]
    assert found["coefficient"].sel(seed=0).values[0] == pytest.approx(walsh_coefficients(np.array(means)), abs=0.01)


MODELS = {
    "mlp": {"kind": "mlp", "widths": [12]},
    "deep": {"kind": "mlp", "widths": [9, 8], "activation": "tanh"},
    "linear": {"kind": "linear"},
}


@pytest.fixture(scope="module", params=MODELS)
def other_run(request, tmp_path_factory):
    config = circuits.preset("merrill-2023").model_dump() | {
        "task": {"kind": "parity", "n": 8, "k": 2, "n_train": 60, "n_test": 30}, "model": MODELS[request.param],
        "epochs": 5, "seeds": [0, 1], "batch_size": 8,
    }  # fmt: skip
    path = tmp_path_factory.mktemp("walsh") / f"{request.param}.h5"
    circuits.train(circuits.Config(**config), path, progress=False).close()
    with circuits.open(path) as run:
        yield run


def forward(run, seed, x) -> np.ndarray:
    import torch

    with torch.no_grad():
        return run.model(seed)(torch.from_numpy(x.astype(np.float32))).numpy()


@pytest.mark.slow
def test_other_models_are_enumerated_or_sampled(other_run):
    x = patterns(8)
    values = forward(other_run, 1, x).astype(float)
    truth = [float(np.mean(values * x[:, list(s)].prod(axis=1))) for s in ((), (1,), (0,), (0, 1))]
    exact = measure(other_run, Options()).sel(seed=1).isel(step=-1)
    assert exact["coefficient"].values == pytest.approx(truth, abs=1e-5)
    assert float(exact["variance"]) == pytest.approx(values.var(), rel=1e-3)
    sampled = measure(other_run, SAMPLED).sel(seed=1).isel(step=-1)
    assert float(sampled["coefficient_error"]) > 0
    if "group_parity" in sampled:
        off = np.abs(sampled["group_parity"] - measure(other_run, Options()).sel(seed=1).isel(step=-1)["group_parity"])
        assert bool((off.isnull() | (off <= 5 * sampled["group_parity_error"] + 1e-5)).all())
    assert (np.abs(sampled["coefficient"].values - truth) < 5 * float(sampled["coefficient_error"])).all()


@pytest.mark.slow
def test_other_models_have_what_applies_to_them(other_run):
    found = measure(other_run, Options())
    kind, widths = other_run.config.model.kind, getattr(other_run.config.model, "widths", ())
    assert "layer_gap" not in found
    assert "neuron_gap" not in found
    assert found["movement"].isel(step=-1).all()
    assert ("neuron_coefficient" in found) == ("group_parity" in found) == (kind == "mlp"), widths
    assert len(figures(other_run, found)) >= 4


@pytest.mark.slow
def test_a_hidden_layer_whose_readout_is_not_linear_gives_the_values_of_its_neurons(tmp_path, make_config):
    config = make_config(model={"kind": "mlp", "widths": [6, 5], "activation": "tanh"}, epochs=30, seeds=[0])
    path = tmp_path / "deep.h5"
    circuits.train(config, path, progress=False).close()
    with circuits.open(path) as run:
        found = measure(run, Options(layer="hidden.0.hook_post"))
        assert "group_parity" not in found
        net, x = run.arrays(0, -1), patterns(8).astype(float)
        values = np.tanh(x @ net["hidden.0.W"].T.astype(float) + net["hidden.0.b"])
        at = found.sel(seed=0).isel(step=-1)
        neuron = int(at["neuron_index"][0])
        assert float(at["neuron_coefficient"][0, -1]) == pytest.approx(
            (values[:, neuron] * x[:, 0] * x[:, 1]).mean(), abs=1e-6
        )


def test_a_diverged_network_is_nan_and_a_collapsed_one_has_no_shares(tmp_path, make_config):
    from circuits.analysis.walsh.weights import cube_weights

    broken = cube_weights(np.full((4, 8), np.nan), means=np.full(4, np.nan))
    assert np.isnan(broken.weight).all()
    assert np.isnan(broken.share).all()
    path = tmp_path / "diverges.h5"
    config = make_config(optimizer__lr=1e8, optimizer__weight_decay=0.0, epochs=3, seeds=[0])
    circuits.train(config, path, progress=False).close()
    with circuits.open(path) as run:
        found = measure(run, SAMPLED)
        assert not np.isfinite(found["variance"].isel(step=-1)).all()
        assert np.isfinite(found["variance"].isel(step=0)).all()
        assert len(figures(run, found)) >= 4


def test_every_bit_may_be_relevant(tmp_path, make_config):
    path = tmp_path / "all.h5"
    circuits.train(make_config(task__n=3, task__k=3, seeds=[0]), path, progress=False).close()
    with circuits.open(path) as run:
        found = measure(run, Options())
        assert found["weight"].sel(part="rest").values == pytest.approx(0.0, abs=1e-12)
        assert found.sizes["place"] == 0
        assert figures(run, found)


def test_checkpoints_and_samples_are_options(tiny_run):
    found = measure(tiny_run, Options(checkpoints="1:4:2", walsh_exact_bits=0, walsh_samples=64))
    assert found["step"].values.tolist() == tiny_run.steps[[1, 3]].tolist()
    assert found.attrs["examples"] == 64
    assert found["frame_step"].values.tolist() == found["step"].values.tolist()


def test_few_checkpoints_keep_the_first_and_the_last():
    epochs = np.r_[0.0, np.geomspace(0.01, 500, 90)]
    chosen = few_checkpoints(epochs, 14)
    assert (chosen[0], chosen[-1]) == (0, 90)
    assert len(chosen) <= 14


def test_json_and_sidecar_restore_the_results(tiny_run, exact, tmp_path):
    assert read_json(to_json(tiny_run, {"walsh": exact}))["walsh"].identical(exact)
    path = write_sidecar(tiny_run, {"walsh": exact}, path=tmp_path / "tiny.nc")
    with xr.open_dataset(path, group="walsh", engine="h5netcdf") as stored:
        assert stored.load().equals(exact)


@pytest.mark.slow
def test_the_command_line_prints_the_shares_at_each_phase(grokked_path, tmp_path, capsys):
    assert (
        main(
            [
                "analyze",
                str(grokked_path),
                "--walsh",
                "--checkpoints",
                "-9:",
                "--out",
                str(tmp_path / "out.nc"),
                "--quiet",
            ]
        )
        == 0
    )
    printed = capsys.readouterr().out
    assert "Share of the output's variance on the parity, its subsets, everything else" in printed
    rows = [line.split() for line in printed.splitlines() if line.split()[:1] == ["last"]]
    with circuits.open(grokked_path) as run:
        share = float(measure(run, Options())["share"].sel(part="parity", seed=0)[-1])
    assert rows[0][1:4] == ["0", "200", f"{share:.3g}"]
    assert "(95 % intervals, of 1,024 random inputs)" in printed
    lines = [line.split() for line in printed.splitlines()]
    low, high = lines[lines.index(rows[0]) + 1][0].split("–")
    assert float(low) <= share <= float(high)
    assert float(low) < float(high)


@pytest.mark.slow
def test_the_json_has_neurons_only_when_asked_by_name(tiny_path, tmp_path, capsys):
    words = ["analyze", str(tiny_path), "--json", "--quiet", "--out", str(tmp_path / "out.nc")]
    assert main([*words, "--walsh"]) == 0
    assert "neuron_coefficient" in read_json(capsys.readouterr().out)["walsh"]
    assert main(words) == 0
    assert "neuron_coefficient" not in read_json(capsys.readouterr().out)["walsh"]


def test_more_bits_than_can_be_listed_are_refused_by_name_and_left_out_otherwise(tmp_path, make_config, capsys):
    path = tmp_path / "wide.h5"
    circuits.train(make_config(task__n=14, task__k=11, seeds=[0]), path, progress=False).close()
    assert main(["analyze", str(path), "--walsh", "--quiet"]) == 2
    assert capsys.readouterr().err == (
        f"error: {path}: the task has k = 11 relevant bits, and all 2^k patterns are enumerated, so k may be at most "
        f"10. Leave --walsh out.\n"
    )
    with circuits.open(path) as run:
        assert "walsh" not in circuits.analyze(run)


@pytest.mark.slow
def test_the_slider_of_the_spectrum_keeps_the_seed_and_shows_each_checkpoint(tiny_run, exact):
    figure = figures(tiny_run, exact)[0]
    steps = figure.layout.sliders[0].steps
    assert [step.label for step in steps] == [f"{epoch:.6g}" for epoch in exact["frame_epoch"].values]
    parity = [trace for trace in figure.data if trace.name == "their parity"]
    assert [trace.visible for trace in parity] == [True, False, False]
    deviation = np.sqrt(exact["variance"])
    expected = (exact["coefficient"].isel(subset=-1) / deviation).transpose("step", "seed").values
    for at, step in enumerate(steps):
        heights = [
            step.args[0]["y"][place][0] for place, trace in enumerate(figure.data) if trace.name == "their parity"
        ]
        assert heights == pytest.approx(expected[at], abs=1e-5)
    assert [trace.y[0] for trace in parity] == pytest.approx(expected[-1], abs=1e-5)


def test_curves_of_the_figures_are_the_results(tiny_run, exact):
    drawn = {figure.layout.title.text: figure for figure in figures(tiny_run, exact)}
    shares = drawn["Weight on the parity"]
    rest = next(trace for trace in shares.data if trace.name == "everything else")
    assert rest.y == pytest.approx(
        exact["share"].sel(part="rest").isel(step=slice(1, None)).mean("seed").values, rel=1e-5
    )
    moved = next(trace for trace in drawn["Weight movement"].data if trace.name == "relevant inputs")
    assert moved.y[-1] == pytest.approx(float(exact["movement"].sel(moved="relevant").isel(step=-1).mean()), rel=1e-5)
