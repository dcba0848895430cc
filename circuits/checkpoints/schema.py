"""The contents that a run needs, given its config: arrays, dimensions, shapes, types, and the planned steps.

`policy.py` has checked before that the file is safe to read. `lazy.py` compares values with their digests on reading.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import h5py
import numpy as np

from circuits.checkpoints.commits import n_committed, planned_checkpoints, planned_states
from circuits.checkpoints.digests import METRICS, digest
from circuits.checkpoints.layout import (
    COMMIT,
    FORMAT_VERSION,
    N_UPDATES,
    UNSEEN_ACCURACY,
    data_dims,
    facts_digest,
    metrics_of,
)
from circuits.config import Config
from circuits.seen import SEEN

MAX_SLACK = 1 << 44  # bytes that recovery may add to the file
REQUIRED_METRICS = ("train_loss", "test_loss", "train_accuracy", "test_accuracy", "train_zero_outputs")  # version 1
REQUIRED_DATA = ("train_inputs", "train_targets", "test_inputs", "test_targets")

PARENT: dict[str, type] = {"path": str, "fingerprint": str, "step": int}  # fields and their types
TICKET: dict[str, type] = {"seed": int, "neurons": list}  # further fields of a run that starts from a parent's neurons
TYPE_NAMES = {str: "a text", int: "a whole number", list: "a list"}


def check_facts(versions: Any, numerics: Any, parent: Any, created: str) -> None:
    """Raise a ValueError unless these attributes of a run file have the right types and are safe to print.

    The message of the error is one line without the file's name.
    """
    for name, value in {"versions": versions, "numerics": numerics, "parent": {} if parent is None else parent}.items():
        if not isinstance(value, dict):
            raise ValueError(f"attribute '{name}' is not an object with fields")
    if parent is not None:
        for field, kind in (PARENT | TICKET if "neurons" in parent else PARENT).items():
            if not isinstance(parent.get(field), kind) or isinstance(parent[field], bool):
                raise ValueError(f"attribute 'parent' needs a field '{field}' that is {TYPE_NAMES[kind]}")
        if not all(isinstance(neuron, int) for neuron in parent.get("neurons", [])):
            raise ValueError("attribute 'parent' has neuron indices that are not whole numbers")
    without_path = {field: value for field, value in (parent or {}).items() if field != "path"}  # it may be any text
    _printable([versions, numerics, without_path, created])


def check_contents(file: h5py.File, config: Config) -> None:
    """Raise a ValueError unless the contents of an open run file match its config.

    The message of the error is one line without the file's name. It gives the expected and the actual contents.
    """
    _printable(config.model_dump(mode="json"))
    _check_version(file)
    planned = planned_checkpoints(config)
    n_checkpoints = n_committed(_array(file, "step", (None,), "i")[:], planned)  # first: a live writer writes it last
    _array(file, "epoch", (None,), "f")
    seeds = _array(file, "seed", (len(config.seeds),), "iu")[()].tolist()
    if seeds != list(config.seeds):
        raise ValueError(f"the file stores the seeds {seeds}, but its config names {list(config.seeds)}")
    _trajectories(file, config, n_checkpoints)
    _data(file, config)
    _states(file, config)
    _digests(file, config, n_checkpoints)
    _slots(file, config)
    slack = file.attrs["recovery_slack"]
    if not isinstance(slack, np.integer) or not 0 <= slack < MAX_SLACK:
        raise ValueError(f"attribute 'recovery_slack' is {slack}, not a number of bytes from 0 to {MAX_SLACK - 1}")


def _check_version(file: h5py.File) -> None:
    """Refuse an unknown format version, and a file of version 1 with digests, since version 1 has none."""
    version = file.attrs.get("format_version")
    if not isinstance(version, np.integer) or not 1 <= version <= FORMAT_VERSION:
        raise ValueError(f"attribute 'format_version' is {version!r}, not a number from 1 to {FORMAT_VERSION}")
    needed = ("recovery_slack", *(("config_digest", "facts_digest", "parent") if version > 1 else ()))
    if missing := [name for name in needed if name not in file.attrs]:
        raise ValueError(f"attribute '{missing[0]}' is missing")
    if version == 1:
        digests = [name for name in ("config_digest", "facts_digest") if name in file.attrs]
        digests += ["/digests"] if "digests" in file else []
        digests += [f"data/{name}" for name, item in _members(file, "data") if "digest" in item.attrs]
        if digests:
            raise ValueError(f"its format version is 1, which has no digests, but the file has a digest: {digests[0]}")


def _trajectories(file: h5py.File, config: Config, n_checkpoints: int) -> None:
    n_seeds = len(config.seeds)
    arrays = {f"{group}/{name}": item for group in ("parameters", "metrics") for name, item in _members(file, group)}
    for name, (dims, shape) in config.shapes.items():
        dataset = _array(arrays, f"parameters/{name}", (None, n_seeds, *shape), "f")
        if dataset.dtype != np.dtype(config.dtype):
            raise ValueError(f"parameters/{name} is {dataset.dtype}, but the run's config says {config.dtype}")
        _named(dataset, ("step", "seed", *dims))
    is_old = int(file.attrs["format_version"]) < 2
    some_seen = SEEN in file.get("data", ()) and f"metrics/{UNSEEN_ACCURACY}" in arrays
    for name in REQUIRED_METRICS if is_old else metrics_of(config, some_seen):
        _array(arrays, f"metrics/{name}", (None, n_seeds), "f")
    for name, item in arrays.items():
        if name.rsplit("/", 1)[1] not in COMMIT and item.ndim >= 2:
            _array(arrays, name, (None, n_seeds, *item.shape[2:]), "fiub")
            if name.removeprefix("parameters/") not in config.shapes:  # the others are checked above
                _named(item, ("step", "seed"))
            if item.shape[0] < n_checkpoints:
                raise ValueError(f"{name} has {item.shape[0]} entries for {n_checkpoints} checkpoints")


def _data(file: h5py.File, config: Config) -> None:
    arrays = {f"data/{name}": item for name, item in _members(file, "data")}
    for name in REQUIRED_DATA:
        _find(arrays, f"data/{name}")
    task = config.task
    lengths = {"seed": len(config.seeds), "example": task.train_size, "input": task.signature.n_inputs}
    lengths["output"] = task.signature.n_classes or 1
    for where, item in arrays.items():
        name = where.removeprefix("data/")
        if name in file:
            continue  # a linked dimension scale
        if not name.startswith(("train_", "test_")):
            raise ValueError(f"data/{name} belongs to neither training nor test set")
        dims = data_dims(name, item.ndim, task.test_is_shared)
        if "test_example" in dims and item.ndim == len(dims):
            lengths.setdefault("test_example", item.shape[dims.index("test_example")])
        _array(arrays, where, tuple(lengths[dim] for dim in dims), "fiub")
        _named(item, dims)
    some_seen = f"data/{SEEN}" in arrays and bool(arrays[f"data/{SEEN}"][()].any())
    if some_seen and UNSEEN_ACCURACY not in file["metrics"]:
        raise ValueError(f"data/{SEEN} marks test inputs as seen in training, but metrics/{UNSEEN_ACCURACY} is missing")
    if UNSEEN_ACCURACY in file["metrics"] and not some_seen:
        raise ValueError(f"metrics/{UNSEEN_ACCURACY} must be absent: data/{SEEN} marks no input as seen in training")


def _states(file: h5py.File, config: Config) -> None:
    planned = planned_states(config)
    keeps = bool(config.optimizer.moments and len(planned)) and not _is_imported(file)
    if not keeps and "state_step" not in file and "optimizer" not in file:
        return
    n_states = n_committed(_array(file, "state_step", (None,), "i")[:], planned, "state_step")
    members = {name: item for name, item in _members(file, "optimizer") if name not in ("state_step", "seed")}
    _check_state(file, config, "optimizer", members, (None,))
    for name, item in members.items():
        if len(item) < n_states:
            raise ValueError(f"optimizer/{name} has {len(item)} entries for {n_states} kept states")


def _slots(file: h5py.File, config: Config) -> None:
    shapes = []
    for slot in ("resume/slot0", "resume/slot1"):
        for field in ("sequence", "n_checkpoints", "crc32"):
            _array(file, f"{slot}/{field}", (), "i")
        members = dict(_members(file, f"{slot}/state")) if "state" in file[slot] else {}
        if members or not _is_imported(file):
            _check_state(file, config, f"{slot}/state", members)
        shapes.append({name: (item.shape, item.dtype) for name, item in members.items()})
    if shapes[0] != shapes[1]:
        raise ValueError("the arrays of resume/slot0/state and resume/slot1/state differ in name, shape or type")


def _is_imported(file: h5py.File) -> bool:
    numerics = json.loads(file.attrs["numerics"])
    return isinstance(numerics, dict) and numerics.get("path") == "imported"


def _check_state(
    file: h5py.File, config: Config, group: str, members: dict[str, h5py.Dataset], leading: tuple[None, ...] = ()
) -> None:
    """Check a group with the optimizer's state; `leading`: lengths of the axes before `seed` (None: any length)."""
    shapes: dict[str, tuple[int, ...]] = {
        f"{moment}.{name}": shape
        for moment in config.optimizer.moments
        for name, (_, shape) in config.shapes.items()
        if name not in config.model.frozen
    }
    if config.optimizer.counts_updates:
        shapes["step" if int(file.attrs["format_version"]) < 2 else N_UPDATES] = ()
    if shapes and set(members) != set(shapes):
        odd = min(set(members) ^ set(shapes))
        raise ValueError(f"{group}/{odd} is {'not part of the optimizer state' if odd in members else 'missing'}")
    for name, item in members.items():
        if item.shape is None:
            raise ValueError(f"{group}/{name} has no values")
        shape = shapes.get(name, item.shape[len(leading) + 1 :])
        _array(file, f"{group}/{name}", (*leading, len(config.seeds), *shape), "f" if shapes else "fiu")


def _digests(file: h5py.File, config: Config, n_checkpoints: int) -> None:
    """Check the digests of a file of format version 2; version 1 has no digests.

    The run's attributes must match their digests. Checkpoints, optimizer states and arrays of /data must have digests.
    """
    if int(file.attrs["format_version"]) < 2:
        return
    text = file.attrs["config"]
    if digest(text.tobytes() if isinstance(text, np.bytes_) else bytes(text)) != file.attrs["config_digest"]:
        raise ValueError("the run's config has changed: the config's digest differs from the stored digest")
    if facts_digest(file) != file.attrs["facts_digest"]:
        raise ValueError("versions, numerics, parent or creation time of the run have changed: their digest differs")
    groups = [("checkpoint", "step", "digested", [*config.shapes, METRICS], n_checkpoints)]
    if "optimizer" in file:
        states = sorted(name for name, _ in _members(file, "optimizer") if name not in ("state_step", "seed"))
        n_states = n_committed(file["state_step"][:], planned_states(config), "state_step")
        groups.append(("optimizer", "state_step", "kept", states, n_states))
    for name, along, dim, names, n_rows in groups:
        dataset = _array(file, f"digests/{name}", (None, len(config.seeds), len(names)), "u")
        labels = [label.decode() for label in _array(file, f"digests/{dim}", (len(names),), "S")[:].tolist()]
        if labels != names:
            raise ValueError(f"the list digests/{dim} contains {labels} instead of {names}")
        if len(dataset) < n_rows:
            raise ValueError(f"digests/{name} has {len(dataset)} entries, but {along} has {n_rows} committed entries")
    for name, item in _members(file, "data"):
        if name not in file and not isinstance(item.attrs.get("digest"), np.unsignedinteger):
            raise ValueError(f"data/{name} has no digest")


def dimensions(dataset: h5py.Dataset) -> tuple[str, ...]:
    """Name of each axis: the name of its dimension scale."""
    names = (dim[0].name if len(dim) else f"{dataset.name}_{axis}" for axis, dim in enumerate(dataset.dims))
    return tuple(str(name).rsplit("/", 1)[-1] for name in names)


def _members(file: h5py.File, group: str) -> list[tuple[str, h5py.Dataset]]:
    if group not in file or not isinstance(opened := file[group], h5py.Group):
        raise ValueError(f"the group '{group}' is missing")
    members = [(name, opened[name]) for name in opened]  # `items` and `get` hide errors of the disk
    for name, item in members:
        if not isinstance(item, h5py.Dataset):
            raise ValueError(f"{group}/{name} is not an array")
    return members


def _find(file: Mapping[str, Any], name: str) -> h5py.Dataset:
    if name not in file or not isinstance(item := file[name], h5py.Dataset):
        raise ValueError(f"the array '{name}' is missing")
    return item


def _array(file: Mapping[str, Any], name: str, shape: tuple[int | None, ...], kinds: str) -> h5py.Dataset:
    """The array `name`; raises ValueError unless it has this shape (None: any length) and a dtype kind in `kinds`."""
    dataset = _find(file, name)
    actual = dataset.shape
    has_rank = actual is not None and len(actual) == len(shape)
    if not has_rank or any(s not in (None, a) for a, s in zip(actual, shape, strict=True)):
        wanted = ", ".join("any" if length is None else str(length) for length in shape)
        raise ValueError(f"{name} has shape {actual}, expected ({wanted})")
    if dataset.dtype.kind not in kinds:
        raise ValueError(f"{name} has dtype {dataset.dtype}, expected NumPy kind {' or '.join(kinds)}")
    return dataset


def _named(dataset: h5py.Dataset, dims: tuple[str, ...]) -> None:
    actual = dimensions(dataset)
    if actual[: len(dims)] != dims:
        raise ValueError(f"{dataset.name} has the dimensions ({', '.join(actual)}), expected ({', '.join(dims)})")


def _printable(data: Any) -> None:
    if isinstance(data, str) and not data.isprintable():
        raise ValueError(f"an attribute of the file has a text with control characters: {ascii(data)[:80]}")
    if isinstance(data, dict):
        data = [*data.keys(), *data.values()]
    if isinstance(data, list | tuple):
        for item in data:
            _printable(item)
