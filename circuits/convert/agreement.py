"""Whether published weights compute what they are said to compute.

Shapes do not tell everything: an attention that is scaled, another activation or another operation leave them as they
are. So losses and accuracies of the last checkpoint are compared with those that are expected, and with those that the
file itself holds. A file's own losses are often those before the last update, and computed in another precision.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from circuits.config import Config
from circuits.convert.containers import Held
from circuits.errors import InputError

METRICS = ("train_loss", "test_loss", "train_accuracy", "test_accuracy")
WHOLE = ("loss", "accuracy")  # over all examples
LEAST = 1e-7  # absolute tolerance of a loss: the rounding of a cross-entropy in single precision
OF_ACCURACY = 0.1  # the tolerance of an accuracy is absolute, this part of that of losses
LOW = 0.9  # an accuracy over all examples below which the task may be another
UNTOLD = "the task, the activation, a normalization without parameters or a scaled attention"
AT_ONCE = 1 << 14  # examples
OPERATIONS = {"add": "x+y", "sub": "x-y", "subtract": "x-y", "mul": "x*y", "multiply": "x*y", "div": "x/y"}
FIELDS = {  # names in the configs of others
    "lr": "optimizer.lr", "weight_decay": "optimizer.weight_decay", "p": "task.p", "frac_train": "task.train_fraction",
    "fn_name": "task.operation", "d_model": "model.d_model", "d_mlp": "model.d_mlp", "n_heads": "model.n_heads",
    "num_heads": "model.n_heads", "n_layers": "model.n_layers", "num_layers": "model.n_layers",
    "act_fn": "model.activation", "act_type": "model.activation", "seed": "seed",
}  # fmt: skip


class Overall(NamedTuple):
    """Accuracy (0..1) and mean loss of a network over the test examples, which are all without a split.

    `loss_name` is the name of the loss; `examples` says which examples these are.
    """

    loss_name: str
    examples: str
    accuracy: float
    loss: float


def checked_expectations(expect: Mapping[str, float], tolerance: float) -> None:
    """Raise an `InputError` if a metric or a number is wrong."""
    if not 0 <= tolerance < math.inf:
        raise InputError(f"--tolerance {tolerance:g} must be a number from 0.")
    for name, value in expect.items():
        if name not in METRICS + WHOLE:
            raise InputError(f"--expect {name}: there is no such metric. There are: {', '.join(METRICS + WHOLE)}.")
        if not math.isfinite(value):
            raise InputError(f"--expect {name}={value:g} is not a finite number.")


def contradictions(held: Held, config: Config, seed: int) -> list[str]:
    """What the file says of its optimizer, sizes and task that the config says otherwise, one line each."""
    ours = config.leaves() | {"seed": seed}
    lines = [
        f"the file's config has {name} {held.settings[name]}, and its optimizer {held.optimizer[name]:g}"
        for name in ("lr", "weight_decay")
        if name in held.settings and name in held.optimizer and held.settings[name] != held.optimizer[name]
    ]
    theirs = {f"optimizer.{name}": value for name, value in held.optimizer.items()}
    for name, field in FIELDS.items():
        if name in held.settings:
            theirs.setdefault(field, held.settings[name])
    if held.seed is not None:
        theirs["seed"] = held.seed
    for field, value in theirs.items():
        own = ours.get(field)
        if isinstance(own, str) and isinstance(value, str):
            value = OPERATIONS.get(value, value).lower()
        comparable = isinstance(own, str) == isinstance(value, str) and own is not None
        if comparable and value != own:
            lines.append(f"{field} is {_shown(own)} in the config, and {_shown(value)} in the file")
    return lines


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def overall(config: Config, parameters: Mapping[str, np.ndarray], data: Mapping[str, np.ndarray]) -> Overall | None:
    """Accuracy and mean loss over examples; None if the targets are numbers.

    Parameters
    ----------
    parameters
        A network's parameters by name.
    data
        `inputs` (example, input) and `targets` (example,), all examples of the task.
    """
    import torch

    if config.task.has_numbers:
        return None
    loss, right, n = 0.0, 0, len(data["targets"])
    network = {name: torch.from_numpy(np.asarray(values, config.dtype)) for name, values in parameters.items()}
    kind = np.int64 if config.model.reads == "tokens" else config.dtype
    with torch.no_grad():
        for start in range(0, n, AT_ONCE):
            part = slice(start, start + AT_ONCE)
            outputs = config.model.forward(network, torch.from_numpy(data["inputs"][part].astype(kind))).double()
            targets = torch.from_numpy(data["targets"][part].astype(np.int64))
            if outputs.ndim == 1:
                of_each = (outputs - targets) ** 2 if config.loss == "mse" else (1 - outputs * targets).clamp_min(0)
                loss += of_each.sum().item()
                right += int((outputs.sign() == targets).sum())
            else:
                loss += torch.nn.functional.cross_entropy(outputs, targets, reduction="sum").item()
                right += int((outputs.argmax(1) == targets).sum())
    name = "cross-entropy" if config.task.signature.n_classes else config.loss
    examples = f"{n:,} drawn inputs" if config.task.kind == "parity" else f"all {n:,} examples"
    return Overall(name, examples, right / n, loss / n)


def compare(metrics: Mapping[str, float], held: Held, expect: Mapping[str, float], tolerance: float) -> list[str]:
    """One line for each metric that was compared.

    Parameters
    ----------
    metrics
        Metrics of the last checkpoint, and `loss` and `accuracy` over all examples; NaN if unknown.
    held
        The file of the last checkpoint.
    expect
        Expected metrics by name, in addition to those in the file.
    tolerance
        Allowed relative difference of a loss; a tenth of it is the allowed absolute difference of an accuracy.

    Raises
    ------
    InputError
        A metric differs by more.
    """
    lines = []
    for source, values in (("expected", expect), ("in the file", held.losses)):
        for name, value in values.items():
            here = metrics[name]
            if not math.isfinite(value):
                lines.append(f"{name} is {here:.6g} here, and {value:.6g} {source}")
            elif math.isnan(here):
                if source == "expected":
                    what = f"{name} is expected to be {value:.6g}, but without a split it is unknown"
                    raise InputError(f"{what}. Expect loss or accuracy, over all examples, or give the split.")
            elif not abs(here - value) <= _allowed(name, value, tolerance):
                raise _differs(held, f"{name} is {here:.6g} here, and {value:.6g} {source}", f"the split, {UNTOLD}")
            else:
                lines.append(f"{name} is {here:.6g} here, and {value:.6g} {source}")
    return lines


def compare_overall(here: Overall, held: Held, tolerance: float) -> list[str]:
    """Lines on accuracy and loss over all examples, where no split is known.

    Whatever the split, the loss over all examples lies between the losses on both parts.

    Raises
    ------
    InputError
        It does not, for the losses or accuracies in the file.
    """
    accuracy, loss = f"the accuracy is {here.accuracy:.4g}", f"the mean {here.loss_name} {here.loss:.6g}"
    line = f"over {here.examples}, {accuracy} and {loss}"
    for name, value in (("loss", here.loss), ("accuracy", here.accuracy)):
        both = [held.losses.get(f"{part}_{name}", math.nan) for part in ("train", "test")]
        if not all(map(math.isfinite, both)):
            continue
        low, high = min(both), max(both)
        text = f"the {name} over {here.examples} is {value:.6g} here, and between {low:.6g} and {high:.6g} in the file"
        low, high = low - _allowed(name, low, tolerance), high + _allowed(name, high, tolerance)
        if not low <= value <= high:
            raise _differs(held, text, UNTOLD)
        line += f"; in the file they are {both[0]:.6g} (train) and {both[1]:.6g} (test)" if name == "loss" else ""
    if here.accuracy < LOW:
        line += f". Shapes do not tell {UNTOLD}; if the network should be better, set them"
    return [line]


def _allowed(name: str, value: float, tolerance: float) -> float:
    return tolerance * OF_ACCURACY if name.endswith("accuracy") else tolerance * abs(value) + LEAST


def _differs(held: Held, difference: str, what: str) -> InputError:
    return InputError(
        f"{held.path}: {difference}. Shapes do not tell {what}. Set them, or pass --tolerance to accept the difference."
    )
