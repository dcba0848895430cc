"""Which networks of a run have collapsed, at every checkpoint.

Training stores the largest output of each checkpoint, and that number decides (`circuits.collapse`). Runs of earlier
versions lack it: there it is computed again from the stored parameters and data, of the networks whose training loss
leaves the possibility open.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np
import xarray as xr
from jaxtyping import Bool

from circuits.collapse import LARGEST_OUTPUT, is_collapsed, largest_output, loss_range

if TYPE_CHECKING:
    from circuits.checkpoints.run import Run

EXAMPLES_AT_ONCE = 4096
_known: WeakKeyDictionary[Run, tuple[int, np.ndarray]] = WeakKeyDictionary()


def stores_largest_output(metrics: xr.Dataset) -> bool:
    """Whether a run's metrics say which networks have collapsed; runs of earlier versions do not."""
    return LARGEST_OUTPUT in metrics


def collapsed_networks(run: Run, metrics: xr.Dataset) -> Bool[np.ndarray, "step seed"]:
    """Whether each network of a run has collapsed.

    Parameters
    ----------
    run
        The run, all of whose checkpoints are looked at.
    metrics
        Its metrics, as stored.
    """
    if stores_largest_output(metrics):
        return np.asarray(is_collapsed(metrics[LARGEST_OUTPUT].values))
    known = _known.get(run)
    if known is None or known[0] != run.n_checkpoints:
        known = _known[run] = (run.n_checkpoints, _recomputed(run, metrics["train_loss"].values))
    return known[1]


def train_largest_output(run: Run, seed: int, checkpoint: int) -> float:
    """Largest |output|, or spread of logits, of one network on its training set; computed if the run lacks it."""
    index = run.seed_index(seed)
    if stores_largest_output(run.metrics):
        return float(run.metrics[LARGEST_OUTPUT].values[checkpoint, index])
    has_classes = run.config.task.signature.n_classes is not None
    return largest_output(_train_outputs(run, index, checkpoint), has_classes)


def _recomputed(run: Run, losses: np.ndarray) -> Bool[np.ndarray, "step seed"]:
    n_classes = run.config.task.signature.n_classes
    between = loss_range(run.config.loss, n_classes)
    candidates = np.isfinite(losses) if between is None else (losses >= between[0]) & (losses <= between[1])
    found = np.zeros(losses.shape, bool)
    for checkpoint, seed in np.argwhere(candidates):
        outputs = _train_outputs(run, int(seed), int(checkpoint))
        found[checkpoint, seed] = is_collapsed(largest_output(outputs, n_classes is not None))
    return found


def _train_outputs(run: Run, seed_index: int, checkpoint: int) -> np.ndarray:
    import torch

    seed = run.seeds[seed_index]
    network = run.config.model.network(run.arrays(seed, checkpoint))
    inputs = torch.from_numpy(run.data(seed)["train_inputs"].values)
    with torch.no_grad():
        return torch.cat([network(part) for part in inputs.split(EXAMPLES_AT_ONCE)]).numpy()
