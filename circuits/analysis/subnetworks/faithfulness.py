"""Faithfulness: how far a group of neurons alone predicts what the whole network predicts, on the test set.

Merrill et al. 2023, section 3.2 and Figure 3 (right), with the four groups of `groups.py`, fixed over the run. The
paper's released code loads the training set in place of the test set here; this measures on the test set.
"""

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float, Int, Real, Shaped

from circuits.analysis.networks.labels import chosen_checkpoints, trajectory_coords
from circuits.analysis.networks.layers import Layer, layer_of
from circuits.analysis.networks.masking import Masked
from circuits.analysis.networks.outputs import preactivations
from circuits.analysis.networks.predictions import is_right, predictions
from circuits.analysis.networks.rounding import reach_of, rounded, rounding_terms
from circuits.analysis.networks.walk import Network, walk
from circuits.analysis.subnetworks.active import support_examples
from circuits.analysis.subnetworks.groups import GROUPS, neuron_groups
from circuits.checkpoints.run import Run
from circuits.options import Options


def group_outputs(
    W: Float[np.ndarray, "neuron input"],
    b: Float[np.ndarray, " neuron"],
    u: Float[np.ndarray, " neuron"],
    inputs: Real[np.ndarray, "example input"],
    groups: Bool[np.ndarray, "group neuron"],
) -> Float[np.ndarray, "group example"]:
    """Output of the network with only a group's neurons, for each group, in float64; 0 within its rounding bound.

    Examples
    --------
    >>> W, b, u = np.array([[1.0], [-1.0]]), np.zeros(2), np.array([1.0, -1.0])
    >>> group_outputs(W, b, u, np.array([[2.0]]), np.array([[True, False], [False, True]]))
    array([[2.],
           [0.]])
    """
    W, b, u = (values.astype(np.float64) for values in (W, b, u))
    contributions = np.maximum(preactivations(W, b, inputs), 0) * u[:, None]
    members = groups.astype(np.float64)
    bounds = members @ rounding_terms(W, b, u, reach_of(inputs))
    return rounded(members @ contributions, bounds[:, None])


def masked_outputs(
    layer: Layer,
    net: Network,
    inputs: Shaped[np.ndarray, "example input"],
    groups: Bool[np.ndarray, "group neuron"],
) -> Float[np.ndarray, "group example ..."]:
    """As `group_outputs`, for any layer: by sums over the neurons where its readout is linear, else masked one by one.

    Parameters
    ----------
    layer, net
        Which neurons, and the parameters of one network by name.
    inputs
        (example, input) as `support_examples` gives them.
    groups
        (group, neuron) who is kept.
    """
    network = Masked(layer, net)
    readout = layer.readout(net)
    if readout is None:
        return np.stack([network.outputs(inputs, kept) for kept in groups])
    activations, rest = network.separated(inputs)
    values, weights = activations.astype(np.float64), readout.astype(np.float64)
    return np.stack([rest + values[:, kept] @ weights[kept] for kept in groups])


def agreement_and_accuracy(
    outputs: Float[np.ndarray, "group example ..."],
    full: Float[np.ndarray, "example ..."],
    targets: Int[np.ndarray, " example"],
) -> tuple[Float[np.ndarray, " group"], Float[np.ndarray, " group"]]:
    """Share of inputs on which each group predicts what the whole network does, and what is right; both in 0..1.

    One output predicts by its sign; several by their argmax, and are right where the target's exceeds all others.

    Both are NaN where the whole network has diverged: an output that is NaN has no sign to agree with.

    Examples
    --------
    >>> agreement_and_accuracy(np.array([[1.0, 0.0]]), np.array([2.0, -1.0]), np.array([-1, -1]))
    (array([0.5]), array([0.]))
    """
    if np.isnan(full).any():
        return np.full(len(outputs), np.nan), np.full(len(outputs), np.nan)
    classes = full.ndim > 1
    agreeing = predictions(outputs, classes) == predictions(full, classes)
    return agreeing.mean(axis=1), is_right(outputs, targets, classes).mean(axis=1)


def faithfulness(run: Run, options: Options = Options(), *, progress: bool = False) -> xr.Dataset:
    """`agreement` and `accuracy` (group, step, seed) on the test set.

    NaN where a seed has no such group or an empty one: nobody agrees. Where the network has collapsed it predicts
    nothing to agree with, so that the agreement is NaN and the accuracy 0.
    """
    checkpoints = chosen_checkpoints(run, options)
    groups = neuron_groups(run, options)
    layer = layer_of(run, options)
    tests = [support_examples(run, index, "test") for index in range(len(run.seeds))]

    def one(seed: int, net: Network) -> np.ndarray:
        everything = np.ones((1, groups.kept.shape[-1]), bool)
        every = np.concatenate([everything, groups.kept[:, seed]])
        inputs, targets = tests[seed]
        outputs = (
            group_outputs(**net, inputs=inputs, groups=every)
            if layer.is_relu
            else masked_outputs(layer, net, inputs, every)
        )
        return np.stack(agreement_and_accuracy(outputs[1:], outputs[0], targets))

    values = walk(
        run, checkpoints, one, what="faithfulness", progress=progress, names=layer.names
    )  # (step, seed, 2, group)
    collapsed = run.collapsed.values[checkpoints][:, :, None]
    values[:, :, 0] = np.where(collapsed, np.nan, values[:, :, 0])
    values[:, :, 1] = np.where(collapsed, 0.0, values[:, :, 1])
    has_members = groups.defined & groups.kept.any(axis=2)  # (group, seed)
    values = np.where(has_members.T[:, None, :], values, np.nan).transpose(2, 3, 0, 1)
    dims = ("group", "step", "seed")
    return xr.Dataset(
        {
            "agreement": (dims, values[0], {"long_name": "agreement with the full network on the test set"}),
            "accuracy": (dims, values[1], {"long_name": "accuracy of the group alone on the test set"}),
        },
        {"group": list(GROUPS), **trajectory_coords(run, checkpoints)},
        {"layer": layer.hook},
    )


measure = faithfulness
