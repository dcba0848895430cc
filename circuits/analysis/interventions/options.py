"""Options of the measurement "ablation"."""

from typing import Literal

from circuits.analysis.networks.options import PruningOptions


class AblationOptions(PruningOptions):
    """Options of pruning (inherited), which choose the layer, and the kind of ablation."""

    ablation_components: Literal["neurons", "groups", "heads"] = "neurons"
    """Components to ablate in turn: each neuron of the layer, each group of neurons (generalizing, memorizing,
    complementary, control), or each attention head of a transformer's last attention layer."""
    ablation_method: Literal["zero", "mean"] = "zero"
    """Value of an ablated neuron or head: 0, or its mean over the training set."""
    ablation_set: Literal["train", "test"] = "test"
    """Examples on which accuracy and loss are measured."""
