"""Loss and correctness of a network's outputs.

A network with one output is right on an example if output times target (±1) is positive, so an output of 0 is wrong. A
network with one logit per class is right if the target's logit exceeds every other logit, so a tie is wrong.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
import torch.nn.functional as F

from circuits.checkpoints.layout import UNSEEN_ACCURACY
from circuits.collapse import LARGEST_OUTPUT, is_collapsed, largest_output
from circuits.config import Config
from circuits.errors import InputError
from circuits.training.unseen import unseen_accuracy


def per_example(outputs: torch.Tensor, targets: torch.Tensor, config: Config) -> torch.Tensor:
    """Loss of each example, (…, example).

    For a network with one output, `outputs` are (…, example), and `targets` are (…, example) ±1 in the outputs' dtype.
    Otherwise `outputs` are (…, example, class), and `targets` are (…, example) integers, the classes. The config's
    `loss` names the loss to compute. Its `loss_dtype` is the precision, or its `dtype` if `loss_dtype` is None.
    """
    outputs = outputs.to(getattr(torch, config.loss_dtype or config.dtype))
    if outputs.ndim == targets.ndim and config.loss != "other":
        targets = targets.to(outputs.dtype)
        match config.loss:
            case "hinge":
                return hinge(outputs, targets)
            case "mse":
                return (outputs - targets).square()
            case "cross_entropy":
                return F.softplus(-outputs * targets)  # -log of the sigmoid of f(x) y
    if config.loss == "other":
        raise InputError("The run's loss is a function of its own training loop, which the run file does not hold.")
    if config.loss == "mse":
        return (outputs - F.one_hot(targets, outputs.shape[-1])).square().mean(dim=-1)
    return -outputs.log_softmax(dim=-1).gather(-1, targets[..., None]).squeeze(-1)


def hinge(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """max(0, 1 - output · target) per example, with subgradient 0 at the kink."""
    return (1 - outputs * targets).relu()


def right(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Mask of the examples on which the network is right, (example,) bool.

    Examples
    --------
    >>> right(torch.tensor([[2.0, 1.0], [1.0, 1.0]]), torch.tensor([0, 0]))
    tensor([ True, False])
    """
    if outputs.ndim == targets.ndim:
        return outputs * targets > 0
    own = outputs.gather(-1, targets[..., None])
    return ((outputs < own).sum(dim=-1) == outputs.shape[-1] - 1) & ~own.squeeze(-1).isnan()


def undecided(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Mask of the examples without a predicted class: the output is exactly 0, or all logits are equal."""
    return outputs == 0 if outputs.ndim == targets.ndim else (outputs == outputs[..., :1]).all(dim=-1)


class Examples(NamedTuple):
    """Training and test examples of one network.

    `marks` maps the task's name for a group of training examples, such as "flipped", to the group's mask (example,).
    `unseen` (test_example,) is the mask of test inputs outside the network's training set. `unseen` is None if no seed
    of the run has a test input in its training set.
    """

    inputs: torch.Tensor
    targets: torch.Tensor
    test_inputs: torch.Tensor
    test_targets: torch.Tensor
    marks: Mapping[str, torch.Tensor]
    unseen: torch.Tensor | None


def metrics_of(
    config: Config,
    examples: Examples,
    outputs: torch.Tensor,
    test_outputs: torch.Tensor,
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] | None = None,
) -> dict[str, float]:
    """Metrics of one network, such as losses and accuracies, from its outputs on the training and the test examples.

    `loss` is the mean loss as a function of (outputs, targets), by default that of the config. The metrics of an empty
    test set, and accuracies if targets are numbers, are NaN.
    """
    _, targets, _, test_targets, marks, unseen = examples

    def mean_loss(outputs: torch.Tensor, targets: torch.Tensor) -> float:
        if not len(targets):
            return float("nan")
        return (
            per_example(outputs, targets, config).double().mean() if loss is None else loss(outputs, targets)
        ).item()

    if config.task.has_numbers:
        losses = {"train_loss": mean_loss(outputs, targets), "test_loss": mean_loss(test_outputs, test_targets)}
        largest = largest_output(outputs.detach().cpu().numpy(), False)
        none = dict.fromkeys(("train_accuracy", "test_accuracy", "train_zero_outputs"), float("nan"))
        return losses | none | {LARGEST_OUTPUT: largest} | ({} if unseen is None else {UNSEEN_ACCURACY: float("nan")})
    classes = outputs.ndim > targets.ndim
    largest = largest_output(outputs.detach().cpu().numpy(), classes)
    alive = not is_collapsed(largest)  # a collapsed network has no right answers
    correct, test_correct = right(outputs, targets) & alive, right(test_outputs, test_targets) & alive
    metrics = {
        "train_loss": mean_loss(outputs, targets),
        "test_loss": mean_loss(test_outputs, test_targets),
        "train_accuracy": correct.sum().item() / len(targets),
        "test_accuracy": test_correct.sum().item() / len(test_targets) if len(test_targets) else float("nan"),
        "train_zero_outputs": float(undecided(outputs, targets).sum().item()),
        LARGEST_OUTPUT: largest,
    }
    if unseen is not None:
        metrics |= unseen_accuracy(int(test_correct[unseen].sum()), int(unseen.sum()))
    marked = {name: (int(mark.sum()), int(correct[mark].sum())) for name, mark in marks.items()}
    return metrics | marked_accuracies(config, len(targets), int(correct.sum()), marked)


def marked_accuracies(config: Config, n: int, n_right: int, marked: Mapping[str, tuple[int, int]]) -> dict[str, float]:
    """Accuracy on training examples with and without each mark of the task, such as "flipped"; NaN for an empty group.

    `n` is the number of training examples, and `n_right` is the number of right answers on these examples. For each
    mark, `marked` has both numbers for the training examples with this mark.
    """
    accuracies = {}
    for mark, without in config.task.marks.items():
        n_marked, correct = marked[mark]
        for name, n_correct, total in ((mark, correct, n_marked), (without, n_right - correct, n - n_marked)):
            accuracies[f"train_accuracy_{name}"] = n_correct / total if total else float("nan")
    return accuracies
