"""What a task and a model are: the interfaces that a new one fills, each in a file of its own.

A task gives examples, a model turns parameters and inputs into outputs; a `Signature` says what goes in and out between
them. Models know no randomness: dropout and input noise are put on their values from outside, by the *tap* that every
named hook point passes its value through. The same taps record activations and mask neurons.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

from circuits.config_base import Part, PositiveFloat

if TYPE_CHECKING:
    import numpy as np
    import torch

Shapes = dict[str, tuple[tuple[str, ...], tuple[int, ...]]]  # parameter -> (its dimensions' names, its shape)
Tap = Callable[[str, Any], Any]


class Signature(NamedTuple):
    """What a network takes and gives.

    `n_inputs` numbers or tokens in one input; `n_classes` logits, or None: one output, whose sign is the class;
    `d_vocab` tokens, or None: inputs are numbers.
    """

    n_inputs: int
    n_classes: int | None = None
    d_vocab: int | None = None


class PrunableLayer(NamedTuple):
    """A layer whose neurons can be pruned, and how to read it off a network's parameters.

    `incoming` gives W (neuron, input) and b (neuron,), the weights into each neuron; `readout` (neuron, output) the
    weights by which the neurons' values are added to the outputs, or is None where what follows them is not linear.
    """

    width: int
    incoming: Callable[[Mapping[str, np.ndarray]], tuple[np.ndarray, np.ndarray]]
    readout: Callable[[Mapping[str, np.ndarray]], np.ndarray] | None


def untouched(name: str, value: Any) -> Any:
    """The tap that does nothing."""
    return value


class Task(Part, ABC):
    """What is learned: the inputs, their targets, and how they are split.

    `train_data` and `test_data` give arrays by name: `inputs` (example, input), `targets` (example,), and any further
    mark per example. All of them are stored in the run.
    """

    inputs_are_signs: ClassVar[bool] = False
    """Whether every input is -1 or 1, and every target: the fused step adds up signs."""
    kind: str

    @property
    def test_is_shared(self) -> bool:
        """Whether all seeds have the same test set."""
        return True

    @property
    @abstractmethod
    def train_size(self) -> int:
        """Examples in the training set of one seed."""

    @property
    @abstractmethod
    def test_size(self) -> int:
        """Examples in a test set."""

    @property
    @abstractmethod
    def signature(self) -> Signature:
        """What a network for this task takes and gives."""

    @property
    def marks(self) -> dict[str, str]:
        """Marks of training examples for which accuracy is told apart, and what those without are called."""
        return {}

    @property
    def parity_bits(self) -> tuple[int, ...] | None:
        """Input bits whose product is the target, ascending; None if the target is not a parity.

        Everything about parity asks this, not whether the task has relevant bits: a majority has them too.
        """
        return None

    @abstractmethod
    def train_data(self, seed: int) -> dict[str, np.ndarray]:
        """The training set of one seed."""

    @abstractmethod
    def test_data(self, seed: int) -> dict[str, np.ndarray]:
        """The test set of one seed."""

    def check_seeds(self, seeds: Sequence[int]) -> None:
        """Raise a ValueError of one line if the data of one of these seeds cannot be drawn."""


class Model(Part, ABC):
    """What learns: its parameters' shapes, their initial values, and the outputs made of them."""

    reads: ClassVar[Literal["numbers", "tokens"]] = "numbers"
    """What its inputs are."""
    gives_classes: ClassVar[bool] = True
    """Whether it can have a logit per class; if not, it has one output."""
    lockstep: ClassVar[bool] = True
    """Whether `torch.vmap` can run it over the parameters of many networks."""
    noise_at: ClassVar[str] = "hook_input"
    """The hook point where input noise is added."""
    relu_parameters: ClassVar[tuple[str, str, str] | None] = None
    """Names of W, b, u if the model is exactly uᵀ relu(W x + b)."""
    kind: str
    init_scale: PositiveFloat = 1.0
    """Factor α of all initial parameters, biases included (Liu, Michaud and Tegmark 2023)."""

    @abstractmethod
    def shapes(self, signature: Signature) -> Shapes:
        """Dimensions and shape of every parameter."""

    @abstractmethod
    def initial(self, signature: Signature, seed: int) -> dict[str, np.ndarray]:
        """Parameters before any update, in float64, without `init_scale`."""

    @abstractmethod
    def forward(self, parameters: Mapping[str, torch.Tensor], inputs: torch.Tensor, tap: Tap = untouched) -> Any:
        """Outputs (example,) or (example, class) for inputs (example, input); hook points pass through `tap`."""

    @property
    def can_prepare(self) -> bool:
        """Whether `prepared` may have something to offer."""
        return False

    def prepared(self, inputs: torch.Tensor) -> Callable[[Mapping[str, torch.Tensor]], Any] | None:
        """A faster `forward` for these inputs, a function of the parameters alone; None where there is none.

        Its outputs are those of `forward` up to rounding, and differentiable once. It calls no tap, so it serves where
        nothing is tapped; it need not work under `torch.vmap`.
        """
        return None

    @property
    def frozen(self) -> tuple[str, ...]:
        """Parameters that are stored but never trained."""
        return ()

    @property
    def dropout_at(self) -> dict[str, float]:
        """Hook points at which values are dropped in training, and with what probability."""
        return {}

    def prunable_layers(self, signature: Signature) -> dict[str, PrunableLayer]:
        """The layers that can be pruned, by the hook point of their neurons' values, from first to last."""
        return {}

    def embedding_table(self, parameters: Mapping[str, np.ndarray]) -> np.ndarray | None:
        """What each token, or each number of an input, is turned into, as rows; None where there is no such table.

        (token, feature), or (position, token, feature) if every position has a table of its own; of numbers
        (input, feature), the weights by which each input enters.
        """
        return None

    def unembedding_table(self, parameters: Mapping[str, np.ndarray]) -> np.ndarray | None:
        """The last linear map before the logits, (feature, class); None where there is none."""
        return None

    def bridge(self, parameters: Mapping[str, np.ndarray], signature: Signature) -> torch.nn.Module | None:
        """TransformerLens's own module of the same network, which a run then gives out; None if there is none."""
        return None
