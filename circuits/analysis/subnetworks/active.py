"""The active subnetwork: the k neurons of largest norm, for the smallest k at which they predict as all neurons do.

For f(x) = uᵀ relu(W x + b) let f_k keep the k hidden neurons of largest incoming norm. The active subnetwork is f_k for
the smallest k with sign f_k(x) = sign f(x) for every x in an agreement set, by default the training set. This k is the
effective sparsity (Merrill et al. 2023, section 2.1). Agreement need not be monotone in k, so every k is checked, in
one pass over running sums. Networks of another form need another computation, which `networks.evaluator` chooses.
"""

from collections.abc import Mapping
from typing import Literal
from weakref import WeakKeyDictionary

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float, Int, Real

from circuits.analysis.networks.evaluator import evaluator
from circuits.analysis.networks.labels import chosen_checkpoints, trajectory_coords
from circuits.analysis.networks.layers import last_layer, layer_of
from circuits.analysis.networks.options import Criterion, Norm, PruningOptions
from circuits.analysis.networks.outputs import preactivations
from circuits.analysis.networks.rounding import reach_of
from circuits.analysis.networks.walk import Network, walk
from circuits.analysis.subnetworks.argmax_scan import smallest_agreeing_argmax
from circuits.analysis.subnetworks.pruning import incoming_norms, kept_neurons, pruning_order
from circuits.analysis.subnetworks.scan import prefix_size
from circuits.checkpoints.run import Run
from circuits.config import Config
from circuits.errors import InputError
from circuits.threads import one_blas_thread


def active_subnetwork(
    W: Float[np.ndarray, "neuron input"],
    b: Float[np.ndarray, " neuron"],
    u: Float[np.ndarray, " neuron"] | Float[np.ndarray, "neuron output"],
    inputs: Real[np.ndarray, "example input"],
    targets: Int[np.ndarray, " example"] | None = None,
    *,
    norm: Norm = "incoming",
    criterion: Criterion = "prediction",
) -> Bool[np.ndarray, " neuron"] | None:
    """Mask of the fewest neurons of largest norm that predict as the whole network f(x) = uᵀ relu(W x + b) does.

    Parameters
    ----------
    W, b, u
        (neuron, input), (neuron,), and (neuron,) or (neuron, output). Outputs are summed in float64. With several
        outputs, the prediction is the argmax. With one output, the prediction is the sign of the output. An output
        counts as 0 if its absolute value is within the bound on its rounding error (`networks.rounding`).
    inputs
        (example, input) the agreement set: the inputs on which predictions are compared.
    targets
        (example,) ±1, or classes from 0 on for several outputs; used by the criterion "accuracy" only.
    norm
        Norm that orders the neurons, see `incoming_norms`.
    criterion
        Condition of agreement, see `smallest_agreeing`.

    Returns
    -------
    (neuron,) True for the kept neurons; None for a diverged network, which has a NaN output.

    Raises
    ------
    ValueError
        The criterion is "accuracy", and `targets` is missing.

    References
    ----------
    Merrill et al. 2023, section 2.1.

    Examples
    --------
    Two large neurons compute the sign of x; a small one changes nothing.

    >>> W, b, u = np.array([[0.1], [2.0], [-2.0]]), np.zeros(3), np.array([1.0, 1.0, -1.0])
    >>> active_subnetwork(W, b, u, np.array([[1], [-1]]))
    array([False,  True,  True])
    """
    if targets is None and criterion == "accuracy":
        raise ValueError("criterion 'accuracy' compares the numbers of right answers: pass targets")
    norms = incoming_norms(W, b, u, norm)
    order = pruning_order(norms)
    with one_blas_thread():  # as in `walk`: another number of threads may give other last bits
        if u.ndim == 2:
            hidden = np.maximum(preactivations(W, b, inputs), 0)
            n_kept = smallest_agreeing_argmax(hidden, u, order, None, targets, criterion)
        else:
            n_kept = prefix_size(W, b, u, order, inputs, reach_of(inputs), targets, criterion)
    return None if n_kept is None else kept_neurons(norms, n_kept)


def network_sparsity(config: Config, parameters: Mapping[str, np.ndarray], train: Mapping[str, np.ndarray]) -> float:
    """The metric `effective_sparsity`: number of neurons that training predictions need, in the last prunable layer.

    `train` has the arrays "inputs" (example, input) and "targets" (example,).

    Returns
    -------
    Number of neurons; NaN for a diverged network. For a collapsed network (outputs near 0) the caller sets 0.
    """
    networks = evaluator(config, as_read(config, train["inputs"]), last_layer(config))
    with networks.threads():
        n_kept = networks.smallest_prefix(parameters, train["targets"])
    return np.nan if n_kept is None else float(n_kept)


def as_read(config: Config, inputs: Real[np.ndarray, "example input"]) -> Real[np.ndarray, "example input"]:
    """Stored inputs in the dtype that the model reads: the config's dtype for numbers, int64 for tokens."""
    return inputs.astype(np.int64 if config.model.reads == "tokens" else config.dtype)


def examples_of(run: Run, seed_index: int, agreement_set: Literal["train", "test", "train+test"]) -> tuple:
    """Inputs (example, input), in the model's dtype, and targets (example,) of a seed's train set, test set or both."""
    data = run.data(run.seeds[seed_index])
    inputs, targets = (
        [data[f"{part}_{what}"].values for part in agreement_set.split("+")] for what in ("inputs", "targets")
    )
    return as_read(run.config, np.concatenate(inputs)), np.concatenate(targets)


def active_mask(
    run: Run, seed_index: int, checkpoint: int, options: PruningOptions = PruningOptions()
) -> Bool[np.ndarray, " neuron"] | None:
    """Mask of the neurons that a network's predictions need; all False if all outputs are near 0, None if diverged."""
    layer = layer_of(run, options)
    if run.collapsed.values[checkpoint, seed_index]:
        return np.zeros(layer.width, bool)
    net = run.arrays(run.seeds[seed_index], checkpoint)
    inputs, targets = examples_of(run, seed_index, options.agreement_set)
    networks = evaluator(run.config, inputs, layer)
    with one_blas_thread(), networks.threads():
        n_kept = networks.smallest_prefix(net, targets, options.norm, options.criterion)
    return None if n_kept is None else kept_neurons(layer.norms(net, options.norm), n_kept)


def active_at(
    run: Run, seed: int | None = None, checkpoint: int | str | None = None, options: PruningOptions = PruningOptions()
) -> Bool[np.ndarray, " neuron"]:
    """Mask of the neurons that predictions need (active subnetwork), by default of the first seed's last checkpoint.

    Raises
    ------
    InputError
        The model has no prunable layer, the seed or checkpoint does not exist, or the network has diverged.
    """
    index = run.checkpoint_index(checkpoint, seed=seed)
    kept = active_mask(run, run.seed_index(seed), index, options)
    if kept is None:
        raise InputError(
            f"{run.path}: at checkpoint {index} the network has diverged, so it has no active subnetwork. Pass an "
            f"earlier checkpoint."
        )
    return kept


_cache: WeakKeyDictionary[Run, dict[tuple, dict[int, np.ndarray]]] = WeakKeyDictionary()


def sparsity_at(
    run: Run, checkpoints: Int[np.ndarray, " step"], options: PruningOptions, *, progress: bool = False
) -> Float[np.ndarray, "step seed"]:
    """Number of neurons that predictions need, cached per run; 0 if collapsed (outputs near 0), NaN if diverged."""
    key = (layer_of(run, options).hook, options.agreement_set, options.criterion, options.norm)
    sizes = _cache.setdefault(run, {}).setdefault(key, {})
    missing = np.array([at for at in checkpoints.tolist() if at not in sizes], np.int64)
    if missing.size:
        sizes.update(zip(missing.tolist(), _find_sparsity(run, missing, options, progress), strict=True))
    return np.array([sizes[at] for at in checkpoints.tolist()]).reshape(-1, len(run.seeds))


def _find_sparsity(
    run: Run, checkpoints: Int[np.ndarray, " step"], options: PruningOptions, progress: bool
) -> Float[np.ndarray, "step seed"]:
    layer = layer_of(run, options)
    agreement_sets = [examples_of(run, index, options.agreement_set) for index in range(len(run.seeds))]
    networks = [evaluator(run.config, inputs, layer) for inputs, _ in agreement_sets]

    def one(seed: int, net: Network) -> dict[str, float]:
        n_kept = networks[seed].smallest_prefix(net, agreement_sets[seed][1], options.norm, options.criterion)
        return {"size": np.nan if n_kept is None else float(n_kept)}

    sizes = walk(run, checkpoints, one, what="effective sparsity", progress=progress)
    return np.where(run.collapsed.values[checkpoints], 0.0, sizes["size"])


def effective_sparsity(run: Run, options: PruningOptions = PruningOptions(), *, progress: bool = False) -> xr.DataArray:
    """Number of neurons that predictions need at every checkpoint; 0 if all outputs are near 0, NaN if diverged.

    (step, seed) size of the active subnetwork. Late values are noisy: one input with an output near 0 may need many
    more neurons. Report the median over the last checkpoints, not only a single value.
    """
    checkpoints, layer = chosen_checkpoints(run, options), layer_of(run, options)
    values = sparsity_at(run, checkpoints, options, progress=progress)
    attrs = {"long_name": "neurons in the active subnetwork", "units": "neurons"}
    attrs |= {"layer": layer.hook, "prediction": layer.prediction}
    return xr.DataArray(values, trajectory_coords(run, checkpoints), ("step", "seed"), "effective_sparsity", attrs)
