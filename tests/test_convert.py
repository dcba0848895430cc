"""`circuits convert`: runs of the released code of Merrill et al., and any state dicts, brought in bit for bit."""

import json
import os
import random
import re
import zipfile

import numpy as np
import pytest
import torch

import circuits
from circuits.checkpoints.writer import Writer
from circuits.cli.main import main
from circuits.config import parse
from circuits.convert import from_parity_nn, from_state_dicts
from circuits.convert.state_dicts import _expression
from circuits.convert.weights import read_weights
from circuits.errors import InputError
from circuits.models.relu import Relu

N, K, EXAMPLES, WIDTH, EPOCHS, SEEDS = 10, 3, 60, 12, 4, (0, 1)
CONFIGURATION = f"n_{N}/k_{K}/N_{EXAMPLES}/lr_0.1/wd_0.01/width_{WIDTH}"


class FF1(torch.nn.Module):
    """The network as the released code has it."""

    def __init__(self, n=N, width=WIDTH):
        super().__init__()
        self.linear1 = torch.nn.Linear(n, width)
        self.linear2 = torch.nn.Linear(width, 1, bias=False)

    def forward(self, inputs):
        return self.linear2(self.linear1(inputs).relu())


def parity_data(n_examples, seed):
    """What `parity(n, k, n_samples, seed)` of the released code, and of the thesis, returns."""
    random.seed(seed)
    samples = torch.tensor([[random.choice([-1, 1]) for _ in range(N)] for _ in range(n_examples)])
    return samples.float(), samples[:, :K].prod(dim=1).float()


def save_networks(place, seeds=SEEDS, epochs=range(EPOCHS)):
    """Random networks, no two alike, some neurons far larger than others, in the released layout below `place`."""
    spread = 0.5 ** torch.arange(WIDTH)
    for seed in seeds:
        folder = place / f"seed{seed}_checkpoints"
        folder.mkdir(parents=True)
        torch.manual_seed(seed)
        network = FF1()
        for epoch in epochs:
            with torch.no_grad():
                for name, values in network.named_parameters():
                    values[...] = torch.randn_like(values)
                    (values.T if name == "linear1.weight" else values).mul_(spread[torch.randperm(WIDTH)])
            torch.save(network.state_dict(), folder / f"model_{epoch}.pt")
        torch.save(network.state_dict(), folder / "generalization.pt")  # as the code does; it is no model_EPOCH.pt
    return place


@pytest.fixture
def place(tmp_path):
    return save_networks(tmp_path / "results" / CONFIGURATION)


@pytest.fixture
def refused(capsys):
    """The one line that refuses these words, and the assurance that nothing was written."""

    def run(*words, code=2):
        capsys.readouterr()
        assert main(["convert", *map(str, words)]) == code
        out, err = capsys.readouterr()
        assert out == ""
        assert err.count("\n") == 1
        return err

    return run


def stored(place, seed, epoch):
    return torch.load(place / f"seed{seed}_checkpoints" / f"model_{epoch}.pt", weights_only=True)


def test_every_checkpoint_is_bit_equal_to_its_file(place, tmp_path):
    with from_parity_nn(place, tmp_path / "run.h5") as run:
        assert run.seeds == SEEDS
        assert run.steps.tolist() == [0, 2, 4, 6]  # 60 examples in batches of 32: two updates
        assert run.epochs.tolist() == [0, 1, 2, 3]
        for seed in SEEDS:
            for epoch in range(EPOCHS):
                found, expected = run.arrays(seed, epoch), stored(place, seed, epoch)
                assert np.array_equal(found["W"], expected["linear1.weight"])
                assert np.array_equal(found["b"], expected["linear1.bias"])
                assert np.array_equal(found["u"], expected["linear2.weight"][0])
                assert found["W"].dtype == np.float32


@pytest.mark.parametrize(
    ("draw", "train_seed", "test_seed"), [("merrill-code", lambda s: 17 * s, 2001), ("thesis-code", lambda s: s, 2023)]
)
def test_the_data_are_those_that_the_code_drew(place, tmp_path, draw, train_seed, test_seed):
    with from_parity_nn(place, tmp_path / "run.h5", draw=draw) as run:
        for seed in SEEDS:
            data = run.data(seed)
            sets = {"train": (EXAMPLES, train_seed(seed)), "test": (100, test_seed)}
            for which, (n_examples, data_seed) in sets.items():
                inputs, targets = parity_data(n_examples, data_seed)
                assert np.array_equal(data[f"{which}_inputs"], inputs)
                assert np.array_equal(data[f"{which}_targets"], targets)
        assert run.config.task.draw == draw
        assert np.array_equal(run.config.task.test_data()["inputs"], run.data()["test_inputs"])


def test_metrics_are_those_of_the_released_code(place, tmp_path):
    with from_parity_nn(place, tmp_path / "run.h5") as run, torch.no_grad():
        for index, seed in enumerate(SEEDS):
            for epoch in range(EPOCHS):
                network = FF1()
                network.load_state_dict(stored(place, seed, epoch))
                for which, examples, data_seed in (("train", EXAMPLES, 17 * seed), ("test", 100, 2001)):
                    inputs, targets = parity_data(examples, data_seed)
                    outputs = network(inputs).squeeze()
                    loss = (1 - outputs * targets).clamp(min=0).mean().item()
                    right = (outputs.sign() == targets).sum().item() / examples
                    here = run.metrics[[f"{which}_loss", f"{which}_accuracy"]].isel(step=epoch, seed=index)
                    assert here[f"{which}_loss"].item() == pytest.approx(loss, rel=1e-5)
                    assert here[f"{which}_accuracy"].item() == right
        assert (run.metrics["train_zero_outputs"] == 0).all()


def test_effective_sparsity_is_that_of_masking_and_forwarding_the_released_network(place, tmp_path):
    with from_parity_nn(place, tmp_path / "run.h5") as run, torch.no_grad():
        found = circuits.analysis.effective_sparsity(run)
        assert len(np.unique(found)) > 3
        for seed in SEEDS:
            inputs, _ = parity_data(EXAMPLES, 17 * seed)
            for epoch in range(EPOCHS):
                network = FF1()
                network.load_state_dict(stored(place, seed, epoch))
                hidden = network.linear1(inputs).relu()
                full = (hidden @ network.linear2.weight.T).sign()
                order = network.linear1.weight.norm(dim=1).argsort(descending=True)
                for size in range(WIDTH + 1):
                    mask = torch.zeros(WIDTH)
                    mask[order[:size]] = 1.0
                    if torch.equal(((hidden * mask) @ network.linear2.weight.T).sign(), full):
                        break
                assert int(found.sel(seed=seed).isel(step=epoch)) == size


def test_the_run_is_complete_says_where_it_is_from_and_has_the_folders_config(place, tmp_path):
    with from_parity_nn(place, tmp_path / "run.h5") as run:
        assert run.is_complete
        config = run.config
        assert config.checkpoint_steps() == run.steps.tolist()
        assert (config.name, config.epochs, config.batch_size, config.seeds) == ("parity-nn", 3, 32, SEEDS)
        task = config.task
        assert (task.n, task.k, task.n_train, task.n_test, task.draw) == (N, K, EXAMPLES, 100, "merrill-code")
        assert (config.model.kind, config.model.width) == ("relu", WIDTH)
        assert (config.optimizer.lr, config.optimizer.weight_decay) == (0.1, 0.01)
        assert config.source == f"imported from {place}, the released code of Merrill et al. 2023"
        assert run.numerics["path"] == "imported"
        assert circuits.analysis.phases(run).sizes["seed"] == 2
    assert {path.name for path in tmp_path.iterdir()} == {"results", "run.h5"}


def test_an_imported_run_is_no_run_of_this_machine_and_so_not_resumed_unasked(place, tmp_path):
    from_parity_nn(place, tmp_path / "run.h5").close()
    circuits.train(None, tmp_path / "run.h5", resume=True, progress=False).close()  # complete: nothing to do
    with circuits.open(tmp_path / "run.h5") as run:
        longer = run.config.replace(epochs=5)
    with pytest.raises(
        circuits.InputError, match=r"run\.h5 was computed with arithmetic 'unknown: imported from .*'; here"
    ):
        circuits.train(longer, tmp_path / "run.h5", resume=True, progress=False)
    with circuits.train(longer, tmp_path / "run.h5", resume=True, allow_different_numerics=True, progress=False) as run:
        assert run.steps.tolist() == [0, 2, 4, 6, 8, 10]
        assert run.other_numerics_since == 4


@pytest.mark.parametrize(
    "folder",
    [
        "results",
        f"results/{CONFIGURATION}",
        ".",
    ],
)
@pytest.mark.slow
def test_any_folder_above_one_configuration_will_do(place, tmp_path, monkeypatch, capsys, folder):
    monkeypatch.chdir(tmp_path)
    assert main(["convert", "parity-nn", folder, "--out", "run.h5", "--quiet"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("run.h5: 4 checkpoints of 2 seeds, ")
    assert err == "Next: circuits show run.h5, or circuits analyze run.h5\n"
    assert main(["analyze", "run.h5", "--quiet"]) == 0


@pytest.mark.parametrize("inside", [False, True])
def test_one_seeds_folder_gives_that_seed(place, tmp_path, monkeypatch, inside):
    folder = place / "seed1_checkpoints"
    if inside:
        monkeypatch.chdir(folder)
        folder = "."
    with from_parity_nn(folder, tmp_path / "run.h5") as run:
        assert run.seeds == (1,)
        assert np.array_equal(run.arrays(1, 3)["W"], stored(place, 1, 3)["linear1.weight"])


def test_without_checkpoint_0_that_is_said(tmp_path, capsys):
    save_networks(tmp_path / CONFIGURATION, epochs=[10, 20, 25])
    assert main(["convert", "parity-nn", str(tmp_path), "--out", str(tmp_path / "run.h5"), "--quiet"]) == 0
    assert "The run has no checkpoint 0, the initialization.\n" in capsys.readouterr().err
    with circuits.open(tmp_path / "run.h5") as run:
        assert run.epochs.tolist() == [10, 20, 25]
        assert run.config.checkpoint_steps() == run.steps.tolist()
        assert run.is_complete


def test_several_configurations_are_listed(place, tmp_path, refused):
    other = save_networks(tmp_path / "results" / CONFIGURATION.replace("wd_0.01", "wd_0.001"))
    message = refused("parity-nn", tmp_path / "results", "--out", tmp_path / "run.h5")
    assert message == f"error: {tmp_path / 'results'} has 2 configurations: {other}, {place}. Pass the folder of one.\n"
    assert not (tmp_path / "run.h5").exists()


def test_seeds_with_other_epochs_are_told_and_the_common_ones_taken_on_request(place, tmp_path, refused):
    (place / "seed1_checkpoints" / "model_2.pt").unlink()
    message = refused("parity-nn", place, "--out", tmp_path / "run.h5")
    assert message == (
        f"error: {place}: the seeds have different epochs: seed 1 lacks 2. Pass --common-epochs to convert the 3 "
        "epochs that all seeds have.\n"
    )
    with from_parity_nn(place, tmp_path / "run.h5", common_epochs=True) as run:
        assert run.epochs.tolist() == [0, 1, 3]
        assert run.is_complete
        assert np.array_equal(run.arrays(0, 2)["W"], stored(place, 0, 3)["linear1.weight"])


def test_where_there_is_nothing_it_says_what_was_looked_for(tmp_path, refused):
    (tmp_path / "empty").mkdir()
    expected = "n_BITS/k_K/N_TRAIN/lr_LR/wd_WD/width_P/seedS_checkpoints/model_EPOCH.pt"
    message = refused("parity-nn", tmp_path / "empty", "--out", tmp_path / "run.h5")
    assert message == (
        f"error: {tmp_path / 'empty'} holds no folder seedS_checkpoints at any depth. Expected: {expected}\n"
    )
    message = refused("parity-nn", tmp_path / "gone", "--out", tmp_path / "run.h5")
    assert message == (
        f"error: {tmp_path / 'gone'} is not a folder. Pass the folder that holds {expected}, or a folder in it.\n"
    )
    folder = tmp_path / CONFIGURATION / "seed0_checkpoints"
    folder.mkdir(parents=True)
    message = refused("parity-nn", tmp_path / "n_10", "--out", tmp_path / "run.h5")
    assert message == f"error: {folder} has no model_EPOCH.pt, such as model_0.pt.\n"
    stray = save_networks(tmp_path / "stray")
    message = refused("parity-nn", stray, "--out", tmp_path / "run.h5")
    folders = "n_BITS/k_K/N_TRAIN/lr_LR/wd_WD/width_P"
    assert f"error: The path {stray} lacks a value of 'n': expected folders {folders}." in message
    assert "circuits convert state-dicts" in message


class Hostile:
    """Unpickled, it writes a file."""

    def __init__(self, canary):
        self.canary = canary

    def __reduce__(self):
        return os.system, (f"touch {self.canary}",)


def spoiled(state, how, tmp_path):
    """A checkpoint file's content, spoiled in one way."""
    if how == "missing":
        del state["linear1.bias"]
    elif how == "output bias":
        state["linear2.bias"] = torch.zeros(1)
    elif how == "wide":
        state["linear1.weight"] = torch.zeros(WIDTH, N + 1)
    elif how == "dims":
        state["linear2.weight"] = torch.zeros(2, WIDTH)
    elif how == "integers":
        state["linear1.bias"] = torch.zeros(WIDTH, dtype=torch.int64)
    elif how == "words":
        state["linear1.bias"] = "none"
    elif how == "list":
        return list(state.values())
    elif how == "module":
        return FF1()
    elif how == "hostile":
        state["linear1.bias"] = Hostile(tmp_path / "canary")
    return state


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("missing", "FILE has no key 'linear1.bias'. It has: linear1.weight, linear2.weight."),
        (
            "output bias",
            "FILE has the key 'linear2.bias', which the relu model lacks. Without this parameter the network "
            "would compute something else. Choose a kind of model with this parameter.",
        ),
        ("wide", "FILE: W has shape (12, 11), not (12, 10). The shape must match the folder's name."),
        ("dims", "FILE: 'linear2.weight' has shape (2, 12), expected (neuron)."),
        ("integers", "FILE: 'linear1.bias' is torch.int64, not a tensor of floating-point numbers."),
        ("words", "FILE: 'linear1.bias' is str, not a tensor of floating-point numbers."),
        ("list", "FILE holds a list, not a dict of tensors as state_dict() gives."),
        (
            "hostile",
            "FILE holds more than tensors: it asks for posix.system, and loading that could run code. Save "
            "network.state_dict() instead.",
        ),
    ],
)
def test_a_file_that_is_no_such_network_is_named_with_its_key(place, tmp_path, refused, how, message):
    path = place / "seed1_checkpoints" / "model_2.pt"
    torch.save(spoiled(stored(place, 1, 2), how, tmp_path), path)
    assert refused("parity-nn", place, "--out", tmp_path / "run.h5") == f"error: {message}\n".replace("FILE", str(path))
    assert {found.name for found in tmp_path.iterdir()} == {"results"}  # no run, no canary


def test_a_pickled_module_is_refused(place, tmp_path, refused):
    path = place / "seed1_checkpoints" / "model_2.pt"
    torch.save(FF1(), path)
    message = refused("parity-nn", place, "--out", tmp_path / "run.h5")
    assert message.startswith(f"error: {path} holds more than tensors: it asks for ")
    assert "FF1" in message


@pytest.mark.parametrize("content", [b"", b"no weights at all", b"PK\x03\x04 damaged", None])
def test_a_file_that_torch_cannot_read_is_named(place, tmp_path, refused, content):
    path = place / "seed1_checkpoints" / "model_2.pt"
    path.write_bytes(path.read_bytes()[:-100] if content is None else content)
    assert refused("parity-nn", place, "--out", tmp_path / "run.h5") == (
        f"error: {path} cannot be read as a state dict: it is damaged, was not written by torch.save, or was pickled "
        f"with another protocol than torch.save's own. Save it again: torch.save(network.state_dict(), PATH).\n"
    )


def test_no_run_is_replaced_unasked_nor_while_it_is_written(place, tmp_path, refused, tiny_path):
    out = tmp_path / "run.h5"
    out.write_bytes(tiny_path.read_bytes())
    before = out.read_bytes()
    message = refused("parity-nn", place, "--out", out)
    assert message == f"error: {out} exists. Pass --overwrite to replace it, or another --out.\n"
    with Writer(out):
        message = refused("parity-nn", place, "--out", out, "--overwrite")
        assert f"{out} is being written by process {os.getpid()}." in message
    (place / "seed1_checkpoints" / "model_3.pt").write_bytes(b"")
    refused("parity-nn", place, "--out", out, "--overwrite")
    assert out.read_bytes() == before
    save_networks(place, seeds=[7])
    with from_parity_nn(place / "seed7_checkpoints", out, overwrite=True) as run:
        assert run.seeds == (7,)


def test_a_full_disk_leaves_nothing_behind(place, tmp_path, refused, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Writer, "_commit", full)
    message = refused("parity-nn", place, "--out", tmp_path / "run.h5", code=1)
    assert message == (
        f"error: {tmp_path / 'run.h5'} could not be written (No space left on device), and no file is "
        "left. Make room, then run the command again.\n"
    )
    assert {found.name for found in tmp_path.iterdir()} == {"results"}


def base(**changes):
    task = {"kind": "parity", "n": 5, "k": 2, "n_train": 40, "n_test": 30}
    return parse({"task": task, "model": {"kind": "relu"}, "batch_size": 20, **changes})


def test_state_dicts_of_one_seed_by_their_last_number(place, tmp_path):
    with from_state_dicts(place / "seed1_checkpoints" / "model_*.pt", tmp_path / "run.h5", base(), seed=4) as run:
        assert run.seeds == (4,)
        assert run.steps.tolist() == [0, 2, 4, 6]
        assert (run.config.task.n, run.config.model.width, run.config.dtype) == (N, WIDTH, "float32")
        for epoch in range(EPOCHS):
            assert np.array_equal(run.arrays(4, epoch)["u"], stored(place, 1, epoch)["linear2.weight"][0])
        assert np.array_equal(run.data(4)["train_inputs"], run.config.task.train_data(4)["inputs"])
        assert run.is_complete


def test_state_dicts_of_several_seeds_by_steps_under_other_keys_in_double_precision(tmp_path):
    torch.manual_seed(0)
    nets = {(s, t): torch.nn.Sequential(torch.nn.Linear(6, 4), torch.nn.Linear(4, 1, False)).double()
            for s in (3, 11) for t in (0, 1, 7)}  # fmt: skip
    for (seed, step), net in nets.items():
        torch.save(net.state_dict(), tmp_path / f"at-{step}-v2-run{seed}.pt")
    keys = {"W": "0.weight", "b": "0.bias", "u": "1.weight"}
    pattern = tmp_path / "at-{step}-v2-run{seed}.pt"
    with from_state_dicts(pattern, tmp_path / "run.h5", base(), keys=keys) as run:
        assert run.seeds == (3, 11)
        assert run.steps.tolist() == run.config.checkpoint_steps() == [0, 1, 7]
        assert run.epochs.tolist() == [0, 0.5, 3.5]
        assert run.config.dtype == "float64"
        for (seed, step), net in nets.items():
            assert np.array_equal(run.arrays(seed, step=step)["W"], net[0].weight.detach())
        assert run.is_complete


def test_what_was_exported_comes_back(tiny_run, tmp_path):
    for seed in tiny_run.seeds:
        for index, epoch in enumerate(tiny_run.epochs):
            circuits.export(tiny_run, tmp_path / f"s{seed}-e{epoch:.0f}.pt", seed=seed, checkpoint=index)
    with from_state_dicts(tmp_path / "s{seed}-e*.pt", tmp_path / "run.h5", tiny_run.config) as run:
        assert run.parameters.load().identical(tiny_run.parameters.load())
        assert run.metrics.equals(tiny_run.metrics)
        assert run.all_data.identical(tiny_run.all_data)


@pytest.mark.slow
def test_the_command_takes_the_flags_of_train_or_a_config(place, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pattern = str(place / "seed{seed}_checkpoints" / "model_{epoch}.pt")
    flags = "--model relu --task.n-train 60 --task.draw merrill-code --optimizer.lr 0.05 --quiet"
    assert main(["convert", "state-dicts", pattern, "--out", "a.h5", *flags.split()]) == 0
    assert capsys.readouterr().out.startswith("a.h5: 4 checkpoints of 2 seeds, ")
    with circuits.open("a.h5") as run, from_parity_nn(place, "b.h5") as other:
        assert run.parameters.load().identical(other.parameters.load())
        assert run.metrics.identical(other.metrics)
        assert run.all_data.identical(other.all_data)
        assert run.config.optimizer.lr == 0.05
        (tmp_path / "c.json").write_text(run.config.to_json())
    assert main(["convert", "state-dicts", pattern, "--config", "c.json", "--out", "c.h5", "--task.k", "2"]) == 0
    with circuits.open("c.h5") as run:
        assert (run.config.optimizer.lr, run.config.task.k) == (0.05, 2)
    assert main(["convert", "state-dicts", pattern, "--out", "d.h5", "--keys", "W=linear1.weight"]) == 0


@pytest.mark.slow
def test_a_linear_network_comes_in_too(tmp_path):
    net = torch.nn.Linear(7, 1)
    torch.save(net.state_dict(), tmp_path / "m0.pt")
    config = base(model={"kind": "linear"})
    with from_state_dicts(tmp_path / "m*.pt", tmp_path / "r.h5", config, keys={"w": "weight", "c": "bias"}) as run:
        assert np.array_equal(run.arrays()["w"], net.weight.detach()[0])
        assert run.arrays()["c"] == net.bias.item()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["gone_*.pt"], r"No file matches 'gone_\*\.pt'\. Write the pattern in quotes, such as 'model_\*\.pt' or"),
        (["x{seed}{seed}.pt"], r"x\{seed\}\{seed\}\.pt: a pattern may have \{seed\} once, and \{epoch\} or \{step\}"),
        (["x{sed}.pt"], r"x\{sed\}\.pt: a pattern may have"),
        (["last.p?"], r"last\.pt has no number for the epoch in its name\."),
        (["*_1.pt"], r"a_1\.pt and b_1\.pt are both epoch 1 of seed 0\."),
        (["a_{seed}.p?"], r"a_1\.pt has no number for the epoch in its name\."),
        (
            ["s{seed}_{epoch}.pt"],
            r"At epoch 1, s\{seed\}_\{epoch\}\.pt matches files of other seeds, but no file of seed 5\.",
        ),
        (["a_1.pt", "--keys", "W=x"], r"a_1\.pt has no key 'x'\. It has: linear1\.weight, linear1\.bias"),
        (["a_1.pt", "--keys", "V=x"], r"The relu model has no parameter 'V'\. It has: W, b, u\."),
        (["a_1.pt", "--keys", "W"], r"--keys W is not a pair\. Write NAME=KEY, such as W=linear1\.weight\."),
        (["a_1.pt", "--model", "rellu"], r"There is no model 'rellu'\. Did you mean 'relu'\?"),
        (["a_1.pt", "--model", "linear"], r"a_1\.pt has no key 'w'\."),
        (
            ["a_1.pt", "--config", "c.json", "--model", "linear"],
            r"--model linear contradicts c\.json, whose model is relu\.",
        ),
        (["a_1.pt", "--task.k", "11"], r"a_1.pt: task: k = 11 relevant bits do not fit in n = 10 inputs"),
        (["w_*.pt"], r"w_2\.pt: W has shape \(5, 10\), not \(12, 10\)\. The shape must match w_1\.pt\."),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(tmp_path, monkeypatch, refused, words, message):
    monkeypatch.chdir(tmp_path)
    for name in ("last", "a_1", "b_1", "s4_1", "s4_2", "s5_2", "w_1"):
        torch.save(FF1().state_dict(), f"{name}.pt")
    torch.save(FF1(width=5).state_dict(), "w_2.pt")
    (tmp_path / "c.json").write_text(base().to_json())
    assert re.match(f"error: {message}", refused("state-dicts", *words, "--out", "run.h5"))
    assert not (tmp_path / "run.h5").exists()


def test_the_commands_themselves_are_explained(capsys, refused):
    assert main(["convert", "--help"]) == 0
    assert "parity-nn" in capsys.readouterr().out
    assert main(["convert"]) == 2
    assert "state-dicts" in capsys.readouterr().err
    assert refused("parity") == (
        "error: There is no origin 'parity'. Did you mean 'parity-nn'? There are: parity-nn, state-dicts, weights.\n"
    )
    assert refused("--out", "x") == (
        "error: circuits convert needs FROM before --out. `circuits convert --help` lists the values of FROM.\n"
    )
    assert "needs" in refused("parity-nn", "folder")
    assert main(["convert", "parity-nn", "--help"]) == 0
    assert "the file is the state after EPOCH epochs" in capsys.readouterr().out
    assert refused("parity-nn", "x", "--out", "y", "--draw", "fair").startswith("error: --draw cannot be 'fair'.")


def test_an_unknown_draw_is_refused_by_the_function_too(place, tmp_path):
    with pytest.raises(circuits.InputError, match="There is no data source 'counter'"):
        from_parity_nn(place, tmp_path / "run.h5", draw="counter")


def test_the_config_in_the_file_trains_with_exactly_that_data(place, tmp_path):
    with from_parity_nn(place, tmp_path / "run.h5") as run:
        config, data = run.config, run.all_data
    again = circuits.Config.model_validate(json.loads(config.to_json()))
    with circuits.train(again, tmp_path / "own.h5", progress=False) as own:
        assert own.all_data.identical(data)
        assert own.steps.tolist() == [0, 2, 4, 6]


def odd_tensors():
    W, b, u = torch.ones(4, 3), torch.ones(4), torch.ones(4)
    whole = {"W": W, "b": b, "u": u}
    return {
        "sparse": (whole | {"W": W.to_sparse()}, {}, "'W' is torch.sparse_coo, not dense"),
        "meta": (whole | {"W": W.to("meta")}, {}, "'W' is a meta tensor, which has no values"),
        "repeated": (
            whole | {"W": torch.zeros(1).expand(10**6, 10**6)}, {}, "declares 1,000,000,000,000 numbers but stores 1",
        ),
        **{
            f"protocol {number}": (whole, {"pickle_protocol": number}, "was pickled with another protocol")
            for number in (0, 1, 4, 5)
        },
    }  # fmt: skip


@pytest.mark.parametrize("kind", ["sparse", "meta", "repeated", *(f"protocol {number}" for number in (0, 1, 4, 5))])
def test_tensors_that_are_no_plain_arrays_are_refused_in_a_line(kind, tmp_path):
    network, options, said = odd_tensors()[kind]
    torch.save(network, tmp_path / "a_1.pt", **options)
    with pytest.raises(circuits.InputError, match=said):
        read_weights(tmp_path / "a_1.pt", Relu(), None)


def test_a_name_with_escapes_and_line_breaks_is_kept_in_the_source_as_text(make_config, tmp_path):
    folder = tmp_path / "bad\x1b[31m\nname"
    folder.mkdir()
    with circuits.train(make_config(), tmp_path / "a.h5", progress=False) as run:
        torch.save(run.state(seed=0, checkpoint=-1), folder / "model_0.pt")
    with from_state_dicts(folder / "model_*.pt", tmp_path / "out.h5", make_config()) as made:
        assert r"bad\x1b[31m\nname" in made.config.source


def test_a_file_larger_than_any_network_is_refused_before_it_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(torch, "load", None)
    with (tmp_path / "model_0.pt").open("wb") as file:
        file.truncate(3 << 30)
    with pytest.raises(InputError, match=r"has 3,221,225,472 bytes\. A state dict may have at most 2,148,532,224"):
        from_state_dicts(tmp_path / "model_*.pt", tmp_path / "out.h5", circuits.preset("merrill-2023"))
    assert not (tmp_path / "out.h5").exists()


def test_a_folder_that_names_a_huge_network_is_refused_before_data_are_drawn(tmp_path):
    folder = tmp_path / f"n_{3 * 10**8}/k_3/N_1000/lr_0.1/wd_0.01/width_16/seed0_checkpoints"
    folder.mkdir(parents=True)
    (folder / "model_0.pt").touch()
    with pytest.raises(InputError, match="a network of 4,800,000,032 parameters exceeds the limit 268,435,456"):
        from_parity_nn(tmp_path, tmp_path / "out.h5")


def test_a_compressed_archive_is_refused_before_it_is_unpacked(tmp_path):
    torch.save({"W": torch.ones(4, 3), "b": torch.ones(4), "u": torch.ones(4)}, tmp_path / "a.pt")
    packed = zipfile.ZipFile(tmp_path / "b.pt", "w", zipfile.ZIP_DEFLATED)
    with zipfile.ZipFile(tmp_path / "a.pt") as whole, packed as out:
        for entry in whole.infolist():
            out.writestr(entry.filename, whole.read(entry))
        out.writestr("a/data/9", bytes(10**7))
    with pytest.raises(circuits.InputError, match=r"is an archive of [\d,]+ bytes that unpacks to 10,"):
        read_weights(tmp_path / "b.pt", Relu(), None)


def test_a_pointer_of_git_lfs_is_called_that(tmp_path):
    for name in ("a.pt", "a.h5"):
        (tmp_path / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    with pytest.raises(circuits.InputError, match=r"a.pt is a Git LFS pointer, not the file itself"):
        read_weights(tmp_path / "a.pt", Relu(), None)
    with pytest.raises(circuits.InputError, match=r"a.h5 is a Git LFS pointer, not the file itself"):
        circuits.open(tmp_path / "a.h5")


def test_a_tensor_that_keeps_its_sign_apart_is_read(tmp_path):
    b = torch.complex(torch.zeros(4), torch.arange(4.0)).conj().imag
    assert b.is_neg()
    torch.save({"W": torch.ones(4, 3), "b": b, "u": torch.ones(4)}, tmp_path / "a_1.pt")
    assert read_weights(tmp_path / "a_1.pt", Relu(), None)["b"].tolist() == [0, -1, -2, -3]


@pytest.mark.parametrize("pattern", ["m_[z-a].pt", "m_[[:digit:]].pt", "m_[].pt", "m_[!]x.pt", "m_[.pt"])
def test_an_odd_pattern_matches_nothing_and_is_no_bug(pattern, tmp_path):
    (tmp_path / "m_1.pt").touch()
    with pytest.raises(InputError, match="No file matches"):
        from_state_dicts(tmp_path / pattern, tmp_path / "out.h5", circuits.preset("merrill-2023"))


def test_brackets_mean_in_the_expression_what_they_mean_in_the_shell():
    for pattern, name, fits in (("[ab]", "a", True), ("[!ab]", "a", False), ("[]b]", "]", True), ("[^b]", "a", False)):
        assert bool(_expression(pattern).fullmatch(name)) is fits
