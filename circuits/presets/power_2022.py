"""Power, Burda, Edwards, Babuschkin and Misra 2022, "Grokking: Generalization beyond overfitting": operations mod 97.

Appendix A.1: a decoder-only transformer of 2 layers, width 128, 4 heads. AdamW with learning rate 10⁻³, weight decay 1,
β = (0.9, 0.98), linear warm-up over the first 10 updates. Batches of 512 or half the training set, whichever is
smaller; at most 10⁵ updates. The answer is read at the last token of "x o y =". Reimplementations agree on optimizer,
sizes, batches and updates; we could not check the warm-up against the paper's text.

Our choices: half of all pairs (x, y) are the training set, as in their Figure 1. The transformer has 512 MLP neurons
and a LayerNorm before each block, as decoders have. We train one seed; from checkpoint to checkpoint, the number of
updates grows by about 15 %. A run stops once its test accuracy has stayed at 99 % or more for six further checkpoints,
in which the number of updates more than doubles. Longer runs are not needed, since the paper measures only the number
of updates before generalization. The operation x*y is in the released code, but not in the paper.
"""

from circuits.config import Config
from circuits.models.transformer import Transformer
from circuits.optimizers import AdamW
from circuits.presets.log_steps import log_steps
from circuits.schedules import Stop
from circuits.tasks.modular import Modular
from circuits.tasks.operations import Operation

NAMES: dict[Operation, str] = {
    "x+y": "add",
    "x-y": "subtract",
    "x*y": "multiply",
    "x/y": "divide",
    "x/y if y odd, else x-y": "divide-or-subtract",
    "x^2+y^2": "squares",
    "x^2+x*y+y^2": "quadratic",
    "x^2+x*y+y^2+x": "quadratic-plus-x",
    "x^3+x*y": "cubic",
    "x^3+x*y^2+y": "cubic-plus-y",
}


def power_2022() -> list[Config]:
    """A config for each operation mod 97 in Power et al. 2022, appendix A.1, and one for x*y."""
    return [
        operation(what).replace(
            name=f"power-2022/{name}", source="Power et al. 2022, section 3.1 and appendix A.1", seeds=(0,)
        )
        for what, name in NAMES.items()
    ]


def operation(what: Operation) -> Config:
    """The transformer of Power et al. on one operation."""
    return Config(
        task=Modular(p=97, operation=what, train_fraction=0.5, encoding="tokens", sequence="x o y ="),
        model=Transformer(n_layers=2, n_heads=4, d_model=128, d_mlp=512, activation="relu", normalization="LN"),
        optimizer=AdamW(lr=0.001, weight_decay=1.0, betas=(0.9, 0.98), lr_warmup_steps=10),
        loss="cross_entropy",
        batch_size=512,
        epochs=10_000,
        steps=100_000,
        stop=Stop(test_accuracy=0.99, checkpoints=6),
        checkpoints=log_steps(100_000, every=10),
    )
