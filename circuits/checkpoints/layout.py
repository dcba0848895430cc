"""The file format of a run: names, dimensions, chunks, and the creation of a run file.

    /                 attributes: format, format_version, config, config_digest, versions, numerics, created, parent
    /step             (step,) int64: optimizer updates so far; -1 until the checkpoint is complete
    /epoch            (step,) float64 = step / steps per epoch
    /seed /neuron …   one dimension scale per dimension name
    /parameters/NAME  (step, seed, …)      /metrics/NAME  (step, seed)
    /data/train_NAME  (seed, example, …)   /data/test_NAME  (test_example, …) or (seed, test_example, …)
    /data/test_seen   (seed, test_example) which test inputs are in the training set
    /optimizer/NAME   (state_step, seed, …) the optimizer's state at some checkpoints, if the config asks for it
    /state_step       (state_step,) int64: the optimizer updates after which /optimizer has a state; -1 until complete
    /resume/slot0, 1  the optimizer's state at the last two saves. Each slot also has the save's index (`sequence`), the
                      number of checkpoints up to the save (`n_checkpoints`) and a checksum (`crc32`).
    /digests/checkpoint  (step, seed, digested): along `digested`, a digest of each parameter, then one of all metrics
    /digests/optimizer   (state_step, seed, kept): along `kept`, a digest of each array in /optimizer

In a new file, every array along `step` already has its full length, one row per planned checkpoint, and its space is
reserved. So storing a checkpoint writes data only, and a kill cannot interrupt a write of HDF5's own metadata. The file
is sparse: reserved space takes no room on the disk until data are written there.

Every array names its dimensions by HDF5 dimension scales, so that netCDF tools and xarray show them. Scales lie in the
root and are hard-linked into the groups, where `xarray.open_dataset(group=…)` looks for coordinates. The file has the
format of HDF5 1.10, since older libraries cannot read newer formats. Each array of /data has an attribute `digest`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

import h5py
import numpy as np

from circuits import registry
from circuits.atomic_write import copy_sparse, scratch, written_whole
from circuits.checkpoints.commits import UNWRITTEN, planned_states
from circuits.checkpoints.digests import METRICS, digest
from circuits.collapse import COLLAPSED_SHARE, LARGEST_OUTPUT
from circuits.config import Config
from circuits.errors import InputError, RunError
from circuits.registry import lookup
from circuits.seen import SEEN, seen_inputs

FORMAT = "circuits-run"
FORMAT_VERSION = 2
LIBRARY_VERSIONS = ("v110", "v110")
LOSSES = {"hinge": "hinge loss", "cross_entropy": "cross-entropy", "mse": "squared error", "other": "loss"}
COMMIT = ("step", "epoch", "seed")  # coordinates in every group of trajectories
CHUNK_BYTES = 1 << 20
UNSEEN_ACCURACY = "test_accuracy_unseen"
N_UPDATES = "n_updates"  # name, in the file, of the optimizer's own count of updates
ATTRIBUTE_BYTES = 60_000  # in one attribute; HDF5's limit is 64 KiB

State = Mapping[str, np.ndarray]


def metrics_of(config: Config, some_seen: bool = False) -> dict[str, str]:
    """Name and meaning of each metric of a run. `some_seen`: whether any seed's training set contains a test input."""
    if config.task.signature.n_classes is None:
        is_right, nothing = "sign f(x) = y, in 0..1; sign(0) is wrong", "output is exactly 0"
        largest = "|f(x)|"
    else:
        is_right, nothing = "the target's logit above all others, in 0..1; a tie is wrong", "logits are all equal"
        largest = "spread of the logits"
    metrics = {
        "train_loss": f"mean {LOSSES[config.loss]} on the training set",
        "test_loss": f"mean {LOSSES[config.loss]} on the test set",
        "train_accuracy": f"share of training examples with {is_right}",
        "test_accuracy": f"share of test examples with {is_right}",
        "train_zero_outputs": f"training examples whose {nothing}",
        LARGEST_OUTPUT: f"largest {largest} on the training set; below {COLLAPSED_SHARE:g} the network has collapsed",
    }
    if some_seen:
        metrics[UNSEEN_ACCURACY] = "test accuracy on inputs that are not in the training set; NaN where there are none"
    for mark, without in config.task.marks.items():
        metrics[f"train_accuracy_{mark}"] = f"accuracy on the training examples that are {mark}, as they are labeled"
        metrics[f"train_accuracy_{without}"] = f"accuracy on the training examples that are {without}"
    if config.weight_decay_changes:
        metrics["weight_decay"] = "weight decay of the next update"
    for i, change in enumerate(config.weight_decay_changes):
        if change.awaits:
            metrics[f"decay_change_{i}_step"] = f"step at whose end weight-decay change {i} was triggered; NaN before"
    if config.model.is_recorded:
        return metrics | dict.fromkeys(config.metrics, "recorded by the training loop")
    return metrics | {name: lookup(registry.METRICS, name, "metric").help for name in config.metrics}


def data_dims(name: str, ndim: int, test_is_shared: bool = True) -> tuple[str, ...]:
    """Dimension names of an array in /data; `test_is_shared`: whether all seeds share one test set.

    Examples
    --------
    >>> data_dims("train_inputs", 3), data_dims("test_targets", 1), data_dims("test_seen", 2)
    (('seed', 'example', 'input'), ('test_example',), ('seed', 'test_example'))
    """
    test_is_shared = test_is_shared and name != SEEN
    test = ("test_example",) if test_is_shared else ("seed", "test_example")
    leading = ("seed", "example") if name.startswith("train_") else test
    if ndim > len(leading) + 1:
        raise InputError(f"data '{name}' has too many dimensions ({ndim}). Allowed are: {', '.join(leading)}, input")
    return (*leading, "output" if name.endswith("_targets") else "input")[:ndim]


def size_on_disk(config: Config) -> int:
    """Bytes that a finished run takes, not counting the file's own metadata.

    Examples
    --------
    >>> import circuits
    >>> round(size_on_disk(circuits.preset("merrill-2023")) / 1e6)
    253
    """
    task, n_seeds = config.task, len(config.seeds)
    per_network = sum(int(np.prod(shape)) for _, shape in config.shapes.values()) * np.dtype(config.dtype).itemsize
    n_digests = len(config.shapes) + 1
    per_checkpoint = n_seeds * (per_network + 8 * (len(metrics_of(config)) + n_digests)) + 16
    n_checkpoints = len(config.checkpoint_steps())
    n_states = 2 + len(planned_states(config))  # two slots to resume from, and the states kept for replay
    states = n_states * len(config.optimizer.moments) * n_seeds * per_network
    examples = n_seeds * task.train_size + (1 if task.test_is_shared else n_seeds) * task.test_size
    marks = n_seeds * task.test_size
    per_example = task.signature.n_inputs * (1 if task.signature.d_vocab is None else 2) + 3
    return n_checkpoints * per_checkpoint + states + examples * per_example + marks + (64 << 10)


def create(
    path: Path,
    config: Config,
    versions: dict,
    numerics: dict,
    optimizer_state: State,
    *,
    parent: dict | None = None,
    data: State | None = None,
    replace: bool = False,
) -> None:
    """Write a run file that has no checkpoints yet; the file appears only when it is complete.

    Parameters
    ----------
    versions, numerics
        Library versions, and the hardware and software facts on which the exact bits of the stored numbers depend.
    optimizer_state
        Arrays (seed, …) of the optimizer's state before any update, by name; empty for an optimizer without state.
    parent
        Path, fingerprint and step of the parent run, from which this run starts.
    data
        Arrays of /data by name, as `run_data` gives them; by default drawn by the config's task.
    replace
        Whether to replace an existing file. If False, an existing file raises InputError.
    """
    try:
        with scratch() as image:  # HDF5 may crash if the disk fills while it creates a file
            with h5py.File(image, "w", libver=LIBRARY_VERSIONS) as file:
                _write_skeleton(file, config, versions, numerics, optimizer_state, parent, data)
            with written_whole(path, replace=replace) as temporary:
                temporary.unlink()
                copy_sparse(image, temporary)
    except FileExistsError:
        raise already_there(path) from None
    except OSError as error:
        raise RunError(f"{path} cannot be created: {error.strerror or error}. Nothing was written.") from error


def padded(config: Config, length: int | None = None) -> np.bytes_:
    """The config as JSON, padded with spaces to `length`; by default with room for more epochs and future fields."""
    text = "".join(one if one.isascii() else json.dumps(one)[1:-1] for one in config.model_dump_json())
    if length is not None and len(text) > length:
        raise InputError(f"The config has {len(text)} bytes, but the run file has room for {length}. Begin a new run.")
    if len(text) > ATTRIBUTE_BYTES:
        raise InputError(
            f"The config takes {len(text)} bytes, but a run file holds at most {ATTRIBUTE_BYTES}. Pass fewer seeds or "
            f"at_steps; a single checkpoints.every_steps can replace many at_steps."
        )
    return np.bytes_(text.ljust(len(text) + 2048 if length is None else length))


def already_there(path: Path) -> InputError:
    """The error for an output file that already exists."""
    return InputError(f"{path} exists. Pass resume=True to continue it, overwrite=True to replace it, or another path.")


def _write_skeleton(
    file: h5py.File,
    config: Config,
    versions: dict,
    numerics: dict,
    optimizer_state: State,
    parent: dict | None,
    data: State | None,
) -> None:
    n_checkpoints = len(config.checkpoint_steps())
    file.attrs["format"] = FORMAT
    file.attrs["format_version"] = np.int64(FORMAT_VERSION)
    file.attrs["config"] = padded(config)
    file.attrs["config_digest"] = np.uint64(digest(file.attrs["config"].tobytes()))
    file.attrs["other_numerics_since"] = np.int64(-1)
    file.attrs["versions"] = json.dumps(versions)
    file.attrs["numerics"] = json.dumps(numerics)
    file.attrs["created"] = datetime.now(UTC).isoformat(timespec="seconds")
    file.attrs["coordinates"] = "epoch"

    _growing(file, "step", n_checkpoints, (), np.int64).make_scale("step")
    file["step"].attrs["long_name"] = "optimizer updates so far"
    epoch = _growing(file, "epoch", n_checkpoints, (), np.float64)
    epoch.attrs["long_name"] = "passes over the training set so far"
    epoch.dims[0].attach_scale(file["step"])
    _scale(file, "seed", np.asarray(config.seeds, np.int64))

    group = _group(file, "parameters", COMMIT)
    for name, (dims, shape) in config.shapes.items():
        _ensure_scales(file, dims, shape)
        dataset = _growing(group, name, n_checkpoints, (len(config.seeds), *shape), np.dtype(config.dtype))
        _attach(file, dataset, ("step", "seed", *dims))
        dataset.attrs["coordinates"] = "epoch"
        _link(file, group, dims)

    group = _group(file, "data", ("seed",))
    for name, values in run_data(config) if data is None else data.items():
        dims = data_dims(name, values.ndim, config.task.test_is_shared)
        _ensure_scales(file, dims, values.shape)
        if has_values(config, name):
            dataset = group.create_dataset(name, data=values)
        else:
            chunks = _large_chunks(values.shape, values.itemsize)  # empty chunks take no space
            dataset = group.create_dataset(name, values.shape, values.dtype, chunks=chunks)
        dataset.attrs["digest"] = np.uint64(digest(values))
        _attach(file, dataset, dims)
        _link(file, group, dims)
    group[SEEN].attrs["long_name"] = "whether the test input is in the seed's training set"

    group = _group(file, "metrics", COMMIT)
    for name, meaning in metrics_of(config, bool(file[f"data/{SEEN}"][()].any())).items():
        dataset = _growing(group, name, n_checkpoints, (len(config.seeds),), np.float64)
        _attach(file, dataset, ("step", "seed"))
        dataset.attrs["coordinates"] = "epoch"
        dataset.attrs["long_name"] = meaning

    for slot in ("slot0", "slot1"):
        group = file.create_group(f"resume/{slot}")
        for field, value in {"sequence": -1, "n_checkpoints": 0, "crc32": 0}.items():
            group.create_dataset(field, data=np.int64(value))
        for name, values in optimizer_state.items():
            dataset = group.create_dataset(f"state/{in_file(name)}", data=np.zeros_like(values))
            dims = ("seed", *_dims_of_state(config, name))
            if len(dims) == dataset.ndim:
                _attach(file, dataset, dims)
    if optimizer_state and config.checkpoints.optimizer_state_every:
        n_states = len(planned_states(config))
        _growing(file, "state_step", n_states, (), np.int64).make_scale("state_step")
        file["state_step"].attrs["long_name"] = "optimizer updates at which the optimizer's state was kept"
        group = _group(file, "optimizer", ("state_step", "seed"))
        for name, values in optimizer_state.items():
            dataset = _growing(group, in_file(name), n_states, values.shape, values.dtype)
            _attach(file, dataset, ("state_step", "seed", *_dims_of_state(config, name)))
    _write_digests(file, config, n_checkpoints)
    file.attrs["parent"] = json.dumps(parent)
    file.attrs["facts_digest"] = np.uint64(facts_digest(file))
    file.attrs["recovery_slack"] = np.int64(0)


def has_values(config: Config, name: str) -> bool:
    """Whether the file stores the values of data/`name`, not only their digest."""
    return getattr(config.model, "loader", None) is None or name == SEEN


def _large_chunks(shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    """Shape of chunks of at most 512 MiB, of whole entries along the last axes."""
    chunks, left = [], (1 << 29) // itemsize
    for length in reversed(shape):
        chunks.append(max(1, min(length, left)))
        left //= chunks[-1]
    return tuple(reversed(chunks))


def facts_digest(file: h5py.File) -> int:
    """Digest of the attributes `versions`, `numerics`, `parent` and `created` of a run, which never change."""
    return digest("\n".join(str(file.attrs[name]) for name in ("versions", "numerics", "parent", "created")).encode())


def in_file(state: str) -> str:
    """Name that a run file uses for an array of the optimizer's state.

    The array "step" is called "n_updates" in the file, because "step" is a dimension there. Other names stay the same.

    Examples
    --------
    >>> in_file("step"), of_state(in_file("step")), in_file("exp_avg.W")
    ('n_updates', 'step', 'exp_avg.W')
    """
    return N_UPDATES if state == "step" else state


def of_state(stored: str) -> str:
    """Inverse of `in_file`: it turns the name "n_updates" of a run file back into "step". Other names stay the same."""
    return "step" if stored == N_UPDATES else stored


def _dims_of_state(config: Config, name: str) -> tuple[str, ...]:
    """Dimension names of an array of the optimizer's state, without "seed". The array "exp_avg.W" has those of W."""
    parameter = name.partition(".")[2]
    return config.shapes[parameter][0] if parameter in config.shapes else ()


def _write_digests(file: h5py.File, config: Config, n_checkpoints: int) -> None:
    group = _group(file, "digests", COMMIT)
    groups = [("checkpoint", "step", "digested", [*config.shapes, METRICS], n_checkpoints)]
    if "optimizer" in file:
        states = sorted(set(file["optimizer"]) - {"state_step", "seed"})
        groups.append(("optimizer", "state_step", "kept", states, len(planned_states(config))))
        _link(file, group, ("state_step",))
    for name, along, dim, arrays, length in groups:
        labels = group.create_dataset(dim, data=np.array([array.encode() for array in arrays]))
        labels.make_scale(dim)
        dataset = _growing(group, name, length, (len(config.seeds), len(arrays)), np.uint64)
        dataset.attrs["long_name"] = "xxh3 (64 bits) of the bytes"
        for axis, scale in enumerate((file[along], file["seed"], labels)):
            dataset.dims[axis].attach_scale(scale)


def run_data(config: Config) -> Iterator[tuple[str, np.ndarray]]:
    """Arrays of /data: training sets stacked over seeds, test set or sets, and mask of test inputs seen in training."""
    training = [config.task.train_data(seed) for seed in config.seeds]
    for name in training[0]:
        yield f"train_{name}", np.stack([data[name] for data in training])
    shared = config.task.test_is_shared
    testing = [config.task.test_data(seed) for seed in (config.seeds[:1] if shared else config.seeds)]
    for name in testing[0]:
        yield f"test_{name}", testing[0][name] if shared else np.stack([data[name] for data in testing])
    tested = [data["inputs"] for data in testing] * (len(training) if shared else 1)
    yield SEEN, np.stack([seen_inputs(test, data["inputs"]) for test, data in zip(tested, training, strict=True)])


def _growing(group: h5py.Group, name: str, n_rows: int, shape: tuple[int, ...], dtype: np.dtype | type) -> h5py.Dataset:
    """Create an array of `n_rows` rows, each of this shape, and reserve space for all rows in the file.

    An array with one number per row is filled with -1 or NaN, so that unwritten rows can be recognized. Other
    arrays get no values yet: the file is sparse, so their reserved space takes no room on the disk.
    """
    per_row = max(1, int(np.prod(shape)) * np.dtype(dtype).itemsize)
    length = 1024 if shape == () else int(np.clip(CHUNK_BYTES // per_row, 1, 64))
    early = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    early.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    return group.create_dataset(
        name,
        (n_rows, *shape),
        dtype,
        maxshape=(None, *shape),
        chunks=(length, *shape),
        fillvalue=np.nan if np.dtype(dtype).kind == "f" else UNWRITTEN if shape == () else 0,
        fill_time="ifset" if shape == () else "never",
        dcpl=early,
    )


def _group(file: h5py.File, name: str, scales: tuple[str, ...]) -> h5py.Group:
    group = file.create_group(name)
    _link(file, group, scales)
    return group


def _link(file: h5py.File, group: h5py.Group, scales: tuple[str, ...]) -> None:
    for scale in scales:
        if scale not in group:
            group[scale] = file[scale]


def _scale(file: h5py.File, name: str, values: np.ndarray) -> None:
    file.create_dataset(name, data=values).make_scale(name)


def _ensure_scales(file: h5py.File, dims: tuple[str, ...], shape: tuple[int, ...]) -> None:
    for dim, length in zip(dims, shape, strict=True):
        if dim not in file:
            _scale(file, dim, np.arange(length))


def _attach(file: h5py.File, dataset: h5py.Dataset, dims: tuple[str, ...]) -> None:
    for axis, dim in enumerate(dims):
        dataset.dims[axis].attach_scale(file[dim])
