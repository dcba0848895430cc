"""The layer to prune: norms, readout and parameters of its neurons, for any model.

A model lists its prunable layers (`Model.prunable_layers`) by hook point, each with the weights into its neurons and,
if the readout is linear, with the readout. The option `layer` chooses the layer to prune, by default the last.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from circuits.analysis.networks.applies import Question, has_prunable_layer, require
from circuits.analysis.networks.options import Norm, PruningOptions
from circuits.analysis.subnetworks.pruning import incoming_norms
from circuits.checkpoints.run import Run
from circuits.config import Config
from circuits.errors import InputError
from circuits.interfaces import PrunableLayer


class Layer(NamedTuple):
    """A prunable layer of a config's networks; `hook` is the hook point of the values of its neurons."""

    config: Config
    hook: str
    part: PrunableLayer

    @property
    def width(self) -> int:
        """Number of neurons."""
        return self.part.width

    @property
    def is_linear(self) -> bool:
        """Whether the network's outputs are linear in the values of the layer's neurons."""
        return self.part.readout is not None

    @property
    def has_classes(self) -> bool:
        """Whether the network has an output per class; otherwise the sign of its only output is the class."""
        return self.config.task.signature.n_classes is not None

    @property
    def prediction(self) -> str:
        """Kind of prediction, "sign" or "class"."""
        return "class" if self.has_classes else "sign"

    def readout(self, net: Mapping[str, np.ndarray]) -> np.ndarray | None:
        """Readout weights (neuron, class), or (neuron,) for one output; None if the readout is not linear."""
        if self.part.readout is None:
            return None
        weights = self.part.readout(net)
        return weights if self.has_classes else weights[:, 0]

    def norms(self, net: Mapping[str, np.ndarray], norm: Norm = "incoming") -> Float[np.ndarray, " neuron"]:
        """Norm of each neuron of one network, in float64; see `incoming_norms`."""
        W, b = self.part.incoming(net)
        return incoming_norms(W, b, self.readout(net) if norm == "path" else None, norm)


def relu_weights(config: Config, net: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights W (neuron, input), b and u (neuron,) of a network that is exactly uᵀ relu(W x + b)."""
    W, b, u = (net[name] for name in config.model.relu_parameters or ())
    return W, b, u


def last_layer(config: Config) -> Layer:
    """The last prunable layer of a config; the config must have a prunable layer.

    Examples
    --------
    >>> import circuits
    >>> last_layer(circuits.preset("merrill-2023")).hook
    'hook_post'
    """
    return Layer(config, *list(config.prunable_layers.items())[-1])


def layer_of(run: Run, options: PruningOptions = PruningOptions(), question: Question = has_prunable_layer) -> Layer:
    """The layer of a run that `options` chooses; the run's config must fulfill the condition `question`.

    Raises
    ------
    InputError
        The model has no prunable layer. Or the model has no layer with the name `options.layer`. Or `options.norm` is
        "path", and the network's outputs are not linear in the values of the layer's neurons.
    """
    layers, kind = run.config.prunable_layers, run.config.model.kind
    require(run, question)
    hook = list(layers)[-1] if options.layer is None else options.layer
    if hook not in layers:
        raise InputError(
            f"{run.path} holds a '{kind}' model, which has no layer '{hook}' to prune. It has: {', '.join(layers)}."
        )
    layer = Layer(run.config, hook, layers[hook])
    if options.norm == "path" and not layer.is_linear:
        linear = [name for name, part in layers.items() if part.readout is not None]
        or_linear_layer = f", or layer={linear[-1]!r}" if linear else ""
        raise InputError(
            f"{run.path}: norm 'path' needs a linear readout; the layer '{hook}' of its '{kind}' model has none. "
            f"Pass norm='incoming'{or_linear_layer}."
        )
    return layer
