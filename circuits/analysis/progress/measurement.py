"""Progress measures between memorization and generalization, and their onsets.

Barak et al. 2022 and Nanda et al. 2023 look for quantities that change steadily while accuracy is constant. The
measures here need no knowledge of the task's circuit. They are weight norms, margins, loss spectra, and three counts.
Effective sparsity counts the neurons that the predictions need. Sensitivity counts the bits whose flip changes the
prediction. The arity of a relu neuron counts its incoming weights that the predictions need. `change_points` finds the
epoch at which each measure begins to change. If the 95 % intervals allow, it also names the measure that changes first.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np
import xarray as xr
from jaxtyping import Int

from circuits.analysis.measurement import Measurement
from circuits.analysis.networks.applies import (
    all_of,
    has_prunable_layer,
    has_test_set,
    is_one_relu_layer,
    makes_predictions,
)
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
from circuits.analysis.subnetworks.active import examples_of, sparsity_at
from circuits.analysis.subnetworks.groups import neuron_groups
from circuits.checkpoints.run import Run

CHOICES = (0.9, 0.99, 0.999, 0.9999)  # memorization thresholds, each with linear and with logarithmic values
CURVES = ("test_accuracy", "test_loss", "train_loss")  # training accuracy changes before memorization
REDUNDANT = ("frobenius_norm", "sparsity_ratio", "sensitivity_low", "sensitivity_high")  # follow from others
MARGINS = {
    "train_margin_least": "least margin on the training set",
    "train_margin_mean": "mean margin on the training set",
    "test_margin_least": "least margin on the test set",
    "test_margin_mean": "mean margin on the test set",
}
PROBES = 16  # training inputs on which homogeneity is tested


def measure(run: Run, options: PruningOptions, *, progress: bool = False) -> xr.Dataset:
    """Progress measures of a run, their onsets, and the spectra of its loss curves.

    The result has the variables of `progress_measures`, `change_points` and `loss_spectra` that apply. It has no
    spectra if too few checkpoints are evenly spaced. The attribute `warnings` lists training losses rounded to 0.
    """
    measures = progress_measures(run, options, progress=progress)
    for more in (loss_spectra(run, options), run_change_points(run, options, measures)):
        if more is not None:
            measures = measures.merge(more, compat="equals", join="exact").assign_attrs(measures.attrs | more.attrs)
    measures.attrs["warnings"] = [*measures.attrs.get("warnings", []), *loss_remarks(run)]
    return measures


def run_change_points(
    run: Run, options: PruningOptions, *measures: xr.Dataset | Mapping[str, xr.DataArray], log_scale: bool | None = None
) -> xr.Dataset:
    """When test accuracy, the losses and `measures` begin and stop changing, from each seed's memorization on.

    Parameters
    ----------
    run, options
        The run, and options that choose its checkpoints; every measure must have all chosen checkpoints.
    measures
        Measures by name. The names "frobenius_norm", "sparsity_ratio", "sensitivity_low" and "sensitivity_high" are
        skipped, since these measures follow from others. If a name is in two arguments, the measure in the later
        argument counts. A measure named "test_accuracy", "test_loss" or "train_loss" replaces the run's own curve.
    log_scale
        Which measures, except accuracies and shares, are fitted as logarithms. True: all. False: none. None: positive
        measures that change more than tenfold.

    Returns
    -------
    Result of `change_points`. There, `earliest` (seed) names the measure that surely begins to change first, or is "".
    The code repeats this analysis with memorization thresholds 0.9, 0.99, 0.999 and 0.9999, each with linear values and
    with logarithms. `earliest_choices` (seed) is the share of these eight analyses that name the measure in `earliest`.
    """
    checkpoints = chosen_checkpoints(run, options)
    curves = run.metrics.isel(step=checkpoints)
    wanted = {name: curves[name] for name in CURVES}
    for more in measures:
        wanted |= flattened({str(name): values for name, values in more.items() if name not in REDUNDANT})
    memorized, generalized = phase_checkpoints(run, options)
    others = [options.model_copy(update={"memorization_threshold": share}) for share in CHOICES]
    starts = [epoch_at(run, phase_checkpoints(run, other)[0]) for other in others]
    choices = [(start, logs) for start in starts for logs in (False, True)]
    start, counts = epoch_at(run, memorized), np.isfinite(generalized)
    return change_points(wanted, start, generalized=counts, log_scale=log_scale, choices=choices)


def progress_measures(run: Run, options: PruningOptions = PruningOptions(), *, progress: bool = False) -> xr.Dataset:
    """Progress measures of a run's networks at every checkpoint.

    Returns
    -------
    parameter_norm
        (step, seed) L2 norm of all parameters.
    layer_norm
        (step, seed, layer) L2 norm of the parameters of each layer.
    spectral_norm, frobenius_norm
        (step, seed, matrix) norms of every weight matrix.
    effective_sparsity, sparsity_ratio
        (step, seed) number of neurons that predictions need, and this number / width; only if a layer is prunable.
    train_margin_least, train_margin_mean, test_margin_least, test_margin_mean
        (step, seed) margins on the training and the test set; NaN if the network has collapsed (all outputs near 0).
    normalised_margin
        (step, seed) least training margin divided by ‖θ‖^L, for homogeneous networks; the attribute `degree` is L.
    sensitivity, sensitivity_low, sensitivity_high
        (step, seed) number of bits whose flip changes the prediction: mean over the test inputs, and 95 % interval for
        the mean over all possible inputs (`mean_interval`). Only for tasks with inputs ±1.
    arity
        (step, seed, neuron) number of incoming weights, largest first, that the neuron must keep so that no prediction
        changes; NaN if the network has collapsed or diverged. Arities exist only for the model uᵀ relu(W x + b).
    network_arity
        (step, seed) mean arity over all neurons.
    subnetwork_arity
        (step, seed) mean arity over the neurons that predictions need at the checkpoint that `options.final` selects.
    """
    config, checkpoints = run.config, chosen_checkpoints(run, options)
    values = walk(run, checkpoints, _one_network(run, options), what="progress measures", progress=progress)
    collapsed = run.collapsed.values[checkpoints]  # no predictions: neither margins, nor sensitivity, nor arity
    for name, none in (("margin", np.nan), ("sensitivity", np.nan), ("arity", -1)):
        if name in values:
            values[name][collapsed] = none
    result = xr.Dataset(coords=trajectory_coords(run, checkpoints))

    def add(name: str, numbers: np.ndarray, long_name: str, *dims: str, **attrs: object) -> None:
        result[name] = (("step", "seed", *dims), numbers, {"long_name": long_name, **attrs})

    add("parameter_norm", values["parameter_norm"], "L2 norm of all parameters")
    add("layer_norm", values["layer_norm"], "L2 norm of the layer's parameters", "layer")
    result = result.assign_coords(layer=list(dict.fromkeys(layer_of_parameter(config).values())))
    if matrices := matrix_names(config):
        add("spectral_norm", values["spectral_norm"], "spectral norm", "matrix")
        add("frobenius_norm", values["frobenius_norm"], "Frobenius norm", "matrix")
        result = result.assign_coords(matrix=matrices)
    if has_prunable_layer(config) is None:
        sizes = _sizes(run, checkpoints, options, progress)
        add("effective_sparsity", sizes, "neurons in the active subnetwork")
        add("sparsity_ratio", sizes / layer_of(run, options).width, "effective sparsity / width")
    degree = None
    if "margin" in values:
        for index, (name, long_name) in enumerate(MARGINS.items()):
            add(name, values["margin"][..., index], long_name)
        probes = examples_of(run, 0, "train")[0][:PROBES]
        degree = degree_of_homogeneity(evaluator(config, probes).outputs, run.arrays(run.seeds[0], 0))
    if degree is not None:
        with np.errstate(divide="ignore", invalid="ignore"):
            normalized = values["margin"][..., 0] / values["parameter_norm"] ** degree
        add("normalised_margin", normalized, f"least training margin / ‖θ‖^{degree}")
        result.attrs["degree"] = degree
    if "sensitivity" in values:
        bits = config.task.parity_bits
        of_task = {} if bits is None else {"of_the_task": len(bits)}
        n_inputs = config.task.signature.n_inputs
        mean, low, high = np.moveaxis(values["sensitivity"], -1, 0)
        add("sensitivity", mean, "bits whose flip changes the prediction", n_inputs=n_inputs, **of_task)
        add("sensitivity_low", low, "low end of its 95 % interval")
        add("sensitivity_high", high, "high end of its 95 % interval")
    if "arity" in values:
        arity = np.where(values["arity"] < 0, np.float32(np.nan), values["arity"].astype(np.float32))
        kept = neuron_groups(run, options).kept[0]
        n_kept = kept.sum(axis=-1)
        with np.errstate(invalid="ignore"):
            sums = np.where(kept, arity, 0.0).sum(axis=-1, dtype=np.float64)
            of_kept = sums / np.where(n_kept > 0, n_kept, np.nan)
        add("arity", arity, "inputs that the neuron needs", "neuron")
        add("network_arity", arity.mean(axis=-1, dtype=np.float64), "mean arity over all neurons")
        add("subnetwork_arity", of_kept, "mean arity over the generalizing subnetwork")
    return result


def _one_network(run: Run, options: PruningOptions) -> Callable[[int, Network], dict[str, Any]]:
    config = run.config
    layer_names, matrices = layer_of_parameter(config), matrix_names(config)
    layers = list(dict.fromkeys(layer_names.values()))
    dims = {name: config.shapes[name][0] for name in matrices}
    has_arity = all_of(is_one_relu_layer, makes_predictions)(config) is None
    places = range(len(run.seeds))
    has_margins = all_of(makes_predictions, has_test_set)(config) is None
    wanted: tuple[Literal["train", "test"], ...] = ("train", "test") if has_margins else ()
    sets = [{which: examples_of(run, index, which) for which in wanted} for index in places]
    outputs = [{which: evaluator(config, inputs).outputs for which, (inputs, _) in both.items()} for both in sets]
    has_flips = has_margins and config.task.inputs_are_signs
    if has_flips:
        flips = [sensitivities_on(config, both["test"][0]) for both in sets]
    if has_arity:
        agreement_sets = [examples_of(run, index, options.agreement_set)[0] for index in places]
        on_agreement_set = [evaluator(config, inputs).outputs for inputs in agreement_sets]

    def one(seed: int, net: Network) -> dict[str, Any]:
        of_layers = layer_norms(net, layer_names)
        norms = np.array([of_layers[layer] for layer in layers], np.float64)
        answers = {which: outputs_of(net) for which, outputs_of in outputs[seed].items()}
        spectral = [spectral_norm(as_matrix(net[name], dims[name])) for name in matrices]
        numbers: dict[str, Any] = {
            "layer_norm": norms,
            "parameter_norm": np.sqrt((norms**2).sum()),
            "spectral_norm": np.array(spectral, np.float64),
            "frobenius_norm": np.array([frobenius_norm(net[name]) for name in matrices], np.float64),
        }
        if has_margins:
            of_sets = [margins(answers[which], targets) for which, (_, targets) in sets[seed].items()]
            numbers["margin"] = np.array([value for each in of_sets for value in (each.min(), each.mean())], np.float64)
        if has_flips:
            numbers["sensitivity"] = np.full(3, np.nan)
            if np.isfinite(answers["test"]).all():
                counts = flips[seed](net)
                numbers["sensitivity"][:] = counts.mean(), *mean_interval(counts, 0, config.task.signature.n_inputs)
        if has_arity:
            is_known = options.agreement_set == "train" and "train" in answers
            answer = answers["train"] if is_known else on_agreement_set[seed](net)
            numbers["arity"] = arities(*relu_weights(config, net), agreement_sets[seed], answer).astype(np.int16)
        return numbers

    return one


def _sizes(run: Run, checkpoints: Int[np.ndarray, " step"], options: PruningOptions, progress: bool) -> np.ndarray:
    default = PruningOptions()
    same = all(getattr(options, name) == getattr(default, name) for name in ("agreement_set", "criterion", "norm"))
    is_last = options.layer in (None, list(run.config.prunable_layers)[-1])
    if same and is_last and "effective_sparsity" in run.metrics:
        return run.metrics["effective_sparsity"].values[checkpoints].astype(np.float64)
    return sparsity_at(run, checkpoints, options, progress=progress)


PROGRESS = Measurement(measure, tables=progress_tables)
