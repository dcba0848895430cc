"""Fuangkawinsombut 2024 (MEng thesis); Fuangkawinsombut and Somsirivattana 2023 (blog): (n,k)-parity (k of n bits).

Section 2.1 and appendix B: n = 50, width 500, hinge loss, SGD with learning rate 0.1, batches of 32, weight decay 0.01.
In the authors' code, the seed is 2023 for the test set (100 points) and the run's number for the training set. We draw
both as that code does, and also stop at epoch 500. The figures average five unstated seeds; ours are 0 to 4.

Chapter 3 changes one setting at a time and states neither seeds nor epochs; ours are those of chapter 2. Outliers are
training examples with a flipped label. The thesis flips a fraction of the labels. The blog flips each label with some
probability. We flip an exact share. A larger share flips the same labels and more, so runs differ only in the share.

Chapter 4 asks for the fewest neurons that suffice. It does not state widths, epochs, seeds or the strength of the L1
penalty that section 4.3 suggests. Here our own generator draws the data. The optimizer is that of section 2.1. We train
50 seeds, twice as long as at width 500, since narrow networks are slow. Our L1 penalty has strength 0.001: as many
seeds learn the parity as without a penalty, and at least a fifth of the weights become exactly 0. With strength 0.01,
half of the seeds do not learn the parity for k = 2, and no seed learns it for k = 3.
"""

from circuits.config import SGD, Checkpoints, Config
from circuits.models.relu import Relu
from circuits.schedules import WeightDecayChange
from circuits.tasks.parity import Parity

WIDTHS = {2: (2, 3, 4, 5, 6), 3: (4, 5, 6, 8, 32)}
L1 = 0.001
TASKS = {2: Parity(n=50, k=2, n_train=300, n_test=100, test_seed=2023)}
TASKS[3] = Parity(n=50, k=3, n_train=1000, n_test=100, test_seed=2023)
RAISED = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0)
FLIPPED: dict[float, dict[int, tuple[int, ...]]] = {  # weight decay -> n -> percent of the training targets
    0.01: {30: (0, 2, 4, 5, 6, 7), 50: (0, 2, 3, 4, 5, 6), 70: (0, 1, 2, 3)},
    0.05: {30: (0, 8, 11, 12, 13, 14), 50: (0, 4, 5, 6, 7, 8), 70: (0, 2, 3, 4)},
    0.1: {30: (0, 15, 18, 20, 21, 22), 50: (0, 5, 10, 12, 13, 15), 70: (0, 3, 5, 6, 7, 8)},
}


def fuangkawinsombut_2024() -> Config:
    """Parity of 2 of 50 bits, the setting of Figures 2.1 to 2.4 in Fuangkawinsombut's thesis (2024)."""
    return Config(
        name="fuangkawinsombut-2024",
        source="Fuangkawinsombut 2024, section 2.1 and appendix B; blog, Figures 1 to 4",
        task=Parity(n=50, k=2, n_train=300, n_test=100, draw="thesis-code"),
        model=Relu(width=500),
        optimizer=SGD(lr=0.1, weight_decay=0.01),
        loss="hinge",
        batch_size=32,
        epochs=500,
        seeds=(0, 1, 2, 3, 4),
        checkpoints=Checkpoints(every_epochs=1),
    )


def fuangkawinsombut_2024_k3() -> Config:
    """Appendix A.1, Figures A.1 to A.4: (50,3)-parity, 1000 examples, 1000 epochs. We chose the width, 500."""
    return fuangkawinsombut_2024().replace(
        name="fuangkawinsombut-2024-k3",
        source="Fuangkawinsombut 2024, appendix A.1",
        task__k=3,
        task__n_train=1000,
        epochs=1000,
        checkpoints__every_epochs=2,
    )


def fuangkawinsombut_2024_raised_decay() -> list[Config]:
    """Section 3.1, Figures 3.1 and 3.2 of a thesis: weight decay raised once all training examples are right.

    The thesis (Fuangkawinsombut 2024) does not state the raised weight decays. It states that networks fail to
    generalize above a threshold of approximately 0.1 to 0.5. Our weight decays lie below, within and above this range.
    """
    changes = {value: [WeightDecayChange(train_accuracy=1.0, value=value).model_dump()] for value in RAISED}
    return [
        fuangkawinsombut_2024().replace(
            name=f"fuangkawinsombut-2024-raised-decay/{value}",
            source="Fuangkawinsombut 2024, section 3.1",
            checkpoints__every_epochs=2,
            weight_decay_changes=change,
        )
        for value, change in {0.01: [], **changes}.items()
    ]


def fuangkawinsombut_2024_outliers() -> list[Config]:
    """Section 3.2, Figures 3.3 to 3.5 and Table 3.1: some training targets are flipped.

    For several numbers of input bits and several weight decays, Table 3.1 lists a threshold: the largest share of
    flipped targets at which networks still generalize. The thesis states neither the shares that it tried nor which
    test accuracy it requires. Our threshold is the largest share at which at least half the seeds ever exceed 0.98. We
    train with the share 0, with the shares in the figures and the table, and with shares in steps of 1 % around our
    threshold. Five seeds train on 300 examples. Checkpoints are 5 epochs apart, since a high accuracy may be brief.
    """
    return [
        fuangkawinsombut_2024().replace(
            name=f"fuangkawinsombut-2024-outliers/n{n}-decay{weight_decay}-flipped{percent / 100:.2f}",
            source="Fuangkawinsombut 2024, section 3.2",
            task__n=n,
            task__flip_fraction=percent / 100,
            optimizer__weight_decay=weight_decay,
            checkpoints__every_epochs=5,
        )
        for weight_decay, by_n in FLIPPED.items()
        for n, percents in by_n.items()
        for percent in percents
    ]


def fuangkawinsombut_2024_widths() -> list[Config]:
    """Sections 4.2 and 4.3: how often 2 to 6 neurons learn (50,2)-parity, and 4 to 32 neurons (50,3)-parity."""
    return [
        Config(
            name=f"fuangkawinsombut-2024-widths/k{k}-width{width}{'-l1' if l1 else ''}",
            source="Fuangkawinsombut 2024, sections 4.2 and 4.3",
            task=TASKS[k],
            model=Relu(width=width),
            optimizer=SGD(lr=0.1, weight_decay=0.01, l1=l1),
            batch_size=32,
            epochs=1000 if k == 2 else 2000,
            seeds=tuple(range(50)),
            checkpoints=Checkpoints(every_epochs=10),
            metrics=("zero_weights", "small_weights"),
        )
        for k, widths in WIDTHS.items()
        for width in widths
        for l1 in (0.0, L1)
    ]
