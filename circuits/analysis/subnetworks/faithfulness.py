"""Faithfulness: how far a group of neurons alone predicts what the whole network predicts, on the test set.

Merrill et al. 2023, section 3.2 and Figure 3 (right), with the four groups of `groups.py`, fixed over the run. The
paper's released code loads the training set in place of the test set here; this measures on the test set.
"""

import numpy as np
import xarray as xr
from einops import rearrange
from jaxtyping import Float, Int

from circuits.analysis.measurement import Measurement
from circuits.analysis.networks.applies import has_prunable_layer
from circuits.analysis.networks.evaluator import evaluator
from circuits.analysis.networks.labels import chosen_checkpoints, trajectory_coords
from circuits.analysis.networks.layers import layer_of
from circuits.analysis.networks.options import PruningOptions
from circuits.analysis.networks.predictions import is_right, predictions
from circuits.analysis.networks.walk import Network, walk
from circuits.analysis.subnetworks.active import support_examples
from circuits.analysis.subnetworks.groups import GROUPS, neuron_groups
from circuits.analysis.subnetworks.tables import agreement_tables
from circuits.checkpoints.run import Run


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


def faithfulness(run: Run, options: PruningOptions = PruningOptions(), *, progress: bool = False) -> xr.Dataset:
    """`agreement` and `accuracy` (group, step, seed) on the test set.

    NaN where a seed has no such group or an empty one: nobody agrees. Where the network has collapsed it predicts
    nothing to agree with, so that the agreement is NaN and the accuracy 0.
    """
    checkpoints = chosen_checkpoints(run, options)
    groups = neuron_groups(run, options)
    layer = layer_of(run, options)
    tests = [support_examples(run, index, "test") for index in range(len(run.seeds))]

    networks = [evaluator(run.config, inputs, layer) for inputs, _ in tests]

    def one(seed: int, net: Network) -> dict[str, np.ndarray]:
        everything = np.ones((1, groups.kept.shape[-1]), bool)
        outputs = networks[seed].masked_outputs(net, np.concatenate([everything, groups.kept[:, seed]]))
        agreement, accuracy = agreement_and_accuracy(outputs[1:], outputs[0], tests[seed][1])
        return {"agreement": agreement, "accuracy": accuracy}

    found = walk(run, checkpoints, one, what="faithfulness", progress=progress)
    collapsed = run.collapsed.values[checkpoints][:, :, None]
    has_members = rearrange(groups.defined & groups.kept.any(axis=2), "group seed -> seed group")

    def over_groups(name: str, of_collapsed: float, text: str) -> tuple:
        values = np.where(has_members, np.where(collapsed, of_collapsed, found[name]), np.nan)
        return ("group", "step", "seed"), rearrange(values, "step seed group -> group step seed"), {"long_name": text}

    return xr.Dataset(
        {
            "agreement": over_groups("agreement", np.nan, "agreement with the full network on the test set"),
            "accuracy": over_groups("accuracy", 0.0, "accuracy of the group alone on the test set"),
        },
        {"group": list(GROUPS), **trajectory_coords(run, checkpoints)},
        {"layer": layer.hook},
    )


FAITHFULNESS = Measurement(faithfulness, has_prunable_layer, agreement_tables)
