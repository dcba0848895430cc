"""Merrill, Tsilivis and Shukla 2023, "A Tale of Two Circuits": (40,3) sparse parity.

Section 2 gives everything but the number of epochs, for which we take the 300 of the released code; its test set of 100
points is drawn from seed 2001 there, a number we keep though our generator is another one. The paper writes the penalty
as λ‖θ‖₂, the code applies λ as `torch.optim.SGD` does (gradient λθ); so do we.
"""

from circuits.config import SGD, Checkpoints, Config
from circuits.models.relu import Relu
from circuits.tasks.parity import Parity


def merrill_2023() -> Config:
    """The standard set-up of the paper: Figures 2, 3 and 5."""
    return Config(
        name="merrill-2023",
        source="Merrill et al. 2023, section 2",
        task=Parity(n=40, k=3, n_train=1000, n_test=100, test_seed=2001),
        model=Relu(width=1000),
        optimizer=SGD(lr=0.1, weight_decay=0.01),
        loss="hinge",
        batch_size=32,
        epochs=300,
        seeds=(0, 1, 2, 3, 4),
        checkpoints=Checkpoints(every_epochs=1),
    )
