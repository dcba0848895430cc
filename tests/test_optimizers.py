import math
from itertools import pairwise

import numpy as np
import pytest
import torch

import circuits
from circuits.optimizers import SGD, Adam, AdamW, RMSProp
from circuits.training.paths.stepper import example_order
from circuits.training.start import initial_parameters

OPTIMIZERS = [
    {"kind": "sgd", "lr": 0.05},
    {"kind": "sgd", "lr": 0.05, "momentum": 0.9},
    {"kind": "adam", "lr": 0.01, "weight_decay": 0.01},
    {"kind": "adamw", "lr": 0.01, "weight_decay": 0.1},
    {"kind": "rmsprop", "lr": 0.01, "weight_decay": 0.01},
    {"kind": "rmsprop", "lr": 0.01, "momentum": 0.5},
    {"kind": "adamw", "lr": 0.01, "l1": 0.01, "lr_warmup_steps": 5, "lr_gamma": 0.9, "lr_cosine": True},
]


def named(optimizer):
    return "-".join(str(value) for key, value in optimizer.items() if key != "lr")


@pytest.fixture(params=OPTIMIZERS, ids=named)
def optimizer(request):
    return request.param


def trained(config, path, **options):
    with circuits.train(config, path, progress=False, **options) as run:
        return {name: values.values for name, values in run.parameters.items()}, run.metrics.load()


def by_hand(config, seed_index):
    """The same training with nothing but torch: autograd, torch.optim, and the schedule written out."""
    task, chosen = config.task, config.optimizer
    data = {
        name: torch.from_numpy(values).double() for name, values in task.train_data(config.seeds[seed_index]).items()
    }
    start = initial_parameters(config)
    net = {name: torch.tensor(values[seed_index], requires_grad=True) for name, values in start.items()}
    known = {
        "sgd": lambda p: torch.optim.SGD(p, chosen.lr, momentum=chosen.momentum, weight_decay=chosen.weight_decay),
        "adam": lambda p: torch.optim.Adam(p, chosen.lr, chosen.betas, chosen.eps, chosen.weight_decay),
        "adamw": lambda p: torch.optim.AdamW(p, chosen.lr, chosen.betas, chosen.eps, chosen.weight_decay),
        "rmsprop": lambda p: torch.optim.RMSprop(
            p, chosen.lr, chosen.alpha, chosen.eps, chosen.weight_decay, chosen.momentum
        ),
    }
    optimizer = known[chosen.kind](net.values())
    total = config.epochs * math.ceil(task.n_train / config.batch_size)
    step = 0
    for epoch in range(config.epochs):
        order = example_order(config.seeds[seed_index], epoch, task.n_train)
        for batch in torch.from_numpy(order).split(config.batch_size):
            rate = chosen.lr * chosen.lr_gamma**epoch
            warm = chosen.lr_warmup_steps
            if step < warm:
                rate *= (step + 1) / warm
            elif chosen.lr_cosine:
                rate *= (1 + math.cos(math.pi * (step - warm) / (total - warm))) / 2
            optimizer.param_groups[0]["lr"] = rate
            optimizer.zero_grad()
            hidden = (data["inputs"][batch] @ net["W"].T + net["b"]).relu()
            (1 - (hidden @ net["u"]) * data["targets"][batch]).relu().mean().backward()
            optimizer.step()
            with torch.no_grad():
                for values in net.values():
                    values.copy_(values.sign() * (values.abs() - rate * chosen.l1).clamp(min=0))
            step += 1
    return {name: values.detach().numpy() for name, values in net.items()}


@pytest.mark.slow
@pytest.mark.parametrize("kernel", ["auto", "reference", "batched"])
def test_every_path_takes_the_steps_of_torch(tmp_path, make_config, optimizer, kernel):
    config = make_config(optimizer=optimizer, seeds=[3, 5], dtype="float64")
    found, _ = trained(config, tmp_path / "run.h5", kernel=kernel)
    for index in range(2):
        for name, expected in by_hand(config, index).items():
            assert np.allclose(found[name][-1, index], expected, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("kernel", [pytest.param("reference", marks=pytest.mark.slow), "batched"])
def test_every_optimizer_resumes_bit_for_bit(tmp_path, make_config, optimizer, kernel, cut_short):
    config = make_config(optimizer=optimizer, epochs=6, checkpoints={"every_epochs": None, "every_steps": 5})
    whole, metrics = trained(config, tmp_path / "whole.h5", kernel=kernel)
    cut_short(config, tmp_path / "cut.h5", 20, kernel=kernel)
    with circuits.open(tmp_path / "cut.h5") as run:
        assert not run.is_complete
    found, again = trained(None, tmp_path / "cut.h5", resume=True, kernel=kernel)
    assert all(found[name].tobytes() == whole[name].tobytes() for name in whole)
    assert again.identical(metrics)


def test_the_state_that_is_kept_is_that_of_torch():
    assert [one.moments for one in (SGD(), SGD(momentum=0.9), Adam(), AdamW())] == [
        (), ("momentum_buffer",), ("exp_avg", "exp_avg_sq"), ("exp_avg", "exp_avg_sq"),
    ]  # fmt: skip
    parameter = torch.ones(2, requires_grad=True)
    for optimizer in (SGD(momentum=0.9), Adam(), AdamW(), RMSProp(), RMSProp(momentum=0.5)):
        made = optimizer.made([parameter])
        parameter.sum().backward()
        made.step()
        kept = {name for name, value in made.state[parameter].items() if isinstance(value, torch.Tensor)}
        assert kept == {*optimizer.moments, *(["step"] if optimizer.counts_updates else [])}


def test_the_rate_warms_up_falls_each_epoch_and_ends_at_zero():
    optimizer = SGD(lr=1.0, lr_warmup_steps=4, lr_cosine=True)
    rates = [optimizer.lr_at(step, 0, 12) for step in range(13)]
    assert rates[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert all(later < earlier for earlier, later in pairwise(rates[4:]))
    assert abs(rates[12]) < 1e-12
    assert [SGD(lr=1.0, lr_gamma=0.5).lr_at(step, step // 2, 6) for step in range(6)] == [1, 1, 0.5, 0.5, 0.25, 0.25]


def test_a_run_whose_rate_falls_to_zero_is_not_extended(tmp_path, make_config):
    config = make_config(optimizer__lr_cosine=True)
    circuits.train(config, tmp_path / "run.h5", progress=False).close()
    with pytest.raises(circuits.InputError, match="falls to 0 at its last step"):
        circuits.train(config.replace(epochs=9), tmp_path / "run.h5", resume=True, progress=False)
