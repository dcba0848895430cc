"""Reading a run: labeled, lazy, safe while it is still being written.

`circuits.open(path)` gives a `Run`. It shows the checkpoints that were committed when it was opened (`refresh` looks
again), reads parameters only where they are indexed, and never writes.
"""

from __future__ import annotations

import json
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
from circuits.checkpoints.digests import METRICS, DigestError, check_rows, digest, metrics_as_rows
from circuits.checkpoints.handles import OpenedFile, opened
from circuits.checkpoints.layout import of_state
from circuits.checkpoints.lazy import lazy_variable
from circuits.checkpoints.lock import writer_pid
from circuits.checkpoints.policy import one_line
from circuits.checkpoints.schema import check_contents, check_facts
from circuits.collapse import LARGEST_OUTPUT
from circuits.config import Config, parse
from circuits.errors import InputError

if TYPE_CHECKING:
    import torch
    from transformer_lens import HookedRootModule

BLOCK_BYTES = 32 << 20
# What h5py, JSON and NumPy raise at content that is not what it should be.
_WRONG = (ArithmeticError, AttributeError, LookupError, OSError, RuntimeError, TypeError, ValueError)


class Run:
    """One run file: its config, and its trajectory by name.

    Attributes
    ----------
    path
        Where it lies.
    config
        What was run.
    seeds
        The seeds, in the order of the `seed` dimension.
    versions, numerics
        Library versions, and what the bits depend on (arithmetic, threads inside a step), of the machine that made it.
    other_numerics_since
        The checkpoint from which a machine with other numerics went on, -1 if none did.
    parent
        Path, fingerprint and step of the run that this one starts from, None if it starts at an initialization.
    """

    def __init__(self, path: str | Path, file: h5py.File | None = None) -> None:
        self.path = Path(path)
        shared = opened(self.path) if file is None else OpenedFile(file)
        self._opened = shared
        self._release = weakref.finalize(self, shared.release)  # a Run that is dropped is closed
        try:
            self._config_text = self._attribute("config")
            self.config: Config = parse(json.loads(self._config_text))
            self.other_numerics_since = int(self._attribute("other_numerics_since"))
            self.parent: dict[str, Any] | None = json.loads(self._file.attrs.get("parent", "null"))
            self.versions: dict[str, str] = json.loads(self._attribute("versions"))
            self.numerics: dict[str, Any] = json.loads(self._attribute("numerics"))
            self.created: str = str(self._attribute("created"))
            check_facts(self.versions, self.numerics, self.parent, self.created)
            check_contents(self._file, self.config)
            self._planned = planned_checkpoints(self.config)
            self.seeds: tuple[int, ...] = tuple(int(seed) for seed in self._file["seed"][:])
            self._look()
        except _WRONG as error:
            self._release()
            if isinstance(error, InputError):
                raise InputError(f"{self.path}: {one_line(error)}") from None
            raise InputError(f"{self.path} is damaged: {one_line(error)}") from error

    def refresh(self) -> Run:
        """Look again how many checkpoints there are; needed only while the run is being written."""
        try:
            self._opened.refresh()
            text = self._attribute("config")
            if text != self._config_text:  # more epochs
                self._config_text, self.config = text, parse(json.loads(text))
                self._planned = planned_checkpoints(self.config)
            self._look()
        except _WRONG as error:
            raise InputError(f"{self.path} can no longer be read: {one_line(error)}") from error
        return self

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
        """Every parameter, (step, seed, …), read where it is indexed."""
        return self._trajectories("parameters")

    @cached_property
    def metrics(self) -> xr.Dataset:
        """Losses and accuracies (step, seed), measured at each checkpoint before the next update.

        The accuracy of a collapsed network is 0. Runs of earlier versions store another one; it is corrected here.
        """
        stored, collapsed = self._stored_metrics, self.collapsed
        return without_accuracy(stored, collapsed) if collapsed.recomputed and collapsed.any() else stored

    @cached_property
    def _stored_metrics(self) -> xr.Dataset:
        stored = self._trajectories("metrics").load()
        expected = self._opened.digests(METRICS, self.n_checkpoints)
        if expected is not None and self.n_checkpoints:
            rows = metrics_as_rows({str(name): values.values for name, values in stored.items()})
            try:
                check_rows("metrics", rows, expected, self._where(self.steps))
            except DigestError as error:
                raise self._damaged(error) from None
        return stored

    @cached_property
    def collapsed(self) -> xr.DataArray:
        """Whether each network has collapsed, (step, seed) bool: see `circuits.collapse`.

        The attribute `recomputed` is 1 for a run of an earlier version, which did not store it.
        """
        stored = self._stored_metrics
        collapsed = collapsed_networks(self.config, stored, self._train_outputs)
        attrs = {"recomputed": int(LARGEST_OUTPUT not in stored)}
        return xr.DataArray(collapsed, stored.coords, ("step", "seed"), attrs=attrs)

    def _train_outputs(self, checkpoint: int, seed_index: int) -> np.ndarray:
        network = self.arrays(self.seeds[seed_index], checkpoint)
        return outputs_of(self.config.model, network, self.all_data["train_inputs"].values[seed_index])

    @cached_property
    def all_data(self) -> xr.Dataset:
        """The exact train and test data, of all seeds, such as `train_inputs` (seed, example, input)."""
        arrays = {
            name: lazy_variable(self._opened, f"data/{name}")
            for name in self._file["data"]
            if name not in self._file  # a scale, linked
        }
        data = xr.Dataset(arrays).assign_coords(seed=list(self.seeds)).load()
        for name in arrays if self.has_digests else ():
            if digest(data[name].values) != self._file[f"data/{name}"].attrs["digest"]:
                raise self._damaged(f"data/{name} is not what was written: its digest differs")
        return data

    def data(self, seed: int | None = None) -> xr.Dataset:
        """The exact train and test data of a seed: `train_inputs` (example, input), `train_targets` (example,), …"""
        return self.all_data.isel(seed=self.seed_index(seed))

    def state(
        self, seed: int | None = None, checkpoint: int | None = None, *, step: int | None = None
    ) -> dict[str, torch.Tensor]:
        """One network's parameters by name.

        Parameters
        ----------
        seed
            Which seed; by default the first.
        checkpoint
            Its index, negative from the end; by default -1, the last.
        step
            Instead, the optimizer step at which it was kept.

        Raises
        ------
        InputError
            There is no such seed, checkpoint or step; the message names what there is.
        """
        import torch

        return {name: torch.from_numpy(values) for name, values in self.arrays(seed, checkpoint, step=step).items()}

    def arrays(
        self, seed: int | None = None, checkpoint: int | None = None, *, step: int | None = None
    ) -> dict[str, np.ndarray]:
        """As `state`, in NumPy arrays."""
        at = {"step": self.checkpoint_index(checkpoint, step=step), "seed": self.seed_index(seed)}
        return {str(name): np.array(variable[at].values) for name, variable in self.parameters.items()}

    @property
    def state_steps(self) -> np.ndarray:
        """Steps at which the optimizer's state was kept for replay, ascending; empty when none was asked for."""
        if "state_step" not in self._file:
            return np.zeros(0, np.int64)
        with self._opened.dataset("state_step") as kept:
            values = kept[:]
        return values[: n_committed(values, planned_states(self.config), "state_step")]

    def optimizer_state(self, step: int) -> dict[str, np.ndarray]:
        """The optimizer's state as of a step of `state_steps`, by name, each (seed, …)."""
        places = np.flatnonzero(self.state_steps == step)
        if not places.size:
            kept = ", ".join(map(str, self.state_steps)) or "none (checkpoints.optimizer_state_every keeps some)"
            raise InputError(f"{self.path} keeps no optimizer state at step {step}. It keeps: {kept}.")
        group, at = self._file["optimizer"], int(places[0])
        names = sorted(name for name in group if name not in ("state_step", "seed"))
        state = {of_state(name): group[name][at] for name in names}
        if self.has_digests:
            expected = self._file["digests/optimizer"][at]  # (seed, kept)
            for index, (name, values) in enumerate(state.items()):
                try:
                    check_rows(f"optimizer/{name}", values[None], expected[None, :, index], self._where([step]))
                except DigestError as error:
                    raise self._damaged(error) from None
        return state

    def model(
        self, seed: int | None = None, checkpoint: int | None = None, *, step: int | None = None
    ) -> torch.nn.Module:
        """One network as a torch module; arguments as in `state`."""
        from circuits.models.network import Network

        net, model = self.arrays(seed, checkpoint, step=step), self.config.model
        bridge = model.bridge(net, self.config.task.signature)
        return Network(model, net) if bridge is None else bridge

    def hooked_model(
        self, seed: int | None = None, checkpoint: int | None = None, *, step: int | None = None
    ) -> HookedRootModule:
        """One network with TransformerLens's hook points, whatever its kind; arguments as in `state`.

        `run_with_cache` gives every named value, `run_with_hooks` changes them on their way.
        """
        from circuits.models.hooked import hooked

        return hooked(self.config.model, self.arrays(seed, checkpoint, step=step), self.config.task.signature)

    def blocks(self, checkpoints: np.ndarray, *names: str) -> Iterator[tuple[slice, dict[str, np.ndarray]]]:
        """Parameters in blocks of checkpoints small enough to hold.

        Parameters
        ----------
        checkpoints
            Ascending indices of the checkpoints to read.
        names
            Parameters to read.

        Yields
        ------
        Where the block lies within `checkpoints`, and its parameters, each (step, seed, …).
        """
        one = sum(self.parameters[name].dtype.itemsize * self.parameters[name][:1].size for name in names)
        length = max(1, BLOCK_BYTES // max(1, one))
        for start in range(0, len(checkpoints), length):
            where = slice(start, min(start + length, len(checkpoints)))
            yield where, {name: self.parameters[name].isel(step=checkpoints[where]).values for name in names}

    def seed_index(self, seed: int | None = None) -> int:
        """Position of a seed along the `seed` dimension; the first by default."""
        if seed is None:
            return 0
        if seed not in self.seeds:
            raise InputError(f"{self.path} has no seed {seed}. It has: {', '.join(map(str, self.seeds))}.")
        return self.seeds.index(seed)

    def checkpoint_index(self, checkpoint: int | None = None, *, step: int | None = None) -> int:
        """Position of a checkpoint along the `step` dimension; the last by default."""
        if self.n_checkpoints == 0:
            raise InputError(f"{self.path} has no checkpoint yet.")
        if step is not None:
            if checkpoint is not None:
                raise InputError("Pass checkpoint or step, not both.")
            places = np.flatnonzero(self.steps == step)
            if not places.size:
                near = int(self.steps[np.abs(self.steps - step).argmin()])
                raise InputError(f"{self.path} keeps no checkpoint at step {step}. The nearest is step {near}.")
            return int(places[0])
        index = -1 if checkpoint is None else checkpoint
        if not -self.n_checkpoints <= index < self.n_checkpoints:
            raise InputError(
                f"{self.path} has {self.n_checkpoints} checkpoints, so checkpoint {checkpoint} does not exist. "
                f"Pass 0..{self.n_checkpoints - 1}, or -1 for the last."
            )
        return index % self.n_checkpoints

    @property
    def is_complete(self) -> bool:
        """Whether it holds the last step its config asks for, or has met the config's stop rule.

        And the optimizer's state at every checkpoint up to there that should keep it.
        """
        if not self.n_checkpoints or not (int(self.steps[-1]) >= self.config.total_steps or self.stopped_early):
            return False
        return "state_step" not in self._file or len(self.state_steps) == int(
            (planned_states(self.config) <= self.steps[-1]).sum()
        )

    @property
    def stopped_early(self) -> bool:
        """Whether every seed has met the stop rule of the config."""
        rule = self.config.stop
        return rule is not None and bool(rule.is_met(self.metrics["test_accuracy"].values).all())

    @property
    def writer_pid(self) -> int | None:
        """The process that is writing it now, or None."""
        return writer_pid(self.path)

    @property
    def nbytes(self) -> int:
        """Size of the file on disk, in bytes."""
        return self.path.stat().st_blocks * 512

    @property
    def fingerprint(self) -> str:
        """Identifies the run and how far it is: a hash of config, creation time, steps, and digests if it has any."""
        text = f"{self.config.model_dump_json()} {self.created} {self.steps.tolist()}"
        state = sha256(text.encode())
        if self.has_digests:
            with self._opened.dataset("digests/checkpoint") as digests:
                state.update(digests[: self.n_checkpoints].tobytes())
            for name in sorted(name for name in self._file["data"] if name not in self._file):
                state.update(self._file[f"data/{name}"].attrs["digest"].tobytes())
        return state.hexdigest()[:16]

    @property
    def _file(self) -> h5py.File:
        return self._opened.file

    @property
    def hdf5(self) -> h5py.File:
        """The open HDF5 file, for what has no name here; values that are read from it are not checked."""
        return self._file

    @property
    def metric_names(self) -> list[str]:
        """Names of the metrics, read from none of them."""
        return self._opened.trajectories("metrics")

    @property
    def has_digests(self) -> bool:
        """Whether the file says what its values are: format version 2; version 1 does not."""
        return "digests" in self._file

    def close(self) -> None:
        """Close the file; labeled variables that were not loaded can no longer be read, once no Run has it open."""
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

    def _attribute(self, name: str) -> Any:
        if name not in self._file.attrs:
            raise InputError(f"attribute '{name}' is missing")
        return self._file.attrs[name]

    def _where(self, steps: Sequence[int] | np.ndarray) -> Callable[[int, int], str]:
        return lambda row, seed: f"of seed {self.seeds[seed]} at step {steps[row]}"

    def _damaged(self, what: object) -> InputError:
        return InputError(
            f"{self.path} is damaged: {what}. `circuits show --verify` lists all that is; the rest can be read."
        )

    def _trajectories(self, group: str) -> xr.Dataset:
        variables = {
            name: lazy_variable(self._opened, f"{group}/{name}", self.n_checkpoints, digested=group == "parameters")
            for name in self._opened.trajectories(group)
        }
        coordinates = {"step": self.steps, "epoch": ("step", self.epochs), "seed": list(self.seeds)}
        return xr.Dataset(variables, coordinates)


def open_run(path: str | Path) -> Run:
    """Open a run file for reading, while it is being written or after.

    Raises
    ------
    InputError
        There is no such file, it is not a run, it is damaged, or a newer version of this package wrote it.
    """
    return Run(path)
