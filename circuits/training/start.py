"""The starting point of training: an initialization, or a stored checkpoint of the same run or of its parent run."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from circuits.checkpoints.run import Run, open_run
from circuits.config import Config
from circuits.errors import InputError

Arrays = dict[str, np.ndarray]


class Start(NamedTuple):
    """A starting point: a step, and its parameters, optimizer state and metrics, each as name -> array (seed, …)."""

    step: int
    parameters: Arrays
    state: Arrays
    metrics: Arrays


def initial_parameters(config: Config) -> Arrays:
    """Parameters of checkpoint 0, each (seed, …), in the config's dtype."""
    networks = [config.model.initial(config.task.signature, seed) for seed in config.seeds]
    scale = config.model.init_scale
    return {name: np.stack([scale * net[name] for net in networks]).astype(config.dtype) for name in config.shapes}


def initial_state(config: Config) -> Arrays:
    """The optimizer's state before any update, each (seed, …): empty for plain SGD, zeros for other optimizers."""
    n_seeds = len(config.seeds)
    state: Arrays = {
        f"{moment}.{name}": np.zeros((n_seeds, *shape), config.dtype)
        for moment in config.optimizer.moments
        for name, (_, shape) in config.shapes.items()
        if name not in config.model.frozen
    }
    return state | ({"step": np.zeros(n_seeds, np.float32)} if config.optimizer.counts_updates else {})


def start_of(run: Run) -> Start:
    """Starting point of a run without checkpoints: the initialization, or a checkpoint of its parent (original) run.

    Raise an `InputError` if the parent run is missing or has changed.
    """
    if run.parent is None:
        return Start(0, initial_parameters(run.config), {}, {})
    path = Path(run.parent["path"])
    again = f"Make {run.path} again, with overwrite=True."
    if not path.exists():
        raise InputError(f"{run.path} has no checkpoint yet, and its parent run {path} does not exist. {again}")
    with open_run(path) as parent:
        if parent.fingerprint != run.parent["fingerprint"]:
            raise InputError(
                f"{run.path} has no checkpoint yet, and its parent run {path} was changed or replaced. {again}"
            )
        if "neurons" in run.parent:
            return ticket_start(parent, run.parent["seed"], run.parent["neurons"])
        return nearest_start(parent, run.config.checkpoints.from_step)


def ticket_start(run: Run, seed: int, neurons: Sequence[int]) -> Start:
    """Starting point to train `neurons` of one network alone (a lottery ticket): their parameters at step 0.

    Each array is (1, …), for one network. The optimizer state is empty. Raise an `InputError` if `run` lacks step 0.
    """
    if not run.n_checkpoints or run.steps[0] != 0:
        raise InputError(
            f"{run.path} does not hold step 0, where a lottery ticket starts. If it is a replay, pass its original run."
        )
    arrays = run.arrays(seed, 0)
    shapes = run.config.shapes
    parameters = {
        name: values[list(neurons)][None] if shapes[name][0][:1] == ("neuron",) else values[None]
        for name, values in arrays.items()
    }
    return Start(0, parameters, {}, {})


def nearest_start(run: Run, step: int) -> Start:
    """The last stored checkpoint at or before `step` whose optimizer state is known, so that training can resume."""
    stateless = not run.config.optimizer.moments
    usable = run.steps if stateless else np.union1d(run.steps[:1], np.intersect1d(run.steps, run.state_steps))
    usable = usable[usable <= step]
    if not usable.size:
        raise InputError(f"{run.path} begins at step {run.steps[0]}, so step {step} cannot be reached from it.")
    at = int(usable[-1])
    if not stateless and at != 0 and at not in run.state_steps:
        raise InputError(f"{run.path} keeps no optimizer state at or before step {step}. Replay a run that keeps one.")
    index = int(np.searchsorted(run.steps, at))
    parameters = {str(name): values[index].values for name, values in run.parameters.items()}
    state = {} if stateless or at == 0 else run.optimizer_state(at)
    return Start(at, parameters, state, metrics_at(run, index))


def metrics_at(run: Run, index: int) -> Arrays:
    """Every metric of a checkpoint, each (seed,)."""
    return {str(name): values.values[index] for name, values in run.metrics.items()}
