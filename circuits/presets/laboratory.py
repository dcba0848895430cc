"""The laboratory: a network with one hidden layer and activation z², which groks on x + y mod 31 in seconds.

It has 128 neurons, no biases, and normal initial weights with variance 1/fan-in. It trains on half of the one-hot pairs
by full-batch AdamW with learning rate 0.01, weight decay 1, β = (0.9, 0.98), cross-entropy. It memorizes by step 40 and
generalizes about step 600. It is not from a paper. Its variants take seconds. They repeat experiments that took hours
in Ahmed 2024 (weight decay, training fraction, initialization) and in Liu, Chi and Wu, section 5.3 (input noise).
"""

from typing import Any

from circuits.config import Checkpoints, Config
from circuits.models.mlp import MLP
from circuits.optimizers import AdamW
from circuits.tasks.modular import Modular

SOURCE = "a small network that groks in seconds (not from a paper)"


def modular_31() -> Config:
    """A small network that groks in seconds: x + y mod 31, trained on half of all pairs, weight decay 1."""
    return Config(
        name="modular-31",
        source=SOURCE,
        task=Modular(p=31),
        model=MLP(widths=(128,), activation="square", biases=False, init="normal"),
        optimizer=AdamW(lr=0.01, weight_decay=1.0, betas=(0.9, 0.98)),
        loss="cross_entropy",
        batch_size=None,
        epochs=2000,
        seeds=(0, 1, 2, 3),
        checkpoints=Checkpoints(every_epochs=10),
        metrics=("parameter_norm",),
    )


def modular_31_decay() -> list[Config]:
    """Weight decay: always on, never on, removed early or late, or introduced at epoch 1000 with value 1 or 2."""
    off = {"optimizer__weight_decay": 0.0, "epochs": 3000}
    variants: dict[str, dict[str, Any]] = {
        "always": {},
        "never": {"optimizer__weight_decay": 0.0},
        "removed-early": {"weight_decay_changes": [{"epoch": 100, "value": 0.0}]},
        "removed-late": {"weight_decay_changes": [{"test_accuracy": 0.99, "delay_epochs": 300, "value": 0.0}]},
        "introduced": {**off, "weight_decay_changes": [{"epoch": 1000, "value": 1.0}]},
        "introduced-double": {**off, "weight_decay_changes": [{"epoch": 1000, "value": 2.0}]},
    }
    return _variants("modular-31-decay", variants)


def modular_31_fraction() -> list[Config]:
    """Training on 35 to 80 % of all pairs (x, y)."""
    return _variants("modular-31-fraction", {f"{f}": {"task__train_fraction": f} for f in (0.35, 0.5, 0.65, 0.8)})


def modular_31_noise() -> list[Config]:
    """Gaussian noise on the one-hot inputs in training, with standard deviation 0, 0.1, 0.3 or 1."""
    return _variants("modular-31-noise", {f"{sigma}": {"input_noise": sigma} for sigma in (0.0, 0.1, 0.3, 1.0)})


def modular_31_init_scale() -> list[Config]:
    """Initial parameters multiplied by 0.5 to 4."""
    return _variants("modular-31-init-scale", {f"{a}": {"model__init_scale": a} for a in (0.5, 1.0, 2.0, 4.0)})


def _variants(preset: str, variants: dict[str, dict[str, Any]]) -> list[Config]:
    return [modular_31().replace(name=f"{preset}/{name}", **changes) for name, changes in variants.items()]
