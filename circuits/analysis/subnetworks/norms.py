"""Norm of each hidden neuron, and its mean over each group of neurons.

Merrill et al. 2023, section 3.2: a neuron's norm is the L2 norm of its incoming weights. Figure 3 (left) averages
norms over the generalizing subnetwork, its complement and a random control. Figure 5 shows each neuron's norm.
"""

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float

from circuits.analysis.measurement import Measurement
from circuits.analysis.networks.applies import has_prunable_layer
from circuits.analysis.networks.labels import chosen_checkpoints, trajectory_coords
from circuits.analysis.networks.layers import layer_of
from circuits.analysis.networks.options import PruningOptions
from circuits.analysis.networks.walk import Network, walk
from circuits.analysis.subnetworks.groups import GROUPS, neuron_groups
from circuits.checkpoints.run import Run


def group_means(
    norms: Float[np.ndarray, " neuron"], groups: Bool[np.ndarray, "group neuron"]
) -> Float[np.ndarray, " group"]:
    """Mean norm over the members of each group; NaN for an empty group.

    Examples
    --------
    >>> group_means(np.array([1.0, 3.0, 8.0]), np.array([[True, True, False], [False, False, False]]))
    array([ 2., nan])
    """
    sizes = groups.sum(axis=1)
    sums = np.where(groups, norms, 0.0).sum(axis=1)
    return np.where(sizes > 0, sums / np.maximum(sizes, 1), np.nan)


def neuron_norms(run: Run, options: PruningOptions = PruningOptions(), *, progress: bool = False) -> xr.DataArray:
    """Norm of every hidden neuron, (step, seed, neuron) float32."""
    layer = layer_of(run, options)

    def one(seed: int, net: Network) -> dict[str, np.ndarray]:
        return {"norm": layer.norms(net, options.norm).astype(np.float32)}

    checkpoints = chosen_checkpoints(run, options)
    values = walk(run, checkpoints, one, what="norms", progress=progress)["norm"]
    attrs = {"norm": options.norm, "layer": layer.hook, "long_name": f"norm of each neuron ({options.norm})"}
    return xr.DataArray(values, trajectory_coords(run, checkpoints), ("step", "seed", "neuron"), "neuron_norm", attrs)


def group_norms(
    run: Run, options: PruningOptions = PruningOptions(), norms: xr.DataArray | None = None
) -> xr.DataArray:
    """Mean norm over each group of neurons, (group, step, seed); NaN if the group is empty, or missing for the seed.

    The groups are: generalizing (neurons that predictions need at the end of the run), memorizing (needed at
    memorization), complementary (all but the generalizing), control (random, as many as the generalizing). `norms` is
    the result of `neuron_norms` for the same options, if the caller has it.
    """
    norms = neuron_norms(run, options) if norms is None else norms
    groups = neuron_groups(run, options)
    values = np.empty((len(GROUPS), *norms.shape[:2]))  # (group, step, seed)
    for step, seed in np.ndindex(*norms.shape[:2]):
        values[:, step, seed] = group_means(norms.values[step, seed].astype(np.float64), groups.kept[:, seed])
    values = np.where(groups.defined[:, None], values, np.nan)
    coords = {"group": list(GROUPS), **{str(k): v for k, v in norms.coords.items() if k in ("step", "epoch", "seed")}}
    attrs = {"norm": options.norm, "long_name": f"mean neuron norm ({options.norm})"}
    return xr.DataArray(values, coords, ("group", "step", "seed"), "group_norm", attrs)


def parameter_norms(run: Run, options: PruningOptions, *, progress: bool = False) -> xr.Dataset:
    """`parameter_norm` (step, seed, parameter): L2 norm of each parameter, for a model that is not known here."""
    names = list(run.config.shapes)

    def one(seed: int, net: Network) -> dict[str, np.ndarray]:
        return {"norm": np.array([np.linalg.norm(net[name].astype(np.float64)) for name in names])}

    checkpoints = chosen_checkpoints(run, options)
    values = walk(run, checkpoints, one, what="norms", progress=progress)["norm"]
    norms = (("step", "seed", "parameter"), values, {"long_name": "L2 norm of each parameter"})
    return xr.Dataset({"parameter_norm": norms}, {**trajectory_coords(run, checkpoints), "parameter": names})


def measure(run: Run, options: PruningOptions, *, progress: bool = False) -> xr.Dataset:
    """`neuron_norm` (step, seed, neuron): norm of each neuron. `group_norm` (group, step, seed): mean over each group.

    The groups of neurons are: generalizing (predictions need these neurons at the end of the run), memorizing (needed
    at memorization), complementary (all but the generalizing), control (random, as many as the generalizing).
    """
    if run.config.model.no_outputs:
        return parameter_norms(run, options, progress=progress)
    norms = neuron_norms(run, options, progress=progress)
    values = {"neuron_norm": norms, "group_norm": group_norms(run, options, norms)}
    return xr.Dataset(values, attrs={"layer": norms.attrs["layer"]})


NORMS = Measurement(measure, lambda config: None if config.model.no_outputs else has_prunable_layer(config))
