"""The checkpoints to measure, and the coordinates `step`, `epoch` and `seed` of results."""

from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float, Int

from circuits.analysis.networks.options import WalkOptions
from circuits.analysis.networks.phases import phase_checkpoints
from circuits.checkpoints.run import Run
from circuits.errors import InputError


def chosen_checkpoints(run: Run, options: WalkOptions) -> np.ndarray:
    """Indices of the checkpoints that `options` selects, ascending. Raises an `InputError` if there are none."""
    chosen = np.arange(run.n_checkpoints)[options.slice]
    if not chosen.size:
        raise InputError(
            f"{run.path} has {run.n_checkpoints} checkpoints, so checkpoints={options.checkpoints!r} selects none. "
            f"Pass a slice within 0:{run.n_checkpoints}."
        )
    most = options.most_checkpoints
    if most is None or chosen.size <= most:
        return chosen
    phases = np.concatenate(phase_checkpoints(run, options))
    phases = phases[np.isfinite(phases)].astype(np.int64)
    return np.union1d(chosen[spread(run.epochs[chosen], most)], np.intersect1d(phases, chosen))


def spread(epochs: Float[np.ndarray, " step"], count: int) -> Int[np.ndarray, " some"]:
    """Indices of at most `count` checkpoints, including the first and the last, evenly spaced in log epoch.

    `epochs` are ascending and >= 0. Epoch 0 has no logarithm; it is always one of the `count` checkpoints. `count` must
    be at least 2.

    Examples
    --------
    >>> spread(np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]), 4)
    array([0, 1, 3, 7])
    """
    if len(epochs) <= count:
        return np.arange(len(epochs))
    begin = int(epochs[0] <= 0)
    later = epochs[begin:]
    wanted = np.geomspace(later[-1], later[0], count - begin)
    after = np.clip(np.searchsorted(later, wanted), 1, len(later) - 1)
    nearest = np.where(wanted - later[after - 1] <= later[after] - wanted, after - 1, after)
    return np.unique(np.append(nearest + begin, 0))


def requested_checkpoints(run: Run, options: WalkOptions) -> np.ndarray:
    """Checkpoints for a slow measurement: by default only the last; `checkpoints="0:"` selects all."""
    unlimited = options.slice == slice(None) and options.most_checkpoints is None
    return np.array([run.n_checkpoints - 1]) if unlimited else chosen_checkpoints(run, options)


def trajectory_coords(run: Run, checkpoints: np.ndarray) -> dict[str, Any]:
    """Coordinates `step`, `epoch` and `seed` of results at `checkpoints`."""
    return {
        "step": ("step", run.steps[checkpoints], {"long_name": "optimizer updates so far"}),
        "epoch": ("step", run.epochs[checkpoints], {"long_name": "epoch"}),
        "seed": ("seed", list(run.seeds)),
    }


def without_collapsed(run: Run, result: xr.Dataset, is_ratio: Callable[[str], bool]) -> xr.Dataset:
    """The `result` with NaN for ratios of collapsed networks, whose outputs are all near 0 (`circuits.collapse`).

    A variable over step and seed is a ratio if `is_ratio` returns True for its name.
    """
    alive = ~run.collapsed.sel(step=result["step"]).drop_vars("epoch")
    masked = [name for name in result if is_ratio(str(name)) and {"step", "seed"} <= set(result[name].dims)]
    return result.assign({name: result[name].where(alive).transpose(*result[name].dims) for name in masked})
