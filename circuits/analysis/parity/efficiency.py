"""Efficiency along a run, C* m / P: a progress measure that is 1 for the cheapest network that computes parity.

C* is the least path cost per unit of margin. The path cost P and the margin m are those of the whole network, because
weight decay acts on it; m averages outputs over irrelevant bits (`circuits/constructions/reading/efficiency.py`).
Before the network computes parity, m is not positive and the efficiency is NaN. The efficiency of an active subnetwork
says little: pruning keeps only as many neurons as the outputs' signs need, so the subnetwork's margin is small.
"""

import numpy as np
import xarray as xr

from circuits.analysis.networks.applies import is_one_relu_layer, is_parity, require
from circuits.analysis.networks.labels import chosen_checkpoints, trajectory_coords
from circuits.analysis.networks.layers import relu_weights
from circuits.analysis.networks.options import PruningOptions
from circuits.analysis.networks.walk import Network, walk
from circuits.checkpoints.run import Run
from circuits.config import Config
from circuits.constructions.building.least_norm import MOST_BITS, least_cost
from circuits.constructions.reading.efficiency import efficiency as efficiency_of
from circuits.constructions.reading.efficiency import margin, path_cost
from circuits.constructions.verifying.averaging import averaged_activations

MOST_PATTERN_BITS = 10  # all 2^k patterns are enumerated


def parity_bits(run: Run) -> tuple[int, ...]:
    """Input bits whose product is the target. Raises an `InputError` if the task is not a parity of at most 10 bits."""
    require(run, of_few_bits)
    return run.config.task.parity_bits or ()


def of_few_bits(config: Config) -> str | None:
    """None if the target is a parity of at most 10 bits, otherwise the reason why not."""
    k = len(config.task.parity_bits or ())
    if k <= MOST_PATTERN_BITS:
        return is_parity(config)
    return (
        f"the task has k = {k} relevant bits, and all 2^k patterns are enumerated, so k may be at most "
        f"{MOST_PATTERN_BITS}."
    )


def known_least_cost(k: int) -> float:
    """Least path cost / margin, C*(k), of any network for the parity of k bits; NaN for k > 6, where C* is not known.

    The path cost is Σ|u|·‖(w, b)‖ over neurons with incoming weights w, bias b and readout weight u. The margin is the
    least parity × output over the 2^k inputs.

    Examples
    --------
    >>> known_least_cost(4), known_least_cost(9)
    (8.0, nan)
    """
    return least_cost(k) if k <= MOST_BITS else float("nan")


def prices(run: Run, options: PruningOptions = PruningOptions(), *, progress: bool = False) -> xr.Dataset:
    """Path cost, margin and efficiency of each whole network; NaN if the network diverged.

    Returns
    -------
    path_cost
        (step, seed) Σ|u|·‖(w, b)‖ over neurons with incoming weights w, bias b and readout weight u.
    margin
        (step, seed) The mean of parity × output over all values of the other bits is taken at each setting of the
        relevant bits; the margin is the least of these means. NaN if the network collapsed (all outputs ≈ 0).
    efficiency
        (step, seed) C* · margin / path_cost, in (0, 1], where C* is the least path cost per unit of margin of any
        network. NaN if the margin is NaN or not positive, or if C* is not known (more than 6 relevant bits).
    """
    bits = parity_bits(run)
    require(run, is_one_relu_layer)
    least = known_least_cost(len(bits))
    long_names = {
        "path_cost": "path cost Σ|u|·‖(w, b)‖",
        "margin": "minimum of parity × output, other bits averaged out",
        "efficiency": "efficiency C* m / P",
    }

    def one(seed: int, net: Network) -> dict[str, float]:
        W, b, u = relu_weights(run.config, net)
        cost = path_cost(W, b, u)
        if not np.isfinite(cost):
            return dict.fromkeys(long_names, np.nan)
        smallest = margin(averaged_activations(W, b, bits), u)
        return {"path_cost": cost, "margin": smallest, "efficiency": efficiency_of(cost, smallest, least)}

    checkpoints = chosen_checkpoints(run, options)
    values = walk(run, checkpoints, one, what="efficiency", progress=progress)
    for name in ("margin", "efficiency"):  # a collapsed network has none
        values[name][run.collapsed.values[checkpoints]] = np.nan
    return xr.Dataset(
        {name: (("step", "seed"), values[name], {"long_name": text}) for name, text in long_names.items()},
        trajectory_coords(run, checkpoints),
    )


def efficiency(run: Run, options: PruningOptions = PruningOptions(), *, progress: bool = False) -> xr.DataArray:
    """Efficiency C* · margin / path cost of each whole network, (step, seed), in (0, 1] or NaN.

    C* is the least path cost / margin of any network for the same parity, so a network of efficiency 1 is the cheapest.
    `prices` computes the path cost and the margin; its docstring says when the efficiency is NaN.
    """
    return prices(run, options, progress=progress)["efficiency"]
