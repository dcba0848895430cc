"""A network of a run, evaluated exactly on the patterns of its task's relevant bits.

The other n - k inputs are held at 0, their mean, so this is about the network restricted to its relevant bits. On an
actual input they are ±1, and what weight is left on them can still turn a sign: that is another question.
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
    checkpoint: int | None = None,
    *,
    kept: Bool[np.ndarray, " neuron"] | None = None,
) -> Verification:
    """Whether a network of a run computes the parity of its relevant bits.

    Parameters
    ----------
    run
        A run of a task that is a parity, and of a model with a hidden layer.
    seed, checkpoint
        Which network; by default the first seed's last.
    kept
        (neuron,) evaluate these neurons only, such as `circuits.analysis.active_subnetwork` gives.

    Returns
    -------
    The verification. Neurons are named by their index in the run: #0, #1, …; bits by theirs in the input: x0, x1, …

    Raises
    ------
    InputError
        It is another task or model, there is no such seed or checkpoint, or the network has diverged.
    """
    names = run.config.model.relu_parameters
    if names is None:
        raise InputError(
            f"{run.path} holds a '{run.config.model.kind}' model. To be verified it needs to be uᵀ relu(W x + b), the "
            f"model 'relu'."
        )
    task = run.config.task
    if task.parity_bits is None:
        raise InputError(f"{run.path} is a run of the task '{task.kind}', so there is no parity to verify.")
    index = run.checkpoint_index(checkpoint)
    seed = run.seeds[run.seed_index(seed)]
    arrays = run.arrays(seed, index)
    network = {short: arrays[name] for short, name in zip("Wbu", names, strict=True)}
    mask = np.ones(len(network["b"]), bool) if kept is None else kept
    which = np.flatnonzero(mask)
    some = "" if kept is None else f", {len(which)} of {len(mask)} neurons"
    if kept is None or run.collapsed.values[index, run.seed_index(seed)]:
        largest = _train_largest_output(run, seed, index)
    else:  # some neurons of a live network
        W, b, u = (network[short][which].astype(np.float64) for short in "Wbu")
        inputs = run.data(seed)["train_inputs"].values.astype(np.float64)
        largest = largest_output(np.maximum(inputs @ W.T + b, 0.0) @ u, has_classes=False)
    what = f"{run.path.name}, seed {seed}, checkpoint {index}{some}"
    try:
        return verify(
            {name: values[which] for name, values in network.items()},
            task.parity_bits,
            name=what,
            neurons=[f"#{neuron}" for neuron in which],
            train_largest_output=largest,
        )
    except InputError as error:
        raise InputError(f"{what}: {error}") from None


def _train_largest_output(run: Run, seed: int, index: int) -> float:
    """Largest |f| of a network on its training set; computed if the run does not store it."""
    if LARGEST_OUTPUT in run.metrics:
        return float(run.metrics[LARGEST_OUTPUT].values[index, run.seed_index(seed)])
    outputs = outputs_of(run.config.model, run.arrays(seed, index), run.data(seed)["train_inputs"].values)
    return largest_output(outputs, has_classes=False)
