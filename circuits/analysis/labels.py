"""The labels that every trajectory of results carries: step, epoch, seed."""

from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr

from circuits.checkpoints.run import Run
from circuits.errors import InputError
from circuits.options import Options


def chosen_checkpoints(run: Run, options: Options) -> np.ndarray:
    """Indices of the checkpoints that `options` selects, ascending.

    Raises
    ------
    InputError
        There are none.
    """
    chosen = np.arange(run.n_checkpoints)[options.slice]
    if not chosen.size:
        raise InputError(
            f"{run.path} has {run.n_checkpoints} checkpoints, so --checkpoints {options.checkpoints} selects none. "
            f"Pass a slice within 0:{run.n_checkpoints}."
        )
    return chosen


def requested_checkpoints(run: Run, options: Options) -> np.ndarray:
    """As `chosen_checkpoints`, but the last one alone where `options` asks for all: for measurements that take long.

    To have all of them, ask for "0:".
    """
    return np.array([run.n_checkpoints - 1]) if options.slice == slice(None) else chosen_checkpoints(run, options)


def trajectory_coords(run: Run, checkpoints: np.ndarray) -> dict[str, Any]:
    """Coordinates of results at these checkpoints."""
    return {
        "step": ("step", run.steps[checkpoints], {"long_name": "optimizer updates so far"}),
        "epoch": ("step", run.epochs[checkpoints], {"long_name": "epoch"}),
        "seed": ("seed", list(run.seeds)),
    }


def without_collapsed(run: Run, result: xr.Dataset, is_ratio: Callable[[str], bool]) -> xr.Dataset:
    """A result whose ratios are NaN where the network has collapsed: shares of outputs that are all 0 mean nothing.

    Parameters
    ----------
    run
        The run.
    result
        What was measured of it; every variable over step and seed whose name `is_ratio` says yes to is masked.
    is_ratio
        Of a variable's name.
    """
    alive = ~run.collapsed.sel(step=result["step"]).drop_vars("epoch")
    masked = [name for name in result if is_ratio(str(name)) and {"step", "seed"} <= set(result[name].dims)]
    return result.assign({name: result[name].where(alive).transpose(*result[name].dims) for name in masked})
