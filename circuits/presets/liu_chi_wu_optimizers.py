"""Liu, Chi and Wu, section 3: the best validation accuracy of eight ways to train, by training fraction.

The model is the transformer of section 1 (`liu_chi_wu`), trained on 30 to 95 % of all pairs mod 97, in steps of 5 %.
The seeds are 10, 11 and 12, and a run has at most 15 000 updates. The report's Figure 4 has one panel per way to train,
like Figure 2 (left) of Power et al. 2022. Here each panel is a preset, and each fraction a config of it. The report
does not state learning rates, the batch size or the settings of RMSProp. Our choices:

- the learning rate is 0.003, constant. Section 1 multiplies the rate by 0.99 after each epoch. In full-batch training,
  an epoch is one update, so learning would end after 700 of the 15 000 updates;
- minibatches have 512 examples;
- AdamW has weight decay 0.3 in the panel "weight decay", as in Power et al. In all other panels, AdamW has weight decay
  0, so that a comparison of the panels can show whether "weight decay plays a critical role";
- Adam and RMSProp have weight decay 0.0003; RMSProp has learning rate 0.001, and otherwise PyTorch's settings.

A run stops early once every seed has answered the whole test set correctly at two consecutive checkpoints.
"""

from typing import Any

from circuits.config import Checkpoints, Config
from circuits.optimizers import Adam, AdamW, Optimizer, RMSProp
from circuits.presets.liu_chi_wu import transformer
from circuits.schedules import Stop
from circuits.tasks.modular import Modular

PERCENTS = tuple(range(30, 100, 5))
BASELINE = AdamW(lr=0.003, weight_decay=0.0)


def liu_chi_wu_full_batch() -> list[Config]:
    """AdamW, all examples in one update."""
    return _panel("full-batch", BASELINE, batch_size=None)


def liu_chi_wu_minibatch() -> list[Config]:
    """AdamW with 512 examples per update, learning rate 0.003 and no weight decay."""
    return _panel("minibatch", BASELINE)


def liu_chi_wu_adam() -> list[Config]:
    """Adam with weight decay 0.0003, added to the gradient."""
    return _panel("adam", Adam(lr=0.003, weight_decay=0.0003))


def liu_chi_wu_weight_decay() -> list[Config]:
    """AdamW with weight decay 0.3."""
    return _panel("weight-decay", AdamW(lr=0.003, weight_decay=0.3))


def liu_chi_wu_dropout() -> list[Config]:
    """AdamW with dropout 0.1."""
    return [config.replace(model__dropout=0.1) for config in _panel("dropout", BASELINE)]


def liu_chi_wu_large_lr() -> list[Config]:
    """AdamW with learning rate 0.03 instead of 0.003."""
    return _panel("large-lr", AdamW(lr=0.03, weight_decay=0.0))


def liu_chi_wu_small_lr() -> list[Config]:
    """AdamW with learning rate 0.0003 instead of 0.003."""
    return _panel("small-lr", AdamW(lr=0.0003, weight_decay=0.0))


def liu_chi_wu_rmsprop() -> list[Config]:
    """RMSProp with learning rate 0.001 and weight decay 0.0003."""
    return _panel("rmsprop", RMSProp(lr=0.001, weight_decay=0.0003))


def _panel(name: str, optimizer: Optimizer, **changes: Any) -> list[Config]:
    return [
        transformer(
            f"liu-chi-wu-{name}/fraction-{percent / 100:.2f}",
            "section 3, Figure 4",
            task=Modular(p=97, train_fraction=percent / 100, encoding="tokens"),
            optimizer=optimizer,
            epochs=15_000,
            steps=15_000,
            stop=Stop(test_accuracy=1.0, checkpoints=1),
            seeds=(10, 11, 12),
            checkpoints=Checkpoints(every_epochs=None, every_steps=1000),
            metrics=(),
            **changes,
        )
        for percent in PERCENTS
    ]
