"""Activation patching between checkpoints: values of a layer at one checkpoint, put into the network at another.

The network at the checkpoint `into` runs on the same inputs, but its layer has the values that the network at the
checkpoint `source` has there (for some units, or for all). If accuracy comes with the values, the circuit before the
layer had formed; if not, what is after it had not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import xarray as xr

from circuits.analysis.interventions.losses import accuracy_and_loss
from circuits.analysis.interventions.units import mask_of
from circuits.analysis.networks.applies import has_test_set, makes_predictions, require
from circuits.analysis.networks.layers import layer_of
from circuits.analysis.networks.masking import Masked
from circuits.analysis.networks.options import PruningOptions
from circuits.analysis.subnetworks.active import examples_of
from circuits.checkpoints.run import Run
from circuits.threads import one_torch_thread

Checkpoint = int | str


def patch(
    run: Run,
    source: Checkpoint | Sequence[Checkpoint],
    into: Checkpoint | Sequence[Checkpoint] = "last",
    *,
    units: Sequence[int] | np.ndarray | None = None,
    on: Literal["train", "test"] = "test",
    layer: str | None = None,
) -> xr.Dataset:
    """Accuracy and loss of networks at `into` whose layer has its values at `source`.

    Parameters
    ----------
    run
        The run; its model must have a prunable layer.
    source, into
        Checkpoints, or lists of checkpoints: indices or names ("memorized", "generalized", "best", "last"). A name
        stands for a checkpoint of each seed.
    units
        Indices or mask of the neurons whose values are patched, by default all.
    on
        The examples on which accuracy and loss are measured.
    layer
        Hook point of the layer, by default the last prunable one.

    Returns
    -------
    `accuracy` (0..1) and `loss` (source, into, seed), and the optimizer steps `source_step` (source, seed) and
    `into_step` (into, seed). With source = into they are those of the network itself.

    Raises
    ------
    InputError
        There is no such checkpoint, layer or unit.

    Examples
    --------
    >>> import circuits, tempfile
    >>> config = circuits.preset("merrill-2023").replace(
    ...     model__width=8, task__n=6, task__n_train=32, epochs=1, seeds=[0]
    ... )
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     run = circuits.train(config, f"{folder}/tiny.h5", progress=False)
    ...     patch(run, source=[0, "last"], into="last")["accuracy"].sizes["source"]
    2
    """
    require(run, makes_predictions)
    if on == "test":
        require(run, has_test_set)
    chosen = layer_of(run, PruningOptions(layer=layer))
    mask = None if units is None else mask_of("units", units, chosen.width)
    given: list[list[Any]] = [list(one) if isinstance(one, list | tuple) else [one] for one in (source, into)]
    sources, targets = given
    shape = (len(sources), len(targets), len(run.seeds))
    accuracy, loss = np.empty(shape), np.empty(shape)
    steps = {
        name: np.empty((len(every), len(run.seeds)), np.int64)
        for name, every in (("source", sources), ("into", targets))
    }
    with one_torch_thread():
        for place, seed in enumerate(run.seeds):
            inputs, expected = examples_of(run, place, on)
            at = {
                name: [run.checkpoint_index(one, seed=seed) for one in every]
                for name, every in (("source", sources), ("into", targets))
            }
            for name, indices in at.items():
                steps[name][:, place] = run.steps[indices]
            networks = {index: Masked(chosen, run.arrays(seed, index)) for index in {*at["source"], *at["into"]}}
            for i, giver in enumerate(at["source"]):
                values = networks[giver].raw_values(inputs)
                for j, taker in enumerate(at["into"]):
                    outputs = networks[taker].patched(inputs, values, mask).astype(np.float64)
                    accuracy[i, j, place], loss[i, j, place] = accuracy_and_loss(run.config, outputs, expected)
    dims = ("source", "into", "seed")
    return xr.Dataset(
        {
            "accuracy": (dims, accuracy, {"long_name": "accuracy with the patched values"}),
            "loss": (dims, loss, {"long_name": "loss with the patched values"}),
        },
        {
            "source": list(map(str, sources)), "into": list(map(str, targets)), "seed": list(run.seeds),
            "source_step": (("source", "seed"), steps["source"]), "into_step": (("into", "seed"), steps["into"]),
        },
        {"layer": chosen.hook, "examples": on},
    )  # fmt: skip
