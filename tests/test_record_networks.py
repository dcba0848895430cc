"""Networks of others, recorded in their loops, are measured like the package's: MLP, CNN, TransformerLens, tutorial."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import circuits

sklearn_datasets = pytest.importorskip(
    "sklearn.datasets", reason="scikit-learn ships the digits; `make install` has it"
)
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def digits():
    data = sklearn_datasets.load_digits()
    x, y = torch.tensor(data.data / 16, dtype=torch.float32), torch.tensor(data.target)
    return {"train": (x[:600], y[:600]), "test": (x[600:1000], y[600:1000])}


def fit(model, data, path, n_steps=60, **options):
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    x, y = data["train"]
    with circuits.record(path, model, optimizer=optimizer, data=data, every_steps=20, **options) as rec:
        for step in range(n_steps):
            batch = torch.randint(len(x), (100,), generator=torch.Generator().manual_seed(step))
            loss = F.cross_entropy(model(x[batch]), y[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            rec.step()
    return circuits.open(path, model=model)


def agreement_of(run, model, layer, hide):
    """For the smallest size found, whether that many units of largest norm predict like the module, and one fewer not.

    `hide(kept)` is a context in which only the kept units have values.
    """
    found = circuits.analyze(run, "subnetwork", "norms", options={"layer": layer})
    size = int(found["subnetwork"]["effective_sparsity"].isel(step=-1, seed=0))
    order = np.argsort(-found["norms"]["neuron_norm"].isel(step=-1, seed=0).values, kind="stable")
    inputs = torch.from_numpy(run.data()["train_inputs"].values).float()
    shape = run.config.task.input_shape
    inputs = inputs if shape is None else inputs.reshape(-1, *shape)
    model.eval()
    answers = []
    with torch.no_grad():
        whole = model(inputs).argmax(1)
        for n_kept in (size, size - 1):
            kept = torch.zeros(len(order))
            kept[order[:n_kept].copy()] = 1
            with hide(kept):
                answers.append(bool((model(inputs).argmax(1) == whole).all()))
    return answers


class Hiding:
    """Multiplies the output of a submodule by a mask of its channels or units."""

    def __init__(self, part, axis, kept):
        self.part, self.axis, self.kept = part, axis, kept

    def __enter__(self):
        def masked(module, arguments, output):
            shape = [1] * output.ndim
            shape[self.axis] = -1
            return output * self.kept.reshape(shape)

        self.handle = self.part.register_forward_hook(masked)

    def __exit__(self, *_):
        self.handle.remove()


def test_two_layers_on_digits(tmp_path, digits):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 40), nn.ReLU(), nn.Linear(40, 30), nn.Tanh(), nn.Linear(30, 10))
    with fit(model, digits, tmp_path / "a.h5") as run:
        assert list(run.config.prunable_layers) == ["0", "2"]
        assert [part.readout is not None for part in run.config.prunable_layers.values()] == [False, True]
        for layer, place in (("0", 1), ("2", 3)):
            assert agreement_of(run, model, layer, lambda kept, at=place: Hiding(model[at], -1, kept)) == [True, False]
        found = circuits.analyze(run)
        assert {"subnetwork", "norms", "faithfulness", "progress"} <= set(found)
        spectral = found["progress"]["spectral_norm"].isel(step=-1, seed=0).sel(matrix="2.weight")
        assert float(spectral) == pytest.approx(
            torch.linalg.matrix_norm(model[2].weight.detach().double(), 2).item(), rel=1e-5
        )
        assert "representation" in circuits.analyze(run, "representation", options={"checkpoints": "-1:"})
        assert circuits.analysis.ablate(run, {"three": [0, 1, 2]}, "-1:")["accuracy"].size == 1
        assert circuits.report(run, tmp_path / "a.html").exists()


class Convolutions(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 6, 3, padding=1), nn.Conv2d(6, 8, 3, padding=1)
        self.act, self.out = nn.ReLU(), nn.Linear(8 * 4 * 4, 10)

    def forward(self, x):
        x = F.max_pool2d(self.act(self.first(x)), 2)
        return self.out(F.relu(self.second(x)).flatten(1))


def test_channels_of_a_small_cnn(tmp_path, digits):
    torch.manual_seed(0)
    images = {name: (x.reshape(-1, 1, 8, 8), y) for name, (x, y) in digits.items()}
    model = Convolutions()
    with fit(model, images, tmp_path / "a.h5", layers=["first", "second"]) as run:
        assert run.config.task.input_shape == (1, 8, 8)
        assert {name: part.width for name, part in run.config.prunable_layers.items()} == {"first": 6, "second": 8}
        for layer in ("first", "second"):
            assert agreement_of(run, model, layer, lambda kept, at=layer: Hiding(getattr(model, at), 1, kept)) == [
                True,
                False,
            ]
        norms = circuits.analyze(run, "norms", options={"layer": "second"})["norms"]["neuron_norm"].isel(
            step=-1, seed=0
        )
        np.testing.assert_allclose(norms, model.second.weight.detach().double().flatten(1).norm(dim=1), rtol=1e-5)


def test_a_one_layer_transformer_of_transformer_lens(tmp_path):
    from transformer_lens.config import TransformerBridgeConfig
    from transformer_lens.model_bridge import TransformerBridge

    p = 7
    model = TransformerBridge.boot_native(
        TransformerBridgeConfig(
            n_layers=1, n_heads=2, d_model=16, d_head=8, d_mlp=24, act_fn="relu", normalization_type=None, n_ctx=3,
            d_vocab=p + 1, d_vocab_out=p, seed=0,
        )
    )  # fmt: skip
    x, y = (part.reshape(-1) for part in torch.meshgrid(torch.arange(p), torch.arange(p), indexing="ij"))
    tokens, sums = torch.stack([x, y, torch.full_like(x, p)], 1), (x + y) % p
    order = torch.randperm(p * p, generator=torch.Generator().manual_seed(0))
    data = {"train": (tokens[order[:30]], sums[order[:30]]), "test": (tokens[order[30:]], sums[order[30:]])}
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    task = {"kind": "modular", "p": p, "encoding": "tokens", "sequence": "x y =", "train_fraction": 30 / 49}
    with circuits.record(
        tmp_path / "a.h5", model, optimizer=optimizer, data=data, task=task, every_steps=10,
        layers={"blocks.0.attn.hook_z": {"heads": 2}, "blocks.0.mlp.hook_post": ...},
    ) as rec:  # fmt: skip
        for _ in range(30):
            loss = F.cross_entropy(model(data["train"][0])[:, -1], data["train"][1])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            rec.step()
    with circuits.open(tmp_path / "a.h5", model=model) as run, torch.no_grad():
        outputs = model(data["test"][0])[:, -1]
        assert float(run.metrics["test_loss"][-1, 0]) == pytest.approx(
            F.cross_entropy(outputs, data["test"][1]).item(), rel=1e-5
        )
        found = circuits.analyze(run)
        assert found["subnetwork"].attrs["layer"] == "blocks.0.mlp.hook_post"
        assert {"norms", "faithfulness", "progress"} <= set(found)
        heads = circuits.analysis.ablate(run, "heads", "-1:")["loss"].squeeze()
        for head in range(2):

            def without(value, hook, head=head):
                value = value.clone()
                value[:, :, head] = 0
                return value

            outputs = model.run_with_hooks(data["test"][0], fwd_hooks=[("blocks.0.attn.hook_z", without)])[:, -1]
            assert float(heads[head]) == pytest.approx(F.cross_entropy(outputs, data["test"][1]).item(), rel=1e-5)


def test_a_loop_as_in_a_tutorial_on_grokking(tmp_path):
    """Modular addition by a full-batch loop over epochs, with embeddings and an MLP, as tutorials write it."""
    p, device = 11, torch.device("cpu")
    torch.manual_seed(42)

    class ModularMLP(nn.Module):
        def __init__(self, p, d=24, hidden=48):
            super().__init__()
            self.embedding = nn.Embedding(p, d)
            self.mlp = nn.Sequential(nn.Linear(2 * d, hidden), nn.ReLU(), nn.Linear(hidden, p))

        def forward(self, x):
            return self.mlp(self.embedding(x).flatten(1))

    inputs = torch.cartesian_prod(torch.arange(p), torch.arange(p))
    labels = inputs.sum(dim=1) % p
    indices = torch.randperm(p * p)
    train, test = indices[: p * p // 2], indices[p * p // 2 :]
    model = ModularMLP(p).to(device)
    criterion, optimizer = nn.CrossEntropyLoss(), torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=1.0)
    data = {"train": (inputs[train], labels[train]), "test": (inputs[test], labels[test])}
    with circuits.record(
        tmp_path / "a.h5", model, optimizer=optimizer, data=data, loss=criterion, every_steps=25
    ) as rec:
        for _ in range(200):
            model.train()
            optimizer.zero_grad()
            loss = criterion(model(inputs[train]), labels[train])
            loss.backward()
            optimizer.step()
            rec.step({"loss": loss.item()})
    with circuits.open(tmp_path / "a.h5", model=model) as run:
        assert run.config.task.signature.d_vocab == p
        assert run.parameters["embedding.weight"].dims[2:] == ("embedding_token", "embedding_feature")
        assert float(run.metrics["train_accuracy"][-1, 0]) == 1
        found = circuits.analyze(run)
        assert list(run.config.prunable_layers) == ["mlp.0"]
        assert found["phases"]["memorization_epoch"].notnull().all()
        assert circuits.report(run, tmp_path / "a.html").exists()
