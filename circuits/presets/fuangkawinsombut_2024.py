"""Fuangkawinsombut 2024 (MEng thesis), "(n,k)-parity": few training examples, and networks with few neurons.

Section 2.1 and appendix B: n = 50, width 500, hinge, SGD with learning rate 0.1, batches of 32, weight decay 0.01. The
code fixes the test set (100 points, seed 2023), seeds the training data with the run's number, and stops at epoch 500.

Chapter 4 asks how few neurons suffice, and states neither widths, epochs nor seeds, nor how strong the L1 penalty is
that section 4.3 suggests. Ours: the thesis's data and optimizer, 50 seeds each, and twice as many epochs, since narrow
networks are slow. L1 is 0.001: as many seeds succeed as without, and a fifth or more of the weights are exactly zero;
ten times as much prevents learning in half the seeds at k = 2, and in all at k = 3.
"""

from circuits.config import SGD, Checkpoints, Config
from circuits.models.relu import Relu
from circuits.tasks.parity import Parity

WIDTHS = {2: (2, 3, 4, 5, 6), 3: (4, 5, 6, 8, 32)}
L1 = 0.001
TASKS = {2: Parity(n=50, k=2, n_train=300, n_test=100, test_seed=2023)}
TASKS[3] = Parity(n=50, k=3, n_train=1000, n_test=100, test_seed=2023)


def fuangkawinsombut_2024_widths() -> list[Config]:
    """Sections 4.2 and 4.3: how often networks of 2 to 6 neurons learn (50,2), and of 4 to 32 (50,3)."""
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
