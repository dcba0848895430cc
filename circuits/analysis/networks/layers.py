"""The layer whose neurons are pruned, of any model: which it is, how large its neurons are, by what parameters.

A model names the hook points at which neurons can be pruned (`Model.prunable_layers`), their incoming weights, and the
readout from them where it is linear. The option `layer` chooses; by default the last one is pruned.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from circuits.analysis.networks.applies import has_prunable_layer, require
from circuits.analysis.networks.options import Norm, PruningOptions
from circuits.analysis.subnetworks.pruning import incoming_norms
from circuits.checkpoints.run import Run
from circuits.config import Config
from circuits.errors import InputError
from circuits.interfaces import PrunableLayer


class Layer(NamedTuple):
    """A layer of a config's networks that can be pruned; `hook` is the hook point of its neurons' values."""

    config: Config
    hook: str
    found: PrunableLayer

    @property
    def width(self) -> int:
        """Its neurons."""
        return self.found.width

    @property
    def is_linear(self) -> bool:
        """Whether the outputs are linear in its neurons' values."""
        return self.found.readout is not None

    @property
    def has_classes(self) -> bool:
        """Whether the network has an output per class; if not, it has one, whose sign counts."""
        return self.config.task.signature.n_classes is not None

    @property
    def prediction(self) -> str:
        """What the network predicts: a "sign" or a "class"."""
        return "class" if self.has_classes else "sign"

    def readout(self, net: Mapping[str, np.ndarray]) -> np.ndarray | None:
        """Weights (neuron, class), or (neuron,) of one output; None where the readout is not linear."""
        if self.found.readout is None:
            return None
        weights = self.found.readout(net)
        return weights if self.has_classes else weights[:, 0]

    def norms(self, net: Mapping[str, np.ndarray], norm: Norm = "incoming") -> Float[np.ndarray, " neuron"]:
        """Size of each neuron of one network, in float64; see `incoming_norms`."""
        W, b = self.found.incoming(net)
        return incoming_norms(W, b, self.readout(net) if norm == "path" else None, norm)


def relu_weights(config: Config, net: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """W (neuron, input), b and u (neuron,) of a network that is exactly uᵀ relu(W x + b), in the model's own names."""
    W, b, u = (net[name] for name in config.model.relu_parameters or ())
    return W, b, u


def last_layer(config: Config) -> Layer:
    """The last layer of a config that can be pruned, which must have one.

    Examples
    --------
    >>> import circuits
    >>> last_layer(circuits.preset("merrill-2023")).hook
    'hook_post'
    """
    layers = config.prunable_layers
    hook = list(layers)[-1]
    return Layer(config, hook, layers[hook])


def layer_of(run: Run, options: PruningOptions = PruningOptions()) -> Layer:
    """The layer of a run that `options` chooses.

    Raises
    ------
    InputError
        The model has none that can be pruned, or not this one; or the norm needs a linear readout, which it has not.
    """
    config = run.config
    layers = config.prunable_layers
    kind = config.model.kind
    require(run, has_prunable_layer)
    hook = list(layers)[-1] if options.layer is None else options.layer
    if hook not in layers:
        raise InputError(
            f"{run.path} holds a '{kind}' model, which has no layer '{hook}' to prune. It has: {', '.join(layers)}."
        )
    layer = Layer(config, hook, layers[hook])
    if options.norm == "path" and not layer.is_linear:
        linear = [name for name, one in layers.items() if one.readout is not None]
        other = f", or --layer {linear[-1]}" if linear else ""
        raise InputError(
            f"{run.path}: norm 'path' needs a linear readout, which the layer '{hook}' of its '{kind}' model has not. "
            f"Pass --norm incoming{other}."
        )
    return layer
