"""Tensors by name in `.npz` and `.safetensors` files, and a tensor of torch as an array, checked before they are read.

A file may be damaged or hostile. A header that claims more than the file holds is refused, and no object is unpickled.
"""

from __future__ import annotations

import json
import math
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from circuits.checkpoints.export import METADATA
from circuits.convert.weights import MOST_BYTES
from circuits.errors import InputError
from circuits.printable import printable

Arrays = dict[str, np.ndarray]
HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def is_npz(path: Path) -> bool:
    """Whether a file is an archive of NumPy arrays."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, NotImplementedError, OSError, ValueError):
        return False
    return bool(names) and all(name.endswith(".npy") for name in names)


def read_npz(path: Path) -> tuple[Arrays, dict[str, Any]]:
    """The arrays of an `.npz` file by name, and the facts that `circuits export` stored with them.

    Raises
    ------
    InputError
        The archive is damaged or too large, an array holds objects or less than it declares, or the facts are not JSON.
    """
    try:
        arrays = dict(_npz_arrays(path))
    except InputError:
        raise
    except Exception as error:  # any error that a damaged archive causes
        raise InputError(f"{path} is not an archive of plain arrays ({brief(error)}).") from None
    stored = arrays.pop(METADATA, None)
    try:
        facts = {} if stored is None else json.loads(str(stored))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: the array '{METADATA}' is not JSON ({brief(error)}).") from None
    return arrays, facts if isinstance(facts, dict) else {}


def _npz_arrays(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        if (unpacked := sum(entry.file_size for entry in entries)) > MOST_BYTES:
            raise InputError(f"{path} unpacks to {unpacked:,} bytes, more than {MOST_BYTES:,}.")
        for entry in entries:
            with archive.open(entry) as file:
                shape, _, dtype = HEADERS[np.lib.format.read_magic(file)](file)
            if dtype.hasobject:
                raise InputError(f"{path}: '{entry.filename}' holds Python objects. Save plain arrays.")
            if math.prod(shape) * dtype.itemsize > entry.file_size:
                raise InputError(f"{path}: '{entry.filename}' declares the shape {shape}, but holds less.")
            with archive.open(entry) as file:
                yield entry.filename.removesuffix(".npy"), np.lib.format.read_array(file, allow_pickle=False)


def read_safetensors(path: Path) -> tuple[Arrays, dict[str, Any]]:
    """The arrays of a `.safetensors` file by name, and its metadata; values that are JSON are parsed.

    Raises
    ------
    InputError
        The file is damaged or too large.
    """
    from safetensors import SafetensorError, safe_open

    if path.stat().st_size > MOST_BYTES:
        raise InputError(f"{path} has {path.stat().st_size:,} bytes, more than {MOST_BYTES:,}.")
    try:
        with safe_open(path, "pt") as file:
            arrays = {name: as_array(path, name, file.get_tensor(name)) for name in file.keys()}  # noqa: SIM118
            texts = file.metadata() or {}
    except InputError:
        raise
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(f"{path} is not a safetensors file ({brief(error)}).") from None
    return arrays, {name: _parsed(text) for name, text in texts.items()}


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def as_array(path: Path, name: str, tensor: Any) -> np.ndarray:
    """A tensor as an array: floats in single or double precision, others unchanged.

    Raises
    ------
    InputError
        The tensor has no dense values (sparse, quantized, nested, meta), or declares more numbers than it stores.
    """
    import torch

    if tensor.is_nested or tensor.is_meta or tensor.is_quantized or tensor.layout != torch.strided:
        raise InputError(f"{path}: '{name}' has no dense values. Save it from the CPU or a GPU, after .to_dense().")
    stored = tensor.untyped_storage().nbytes() // max(1, tensor.element_size())
    if tensor.numel() > stored:
        raise InputError(f"{path}: '{name}' declares {tensor.numel():,} numbers but stores {stored:,}.")
    values = tensor.detach()
    try:
        if values.is_floating_point():
            values = values.to(torch.float64 if values.dtype == torch.float64 else torch.float32)
        return np.array(values.resolve_neg().resolve_conj().numpy())
    except (RuntimeError, TypeError) as error:
        raise InputError(f"{path}: '{name}' is {tensor.dtype}, which cannot be read ({brief(error)}).") from None


def brief(error: BaseException) -> str:
    r"""The text of an error in one short line.

    Examples
    --------
    >>> brief(ValueError("bad\n  magic"))
    'bad magic'
    """
    return printable(" ".join(str(error).split()) or type(error).__name__)[:200]
