"""Mask of the collapsed networks of a run, at every checkpoint.

Training stores each network's largest output at each checkpoint; a network has collapsed if this output is below a
threshold (`circuits.collapse`). Runs of earlier versions do not store this output. For such runs, this module computes
the output from the stored parameters and data. It skips networks whose training loss rules out a collapse.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import xarray as xr
from jaxtyping import Bool

from circuits.collapse import LARGEST_OUTPUT, is_collapsed, largest_output, loss_range
from circuits.config import Config
from circuits.interfaces import Model

EXAMPLES_AT_ONCE = 4096


def collapsed_networks(
    config: Config, metrics: xr.Dataset, train_outputs: Callable[[int, int], np.ndarray]
) -> Bool[np.ndarray, "step seed"]:
    """Mask (step, seed) of collapsed networks: all outputs on the training set are less than 10⁻³ away from 0.

    With classes, a network has collapsed if the logits of each training example differ by less than 10⁻³.
    train_outputs(step index, seed index) returns the network's outputs on its training set.
    """
    if LARGEST_OUTPUT in metrics:
        return np.asarray(is_collapsed(metrics[LARGEST_OUTPUT].values))
    losses = metrics["train_loss"].values
    n_classes = config.task.signature.n_classes
    between = loss_range(config.loss, n_classes)
    candidates = np.isfinite(losses) if between is None else (losses >= between[0]) & (losses <= between[1])
    collapsed = np.zeros(losses.shape, bool)
    for step, seed in np.argwhere(candidates):
        largest = largest_output(train_outputs(int(step), int(seed)), n_classes is not None)
        collapsed[step, seed] = is_collapsed(largest)
    return collapsed


def without_accuracy(metrics: xr.Dataset, collapsed: xr.DataArray) -> xr.Dataset:
    """The metrics, with accuracies of 0 where the mask `collapsed` (step, seed) marks a network with outputs near 0."""
    names = [name for name in metrics if str(name).startswith(("train_accuracy", "test_accuracy"))]
    zeroed = {name: metrics[name].where(~collapsed, 0.0).assign_attrs(metrics[name].attrs) for name in names}
    return metrics.assign(zeroed)


def outputs_of(model: Model, parameters: Mapping[str, np.ndarray], inputs: np.ndarray) -> np.ndarray:
    """Outputs of a network, (example,) or (example, class), for inputs (example, input)."""
    import torch

    from circuits.models.network import Network

    network = Network(model, parameters)
    with torch.no_grad():
        return torch.cat([network(part) for part in torch.from_numpy(inputs).split(EXAMPLES_AT_ONCE)]).numpy()
