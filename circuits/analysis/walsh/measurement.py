"""The measurement `walsh`: parity runs in the basis where parity is one coefficient, and their hidden progress.

f^(T) = E f(x) Π_{i∈T} x_i over uniform inputs. For T within the relevant bits S and a network uᵀ relu(W x + b) they are
exact or known to within a bound, the other bits averaged out by `bounded_averages`; otherwise they are sample means
with a standard error. What
lies on all other T is a mean of variances within the patterns of S, from a sample that all networks share: it is drawn
once, so that curves along training are smooth. With at most `walsh_exact_bits` input bits nothing is sampled.

The scale of f grows and shrinks while training, so weights are also given as shares of the variance of f, and once more
for sign f, what the network predicts: its coefficient at S is 2 · accuracy - 1 over all inputs.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr
from einops import rearrange
from jaxtyping import Float, Int

from circuits.analysis.measurement import Measurement
from circuits.analysis.networks.evaluator import evaluator
from circuits.analysis.networks.labels import chosen_checkpoints, trajectory_coords, without_collapsed
from circuits.analysis.networks.layers import Layer, layer_of, relu_weights
from circuits.analysis.networks.phases import phase_checkpoints
from circuits.analysis.networks.walk import Network, walk
from circuits.analysis.parity.efficiency import of_few_bits, parity_bits
from circuits.analysis.subnetworks.groups import GROUPS, neuron_groups
from circuits.analysis.walsh.hidden_progress import MOVED, as_layer, first_weights, initial_weights, layer_gap, movement
from circuits.analysis.walsh.options import WalshOptions
from circuits.analysis.walsh.population_gradient import fourier_gaps, halfspace_gradient
from circuits.analysis.walsh.sign_weights import sign_counts, sign_weights
from circuits.analysis.walsh.spectrum import DEGREES, MOST_CHECKPOINTS, spectrum_at
from circuits.analysis.walsh.tables import walsh_tables
from circuits.analysis.walsh.transform import subset_names, walsh_coefficients
from circuits.analysis.walsh.weights import PARTS, cube_weights, draws_by_pattern
from circuits.checkpoints.run import Run

MOST_NEURONS, MOST_NUMBERS = 64, 1024  # neurons told apart; their coefficients together
OF_OUTPUT = ("weight", "weight_error", "share", "share_error", "share_low", "share_high")
MOST_GAPS = 64  # checkpoints at which the gap of a whole layer is taken


def measure(run: Run, options: WalshOptions, *, progress: bool = False) -> xr.Dataset:
    """Walsh coefficients and weights of every network, and the progress measures of Barak et al. 2022.

    Returns
    -------
    coefficient, coefficient_error
        (step, seed, subset), (step, seed) f^(T) for T within the relevant bits, and its error: 0 where it is exact up
        to float rounding, a bound for the relu model, the standard error of a sample mean for any other.
    variance
        (step, seed) E f² - (E f)².
    weight, weight_error, share, share_error, share_low, share_high
        (part, step, seed) Σ f^(T)² over the parts "parity", "subsets" and "rest" of the variance, see `cube_weights`;
        shares of the variance, NaN for a constant or collapsed network, with their 95 % intervals.
    sign_share, sign_share_low, sign_share_high, sign_parity, sign_parity_low, sign_parity_high
        (part, step, seed), (step, seed) the same of sign f, and its coefficient at the parity, 2 · accuracy - 1, with
        95 % intervals that also hold where no failure was drawn, see `sign_weights`.
    group_parity, group_parity_error
        (group, step, seed) coefficient at the parity of each group of neurons alone, NaN for an empty
        group and a collapsed network; of linear readouts only.
    neuron_index, neuron_coefficient, neuron_coefficient_error
        (seed, rank), (step, seed, rank, subset), (step, seed, rank) neurons of the generalizing group by falling norm,
        at most 64 and no more than 1024 coefficients (index -1: none of this rank); coefficients of what each adds to
        the output, or of its value where the readout is not linear.
    movement
        (moved, step, seed) largest |W_t - W_0| in the first layer: all inputs, the relevant, the irrelevant ones.
    neuron_movement, neuron_gap
        (step, seed, rank) the same of these neurons over all inputs, and the Fourier gap of their population gradient;
        of the relu model only. Gaps are NaN where the network has collapsed.
    fourier_gap, layer_gap
        (statistic, step, seed), (step, seed) least, median, greatest of the gaps; the gap of the whole layer at up to
        64 checkpoints and those of the phases, NaN at the others.
    other_coefficient, other_subset, other_error, other_by_chance, degree_weight, degree_weight_error
        (frame, seed[, place or degree]) at up to 14 checkpoints: the largest coefficients of subsets with an irrelevant
        bit, which they are, their standard error, what the largest would reach by chance if all were 0, and the weight
        of all such subsets by degree with its own. `frame_step` and `frame_epoch` say when.
    """
    support = parity_bits(run)
    config = run.config
    checkpoints = chosen_checkpoints(run, options)
    layer = layer_of(run, options) if config.prunable_layers else None
    ranked = _ranked(run, options, layer, len(support))
    measured = _Measured(run, options, support, layer, ranked, checkpoints)
    values = walk(run, checkpoints, measured.one, what="Walsh coefficients", progress=progress)
    variables = measured.labeled(values)
    gaps = measured.layer_gaps(progress)
    if gaps is not None:
        variables["layer_gap"] = (("step", "seed"), gaps, {"long_name": "Fourier gap of the whole layer"})
    frames = checkpoints[few_checkpoints(run.epochs[checkpoints], MOST_CHECKPOINTS)]
    variables |= spectrum_at(run, frames, support, options, progress=progress)
    coords = trajectory_coords(run, checkpoints) | {
        "subset": subset_names(support),
        "part": list(PARTS),
        "moved": list(MOVED),
        "degree": list(DEGREES),
        "frame_step": ("frame", run.steps[frames]),
        "frame_epoch": ("frame", run.epochs[frames]),
    }
    if layer is not None:
        coords |= {"rank": np.arange(ranked.shape[1])}
        coords |= {"group": list(GROUPS)} if "group_parity" in variables else {}
        coords |= {"statistic": ["min", "median", "max"]} if "fourier_gap" in variables else {}
    attrs = {
        "support": [int(bit) for bit in support],
        "n_inputs": config.task.signature.n_inputs,
        "exact": int(measured.draws.is_complete),
        "examples": len(measured.draws.flat),
    }
    return without_collapsed(run, xr.Dataset(variables, coords, attrs), _is_ratio)


def _is_ratio(name: str) -> bool:
    """Shares of the variance, whatever is about the sign of the output, and what is held against other weights."""
    return name.startswith(("share", "sign_", "group_parity")) or name.endswith("_gap")


def few_checkpoints(epochs: Float[np.ndarray, " step"], count: int) -> Int[np.ndarray, " some"]:
    """Indices of at most `count` checkpoints, first and last among them, evenly spread over the roots of their epochs.

    So that the beginning and the middle of training are both there.

    Examples
    --------
    >>> few_checkpoints(np.arange(101.0), 6)
    array([  0,   4,  16,  36,  64, 100])
    """
    if len(epochs) <= count:
        return np.arange(len(epochs))
    wanted = np.linspace(np.sqrt(epochs[0]), np.sqrt(epochs[-1]), count)
    return np.unique(np.abs(np.sqrt(epochs)[:, None] - wanted).argmin(axis=0))


def _ranked(run: Run, options: WalshOptions, layer: Layer | None, k: int) -> Int[np.ndarray, "seed rank"]:
    """Neurons of the generalizing group by falling norm, -1 behind them."""
    n_seeds = len(run.seeds)
    if layer is None:
        return np.zeros((n_seeds, 0), np.int64)
    groups = neuron_groups(run, options)
    most = min(MOST_NEURONS, max(1, MOST_NUMBERS // 2**k))
    result = np.full((n_seeds, min(most, int(groups.kept[0].sum(axis=1).max(initial=0)))), -1, np.int64)
    for index, seed in enumerate(run.seeds):
        if groups.defined[0, index]:
            net = run.arrays(seed, int(groups.checkpoint[index]))
            norms = layer.norms(net, "path" if layer.is_linear else "incoming")
            inside = np.flatnonzero(groups.kept[0, index])
            inside = inside[np.argsort(-norms[inside], kind="stable")][: result.shape[1]]
            result[index, : len(inside)] = inside
    return result


class _Measured:
    """What is measured of each network, by name, and the labels of the results."""

    def __init__(
        self,
        run: Run,
        options: WalshOptions,
        support: tuple[int, ...],
        layer: Layer | None,
        ranked: Int[np.ndarray, "seed rank"],
        checkpoints: Int[np.ndarray, " step"],
    ) -> None:
        self.run, self.options, self.support, self.layer, self.ranked = run, options, support, layer, ranked
        self.config = run.config
        self.draws = draws_by_pattern(
            self.config.task.signature.n_inputs, support, options.walsh_samples, options.walsh_exact_bits
        )
        self.networks = evaluator(self.config, self.draws.flat.astype(self.config.dtype), layer)
        self.is_exact = self.networks.has_bounds or self.draws.is_complete
        self.first = first_weights(self.config)
        self.initial = initial_weights(run, self.first)
        self.groups = neuron_groups(run, options) if layer is not None else None
        self.checkpoints = checkpoints

    def one(self, seed: int, net: Network) -> dict[str, Any]:
        """Everything of one network, by the names that `labeled` reads."""
        exact = None if self.draws.is_complete else self.networks.mean_contributions(net, self.support)
        means, bound = (None, 0.0) if exact is None else (exact[0].sum(axis=0), float(exact[1].sum()))
        values = self.networks.native_outputs(net).reshape(self.draws.inputs.shape[:2])
        is_constant = self.networks.ignores_all_but(net, self.support)
        of_output = cube_weights(values, self.draws.is_complete, means, bound, is_constant)
        of_sign = cube_weights(np.sign(values), self.draws.is_complete)
        moved = movement(as_layer(net, self.first), self.initial[seed], self.support)
        numbers: dict[str, Any] = {
            "coefficient": of_output.coefficients,
            "coefficient_error": np.float64(of_output.error),
            **{name: getattr(of_output, name) for name in OF_OUTPUT},
            "sign_share": of_sign.share,
            "sign_parity": of_sign.coefficients[-1],
            "sign_counts": sign_counts(values),
            "movement": moved.max(axis=1),
        }
        if self.groups is None or self.layer is None:
            return numbers
        neurons = self.ranked[seed]
        contributions, errors = exact or self._sampled_contributions(net)
        exists = neurons >= 0
        numbers["neuron_coefficient"] = np.where(exists[:, None], walsh_coefficients(contributions[neurons]), np.nan)
        numbers["neuron_coefficient_error"] = np.where(exists, errors[neurons], np.nan)
        if self.layer.is_linear:
            kept = self.groups.kept[:, seed].astype(np.float64)
            missing = ~(self.groups.defined[:, seed] & self.groups.kept[:, seed].any(axis=1))
            parity = walsh_coefficients(kept @ contributions)[:, -1]
            numbers["group_parity"] = np.where(missing, np.nan, parity)
            numbers["group_parity_error"] = np.where(missing, np.nan, self._group_errors(net, kept, errors))
        if self.networks.has_bounds:
            W, b, _ = relu_weights(self.config, net)
            gaps = fourier_gaps(halfspace_gradient(W[neurons], b[neurons], self.support), self.support)
            numbers["neuron_movement"] = np.where(exists, moved[0][neurons], np.nan)
            numbers["neuron_gap"] = np.where(exists, gaps, np.nan)
        return numbers

    def _sampled_contributions(
        self, net: Network
    ) -> tuple[Float[np.ndarray, "neuron pattern"], Float[np.ndarray, " neuron"]]:
        """Mean over the draws of what each neuron adds to the output on each pattern, with its standard error."""
        values = self._values(net)
        return values.mean(axis=1, dtype=np.float64).T, self._standard_error(values)

    def _values(self, net: Network) -> Float[np.ndarray, "pattern draw neuron"]:
        return self.networks.contributions(net).reshape(*self.draws.inputs.shape[:2], -1)

    def _standard_error(self, values: Float[np.ndarray, "pattern draw any"]) -> Float[np.ndarray, " any"]:
        """Of the coefficients of functions with these values on the draws; 0 where the draws are all inputs."""
        if self.draws.is_complete:
            return np.zeros(values.shape[-1])
        n_patterns, n_draws = values.shape[:2]
        errors: np.ndarray = np.sqrt(values.var(axis=1, ddof=1).mean(axis=0) / (n_patterns * n_draws))
        return errors

    def _group_errors(
        self, net: Network, kept: Float[np.ndarray, "group neuron"], errors: Float[np.ndarray, " neuron"]
    ) -> Float[np.ndarray, " group"]:
        """Error of the coefficients of each group: the sum of bounds, or the standard error of the sum."""
        return np.asarray(kept @ errors) if self.is_exact else self._standard_error(self._values(net) @ kept.T)

    def layer_gaps(self, progress: bool) -> Float[np.ndarray, "step seed"] | None:
        """Of the whole layer, at some of the checkpoints."""
        if not self.networks.has_bounds:
            return None
        of_phases = np.concatenate(phase_checkpoints(self.run, self.options))
        gaps_at = np.union1d(
            few_checkpoints(self.run.epochs[self.checkpoints], MOST_GAPS),
            np.flatnonzero(np.isin(self.checkpoints, of_phases)),
        )
        some = self.checkpoints[gaps_at]

        def one(seed: int, net: Network) -> dict[str, float]:
            return {"gap": layer_gap(*relu_weights(self.config, net), self.support)}

        result = np.full((len(self.checkpoints), len(self.run.seeds)), np.nan)
        result[gaps_at] = walk(self.run, some, one, what="Fourier gap", progress=progress)["gap"]
        return result

    def labeled(self, values: dict[str, np.ndarray]) -> dict[str, tuple]:
        """The results of `walk`, (step, seed, …) each, with dimensions and descriptions."""
        of_neuron = (
            "of what a neuron adds to the output" if self.layer and self.layer.is_linear else "of a neuron's value"
        )
        names: dict[str, tuple[tuple[str, ...], str]] = {
            "coefficient": (("step", "seed", "subset"), "Walsh coefficient of the output"),
            "coefficient_error": (("step", "seed"), f"{self.error_kind} of a coefficient"),
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
            "neuron_coefficient_error": (("step", "seed", "rank"), f"{self.error_kind} of its coefficients"),
            "group_parity": (("group", "step", "seed"), "parity coefficient of each group"),
            "group_parity_error": (("group", "step", "seed"), f"{self.error_kind} of it"),
            "neuron_movement": (("step", "seed", "rank"), "‖w_t − w_0‖∞"),
            "neuron_gap": (("step", "seed", "rank"), "Fourier gap"),
        }
        result: dict[str, tuple] = {}
        for name, (dims, text) in names.items():
            if name in values:
                by_label = dims[0] not in ("step", "seed")
                array = rearrange(values[name], "step seed label -> label step seed") if by_label else values[name]
                result[name] = (dims, array, {"long_name": text})
        over = ("step", "seed")
        result["variance"] = (over, result["weight"][1].sum(axis=0), {"long_name": "variance of the output"})
        result |= self._sign_intervals(values["sign_counts"], result["sign_share"][1], result["sign_parity"][1])
        if self.layer is not None:
            result["neuron_index"] = (("seed", "rank"), self.ranked, {})
        if "neuron_gap" in values:
            gaps = _statistics(values["neuron_gap"])
            result["fourier_gap"] = (("statistic", *over), gaps, {"long_name": "Fourier gap"})
        return result

    @property
    def error_kind(self) -> str:
        """What the errors of coefficients are."""
        return "bound of the error" if self.is_exact else "standard error"

    def _sign_intervals(
        self,
        counts: Float[np.ndarray, "step seed count"],
        shares: Float[np.ndarray, "part step seed"],
        parity: Float[np.ndarray, "step seed"],
    ) -> dict[str, tuple]:
        """Ends of the intervals of `sign_share` and `sign_parity`; where nothing is sampled, the values themselves."""
        weights = sign_weights(counts)
        ends = {
            "sign_share": (np.where(np.isnan(shares), np.nan, end) for end in (weights.share_low, weights.share_high)),
            "sign_parity": (weights.parity_low, weights.parity_high),
        }
        if self.draws.is_complete:
            ends = {"sign_share": (shares, shares), "sign_parity": (parity, parity)}
        dims = {"sign_share": ("part", "step", "seed"), "sign_parity": ("step", "seed")}
        return {
            f"{name}_{end}": (dims[name], values, {"long_name": f"{end} end of its 95 % interval"})
            for name, both in ends.items()
            for end, values in zip(("low", "high"), both, strict=True)
        }


def _statistics(values: Float[np.ndarray, "step seed rank"]) -> Float[np.ndarray, "statistic step seed"]:
    """Least, median and greatest over the ranks that there are; NaN where there is none."""
    result = np.full((3, *values.shape[:2]), np.nan)
    some = (~np.isnan(values)).any(axis=2)
    functions: tuple[Callable[..., np.ndarray], ...] = (np.nanmin, np.nanmedian, np.nanmax)
    for row, function in zip(result, functions, strict=True):
        if some.any():
            row[some] = function(values[some], axis=1)
    return result


WALSH = Measurement(measure, of_few_bits, walsh_tables)
