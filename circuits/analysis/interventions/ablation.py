"""Ablation along a run: accuracy and loss of every network without each neuron, group of neurons or attention head.

An ablated unit has the value 0 (zero ablation) or its mean over the training set (mean ablation). The loss of accuracy
tells how much the network relies on the unit at this checkpoint.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import xarray as xr
from jaxtyping import Bool
from pydantic import ValidationError

from circuits.analysis.interventions.losses import accuracy_and_loss
from circuits.analysis.interventions.options import AblationOptions
from circuits.analysis.interventions.units import mask_of
from circuits.analysis.measurement import Measurement
from circuits.analysis.networks.applies import has_prunable_layer, has_test_set, makes_predictions, require
from circuits.analysis.networks.evaluator import evaluator
from circuits.analysis.networks.labels import chosen_checkpoints, trajectory_coords
from circuits.analysis.networks.layers import Layer, layer_of
from circuits.analysis.networks.masking import Masked
from circuits.analysis.networks.walk import Network, walk
from circuits.analysis.subnetworks.active import examples_of
from circuits.analysis.subnetworks.groups import GROUPS, neuron_groups
from circuits.checkpoints.run import Run
from circuits.config import one_line
from circuits.errors import InputError

Components = Mapping[str, Sequence[int] | np.ndarray]


def ablate(
    run: Run,
    components: str | Components = "neurons",
    checkpoints: str | int = ":",
    *,
    method: Literal["zero", "mean"] = "zero",
    on: Literal["train", "test"] = "test",
    layer: str | None = None,
    progress: bool = False,
) -> xr.Dataset:
    """Accuracy and loss of every network without each component.

    Parameters
    ----------
    run
        The run; its model must have a prunable layer.
    components
        "neurons": each neuron of the layer. "groups": generalizing, memorizing, complementary and control neurons.
        "heads": each head of the last attention layer. Or a dictionary: name -> indices or mask of the units to ablate.
    checkpoints
        A Python slice START:STOP:STEP of the checkpoints, or the index of one; by default all.
    method
        "zero" or "mean": the value of an ablated unit, 0 or its mean over the training set of the seed.
    on
        The examples on which accuracy and loss are measured.
    layer
        Hook point of the layer, by default the last prunable one, or the last attention layer for "heads".
    progress
        Whether to show a progress bar on stderr.

    Returns
    -------
    `accuracy` (0..1) and `loss` (step, seed, component), and those of the whole network, `whole_accuracy` and
    `whole_loss` (step, seed). NaN for a diverged network and for a group that a seed does not have.

    Raises
    ------
    InputError
        The model has no such layer, or a component no such unit.

    Examples
    --------
    >>> import circuits, tempfile
    >>> config = circuits.preset("merrill-2023").replace(
    ...     model__width=8, task__n=6, task__n_train=32, epochs=1, seeds=[0]
    ... )
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     run = circuits.train(config, f"{folder}/tiny.h5", progress=False)
    ...     ablate(run, {"first two": [0, 1]})["accuracy"].dims
    ('step', 'seed', 'component')
    """
    named = components if isinstance(components, str) else "neurons"
    fields = {"ablation_components": named, "ablation_method": method, "ablation_set": on, "layer": layer}
    try:
        options = AblationOptions.model_validate({"checkpoints": checkpoints, **fields})
    except ValidationError as error:
        line = one_line(error).replace("ablation_components", "components").replace("ablation_method", "method")
        raise InputError(line.replace("ablation_set", "on")) from None
    own = None if isinstance(components, str) else components
    return _ablated(run, options, own, progress)


def measure(run: Run, options: AblationOptions, *, progress: bool = False) -> xr.Dataset:
    """The measurement "ablation": `ablate` with the components, the method and the examples of `options`."""
    return _ablated(run, options, None, progress)


def _ablated(run: Run, options: AblationOptions, own: Components | None, progress: bool) -> xr.Dataset:
    require(run, makes_predictions)
    if options.ablation_set == "test":
        require(run, has_test_set)
    layer = _layer(run, options)
    names, masks, defined = _components(run, options, layer, own)
    checkpoints, places = chosen_checkpoints(run, options), range(len(run.seeds))
    examples = [examples_of(run, index, options.ablation_set) for index in places]
    training = [examples_of(run, index, "train")[0] for index in places]
    networks = [evaluator(run.config, inputs, layer) for inputs, _ in examples]

    def one(seed: int, net: Network) -> dict[str, np.ndarray]:
        inputs, targets = examples[seed]
        if options.ablation_method == "zero":
            groups = np.concatenate([np.ones((1, layer.width), bool), ~masks[seed]])
            outputs = networks[seed].masked_outputs(net, groups)
        else:
            network = Masked(layer, net)
            means = network.mean_value(training[seed])
            whole = network.outputs(inputs)
            outputs = np.stack([whole, *(network.outputs(inputs, ~mask, means) for mask in masks[seed])])
        accuracy, loss = accuracy_and_loss(run.config, outputs.astype(np.float64), targets)
        return {"accuracy": accuracy, "loss": loss}

    values = walk(run, checkpoints, one, what="ablation", progress=progress)
    without = {"accuracy": "accuracy without the component", "loss": "loss without the component"}
    variables: dict[str, Any] = {}
    for name, text in without.items():
        numbers = np.where(defined, values[name][..., 1:], np.nan)
        variables[name] = (("step", "seed", "component"), numbers, {"long_name": text})
        variables[f"whole_{name}"] = (
            ("step", "seed"),
            values[name][..., 0],
            {"long_name": f"{name} of the whole network"},
        )
    attrs = {"layer": layer.hook, "method": options.ablation_method, "examples": options.ablation_set}
    return xr.Dataset(variables, {**trajectory_coords(run, checkpoints), "component": names}, attrs)


def _layer(run: Run, options: AblationOptions) -> Layer:
    if options.ablation_components != "heads":
        return layer_of(run, options)
    heads = [name for name, part in run.config.prunable_layers.items() if part.axis == -2]
    if not heads:
        raise InputError(f"{run.path} holds a '{run.config.model.kind}' model, which has no attention heads to ablate.")
    if options.layer not in (None, *heads):
        raise InputError(
            f"{run.path}: '{options.layer}' is no layer of attention heads. There are: {', '.join(heads)}."
        )
    return layer_of(run, options.model_copy(update={"layer": options.layer or heads[-1]}))


def _components(
    run: Run, options: AblationOptions, layer: Layer, own: Components | None
) -> tuple[list[str], Bool[np.ndarray, "seed component unit"], Bool[np.ndarray, "seed component"]]:
    """Names of the components, the units of each, and whether the seed has the component."""
    n_seeds = len(run.seeds)
    if own is not None:
        masks = np.stack([mask_of(name, units, layer.width) for name, units in own.items()])
        return list(own), np.stack([masks] * n_seeds), np.ones((n_seeds, len(own)), bool)
    if options.ablation_components == "groups":
        groups = neuron_groups(run, options)
        return list(GROUPS), np.moveaxis(groups.kept, 1, 0), groups.defined.T
    names = [str(unit) for unit in range(layer.width)]
    return names, np.stack([np.eye(layer.width, dtype=bool)] * n_seeds), np.ones((n_seeds, layer.width), bool)


ABLATION = Measurement(measure, has_prunable_layer, on_request=lambda config: True)
