"""Files that hold weights, as people publish them: state dicts, and what lies around them.

A file is a `.pt` or `.pth` of torch, `.safetensors`, or `.npz`; its content tells which. The state dict may lie in a
dictionary beside losses, an optimizer and a config. Several may lie in a list, with their epochs beside it, or in a
dictionary by epoch. Nothing is unpickled but tensors and plain containers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from circuits.config import MAX_PARAMETERS
from circuits.convert.tensor_files import as_array, brief, is_npz, read_npz, read_safetensors
from circuits.convert.weights import is_archive, loaded_by_torch
from circuits.errors import InputError, nearest

HOLDERS = ("model", "state_dict", "model_state_dict", "network", "net", "weights")
EPOCHS = ("checkpoint_epochs", "epochs")  # keys of the epochs of a list of state dicts
LOSSES = ("train_loss", "test_loss", "train_accuracy", "test_accuracy")
INDICES = ("train_indices", "train_idx", "train_mask", "is_train")
OPTIMIZERS = ("optimizer", "optimizer_state_dict", "optim", "opt")
OTHER = re.compile(r"^(opt|sched)", re.IGNORECASE)  # keys of optimizers and schedulers, which hold tensors too
NAMED_EPOCH = re.compile(r"(?:^|[^a-z])(?:epoch|ep|model|ckpt|checkpoint)[_-]?(\d+)$|^(\d+)$", re.IGNORECASE)
LAST_EPOCH = 10**12  # a larger number is no epoch
LISTED = 8  # most names in a message
DEEPEST = 3  # dictionaries in dictionaries


@dataclass(frozen=True)
class Snapshot:
    """One network's tensors by name, and its epoch if anything tells it."""

    tensors: dict[str, np.ndarray]
    epoch: int | None


@dataclass(frozen=True)
class Held:
    """What a file holds: networks, the last losses and accuracies stored with them, and the indices of its split.

    `settings` are plain values of a config in the file, `optimizer` those of the optimizer's first parameter group, and
    `config` the whole config if this package exported the file.
    """

    path: Path
    snapshots: list[Snapshot]
    losses: dict[str, float] = field(default_factory=dict)
    train_indices: np.ndarray | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    optimizer: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] | None = None
    seed: int | None = None


def held(path: str | Path, inside: str | None = None) -> Held:
    """Read a file of weights.

    Parameters
    ----------
    path
        A `.pt`, `.pth`, `.safetensors` or `.npz` file.
    inside
        Dotted keys of the state dict, or of the list of state dicts, in the file's dictionary, such as "model".

    Raises
    ------
    InputError
        The file cannot be read or holds no state dict, or it holds several and `inside` does not choose.
    """
    path = Path(path)
    try:
        if path.exists() and not path.is_file():
            raise InputError(f"{path} is not a file. Pass a .pt, .pth, .safetensors or .npz file.")
        with path.open("rb") as file:
            begin = file.read(9)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}.") from None
    if begin[8:9] == b"{" and not is_archive(path):
        arrays, facts = read_safetensors(path)
    elif is_npz(path):
        arrays, facts = read_npz(path)
    else:
        return _of_torch(path, loaded_by_torch(path), inside)
    if inside is not None:
        raise InputError(f"--inside {inside} is for .pt and .pth files. {path} holds only tensors by name.")
    indices = next((arrays.pop(name) for name in INDICES if name in arrays), None)
    epoch, config = _whole(facts.get("epoch")), facts.get("config")
    return Held(
        path, [Snapshot(arrays, _epoch_in_name(path) if epoch is None else epoch)], train_indices=indices,
        config=config if isinstance(config, dict) else None, seed=_whole(facts.get("seed")),
    )  # fmt: skip


def _of_torch(path: Path, content: Any, inside: str | None) -> Held:
    place, around = content, content
    if inside is not None:
        for key in inside.split("."):
            around, place = place, _inner(path, place, key, inside)
    if not _is_state_dict(place) and not _is_series(place):
        around, place = place, _chosen(path, place)
    beside = around if isinstance(around, Mapping) and not _is_state_dict(around) and not _is_series(around) else {}
    if _is_series(place):
        networks = list(place.values()) if isinstance(place, Mapping) else list(place)
        epochs = _epochs(path, place, beside)
        snapshots = [Snapshot(_arrays(path, one), epoch) for one, epoch in zip(networks, epochs, strict=True)]
    else:
        told = (
            _whole(beside.get("epoch", beside.get("step"))),
            _epoch_in_name(path),
            _length(beside.get("train_losses")),
        )
        epoch = next((epoch for epoch in told if epoch is not None), None)
        snapshots = [Snapshot(_arrays(path, place), epoch)]
    indices = next((as_indices(path, beside[name]) for name in INDICES if name in beside), None)
    config = beside.get("config", beside.get("cfg"))
    plain = {k: v for k, v in config.items() if isinstance(v, int | float | str)} if isinstance(config, Mapping) else {}
    optimizer = next((_of_optimizer(beside[name]) for name in OPTIMIZERS if name in beside), {})
    return Held(path, snapshots, dict(_losses(beside, snapshots)), indices, plain, optimizer)


def _chosen(path: Path, content: Any) -> Any:
    """The state dict of a dictionary that holds one; a series of several comes first, since it has more epochs."""
    options = dict(_state_dicts(content, ""))
    if not options:
        is_dictionary = isinstance(content, Mapping)
        what = f"a dictionary of {listed(content) or 'nothing'}" if is_dictionary else f"a {type(content).__name__}"
        raise InputError(f"{path} holds no state dict, a dictionary of tensors by name. It holds {what}.")
    series = [key for key in options if _is_series(options[key])]
    preferred = series or [key for key in options if key in HOLDERS] or list(options)
    if len(preferred) > 1:
        raise InputError(f"{path} holds several state dicts: {listed(options)}. Choose one: --inside {preferred[0]}")
    return options[preferred[0]]


def _epochs(path: Path, series: Any, beside: Mapping[Any, Any]) -> list[int | None]:
    """The epochs of a series: the keys of a dictionary, or a list beside it; None for each if nothing tells them."""
    if isinstance(series, Mapping):
        return [_whole(int(key)) for key in series]
    epochs = next((beside[name] for name in EPOCHS if name in beside), None)
    if epochs is None:
        return [None] * len(series)
    numbers = [_whole(epoch) for epoch in epochs] if _is_many(epochs) else []
    if len(numbers) != len(series) or None in numbers:
        raise InputError(
            f"{path} has {len(series)} state dicts, but not as many whole numbers in its list of their epochs. Convert "
            f"one of them, such as --inside {next((name for name in beside if _is_series(beside[name])), 'KEY')}.0."
        )
    return numbers


def _inner(path: Path, place: Any, key: str, inside: str) -> Any:
    if isinstance(place, Mapping):
        found = [value for name, value in place.items() if str(name) == key]
        if found:
            return found[0]
        there = nearest(key, map(str, place)) if len(place) <= LISTED else f"There are: {listed(place)}."
    elif isinstance(place, list | tuple):
        if re.fullmatch(r"-?\d{1,9}", key) and -len(place) <= int(key) < len(place):
            return place[int(key)]
        there = f"There are: 0 to {len(place) - 1}." if place else "The list is empty."
    else:
        there = f"There is only a {type(place).__name__}."
    raise InputError(f"{path} has no '{inside}'. {there}")


def _is_state_dict(value: Any) -> bool:
    import torch

    is_named = isinstance(value, Mapping) and bool(value) and all(isinstance(name, str) for name in value)
    return is_named and all(isinstance(one, torch.Tensor) for one in value.values())


def _is_series(value: Any) -> bool:
    """Whether a value is a list of state dicts, or a dictionary of them by epoch."""
    if isinstance(value, Mapping):
        if not all(re.fullmatch(r"\d{1,12}", str(key)) for key in value):
            return False
        value = list(value.values())
    return isinstance(value, list | tuple) and bool(value) and all(_is_state_dict(one) for one in value)


def _state_dicts(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    for key, inner in value.items() if isinstance(value, Mapping) else ():
        if OTHER.match(str(key)):
            continue
        place = f"{name}.{key}" if name else str(key)
        if _is_state_dict(inner) or _is_series(inner):
            yield place, inner
        elif isinstance(inner, Mapping) and name.count(".") < DEEPEST:
            yield from _state_dicts(inner, place)


def _arrays(path: Path, tensors: Mapping[str, Any]) -> dict[str, np.ndarray]:
    if (n := sum(tensor.numel() for tensor in tensors.values() if not tensor.is_nested)) > MAX_PARAMETERS:
        raise InputError(f"{path}: its tensors have {n:,} numbers, more than {MAX_PARAMETERS:,}.")
    return {name: as_array(path, name, tensor) for name, tensor in tensors.items()}


def as_indices(path: Path, content: Any) -> np.ndarray:
    """An array of a tensor or list; of a pair of tensors (operands, results), the operands.

    Raises
    ------
    InputError
        The content is no array.
    """
    import torch

    pair = content if isinstance(content, tuple) and len(content) == 2 else ()
    if pair and all(isinstance(part, torch.Tensor) for part in pair):
        content = pair[0]
    if isinstance(content, torch.Tensor):
        return as_array(path, "train_indices", content)
    try:
        return np.asarray(content)
    except (ValueError, TypeError, OverflowError) as error:
        raise InputError(f"{path} holds no list of indices ({brief(error)}).") from None


def _losses(beside: Mapping[Any, Any], snapshots: list[Snapshot]) -> Iterator[tuple[str, float]]:
    """The losses and accuracies of the last network, which lie beside its state dict as numbers or as lists.

    If there are several networks, a list with one entry per epoch gives the entry of the last network's epoch.
    """
    plural = {name: beside.get(name.replace("loss", "losses").replace("accuracy", "accuracies")) for name in LOSSES}
    n_epochs = max(_length(values) or 0 for values in plural.values())
    for name, values in plural.items():
        value = beside.get(name)
        if value is None and values is not None and _length(values):
            epoch = snapshots[-1].epoch if len(snapshots) > 1 and len(values) == n_epochs else None
            value = values[epoch] if epoch is not None and epoch < n_epochs else values[-1]
        if (number := _number(value)) is not None:
            yield name, number


def _of_optimizer(state: Any) -> dict[str, Any]:
    """Kind, learning rate and weight decay of an optimizer's first parameter group, as far as they are there."""
    groups = state.get("param_groups") if isinstance(state, Mapping) else None
    first = groups[0] if isinstance(groups, list) and groups and isinstance(groups[0], Mapping) else {}
    numbers = {
        "lr": _number(first.get("initial_lr", first.get("lr"))),
        "weight_decay": _number(first.get("weight_decay")),
    }
    plain: dict[str, Any] = {name: value for name, value in numbers.items() if value is not None}
    if plain and "momentum" in first and "alpha" not in first:
        plain["kind"] = "sgd"
    return plain


def _number(value: Any) -> float | None:
    """A number, or a tensor of one number, as a float; None for anything else."""
    if hasattr(value, "item") and getattr(value, "numel", lambda: 0)() == 1 and not value.is_meta:
        value = value.item()
    try:
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
    except OverflowError:
        return None


def _whole(value: Any) -> int | None:
    """A whole number from 0 to LAST_EPOCH; None for anything else."""
    number = _number(value)
    return int(number) if number is not None and 0 <= number <= LAST_EPOCH and number == int(number) else None


def _is_many(value: Any) -> bool:
    return isinstance(value, list | tuple) or getattr(value, "ndim", 0) == 1


def _length(values: Any) -> int | None:
    return len(values) if _is_many(values) and len(values) else None


def listed(names: Any) -> str:
    """The first names, in one line.

    Examples
    --------
    >>> listed(range(20))
    '0, 1, 2, 3, 4, 5, 6, 7, …'
    """
    texts = [str(name) for name, _ in zip(names, range(LISTED + 1), strict=False)]
    return ", ".join(texts[:LISTED]) + (", …" if len(texts) > LISTED else "")


def _epoch_in_name(path: Path) -> int | None:
    match = NAMED_EPOCH.search(path.stem)
    return _whole(int(match[1] or match[2])) if match else None
