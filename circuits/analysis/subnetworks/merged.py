"""Merged sparsity: the number of circuit elements (merged near-parallel neurons) that the predictions need.

Effective sparsity counts neurons. This count grows if training splits one element into several neurons, and jumps if an
output lies near 0. Merged sparsity first merges neurons into elements (`constructions/reading/elements.py`), then
sorts the elements by descending summed path norm, and sums the contributions of their neurons. Merged sparsity is the
smallest m such that the first m elements together have the network's sign on every input of the agreement set (by
default, the training set). Neurons below the path-norm threshold `floor` belong to no element. So even the sum of all
elements may differ from the network in sign, for example early in training. If no m suffices, merged sparsity is NaN.
"""

from typing import Any, Literal

import numpy as np
import xarray as xr
from jaxtyping import Float, Int, Real

from circuits.analysis.networks.applies import is_one_relu_layer, require
from circuits.analysis.networks.labels import chosen_checkpoints, trajectory_coords
from circuits.analysis.networks.layers import relu_weights
from circuits.analysis.networks.outputs import preactivations
from circuits.analysis.networks.rounding import prefix_bounds, reach_of, rounding_terms
from circuits.analysis.networks.walk import Network, walk
from circuits.analysis.subnetworks.active import examples_of
from circuits.analysis.subnetworks.options import MergeOptions
from circuits.analysis.subnetworks.scan import disagreements
from circuits.checkpoints.run import Run
from circuits.constructions.reading.elements import MERGE_COSINE, MERGE_FLOOR, Elements, elements


def elements_needed(
    W: Float[np.ndarray, "neuron input"],
    b: Float[np.ndarray, " neuron"],
    u: Float[np.ndarray, " neuron"],
    inputs: Real[np.ndarray, "example input"],
    targets: Int[np.ndarray, " example"] | None = None,
    *,
    cosine: float = MERGE_COSINE,
    floor: float = MERGE_FLOOR,
    criterion: Literal["prediction", "accuracy"] = "prediction",
    found: Elements | None = None,
) -> int | None:
    """Number of circuit elements (groups of near-parallel neurons) that the network's predictions need.

    The network is f(x) = uᵀ relu(W x + b). The path norm of a neuron is |u|·‖(w, b)‖. The elements are sorted by the
    sum of their neurons' path norms, largest first. The result is the smallest m such that the first m elements alone
    agree with the network on `inputs`; None if no m suffices or a weight is not finite. Neurons may be in any order.

    Parameters
    ----------
    inputs
        (example, input) the agreement set: the inputs on which predictions are compared.
    targets
        (example,) ±1; used by the criterion "accuracy" only.
    cosine
        Two neurons share an element if their vectors (w, b) have a cosine above this, and their u the same sign.
    floor
        A neuron is in an element only if its path norm is above this share of the largest path norm.
    criterion
        "prediction": the network's sign on every input. "accuracy": as many right answers as the network.
    found
        Result of `elements` for this network, if the caller has it.

    Examples
    --------
    The sign of x from two positive neurons, which merge into one element, and a negative neuron.

    >>> W, u = np.array([[1.0], [1.0], [-1.0]]), np.array([1.0, 1.0, -1.0])
    >>> elements_needed(W, np.zeros(3), u, np.array([[1], [-1]]))
    2
    """
    if targets is None and criterion == "accuracy":
        raise ValueError("criterion 'accuracy' compares the numbers of right answers: pass targets")
    found = elements(W, b, u, cosine, floor) if found is None else found
    if found is None:
        return None
    labels = found.labels[found.order]
    # Element by element; the neurons below the floor come last: only the whole network has them.
    order = found.order[np.argsort(np.where(labels < 0, len(labels), labels), kind="stable")]
    hidden = preactivations(W[order].astype(np.float64), b[order].astype(np.float64), inputs)
    bounds = prefix_bounds(rounding_terms(W, b, u, reach_of(inputs)), order)
    wanted = np.zeros(len(inputs), np.int64) if targets is None else targets
    place = np.arange(len(order))
    counts = disagreements(hidden, u[order], place, bounds, wanted, criterion == "accuracy", False)
    ends = np.bincount(labels[labels >= 0], minlength=len(found.path_norms)).cumsum()
    agreeing = np.flatnonzero(counts[np.append(0, ends)] == 0)
    return int(agreeing[0]) if agreeing.size else None


def merged_at(
    run: Run, checkpoints: Int[np.ndarray, " step"], options: MergeOptions, *, progress: bool = False
) -> Float[np.ndarray, "step seed"]:
    """Merged sparsity at `checkpoints`: how many circuit elements (groups of merged neurons) reproduce the predictions.

    The elements are sorted by the sum of their neurons' path norms |u|·‖(w, b)‖, largest first. The result is the least
    m for which the first m elements suffice: 0 if all outputs are near 0, NaN if diverged or if no m suffices.
    """
    require(run, is_one_relu_layer)
    agreement_sets = [examples_of(run, index, options.agreement_set) for index in range(len(run.seeds))]

    def one(seed: int, net: Network) -> dict[str, float]:
        inputs, targets = agreement_sets[seed]
        needed = elements_needed(
            *relu_weights(run.config, net), inputs, targets,
            cosine=options.merge_cosine, floor=options.merge_floor, criterion=options.criterion,
        )  # fmt: skip
        return {"size": np.nan if needed is None else float(needed)}

    sizes = walk(run, checkpoints, one, what="merged sparsity", progress=progress)
    return np.where(run.collapsed.values[checkpoints], 0.0, sizes["size"])


def merged_sparsity(run: Run, options: MergeOptions = MergeOptions(), *, progress: bool = False) -> xr.DataArray:
    """Number of circuit elements (merged neurons) that predictions need, (step, seed); NaN if no number suffices."""
    checkpoints = chosen_checkpoints(run, options)
    values = merged_at(run, checkpoints, options, progress=progress)
    attrs: dict[str, Any] = {"long_name": "merged elements needed", "units": "elements"}
    attrs |= {"merge_cosine": options.merge_cosine, "merge_floor": options.merge_floor}
    return xr.DataArray(values, trajectory_coords(run, checkpoints), ("step", "seed"), "merged_sparsity", attrs)
