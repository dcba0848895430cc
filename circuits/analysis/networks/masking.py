"""One network with masked neurons: the model's own `forward`, with a tap (hook function) at the layer's hook point.

The tap sets the values of pruned neurons to 0, at every position. For a linear readout, one pass gives the output of
any subnetwork. In this pass the tap records the values a_j(x) of all neurons j and sets these values to 0. So the
network outputs c(x), the output without any neuron. Let U_j be the readout weights of neuron j. The subnetwork of the
neurons in the set K then has the output c(x) + Σ_{j in K} a_j(x) U_j.

The pass runs on CPU in the parameters' dtype; inside `one_torch_thread` it runs on the caller's thread.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Shaped

from circuits.analysis.networks.layers import Layer

EXAMPLES_AT_ONCE = 4096  # the values of all layers must fit in memory


class Masked:
    """A network with the parameters `net` (arrays by name), in which neurons of the layer `layer` can be masked.

    Examples
    --------
    >>> import circuits
    >>> from circuits.analysis.networks.layers import last_layer
    >>> config = circuits.preset("merrill-2023").replace(task__n=1, task__k=1, model__width=2)
    >>> net = {"W": np.array([[1.0], [-1.0]]), "b": np.zeros(2), "u": np.array([1.0, -1.0])}
    >>> Masked(last_layer(config), net).outputs(np.array([[2.0], [-2.0]]), np.array([True, False]))
    array([2., 0.])
    """

    def __init__(self, layer: Layer, net: Mapping[str, np.ndarray]) -> None:
        import torch

        self.layer = layer
        self._parameters = {name: torch.from_numpy(np.array(values)) for name, values in net.items()}

    def outputs(
        self,
        inputs: Shaped[np.ndarray, "example input"],
        kept: Bool[np.ndarray, " neuron"] | Bool[np.ndarray, "example neuron"] | None = None,
        fill: Float[np.ndarray, "..."] | None = None,
    ) -> Float[np.ndarray, "example ..."]:
        """Outputs (example,) or (example, class) with only the kept neurons.

        `inputs` are int64 for tokens, otherwise in the config's dtype. `kept` is a mask of neurons, by default all. The
        others have the values `fill`, one value of the layer as `mean_value` gives it, by default 0.
        """
        import torch

        parts = []
        for start in range(0, len(inputs), EXAMPLES_AT_ONCE):
            part = slice(start, start + EXAMPLES_AT_ONCE)
            pruned = None if kept is None else torch.from_numpy(~(kept if kept.ndim == 1 else kept[part]))

            def tap(name: str, values: Any, pruned: Any = pruned) -> Any:
                if pruned is None or name != self.layer.hook:
                    return values
                where = self._along_units(pruned, values.ndim)
                if fill is not None:
                    return values.where(~where, torch.from_numpy(fill))
                return values.masked_fill(where, 0.0)  # a product with 0 would keep NaN

            parts.append(self._forward(inputs[part], tap))
        return np.concatenate(parts)

    def values(self, inputs: Shaped[np.ndarray, "example input"]) -> Float[np.ndarray, "example neuron"]:
        """The neurons' values; if the model has several positions, their values at the last position."""
        values = self.raw_values(inputs)
        if self.layer.part.axis == -2:  # the length of each head's vector
            return np.linalg.norm(values[:, -1] if values.ndim > 3 else values, axis=-1)
        if values.ndim > 3:  # an image
            return values.mean(axis=tuple(range(1, values.ndim - 1)))
        return values if values.ndim == 2 else values[:, -1]

    def raw_values(self, inputs: Shaped[np.ndarray, "example input"]) -> Float[np.ndarray, "example ..."]:
        """The layer's values at its hook point, with all positions."""
        parts = []

        def tap(name: str, value: Any) -> Any:
            if name == self.layer.hook:
                parts.append(value.numpy().copy())
            return value

        for start in range(0, len(inputs), EXAMPLES_AT_ONCE):
            self._forward(inputs[start : start + EXAMPLES_AT_ONCE], tap)
        return np.concatenate(parts)

    def mean_value(self, inputs: Shaped[np.ndarray, "example input"]) -> Float[np.ndarray, "..."]:
        """The mean over examples of the layer's values, in the networks' dtype."""
        values = self.raw_values(inputs)
        return values.mean(axis=0, dtype=np.float64).astype(values.dtype)

    def patched(
        self,
        inputs: Shaped[np.ndarray, "example input"],
        values: Float[np.ndarray, "example ..."],
        units: Bool[np.ndarray, " neuron"] | None = None,
    ) -> Float[np.ndarray, "example ..."]:
        """Outputs with the layer's values replaced by `values` (see `raw_values`); only at `units` if given."""
        import torch

        parts = []
        for start in range(0, len(inputs), EXAMPLES_AT_ONCE):
            part = slice(start, start + EXAMPLES_AT_ONCE)
            replacement = torch.from_numpy(values[part])

            def tap(name: str, own: Any, given: Any = replacement) -> Any:
                if name != self.layer.hook:
                    return own
                return (
                    given if units is None else own.where(~self._along_units(torch.from_numpy(units), own.ndim), given)
                )

            parts.append(self._forward(inputs[part], tap))
        return np.concatenate(parts)

    def _along_units(self, mask: Any, ndim: int) -> Any:
        """A mask (neuron,) or (example, neuron) in a shape that spreads over a value with `ndim` axes."""
        shape = [1] * ndim
        shape[self.layer.part.axis] = mask.shape[-1]
        if mask.ndim > 1:
            shape[0] = len(mask)
        return mask.reshape(shape)

    def separated(
        self, inputs: Shaped[np.ndarray, "example input"]
    ) -> tuple[Float[np.ndarray, "example neuron"], Float[np.ndarray, "example ..."]]:
        """The neurons' values, and the outputs with all neurons masked; for a layer with a linear readout."""
        values, rest = [], []
        for start in range(0, len(inputs), EXAMPLES_AT_ONCE):
            part = inputs[start : start + EXAMPLES_AT_ONCE]

            def tap(name: str, value: Any, n_examples: int = len(part)) -> Any:
                if name != self.layer.hook:
                    return value
                values.append(value.reshape(n_examples, self.layer.width).numpy())
                return value.new_zeros(value.shape)

            rest.append(self._forward(part, tap))
        return np.concatenate(values), np.concatenate(rest)

    def _forward(self, inputs: np.ndarray, tap: Any) -> np.ndarray:
        import torch

        with torch.no_grad():
            return self.layer.config.model.forward(self._parameters, torch.from_numpy(inputs), tap).numpy()
