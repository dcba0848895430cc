"""The Walsh spectrum of networks on all of their input bits: exactly up to 20 bits, else |T| <= 3 by sampling.

Over a sample the coefficients of T with a bit outside the relevant ones S are those of f minus its mean on each pattern
of S, whose own coefficients all lie within S. A network that has learned the parity has little left then, and its
standard errors, √(E_z Var(f | z) / N), are small with it.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Float, Real

from circuits.analysis.cube import membership, subset_name, walsh_coefficients
from circuits.analysis.cube_weights import Draws, draws_by_pattern, within_support
from circuits.analysis.efficiency import parity_bits
from circuits.analysis.low_degree import LowDegree, largest_by_chance, low_degree_coefficients, weight_by_degree
from circuits.analysis.sweep import Network, sweep
from circuits.checkpoints.run import Run
from circuits.config import Config
from circuits.options import Options

DEGREE = 3
MOST_COEFFICIENTS = 50_000  # of a sampled spectrum; with more bits its degree is lower
FACTOR = 16  # so many times the inputs of a point on the trajectory
MOST_CHECKPOINTS = 12
MOST_EXACT = 14  # bits, where the outputs of several networks are held at once
N_LARGEST = 8
DEGREES = ("1", "2", "3", "4 and more")


class Spectrum(NamedTuple):
    """Coefficients of several networks on the subsets that are not within the support.

    `found` their coefficients and errors (0 where exact); `is_complete`: all there are.
    """

    found: LowDegree
    is_complete: bool


def outputs_of(config: Config, net: Network, inputs: Real[np.ndarray, "example input"]) -> Float[np.ndarray, " example"]:
    """Outputs of one network, in the dtype of its config; under `one_torch_thread` on the caller's thread alone."""
    x = inputs.astype(config.dtype, copy=False)
    if config.model.hidden_layer is not None:
        W, b, u = (net[name] for name in ("W", "b", "u"))
        parts = np.array_split(x, max(1, len(x) // 4096))
        return np.concatenate([u @ np.maximum(W @ part.T + b[:, None], 0) for part in parts])
    import torch

    parameters = {name: torch.from_numpy(np.array(values)) for name, values in net.items()}
    with torch.no_grad():
        found: np.ndarray = config.model.forward(parameters, torch.from_numpy(x)).numpy()
    return found


def parameter_names(config: Config) -> dict[str, str]:
    """The parameters that `outputs_of` takes, by the names under which it takes them."""
    if (relu := config.model.hidden_layer) is not None:
        return dict(zip("Wbu", relu, strict=True))
    return {name: name for name in config.shapes}


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
    n_networks, n_patterns, n_draws = values.shape
    residuals = (values - values.mean(axis=2, keepdims=True)).reshape(n_networks, -1)
    inputs, n = draws.flat, draws.inputs.shape[-1]
    if draws.is_complete:
        order = np.argsort(((inputs > 0).astype(np.int64) << np.arange(n)[::-1]).sum(axis=1))
        subsets = [tuple(np.flatnonzero(row).tolist()) for row in membership(n)]
        coefficients = walsh_coefficients(residuals[:, order])
        found = LowDegree(subsets, coefficients, np.zeros_like(coefficients))
    else:
        degree = DEGREE if n < 3 or _count(n, DEGREE) <= MOST_COEFFICIENTS else DEGREE - 1
        found = low_degree_coefficients(inputs, residuals, degree)
        # Sample means take away 1/draws of every coefficient.
        scale = n_draws / (n_draws - 1)
        found = LowDegree(found.subsets, found.coefficients * scale, found.errors * scale)
    beyond = np.flatnonzero(~within_support(found.subsets, support))
    of = LowDegree([found.subsets[i] for i in beyond], found.coefficients[:, beyond], found.errors[:, beyond])
    return Spectrum(of, draws.is_complete)


def _count(n: int, degree: int) -> int:
    return sum(int(np.prod([(n - i) / (i + 1) for i in range(size)]).round()) for size in range(degree + 1))


def walsh_spectrum(
    run: Run, seed: int | None = None, checkpoint: int | None = None, options: Options = Options()
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
        (subset,) f^(T) and its standard error, 0 where exact; `subset` names the bits of T, such as "{0,7}".

    Raises
    ------
    InputError
        The task is not parity, or there is no such seed or checkpoint.
    """
    support = parity_bits(run)
    config = run.config
    draws = spectrum_draws(config, support, options)
    stored = run.arrays(seed, run.checkpoint_index(checkpoint))
    net = {short: stored[name] for short, name in parameter_names(config).items()}
    values = outputs_of(config, net, draws.flat).reshape(1, *draws.inputs.shape[:2])
    beyond = spectrum_beyond(values, draws, support).found
    means = values[0].astype(np.float64).mean(axis=1)
    error = np.zeros(1)
    if not draws.is_complete:
        error += np.sqrt(values[0].astype(np.float64).var(axis=1, ddof=1).mean() / values.size)
    inside = [tuple(np.array(support)[row].tolist()) for row in membership(len(support))]
    coefficients = np.concatenate([walsh_coefficients(means), beyond.coefficients[0]])
    errors = np.concatenate([np.repeat(error, len(inside)), beyond.errors[0]])
    order = sorted(range(len(coefficients)), key=lambda i: (len((inside + beyond.subsets)[i]), (inside + beyond.subsets)[i]))
    names = [subset_name((inside + beyond.subsets)[i]) for i in order]
    attrs = {"exact": int(draws.is_complete), "examples": len(draws.flat)}
    return xr.Dataset(
        {"coefficient": ("subset", coefficients[order]), "error": ("subset", errors[order])}, {"subset": names}, attrs
    )


def spectrum_draws(config: Config, support: tuple[int, ...], options: Options, most_exact: int = 20) -> Draws:
    """The inputs on which single coefficients are estimated."""
    n = config.task.signature.n_inputs
    exact_bits = min(options.walsh_exact_bits, most_exact)
    return draws_by_pattern(n, support, FACTOR * options.walsh_samples, exact_bits, stream=1)


def spectrum_at(
    run: Run, checkpoints: np.ndarray, support: tuple[int, ...], options: Options, *, progress: bool = False
) -> dict[str, tuple[tuple[str, ...], np.ndarray, Mapping[str, str]]]:
    """What lies beyond the support at a few checkpoints, (frame, seed, …): see `measure` of `walsh`."""
    config = run.config
    draws = spectrum_draws(config, support, options, MOST_EXACT)
    inputs = draws.flat.astype(config.dtype)

    def one(seed: int, net: Network) -> np.ndarray:
        return outputs_of(config, net, inputs)

    names = parameter_names(config)
    outputs = sweep(run, checkpoints, one, what="Walsh spectrum", progress=progress, names=names)
    shape = outputs.shape[:2]
    spectrum = spectrum_beyond(outputs.reshape(-1, *draws.inputs.shape[:2]), draws, support)
    found = spectrum.found
    with np.errstate(invalid="ignore"):
        weights, weight_errors = weight_by_degree(found)
    few = [np.pad(values, ((0, 0), (0, DEGREE + 1)))[:, 1 : DEGREE + 1] for values in (weights, weight_errors)]
    variances = outputs.reshape(-1, *draws.inputs.shape[:2]).astype(np.float64).var(axis=2, ddof=0 if draws.is_complete else 1)
    more = variances.mean(axis=1) - few[0].sum(axis=1)
    by_degree = np.concatenate([few[0], more[:, None]], axis=1)
    n_places = min(N_LARGEST, len(found.subsets))
    sizes = np.abs(found.coefficients)
    sizes = np.where(np.isnan(sizes), -1.0, sizes)
    largest = np.argsort(-sizes, axis=1, kind="stable")[:, :n_places]
    labels = np.array([subset_name(subset) for subset in found.subsets])
    errors = np.zeros(len(by_degree)) if draws.is_complete else np.sqrt((found.errors**2).mean(axis=1))
    by_chance = largest_by_chance(max(1, len(found.subsets)))
    return {
        "other_coefficient": (
            ("frame", "seed", "place"),
            np.take_along_axis(found.coefficients, largest, axis=1).reshape(*shape, n_places),
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
            by_degree.reshape(*shape, len(DEGREES)),
            {"long_name": "weight on subsets with an irrelevant bit"},
        ),
    }
