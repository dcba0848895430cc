"""Questions about a config that several measurements ask: each answers None, or a sentence that says why not."""

from collections.abc import Callable

from circuits.checkpoints.run import Run
from circuits.config import Config
from circuits.errors import InputError

Question = Callable[[Config], str | None]


def has_prunable_layer(config: Config) -> str | None:
    """Whether the model says what can be pruned.

    Examples
    --------
    >>> import circuits
    >>> has_prunable_layer(circuits.preset("merrill-2023"))
    """
    if config.prunable_layers:
        return None
    return (
        f"the '{config.model.kind}' model has no hidden layer to prune. Subnetworks, neuron norms, faithfulness and "
        f"representations need one, such as the model 'relu'."
    )


def is_one_relu_layer(config: Config) -> str | None:
    """Whether the network is exactly uᵀ relu(W x + b)."""
    if config.model.relu_parameters is not None:
        return None
    return has_prunable_layer(config) or (
        f"the '{config.model.kind}' model is not exactly uᵀ relu(W x + b), as 'relu' is, off which gates, certificates "
        f"and exact subnetworks are read. It has subnetwork, norms and faithfulness."
    )


def is_parity(config: Config) -> str | None:
    """Whether the target is the parity of some input bits."""
    if config.task.parity_bits is not None:
        return None
    return (
        f"the task '{config.task.kind}' is not a parity. Gates, matches, efficiency, certificates and Walsh spectra "
        f"are of parities, such as the task 'parity'."
    )


def all_of(*questions: Question) -> Question:
    """The first sentence of several questions."""
    return lambda config: next((reason for one in questions if (reason := one(config))), None)


def require(run: Run, question: Question) -> None:
    """Refuse a run of which a question says why not.

    Raises
    ------
    InputError
        With that sentence.
    """
    if reason := question(run.config):
        raise InputError(f"{run.path}: {reason}")
