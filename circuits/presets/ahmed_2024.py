"""Ahmed 2024 (AIMS Ghana, master's essay): x + y mod p by recurrent networks, with changes of weight decay.

Table 7.2: embedding 128, 128 units, initial parameters times α = 5, AdamW with weight decay 0.01, batches of 32, 6000
epochs. Networks train on 30, 50 or 70 % of all pairs, but on 50 % in the weight-decay experiments of chapter 5. With
50 %, a run has 1.2 million updates. The input is `<sos> x + y mod =` (section 7.1). Our choices, not in the essay:

- p = 113, as the 114 tokens of Table 7.1 imply; the modulus 91 in section 7.1 is not prime;
- the RNN has one layer; its other settings are those of the LSTM. At 70 %, with α = 5, the RNN learned nothing in 600
  epochs; with α = 1 (`ahmed-2024-init-scale`) the RNN memorized within 160 epochs;
- learning rate 0.001 and the betas of PyTorch; one seed, since every figure shows single curves;
- a checkpoint every 20 epochs; no early stop, since the essay draws all 6000 epochs.
"""

from typing import Any

from circuits.config import Checkpoints, Config
from circuits.models.recurrent import LSTM, RNN
from circuits.models.transformer import Transformer
from circuits.optimizers import Adam, AdamW
from circuits.tasks.modular import Modular

SEQUENCE = "<sos> x + y mod ="
FRACTIONS = (0.3, 0.5, 0.7)
MODELS = {"rnn": RNN(init_scale=5.0), "lstm": LSTM(init_scale=5.0)}
REMOVED = (60, 70, 97, 200, 3495, 3690, 3850, 4270)
INTRODUCED = (500, 2000)


def ahmed_2024_lstm() -> list[Config]:
    """Figure 5.2: an LSTM learns x + y mod 113 from 30, 50 or 70 % of all pairs (x, y)."""
    return _by_fraction("ahmed-2024-lstm", "Figure 5.2", ["lstm"])


def ahmed_2024_rnn() -> list[Config]:
    """Figure 5.3: an RNN learns x + y mod 113 from 30, 50 or 70 % of all pairs (x, y)."""
    return _by_fraction("ahmed-2024-rnn", "Figure 5.3", ["rnn"])


def ahmed_2024_transformer() -> Config:
    """Table 7.1 of Ahmed's essay (2024): a transformer on three tokens, `x y =`, to compare with recurrent networks.

    The essay states the transformer's architecture but not its training, and shows no curve of the transformer. We
    train the transformer like the essay's LSTM on 50 % of all pairs (x, y), but do not scale its initial parameters,
    since the essay says that transformers do not need this. `nanda-2023` trains this network as in Nanda et al. 2023.
    """
    return _config(
        "ahmed-2024-transformer",
        "Table 7.1",
        task=_task(sequence="x y ="),
        model=Transformer(n_layers=1, n_heads=4, d_model=128, d_head=32, d_mlp=512, activation="relu"),
    )


def ahmed_2024_adam() -> list[Config]:
    """Figures 7.1a and 7.3a: Adam without any regularization."""
    return _by_fraction("ahmed-2024-adam", "Figures 7.1a and 7.3a", MODELS, optimizer=Adam(lr=0.001))


def ahmed_2024_dropout() -> list[Config]:
    """Figures 7.1b, 7.2a, 7.3b and 7.4a: dropout 0.5, with Adam and with AdamW."""
    figures = "Figures 7.1b, 7.2a, 7.3b and 7.4a"
    optimizers = {"adam": Adam(lr=0.001), "adamw": AdamW(lr=0.001, weight_decay=0.01)}
    return [
        config.replace(
            name=config.name.replace("dropout/", f"dropout/{name}-"),
            model__dropout=0.5,
            optimizer=optimizer.model_dump(),
        )
        for name, optimizer in optimizers.items()
        for config in _by_fraction("ahmed-2024-dropout", figures, MODELS)
    ]


def ahmed_2024_init_scale() -> list[Config]:
    """Figure 7.8: PyTorch's initial parameters times α = 1 and α = 5, trained on 70 % of all pairs (x, y)."""
    return [
        _config(
            f"ahmed-2024-init-scale/{kind}-{alpha}",
            "Figure 7.8",
            task=_task(train_fraction=0.7),
            model=model.model_copy(update={"init_scale": float(alpha)}),
        )
        for kind, model in MODELS.items()
        for alpha in (1, 5)
    ]


def ahmed_2024_no_decay() -> Config:
    """Figure 5.4: no weight decay. Its second panel continues the first, so we train twice the usual 6000 epochs."""
    longer: dict[str, Any] = {"epochs": 12_000, "checkpoints": Checkpoints(every_epochs=40)}
    return _config("ahmed-2024-no-decay", "Figure 5.4", optimizer=AdamW(lr=0.001, weight_decay=0.0), **longer)


def ahmed_2024_decay_removed() -> list[Config]:
    """Figures 5.5, 5.6, 7.5 and 7.6: weight decay set to 0 after 60 to 4270 epochs."""
    return [
        _config(
            f"ahmed-2024-decay-removed/epoch-{epoch}",
            "Figures 5.5, 5.6, 7.5 and 7.6",
            weight_decay_changes=({"epoch": epoch, "value": 0.0},),
        )
        for epoch in REMOVED
    ]


def ahmed_2024_decay_introduced() -> list[Config]:
    """Figures 5.7 and 7.7: weight decay 0 up to epoch 500 or 2000 (our choice), then 0.01 or 0.02; four configs."""
    return [
        _config(
            f"ahmed-2024-decay-introduced/epoch-{epoch}-decay-{value}",
            "Figures 5.7 and 7.7",
            optimizer=AdamW(lr=0.001, weight_decay=0.0),
            weight_decay_changes=({"epoch": epoch, "value": value},),
        )
        for epoch in INTRODUCED
        for value in (0.01, 0.02)
    ]


def _config(name: str, where: str, **changes: Any) -> Config:
    """Config: an LSTM on half of all pairs (x, y). `changes` replace fields; `where` cites a table or figure."""
    fields: dict[str, Any] = {
        "task": _task(),
        "model": MODELS["lstm"],
        "optimizer": AdamW(lr=0.001, weight_decay=0.01),
        "loss": "cross_entropy",
        "batch_size": 32,
        "epochs": 6000,
        "seeds": (0,),
        "checkpoints": Checkpoints(every_epochs=20),
        "metrics": ("parameter_norm",),
    }
    return Config(name=name, source=f"Ahmed 2024, {where}", **(fields | changes))


def _task(train_fraction: float = 0.5, sequence: str = SEQUENCE) -> Modular:
    return Modular(p=113, train_fraction=train_fraction, encoding="tokens", sequence=sequence)


def _by_fraction(preset: str, where: str, kinds: Any, **changes: Any) -> list[Config]:
    """One config for each model kind in `kinds` and each training fraction; `where` names figures of Ahmed 2024."""
    return [
        _config(
            f"{preset}/{f'{kind}-' if len(kinds) > 1 else ''}fraction-{fraction}",
            where,
            task=_task(fraction),
            model=MODELS[kind],
            **changes,
        )
        for kind in kinds
        for fraction in FRACTIONS
    ]
