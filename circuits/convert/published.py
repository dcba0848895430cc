"""Published weights of one network, in one file or in a file per checkpoint, converted into a run file.

The sizes of the network come from its weights, and the split of its data from the file, from a list of indices, or from
a draw of the code that trained it. Without a split, training and test metrics are left out. Losses that the file holds
are compared with those computed here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from circuits.checkpoints.run import Run
from circuits.config import Config, assign, default_part, parse
from circuits.convert.agreement import (
    METRICS,
    WHOLE,
    checked_expectations,
    compare,
    compare_overall,
    contradictions,
    overall,
)
from circuits.convert.containers import Held, Snapshot, held, listed
from circuits.convert.imported import checkpoint_plan, imported_from, write_run
from circuits.convert.layouts import Arrays, Network, read_network
from circuits.convert.splits import with_split
from circuits.errors import InputError

READ = ("seeds", "epochs", "steps", "checkpoints", "dtype", "source", "metrics", "stop", "weight_decay_changes")
NEAR = 0.1  # how far a loss may be from a stored one, as a share of it


@dataclass(frozen=True)
class Converted:
    """The run of published weights, and what there is to say about it, one line each."""

    run: Run
    remarks: tuple[str, ...]


def from_weights(
    files: Sequence[str | Path],
    out: str | Path,
    config: Config | None = None,
    fields: Mapping[str, Any] = {},
    *,
    inside: str | None = None,
    epoch: int | None = None,
    seed: int | None = None,
    train_indices: str | Path | None = None,
    expect: Mapping[str, float] = {},
    tolerance: float = NEAR,
    overwrite: bool = False,
    progress: bool = True,
) -> Converted:
    """Convert published weights into a run file.

    Parameters
    ----------
    files
        `.pt`, `.pth`, `.safetensors` or `.npz` files of one network, one per checkpoint.
    out
        The run file to write.
    config
        The config of the training, as far as it is known; by default sizes and task are those that the weights tell.
    fields
        Fields to set by dotted name, such as {"task.operation": "x-y", "model.n_heads": 4}; they count most.
    inside
        Dotted keys of the state dict in a file.
    epoch
        Epoch of the only network; by default that in the file, in its name, or the number of its training losses.
    seed
        Seed of the network, which a draw of the split may need; by default that of the file, or 0.
    train_indices
        NPZ, `.npy`, `.pt` or text file with the numbers x·p + y of the training examples among all ordered pairs, with
        a mask of all pairs, or with the pairs (x, y).
    expect
        Losses and accuracies that the network must have, by metric name; `loss` and `accuracy` are over all examples.
    tolerance
        Allowed difference from `expect` and from losses in the file, relative to the expected loss; for an accuracy, a
        tenth of it, absolute.
    overwrite, progress
        As in `circuits.train`.

    Returns
    -------
    The run, opened for reading, and remarks on what was compared, assumed or left out.

    Raises
    ------
    InputError
        A file or field is wrong, sizes contradict each other, or a metric differs from what is expected.
    """
    checked_expectations(expect, tolerance)
    for name in fields:
        if name.partition(".")[0] in READ:
            raise InputError(f"--set {name} has no effect: the files tell it. Use --seed or --epoch.")
    contents = [held(path, inside) for path in files]
    if not contents:
        raise InputError("Pass at least one file of weights.")
    remarks: list[str] = []
    checkpoints = _in_order(contents, epoch, remarks)
    first, last = _with_common_split(checkpoints[min(checkpoints)][0], contents), checkpoints[max(checkpoints)][0]
    has_optimizer = config is not None or any(name.partition(".")[0] == "optimizer" for name in fields)
    given = {name.partition(".")[2]: value for name, value in fields.items() if name.startswith("model.")}
    if config is not None:
        given = {name: value for name, value in config.model.model_dump().items() if name == "n_heads"} | given
    networks = {when: _network(content, snapshot, given) for when, (content, snapshot) in checkpoints.items()}
    network = networks[min(networks)]
    remarks += network.remarks
    known = (seed, first.seed, _seed(first.settings.get("seed")))
    seed = next((value for value in known if value is not None), 0)
    config = _config(first, config, network, fields, seed)
    has_seed = any(value is not None for value in known) or config.task.model_dump().get("split_seed") is not None
    config, data = with_split(config, first, train_indices, fields, remarks, seed if has_seed else None)
    plan = checkpoint_plan([when * config.steps_per_epoch for when in networks], config.steps_per_epoch)
    origin = ", ".join(str(path) for path in files[:3]) + (", …" if len(files) > 3 else "")
    config = parse({**config.model_dump(mode="json"), "task": config.task, **plan, "source": imported_from(origin)})
    parameters = {when: _fitted(one, config, checkpoints[when][0].path) for when, one in networks.items()}
    if (network.n_classes or 0) > (n_classes := config.task.signature.n_classes or 0):
        remarks.append(f"the weights give {network.n_classes} logits; the run keeps those of the {n_classes} results")
    if not first.optimizer and first.config is None and not has_optimizer:
        remarks.append("nothing tells the optimizer, so the one in the run's config is a placeholder")
    remarks += contradictions(first, config, seed)

    def at(step: int) -> list[Arrays]:
        return [parameters[step // config.steps_per_epoch]]

    def check(row: Mapping[str, np.ndarray]) -> None:
        metrics = {name: float(row[f"metrics/{name}"][0]) for name in METRICS}
        n_train, n_test = config.task.train_size, config.task.test_size
        on_all = None if n_train else overall(config, parameters[max(parameters)], config.task.test_data(seed))
        for name in WHOLE:
            parts = n_train * metrics[f"train_{name}"] + n_test * metrics[f"test_{name}"]
            metrics[name] = parts / (n_train + n_test) if on_all is None else getattr(on_all, name)
        remarks.extend(compare(metrics, last, expect, tolerance))
        remarks.extend([] if on_all is None else compare_overall(on_all, last, tolerance))

    run = write_run(Path(out), config, at, origin, data=data, check=check, overwrite=overwrite, progress=progress)
    return Converted(run, tuple(remarks))


def _with_common_split(first: Held, contents: Sequence[Held]) -> Held:
    """`first` with the training indices that the files of one network have; an `InputError` if the files disagree."""
    stated = [one for one in contents if one.train_indices is not None]
    for one in stated[1:]:
        if not np.array_equal(one.train_indices, stated[0].train_indices):  # type: ignore[arg-type]
            raise InputError(f"{one.path} and {stated[0].path} have different training examples. Convert them apart.")
    seeds = {one.seed: one.path for one in contents if one.seed is not None}
    if len(seeds) > 1:
        (a, path), (b, other) = list(seeds.items())[:2]
        raise InputError(f"{path} has seed {a} and {other} seed {b}, so they are two networks. Convert them apart.")
    return replace(first, train_indices=stated[0].train_indices) if stated else first


def _seed(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _network(content: Held, snapshot: Snapshot, given: Mapping[str, Any]) -> Network:
    """The network of a snapshot; an exported one has the names of its own config's model."""
    try:
        if content.config is not None:
            config = parse(content.config, content.path)
            if set(config.shapes) == set(snapshot.tensors):
                return Network(config.model.model_dump(mode="json"), snapshot.tensors, None, None, None)
        return read_network(snapshot.tensors, given)
    except InputError as error:
        text = str(error)
        raise InputError(text if text.startswith(str(content.path)) else f"{content.path}: {text}") from None


def _in_order(contents: Sequence[Held], epoch: int | None, remarks: list[str]) -> dict[int, tuple[Held, Snapshot]]:
    """File and tensors of every checkpoint by its epoch, in ascending order."""
    found: dict[int, tuple[Held, Snapshot]] = {}
    n_networks = sum(len(content.snapshots) for content in contents)
    if epoch is not None and n_networks > 1:
        raise InputError(f"--epoch {epoch} is for one network. There are {n_networks}.")
    if epoch is not None and epoch < 0:
        raise InputError(f"--epoch {epoch} is negative. Pass 0 or more.")
    for content in contents:
        for snapshot in content.snapshots:
            when = snapshot.epoch if epoch is None else epoch
            if when is None and len(content.snapshots) > 1:
                raise InputError(
                    f"{content.path} holds {len(content.snapshots)} networks, and nothing tells their epochs. Convert "
                    f"one of them, such as --inside KEY.0 --epoch 0."
                )
            if when is None and n_networks > 1:
                raise InputError(f"{content.path}: nothing tells its epoch. Name the files such as model_100.pt.")
            if when is None:
                when = 1
                remarks.append("nothing tells the epoch of the weights, so they are stored as epoch 1; --epoch sets it")
            if when in found:
                raise InputError(f"{content.path}: another file or state dict has epoch {when} too.")
            found[when] = content, snapshot
    return dict(sorted(found.items()))


def _config(first: Held, config: Config | None, network: Network, fields: Mapping[str, Any], seed: int) -> Config:
    """The config of the network: what is given, with sizes from the weights, checked against each other."""
    if config is None and first.config is not None:
        config = parse(first.config, first.path)
    sizes = dict(network.model)
    if config is None:
        kind = fields.get("task.kind")
        task = _task(network, first.path) if kind in (None, "modular", "parity") else default_part("task", kind)
        data: dict[str, Any] = {
            "name": first.path.stem, "task": task, "loss": "cross_entropy" if network.n_classes else "hinge",
            "loss_dtype": "float64" if network.n_classes else None, "batch_size": None if network.d_vocab else 32,
            "model": default_part("model", sizes["kind"]) | dict(network.guesses) | sizes,
        }  # fmt: skip
        if first.optimizer:
            data["optimizer"] = default_part("optimizer", first.optimizer.get("kind", "adamw")) | first.optimizer
    else:
        data = config.model_dump(mode="json")
    data |= {
        "seeds": [seed], "epochs": 0, "checkpoints": {}, "metrics": [], "weight_decay_changes": [], "stop": None,
        "steps": None, "dtype": "float64" if _is_double(network) else "float32",
    }  # fmt: skip
    for name, value in fields.items():
        assign(data, name, value)
    if config is not None:
        _refuse_other_sizes(first.path, data["model"], sizes)
    return parse(data, first.path)


def _is_double(network: Network) -> bool:
    return any(values.dtype == np.float64 for values in network.parameters.values())


def _refuse_other_sizes(path: Path, stated: Mapping[str, Any], sizes: Mapping[str, Any]) -> None:
    """Refuse a config whose model has other sizes than the weights."""
    if stated["kind"] != sizes["kind"]:
        raise InputError(f"{path} holds a '{sizes['kind']}' network, but the config has the model '{stated['kind']}'.")
    for name, value in sizes.items():
        own = stated.get(name)
        if isinstance(value, list | tuple):
            own, value = list(own or ()), list(value)
        if name in stated and own != value and not _same_head(name, stated, sizes):
            raise InputError(
                f"{path}: the weights have {name} = {value}, but the config has {name} = {own}. Pass "
                f"--model.{name.replace('_', '-')} {value}, or another preset."
            )


def _same_head(name: str, stated: Mapping[str, Any], sizes: Mapping[str, Any]) -> bool:
    """Whether both models have heads of the same width, one by default and one by number."""
    if name != "d_head":
        return False
    default = stated["d_model"] // stated["n_heads"]
    return (stated.get("d_head") or default) == (sizes.get("d_head") or sizes["d_model"] // sizes["n_heads"])


def _task(network: Network, path: Path) -> dict[str, Any]:
    """The task that sizes suggest: addition of two tokens, or parity of numbers."""
    if network.d_vocab is None:
        if network.n_classes is None:
            return {"kind": "parity", "n": network.n_positions}
        return {"kind": "modular", "p": network.n_classes, "encoding": "one-hot"}
    words = {2: None, 3: "x y =", 4: "x + y ="}
    n = network.n_positions
    if n not in words:
        raise InputError(
            f"{path}: the network reads {n} tokens, so its task is not x + y of two of them. Describe the task, such "
            f"as with --task.kind arrays --task.file DATA.npz."
        )
    return {"kind": "modular", "p": network.d_vocab - (n - 2), "encoding": "tokens", "sequence": words[n]}


def _fitted(network: Network, config: Config, path: Path) -> Arrays:
    """The parameters in the shapes of the config; logits of fixed words, beyond the classes, are left out."""
    shapes, parameters = config.shapes, dict(network.parameters)
    n_classes = config.task.signature.n_classes
    out = "unembed.W_U" if "unembed.W_U" in parameters else None
    if out and n_classes is not None and parameters[out].shape[1] > n_classes:
        parameters[out] = parameters[out][:, :n_classes]
        if "unembed.b_U" in parameters:
            parameters["unembed.b_U"] = parameters["unembed.b_U"][:n_classes]
    other = [name for name in parameters if name not in shapes]
    missing = [name for name in shapes if name not in parameters]
    if other or missing:
        what = f"have {listed(other)}, which the config's model lacks" if other else f"lack {listed(missing)}"
        raise InputError(f"{path}: the weights {what}. Choose a model with the same parameters.")
    for name, (dims, shape) in shapes.items():
        if parameters[name].shape != shape:
            raise InputError(
                f"{path}: '{name}' has the shape {parameters[name].shape}, but the config needs {shape} "
                f"({', '.join(dims)}). Set the sizes, such as --task.p, or leave them out."
            )
    return parameters
