"""The Walsh spectrum of a network's output f: its coefficients at sets T of any input bits, relevant or not.

The coefficient at T is f^(T) = E f(x) Π_{i∈T} x_i, a mean over all inputs x. It is exact for at most `walsh_exact_bits`
(at most 20) input bits; otherwise a sample of N inputs gives an estimate. To estimate f^(T) for a T with an irrelevant
bit, the code first subtracts from f its mean at each setting z of the relevant bits, which does not change f^(T). If a
network has learned the parity, little of f is left, and the standard errors √(E_z Var(f | z) / N) are small too.
"""

from math import comb

import numpy as np
import xarray as xr
from jaxtyping import Real

from circuits.analysis.networks.evaluator import evaluator
from circuits.analysis.networks.walk import Network, walk
from circuits.analysis.parity.efficiency import parity_bits
from circuits.analysis.walsh.low_degree import LowDegree, largest_by_chance, low_degree_coefficients, weight_by_degree
from circuits.analysis.walsh.options import WalshOptions
from circuits.analysis.walsh.transform import all_subsets, subset_name, walsh_coefficients
from circuits.analysis.walsh.weights import Draws, cube_weights, draws_by_pattern, within_bits
from circuits.checkpoints.run import Run
from circuits.config import Config
from circuits.threads import one_blas_thread

DEGREE = 3
MOST_COEFFICIENTS = 50_000  # of a sampled spectrum; if degree 3 gives more, the degree is 2
FACTOR = 16  # a spectrum uses this many times the inputs of a point on the trajectory
MOST_CHECKPOINTS = 14
MOST_EXACT = 14  # most enumerated bits if memory holds the outputs of several networks
N_LARGEST = 8
DEGREES = ("1", "2", "3", "4 and more")


def spectrum_beyond(
    values: Real[np.ndarray, "network pattern draw"], draws: Draws, relevant_bits: tuple[int, ...]
) -> LowDegree:
    """Walsh coefficients of several functions, with errors, at the sets of input bits that contain an irrelevant bit.

    Each function is a network's output; values[network, p, d] is its value at input d of those inputs in `draws` whose
    `relevant_bits` have setting ("pattern") p.

    Returns
    -------
    All these coefficients, with errors 0, if `draws` has all 2^n inputs. Otherwise only the coefficients of at most 3
    bits, or of at most 2 bits if 3 would give more than 50,000 coefficients; the errors are standard errors.
    """
    n_networks, _, n_draws = values.shape
    residuals = (values - values.mean(axis=2, keepdims=True)).reshape(n_networks, -1)
    inputs, n = draws.flat, draws.inputs.shape[-1]
    if draws.is_complete:
        order = np.argsort(((inputs > 0).astype(np.int64) << np.arange(n)[::-1]).sum(axis=1))
        coefficients = walsh_coefficients(residuals[:, order])
        low_degree = LowDegree(all_subsets(range(n)), coefficients, np.zeros_like(coefficients))
    else:
        is_small = sum(comb(n, size) for size in range(DEGREE + 1)) <= MOST_COEFFICIENTS
        low_degree = low_degree_coefficients(inputs, residuals, DEGREE if is_small else DEGREE - 1)
        # Subtracting the sample means removes 1/n_draws of every coefficient.
        scale = n_draws / (n_draws - 1)
        low_degree = LowDegree(low_degree.subsets, low_degree.coefficients * scale, low_degree.errors * scale)
    subsets, coefficients, errors = low_degree
    beyond = np.flatnonzero(~within_bits(subsets, relevant_bits))
    return LowDegree([subsets[i] for i in beyond], coefficients[:, beyond], errors[:, beyond])


def walsh_spectrum(
    run: Run, seed: int | None = None, checkpoint: int | str | None = None, options: WalshOptions = WalshOptions()
) -> xr.Dataset:
    """Walsh coefficients f^(T) of one network's output f at sets T of input bits: at all T, or from a sample at some T.

    Parameters
    ----------
    run, seed, checkpoint
        A parity run, a seed (by default the first) and a checkpoint (by default the last).
    options
        With more than `walsh_exact_bits` (at most 20) input bits, the spectrum is sampled: 16 · `walsh_samples` inputs.

    Returns
    -------
    coefficient, error
        (subset,) f^(T) and its error; `subset` names the bits of T, such as "{0,7}". If the spectrum is not sampled, it
        has all T, is exact up to float rounding, and all errors are 0. If it is sampled, it has all T of only relevant
        bits. For a relu model, the error at these T is a bound. For any other model, it is a standard error, or NaN if
        f(x) never differs between sampled inputs with equal relevant bits. A sampled spectrum also has all other T of
        at most 3 bits (at most 2 if 3 would give more than 50,000 coefficients), with standard errors.

    Raises
    ------
    InputError
        The task is not parity, or the seed or the checkpoint does not exist.
    """
    relevant_bits = parity_bits(run)
    config = run.config
    draws = spectrum_draws(config, relevant_bits, options)
    network = run.arrays(seed, checkpoint)
    networks = evaluator(config, draws.flat.astype(config.dtype))
    with one_blas_thread():  # as along a run, because the number of threads can change the last bits
        values = networks.native_outputs(network).reshape(1, *draws.inputs.shape[:2])
    beyond = spectrum_beyond(values, draws, relevant_bits)
    by_neuron = None if draws.is_complete else networks.mean_contributions(network, relevant_bits)
    means, bound = (None, 0.0) if by_neuron is None else (by_neuron[0].sum(axis=0), float(by_neuron[1].sum()))
    is_constant = networks.ignores_all_but(network, relevant_bits)
    within = cube_weights(values[0], draws.is_complete, means, bound, is_constant)
    inside = all_subsets(relevant_bits)
    subsets = inside + beyond.subsets
    coefficients = np.concatenate([within.coefficients, beyond.coefficients[0]])
    errors = np.concatenate([np.full(len(inside), within.error), beyond.errors[0]])
    order = sorted(range(len(subsets)), key=lambda place: (len(subsets[place]), subsets[place]))
    variables = {"coefficient": ("subset", coefficients[order]), "error": ("subset", errors[order])}
    attrs = {"exact": int(draws.is_complete), "examples": len(draws.flat)}
    return xr.Dataset(variables, {"subset": [subset_name(subsets[place]) for place in order]}, attrs)


def spectrum_draws(
    config: Config, relevant_bits: tuple[int, ...], options: WalshOptions, most_exact: int = 20
) -> Draws:
    """Inputs for the Walsh spectrum on n bits: all 2^n if n <= min(`walsh_exact_bits`, `most_exact`), else a sample."""
    n = config.task.signature.n_inputs
    exact_bits = min(options.walsh_exact_bits, most_exact)
    return draws_by_pattern(n, relevant_bits, FACTOR * options.walsh_samples, exact_bits, stream=1)


def spectrum_at(
    run: Run, checkpoints: np.ndarray, relevant_bits: tuple[int, ...], options: WalshOptions, *, progress: bool = False
) -> dict[str, tuple]:
    """Dataset variables about the Walsh coefficients at the sets of input bits that contain an irrelevant bit.

    Variables `other_…` (frame, seed, …) describe the largest of these coefficients; a frame is a checkpoint. `degree_…`
    (frame, seed, degree) describe four sums of their squares: over the sets of 1, of 2, of 3, and of 4 or more bits.
    """
    config = run.config
    draws = spectrum_draws(config, relevant_bits, options, MOST_EXACT)
    networks = evaluator(config, draws.flat.astype(config.dtype))

    def one(seed: int, net: Network) -> dict[str, np.ndarray]:
        return {"outputs": networks.native_outputs(net)}

    outputs = walk(run, checkpoints, one, what="Walsh spectrum", progress=progress)["outputs"]
    values = outputs.reshape(-1, *draws.inputs.shape[:2])
    low_degree = spectrum_beyond(values, draws, relevant_bits)
    weights, weight_errors = _by_degree(values, draws, low_degree)
    n_subsets = len(low_degree.subsets)
    sizes = np.nan_to_num(np.abs(low_degree.coefficients), nan=-1.0)
    largest = np.argsort(-sizes, axis=1, kind="stable")[:, :N_LARGEST]
    coefficients = np.take_along_axis(low_degree.coefficients, largest, axis=1)
    labels = np.array([subset_name(subset) for subset in low_degree.subsets] or [""])
    errors = np.sqrt((low_degree.errors**2).sum(axis=1) / max(1, n_subsets))
    by_chance = errors * largest_by_chance(max(1, n_subsets))

    def framed(of_networks: np.ndarray, long_name: str, *dims: str) -> tuple:
        attrs = {"long_name": long_name} if long_name else {}
        return ("frame", "seed", *dims), of_networks.reshape(*outputs.shape[:2], *of_networks.shape[1:]), attrs

    return {
        "other_coefficient": framed(coefficients, "largest coefficients with an irrelevant bit", "place"),
        "other_subset": framed(labels[largest], "", "place"),
        "other_error": framed(errors, "standard error of a coefficient"),
        "other_by_chance": framed(by_chance, "what the largest would reach if all were 0"),
        "degree_weight": framed(weights, "weight on subsets with an irrelevant bit", "degree"),
        "degree_weight_error": framed(weight_errors, "standard error of the weight", "degree"),
    }


def _by_degree(values: np.ndarray, draws: Draws, low_degree: LowDegree) -> tuple[np.ndarray, np.ndarray]:
    """Sum of squared Walsh coefficients at sets with an irrelevant bit, by number of bits, and its standard error.

    Both arrays are (network, degree). The degrees (numbers of bits) are 1, 2, 3, and "4 and more".
    """
    residuals = (values - values.mean(axis=2, keepdims=True, dtype=np.float64)).reshape(len(values), -1)
    with np.errstate(invalid="ignore", over="ignore"):  # of a diverged network
        squares, fourths = (residuals**2).mean(axis=1), (residuals**4).mean(axis=1)
        kurtosis = np.divide(fourths, squares**2, out=np.ones(len(values)), where=squares**2 > 0)
    none = [np.zeros((len(values), 1))] * 2
    summed = weight_by_degree(low_degree, kurtosis=kurtosis) if low_degree.subsets else none
    few, few_errors = (np.pad(part, ((0, 0), (0, DEGREE)))[:, 1 : DEGREE + 1] for part in summed)
    of_networks = [cube_weights(of_network, draws.is_complete) for of_network in values]
    total = np.array([[weights.weight[-1], weights.weight_error[-1]] for weights in of_networks])
    more = total[:, 0] - few.sum(axis=1)
    more_errors = np.sqrt(total[:, 1] ** 2 + (few_errors**2).sum(axis=1))
    return np.column_stack([few, more]), np.column_stack([few_errors, more_errors])
