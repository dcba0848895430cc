"""The measurement `walsh`: Walsh coefficients of networks on parity tasks, and hidden progress measures.

All networks share one sample of inputs, which makes curves along training smooth. With at most `walsh_exact_bits` input
bits nothing is sampled. Outputs change their scale in training, so Walsh weights are also given as shares of variance.
"""

from typing import Any

import numpy as np
import xarray as xr
from einops import rearrange
from jaxtyping import Float, Int

from circuits.analysis.measurement import Measurement
from circuits.analysis.networks.applies import all_of, makes_predictions
from circuits.analysis.networks.evaluator import evaluator
from circuits.analysis.networks.labels import chosen_checkpoints, trajectory_coords, without_collapsed
from circuits.analysis.networks.layers import layer_of, relu_weights
from circuits.analysis.networks.phases import phase_checkpoints
from circuits.analysis.networks.walk import Network, walk
from circuits.analysis.parity.efficiency import of_few_bits, parity_bits
from circuits.analysis.subnetworks.groups import GROUPS, neuron_groups
from circuits.analysis.walsh.hidden_progress import MOVED, layer_gap, movement
from circuits.analysis.walsh.options import WalshOptions
from circuits.analysis.walsh.population_gradient import fourier_gaps, halfspace_gradient
from circuits.analysis.walsh.sign_weights import sign_counts, sign_weights
from circuits.analysis.walsh.spectrum import DEGREES, MOST_CHECKPOINTS, spectrum_at
from circuits.analysis.walsh.tables import walsh_tables
from circuits.analysis.walsh.transform import all_subsets, subset_name, walsh_coefficients
from circuits.analysis.walsh.weights import PARTS, cube_weights, draws_by_pattern
from circuits.checkpoints.run import Run

MOST_NEURONS, MOST_NUMBERS = 64, 1024  # most single neurons; most coefficients of all these neurons
OF_OUTPUT = ("weight", "weight_error", "share", "share_error", "share_low", "share_high")
MOST_GAPS = 64  # checkpoints at which the gap of a whole layer is computed


def measure(run: Run, options: WalshOptions, *, progress: bool = False) -> xr.Dataset:
    """Walsh coefficients and Walsh weights of every network, and the progress measures of Barak et al. 2022.

    The Walsh coefficient of a network's output f at a set T of input bits is f^(T) = E f(x) Π_{i∈T} x_i. E is the mean
    over all inputs x. S is the set of all relevant bits; f^(S) is the coefficient at the parity.

    Returns
    -------
    coefficient, coefficient_error
        `coefficient` (step, seed, subset): f^(T) for each subset T of S. `coefficient_error` (step, seed): error of
        these f^(T). It is 0 if the f^(T) are exact up to float rounding. Otherwise it is a bound for the relu model,
        and the standard error of a sample mean for any other model.
    variance
        (step, seed) E f² - (E f)².
    weight, weight_error, share, share_error, share_low, share_high
        (part, step, seed) `weight`: sum of f^(T)² over some sets T. Part "parity": only T = S. Part "subsets": all
        other non-empty subsets T of S. Part "rest": all T with an irrelevant bit. `share`: weight divided by
        `variance`, with its 95 % interval; NaN for a constant or collapsed network (outputs ≈ 0).
    sign_share, sign_share_low, sign_share_high, sign_parity, sign_parity_low, sign_parity_high
        sign(f) is the prediction. `sign_share` (part, step, seed): `share` of sign(f). `sign_parity` (step, seed): mean
        of sign(f) times parity, 2 · accuracy - 1. The 95 % intervals are valid even if no sampled prediction is wrong.
    group_parity, group_parity_error
        (group, step, seed) f^(S) if f has only the generalizing, memorizing, complementary or control neurons (see
        `neuron_groups`); NaN for an empty group and a collapsed network; for linear readouts only.
    neuron_index
        (seed, rank) indices of the neurons of largest norm in the generalizing subnetwork, largest first: at most
        min(64, 1024 / 2^k) neurons for k relevant bits, padded with -1.
    neuron_coefficient, neuron_coefficient_error
        `neuron_coefficient` (step, seed, rank, subset): coefficients of the neuron's term in the output or, if the
        readout is not linear, of the neuron's value. `neuron_coefficient_error` (step, seed, rank): their common error.
    movement
        (moved, step, seed) largest change |W_t - W_0| of a first-layer weight since the first checkpoint. `moved` says
        for which weights: "all", those of the "relevant" input bits, or those of the "irrelevant" input bits.
    neuron_movement, neuron_gap
        (step, seed, rank) for the relu model only. `neuron_movement`: largest |W_t - W_0| of a neuron of
        `neuron_index`. `neuron_gap`: the neuron's Fourier gap; NaN if collapsed. Let g_i be the derivative of the mean
        loss -parity · f with respect to the neuron's weight of bit i, divided by the neuron's readout weight. The gap
        is the least |g_i| of the relevant bits minus the greatest |g_i| of the irrelevant bits.
    fourier_gap, layer_gap
        `fourier_gap` (statistic, step, seed): least, median and greatest `neuron_gap`. `layer_gap` (step, seed): the
        gap with s_i in place of |g_i|, where s_i² sums the squares of the undivided derivatives over all neurons; NaN
        at checkpoints other than memorization, generalization and up to 64 spread over training.
    other_coefficient, other_subset, other_error, other_by_chance
        For sets T with an irrelevant bit, at up to 14 checkpoints (frames, with `frame_step` and `frame_epoch`).
        `other_coefficient` (frame, seed, place): up to 8 f^(T) of largest absolute value, largest first. `other_subset`
        (frame, seed, place): the T of each. `other_error` (frame, seed): standard error of an f^(T). `other_by_chance`
        (frame, seed): median of the largest |estimate| if every true f^(T) were 0.
    degree_weight, degree_weight_error
        (frame, seed, degree) sum of f^(T)² over the sets T with an irrelevant bit, and the standard error of this sum.
        A degree is a number of bits in T: 1, 2, 3, or 4 and more.
    """
    checkpoints = chosen_checkpoints(run, options)
    measured = _Measured(run, options, checkpoints)
    relevant_bits = measured.relevant_bits
    values = walk(run, checkpoints, measured.one, what="Walsh coefficients", progress=progress)
    variables = measured.labeled(values)
    gaps = measured.layer_gaps(progress)
    if gaps is not None:
        variables["layer_gap"] = (("step", "seed"), gaps, {"long_name": "Fourier gap of the whole layer"})
    frames = checkpoints[few_checkpoints(run.epochs[checkpoints], MOST_CHECKPOINTS)]
    variables |= spectrum_at(run, frames, relevant_bits, options, progress=progress)
    coords = trajectory_coords(run, checkpoints) | {
        "subset": [subset_name(subset) for subset in all_subsets(relevant_bits)],
        "part": list(PARTS),
        "moved": list(MOVED),
        "degree": list(DEGREES),
        "frame_step": ("frame", run.steps[frames]),
        "frame_epoch": ("frame", run.epochs[frames]),
    }
    if measured.layer is not None:
        coords |= {"rank": np.arange(measured.ranked.shape[1])}
        coords |= {"group": list(GROUPS)} if "group_parity" in variables else {}
        coords |= {"statistic": ["min", "median", "max"]} if "fourier_gap" in variables else {}
    attrs = {
        "relevant_bits": [int(bit) for bit in relevant_bits],
        "n_inputs": run.config.task.signature.n_inputs,
        "exact": int(measured.draws.is_complete),
        "examples": len(measured.draws.flat),
    }
    ratios = ("share", "sign_", "group_parity")  # shares, values of sign f and of groups
    result = xr.Dataset(variables, coords, attrs)
    return without_collapsed(run, result, lambda name: name.startswith(ratios) or name.endswith("_gap"))


def few_checkpoints(epochs: Float[np.ndarray, " step"], count: int) -> Int[np.ndarray, " some"]:
    """Indices of at most `count` checkpoints, including the first and the last, evenly spaced in √epoch.

    Examples
    --------
    >>> few_checkpoints(np.arange(101.0), 6)
    array([  0,   4,  16,  36,  64, 100])
    """
    if len(epochs) <= count:
        return np.arange(len(epochs))
    wanted = np.linspace(np.sqrt(epochs[0]), np.sqrt(epochs[-1]), count)
    return np.unique(np.abs(np.sqrt(epochs)[:, None] - wanted).argmin(axis=0))


class _Measured:
    """Computes the measures of one network (`one`), and turns those of all networks into variables (`labeled`)."""

    def __init__(self, run: Run, options: WalshOptions, checkpoints: Int[np.ndarray, " step"]) -> None:
        self.run, self.options, self.checkpoints, self.relevant_bits = run, options, checkpoints, parity_bits(run)
        self.config = run.config
        self.layer = layer_of(run, options) if self.config.prunable_layers else None
        n_inputs = self.config.task.signature.n_inputs
        self.draws = draws_by_pattern(n_inputs, self.relevant_bits, options.walsh_samples, options.walsh_exact_bits)
        self.networks = evaluator(self.config, self.draws.flat.astype(self.config.dtype), self.layer)
        self.is_exact = self.networks.has_bounds or self.draws.is_complete
        shapes = self.config.shapes.items()
        self.first = next(name for name, (dims, _) in shapes if dims and dims[-1] == "input")
        self.initial = [np.atleast_2d(run.arrays(seed, 0)[self.first]) for seed in run.seeds]
        self.groups = neuron_groups(run, options) if self.layer is not None else None
        self.ranked = self._ranked()

    def _ranked(self) -> Int[np.ndarray, "seed rank"]:
        """Indices of the largest neurons of each seed's generalizing subnetwork, by falling norm, padded with -1."""
        n_seeds = len(self.run.seeds)
        if self.layer is None or self.groups is None:
            return np.zeros((n_seeds, 0), np.int64)
        most = min(MOST_NEURONS, max(1, MOST_NUMBERS // 2 ** len(self.relevant_bits)))
        result = np.full((n_seeds, min(most, int(self.groups.kept[0].sum(axis=1).max(initial=0)))), -1, np.int64)
        for index, seed in enumerate(self.run.seeds):
            if self.groups.defined[0, index]:
                net = self.run.arrays(seed, int(self.groups.checkpoint[index]))
                norms = self.layer.norms(net, "path" if self.layer.is_linear else "incoming")
                inside = np.flatnonzero(self.groups.kept[0, index])
                inside = inside[np.argsort(-norms[inside], kind="stable")][: result.shape[1]]
                result[index, : len(inside)] = inside
        return result

    def one(self, seed: int, net: Network) -> dict[str, Any]:
        """All measures of one network: the name of each measure -> a number or an array."""
        exact = None if self.draws.is_complete else self.networks.mean_contributions(net, self.relevant_bits)
        means, bound = (None, 0.0) if exact is None else (exact[0].sum(axis=0), float(exact[1].sum()))
        values = self.networks.native_outputs(net).reshape(self.draws.inputs.shape[:2])
        is_constant = self.networks.ignores_all_but(net, self.relevant_bits)
        of_output = cube_weights(values, self.draws.is_complete, means, bound, is_constant)
        of_sign = cube_weights(np.sign(values), self.draws.is_complete)
        moved = movement(np.atleast_2d(net[self.first]), self.initial[seed], self.relevant_bits)
        numbers: dict[str, Any] = {
            "coefficient": of_output.coefficients,
            "coefficient_error": np.float64(of_output.error),
            **{name: getattr(of_output, name) for name in OF_OUTPUT},
            "variance": of_output.weight.sum(),
            "sign_share": of_sign.share,
            "sign_parity": of_sign.coefficients[-1],
            "sign_counts": sign_counts(values),
            "movement": moved.max(axis=1),
        }
        if self.groups is None or self.layer is None:
            return numbers
        neurons = self.ranked[seed]
        if exact is None:
            of_neurons = self.networks.contributions(net).reshape(*self.draws.inputs.shape[:2], -1)
            exact = of_neurons.mean(axis=1, dtype=np.float64).T, self._standard_error(of_neurons)
        contributions, errors = exact
        exists = neurons >= 0
        numbers["neuron_coefficient"] = np.where(exists[:, None], walsh_coefficients(contributions[neurons]), np.nan)
        numbers["neuron_coefficient_error"] = np.where(exists, errors[neurons], np.nan)
        if self.layer.is_linear:
            kept = self.groups.kept[:, seed].astype(np.float64)
            missing = ~(self.groups.defined[:, seed] & self.groups.kept[:, seed].any(axis=1))
            parity = walsh_coefficients(kept @ contributions)[:, -1]
            numbers["group_parity"] = np.where(missing, np.nan, parity)
            group_errors = kept @ errors if self.is_exact else self._standard_error(of_neurons @ kept.T)
            numbers["group_parity_error"] = np.where(missing, np.nan, group_errors)
        if self.networks.has_bounds:
            W, b, _ = relu_weights(self.config, net)
            gaps = fourier_gaps(halfspace_gradient(W[neurons], b[neurons], self.relevant_bits), self.relevant_bits)
            numbers["neuron_movement"] = np.where(exists, moved[0][neurons], np.nan)
            numbers["neuron_gap"] = gaps = np.where(exists, gaps, np.nan)
            numbers["fourier_gap"] = np.full(3, np.nan)
            if not np.isnan(gaps).all():
                numbers["fourier_gap"][:] = np.nanmin(gaps), np.nanmedian(gaps), np.nanmax(gaps)
        return numbers

    def _standard_error(self, values: Float[np.ndarray, "pattern draw any"]) -> Float[np.ndarray, " any"]:
        """Standard error of each function's Walsh coefficients; 0 if the inputs are not a sample, but all 2^n inputs.

        `values[p, d, i]` is the value of function i, such as neuron i, at input d of the inputs with pattern p of the
        relevant bits. All coefficients of a function, one per subset of these bits, have the same standard error.
        """
        if self.draws.is_complete:
            return np.zeros(values.shape[-1])
        n_patterns, n_draws = values.shape[:2]
        return np.sqrt(values.var(axis=1, ddof=1).mean(axis=0) / (n_patterns * n_draws))

    def layer_gaps(self, progress: bool) -> Float[np.ndarray, "step seed"] | None:
        """The variable `layer_gap` of `measure`; None if the model is not relu."""
        if not self.networks.has_bounds:
            return None
        of_phases = np.concatenate(phase_checkpoints(self.run, self.options))
        gaps_at = np.union1d(
            few_checkpoints(self.run.epochs[self.checkpoints], MOST_GAPS),
            np.flatnonzero(np.isin(self.checkpoints, of_phases)),
        )
        some = self.checkpoints[gaps_at]

        def one(seed: int, net: Network) -> dict[str, float]:
            return {"gap": layer_gap(*relu_weights(self.config, net), self.relevant_bits)}

        result = np.full((len(self.checkpoints), len(self.run.seeds)), np.nan)
        result[gaps_at] = walk(self.run, some, one, what="Fourier gap", progress=progress)["gap"]
        return result

    def labeled(self, values: dict[str, np.ndarray]) -> dict[str, tuple]:
        """Variables for xarray, name -> (dimensions, array, attributes); `values` is name -> array (step, seed, …)."""
        is_linear = self.layer is not None and self.layer.is_linear
        of_neuron = "of what a neuron adds to the output" if is_linear else "of a neuron's value"
        error = "bound of the error" if self.is_exact else "standard error"
        names: dict[str, tuple[tuple[str, ...], str]] = {
            "coefficient": (("step", "seed", "subset"), "Walsh coefficient of the output"),
            "coefficient_error": (("step", "seed"), f"{error} of a coefficient"),
            "weight": (("part", "step", "seed"), "weight of the output"),
            "weight_error": (("part", "step", "seed"), "standard error of the weight"),
            "share": (("part", "step", "seed"), "share of the variance of the output"),
            "share_error": (("part", "step", "seed"), "standard error of the share"),
            "share_low": (("part", "step", "seed"), "low end of the share's 95 % interval"),
            "share_high": (("part", "step", "seed"), "high end of the share's 95 % interval"),
            "sign_share": (("part", "step", "seed"), "share of the variance of the prediction"),
            "sign_parity": (("step", "seed"), "parity coefficient of the prediction"),
            "movement": (("moved", "step", "seed"), "largest |W_t − W_0| in the first layer"),
            "neuron_coefficient": (("step", "seed", "rank", "subset"), f"Walsh coefficient {of_neuron}"),
            "neuron_coefficient_error": (("step", "seed", "rank"), f"{error} of a neuron's coefficients"),
            "group_parity": (("group", "step", "seed"), "parity coefficient of each group"),
            "group_parity_error": (("group", "step", "seed"), f"{error} of a group's parity coefficient"),
            "neuron_movement": (("step", "seed", "rank"), "‖w_t − w_0‖∞"),
            "neuron_gap": (("step", "seed", "rank"), "Fourier gap"),
            "variance": (("step", "seed"), "variance of the output"),
        }
        result: dict[str, tuple] = {}
        for name, (dims, text) in names.items():
            if name in values:
                by_label = dims[0] not in ("step", "seed")
                array = rearrange(values[name], "step seed label -> label step seed") if by_label else values[name]
                result[name] = (dims, array, {"long_name": text})
        intervals = sign_weights(values["sign_counts"])
        for name in ("share", "parity"):
            dims, estimate, _ = result[f"sign_{name}"]
            for end in ("low", "high"):
                sampled = np.where(np.isnan(estimate), np.nan, getattr(intervals, f"{name}_{end}"))
                attrs = {"long_name": f"{end} end of its 95 % interval"}
                result[f"sign_{name}_{end}"] = (dims, estimate if self.draws.is_complete else sampled, attrs)
        if self.layer is not None:
            result["neuron_index"] = (("seed", "rank"), self.ranked, {})
        if "fourier_gap" in values:
            gaps = rearrange(values["fourier_gap"], "step seed statistic -> statistic step seed")
            result["fourier_gap"] = (("statistic", "step", "seed"), gaps, {"long_name": "Fourier gap"})
        return result


WALSH = Measurement(measure, all_of(of_few_bits, makes_predictions), walsh_tables)
