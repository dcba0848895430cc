"""The interfaces of tasks and models; each task and each model has its own file.

A task gives examples; a model turns parameters and inputs into outputs; a `Signature` describes inputs and outputs.
A model's forward pass draws no random numbers. It passes the value at every named hook point through a function, the
*tap*. In training the tap applies dropout and input noise; in analysis it records activations and masks neurons.
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
    """Inputs and outputs of a network.

    `n_inputs` is the number of numbers or tokens in an input. `n_classes` is the number of logits; None for one output,
    whose sign is the class. `d_vocab` is the number of different tokens; None if inputs are numbers.
    """

    n_inputs: int
    n_classes: int | None = None
    d_vocab: int | None = None


class PrunableLayer(NamedTuple):
    """A layer whose neurons can be pruned, with functions that read its weights from a network's parameters.

    `incoming` gives W (neuron, input) and b (neuron,), the weights into each neuron. `readout` gives the weights
    (neuron, output) from the neurons to the outputs; it is None if the outputs are not linear in the neurons. `axis` is
    the neurons' axis in the hook point's value: -1, or -2 for attention heads, whose values are vectors.
    """

    width: int
    incoming: Callable[[Mapping[str, np.ndarray]], tuple[np.ndarray, np.ndarray]]
    readout: Callable[[Mapping[str, np.ndarray]], np.ndarray] | None
    axis: int = -1


def untouched(name: str, value: Any) -> Any:
    """Returns `value`, the value that a model has at its hook point `name`, without a change."""
    return value


class Task(Part, ABC):
    """A task: its inputs, their targets, and the split into training and test set.

    `train_data` and `test_data` give arrays by name: `inputs` (example, input), `targets` (example,), and optional
    masks (example,), called marks. The run stores all of them.
    """

    inputs_are_signs: ClassVar[bool] = False
    """Whether all inputs and targets are -1 or 1. The training path "fused", the fastest on a CPU, requires this."""
    kind: str

    @property
    def test_is_shared(self) -> bool:
        """Whether all seeds have the same test set."""
        return True

    @property
    @abstractmethod
    def train_size(self) -> int:
        """Number of examples in the training set of one seed."""

    @property
    @abstractmethod
    def test_size(self) -> int:
        """Number of examples in a test set."""

    @property
    @abstractmethod
    def signature(self) -> Signature:
        """Inputs and outputs of a network for this task."""

    @property
    def has_numbers(self) -> bool:
        """Whether targets are numbers (regression), so that no output is right or wrong."""
        return False

    @property
    def has_data(self) -> bool:
        """Whether the data are given, not drawn, and at hand, so that a resume can compare them with the run's."""
        return False

    @property
    def unregistered(self) -> str | None:
        """What to do, as a sentence, if the `kind` of a run's task is not registered here; otherwise None."""
        return None

    @property
    def marks(self) -> dict[str, str]:
        """Names of groups of training examples; a run records the accuracy on each group.

        In {"flipped": "clean"}, "flipped" is a mask in `train_data`, and "clean" is a name for the examples outside it.
        """
        return {}

    @property
    def parity_bits(self) -> tuple[int, ...] | None:
        """Input bits whose product is the target, in ascending order; None if the target is not a parity.

        Measurements recognize a parity task by this property.
        """
        return None

    @abstractmethod
    def train_data(self, seed: int) -> dict[str, np.ndarray]:
        """The training set of one seed."""

    @abstractmethod
    def test_data(self, seed: int) -> dict[str, np.ndarray]:
        """The test set of one seed."""

    def check_seeds(self, seeds: Sequence[int]) -> None:
        """Raise a one-line ValueError if the data of any of these seeds cannot be drawn."""


class Model(Part, ABC):
    """A model: the shapes and initial values of its parameters, and its forward pass."""

    reads: ClassVar[Literal["numbers", "tokens"]] = "numbers"
    """Whether the model's inputs are numbers or tokens."""
    gives_classes: ClassVar[bool] = True
    """Whether the model can have one logit per class; otherwise it has one output."""
    lockstep: ClassVar[bool] = True
    """Whether `torch.vmap` can run the model over the parameters of many networks."""
    noise_at: ClassVar[str] = "hook_input"
    """The hook point where input noise is added."""
    reads_anything: ClassVar[bool] = False
    """Whether the model takes the inputs and outputs of any task, since nothing is known of its own."""
    is_recorded: ClassVar[bool] = False
    """Whether the model is a module that a caller's own loop trains, so that this package cannot train it."""
    relu_parameters: ClassVar[tuple[str, str, str] | None] = None
    """Names of W, b, u if the model is exactly uᵀ relu(W x + b)."""
    kind: str
    init_scale: PositiveFloat = 1.0
    """Factor α that multiplies all initial parameters, biases included (Liu, Michaud and Tegmark 2023)."""

    def supplied(self, module: torch.nn.Module) -> Model:
        """Return this model with the torch module that computes its outputs; only for a recorded model."""
        raise NotImplementedError

    @abstractmethod
    def shapes(self, signature: Signature) -> Shapes:
        """Dimension names and shape of every parameter."""

    @abstractmethod
    def initial(self, signature: Signature, seed: int) -> dict[str, np.ndarray]:
        """Parameters before any update, in float64, not yet multiplied by `init_scale`."""

    @abstractmethod
    def forward(self, parameters: Mapping[str, torch.Tensor], inputs: torch.Tensor, tap: Tap = untouched) -> Any:
        """Outputs (example,) or (example, class) for inputs (example, input); hook values pass through `tap`."""

    @property
    def unregistered(self) -> str | None:
        """What to do, as a sentence, if the `kind` of a run's model is not registered here; otherwise None."""
        return None

    @property
    def no_outputs(self) -> str | None:
        """Why outputs cannot be computed here, and what to do, as a sentence; None if they can."""
        return None

    @property
    def can_prepare(self) -> bool:
        """Whether the method `prepared` can return a faster forward pass for some inputs; if False, it never does."""
        return False

    def prepared(self, inputs: torch.Tensor) -> Callable[[Mapping[str, torch.Tensor]], Any] | None:
        """A faster `forward` for these inputs, as a function of the parameters; None if the model has no such function.

        The function's outputs equal those of `forward` up to rounding and are differentiable once. The function cannot
        read or replace the values at hook points, and may fail under `torch.vmap`.
        """
        return None

    @property
    def frozen(self) -> tuple[str, ...]:
        """Parameters that are stored but never trained."""
        return ()

    @property
    def dropout_at(self) -> dict[str, float]:
        """Hook points with dropout in training, each with its probability."""
        return {}

    def prunable_layers(self, signature: Signature) -> dict[str, PrunableLayer]:
        """Layers that can be pruned, from first to last; each key is the hook point of the layer's neurons."""
        return {}

    def embedding_table(self, parameters: Mapping[str, np.ndarray]) -> np.ndarray | None:
        """Embedding matrix, one row per token; None if the model has none.

        Shape (token, feature), or (position, token, feature) if every position has its own matrix. If inputs are
        numbers: the weights of each input, (input, feature).
        """
        return None

    def unembedding_table(self, parameters: Mapping[str, np.ndarray]) -> np.ndarray | None:
        """The last linear map before the logits, (feature, class); None if the model has none."""
        return None

    def bridge(self, parameters: Mapping[str, np.ndarray], signature: Signature) -> torch.nn.Module | None:
        """The network as a TransformerLens module, for `run.hooked_model()`; None if the model has no such module."""
        return None
