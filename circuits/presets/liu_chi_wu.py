"""Liu, Chi and Wu (a report without a year), "Grokking Phenomenon Exploration": x + y mod 97.

The report's sections:

1. A transformer of 2 layers and 4 heads on the two operands, trained on 30, 50 and 70 % of all pairs: AdamW, learning
   rate 0.003, `lr_gamma` 0.99, weight decay 1, batches of 512, at most 2000 epochs.
2. An MLP of hidden widths 512, 128, 64, 64 with GELU, and an LSTM of 2 layers with 128 units. The report calls their
   weight decay "larger" and gives no number.
3. A comparison of eight ways to train (`liu_chi_wu_optimizers.py`).
4. Sums of three and of four numbers.
5. The parameter norm (which every run of this file records), sparsity, noise on the inputs.

We chose the rest:

- The transformer has width 128, and 512 neurons in the MLP of each layer. It has LayerNorm, as in PyTorch's decoders.
- The transformer reads the two operands as tokens and embeds them. One-hot inputs times a matrix give the same.
- We read `lr_gamma` as the factor of the learning rate per epoch, its usual meaning. After 700 epochs, the rate is a
  thousandth of the initial rate, and learning ends. So we also train on every fraction at a constant rate.
- The MLP of section 2 reads one-hot pairs. MLP and LSTM have batches of 512 and the training fractions of section 1.
  Section 2 names no learning rate; ours is constant. Section 2 has three seeds; sections 1, 4 and 5 have one seed.
- The weight decay of MLP and LSTM is 0.3, since the MLP does not memorize with more. On 30 % of all pairs, the MLP's
  training accuracy is 0.8 with weight decay 1, but 0.5 with weight decay 1.5. In both cases, the test accuracy is 0.
  With one hidden layer and decay 0.3, the norm rises in memorization and falls in generalization, as in the report.
"""

from typing import Any, Literal

from circuits.config import Checkpoints, Config
from circuits.models.mlp import MLP
from circuits.models.recurrent import LSTM
from circuits.models.transformer import Transformer
from circuits.optimizers import AdamW
from circuits.tasks.modular import Modular

FRACTIONS = (0.3, 0.5, 0.7)
SUMMANDS = {3: Modular(p=31, n_summands=3, train_fraction=0.3, encoding="tokens")}
SUMMANDS[4] = Modular(p=51, n_summands=4, train_fraction=0.7, max_examples=400_000, encoding="tokens")


def liu_chi_wu_transformer() -> list[Config]:
    """Figures 1 and 6 of Liu, Chi and Wu: three training fractions, each at a decaying and a constant learning rate."""
    return [
        transformer(
            f"liu-chi-wu-transformer/fraction-{fraction}{'-constant-rate' if gamma == 1 else ''}",
            "section 1, Figures 1 and 6",
            task=Modular(p=97, train_fraction=fraction, encoding="tokens"),
            optimizer=AdamW(lr=0.003, weight_decay=1.0, lr_gamma=gamma),
        )
        for gamma in (0.99, 1.0)
        for fraction in FRACTIONS
    ]


def liu_chi_wu_mlp() -> list[Config]:
    """Figure 2: a multilayer perceptron with four hidden layers, trained on three different shares of all pairs."""
    model = MLP(widths=(512, 128, 64, 64), activation="gelu")
    return _by_fraction("liu-chi-wu-mlp", "section 2, Figure 2", "one-hot", model)


def liu_chi_wu_lstm() -> list[Config]:
    """Figure 3: an LSTM. The report does not state the width of the embedding; ours is 128, the number of units."""
    return _by_fraction("liu-chi-wu-lstm", "section 2, Figure 3", "tokens", LSTM(n_layers=2, d_embed=128, hidden=128))


def liu_chi_wu_three_summands() -> Config:
    """Figure 5: a transformer of 2 layers learns sums of three numbers mod 31 from 30 % of the examples."""
    return transformer("liu-chi-wu-three-summands", "section 4, Figure 5", task=SUMMANDS[3], epochs=1000)


def liu_chi_wu_four_summands() -> Config:
    """Figure 5, sums of four numbers mod 51, 70 % of the examples for training.

    We draw 400 000 of the 51⁴ = 6.8 million possible examples: 280 000 for training, 547 updates per epoch. With this
    choice, 63 % of the test examples are reordered training examples (same operands, other order). If we drew all
    possible examples, nearly 100 % of the test examples would be reordered training examples.
    """
    return transformer(
        "liu-chi-wu-four-summands",
        "section 4, Figure 5",
        task=SUMMANDS[4],
        epochs=60,
        checkpoints=Checkpoints(every_epochs=1),
    )


def liu_chi_wu_sparsity() -> Config:
    """Figure 7: x + y mod 97, half of all pairs. We give the "2-layer MLP" one hidden layer of 512 GELU neurons."""
    return _two_layers("liu-chi-wu-sparsity", "section 5.2, Figure 7")


def liu_chi_wu_perturbation() -> list[Config]:
    """Figure 8 of Liu, Chi and Wu: training with and without Gaussian noise on the one-hot inputs.

    The authors state neither the model nor the noise level. We use Figure 7's MLP and the standard deviation 0.1.
    """
    return [
        _two_layers(f"liu-chi-wu-perturbation/noise-{sigma}", "section 5.3, Figure 8", input_noise=sigma)
        for sigma in (0.0, 0.1)
    ]


def transformer(name: str, where: str, **changes: Any) -> Config:
    """Config of Liu, Chi and Wu's transformer (section 1). `changes` replace fields. `where` cites the figure."""
    fields: dict[str, Any] = {
        "task": Modular(p=97, encoding="tokens"),
        "model": Transformer(n_layers=2, n_heads=4, d_model=128, d_mlp=512, activation="relu", normalization="LN"),
        "optimizer": AdamW(lr=0.003, weight_decay=1.0, lr_gamma=0.99),
        "epochs": 2000,
        "checkpoints": Checkpoints(every_epochs=20),
    }
    return _config(name, where, **(fields | changes))


def _two_layers(name: str, where: str, **changes: Any) -> Config:
    model = MLP(widths=(512,), activation="gelu")
    return _config(name, where, task=Modular(p=97), model=model, **changes)


def _by_fraction(preset: str, where: str, encoding: Literal["one-hot", "tokens"], model: Any) -> list[Config]:
    return [
        _config(
            f"{preset}/fraction-{fraction}",
            where,
            task=Modular(p=97, train_fraction=fraction, encoding=encoding),
            model=model,
            seeds=(0, 1, 2),
        )
        for fraction in FRACTIONS
    ]


def _config(name: str, where: str, **changes: Any) -> Config:
    fields: dict[str, Any] = {
        "optimizer": AdamW(lr=0.003, weight_decay=0.3),
        "loss": "cross_entropy",
        "batch_size": 512,
        "epochs": 2000,
        "seeds": (0,),
        "checkpoints": Checkpoints(every_epochs=20),
        "metrics": ("parameter_norm",),
    }
    return Config(name=name, source=f"Liu, Chi and Wu, {where}", **(fields | changes))
