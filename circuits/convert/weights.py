"""A state dict on disk as the parameters of a model: read without unpickling objects, every name and shape checked.

A `.pt` file is a pickle, and a pickle can run code. `torch.load(..., weights_only=True)` builds only tensors and plain
containers; a file that asks for more is refused.
"""

import re
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from circuits.atomic_write import lfs_pointer
from circuits.config import MAX_PARAMETERS
from circuits.errors import InputError
from circuits.interfaces import Model, Signature

Arrays = dict[str, np.ndarray]

ONE_NUMBER = Signature(n_inputs=1)
USUAL_KEYS = {"relu": {"W": "linear1.weight", "b": "linear1.bias", "u": "linear2.weight"}}
"""Keys in the code of Merrill et al. 2023 and of Fuangkawinsombut 2024, by kind of model and parameter."""
MOST_BYTES = MAX_PARAMETERS * 8 + (1 << 20)  # of a file: the largest network in double precision, and its keys
OTHER_OPERANDS = {*range(0x8C, 0x98), *b"ILdgp"}  # of pickle protocols 0, 1, 4 and 5, which torch does not read safely


def read_weights(
    path: Path, model: Model, keys: Mapping[str, str] | None = None, signature: Signature = ONE_NUMBER
) -> Arrays:
    """A network's parameters from a state dict, under the names that `model` gives them.

    Parameters
    ----------
    path
        A file that `torch.save(network.state_dict(), path)` wrote.
    model
        The model; only its parameters' names and dimensions count here, not its width.
    keys
        The file's key of each parameter; by default the model's own name or, if missing, the key in `USUAL_KEYS`.
    signature
        The network's inputs and outputs; only each parameter's number of dimensions is checked, not the lengths.

    Returns
    -------
    Arrays of float64 for float64 tensors, of float32 for all others; half precision converts exactly. A leading axis of
    length 1, as in `nn.Linear(width, 1)`, is dropped.

    Raises
    ------
    InputError
        The file cannot be read, or a key is missing, unknown, or not a floating-point tensor of these dimensions.
    """
    tensors = _tensors(path)
    keys = _chosen_keys(model, keys, tensors, signature)
    missing = [key for key in keys.values() if key not in tensors]
    if missing:
        raise InputError(f"{path} has no key '{missing[0]}'. It has: {', '.join(tensors) or 'none'}.")
    surplus = [key for key in tensors if key not in keys.values()]
    if surplus:
        raise InputError(
            f"{path} has the key '{surplus[0]}', which the {model.kind} model lacks. Without this parameter the "
            f"network would compute something else. Choose a kind of model with this parameter."
        )
    dims = model.shapes(signature)
    return {name: _array(path, key, tensors[key], dims[name][0]) for name, key in keys.items()}


def sizes(parameters: Mapping[str, np.ndarray], model: Model, signature: Signature = ONE_NUMBER) -> dict[str, int]:
    """Length of each dimension, such as neuron and input, of a network's parameters.

    Examples
    --------
    >>> from circuits.models.relu import Relu
    >>> sizes({"W": np.zeros((5, 3)), "b": np.zeros(5), "u": np.zeros(5)}, Relu())
    {'neuron': 5, 'input': 3}
    """
    lengths: dict[str, int] = {}
    for name, (dims, _) in model.shapes(signature).items():
        for dim, length in zip(dims, parameters[name].shape, strict=True):
            lengths.setdefault(dim, length)
    return lengths


def read_alike(
    paths: Sequence[Path],
    model: Model,
    lengths: Mapping[str, int],
    why: str,
    keys: Mapping[str, str] | None = None,
    signature: Signature = ONE_NUMBER,
) -> list[Arrays]:
    """Parameters in each file; an `InputError` ending in `why` if a dimension's length differs from `lengths`."""
    networks = [read_weights(path, model, keys, signature) for path in paths]
    for path, parameters in zip(paths, networks, strict=True):
        for name, (dims, _) in model.shapes(signature).items():
            expected = tuple(lengths[dim] for dim in dims)
            if parameters[name].shape != expected:
                raise InputError(f"{path}: {name} has shape {parameters[name].shape}, not {expected}. {why}.")
    return networks


def _chosen_keys(
    model: Model, keys: Mapping[str, str] | None, tensors: Mapping[str, object], signature: Signature
) -> dict[str, str]:
    names = list(model.shapes(signature))
    for name in keys or {}:
        if name not in names:
            raise InputError(f"The {model.kind} model has no parameter '{name}'. It has: {', '.join(names)}.")
    usual = USUAL_KEYS.get(model.kind, {})
    own = {name: name if name in tensors else usual.get(name, name) for name in names}
    return own | dict(keys or {})


def _tensors(path: Path) -> dict[str, torch.Tensor]:
    loaded = loaded_by_torch(path)
    if not isinstance(loaded, dict):
        raise InputError(f"{path} holds a {type(loaded).__name__}, not a dict of tensors as state_dict() gives.")
    return {str(key): value for key, value in loaded.items()}


def loaded_by_torch(path: Path) -> Any:
    """What a file of `torch.save` holds: tensors on the CPU and plain containers; anything else is refused."""
    refuse_large(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an unreadable file raises an error
            return torch.load(path, weights_only=True, map_location="cpu", mmap=is_archive(path))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}.") from None
    except Exception as error:  # any error that a damaged or hostile pickle causes
        if pointer := lfs_pointer(path):
            raise InputError(f"{path} is {pointer}.") from None
        raise InputError(f"{path} {_why_not(str(error), is_archive(path))}") from None


def is_archive(path: Path) -> bool:
    """Whether a file ends as a ZIP archive does; it may still be damaged."""
    try:
        return zipfile.is_zipfile(path)
    except zipfile.BadZipFile:  # an archive on several disks
        return True


def refuse_large(path: Path) -> None:
    """Before a file is loaded, refuse it if it is too large or unpacks to more than its own size.

    `torch.save` does not compress, so its archives never unpack to more than their size.
    """
    try:
        if (held := path.stat().st_size) > MOST_BYTES:
            raise InputError(
                f"{path} has {held:,} bytes. A state dict may have at most {MOST_BYTES:,}: a network of "
                f"{MAX_PARAMETERS:,} numbers in double precision."
            )
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        if isinstance(error, InputError):
            raise
        # loading reports a damaged archive; torch before 1.6 wrote none
        return
    if unpacked > held:
        raise InputError(
            f"{path} is an archive of {held:,} bytes that unpacks to {unpacked:,}. Save the state dict with "
            f"torch.save, which does not compress."
        )


def _why_not(message: str, is_archive: bool) -> str:
    wanted = re.search(r"GLOBAL ([\w.]+)", message)
    if wanted:
        return (
            f"holds more than tensors: it asks for {wanted[1]}, and loading that could run code. Save "
            f"network.state_dict() instead."
        )
    operand = re.search(r"Unsupported operand (\d+)", message)
    if operand and int(operand[1]) in (OTHER_OPERANDS if is_archive else OTHER_OPERANDS - set(range(128))):
        return "was pickled with another protocol than torch.save's own. Save it again without pickle_protocol."
    return (
        "cannot be read as a state dict: it is damaged, was not written by torch.save, or was pickled with another "
        "protocol than torch.save's own. Save it again: torch.save(network.state_dict(), PATH)."
    )


def _array(path: Path, key: str, tensor: object, dims: tuple[str, ...]) -> np.ndarray:
    if not isinstance(tensor, torch.Tensor) or not tensor.is_floating_point():
        what = str(tensor.dtype) if isinstance(tensor, torch.Tensor) else type(tensor).__name__
        raise InputError(f"{path}: '{key}' is {what}, not a tensor of floating-point numbers.")
    if tensor.is_meta:
        raise InputError(f"{path}: '{key}' is a meta tensor, which has no values. Save it from the CPU or a GPU.")
    if tensor.layout != torch.strided:
        raise InputError(f"{path}: '{key}' is {tensor.layout}, not dense. Convert it by to_dense(), then save it.")
    held = tensor.untyped_storage().nbytes() // tensor.element_size()
    if tensor.numel() > held:
        raise InputError(
            f"{path}: '{key}' declares {tensor.numel():,} numbers but stores {held:,}. Save it after .contiguous()."
        )
    if tensor.numel() > MAX_PARAMETERS:
        raise InputError(f"{path}: '{key}' has {tensor.numel():,} numbers, more than {MAX_PARAMETERS:,}.")
    values = tensor.detach()
    if values.ndim == len(dims) + 1 and values.shape[0] == 1:
        values = values[0]
    if values.ndim != len(dims):
        raise InputError(f"{path}: '{key}' has shape {tuple(tensor.shape)}, expected ({', '.join(dims)}).")
    precision = torch.float64 if values.dtype == torch.float64 else torch.float32
    return np.array(values.to(precision).resolve_neg().numpy())  # a lazily negated tensor stores its sign apart
