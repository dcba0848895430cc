"""A task whose inputs and targets are given: in an NPZ or HDF5 file, or as arrays in Python.

The arrays are `train_inputs`, `train_targets`, `test_inputs`, `test_targets`. Or they are `inputs` and `targets`, with
`train_indices` or a mask `train_mask` that select the training set, or with a `train_fraction` that each seed draws.
Targets are signs (±1), classes (0, 1, …) or numbers (regression). Inputs are numbers, tokens (0, 1, …), or tokens that
the task turns into one-hot vectors.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, PrivateAttr, model_validator

from circuits.config_base import NonNegativeInt, PositiveInt
from circuits.errors import InputError
from circuits.interfaces import Signature, Task
from circuits.randomness import generator

SPLIT = ("train_inputs", "train_targets", "test_inputs", "test_targets")
TOGETHER = ("inputs", "targets")
CHOICES = ("train_indices", "train_mask")
Arrays_ = dict[str, np.ndarray]


class Arrays(Task):
    """Given inputs and targets; the sizes follow from the arrays."""

    kind: Literal["arrays"] = "arrays"
    file: str | None = None
    """NPZ or HDF5 file with train_inputs, train_targets, test_inputs and test_targets; or with inputs and targets, and
    train_indices or train_mask. Without a split in the file, each seed draws its own: see train_fraction."""
    encoding: Literal["numbers", "tokens", "one-hot"] = "numbers"
    """Whether inputs are numbers, tokens (0, 1, …), or tokens that become one-hot vectors."""
    targets: Literal["signs", "classes", "numbers"] | None = None
    """Whether targets are ±1, classes (0, 1, …) or numbers. By default: signs if they are ±1, classes if they are
    integers from 0 on, otherwise numbers; so floating-point targets other than ±1 are numbers."""
    train_fraction: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Share of the examples that each seed draws for training, if the arrays have no split."""
    n_train: NonNegativeInt = 0
    """Training examples; read from the arrays."""
    n_test: NonNegativeInt = 0
    """Test examples; read from the arrays."""
    n_inputs: NonNegativeInt = 0
    """Numbers or tokens per input; read from the arrays."""
    n_outputs: PositiveInt | None = None
    """Number of classes, or of numbers per target; None for one output. Read from the arrays: the largest class + 1."""
    d_vocab: PositiveInt | None = None
    """Number of different tokens; read from the arrays: the largest token + 1."""
    input_shape: tuple[PositiveInt, ...] | None = None
    """Shape of one input, if it has several axes, such as an image; the file stores it as one row of n_inputs."""
    _arrays: Arrays_ | None = PrivateAttr(None)

    @model_validator(mode="before")
    @classmethod
    def _read_sizes(cls, data: Any) -> Any:
        if isinstance(data, Mapping) and data.get("file") and not data.get("n_inputs"):
            return dict(data) | _sizes(read_arrays(data["file"]), data, str(data["file"]))
        return data

    @classmethod
    def of(cls, arrays: Mapping[str, Any], **fields: Any) -> Arrays:
        """The task of arrays in memory, by the names that a file has; `fields` are fields of the task.

        Raises
        ------
        InputError
            An array is missing, or arrays do not fit together.

        Examples
        --------
        >>> inputs = np.array([[0, 1], [1, 1], [1, 0]])
        >>> task = Arrays.of({"inputs": inputs, "targets": [1, 0, 1], "train_indices": [0, 1]}, encoding="tokens")
        >>> task.n_train, task.n_test, task.targets, task.signature
        (2, 1, 'classes', Signature(n_inputs=2, n_classes=2, d_vocab=2))
        """
        values = {name: np.array(value) for name, value in arrays.items()}  # later changes by the caller do not count
        task = cls.model_validate({**fields, **_sizes(values, fields, "the arrays")})
        task._arrays = values
        return task

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Arrays) and self.model_dump() == other.model_dump()

    def __hash__(self) -> int:
        return hash(self.model_dump_json())

    @property
    def test_is_shared(self) -> bool:
        """Whether all seeds have one split, that of the arrays."""
        return self.train_fraction is None

    @property
    def train_size(self) -> int:
        """Number of training examples."""
        return self.n_train

    @property
    def test_size(self) -> int:
        """Number of test examples."""
        return self.n_test

    @property
    def signature(self) -> Signature:
        """Inputs and outputs of a network for these arrays."""
        if self.encoding == "one-hot":
            return Signature(self.n_inputs * (self.d_vocab or 1), self.n_outputs)
        return Signature(self.n_inputs, self.n_outputs, self.d_vocab if self.encoding == "tokens" else None)

    @property
    def has_numbers(self) -> bool:
        """Whether targets are numbers, so that no output is right or wrong."""
        return self.targets == "numbers"

    @property
    def has_data(self) -> bool:
        """Whether the arrays are at hand, in memory or in a file that exists."""
        return self._arrays is not None or (self.file is not None and Path(self.file).exists())

    def train_data(self, seed: int) -> dict[str, np.ndarray]:
        """The training set: `inputs` (example, input), `targets` (example,) or (example, output)."""
        return self._part("train", seed)

    def test_data(self, seed: int) -> dict[str, np.ndarray]:
        """The test set, as in `train_data`."""
        return self._part("test", seed)

    def _part(self, part: str, seed: int) -> dict[str, np.ndarray]:
        arrays = self._given()
        if SPLIT[0] in arrays:
            inputs, targets = arrays[f"{part}_inputs"], arrays[f"{part}_targets"]
        else:
            is_train = self._is_train(arrays, seed)
            chosen = is_train if part == "train" else ~is_train
            inputs, targets = arrays["inputs"][chosen], arrays["targets"][chosen]
        return {"inputs": self._encoded(inputs.reshape(len(inputs), self.n_inputs)), "targets": _compact(targets)}

    def _given(self) -> Arrays_:
        if self._arrays is None and self.file is None:
            raise InputError(
                "The task 'arrays' has no arrays. Pass a file (task.file='data.npz'), or in Python the task "
                "circuits.arrays({'train_inputs': …, …})."
            )
        arrays = self._arrays if self._arrays is not None else read_arrays(str(self.file))
        sizes = _sizes(arrays, self.model_dump(exclude={"n_train", "n_test", "n_inputs"}), str(self.file))
        for name in ("n_train", "n_test", "n_inputs"):
            if sizes[name] != getattr(self, name):
                raise InputError(
                    f"{self.file} has {name} = {sizes[name]}, but the config says {getattr(self, name)}: the file has "
                    f"changed since the config was made. Leave out n_inputs to read all sizes again."
                )
        return arrays

    def _is_train(self, arrays: Arrays_, seed: int) -> np.ndarray:
        n = len(arrays["inputs"])
        if "train_mask" in arrays:
            return arrays["train_mask"].astype(bool)
        chosen = arrays.get("train_indices")
        if chosen is None:
            chosen = generator("split", seed).permutation(n)[: self.n_train]
        mask = np.zeros(n, bool)
        mask[chosen] = True
        return mask

    def _encoded(self, inputs: np.ndarray) -> np.ndarray:
        if self.encoding == "numbers":
            return _compact(inputs)
        tokens = inputs.astype(np.int16 if (self.d_vocab or 0) <= 2**15 else np.int32)
        if self.encoding == "tokens":
            return tokens
        return (tokens[:, :, None] == np.arange(self.d_vocab or 0)).reshape(len(tokens), -1).astype(np.int8)


def arrays(values: Mapping[str, Any], **fields: Any) -> Arrays:
    """The task of inputs and targets in memory, for `circuits.Config(task=…)`.

    Parameters
    ----------
    values
        Arrays by name: train_inputs, train_targets, test_inputs and test_targets; or inputs and targets, with
        train_indices or train_mask, or with a `train_fraction` that each seed draws.
    fields
        Fields of the task, such as encoding="tokens".

    Raises
    ------
    InputError
        An array is missing, arrays do not fit together, or a field is wrong.
    """
    return Arrays.of(values, **fields)


def read_arrays(path: str | Path) -> Arrays_:
    """Every array of a NPZ or HDF5 file, by name; only numbers are read, never objects.

    Raises
    ------
    InputError
        There is no such file, or it is not NPZ or HDF5, or one of its arrays is not numeric.
    """
    import h5py

    try:
        if h5py.is_hdf5(path):
            with h5py.File(path, "r") as file:
                arrays = {str(name): item[()] for name, item in file.items() if isinstance(item, h5py.Dataset)}
        else:
            with np.load(path, allow_pickle=False) as file:
                if not isinstance(file, np.lib.npyio.NpzFile):
                    raise ValueError("it is a single array")
                arrays = {name: file[name] for name in file.files}
    except FileNotFoundError:
        raise InputError(f"There is no file {path}. Pass a NPZ or HDF5 file with inputs and targets.") from None
    except (OSError, ValueError, EOFError, KeyError) as error:
        raise InputError(f"{path} is not a NPZ or HDF5 file of arrays ({error}).") from None
    for name, values in arrays.items():
        if values.dtype.kind not in "fiub":
            raise InputError(f"{path}: the array '{name}' has dtype {values.dtype}. Arrays must be numbers.")
    return arrays


def _sizes(arrays: Mapping[str, np.ndarray], given: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Fields of the task that follow from arrays, checked; `given` has the fields that the caller chose."""
    split = [name for name in SPLIT if name in arrays]
    names = SPLIT if split else TOGETHER
    if missing := [name for name in names if name not in arrays]:
        raise InputError(
            f"{where}: the array '{missing[0]}' is missing; there are: {', '.join(arrays) or 'none'}. Give "
            f"{', '.join(SPLIT)}; or inputs and targets, and train_indices, train_mask or train_fraction."
        )
    for name, values in arrays.items():
        if values.dtype.kind not in "fiub" or not np.isfinite(values).all():
            wrong = f"is {values.dtype}" if values.dtype.kind not in "fiub" else "has values that are not finite"
            raise InputError(f"{where}: the array '{name}' {wrong}. Arrays must be finite real numbers.")
    pairs = list(zip(names[::2], names[1::2], strict=True))
    for inputs, targets in pairs:
        if len(arrays[inputs]) != len(arrays[targets]) or arrays[inputs].ndim < 2 or arrays[targets].ndim > 2:
            shapes = f"{inputs} {arrays[inputs].shape}, {targets} {arrays[targets].shape}"
            raise InputError(f"{where}: {shapes}. Expected (example, …) and (example,) or (example, output).")
    all_inputs, all_targets = ([arrays[name] for name in half] for half in (names[::2], names[1::2]))
    if len({values.shape[1:] for values in all_inputs}) > 1 or len({values.shape[1:] for values in all_targets}) > 1:
        raise InputError(f"{where}: training and test examples have different shapes.")
    shape = all_inputs[0].shape[1:]
    sizes: dict[str, Any] = {"n_inputs": int(np.prod(shape)), "input_shape": tuple(shape) if len(shape) > 1 else None}
    sizes |= _split_sizes(arrays, given, where, split=bool(split))
    kind = given.get("targets") or _kind_of(all_targets)
    sizes["targets"] = kind
    _check_targets(all_targets, kind, where)
    largest = max((int(values.max()) for values in all_targets if values.size), default=0)
    if kind == "classes":
        sizes["n_outputs"] = max(given.get("n_outputs") or 0, largest + 1)
    else:
        sizes["n_outputs"] = all_targets[0].shape[1] if all_targets[0].ndim == 2 else None
    if given.get("encoding", "numbers") != "numbers":
        if any(values.dtype.kind == "f" or (values.size and values.min() < 0) for values in all_inputs):
            raise InputError(f"{where}: encoding '{given['encoding']}' needs inputs that are whole numbers from 0 on.")
        largest = max((int(values.max()) for values in all_inputs if values.size), default=0)
        sizes["d_vocab"] = max(given.get("d_vocab") or 0, largest + 1)
    return sizes


def _split_sizes(arrays: Mapping[str, np.ndarray], given: Mapping[str, Any], where: str, *, split: bool) -> dict:
    fraction = given.get("train_fraction")
    if split or any(name in arrays for name in CHOICES):
        if fraction is not None:
            raise InputError(f"{where} has a split of its own, so train_fraction = {fraction} has no effect. Omit it.")
    elif fraction is None:
        raise InputError(
            f"{where} has inputs and targets but no split. Add train_indices or train_mask, or pass train_fraction."
        )
    if split:
        return {"n_train": len(arrays["train_inputs"]), "n_test": len(arrays["test_inputs"])}
    n = len(arrays["inputs"])
    if "train_mask" in arrays:
        mask = arrays["train_mask"]
        if mask.shape != (n,) or mask.dtype != bool:
            raise InputError(f"{where}: train_mask has shape {mask.shape} and dtype {mask.dtype}, not ({n},) bool.")
        n_train = int(mask.sum())
    elif "train_indices" in arrays:
        indices = arrays["train_indices"]
        is_list = indices.ndim == 1 and indices.dtype.kind in "iu"
        if not is_list or len(np.unique(indices)) < len(indices) or not ((indices >= 0) & (indices < n)).all():
            raise InputError(f"{where}: train_indices must be different whole numbers from 0 to {n - 1}.")
        n_train = len(indices)
    else:
        n_train = round(float(fraction or 0) * n)
    return {"n_train": n_train, "n_test": n - n_train}


def _kind_of(targets: list[np.ndarray]) -> str:
    values = np.concatenate([np.unique(part) for part in targets])
    if targets[0].ndim == 2 or (values != np.rint(values)).any():
        return "numbers"
    if values.size and np.isin(values, (-1, 1)).all() and (values < 0).any():
        return "signs"
    return "numbers" if values.size and (values.min() < 0 or targets[0].dtype.kind == "f") else "classes"


def _check_targets(targets: list[np.ndarray], kind: str, where: str) -> None:
    for values in targets if kind != "numbers" else ():
        good = np.isin(values, (-1, 1)) if kind == "signs" else (values == np.rint(values)) & (values >= 0)
        if values.ndim != 1 or not good.all():
            wanted = "-1 or 1" if kind == "signs" else "whole numbers from 0 on"
            raise InputError(f"{where}: targets '{kind}' must be {wanted}, one per example.")


def _compact(values: np.ndarray) -> np.ndarray:
    """Values in the smallest integer type that holds them, if they are whole numbers; floats stay what they are."""
    if values.dtype.kind == "f" and not (np.isfinite(values).all() and (values == np.rint(values)).all()):
        return values
    low, high = (int(values.min()), int(values.max())) if values.size else (0, 0)
    kinds = (np.int8,) if values.dtype.kind == "f" else (np.int8, np.int16, np.int32, np.int64)
    fitting = (kind for kind in kinds if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max)
    return values.astype(next(fitting, values.dtype))
