"""Faithfulness: share of the test inputs on which a group of neurons alone predicts what the whole network predicts.

Merrill et al. 2023, section 3.2 and Figure 3 (right). The four groups (generalizing, memorizing, complementary,
control; `groups.py`) are fixed over a run. We use the test set, as in the paper; the paper's code loads the train set.
"""

import numpy as np
import xarray as xr
from einops import rearrange
from jaxtyping import Float, Int

from circuits.analysis.measurement import Measurement
from circuits.analysis.networks.applies import all_of, has_prunable_layer, has_test_set
from circuits.analysis.networks.evaluator import evaluator
from circuits.analysis.networks.labels import chosen_checkpoints, trajectory_coords
from circuits.analysis.networks.layers import layer_of
from circuits.analysis.networks.options import PruningOptions
from circuits.analysis.networks.predictions import is_right, predictions
from circuits.analysis.networks.walk import Network, walk
from circuits.analysis.subnetworks.active import examples_of
from circuits.analysis.subnetworks.groups import GROUPS, neuron_groups
from circuits.analysis.subnetworks.tables import agreement_tables
from circuits.checkpoints.run import Run


def agreement_and_accuracy(
    outputs: Float[np.ndarray, "group example ..."],
    full: Float[np.ndarray, "example ..."],
    targets: Int[np.ndarray, " example"],
) -> tuple[Float[np.ndarray, " group"], Float[np.ndarray, " group"]]:
    """Share of inputs on which each group predicts as the whole network does, and the group's accuracy; both in 0..1.

    A single output predicts by its sign. Several outputs predict by their argmax, and are right if the target's output
    exceeds all others. Both results are NaN if the whole network has diverged, since NaN has no sign.

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
    """Share of test inputs on which a group of neurons alone agrees with the whole network, and the group's accuracy.

    Both are (group, step, seed), in 0..1; NaN for a diverged network, for an empty group, and for a seed that does not
    have the group (`NeuronGroups`). If all outputs are near 0, nothing is predicted: agreement is NaN and accuracy 0.
    """
    checkpoints = chosen_checkpoints(run, options)
    groups = neuron_groups(run, options)
    layer = layer_of(run, options)
    tests = [examples_of(run, index, "test") for index in range(len(run.seeds))]
    networks = [evaluator(run.config, inputs, layer) for inputs, _ in tests]

    def one(seed: int, net: Network) -> dict[str, np.ndarray]:
        everything = np.ones((1, groups.kept.shape[-1]), bool)
        outputs = networks[seed].masked_outputs(net, np.concatenate([everything, groups.kept[:, seed]]))
        agreement, accuracy = agreement_and_accuracy(outputs[1:], outputs[0], tests[seed][1])
        return {"agreement": agreement, "accuracy": accuracy}

    shares = walk(run, checkpoints, one, what="faithfulness", progress=progress)
    collapsed = run.collapsed.values[checkpoints][:, :, None]
    has_members = rearrange(groups.defined & groups.kept.any(axis=2), "group seed -> seed group")

    def over_groups(name: str, of_collapsed: float, text: str) -> tuple:
        values = np.where(has_members, np.where(collapsed, of_collapsed, shares[name]), np.nan)
        return ("group", "step", "seed"), rearrange(values, "step seed group -> group step seed"), {"long_name": text}

    return xr.Dataset(
        {
            "agreement": over_groups("agreement", np.nan, "agreement with the full network on the test set"),
            "accuracy": over_groups("accuracy", 0.0, "accuracy of the group alone on the test set"),
        },
        {"group": list(GROUPS), **trajectory_coords(run, checkpoints)},
        {"layer": layer.hook},
    )


FAITHFULNESS = Measurement(faithfulness, all_of(has_prunable_layer, has_test_set), agreement_tables)
