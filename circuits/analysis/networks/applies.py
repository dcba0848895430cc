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
    return makes_predictions(config) or has_layer(config)


def has_layer(config: Config) -> str | None:
    """None if the model has a prunable layer, otherwise the reason; unlike `has_prunable_layer`, it needs no data."""
    if config.prunable_layers:
        return None
    return (
        f"the '{config.model.kind}' model has no hidden layer to prune. Subnetworks, neuron norms, faithfulness and "
        f"representations need one, such as the model 'relu'."
    )


def makes_predictions(config: Config) -> str | None:
    """None if the networks' predictions on the training set can be computed and compared, otherwise the reason."""
    if config.model.no_outputs:
        return config.model.no_outputs
    if config.task.has_numbers:
        return (
            "the targets are numbers, so no prediction is right or wrong. Subnetworks, faithfulness, representations "
            "and margins need signs or classes."
        )
    if not config.task.train_size:
        return (
            "the run has no training examples. Record it with data={'train': (inputs, targets)}, or convert "
            "weights with the split of their training."
        )
    return None


def has_test_set(config: Config) -> str | None:
    """None if the run has test examples, otherwise the reason why a measurement on them does not apply."""
    if config.task.test_size:
        return None
    return "the run has no test examples. Record it with data={'train': …, 'test': (inputs, targets)}."


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
    if config.task.unregistered:
        return config.task.unregistered
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
