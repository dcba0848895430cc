"""The reader of a run: labeled, lazy, and safe while the run is still being written.

`circuits.open(path)` gives a `Run`. It shows the checkpoints that were complete when it was opened (`refresh` adds
later ones), reads parameters only where they are indexed, and never writes.
"""

from __future__ import annotations

import json
import math
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import xarray as xr

from circuits.checkpoints.collapsed import collapsed_networks, outputs_of, without_accuracy
from circuits.checkpoints.commits import n_committed, planned_checkpoints, planned_states
from circuits.checkpoints.digests import METRICS, check_rows, digest, digest_error, metrics_as_rows
from circuits.checkpoints.external import external_data
from circuits.checkpoints.facts import run_html
from circuits.checkpoints.handles import OpenedFile, opened
from circuits.checkpoints.labeled import labeled
from circuits.checkpoints.layout import has_values
from circuits.checkpoints.lazy import lazy_variable
from circuits.checkpoints.lock import writer_pid
from circuits.checkpoints.named import checkpoint_index
from circuits.checkpoints.optimizer_states import stored_state, stored_state_steps
from circuits.checkpoints.policy import TRANSIENT, one_line
from circuits.checkpoints.schema import check_contents, check_facts
from circuits.checkpoints.unregistered import parsed
from circuits.collapse import LARGEST_OUTPUT
from circuits.config import Config
from circuits.errors import InputError, damaged, error_number, refusal, remedy
from circuits.registry import MEASUREMENTS, load

if TYPE_CHECKING:
    import torch
    from transformer_lens import HookedRootModule

BLOCK_BYTES = 32 << 20
# Errors of h5py, JSON and NumPy on wrong content.
_WRONG = (ArithmeticError, AttributeError, LookupError, OSError, RuntimeError, TypeError, ValueError)


class Run:
    """One run file: its config, and its parameters, metrics and data by name.

    Attributes
    ----------
    path, config
        The file, and the config of its run.
    seeds
        The seeds, in the order of the `seed` dimension.
    versions, numerics
        Library versions and numerics (processor, arithmetic, threads, …) with which the run began.
    other_numerics_since
        The checkpoint from which a machine with other numerics continued the run; -1 if no such machine did.
    parent
        Path, fingerprint and step of the parent run, from which this run starts; None if it has no parent.
    """

    def __init__(
        self, path: str | Path, file: h5py.File | None = None, *, model: torch.nn.Module | None = None
    ) -> None:
        self.path, self._module = Path(path), model
        shared = opened(self.path) if file is None else OpenedFile(file)
        self._opened = shared
        self._release = weakref.finalize(self, shared.release)  # garbage collection closes the file
        try:
            self._config_text = self._attribute("config")
            self.config: Config = self._parsed(self._config_text)
            self.other_numerics_since = int(self._attribute("other_numerics_since"))
            self.parent: dict[str, Any] | None = json.loads(self.hdf5.attrs.get("parent", "null"))
            self.versions: dict[str, str] = json.loads(self._attribute("versions"))
            self.numerics: dict[str, Any] = json.loads(self._attribute("numerics"))
            self.created: str = str(self._attribute("created"))
            check_facts(self.versions, self.numerics, self.parent, self.created)
            check_contents(self.hdf5, self.config)
            self._planned = planned_checkpoints(self.config)
            self.seeds: tuple[int, ...] = tuple(self.hdf5["seed"][:].tolist())
            self._look()
        except _WRONG as error:
            self._release()
            if isinstance(error, InputError):
                raise InputError(f"{self.path}: {one_line(error)}") from None
            if error_number(error) in TRANSIENT:
                raise InputError(f"{self.path} cannot be read ({refusal(error)}). {remedy(error)}.") from error
            raise damaged(self.path, one_line(error)) from error

    def refresh(self) -> Run:
        """Update the number of checkpoints; needed only while the run is being written."""
        try:
            self._opened.refresh()
            text = self._attribute("config")
            if text != self._config_text:  # more epochs
                self._config_text, self.config = text, self._parsed(text)
                self._planned = planned_checkpoints(self.config)
            self._look()
        except _WRONG as error:
            raise InputError(f"{self.path} can no longer be read: {one_line(error)}") from error
        return self

    def _parsed(self, text: Any) -> Config:
        config = parsed(json.loads(text), self.hdf5)
        return config if self._module is None else config.with_module(self._module)

    def _look(self) -> None:
        with self._opened.dataset("step") as step:
            values = step[:]
        self.n_checkpoints = n_committed(values, self._planned)
        self.steps: np.ndarray = values[: self.n_checkpoints]
        self.epochs: np.ndarray = self.steps / self.config.steps_per_epoch
        for name in ("parameters", "metrics", "_stored_metrics", "collapsed"):
            self.__dict__.pop(name, None)

    @cached_property
    def parameters(self) -> xr.Dataset:
        """Every parameter, (step, seed, …); values are read when they are indexed."""
        return self._trajectories("parameters")

    @cached_property
    def metrics(self) -> xr.Dataset:
        """Losses and accuracies (step, seed), measured at each checkpoint before the next update.

        The accuracy of a `collapsed` network (outputs near 0) is 0, even if an earlier version stored another value.
        """
        stored, collapsed = self._stored_metrics, self.collapsed
        return without_accuracy(stored, collapsed) if collapsed.recomputed and collapsed.any() else stored

    @cached_property
    def _stored_metrics(self) -> xr.Dataset:
        stored = self._trajectories("metrics").load()
        expected = self._opened.digests(METRICS, self.n_checkpoints)
        if expected is not None and self.n_checkpoints:
            rows = metrics_as_rows({str(name): values.values for name, values in stored.items()})
            check_rows(self.path, "metrics", rows, expected, self._where(self.steps))
        return stored

    @cached_property
    def collapsed(self) -> xr.DataArray:
        """Mask (step, seed) of collapsed networks: largest output on the training set below 10⁻³ (`circuits.collapse`).

        The attribute `recomputed` is 1 for runs of earlier versions, which do not store the largest output.
        """
        stored = self._stored_metrics
        collapsed = collapsed_networks(self.config, stored, self._train_outputs)
        attrs = {"recomputed": int(LARGEST_OUTPUT not in stored)}
        return xr.DataArray(collapsed, stored.coords, ("step", "seed"), attrs=attrs)

    def _train_outputs(self, checkpoint: int, seed_index: int) -> np.ndarray:
        network = self.arrays(self.seeds[seed_index], checkpoint)
        return outputs_of(self.config.model, network, self.all_data["train_inputs"].values[seed_index])

    def phases(self) -> xr.Dataset:
        """When each seed memorized and generalized: the measurement "phases", with its default thresholds of 0.98."""
        entry = MEASUREMENTS["phases"]
        return entry.load().measure(self, load(entry.options)())

    @cached_property
    def all_data(self) -> xr.Dataset:
        """The exact train and test data of all seeds, such as `train_inputs` (seed, example, input)."""
        arrays = {
            name: lazy_variable(self._opened, f"data/{name}")
            for name in self.hdf5["data"]
            if name not in self.hdf5  # a linked dimension scale
        }
        if getattr(self.config.model, "loader", None):
            arrays |= external_data(self.config, self.hdf5["data"])
        data = xr.Dataset(arrays).assign_coords(seed=list(self.seeds))
        inside = [name for name in arrays if has_values(self.config, name)]
        for name in inside:
            data[name].load()
        for name in inside if self.has_digests else ():
            if digest(data[name].values) != self.hdf5[f"data/{name}"].attrs["digest"]:
                raise digest_error(self.path, f"data/{name}")
        return data

    def data(self, seed: int | None = None) -> xr.Dataset:
        """The exact train and test data of a seed: `train_inputs` (example, input), `train_targets` (example,), …"""
        return self.all_data.isel(seed=self.seed_index(seed))

    def state(
        self, seed: int | None = None, checkpoint: int | str | None = None, *, step: int | None = None
    ) -> dict[str, torch.Tensor]:
        """One network's parameters by name.

        Parameters
        ----------
        seed
            Seed of the network; by default the first seed.
        checkpoint, step
            Index of the checkpoint (negative: from the end), its name ("last", "best", "memorized", "generalized"), or
            its optimizer step; by default the last checkpoint.

        Raises
        ------
        InputError
            There is no such seed, checkpoint or step; the message names the valid ones.
        """
        import torch

        return {name: torch.from_numpy(values) for name, values in self.arrays(seed, checkpoint, step=step).items()}

    def arrays(
        self, seed: int | None = None, checkpoint: int | str | None = None, *, step: int | None = None
    ) -> dict[str, np.ndarray]:
        """One network's parameters as NumPy arrays, by name; arguments as in `state`."""
        at = {"step": self.checkpoint_index(checkpoint, step=step, seed=seed), "seed": self.seed_index(seed)}
        return {str(name): np.array(variable[at].values) for name, variable in self.parameters.items()}

    @property
    def state_steps(self) -> np.ndarray:
        """Steps at which the optimizer's state was stored for replay, in ascending order; empty if none was stored."""
        return stored_state_steps(self._opened, self.config)

    def optimizer_state(self, step: int) -> dict[str, np.ndarray]:
        """Arrays of the optimizer's state at a step of `state_steps`, by name, each (seed, …)."""
        return stored_state(self.path, self._opened, self.seeds, self.state_steps, step)

    def model(
        self, seed: int | None = None, checkpoint: int | str | None = None, *, step: int | None = None
    ) -> torch.nn.Module:
        """One network as a torch module; arguments as in `state`."""
        from circuits.models.network import Network

        net, model = self.arrays(seed, checkpoint, step=step), self.config.model
        bridge = model.bridge(net, self.config.task.signature)
        return Network(model, net) if bridge is None else bridge

    def hooked_model(
        self, seed: int | None = None, checkpoint: int | str | None = None, *, step: int | None = None
    ) -> HookedRootModule:
        """One network, of any kind of model, with TransformerLens's hook points; arguments as in `state`.

        `run_with_cache` returns the value at every hook point; `run_with_hooks` changes values during the forward pass.
        """
        from circuits.models.hooked import hooked

        return hooked(self.config.model, self.arrays(seed, checkpoint, step=step), self.config.task.signature)

    def blocks(self, checkpoints: np.ndarray, *names: str) -> Iterator[tuple[slice, dict[str, np.ndarray]]]:
        """Parameters with these names at `checkpoints` (indices in ascending order), in blocks that fit in memory.

        Yields
        ------
        Slice of `checkpoints` that the block covers, and its parameters, each (step, seed, …).
        """
        row_bytes = sum(self.parameters[name].dtype.itemsize * self.parameters[name][:1].size for name in names)
        length = max(1, BLOCK_BYTES // max(1, row_bytes))
        for start in range(0, len(checkpoints), length):
            where = slice(start, min(start + length, len(checkpoints)))
            yield where, {name: self.parameters[name].isel(step=checkpoints[where]).values for name in names}

    def seed_index(self, seed: int | None = None) -> int:
        """Position of a seed, by default the first, along the `seed` dimension."""
        if seed is None:
            return 0
        if seed not in self.seeds:
            raise InputError(f"{self.path} has no seed {seed}. It has: {', '.join(map(str, self.seeds))}.")
        return self.seeds.index(seed)

    def checkpoint_index(
        self, checkpoint: int | str | None = None, *, step: int | None = None, seed: int | None = None
    ) -> int:
        """Position of a checkpoint, by default the last, along the `step` dimension.

        `seed` is the seed whose checkpoint a name means, such as "memorized"; arguments as in `state`.
        """
        return checkpoint_index(self, checkpoint, step, seed)

    @property
    def is_complete(self) -> bool:
        """Whether the run has a checkpoint at the last step of its config, or has met the config's stop rule.

        A complete run also has every optimizer state that the config plans up to the run's last step.
        """
        if not self.n_checkpoints or not (int(self.steps[-1]) >= self.config.total_steps or self.stopped_early):
            return False
        n_states = int((planned_states(self.config) <= self.steps[-1]).sum())
        return "state_step" not in self.hdf5 or len(self.state_steps) == n_states

    @property
    def stopped_early(self) -> bool:
        """Whether every seed has met the stop rule of the config."""
        rule = self.config.stop
        return rule is not None and bool(rule.is_met(self.metrics["test_accuracy"].values).all())

    @property
    def writer_pid(self) -> int | None:
        """Id of the process that writes the run now; None if no process writes it."""
        return writer_pid(self.path)

    @property
    def nbytes(self) -> int:
        """Size of the file on disk, in bytes."""
        return self.path.stat().st_blocks * 512

    @property
    def fingerprint(self) -> str:
        """Hash of config, creation time, steps and (in format 2) digests; it identifies the run and its progress."""
        state = sha256(f"{self.config.model_dump_json()} {self.created} {self.steps.tolist()}".encode())
        if self.has_digests:
            with self._opened.dataset("digests/checkpoint") as digests:
                state.update(digests[: self.n_checkpoints].tobytes())
            for name in sorted(name for name in self.hdf5["data"] if name not in self.hdf5):
                state.update(self.hdf5[f"data/{name}"].attrs["digest"].tobytes())
        return state.hexdigest()[:16]

    @property
    def hdf5(self) -> h5py.File:
        """The open HDF5 file, for contents that no attribute of `Run` gives; values read from it are not verified."""
        return self._opened.file

    @property
    def metric_names(self) -> list[str]:
        """Names of the metrics; no value is read."""
        return self._opened.trajectories("metrics")

    @property
    def has_digests(self) -> bool:
        """Whether the file has digests of its values: true for format version 2, false for version 1."""
        return "digests" in self.hdf5

    def close(self) -> None:
        """Close this `Run`; once every `Run` of the file is closed, only values that were loaded before can be read."""
        self._release()

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "complete" if self.is_complete else f"of {len(self.config.checkpoint_steps())} planned"
        return (
            f"<circuits.Run {self.path}: {self.config.name}, {len(self.seeds)} seeds, "
            f"{self.n_checkpoints} checkpoints, {state}>"
        )

    def _repr_html_(self) -> str:
        return run_html(self)

    def __dir__(self) -> list[str]:
        return [name for name in super().__dir__() if not name.startswith("_")]

    def _attribute(self, name: str) -> Any:
        if name not in self.hdf5.attrs:
            raise ValueError(f"attribute '{name}' is missing")
        return self.hdf5.attrs[name]

    def _where(self, steps: Sequence[int] | np.ndarray) -> Callable[[int, int], str]:
        return lambda row, seed: f"of seed {self.seeds[seed]} at step {steps[row]}"

    def _trajectories(self, group: str) -> xr.Dataset:
        variables = {
            name: lazy_variable(self._opened, f"{group}/{name}", self.n_checkpoints, digested=group == "parameters")
            for name in self._opened.trajectories(group)
        }
        coordinates = {"step": self.steps, "epoch": ("step", self.epochs), "seed": list(self.seeds)}
        return labeled(xr.Dataset(variables, coordinates))


def open_run(path: str | Path, *, model: torch.nn.Module | None = None, wait: bool | float = False) -> Run:
    """Open a run file for reading, while it is being written or after.

    `model` is the torch module of a recorded run, which computes its outputs. If `wait` is True, wait until the file is
    there, for a run that is about to be written; a number limits the wait, in seconds.

    Raises
    ------
    InputError
        There is no such file, it is not a run, it is damaged, or a newer version of this package wrote it.
    """
    deadline = time.monotonic() + (math.inf if wait is True else wait)
    while not Path(path).exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    return Run(path, model=model)
