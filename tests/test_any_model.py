"""Neurons of any model are pruned as a tap at their hook point would prune them, for each k in turn."""

from typing import ClassVar, Literal

import numpy as np
import pytest
import torch

import circuits
from circuits.analysis import Options, active_at
from circuits.analysis.networks.evaluator import ForwardPass, LinearReadout
from circuits.analysis.networks.layers import Layer, last_layer, layer_of
from circuits.analysis.networks.masking import Masked
from circuits.analysis.subnetworks.active import as_read, examples_of, network_sparsity
from circuits.analysis.subnetworks.masked_scan import first_fitting, margins, smallest_agreeing_masked
from circuits.analysis.subnetworks.pruning import pruning_order
from circuits.config import Config
from circuits.interfaces import Model, PrunableLayer, untouched
from circuits.models.relu import Relu
from circuits.registry import MEASUREMENTS, MODELS, Entry
from circuits.threads import one_blas_thread, one_torch_thread

TOKENS = {"kind": "modular", "p": 5, "encoding": "tokens", "sequence": "x y =", "train_fraction": 0.6}
SHAPES = {
    "classes": {"kind": "modular", "p": 5, "train_fraction": 0.6},
    "signs": {"kind": "parity", "n": 6, "k": 2, "n_train": 25},
}
CASES = [
    pytest.param(task, {"kind": "mlp", "widths": widths, "activation": activation}, id=f"{name}-{widths}-{activation}")
    for name, task in SHAPES.items()
    for widths in ([10], [8, 9])
    for activation in ("relu", "gelu", "tanh", "square")
] + [
    pytest.param(SHAPES["classes"], {"kind": "mlp", "widths": [10], "biases": False}, id="no-biases"),
    pytest.param(SHAPES["signs"], {"kind": "relu", "width": 12}, id="relu"),
    pytest.param(TOKENS, {"kind": "embedded_mlp", "widths": [10], "d_embed": 4}, id="embedded_mlp"),
    pytest.param(
        TOKENS, {"kind": "embedded_mlp", "widths": [7, 8], "d_embed": 4, "embedding": "per_slot"}, id="embedded_mlp-2"
    ),
    pytest.param(TOKENS, {"kind": "lstm", "hidden": 9, "d_embed": 4}, id="lstm"),
    pytest.param(TOKENS, {"kind": "rnn", "hidden": 9, "d_embed": 4, "n_layers": 2}, id="rnn"),
]  # fmt: skip


@pytest.fixture(autouse=True)
def one_thread():
    with one_blas_thread(), one_torch_thread():
        yield


def config_of(task, model, **changes):
    loss = "mse" if task["kind"] == "parity" else "cross_entropy"
    return Config(
        **{
            "task": task, "model": model, "loss": loss, "optimizer": {"kind": "adamw", "lr": 0.02, "weight_decay": 0.5},
            "batch_size": None, "epochs": 30, "seeds": [0, 3], "checkpoints": {"every_epochs": 10}, "dtype": "float64",
        }
        | changes
    )  # fmt: skip


def oracle(config, hook, net, inputs, targets, norm="incoming", criterion="prediction"):
    """For each k in turn: a tap that multiplies the values by 1 or 0, the whole set, compare. Slow and obvious."""
    model = config.model
    W, b = config.prunable_layers[hook].incoming(net)
    norms = [float((row**2).sum() + (bias**2 if norm == "incoming+bias" else 0)) ** 0.5 for row, bias in zip(W, b)]  # noqa: B905
    order = sorted(range(len(norms)), key=lambda neuron: (-norms[neuron], neuron))
    parameters = {name: torch.from_numpy(np.array(values)) for name, values in net.items()}

    def answers(n_kept):
        kept = torch.zeros(len(norms), dtype=torch.float64)
        kept[order[:n_kept]] = 1.0
        spread = kept[:, None] if config.prunable_layers[hook].axis == -2 else kept  # heads are vectors
        tap = lambda name, value: value * spread if name == hook else value  # noqa: E731
        outputs = model.forward(parameters, torch.from_numpy(inputs), tap).numpy()
        if criterion == "prediction":
            return (np.sign(outputs) if outputs.ndim == 1 else outputs.argmax(axis=1)).tolist()
        if outputs.ndim == 1:
            return int((np.sign(outputs) == targets).sum())
        return sum(row[y] > np.delete(row, y).max() for row, y in zip(outputs, targets, strict=True))

    whole = answers(len(norms))
    return next(n_kept for n_kept in range(len(norms) + 1) if answers(n_kept) == whole)


def networks(config):
    """At the beginning, far from it, and one with small integers, where sums are exact and ties common."""
    signature, random = config.task.signature, np.random.default_rng(5)
    for seed in range(2):
        yield config.model.initial(signature, seed)
        yield {name: 3.0 * random.standard_normal(shape) for name, (_, shape) in config.shapes.items()}
        if getattr(config.model, "activation", "tanh") in ("relu", "square"):
            yield {name: random.integers(-1, 2, shape).astype(float) for name, (_, shape) in config.shapes.items()}


TRANSFORMER = {"kind": "transformer", "n_heads": 2, "d_model": 8, "d_mlp": 10}
CASES += [
    pytest.param(TOKENS, TRANSFORMER | changes, id=f"transformer-{name}")
    for name, changes in {"1": {}, "2": {"n_layers": 2}, "LN": {"normalization": "LN"}}.items()
]


class Stream(Model):
    """Tokens to a stream, to which two layers of neurons add: the last at one position, past which the stream goes."""

    kind: Literal["stream"] = "stream"
    reads: ClassVar[Literal["numbers", "tokens"]] = "tokens"

    def shapes(self, signature):
        n_classes = signature.n_classes
        return {
            "embed": (("token", "stream"), (signature.d_vocab, 6)),
            **{f"in{layer}": (("neuron", "stream"), (11, 6)) for layer in range(2)},
            **{f"out{layer}": (("stream", "neuron"), (6, 11)) for layer in range(2)},
            "unembed": (("class", "stream"), (n_classes, 6)),
        }

    def initial(self, signature, seed):
        random = np.random.default_rng(seed)
        return {name: random.standard_normal(shape) for name, (_, shape) in self.shapes(signature).items()}

    def forward(self, parameters, inputs, tap=untouched):
        stream = parameters["embed"][inputs].cumsum(dim=1)  # (example, position, stream)
        for layer in range(2):
            if layer == 1:
                stream = stream[:, -1:]
            neurons = tap(f"neurons{layer}", (stream @ parameters[f"in{layer}"].mT).relu())
            stream = stream + neurons @ parameters[f"out{layer}"].mT
        return stream[:, -1] @ parameters["unembed"].mT

    def prunable_layers(self, signature):
        incoming = lambda layer: lambda net: (net[f"in{layer}"], np.zeros(11))  # noqa: E731
        linear = lambda net: net["out1"].T @ net["unembed"].T  # noqa: E731
        return {f"neurons{layer}": PrunableLayer(11, incoming(layer), linear if layer else None) for layer in range(2)}


CASES.append(pytest.param(TOKENS, Stream(), id="stream"))


def on(layer, inputs):
    """The evaluator of a layer that does not know the formula."""
    return (LinearReadout if layer.is_linear else ForwardPass)(layer.config, inputs, layer)


@pytest.mark.slow
@pytest.mark.parametrize("criterion", ["prediction", "accuracy"])
@pytest.mark.parametrize(("task", "model"), CASES)
def test_the_smallest_prefix_equals_masking_for_each_k(task, model, criterion):
    config = config_of(task, model)
    data = config.task.train_data(0)
    inputs, targets = as_read(config, data["inputs"]), data["targets"]
    found = []
    for net in networks(config):
        for hook, hidden in config.prunable_layers.items():
            layer = Layer(config, hook, hidden)
            for norm in ("incoming", "incoming+bias"):
                expected = oracle(config, hook, net, inputs, targets, norm, criterion)
                found.append(on(layer, inputs).smallest_prefix(net, targets, norm, criterion))
                assert found[-1] == expected
                order = pruning_order(layer.norms(net, norm))
                assert smallest_agreeing_masked(Masked(layer, net), order, inputs, targets, criterion) == expected
    assert len(set(found)) > 1


@pytest.mark.parametrize(("task", "model"), CASES)
def test_a_layer_that_says_its_readout_is_linear_adds_up_to_the_outputs(task, model):
    config = config_of(task, model)
    inputs = as_read(config, config.task.train_data(0)["inputs"])
    net = config.model.initial(config.task.signature, 1)
    layer = last_layer(config)
    if not layer.is_linear:
        pytest.skip("a network that has no linear readout")
    network = Masked(layer, net)
    activations, rest = network.separated(inputs)
    assert activations.shape == (len(inputs), layer.width)
    assert np.allclose(rest + activations @ layer.readout(net), network.outputs(inputs), atol=1e-12)
    assert (rest == network.outputs(inputs, np.zeros(layer.width, bool))).all()


@pytest.mark.parametrize("widths", [[14], [14, 6], [6, 14]])
def test_permuting_neurons_permutes_who_is_kept(widths):
    config = config_of(SHAPES["classes"], {"kind": "mlp", "widths": widths, "activation": "gelu"})
    place = widths.index(14)
    hook = f"hidden.{place}.hook_post"
    layer = Layer(config, hook, config.prunable_layers[hook])
    data = config.task.train_data(0)
    inputs = as_read(config, data["inputs"])
    after = "readout.W" if place == len(widths) - 1 else f"hidden.{place + 1}.W"
    sizes = set()
    for seed in range(8):
        random = np.random.default_rng(seed)
        net = {name: random.standard_normal(shape) for name, (_, shape) in config.shapes.items()}
        net[f"hidden.{place}.W"] *= np.geomspace(3, 0.001, 14)[:, None]
        kept = pruning_order(layer.norms(net))[: on(layer, inputs).smallest_prefix(net)]
        shuffled = random.permutation(14)
        moved = net | {name: net[name][shuffled] for name in (f"hidden.{place}.W", f"hidden.{place}.b")}
        moved[after] = net[after][:, shuffled]
        n_kept = on(layer, inputs).smallest_prefix(moved)
        assert set(shuffled[pruning_order(layer.norms(moved))[:n_kept]]) == set(kept)
        sizes.add(n_kept)
    assert len(sizes) > 2


def test_neurons_that_nothing_reads_are_not_needed_in_any_layer():
    """One-hot x + 0 mod 5: five neurons copy x, three more of smaller norm are read by nobody."""
    copies = np.concatenate([np.eye(5), np.zeros((5, 5))], axis=1)
    noise = 0.1 * np.random.default_rng(0).standard_normal((3, 10))
    inputs = np.array([[*np.eye(5)[x], *np.eye(5)[0]] for x in range(5)])
    first = {"hidden.0.W": np.concatenate([copies, noise])}
    one = config_of(SHAPES["classes"], {"kind": "mlp", "widths": [8], "biases": False})
    read = np.concatenate([np.eye(5), np.zeros((5, 3))], axis=1)
    net = first | {"readout.W": read}
    # Class 0 needs no neuron: of equal logits the first counts. So the other four do, and they are not the first four.
    assert on(last_layer(one), inputs).smallest_prefix(net) == 5
    two = config_of(SHAPES["classes"], {"kind": "mlp", "widths": [8, 5], "biases": False})
    deep = first | {"hidden.1.W": read, "readout.W": np.eye(5)}
    for hook in two.prunable_layers:
        assert on(Layer(two, hook, two.prunable_layers[hook]), inputs).smallest_prefix(deep) == 5
    reversed_ = deep | {"hidden.1.W": 2 * read[::-1], "readout.W": np.eye(5)[::-1]}
    assert on(last_layer(two), inputs).smallest_prefix(reversed_) == 4  # now the one of class 0 is last


def test_a_small_neuron_that_matters_makes_all_larger_ones_necessary():
    config = config_of(SHAPES["signs"], {"kind": "mlp", "widths": [4, 2], "biases": False, "activation": "relu"})
    W = np.zeros((4, 6))
    W[:, 0] = [4.0, 3.0, 2.0, 1.0]
    second = np.array([[0.0, 0.0, 0.0, 1.0], [0.0, 0.0, 0.0, 0.0]])
    net = {"hidden.0.W": W, "hidden.1.W": second, "readout.W": np.array([1.0, 0.0])}
    inputs = np.array([[1.0, 1, 1, 1, 1, 1]])
    first = Layer(config, "hidden.0.hook_post", config.prunable_layers["hidden.0.hook_post"])
    assert on(first, inputs).smallest_prefix(net) == 4


def test_a_diverged_network_has_no_prefix_but_a_pruned_nan_hurts_nobody():
    config = config_of(SHAPES["classes"], {"kind": "mlp", "widths": [3, 3]})
    net = config.model.initial(config.task.signature, 0)
    net["hidden.0.W"][1] = np.nan
    inputs = as_read(config, config.task.train_data(0)["inputs"])
    for hook, hidden in config.prunable_layers.items():
        assert on(Layer(config, hook, hidden), inputs).smallest_prefix(net) is None
    first = Layer(config, "hidden.0.hook_post", config.prunable_layers["hidden.0.hook_post"])
    assert np.isfinite(Masked(first, net).outputs(inputs, np.array([True, False, True]))).all()


def test_the_first_that_fits_is_found_whatever_the_table():
    random = np.random.default_rng(0)
    for width in (1, 3, 70, 200):
        for n_examples in (1, 31, 33, 700):
            for share in (0.5, 0.97, 0.9999):
                table = random.random((width, n_examples)) < share
                for n_unfit in (0, 2, n_examples // 2):
                    unfit = (~table).sum(axis=1)
                    expected = next((k for k in range(width) if unfit[k] == n_unfit), width)
                    fits = lambda k, some, of=table: of[k][:, some]  # noqa: E731
                    assert first_fitting(fits, width, random.random(n_examples), n_unfit) == expected


def test_margins_are_how_far_another_prediction_is():
    assert margins(np.array([[1.0, 4.0, 3.5], [2.0, 2.0, 0.0]]), True).tolist() == [0.5, 0.0]
    assert margins(np.array([-2.0, 0.0]), False).tolist() == [2.0, 0.0]


@pytest.fixture(scope="module")
def deep_path(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "deep.h5"
    model = {"kind": "mlp", "widths": [12, 10], "activation": "relu"}
    changes = {"dtype": "float32", "metrics": ["effective_sparsity"], "epochs": 60}
    circuits.train(config_of(SHAPES["classes"], model, **changes), path, progress=False).close()
    return path


@pytest.fixture
def deep_run(deep_path):
    with circuits.open(deep_path) as run:
        yield run


@pytest.mark.slow
@pytest.mark.parametrize("agreement_set", ["train", "test", "train+test"])
@pytest.mark.parametrize("layer", ["hidden.0.hook_post", "hidden.1.hook_post"])
def test_every_seed_of_a_run_is_measured_on_its_own_agreement_set(deep_run, layer, agreement_set):
    config = deep_run.config
    options = Options(layer=layer, agreement_set=agreement_set)
    found = circuits.analyze(deep_run, "subnetwork", options=options)["subnetwork"]
    assert found.attrs["layer"] == layer
    for index, seed in enumerate(deep_run.seeds):
        inputs, targets = examples_of(deep_run, index, agreement_set)
        assert len(inputs) == {"train": 15, "test": 10, "train+test": 25}[agreement_set]
        for step in range(deep_run.n_checkpoints):
            net = deep_run.arrays(seed, step)
            parts = {name: values.astype(np.float64) for name, values in net.items()}
            assert found["effective_sparsity"].values[step, index] == oracle(
                config, layer, parts, inputs.astype(np.float64), targets
            )
        assert active_at(deep_run, seed, options=options).tolist() == found["kept"].values[index].tolist()


def test_effective_sparsity_while_training_is_that_of_the_finished_run(deep_run):
    measured = circuits.analysis.effective_sparsity(deep_run)
    assert (deep_run.metrics["effective_sparsity"] == measured).all()
    net = deep_run.arrays(3, -1)
    data = deep_run.data(3)
    train = {"inputs": data["train_inputs"].values, "targets": data["train_targets"].values}
    assert network_sparsity(deep_run.config, net, train) == measured.values[-1, 1]


@pytest.mark.parametrize("layer", ["hidden.0.hook_post", "hidden.1.hook_post"])
def test_faithfulness_is_that_of_masked_networks_on_the_seeds_own_test_set(deep_run, layer):
    options = Options(layer=layer)
    found = circuits.analyze(deep_run, "faithfulness", options=options)["faithfulness"]
    groups = circuits.analysis.neuron_groups(deep_run, options)
    for index, seed in enumerate(deep_run.seeds):
        data = deep_run.data(seed)
        inputs, targets = data["test_inputs"].values.astype(np.float64), data["test_targets"].values
        for step in (0, 3, 6):
            parameters = {name: torch.from_numpy(v.astype(float)) for name, v in deep_run.arrays(seed, step).items()}
            whole = deep_run.config.model.forward(parameters, torch.from_numpy(inputs)).numpy().argmax(axis=1)
            for place, group in enumerate(groups.kept[:, index]):
                if not groups.defined[place, index]:
                    continue
                tap = lambda name, value, kept=group: value * torch.from_numpy(kept) if name == layer else value  # noqa: E731
                alone = deep_run.config.model.forward(parameters, torch.from_numpy(inputs), tap).numpy()
                assert found["agreement"].values[place, step, index] == np.mean(alone.argmax(axis=1) == whole)
                ties = (np.sort(alone, axis=1)[:, -1] == np.sort(alone, axis=1)[:, -2]).any()
                assert ties or found["accuracy"].values[place, step, index] == np.mean(alone.argmax(axis=1) == targets)


def test_norms_are_those_of_the_layers_incoming_weights(deep_run):
    for place, layer in enumerate(deep_run.config.prunable_layers):
        for norm in ("incoming", "incoming+bias"):
            options = Options(layer=layer, norm=norm)
            found = circuits.analyze(deep_run, "norms", options=options)["norms"]["neuron_norm"]
            net = deep_run.arrays(3, 2)
            squares = (net[f"hidden.{place}.W"].astype(float) ** 2).sum(axis=1)
            squares += (net[f"hidden.{place}.b"].astype(float) ** 2) if norm == "incoming+bias" else 0
            assert np.allclose(found.sel(seed=3).values[2], np.sqrt(squares), rtol=1e-6)


def test_the_path_norm_needs_a_linear_readout(deep_run):
    found = circuits.analyze(deep_run, "norms", options=Options(norm="path"))["norms"]["neuron_norm"]
    net = deep_run.arrays(0, 0)
    W, b, U = (net[name].astype(float) for name in ("hidden.1.W", "hidden.1.b", "readout.W"))
    expected = np.sqrt((W**2).sum(axis=1) + b**2) * np.sqrt((U**2).sum(axis=0))
    assert np.allclose(found.sel(seed=0).values[0], expected, rtol=1e-6)
    message = (
        "norm 'path' needs a linear readout; the layer 'hidden.0.hook_post' of its 'mlp' model has none. "
        "Pass norm='incoming', or layer='hidden.1.hook_post'."
    )
    for measurement in ("subnetwork", "norms", "faithfulness"):
        with pytest.raises(circuits.InputError, match=message):
            circuits.analyze(deep_run, measurement, options=Options(norm="path", layer="hidden.0.hook_post"))


def test_the_last_layer_is_the_default_and_an_unknown_one_is_refused_with_those_there_are(deep_run, tiny_run):
    assert layer_of(deep_run).hook == "hidden.1.hook_post"
    message = (
        r"'mlp' model, which has no layer 'hook_post' to prune\. It has: hidden\.0\.hook_post, hidden\.1\.hook_post"
    )
    with pytest.raises(circuits.InputError, match=message):
        circuits.analyze(deep_run, options=Options(layer="hook_post"))
    with pytest.raises(circuits.InputError, match=r"no layer 'mlp' to prune\. It has: hook_post\."):
        circuits.analyze(tiny_run, "constructions", options=Options(layer="mlp"))


def test_what_is_about_the_relu_model_alone_is_refused_for_others(deep_run):
    usual = ["phases", "subnetwork", "norms", "faithfulness", "fourier", "progress"]
    assert set(circuits.analyze(deep_run)) == set(usual)
    for measurement in ("constructions", "certify", "exact"):
        with pytest.raises(circuits.InputError, match=r"the 'mlp' model is not exactly u"):
            circuits.analyze(deep_run, measurement)


def test_the_relu_model_by_forward_pass_has_the_sizes_of_its_formula(tiny_run):
    layer = layer_of(tiny_run)
    sizes = circuits.analysis.effective_sparsity(tiny_run).values
    for index, seed in enumerate(tiny_run.seeds):
        inputs, targets = examples_of(tiny_run, index, "train")
        for step in range(tiny_run.n_checkpoints):
            net = tiny_run.arrays(seed, step)
            assert on(layer, inputs).smallest_prefix(net, targets) == sizes[step, index]
            assert ForwardPass(layer.config, inputs, layer).smallest_prefix(net) == sizes[step, index]


class Renamed(Relu):
    """The relu model, whose parameters go by other names."""

    kind: Literal["renamed"] = "renamed"
    relu_parameters: ClassVar[tuple[str, str, str] | None] = ("into", "bias", "out")

    def shapes(self, signature):
        return dict(zip(self.relu_parameters, super().shapes(signature).values(), strict=True))

    def initial(self, signature, seed):
        drawn = Relu(width=self.width).initial(signature, seed)
        return dict(zip(self.relu_parameters, drawn.values(), strict=True))

    def forward(self, parameters, inputs, tap=untouched):
        short = {name: parameters[long] for name, long in zip("Wbu", self.relu_parameters, strict=True)}
        return super().forward(short, inputs, tap)

    def prunable_layers(self, signature):
        readout = lambda net: net["out"][:, None]  # noqa: E731
        return {"hook_post": PrunableLayer(self.width, lambda net: (net["into"], net["bias"]), readout)}

    def embedding_table(self, parameters):
        return parameters["into"].T

    def unembedding_table(self, parameters):
        return parameters["out"][:, None]


@pytest.mark.slow
def test_the_names_of_the_parameters_change_no_measurement(tmp_path, monkeypatch):
    monkeypatch.setitem(MODELS, "renamed", Entry("The relu model.", f"{__name__}:Renamed"))
    monkeypatch.setitem(globals(), "Renamed", Renamed)
    results = []
    for name, model in (("relu", Relu(width=12)), ("renamed", Renamed(width=12))):
        config = config_of({"kind": "parity", "n": 6, "k": 2, "n_train": 25}, model, seeds=[0])
        with circuits.train(config, tmp_path / f"{name}.h5", progress=False) as run:
            applying = [measured for measured, entry in MEASUREMENTS.items() if not entry.load().applies(config)]
            results.append(circuits.analyze(run, *applying))
    relu, renamed = results
    assert list(relu) == list(renamed)
    for name, dataset in relu.items():
        for variable, values in dataset.items():
            if values.dtype.kind == "f":
                assert np.allclose(values, renamed[name][variable], atol=1e-9, equal_nan=True), (name, variable)
