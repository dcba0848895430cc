"""The Walsh spectrum of networks on all of their input bits: exactly up to 20 bits, else |T| <= 3 by sampling.

Over a sample the coefficients of T with a bit outside the relevant ones S are those of f minus its mean on each pattern
of S, whose own coefficients all lie within S. A network that has learned the parity has little left then, and its
standard errors, √(E_z Var(f | z) / N), are small with it.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Real

from circuits.analysis.networks.evaluator import evaluator
from circuits.analysis.networks.walk import Network, walk
from circuits.analysis.parity.efficiency import parity_bits
from circuits.analysis.walsh.low_degree import LowDegree, largest_by_chance, low_degree_coefficients, weight_by_degree
from circuits.analysis.walsh.options import WalshOptions
from circuits.analysis.walsh.transform import membership, subset_name, walsh_coefficients
from circuits.analysis.walsh.weights import Draws, cube_weights, draws_by_pattern, within_support
from circuits.checkpoints.run import Run
from circuits.config import Config
from circuits.threads import one_blas_thread

DEGREE = 3
MOST_COEFFICIENTS = 50_000  # of a sampled spectrum; with more bits its degree is lower
FACTOR = 16  # so many times the inputs of a point on the trajectory
MOST_CHECKPOINTS = 14
MOST_EXACT = 14  # bits, where the outputs of several networks are held at once
N_LARGEST = 8
DEGREES = ("1", "2", "3", "4 and more")


class Spectrum(NamedTuple):
    """Coefficients of several networks on the subsets that are not within the support.

    `found` their coefficients and errors (0 where exact); `is_complete`: all there are.
    """

    found: LowDegree
    is_complete: bool


def spectrum_beyond(
    values: Real[np.ndarray, "network pattern draw"], draws: Draws, support: tuple[int, ...]
) -> Spectrum:
    """Coefficients of the subsets not within the support, of several functions on the inputs of `draws`.

    Parameters
    ----------
    values
        (network, pattern, draw) each function on them.
    draws, support
        As `draws_by_pattern` makes them.

    Returns
    -------
    All coefficients where the draws are complete, otherwise those of degree at most 3, or less where that would be more
    than 50,000.
    """
    n_networks, _, n_draws = values.shape
    residuals = (values - values.mean(axis=2, keepdims=True)).reshape(n_networks, -1)
    inputs, n = draws.flat, draws.inputs.shape[-1]
    if draws.is_complete:
        order = np.argsort(((inputs > 0).astype(np.int64) << np.arange(n)[::-1]).sum(axis=1))
        subsets = [tuple(np.flatnonzero(row).tolist()) for row in membership(n)]
        coefficients = walsh_coefficients(residuals[:, order])
        few = LowDegree(subsets, coefficients, np.zeros_like(coefficients))
    else:
        degree = DEGREE if n < 3 or _count(n, DEGREE) <= MOST_COEFFICIENTS else DEGREE - 1
        few = low_degree_coefficients(inputs, residuals, degree)
        # Sample means take away 1/draws of every coefficient.
        scale = n_draws / (n_draws - 1)
        few = LowDegree(few.subsets, few.coefficients * scale, few.errors * scale)
    beyond = np.flatnonzero(~within_support(few.subsets, support))
    of = LowDegree([few.subsets[i] for i in beyond], few.coefficients[:, beyond], few.errors[:, beyond])
    return Spectrum(of, draws.is_complete)


def _count(n: int, degree: int) -> int:
    return sum(int(np.prod([(n - i) / (i + 1) for i in range(size)]).round()) for size in range(degree + 1))


def walsh_spectrum(
    run: Run, seed: int | None = None, checkpoint: int | None = None, options: WalshOptions = WalshOptions()
) -> xr.Dataset:
    """Every coefficient of one network that can be had: exact up to `walsh_exact_bits` input bits, else |T| <= 3.

    Parameters
    ----------
    run, seed, checkpoint
        Which network of a parity run; by default the first seed's last.
    options
        `walsh_exact_bits`, at most 20; `walsh_samples`, of which sixteen times as many are drawn.

    Returns
    -------
    coefficient, error
        (subset,) f^(T) and its error: 0 where it is exact up to float rounding, a bound of the error for the relevant
        bits' subsets of the relu model, otherwise a standard error, NaN where the whole sample is equal. `subset` names
        the bits of T, such as "{0,7}".

    Raises
    ------
    InputError
        The task is not parity, or there is no such seed or checkpoint.
    """
    support = parity_bits(run)
    config = run.config
    draws = spectrum_draws(config, support, options)
    network = run.arrays(seed, run.checkpoint_index(checkpoint))
    networks = evaluator(config, draws.flat.astype(config.dtype))
    with one_blas_thread():  # as along a run: another number of threads may give other last bits
        values = networks.native_outputs(network).reshape(1, *draws.inputs.shape[:2])
    beyond = spectrum_beyond(values, draws, support).found
    by_neuron = None if draws.is_complete else networks.mean_contributions(network, support)
    means, bound = (None, 0.0) if by_neuron is None else (by_neuron[0].sum(axis=0), float(by_neuron[1].sum()))
    is_constant = networks.ignores_all_but(network, support)
    within = cube_weights(values[0], draws.is_complete, means, bound, is_constant)
    inside = [tuple(np.array(support)[row].tolist()) for row in membership(len(support))]
    subsets = inside + beyond.subsets
    coefficients = np.concatenate([within.coefficients, beyond.coefficients[0]])
    errors = np.concatenate([np.full(len(inside), within.error), beyond.errors[0]])
    order = sorted(range(len(subsets)), key=lambda place: (len(subsets[place]), subsets[place]))
    variables = {"coefficient": ("subset", coefficients[order]), "error": ("subset", errors[order])}
    attrs = {"exact": int(draws.is_complete), "examples": len(draws.flat)}
    return xr.Dataset(variables, {"subset": [subset_name(subsets[place]) for place in order]}, attrs)


def spectrum_draws(config: Config, support: tuple[int, ...], options: WalshOptions, most_exact: int = 20) -> Draws:
    """The inputs on which single coefficients are estimated."""
    n = config.task.signature.n_inputs
    exact_bits = min(options.walsh_exact_bits, most_exact)
    return draws_by_pattern(n, support, FACTOR * options.walsh_samples, exact_bits, stream=1)


def spectrum_at(
    run: Run, checkpoints: np.ndarray, support: tuple[int, ...], options: WalshOptions, *, progress: bool = False
) -> dict[str, tuple[tuple[str, ...], np.ndarray, Mapping[str, str]]]:
    """What lies beyond the support at a few checkpoints, (frame, seed, …): see `measure` of `walsh`."""
    config = run.config
    draws = spectrum_draws(config, support, options, MOST_EXACT)
    networks = evaluator(config, draws.flat.astype(config.dtype))

    def one(seed: int, net: Network) -> dict[str, np.ndarray]:
        return {"outputs": networks.native_outputs(net)}

    outputs = walk(run, checkpoints, one, what="Walsh spectrum", progress=progress)["outputs"]
    shape = outputs.shape[:2]
    values = outputs.reshape(-1, *draws.inputs.shape[:2])
    low_degree = spectrum_beyond(values, draws, support).found
    weights, weight_errors = _by_degree(values, draws, low_degree)
    n_places = min(N_LARGEST, len(low_degree.subsets))
    sizes = np.nan_to_num(np.abs(low_degree.coefficients), nan=-1.0)
    largest = np.argsort(-sizes, axis=1, kind="stable")[:, :n_places]
    labels = np.array([subset_name(subset) for subset in low_degree.subsets] or [""])
    errors = np.sqrt((low_degree.errors**2).sum(axis=1) / max(1, len(low_degree.subsets)))
    by_chance = largest_by_chance(max(1, len(low_degree.subsets)))
    return {
        "other_coefficient": (
            ("frame", "seed", "place"),
            np.take_along_axis(low_degree.coefficients, largest, axis=1).reshape(*shape, n_places),
            {"long_name": "largest coefficients with an irrelevant bit"},
        ),
        "other_subset": (("frame", "seed", "place"), labels[largest].reshape(*shape, n_places), {}),
        "other_error": (("frame", "seed"), errors.reshape(shape), {"long_name": "standard error of a coefficient"}),
        "other_by_chance": (
            ("frame", "seed"),
            (errors * by_chance).reshape(shape),
            {"long_name": "what the largest would reach if all were 0"},
        ),
        "degree_weight": (
            ("frame", "seed", "degree"),
            weights.reshape(*shape, len(DEGREES)),
            {"long_name": "weight on subsets with an irrelevant bit"},
        ),
        "degree_weight_error": (
            ("frame", "seed", "degree"),
            weight_errors.reshape(*shape, len(DEGREES)),
            {"long_name": "standard error of the weight"},
        ),
    }


def _by_degree(values: np.ndarray, draws: Draws, found: LowDegree) -> tuple[np.ndarray, np.ndarray]:
    """Weight of `found`'s functions on the subsets of each degree, (network, degree), and its standard error.

    That on degrees beyond 3 is what is left of the weight on all subsets that are not within the support.
    """
    residuals = (values - values.mean(axis=2, keepdims=True, dtype=np.float64)).reshape(len(values), -1)
    with np.errstate(invalid="ignore", over="ignore"):  # of a diverged network
        squares, fourths = (residuals**2).mean(axis=1), (residuals**4).mean(axis=1)
        kurtosis = np.divide(fourths, squares**2, out=np.ones(len(values)), where=squares**2 > 0)
    summed = weight_by_degree(found, kurtosis=kurtosis) if found.subsets else [np.zeros((len(values), 1))] * 2
    few, few_errors = (np.pad(part, ((0, 0), (0, DEGREE)))[:, 1 : DEGREE + 1] for part in summed)
    all_of_it = [cube_weights(of_network, draws.is_complete) for of_network in values]
    total = np.array([[of.weight[-1], of.weight_error[-1]] for of in all_of_it])
    more = total[:, 0] - few.sum(axis=1)
    more_errors = np.sqrt(total[:, 1] ** 2 + (few_errors**2).sum(axis=1))
    return np.column_stack([few, more]), np.column_stack([few_errors, more_errors])
