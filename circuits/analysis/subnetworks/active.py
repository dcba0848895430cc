"""The active subnetwork: the fewest neurons of largest norm that decide every input as the whole network does.

For f(x) = uᵀ relu(W x + b) let f_k keep the k hidden neurons of largest incoming norm. The active subnetwork is f_k for
the smallest k with sign f_k(x) = sign f(x) for every x in a given support; k is the effective sparsity (Merrill et al.
2023, section 2.1). Agreement need not be monotone in k, so every k is looked at, in one pass over running sums.
Networks that are no such formula are run by their own forward pass, see `prefixes`.
"""

import threading
from collections.abc import Mapping
from typing import Literal
from weakref import WeakKeyDictionary

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float, Int, Real

from circuits.analysis.networks.labels import chosen_checkpoints, trajectory_coords
from circuits.analysis.networks.layers import last_layer, layer_of
from circuits.analysis.networks.outputs import preactivations
from circuits.analysis.networks.rounding import prefix_bounds, reach_of, rounding_terms
from circuits.analysis.networks.walk import Network, walk
from circuits.analysis.subnetworks.argmax_scan import smallest_agreeing_argmax
from circuits.analysis.subnetworks.prefixes import smallest_prefix
from circuits.analysis.subnetworks.pruning import incoming_norms, kept_neurons, pruning_order
from circuits.analysis.subnetworks.scan import disagreements
from circuits.checkpoints.run import Run
from circuits.config import Config
from circuits.errors import InputError
from circuits.options import Criterion, Norm, Options
from circuits.threads import one_blas_thread, one_torch_thread


def smallest_agreeing(
    hidden: Float[np.ndarray, "neuron example"],
    u: Float[np.ndarray, " neuron"],
    order: Int[np.ndarray, " neuron"],
    targets: Int[np.ndarray, " example"],
    criterion: Criterion = "prediction",
    bounds: Float[np.ndarray, " prefix"] | None = None,
) -> int | None:
    """Smallest k whose first k neurons in `order` agree with all of them; None if even all of them do not (NaN).

    Parameters
    ----------
    hidden
        (neuron, example) preactivations.
    u, order
        (neuron,) readout, and the neurons from first kept to first pruned.
    targets
        (example,) ±1; used by the criterion "accuracy" only.
    criterion
        "prediction": the same sign on every input. "accuracy": as many right answers, as in the paper's released code.
    bounds
        (neuron + 1,) rounding bound of every prefix: within it an output is 0. By default 0.

    Returns
    -------
    k in 0..neuron. 0 when the whole network outputs 0 everywhere: no neuron is needed for that.
    """
    bounds = np.zeros(len(order) + 1) if bounds is None else bounds
    counts = disagreements(np.ascontiguousarray(hidden), u, order, bounds, targets, criterion == "accuracy", True)
    found = np.flatnonzero(counts == 0)
    return int(found[0]) if found.size else None


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
    """Mask of the active subnetwork of f(x) = uᵀ relu(W x + b) on a support; of several outputs, by their argmax.

    Parameters
    ----------
    W, b, u
        (neuron, input), (neuron,), and (neuron,) or (neuron, output). The sums are taken in float64, and an output
        within its rounding bound of 0 is 0 (`circuits.analysis.networks.rounding`).
    inputs
        (example, input) the support.
    targets
        (example,) ±1, or classes 0.. of several outputs; needed by the criterion "accuracy" only.
    norm
        What orders the neurons: see `incoming_norms`.
    criterion
        What agreement means: see `smallest_agreeing`.

    Returns
    -------
    (neuron,) True for the neurons kept; None for a diverged network, whose output is NaN somewhere.

    Raises
    ------
    ValueError
        The criterion "accuracy" without targets.

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
        raise ValueError("criterion 'accuracy' compares right answers, so it needs targets")
    norms = incoming_norms(W, b, u, norm)
    wanted = np.zeros(len(inputs), np.int64) if targets is None else targets
    order = pruning_order(norms)
    with one_blas_thread():  # as along a run: another number of threads may give other last bits
        if u.ndim == 2:
            hidden = np.maximum(preactivations(W, b, inputs), 0)
            n_kept = smallest_agreeing_argmax(hidden, u, order, None, targets, criterion)
        else:
            n_kept = prefix_size(W, b, u, order, inputs, reach_of(inputs), wanted, criterion)
    return None if n_kept is None else kept_neurons(norms, n_kept)


def prefix_size(
    W: Float[np.ndarray, "neuron input"],
    b: Float[np.ndarray, " neuron"],
    u: Float[np.ndarray, " neuron"],
    order: Int[np.ndarray, " neuron"],
    inputs: Real[np.ndarray, "example input"],
    reach: Float[np.ndarray, " input"],
    targets: Int[np.ndarray, " example"],
    criterion: Criterion = "prediction",
    out: Float[np.ndarray, "neuron example"] | None = None,
) -> int | None:
    """`smallest_agreeing` of one network in float64, with its rounding bounds.

    Parameters
    ----------
    W, b, u, order, inputs, targets, criterion
        As in `active_subnetwork` and `smallest_agreeing`.
    reach
        (input,) as `reach_of` gives it of the inputs.
    out
        Memory for the preactivations, float64, see `preactivations`.
    """
    hidden = preactivations(W.astype(np.float64), b.astype(np.float64), inputs, out)
    bounds = prefix_bounds(rounding_terms(W, b, u, reach), order)
    return smallest_agreeing(hidden, u, order, targets, criterion, bounds)


def network_sparsity(config: Config, parameters: Mapping[str, np.ndarray], train: Mapping[str, np.ndarray]) -> float:
    """Effective sparsity of one network on its training set, the metric `effective_sparsity` of a config.

    Of the last layer that can be pruned.

    Parameters
    ----------
    config, parameters
        What the network is, and its parameters by name.
    train
        "inputs" (example, input) and "targets" (example,).

    Returns
    -------
    As `effective_sparsity` has it; NaN where the network has diverged. That of a collapsed network is 0 by definition:
    whoever knows that it has collapsed says so.
    """
    layer = last_layer(config)
    inputs = as_read(config, train["inputs"])
    if not layer.is_relu:
        with one_blas_thread(), one_torch_thread():
            n_kept = smallest_prefix(layer, parameters, inputs, train["targets"])
        return np.nan if n_kept is None else float(n_kept)
    W, b, u = (parameters[name] for name in config.model.hidden_layer or ())
    with np.errstate(over="ignore", invalid="ignore"):
        order = pruning_order(incoming_norms(W, b, u))
        n_kept = prefix_size(W, b, u, order, inputs, reach_of(inputs), train["targets"])
    return np.nan if n_kept is None else float(n_kept)


def as_read(config: Config, inputs: Real[np.ndarray, "example input"]) -> Real[np.ndarray, "example input"]:
    """Stored inputs as the model reads them: numbers in the config's dtype, or tokens as int64."""
    return inputs.astype(np.int64 if config.model.reads == "tokens" else config.dtype)


def support_examples(run: Run, seed_index: int, support: Literal["train", "test", "train+test"]) -> tuple:
    """Inputs (example, input) as the model reads them, and targets (example,), of a seed's support."""
    data = run.data(run.seeds[seed_index])
    inputs, targets = ([data[f"{part}_{what}"].values for part in support.split("+")] for what in ("inputs", "targets"))
    return as_read(run.config, np.concatenate(inputs)), np.concatenate(targets)


def active_mask(
    run: Run, seed_index: int, checkpoint: int, options: Options = Options()
) -> Bool[np.ndarray, " neuron"] | None:
    """Mask of the active subnetwork of one network; nobody where it has collapsed, None where it has diverged.

    Parameters
    ----------
    run, options
        The run, and how to measure.
    seed_index, checkpoint
        Index of the seed and of the checkpoint.
    """
    layer = layer_of(run, options)
    if run.collapsed.values[checkpoint, seed_index]:
        return np.zeros(layer.width, bool)
    arrays = run.arrays(run.seeds[seed_index], checkpoint)
    net = {short: arrays[name] for short, name in layer.names.items()}
    inputs, targets = support_examples(run, seed_index, options.support)
    with one_blas_thread(), one_torch_thread(), np.errstate(over="ignore", invalid="ignore"):
        if layer.is_relu:
            order = pruning_order(incoming_norms(net["W"], net["b"], net["u"], options.norm))
            n_kept = prefix_size(
                net["W"], net["b"], net["u"], order, inputs, reach_of(inputs), targets, options.criterion
            )
        else:
            n_kept = smallest_prefix(layer, net, inputs, targets, options.norm, options.criterion)
    return None if n_kept is None else kept_neurons(layer.norms(net, options.norm), n_kept)


def active_at(
    run: Run, seed: int | None = None, checkpoint: int | None = None, options: Options = Options()
) -> Bool[np.ndarray, " neuron"]:
    """Mask of the active subnetwork of one network of a run; by default of the first seed, the last checkpoint.

    Raises
    ------
    InputError
        The model has no hidden layer, there is no such seed or checkpoint, or the network has diverged.
    """
    index = run.checkpoint_index(checkpoint)
    kept = active_mask(run, run.seed_index(seed), index, options)
    if kept is None:
        raise InputError(
            f"{run.path}: at checkpoint {index} the network has diverged, so it has no active subnetwork. Pass an "
            f"earlier --checkpoint."
        )
    return kept


_known: WeakKeyDictionary[Run, dict[tuple, dict[int, np.ndarray]]] = WeakKeyDictionary()


def sparsity_at(
    run: Run, checkpoints: Int[np.ndarray, " step"], options: Options, *, progress: bool = False
) -> Float[np.ndarray, "step seed"]:
    """Effective sparsity at these checkpoints; 0 where the network has collapsed, NaN where it has diverged.

    Kept in memory for as long as the run is open, since several measurements take it of the same checkpoints.
    """
    key = (layer_of(run, options).hook, options.support, options.criterion, options.norm)
    known = _known.setdefault(run, {}).setdefault(key, {})
    missing = np.array([at for at in checkpoints.tolist() if at not in known], np.int64)
    if missing.size:
        known.update(zip(missing.tolist(), _find_sparsity(run, missing, options, progress), strict=True))
    return np.array([known[at] for at in checkpoints.tolist()]).reshape(-1, len(run.seeds))


def _find_sparsity(
    run: Run, checkpoints: Int[np.ndarray, " step"], options: Options, progress: bool
) -> Float[np.ndarray, "step seed"]:
    layer = layer_of(run, options)
    supports = [support_examples(run, index, options.support) for index in range(len(run.seeds))]
    memory = threading.local()
    reach = [reach_of(inputs) for inputs, _ in supports] if layer.is_relu else []

    def by_formula(seed: int, net: Network) -> float:
        inputs, targets = supports[seed]
        W, b, u = net["W"], net["b"], net["u"]
        order = pruning_order(incoming_norms(W, b, u, options.norm))
        if not hasattr(memory, "hidden"):
            memory.hidden = np.empty((len(u), len(inputs)))
        n_kept = prefix_size(W, b, u, order, inputs, reach[seed], targets, options.criterion, memory.hidden)
        return np.nan if n_kept is None else float(n_kept)

    def by_forward(seed: int, net: Network) -> float:
        inputs, targets = supports[seed]
        n_kept = smallest_prefix(layer, net, inputs, targets, options.norm, options.criterion)
        return np.nan if n_kept is None else float(n_kept)

    one = by_formula if layer.is_relu else by_forward
    sizes = walk(run, checkpoints, one, what="effective sparsity", progress=progress, names=layer.names)
    return np.where(run.collapsed.values[checkpoints], 0.0, sizes)


def effective_sparsity(run: Run, options: Options = Options(), *, progress: bool = False) -> xr.DataArray:
    """Size of the active subnetwork at every checkpoint, (step, seed); 0 if it collapsed, NaN if it diverged.

    A late reading is noisy: one input of the support whose output is near zero is enough to need many more neurons.
    Report the median over the last checkpoints beside a single reading.
    """
    checkpoints = chosen_checkpoints(run, options)
    layer = layer_of(run, options)
    return xr.DataArray(
        sparsity_at(run, checkpoints, options, progress=progress),
        trajectory_coords(run, checkpoints),
        ("step", "seed"),
        "effective_sparsity",
        {
            "long_name": "neurons in the active subnetwork",
            "units": "neurons",
            "layer": layer.hook,
            "prediction": layer.prediction,
        },
    )
