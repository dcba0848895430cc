"""Export of one network's named parameters to a file that other programs read without this package or pickles.

    npz           numpy.load(path, allow_pickle=False)            `__metadata__`: JSON in a text scalar
    safetensors   safetensors.torch.load_file(path)               metadata in its header, every value as text
    torch         torch.load(path, weights_only=True)             the state dict alone, as load_state_dict takes it

The metadata are run, config, seed, checkpoint, step and epoch. A `.pt` file has none, since it is only a state dict.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from circuits.atomic_write import written_whole
from circuits.checkpoints.recover import SIGNATURE
from circuits.checkpoints.run import Run, open_run
from circuits.errors import InputError, nearest

Arrays = dict[str, np.ndarray]
METADATA = "__metadata__"


def export(
    run: Run | str | Path,
    path: str | Path | None = None,
    *,
    format: str | None = None,
    seed: int | None = None,
    checkpoint: int | str | None = None,
    step: int | None = None,
    overwrite: bool = False,
) -> Path:
    """Write one network's parameters to a file, which appears only when it is complete.

    Parameters
    ----------
    run
        The run, or its file; neither is changed.
    path
        The file to write; by default beside the run, for example RUN-seed4-step2.npz, with the suffix of the format.
    format
        "npz", "safetensors" or "torch"; by default the format that the suffix of `path` names (.pt: torch), else npz.
    seed
        Seed of the network; by default the first seed.
    checkpoint, step
        Index or name of the checkpoint, as in `Run.state`, or instead its optimizer step; by default the last one.
    overwrite
        Replace an existing file.

    Returns
    -------
    Path of the written file.

    Raises
    ------
    InputError
        There is no such format, seed, checkpoint or step, or the file exists.

    Examples
    --------
    >>> import circuits, tempfile
    >>> config = circuits.preset("merrill-2023").replace(model__width=8, task__n_train=32, epochs=2, seeds=[4])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     run = circuits.train(config, f"{folder}/tiny.h5", progress=False)
    ...     path = circuits.export(run, seed=4, checkpoint=-1)
    ...     print(path.name, sorted(np.load(path, allow_pickle=False)))
    tiny-seed4-step2.npz ['W', '__metadata__', 'b', 'u']
    """
    if not isinstance(run, Run):
        with open_run(run) as opened:
            return export(opened, path, format=format, seed=seed, checkpoint=checkpoint, step=step, overwrite=overwrite)
    chosen = FORMATS[_format(format, path)]
    index = run.checkpoint_index(checkpoint, step=step, seed=seed)
    seed = run.seeds[run.seed_index(seed)]
    place = {"seed": seed, "checkpoint": index, "step": int(run.steps[index]), "epoch": float(run.epochs[index])}
    metadata = {"run": run.path.name, "config": run.config.model_dump(mode="json"), **place}
    beside = run.path.with_name(f"{run.path.stem}-seed{seed}-step{metadata['step']}{chosen.suffix}")
    path = beside if path is None else Path(path)
    if path.exists() and path.samefile(run.path):
        raise InputError(f"{path} is the run itself. Pass another path.")
    _write(path, chosen.encode(run.arrays(seed, index), metadata), overwrite)
    return path


def _format(name: str | None, path: str | Path | None) -> str:
    if name is not None:
        if name not in FORMATS:
            raise InputError(f"There is no format '{name}'. {nearest(name, FORMATS)}")
        return name
    suffix = "" if path is None else Path(path).suffix
    return {".pt": "torch", ".pth": "torch", ".safetensors": "safetensors"}.get(suffix, "npz")


def _write(path: Path, content: bytes, overwrite: bool) -> None:
    """Write a file, never only a part of it; replace an existing file only with `overwrite`, and never an HDF5 file."""
    if not path.parent.is_dir():
        raise InputError(f"{path.parent} is not a folder, so {path.name} cannot be written there.")
    if overwrite and path.is_file():
        with path.open("rb") as file:
            if file.read(len(SIGNATURE)) == SIGNATURE:
                raise InputError(f"{path} is an HDF5 file, such as a run, so it is not overwritten. Pass another path.")
    try:
        with written_whole(path, replace=overwrite) as temporary:
            temporary.write_bytes(content)
    except FileExistsError:
        raise InputError(f"{path} exists. Pass overwrite=True to replace it, or another path.") from None


def _npz(parameters: Arrays, metadata: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **parameters, **{METADATA: np.array(json.dumps(metadata))})
    return buffer.getvalue()


def _safetensors(parameters: Arrays, metadata: dict[str, Any]) -> bytes:
    from safetensors.numpy import save

    texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in metadata.items()}
    return save(parameters, metadata=texts)


def _torch(parameters: Arrays, metadata: dict[str, Any]) -> bytes:
    import torch

    buffer = io.BytesIO()
    torch.save({name: torch.from_numpy(values) for name, values in parameters.items()}, buffer)
    return buffer.getvalue()


class Format(NamedTuple):
    """A file format: its suffix, and the function that turns parameters and metadata into the file's bytes."""

    suffix: str
    encode: Callable[[Arrays, dict[str, Any]], bytes]


FORMATS = {
    "npz": Format(".npz", _npz),
    "safetensors": Format(".safetensors", _safetensors),
    "torch": Format(".pt", _torch),
}
