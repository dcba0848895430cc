"""Conditions on a config, shared by measurements; each returns None if it holds, otherwise the reason as a sentence."""

from collections.abc import Callable

from circuits.checkpoints.run import Run
from circuits.config import Config
from circuits.errors import InputError

Question = Callable[[Config], str | None]


def has_prunable_layer(config: Config) -> str | None:
    """None if the model has a prunable layer, otherwise a text that names the measurements that need such a layer.

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
    """None if the network is exactly uᵀ relu(W x + b), otherwise the reason why not."""
    if config.model.relu_parameters is not None:
        return None
    return has_prunable_layer(config) or (
        f"the '{config.model.kind}' model is not exactly uᵀ relu(W x + b), which gates, certificates and exact "
        f"subnetworks require. Use the model 'relu', or the measurements subnetwork, norms and faithfulness."
    )


def is_parity(config: Config) -> str | None:
    """None if the target is the parity of some input bits, otherwise the reason why not."""
    if config.task.parity_bits is not None:
        return None
    return (
        f"the task '{config.task.kind}' is not a parity. Gates, matches, efficiency, certificates and Walsh spectra "
        f"need one, such as the task 'parity'."
    )


def all_of(*questions: Question) -> Question:
    """Function of a config: None if all conditions `questions` hold, otherwise the reason why the first one fails."""
    return lambda config: next((reason for question in questions if (reason := question(config))), None)


def require(run: Run, question: Question) -> None:
    """Raise an `InputError` if the run's config fails the condition `question`; the message says why."""
    if reason := question(run.config):
        raise InputError(f"{run.path}: {reason}")
