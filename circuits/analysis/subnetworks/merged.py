"""Merged sparsity: how many circuit elements the network's predictions need, split neurons counted once.

Effective sparsity counts neurons, and jumps when one gate is split over several or one input of the support lies near
0. Here the near-parallel neurons are merged first (`constructions/elements.py`), the elements taken in the order of
their summed path norm, and the contributions of their neurons summed as they are: merged sparsity is the smallest
number of elements with the same sign as the whole network on every input of the support. Neurons below the floor belong
to no element, so that even all elements may disagree with the whole network: then it is NaN, as early in training.
"""

from typing import Literal

import numpy as np
import xarray as xr
from jaxtyping import Float, Int, Real

from circuits.analysis.networks.applies import is_one_relu_layer, require
from circuits.analysis.networks.labels import chosen_checkpoints, trajectory_coords
from circuits.analysis.networks.layers import relu_weights
from circuits.analysis.networks.outputs import preactivations
from circuits.analysis.networks.rounding import prefix_bounds, reach_of, rounding_terms
from circuits.analysis.networks.walk import Network, walk
from circuits.analysis.subnetworks.active import support_examples
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
    """Smallest number of elements that agree with the whole network; None when not even all do, or it diverged.

    Parameters
    ----------
    W, b, u
        (neuron, input), (neuron,), (neuron,).
    inputs
        (example, input) the support.
    targets
        (example,) ±1, for the criterion "accuracy" only.
    cosine, floor
        As in `elements`.
    criterion
        "prediction": the same sign on every input. "accuracy": as many right answers.
    found
        What `elements` gave for this network, if at hand.

    Returns
    -------
    0.. the number of elements; the same, to the last bit of every sum, however the neurons are numbered.

    Examples
    --------
    x by two positive and one negative neuron: the two are one element.

    >>> W, u = np.array([[1.0], [1.0], [-1.0]]), np.array([1.0, 1.0, -1.0])
    >>> elements_needed(W, np.zeros(3), u, np.array([[1], [-1]]))
    2
    """
    if targets is None and criterion == "accuracy":
        raise ValueError("criterion 'accuracy' compares right answers, so it needs targets")
    found = elements(W, b, u, cosine, floor) if found is None else found
    if found is None:
        return None
    labels = found.labels[found.order]
    # Element by element, and last the neurons below the floor, which only the whole network has.
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
    """Merged sparsity at these checkpoints: 0 of a collapsed network, NaN where even all elements do not agree."""
    require(run, is_one_relu_layer)
    supports = [support_examples(run, index, options.support) for index in range(len(run.seeds))]

    def one(seed: int, net: Network) -> dict[str, float]:
        inputs, targets = supports[seed]
        needed = elements_needed(
            *relu_weights(run.config, net), inputs, targets,
            cosine=options.merge_cosine, floor=options.merge_floor, criterion=options.criterion,
        )  # fmt: skip
        return {"size": np.nan if needed is None else float(needed)}

    sizes = walk(run, checkpoints, one, what="merged sparsity", progress=progress)
    return np.where(run.collapsed.values[checkpoints], 0.0, sizes["size"])


def merged_sparsity(run: Run, options: MergeOptions = MergeOptions(), *, progress: bool = False) -> xr.DataArray:
    """Elements needed for full agreement at every checkpoint, (step, seed); NaN where even all of them do not agree."""
    checkpoints = chosen_checkpoints(run, options)
    return xr.DataArray(
        merged_at(run, checkpoints, options, progress=progress),
        trajectory_coords(run, checkpoints),
        ("step", "seed"),
        "merged_sparsity",
        {
            "long_name": "merged elements needed",
            "units": "elements",
            "merge_cosine": options.merge_cosine,
            "merge_floor": options.merge_floor,
        },
    )
