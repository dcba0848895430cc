"""Nanda, Chan, Lieberum, Smith and Steinhardt 2023, "Progress measures for grokking via mechanistic interpretability".

Section 3: x + y mod 113 as "x y =", 30 % of all pairs for training. A transformer of one layer without normalization
(width 128, 4 heads, 512 ReLU neurons), full batch, AdamW with learning rate 10⁻³ and weight decay 1, 40 000 epochs. The
loss is computed in float64, since in float32 the loss of a network that has memorized rounds to 0.

Our choices: β = (0.9, 0.98) and 10 updates of warm-up, as in Power et al. 2022. Attention and MLP have biases, and we
draw the initial parameters as TransformerLens does. We train one seed for 20 000 epochs, half as many as the paper.
Other reimplementations use the same task, sizes, optimizer and batches. We could not check the 40 000 in the paper.
"""

from circuits.config import Checkpoints, Config
from circuits.models.transformer import Transformer
from circuits.optimizers import AdamW
from circuits.tasks.modular import Modular


def nanda_2023() -> Config:
    """The mainline model of the paper's section 4."""
    return Config(
        name="nanda-2023",
        source="Nanda et al. 2023, section 3",
        task=Modular(p=113, train_fraction=0.3, encoding="tokens", sequence="x y ="),
        model=Transformer(n_layers=1, n_heads=4, d_model=128, d_mlp=512, activation="relu"),
        optimizer=AdamW(lr=0.001, weight_decay=1.0, betas=(0.9, 0.98), lr_warmup_steps=10),
        loss="cross_entropy",
        loss_dtype="float64",
        batch_size=None,
        epochs=20_000,
        seeds=(0,),
        checkpoints=Checkpoints(every_epochs=80),
        metrics=("parameter_norm",),
    )
