"""The split of published weights into training and test set: never a guess.

It comes from the file, from a list of the training examples, or from the draw of the code that trained the network. For
weights that this package exported it is that of their run. Without any of these there is no training set, and the test
set has all examples, so that no metric is one of another split.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from circuits.config import Config
from circuits.convert.containers import INDICES, Held, as_indices, listed
from circuits.convert.tensor_files import brief, read_npz
from circuits.convert.weights import loaded_by_torch
from circuits.errors import InputError
from circuits.seen import SEEN

NANDA_FRACTION = 0.3  # the training set of Nanda et al. 2023, section 3
Data = dict[str, np.ndarray]


def with_split(
    config: Config,
    first: Held,
    train_indices: str | Path | None,
    fields: Mapping[str, Any],
    remarks: list[str],
    seed: int | None,
) -> tuple[Config, Data | None]:
    """The config whose task has the network's split, and the data if they are not the task's own draw.

    `fields` are those that the caller set; `seed` is that of the network, if it is known. What there is to say is
    appended to `remarks`.

    Raises
    ------
    InputError
        The indices are wrong, or the task has no numbered examples.
    """
    task: Any = config.task
    indices = first.train_indices if train_indices is None else read_indices(train_indices)
    if indices is not None and "task.draw" in fields:
        where = "--train-indices" if train_indices is not None else f"{first.path} has train indices"
        raise InputError(f"{where} and --task.draw both give a split. Leave out one of them.")
    if task.kind == "modular" and indices is not None:
        pairs = task.all_tuples()
        try:
            chosen = _numbers(indices, pairs, task.p)
        except InputError as error:
            raise InputError(f"{train_indices or first.path}: {error}") from None
        is_train = np.zeros(len(pairs), bool)
        is_train[chosen] = True
        config = config.replace(task__draw="given", task__train_fraction=len(chosen) / len(pairs))
        return config, _data(config, pairs[chosen], pairs[~is_train])
    if train_indices is not None:
        raise InputError(f"--train-indices are numbers of operand tuples, which the task '{task.kind}' lacks.")
    if indices is not None:
        remarks.append(f"the file's indices of training examples are not used by the task '{task.kind}'")
    if task.kind not in ("modular", "parity"):
        return config, None
    if "task.draw" in fields:
        if seed is None and task.draw not in ("given", "unknown"):
            raise InputError(f"--task.draw {task.draw} needs the seed of the draw. Pass --seed.")
        return _with_fraction(config, first, fields), None
    is_exported = first.config is not None and first.config.get("task") == task.model_dump(mode="json")
    is_exported = is_exported and seed == first.seed
    if is_exported and task.draw not in ("given", "unknown"):
        return config, None
    draw = {"modular": "--task.draw nanda-code --seed S", "parity": "--task.draw merrill-code --seed S"}[task.kind]
    ways = f"--train-indices FILE or {draw}" if task.kind == "modular" else draw
    remarks.append(f"the file has no split, so metrics on training and test set are left out. {ways} gives one")
    return config.replace(task__draw="unknown"), None


def _with_fraction(config: Config, first: Held, fields: Mapping[str, Any]) -> Config:
    """The config with the training share of the file's config or of the draw's code, if the caller gives none."""
    task: Any = config.task
    if task.kind != "modular" or "task.train_fraction" in fields or task.draw not in ("nanda-code", "torch-randperm"):
        return config
    stated = first.settings.get("frac_train")
    if isinstance(stated, float) and 0 < stated < 1:
        return config.replace(task__train_fraction=stated)
    if task.draw == "torch-randperm":
        raise InputError("--task.draw torch-randperm needs the share of the training set. Pass --task.train-fraction.")
    return config.replace(task__train_fraction=NANDA_FRACTION)


def _numbers(indices: np.ndarray, tuples: np.ndarray, p: int) -> np.ndarray:
    """Rows in `tuples` of the training examples, from numbers x·p + y, from a mask, or from the operands of each.

    Division has no examples with y = 0, so its tuples lack some numbers.
    """
    n_operands = tuples.shape[1]
    numbers = tuples.astype(np.int64) @ p ** np.arange(n_operands)[::-1]
    if len(tuples) < p**n_operands and not (indices.ndim == 2 and indices.shape[1] == n_operands):
        row = np.full(p**n_operands, -1)
        row[numbers] = np.arange(len(tuples))
        flat = indices.reshape(-1)
        if flat.dtype.kind in "biu" and len(flat) == len(row) and ((flat == 0) | (flat == 1)).all():
            flat = np.flatnonzero(flat)
        if flat.dtype.kind not in "iu" or not ((flat >= 0) & (flat < len(row))).all() or (row[flat] < 0).any():
            raise InputError(
                f"training examples must be numbers x·{p} + y of pairs with y from 1 to {p - 1}, or a mask of all "
                f"pairs."
            )
        indices = row[flat]
    n = len(tuples)
    if indices.ndim == 2 and indices.shape[1] == tuples.shape[1] and indices.dtype.kind in "iu" and p > 2:
        rows = {tuple(row): number for number, row in enumerate(tuples.tolist())}
        unknown = [row for row in indices.tolist() if tuple(row) not in rows]
        if unknown:
            raise InputError(f"the operands {unknown[0]} are no example. They are from 0 to {p - 1}.")
        indices = np.array([rows[tuple(row)] for row in indices.tolist()])
    flat = indices.reshape(-1)
    if flat.dtype.kind in "biu" and len(flat) == n > 2 and ((flat == 0) | (flat == 1)).all():
        flat = np.flatnonzero(flat)
    is_whole = flat.dtype.kind in "iu"
    if not is_whole or len(np.unique(flat)) < len(flat) or not ((flat >= 0) & (flat < n)).all():
        raise InputError(f"training examples must be different whole numbers from 0 to {n - 1}, or a mask of {n}.")
    if not 0 < len(flat) < n:
        missing = "test" if len(flat) else "training"
        raise InputError(f"{len(flat)} of {n} examples are for training, which leaves no {missing} set.")
    return flat.astype(np.int64)


def _data(config: Config, train: np.ndarray, test: np.ndarray) -> Data:
    task: Any = config.task
    return {
        "train_inputs": task.encode(train)[None], "train_targets": task.results(train)[None],
        "test_inputs": task.encode(test)[None], "test_targets": task.results(test)[None],
        "test_commuted": task.commuted(test, train)[None], SEEN: np.zeros((1, len(test)), bool),
    }  # fmt: skip


def read_indices(path: str | Path) -> np.ndarray:
    """Numbers, mask or operands of training examples: the array of a `.npy`, `.npz`, `.pt`, `.pth` or text file.

    Raises
    ------
    InputError
        The file cannot be read, or holds several arrays and none is named `train_indices` or `train_mask`.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"--train-indices {path} is not a file. Pass a .npy, .npz, .pt or text file.")
    if path.suffix in (".pt", ".pth"):
        content = loaded_by_torch(path)
        if isinstance(content, Mapping):
            names = [name for name in INDICES if name in content]
            if not names:
                raise InputError(f"{path} has no train_indices. It has: {listed(content)}.")
            content = content[names[0]]
        return as_indices(path, content)
    if path.suffix == ".npz":
        arrays, _ = read_npz(path)
        names = [name for name in INDICES if name in arrays] or list(arrays)
        if len(names) != 1:
            raise InputError(f"{path} has the arrays {listed(names)}. Name one of them train_indices.")
        return arrays[names[0]]
    try:
        if path.suffix == ".npy":
            return np.array(np.load(path, allow_pickle=False, mmap_mode="r"))  # claims no more than the file holds
        return np.array(path.read_text(encoding="utf-8").split(), np.int64)
    except Exception as error:  # any error that a damaged file causes
        raise InputError(f"{path} holds no list of whole numbers ({brief(error)}).") from None
