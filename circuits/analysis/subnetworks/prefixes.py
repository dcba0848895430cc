"""The smallest norm prefix of any layer that agrees with the whole network: which way of counting serves which layer.

A linear readout takes one forward pass and one scan over running sums (`argmax_scan`), any other layer is masked for
each k (`masked_scan`). The relu model has a formula, and a faster scan of its own, in `active`.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Int, Shaped

from circuits.analysis.networks.layers import Layer
from circuits.analysis.networks.masking import Masked
from circuits.analysis.subnetworks.argmax_scan import smallest_agreeing_argmax
from circuits.analysis.subnetworks.masked_scan import smallest_agreeing_masked
from circuits.analysis.subnetworks.pruning import pruning_order
from circuits.options import Criterion, Norm


def smallest_prefix(
    layer: Layer,
    net: Mapping[str, np.ndarray],
    inputs: Shaped[np.ndarray, "example input"],
    targets: Int[np.ndarray, " example"] | None = None,
    norm: Norm = "incoming",
    criterion: Criterion = "prediction",
) -> int | None:
    """Smallest k whose k neurons of largest norm agree with the whole network; None for a diverged network.

    Parameters
    ----------
    layer, net
        Which neurons, and the parameters of one network by name.
    inputs, targets
        The support, as `support_examples` gives it; targets are used by the criterion "accuracy" only.
    norm, criterion
        See `incoming_norms` and `smallest_agreeing_argmax`.

    Returns
    -------
    k in 0..neuron.

    References
    ----------
    Merrill et al. 2023, section 2.1, whose masked networks these are.

    Examples
    --------
    Two large neurons compute the sign of x; a small one changes nothing.

    >>> import circuits
    >>> from circuits.analysis.networks.layers import last_layer
    >>> config = circuits.preset("merrill-2023").replace(task__n=1, task__k=1, model__width=3)
    >>> net = {"W": np.array([[0.1], [2.0], [-2.0]]), "b": np.zeros(3), "u": np.array([1.0, 1.0, -1.0])}
    >>> smallest_prefix(last_layer(config), net, np.array([[1.0], [-1.0]]))
    2
    """
    order = pruning_order(layer.norms(net, norm))
    network = Masked(layer, net)
    readout = layer.readout(net)
    if readout is None:
        return smallest_agreeing_masked(network, order, inputs, targets, criterion)
    activations, rest = network.separated(inputs)
    return smallest_agreeing_argmax(activations.T, readout, order, rest, targets, criterion)
