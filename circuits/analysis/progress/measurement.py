"""Progress measures between memorization and generalization, and their onsets.

Barak et al. 2022 and Nanda et al. 2023 look for quantities that change steadily while accuracy stands still. These need
no knowledge of the task's circuit: sizes of weights (`spectral`), effective sparsity, margins (`margin`), sensitivity
and arity (of networks on signs), and the spectrum of the loss curves. `change_points` then gives the onset of each, its
lag behind test accuracy, and the earliest measure if one is. All are read in one walk over the run.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float, Int

from circuits.analysis.measurement import Measurement
from circuits.analysis.networks.applies import is_one_relu_layer
from circuits.analysis.networks.evaluator import evaluator
from circuits.analysis.networks.labels import chosen_checkpoints, trajectory_coords
from circuits.analysis.networks.layers import layer_of, relu_weights
from circuits.analysis.networks.options import PruningOptions
from circuits.analysis.networks.phases import epoch_at, phase_checkpoints
from circuits.analysis.networks.remarks import loss_remarks
from circuits.analysis.networks.walk import Network, walk
from circuits.analysis.progress.arity import arities
from circuits.analysis.progress.change_points import change_points, flattened
from circuits.analysis.progress.loss_spectrum import loss_spectra
from circuits.analysis.progress.margin import degree_of_homogeneity, margins
from circuits.analysis.progress.mean_interval import mean_interval
from circuits.analysis.progress.sensitivity import sensitivities_on
from circuits.analysis.progress.spectral import (
    as_matrix,
    frobenius_norm,
    layer_norms,
    layer_of_parameter,
    matrix_names,
    spectral_norm,
)
from circuits.analysis.progress.tables import progress_tables
from circuits.analysis.subnetworks.active import sparsity_at, support_examples
from circuits.analysis.subnetworks.groups import neuron_groups
from circuits.checkpoints.run import Run

CHOICES = (0.9, 0.99, 0.999, 0.9999)  # memorization thresholds, each linear and logarithmic, of a claim's agreement
CURVES = ("test_accuracy", "test_loss", "train_loss")  # training accuracy has moved by then
SAID_ALREADY = (
    "frobenius_norm",
    "sparsity_ratio",
    "sensitivity_low",
    "sensitivity_high",
)  # by layer norms, sparsity, sensitivity
MARGINS = {
    "train_margin_least": "least margin on the training set",
    "train_margin_mean": "mean margin on the training set",
    "test_margin_least": "least margin on the test set",
    "test_margin_mean": "mean margin on the test set",
}
PROBES = 16  # training inputs on which homogeneity is looked for


def measure(run: Run, options: PruningOptions, *, progress: bool = False) -> xr.Dataset:
    """Progress measures of a run, when each moves, and the spectra of its loss curves.

    Returns
    -------
    What `progress_measures`, `change_points` and `loss_spectra` return; what does not apply to the model or the task is
    left out, and the spectra where too few checkpoints are evenly spaced. The attribute `warnings` says where the
    training loss is rounded to 0.
    """
    measures = progress_measures(run, options, progress=progress)
    spectra, when = loss_spectra(run, options), moved(run, options, measures)
    for more in (spectra, when):
        if more is not None:
            measures = measures.merge(more, compat="equals", join="exact").assign_attrs(measures.attrs | more.attrs)
    measures.attrs["warnings"] = [*measures.attrs.get("warnings", []), *loss_remarks(run)]
    return measures


def moved(
    run: Run, options: PruningOptions, *measures: xr.Dataset | Mapping[str, xr.DataArray], log_scale: bool | None = None
) -> xr.Dataset:
    """`change_points` of test accuracy, the losses and these measures, from each seed's memorization checkpoint on.

    Parameters
    ----------
    run, options
        The run; its `chosen_checkpoints` are looked at, and `measures` must have them all.
    measures
        Later ones replace earlier ones, and the run's own curves, of the same name.
    log_scale
        Whether to take logarithms, as in `change_points`.

    Returns
    -------
    As `change_points`; `earliest_choices` is the share of eight analysis choices: memorization thresholds 0.9, 0.99,
    0.999 and 0.9999, each with linear values and with logarithms.
    """
    checkpoints = chosen_checkpoints(run, options)
    curves = run.metrics.isel(step=checkpoints)
    wanted = {name: curves[name] for name in CURVES}
    for more in measures:
        wanted |= flattened({str(name): values for name, values in more.items() if name not in SAID_ALREADY})
    memorized, generalized = phase_checkpoints(run, options)
    choices = [(_memorized_at(run, options, share), logs) for share in CHOICES for logs in (False, True)]
    start, counts = epoch_at(run, memorized), np.isfinite(generalized)
    return change_points(wanted, start, generalized=counts, log_scale=log_scale, choices=choices)


def _memorized_at(run: Run, options: PruningOptions, threshold: float) -> Float[np.ndarray, " seed"]:
    """Epoch at which each seed's train accuracy first exceeds this threshold, NaN where it never does."""
    other = options.model_copy(update={"memorization_threshold": threshold})
    return epoch_at(run, phase_checkpoints(run, other)[0])


def progress_measures(run: Run, options: PruningOptions = PruningOptions(), *, progress: bool = False) -> xr.Dataset:
    """What a run's networks measure at every checkpoint.

    Returns
    -------
    parameter_norm, layer_norm
        (step, seed), (step, seed, layer) L2 norm of all parameters, and of those of each layer.
    spectral_norm, frobenius_norm
        (step, seed, matrix) of every weight matrix.
    effective_sparsity, sparsity_ratio
        (step, seed) as the measurement `subnetwork` has them; of models with a layer that can be pruned.
    train_margin_least, train_margin_mean, test_margin_least, test_margin_mean
        (step, seed) margins on the training and the test set; NaN where the network has collapsed.
    normalised_margin
        (step, seed) least margin on the training set over ‖θ‖^L; of homogeneous networks, of degree `degree`.
    sensitivity, sensitivity_low, sensitivity_high
        (step, seed) mean sensitivity over the test inputs, in 0..input, and the 95 % interval of its mean over all
        inputs, see `mean_interval`; of tasks on signs.
    arity
        (step, seed, neuron) whole numbers, NaN where the network has collapsed or diverged; of the relu model.
    network_arity, subnetwork_arity
        (step, seed) its mean over all neurons, and over the generalizing subnetwork.
    """
    config, checkpoints = run.config, chosen_checkpoints(run, options)
    one = _one_network(run, options)
    values = walk(run, checkpoints, one, what="progress measures", progress=progress)
    collapsed = run.collapsed.values[checkpoints]  # no predictions: neither margins, nor sensitivity, nor arity
    for name, none in (("margin", np.nan), ("sensitivity", np.nan), ("arity", -1)):
        if name in values:
            values[name][collapsed] = none
    coords = trajectory_coords(run, checkpoints)
    axes = ("step", "seed")
    result = xr.Dataset(coords=coords)
    result["parameter_norm"] = (axes, values["parameter_norm"], {"long_name": "L2 norm of all parameters"})
    layers = list(dict.fromkeys(layer_of_parameter(config).values()))
    result["layer_norm"] = ((*axes, "layer"), values["layer_norm"], {"long_name": "L2 norm of the layer's parameters"})
    for name in ("spectral_norm", "frobenius_norm"):
        long_name = name.replace("_", " ").replace("frobenius", "Frobenius")
        result[name] = ((*axes, "matrix"), values[name], {"long_name": long_name})
    result = result.assign_coords(layer=layers, matrix=matrix_names(config))
    if config.prunable_layers:
        sizes = _sizes(run, checkpoints, options, progress)
        result["effective_sparsity"] = (axes, sizes, {"long_name": "neurons in the active subnetwork"})
        ratio = sizes / layer_of(run, options).width
        result["sparsity_ratio"] = (axes, ratio, {"long_name": "effective sparsity / width"})
    for index, (name, long_name) in enumerate(MARGINS.items()):
        result[name] = (axes, values["margin"][..., index], {"long_name": long_name})
    degree = _degree(run)
    if degree is not None:
        with np.errstate(divide="ignore", invalid="ignore"):
            normalized = values["margin"][..., 0] / values["parameter_norm"] ** degree
        result["normalised_margin"] = (axes, normalized, {"long_name": f"least training margin / ‖θ‖^{degree}"})
        result.attrs["degree"] = degree
    if "sensitivity" in values:
        title: dict[str, object] = {
            "long_name": "bits whose flip changes the prediction",
            "n_inputs": config.task.signature.n_inputs,
        }
        if config.task.parity_bits is not None:
            title["of_the_task"] = len(config.task.parity_bits)
        result["sensitivity"] = (axes, values["sensitivity"][..., 0], title)
        for index, end in enumerate(("low", "high"), 1):
            attrs = {"long_name": f"{end} end of its 95 % interval"}
            result[f"sensitivity_{end}"] = (axes, values["sensitivity"][..., index], attrs)
    if "arity" in values:
        _add_arity(result, values["arity"], neuron_groups(run, options).kept[0])
    return result


def _one_network(run: Run, options: PruningOptions) -> Callable[[int, Network], dict[str, Any]]:
    """The function of one network that `walk` applies."""
    config = run.config
    layer_names, matrices = layer_of_parameter(config), matrix_names(config)
    layers = list(dict.fromkeys(layer_names.values()))
    dims = {name: config.shapes[name][0] for name in matrices}
    has_arity = is_one_relu_layer(config) is None
    places = range(len(run.seeds))
    sets = [{which: support_examples(run, at, which) for which in ("train", "test")} for at in places]
    outputs = [{which: evaluator(config, of[0]).outputs for which, of in both.items()} for both in sets]
    if config.task.inputs_are_signs:
        flips = [sensitivities_on(config, both["test"][0]) for both in sets]
    if has_arity:
        supports = [support_examples(run, at, options.support)[0] for at in places]
        on_support = [evaluator(config, inputs).outputs for inputs in supports]

    def one(seed: int, net: Network) -> dict[str, Any]:
        of_layers = layer_norms(net, layer_names)
        norms = np.array([of_layers[layer] for layer in layers], np.float64)
        answers = {which: give(net) for which, give in outputs[seed].items()}
        each = {which: margins(answers[which], of[1]) for which, of in sets[seed].items()}
        spectral = [spectral_norm(as_matrix(net[name], dims[name])) for name in matrices]
        of_margins = [statistic for own in each.values() for statistic in (own.min(), own.mean())]
        numbers: dict[str, Any] = {
            "layer_norm": norms,
            "parameter_norm": np.sqrt((norms**2).sum()),
            "spectral_norm": np.array(spectral, np.float64),
            "frobenius_norm": np.array([frobenius_norm(net[name]) for name in matrices], np.float64),
            "margin": np.array(of_margins, np.float64),
        }
        if config.task.inputs_are_signs:
            numbers["sensitivity"] = np.full(3, np.nan)
            if np.isfinite(answers["test"]).all():
                counts = flips[seed](net)
                numbers["sensitivity"][:] = counts.mean(), *mean_interval(counts, 0, config.task.signature.n_inputs)
        if has_arity:
            on = answers["train"] if options.support == "train" else on_support[seed](net)
            numbers["arity"] = arities(*relu_weights(config, net), supports[seed], on).astype(np.int16)
        return numbers

    return one


def _sizes(run: Run, checkpoints: Int[np.ndarray, " step"], options: PruningOptions, progress: bool) -> np.ndarray:
    """Effective sparsity, as it was stored while training if that is the same thing."""
    usual = PruningOptions()
    same = all(getattr(options, name) == getattr(usual, name) for name in ("support", "criterion", "norm"))
    last = options.layer in (None, list(run.config.prunable_layers)[-1])
    if same and last and "effective_sparsity" in run.metrics:
        return run.metrics["effective_sparsity"].values[checkpoints].astype(np.float64)
    return sparsity_at(run, checkpoints, options, progress=progress)


def _degree(run: Run) -> int | None:
    """Degree of homogeneity of the run's networks, looked for in the first seed's initial one."""
    inputs, _ = support_examples(run, 0, "train")
    return degree_of_homogeneity(evaluator(run.config, inputs[:PROBES]).outputs, run.arrays(run.seeds[0], 0))


def _add_arity(found: xr.Dataset, arity: np.ndarray, kept: np.ndarray) -> None:
    axes = ("step", "seed")
    defined = np.where(arity < 0, np.float32(np.nan), arity.astype(np.float32))  # (step, seed, neuron)
    n_kept = kept.sum(axis=-1)
    with np.errstate(invalid="ignore"):
        of_kept = np.where(kept, defined, 0.0).sum(axis=-1, dtype=np.float64) / np.where(n_kept > 0, n_kept, np.nan)
    found["arity"] = ((*axes, "neuron"), defined, {"long_name": "inputs that the neuron needs"})
    found["network_arity"] = (
        axes,
        defined.mean(axis=-1, dtype=np.float64),
        {"long_name": "mean arity over all neurons"},
    )
    found["subnetwork_arity"] = (axes, of_kept, {"long_name": "mean arity over the generalizing subnetwork"})


PROGRESS = Measurement(measure, tables=progress_tables)
