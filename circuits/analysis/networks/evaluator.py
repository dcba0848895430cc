"""Evaluators of one network on given inputs; `evaluator` chooses the fastest one for the config.

- **Formula**: the network is exactly uᵀ relu(W x + b). Outputs are computed in float64, to tell the contribution of a
  single neuron from a rounding error. An output counts as 0 if its absolute value is within its rounding bound.
- **Linear readout**: one forward pass gives the output with all neurons masked, and each neuron's contribution.
- **Forward pass**: every group of neurons needs its own masked pass.

The last two evaluators run the model's own `forward` in torch, on the caller's thread.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from circuits.analysis.networks.layers import Layer, relu_weights
from circuits.analysis.networks.masking import EXAMPLES_AT_ONCE, Masked
from circuits.analysis.networks.options import Criterion, Norm
from circuits.analysis.networks.outputs import group_outputs, preactivations, relu_outputs
from circuits.analysis.networks.rounding import reach_of, rounded, rounding_terms
from circuits.analysis.subnetworks.argmax_scan import smallest_agreeing_argmax
from circuits.analysis.subnetworks.masked_scan import smallest_agreeing_masked
from circuits.analysis.subnetworks.pruning import pruning_order
from circuits.analysis.subnetworks.scan import prefix_size
from circuits.config import Config
from circuits.constructions.verifying.averaging import bounded_averages
from circuits.threads import one_blas_thread, one_torch_thread

Network = Mapping[str, np.ndarray]  # one network's parameters by name
Order = Int[np.ndarray, " neuron"]  # indices of the neurons; the last is pruned first
Targets = Int[np.ndarray, " example"] | None
NATIVE_AT_ONCE = 256  # examples at once in `Formula.native_outputs`; the neurons' values then fit in the CPU cache


class ForwardPass:
    """Evaluator of a config's networks by the model's own `forward`.

    `inputs` has the dtype that the model reads, see `as_read`. `layer` is the layer whose neurons are masked. If
    `layer` is None, the evaluator gives only outputs of whole networks.
    """

    has_bounds = False  # whether `mean_contributions` gives means and bounds

    def __init__(self, config: Config, inputs: Shaped[np.ndarray, "example input"], layer: Layer | None = None) -> None:
        self.config, self.inputs, self._layer = config, inputs, layer
        self._passes: list[Callable[[Any], Any]] | None = None

    @property
    def layer(self) -> Layer:
        """The layer whose neurons are masked."""
        if self._layer is None:
            raise ValueError(f"masking needs a layer of the '{self.config.model.kind}' model; pass `layer`")
        return self._layer

    def threads(self) -> AbstractContextManager[Any]:
        """Context to enter before this evaluator is used: BLAS and torch then use only the caller's thread."""
        both = ExitStack()
        both.enter_context(one_blas_thread())
        both.enter_context(one_torch_thread())
        return both

    def outputs(self, net: Network) -> Float[np.ndarray, "example ..."]:
        """Outputs (example,) or (example, class) in float64; by a faster form of `forward` if the model has one."""
        import torch

        if self._passes is None:
            starts = range(0, len(self.inputs), EXAMPLES_AT_ONCE)
            model = self.config.model
            parts = [torch.from_numpy(self.inputs[at : at + EXAMPLES_AT_ONCE]) for at in starts]
            prepared = [model.prepared(part) if model.can_prepare else None for part in parts]
            self._passes = [
                faster or partial(model.forward, inputs=part) for faster, part in zip(prepared, parts, strict=True)
            ]
        parameters = {name: torch.from_numpy(np.array(values)) for name, values in net.items()}
        with torch.no_grad():
            return np.concatenate([forward(parameters).numpy() for forward in self._passes]).astype(np.float64)

    def hidden(self, net: Network) -> Float[np.ndarray, "example neuron"]:
        """Value of each neuron in `self.layer` for each of `self.inputs`; in a sequence, at the last position."""
        return Masked(self.layer, net).values(self.inputs)

    def native_outputs(self, net: Network) -> Float[np.ndarray, " example"]:
        """The single output on each example, in the config's dtype; this is precise enough for sample means."""
        import torch

        parameters = {name: torch.from_numpy(np.array(values)) for name, values in net.items()}
        with torch.no_grad():
            return self.config.model.forward(parameters, torch.from_numpy(self.inputs)).numpy()

    def contributions(self, net: Network) -> Float[np.ndarray, "example neuron"]:
        """Contribution of each neuron to the only output, or the neuron's value if the readout is not linear."""
        values = Masked(self.layer, net).separated(self.inputs)[0].astype(np.float64)
        readout = self.layer.readout(net)
        return values if readout is None else values * readout.astype(np.float64)

    def mean_contributions(
        self, net: Network, bits: Sequence[int]
    ) -> tuple[Float[np.ndarray, "neuron pattern"], Float[np.ndarray, " neuron"]] | None:
        """Mean contribution of each neuron to the output at each setting of `bits`, and a bound of the numerical error.

        A pattern is one setting of `bits` to ±1. Entry (neuron, pattern) of the first array is the neuron's mean
        contribution over all ±1 inputs with this pattern. For each neuron, the second array has an upper bound of the
        mean absolute error in the neuron's row. The result is None if no formula gives the means.
        """
        return None

    def ignores_all_but(self, net: Network, bits: Sequence[int]) -> bool:
        """Whether the weights prove that the outputs depend on `bits` only."""
        return False

    def masked_outputs(self, net: Network, groups: Bool[np.ndarray, "group neuron"]) -> Float[np.ndarray, "group ..."]:
        """Outputs (group, example) or (group, example, class) of the network with only the neurons of each group."""
        network = Masked(self.layer, net)
        return np.stack([network.outputs(self.inputs, kept) for kept in groups])

    def smallest_prefix(
        self, net: Network, targets: Targets = None, norm: Norm = "incoming", criterion: Criterion = "prediction"
    ) -> int | None:
        """Smallest k such that the k neurons of largest norm agree with the whole network; None for a diverged network.

        The function `incoming_norms` explains `norm`, and `smallest_agreeing` explains `criterion` (Merrill et al.
        2023, section 2.1). Only the criterion "accuracy" uses `targets` (example,).

        Examples
        --------
        Two large neurons compute the sign of x. A small third neuron never changes this sign, so the smallest k is 2.
        The function `evaluator` returns an object of a faster class than `ForwardPass`. Both objects give k = 2.

        >>> import circuits
        >>> from circuits.analysis.networks.layers import last_layer
        >>> config = circuits.preset("merrill-2023").replace(task__n=1, task__k=1, model__width=3)
        >>> net = {"W": np.array([[0.1], [2.0], [-2.0]]), "b": np.zeros(3), "u": np.array([1.0, 1.0, -1.0])}
        >>> on = config, np.array([[1.0], [-1.0]]), last_layer(config)
        >>> evaluator(*on).smallest_prefix(net), ForwardPass(*on).smallest_prefix(net)
        (2, 2)
        """
        return self._smallest(net, pruning_order(self.layer.norms(net, norm)), targets, criterion)

    def _smallest(self, net: Network, order: Order, targets: Targets, criterion: Criterion) -> int | None:
        """Smallest k such that the first k neurons in `order` agree with the whole network."""
        return smallest_agreeing_masked(Masked(self.layer, net), order, self.inputs, targets, criterion)


class LinearReadout(ForwardPass):
    """Evaluator that masks neurons of one layer; the networks' outputs are linear in the values of these neurons."""

    def masked_outputs(self, net: Network, groups: Bool[np.ndarray, "group neuron"]) -> Float[np.ndarray, "group ..."]:
        activations, rest, readout = self._separated(net)
        values, weights = activations.astype(np.float64), readout.astype(np.float64)
        return np.stack([rest + values[:, kept] @ weights[kept] for kept in groups])

    def _smallest(self, net: Network, order: Order, targets: Targets, criterion: Criterion) -> int | None:
        activations, rest, readout = self._separated(net)
        return smallest_agreeing_argmax(activations.T, readout, order, rest, targets, criterion)

    def _separated(self, net: Network) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The neurons' values, the outputs with all neurons masked, and the readout."""
        readout = self.layer.readout(net)
        if readout is None:
            raise ValueError(f"the outputs are not linear in the layer '{self.layer.hook}'; use ForwardPass")
        return *Masked(self.layer, net).separated(self.inputs), readout


class Formula(ForwardPass):
    """Evaluator of networks that are exactly uᵀ relu(W x + b)."""

    has_bounds = True

    def __init__(self, config: Config, inputs: Shaped[np.ndarray, "example input"], layer: Layer | None = None) -> None:
        super().__init__(config, inputs, layer)
        self._reach = reach_of(inputs)
        self._memory = threading.local()  # arrays to reuse: allocating costs as much as the product

    def threads(self) -> AbstractContextManager[Any]:
        return np.errstate(over="ignore", invalid="ignore")  # no limit on threads

    def outputs(self, net: Network) -> Float[np.ndarray, " example"]:
        W, b, u = (values.astype(np.float64) for values in relu_weights(self.config, net))
        self._memory.hidden = preactivations(W, b, self.inputs, getattr(self._memory, "hidden", None))
        return rounded(relu_outputs(self._memory.hidden, u), rounding_terms(W, b, u, self._reach).sum())

    def hidden(self, net: Network) -> Float[np.ndarray, "example neuron"]:
        W, b, _ = relu_weights(self.config, net)
        return np.ascontiguousarray(np.maximum(preactivations(W, b, self.inputs), 0).T)

    def native_outputs(self, net: Network) -> Float[np.ndarray, " example"]:
        W, b, u = relu_weights(self.config, net)
        outputs = np.empty(len(self.inputs), self.inputs.dtype)
        memory = getattr(self._memory, "part", None)
        if memory is None:
            memory = self._memory.part = np.empty((len(b), NATIVE_AT_ONCE), self.inputs.dtype)
        for start in range(0, len(self.inputs), NATIVE_AT_ONCE):
            part = self.inputs[start : start + NATIVE_AT_ONCE]
            values = preactivations(W, b, part, memory[:, : len(part)] if len(part) == NATIVE_AT_ONCE else None)
            outputs[start : start + NATIVE_AT_ONCE] = u @ np.maximum(values, 0, out=values)
        return outputs

    def mean_contributions(
        self, net: Network, bits: Sequence[int]
    ) -> tuple[Float[np.ndarray, "neuron pattern"], Float[np.ndarray, " neuron"]]:
        W, b, u = relu_weights(self.config, net)
        averages = bounded_averages(W, b, bits)
        sizes = u.astype(np.float64)[:, None]
        return sizes * averages.means, (np.abs(sizes) * averages.bounds).mean(axis=1)

    def ignores_all_but(self, net: Network, bits: Sequence[int]) -> bool:
        W, _, u = relu_weights(self.config, net)
        return not np.delete(W, list(bits), axis=1)[u != 0].any()

    def masked_outputs(self, net: Network, groups: Bool[np.ndarray, "group neuron"]) -> Float[np.ndarray, "group ..."]:
        return group_outputs(*relu_weights(self.config, net), self.inputs, groups)

    def _smallest(self, net: Network, order: Order, targets: Targets, criterion: Criterion) -> int | None:
        W, b, u = relu_weights(self.config, net)
        memory = getattr(self._memory, "hidden", None)
        if memory is None:
            memory = self._memory.hidden = np.empty((len(u), len(self.inputs)))
        return prefix_size(W, b, u, order, self.inputs, self._reach, targets, criterion, memory)


def evaluator(config: Config, inputs: Shaped[np.ndarray, "example input"], layer: Layer | None = None) -> ForwardPass:
    """The fastest evaluator of a config's networks on `inputs`; several threads may use it. See `ForwardPass`."""
    if config.model.relu_parameters is not None:
        return Formula(config, inputs, layer)
    linear = layer is not None and layer.is_linear
    return (LinearReadout if linear else ForwardPass)(config, inputs, layer)
