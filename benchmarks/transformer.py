"""A step of the transformers of Nanda et al. 2023 and Power et al. 2022, against TransformerLens's own network."""

from collections.abc import Callable
from pathlib import Path

import torch
from floors import ALL_CORES, Work
from timing import Pairs, Row, alternating, seconds

import circuits
from circuits.config import parse
from circuits.threads import usable_cores
from circuits.training.losses import per_example
from circuits.training.paths.choice import choose_path
from circuits.training.paths.torch_stepper import examples_of
from circuits.training.rates import Rates
from circuits.training.start import start_of

STEPS = 20
ONE_LAYER = {
    "task": {"kind": "modular", "p": 113, "encoding": "tokens", "sequence": "x y =", "train_fraction": 0.3},
    "model": {"kind": "transformer"},
    "optimizer": {"kind": "adamw", "lr": 1e-3, "weight_decay": 1.0, "betas": [0.9, 0.98]},
    "loss": "cross_entropy", "loss_dtype": "float64", "batch_size": None, "epochs": 0, "seeds": [0],
}  # fmt: skip
TWO_LAYERS = ONE_LAYER | {
    "task": {"kind": "modular", "p": 97, "encoding": "tokens", "sequence": "x + y =", "train_fraction": 0.5},
    "model": {"kind": "transformer", "n_layers": 2, "normalization": "LN", "activation": "gelu"},
    "loss_dtype": "float32", "batch_size": 512,
}  # fmt: skip


def step(data: dict) -> Callable[[Path], Pairs]:
    """Seconds of one update, with the same optimizer, loss and threads."""
    config = parse(data)

    def measure(folder: Path) -> Pairs:
        with circuits.train(config, folder / "start.h5", progress=False, overwrite=True) as run:
            everything, start = run.all_data, start_of(run)
            inputs, targets, *_ = examples_of(config, everything, "cpu")[0]
            bridge = run.model(seed=0, checkpoint=0)
        optimizer = config.optimizer.made(bridge.parameters())
        torch.set_num_threads(usable_cores())

        def native() -> None:
            for batch in (torch.arange(len(inputs)).split(config.batch) * STEPS)[:STEPS]:
                optimizer.zero_grad()
                per_example(bridge(inputs[batch])[:, -1], targets[batch], config).mean().backward()
                optimizer.step()

        stepper = choose_path(config, "cpu").path(config, everything, start, "cpu")
        rates = Rates(config.optimizer.lr, (config.optimizer.weight_decay,))

        def ours() -> None:
            whole, rest = divmod(STEPS, config.steps_per_epoch)
            for epoch in range(whole):
                stepper.advance(0, epoch, 0, config.steps_per_epoch, rates)
            stepper.advance(0, whole, 0, rest, rates)

        try:
            return alternating(lambda: seconds(native) / STEPS, lambda: seconds(ours) / STEPS)
        finally:
            stepper.close()

    return measure


def mlp(examples: int, layers: int) -> Work:
    """An update multiplies by the two matrices of every MLP at the last position at least: forward, and twice back."""
    return Work(3 * examples * 2 * 128 * 512 * layers, cores=ALL_CORES)


ROWS = (
    Row("transformer of one layer, a full-batch step of 3831", "boot_native", "here", "≥ 3", step(ONE_LAYER),
        (mlp(3831, 1), mlp(3831, 1))),
    Row("transformer of two layers with LayerNorm, a step of 512", "boot_native", "here", "≥ 1", step(TWO_LAYERS),
        (mlp(512, 2), mlp(512, 2))),
)  # fmt: skip
