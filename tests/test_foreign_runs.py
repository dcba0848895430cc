"""Every command that reads a run works on runs of other people's networks, or says in one line what does not apply."""

import numpy as np
import pytest
import torch
from torch import nn

import circuits
from circuits.cli.main import main
from circuits.figures.learning import figures as learning_figures
from circuits.registry import MEASUREMENTS

N_STEPS = 12


class Nothing(nn.Module):
    """Its outputs do not depend on its only parameter, a single number."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x):
        return x[:, :1] * 0 + self.scale * 0


class Tied(nn.Module):
    """A recurrent network whose readout is its embedding, with a buffer and an unused parameter."""

    def __init__(self):
        super().__init__()
        self.embed, self.rnn = nn.Embedding(5, 8), nn.GRU(8, 8, batch_first=True)
        self.unused = nn.Parameter(torch.zeros(3))
        self.register_buffer("seen", torch.zeros(2))

    def forward(self, x):
        return self.rnn(self.embed(x))[0] @ self.embed.weight.T


def numbers(n=40, width=4):
    return torch.randn(n, width, generator=torch.Generator().manual_seed(0))


def classes(n=40):
    return torch.arange(n) % 3


CASES = {
    "no data": (lambda: nn.Linear(4, 3), None, {}),
    "training data only": (lambda: nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3)),
                           {"train": (numbers(), classes())}, {}),
    "regression": (lambda: nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 1)),
                   {"train": (numbers(), numbers().sum(1)), "test": (numbers(10), numbers(10).sum(1))}, {}),
    "regression of vectors": (lambda: nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 2)),
                              {"train": (numbers(), numbers()[:, :2]), "test": (numbers(10), numbers(10)[:, :2])}, {}),
    "signs": (lambda: nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 1)),
              {"train": (numbers(), numbers()[:, 0].sign()), "test": (numbers(10), numbers(10)[:, 0].sign())}, {}),
    "half precision": (lambda: nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3)).bfloat16(),
                       {"train": (numbers().bfloat16(), classes()), "test": (numbers(9).bfloat16(), classes(9))}, {}),
    "images": (lambda: nn.Sequential(nn.Conv2d(1, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(3, 3)),
               {"train": (numbers().reshape(-1, 1, 2, 2), classes()),
                "test": (numbers(9).reshape(-1, 1, 2, 2), classes(9))}, {}),
    "tokens": (Tied, {"train": (torch.randint(0, 5, (30, 4)), torch.randint(0, 5, (30,))),
                      "test": (torch.randint(0, 5, (9, 4)), torch.randint(0, 5, (9,)))}, {"buffers": True}),
    "nothing to learn": (Nothing, {"train": (numbers(), numbers()[:, 0].sign()),
                                   "test": (numbers(9), numbers(9)[:, 0].sign())}, {}),
    "two seeds": (lambda: nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3)),
                  {"train": (numbers(), classes()), "test": (numbers(9), classes(9))}, {"seeds": (3, 1)}),
    "a loss of one's own": (lambda: nn.Linear(4, 3),
                            {"train": (numbers(), classes()), "test": (numbers(9), classes(9))},
                            {"loss": lambda outputs, targets: (outputs.logsumexp(1) - 1).mean()}),
    "no metrics": (lambda: nn.Linear(4, 3), {"train": (numbers(), classes()), "test": (numbers(9), classes(9))},
                   {"evaluate_every": 0}),
}  # fmt: skip


def recorded(path, name):
    """A run of random updates of the network of a case; returns a module for `circuits.open`."""
    torch.manual_seed(0)
    make, data, options = CASES[name]
    models = [make() for _ in options.get("seeds", (0,))]
    given = models if "seeds" in options else models[0]
    with circuits.record(path, given, data=data, every_steps=3, metrics=["batch_loss"], **options) as rec:
        for step in range(N_STEPS):
            with torch.no_grad():
                for model in models:
                    for values in model.parameters():
                        values += 0.1 * torch.randn(values.shape, generator=torch.Generator().manual_seed(step))
            rec.step({"batch_loss": 1 / (step + 1)} if step % 2 else {})
    return models[0]


@pytest.fixture(params=CASES)
def foreign(request, tmp_path):
    path = tmp_path / "a.h5"
    return path, recorded(path, request.param)


def test_the_commands_work_without_the_module(foreign, capsys, tmp_path):
    path, _ = foreign
    for words in (
        ["show", path], ["show", path, "--verify"], ["analyze", path], ["analyze", path, "--json"], ["report", path],
        ["export", path, "--out", tmp_path / "a.npz"], ["export", path, "--out", tmp_path / "a.safetensors"],
        ["repair", path],
    ):  # fmt: skip
        code = main([*map(str, words), *(["--quiet"] if words[0] in ("analyze", "report") else [])])
        assert code == 0, (words, capsys.readouterr().err)
    capsys.readouterr()
    for words in (["train", "--resume", "--out", path], ["replay", path, "--from-epoch", "3"], ["verify", path]):
        assert main([*map(str, words)]) == 2, words
        assert capsys.readouterr().err.count("\n") == 1


def test_each_measurement_with_the_module_applies_or_says_why_not(foreign, tmp_path):
    path, model = foreign
    with circuits.open(path, model=model) as run:
        done, refusals = {}, {}
        for name in MEASUREMENTS:
            try:
                done |= circuits.analyze(run, name)
            except circuits.InputError as error:
                refusals[name] = str(error)
        assert [name for name, text in refusals.items() if "\n" in text or len(text) >= 600] == []
        assert {"phases", "progress"} <= set(done)
        for result in done.values():
            for values in result.data_vars.values():
                assert values.dtype.kind != "f" or not np.isinf(values).all()
        assert circuits.report(run, tmp_path / "a.html", stored=done).exists()


def test_checkpoints_at_which_nothing_was_measured_leave_no_gap_and_no_verdict(tmp_path):
    torch.manual_seed(0)
    model, data = nn.Linear(4, 3), {"train": (numbers(), classes()), "test": (numbers(9), classes(9))}
    with circuits.record(tmp_path / "a.h5", model, data=data, every_steps=4, at_steps=[1, 2, 5, 9]) as rec:
        for _ in range(9):
            rec.step()
    with circuits.open(tmp_path / "a.h5", model=model) as run:
        assert run.steps.tolist() == [0, 1, 2, 4, 5, 8, 9]
        measured = np.isfinite(run.metrics["train_loss"].squeeze().values)
        assert measured.tolist() == [True, False, False, True, False, True, False]
        assert not run.phases()["diverged"].any()
        accuracy = learning_figures(run, run.metrics)[0]
        assert accuracy.data[0].x.tolist() == [4, 8]  # on a log axis


def test_the_last_checkpoint_is_measured_and_lost_networks_are_diverged(tmp_path):
    model = nn.Linear(4, 3)
    with circuits.record(tmp_path / "a.h5", model, data={"train": (numbers(), classes())}, every_steps=4) as rec:
        for _ in range(6):
            rec.step()
        model.weight.data[0, 0] = np.nan
    with circuits.open(tmp_path / "a.h5") as run:
        assert run.steps.tolist() == [0, 4, 6]
        assert run.phases()["diverged"].all()
