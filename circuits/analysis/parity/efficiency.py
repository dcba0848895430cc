"""Efficiency along a run: C* m / P, how near the network is to the cheapest way of computing parity. A progress
measure.

The path cost P and the margin m, the other bits averaged out, are those of the whole network, which is what weight
decay acts on; `constructions/efficiency.py` defines them. Before the network computes parity the margin is not positive
and the efficiency NaN. An active subnetwork is cut off where signs agree, so its margin is small: its efficiency says
little.
"""

import numpy as np
import xarray as xr

from circuits.analysis.networks.labels import chosen_checkpoints, trajectory_coords
from circuits.analysis.networks.walk import Network, walk
from circuits.checkpoints.run import Run
from circuits.constructions.building.least_norm import MOST_BITS, least_cost
from circuits.constructions.reading.efficiency import efficiency as efficiency_of
from circuits.constructions.reading.efficiency import margin, path_cost
from circuits.constructions.verifying.averaging import averaged_activations
from circuits.errors import InputError
from circuits.options import Options

MOST_PATTERN_BITS = 10  # 2^k patterns are looked at one by one


def parity_bits(run: Run) -> tuple[int, ...]:
    """The bits whose product is the target.

    Raises
    ------
    InputError
        The task is not a parity, or of too many bits to look at every pattern.
    """
    task = run.config.task
    bits = task.parity_bits
    if bits is None:
        raise InputError(
            f"{run.path} holds the task '{task.kind}', and constructions compute parity. "
            f"Gates, matches, efficiency and Walsh spectra need a run of the task 'parity'."
        )
    if len(bits) > MOST_PATTERN_BITS:
        raise InputError(
            f"{run.path} has k = {len(bits)} relevant bits; every one of the 2^k patterns is looked at, "
            f"so k may be at most {MOST_PATTERN_BITS}."
        )
    return bits


def known_least_cost(k: int) -> float:
    """C*(k), or NaN where it is not solved.

    Examples
    --------
    >>> known_least_cost(4), known_least_cost(9)
    (8.0, nan)
    """
    return least_cost(k) if k <= MOST_BITS else float("nan")


def prices(run: Run, options: Options = Options(), *, progress: bool = False) -> xr.Dataset:
    """`path_cost`, `margin` and `efficiency` (step, seed) of the whole network; NaN where it diverged.

    A collapsed network has a path cost, but neither margin nor efficiency: NaN.
    """
    bits = parity_bits(run)
    least = known_least_cost(len(bits))

    def one(seed: int, net: Network) -> tuple[float, float, float]:
        cost = path_cost(net["W"], net["b"], net["u"])
        if not np.isfinite(cost):
            return np.nan, np.nan, np.nan
        smallest = margin(averaged_activations(net["W"], net["b"], bits), net["u"])
        return cost, smallest, efficiency_of(cost, smallest, least)

    checkpoints = chosen_checkpoints(run, options)
    values = walk(run, checkpoints, one, what="efficiency", progress=progress)  # (step, seed, 3)
    values[..., 1:][run.collapsed.values[checkpoints]] = np.nan  # a collapsed network has no margin
    said = {
        "path_cost": "path cost Σ|u|·‖(w, b)‖",
        "margin": "least parity times output, other bits averaged out",
        "efficiency": "efficiency C* m / P",
    }
    return xr.Dataset(
        {
            name: (("step", "seed"), values[..., index], {"long_name": text})
            for index, (name, text) in enumerate(said.items())
        },
        trajectory_coords(run, checkpoints),
    )


def efficiency(run: Run, options: Options = Options(), *, progress: bool = False) -> xr.DataArray:
    """C* m / P of the whole network, (step, seed), in (0, 1]; NaN where the margin is not positive."""
    return prices(run, options, progress=progress)["efficiency"]
