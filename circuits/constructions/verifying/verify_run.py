"""Exact evaluation of a run's network on every setting of its task's relevant bits.

The other n - k inputs are held at 0, their mean, so the result is about the network restricted to its relevant bits. On
an actual input they are ±1, and their weights can change the sign of the output; `certify` covers those inputs.
"""

import numpy as np
from jaxtyping import Bool

from circuits.checkpoints.collapsed import outputs_of
from circuits.checkpoints.run import Run
from circuits.collapse import LARGEST_OUTPUT, largest_output
from circuits.constructions.verifying.verification import Verification
from circuits.constructions.verifying.verify import verify
from circuits.errors import InputError


def verify_run(
    run: Run,
    seed: int | None = None,
    checkpoint: int | str | None = None,
    *,
    kept: Bool[np.ndarray, " neuron"] | None = None,
) -> Verification:
    """Verification of a run's network: whether it computes the parity of its relevant bits.

    Parameters
    ----------
    run
        A run of a parity task and of the model `relu`.
    seed, checkpoint
        Seed and checkpoint (index or name) of the network to verify; by default the first seed, the last checkpoint.
    kept
        (neuron,) mask of the neurons to evaluate, for example the result of `circuits.analysis.active_subnetwork`.

    Returns
    -------
    The verification. Neurons are named #0, #1, … by their index in the run, bits x0, x1, … by their index in the input.

    Raises
    ------
    InputError
        The run has another task or model, the run has no such seed or checkpoint, or the network has diverged.
    """
    names = run.config.model.relu_parameters
    if names is None:
        raise InputError(
            f"{run.path} holds a '{run.config.model.kind}' model. Only 'relu', uᵀ relu(W x + b), can be verified."
        )
    task = run.config.task
    if task.parity_bits is None:
        raise InputError(f"{run.path} is a run of the task '{task.kind}'. Only a parity task can be verified.")
    index = run.checkpoint_index(checkpoint, seed=seed)
    seed = run.seeds[run.seed_index(seed)]
    arrays = run.arrays(seed, index)
    network = {short: arrays[name] for short, name in zip("Wbu", names, strict=True)}
    mask = np.ones(len(network["b"]), bool) if kept is None else kept
    neurons = np.flatnonzero(mask)
    subnetwork = {short: values[neurons] for short, values in network.items()}
    if kept is None or run.collapsed.values[index, run.seed_index(seed)]:
        largest = _train_largest_output(run, seed, index)
    else:  # a part of a network that has not collapsed
        W, b, u = (subnetwork[short].astype(np.float64) for short in "Wbu")
        inputs = run.data(seed)["train_inputs"].values.astype(np.float64)
        largest = largest_output(np.maximum(inputs @ W.T + b, 0.0) @ u, has_classes=False)
    size = "" if kept is None else f", {len(neurons)} of {len(mask)} neurons"
    name, labels = f"{run.path.name}, seed {seed}, checkpoint {index}{size}", [f"#{neuron}" for neuron in neurons]
    try:
        return verify(subnetwork, task.parity_bits, name=name, neurons=labels, train_largest_output=largest)
    except InputError as error:
        raise InputError(f"{name}: {error}") from None


def _train_largest_output(run: Run, seed: int, index: int) -> float:
    """Largest |f| of a network on its training set: from the run's metrics, or computed if the metrics lack it."""
    if LARGEST_OUTPUT in run.metrics:
        return float(run.metrics[LARGEST_OUTPUT].values[index, run.seed_index(seed)])
    outputs = outputs_of(run.config.model, run.arrays(seed, index), run.data(seed)["train_inputs"].values)
    return largest_output(outputs, has_classes=False)
