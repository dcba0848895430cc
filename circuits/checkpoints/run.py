"""Reading a run: labelled, lazy, safe while it is still being written.

`circuits.open(path)` gives a `Run`. It shows the checkpoints that were committed when it was opened (`refresh` looks
again), reads parameters only where they are indexed, and never writes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import xarray as xr

from circuits.checkpoints.layout import COMMIT, FORMAT, FORMAT_VERSION, LIBRARY_VERSIONS
from circuits.checkpoints.lazy import lazy_variable
from circuits.checkpoints.lock import writer_pid
from circuits.checkpoints.writer import committed
from circuits.config import Config, parse
from circuits.errors import InputError

if TYPE_CHECKING:
    import torch

BLOCK_BYTES = 32 << 20


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
        Library versions, and what the bits depend on (BLAS kernel, threads inside a step), of the machine that made it.
    other_numerics_since
        The checkpoint from which a machine with other numerics went on, -1 if none did.
    parent
        Path, fingerprint and step of the run that this one starts from, None if it starts at an initialisation.
    """

    def __init__(self, path: str | Path, file: h5py.File | None = None) -> None:
        self.path = Path(path)
        self._file = _open(self.path) if file is None else file
        try:
            self.config: Config = parse(json.loads(self._attribute("config")))
            self.other_numerics_since = int(self._attribute("other_numerics_since"))
            self.parent: dict[str, Any] | None = json.loads(self._file.attrs.get("parent", "null"))
            self.versions: dict[str, str] = json.loads(self._attribute("versions"))
            self.numerics: dict[str, Any] = json.loads(self._attribute("numerics"))
            self.created: str = str(self._attribute("created"))
            self.seeds: tuple[int, ...] = tuple(int(seed) for seed in self._file["seed"][:])
            self.n_checkpoints = 0
            self.refresh()
        except (KeyError, OSError, ValueError, RuntimeError) as error:
            self._file.close()
            if isinstance(error, InputError):
                raise InputError(f"{self.path}: {error}") from None
            raise InputError(f"{self.path} is damaged: {error}") from error

    def refresh(self) -> Run:
        """Look again how many checkpoints there are; needed only while the run is being written."""
        step = self._file["step"]
        step.id.refresh()
        self.n_checkpoints = committed(step)
        self.steps: np.ndarray = step[: self.n_checkpoints]
        self.epochs: np.ndarray = self.steps / self.config.steps_per_epoch
        for name in ("parameters", "metrics"):
            self.__dict__.pop(name, None)
            for dataset in self._file[name].values():
                dataset.id.refresh()
        return self

    @cached_property
    def parameters(self) -> xr.Dataset:
        """Every parameter, (step, seed, …), read where it is indexed."""
        return self._trajectories("parameters")

    @cached_property
    def metrics(self) -> xr.Dataset:
        """Losses and accuracies (step, seed), measured at each checkpoint before the next update."""
        return self._trajectories("metrics").load()

    @cached_property
    def all_data(self) -> xr.Dataset:
        """The exact train and test data, of all seeds, such as `train_inputs` (seed, example, input)."""
        group = self._file["data"]
        scales = {"seed", "example", "test_example", "input"}
        return xr.Dataset(
            {name: (_dims(ds), ds[()]) for name, ds in group.items() if name not in scales}
        ).assign_coords(seed=list(self.seeds))

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
        kept = self._file["state_step"]
        return kept[: committed(kept)]

    def optimizer_state(self, step: int) -> dict[str, np.ndarray]:
        """The optimizer's state as of a step of `state_steps`, by name, each (seed, …)."""
        found = np.flatnonzero(self.state_steps == step)
        if not found.size:
            kept = ", ".join(map(str, self.state_steps)) or "none (checkpoints.optimizer_state_every keeps some)"
            raise InputError(f"{self.path} keeps no optimizer state at step {step}. It keeps: {kept}.")
        group = self._file["optimizer"]
        return {name: group[name][found[0]] for name in group if name not in ("state_step", "seed")}

    def model(
        self, seed: int | None = None, checkpoint: int | None = None, *, step: int | None = None
    ) -> torch.nn.Module:
        """One network as a torch module; arguments as in `state`."""
        return self.config.model.module(self.arrays(seed, checkpoint, step=step))

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
            found = np.flatnonzero(self.steps == step)
            if not found.size:
                near = int(self.steps[np.abs(self.steps - step).argmin()])
                raise InputError(f"{self.path} keeps no checkpoint at step {step}. The nearest is step {near}.")
            return int(found[0])
        index = -1 if checkpoint is None else checkpoint
        if not -self.n_checkpoints <= index < self.n_checkpoints:
            raise InputError(
                f"{self.path} has {self.n_checkpoints} checkpoints, so checkpoint {checkpoint} does not exist. "
                f"Pass 0..{self.n_checkpoints - 1}, or -1 for the last."
            )
        return index % self.n_checkpoints

    @property
    def is_complete(self) -> bool:
        """Whether it holds the last step its config asks for."""
        return self.n_checkpoints > 0 and int(self.steps[-1]) >= self.config.total_steps

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
        """Identifies the run and how far it is: a hash of config, creation time and steps."""
        text = f"{self.config.model_dump_json()} {self.created} {self.steps.tolist()}"
        return sha256(text.encode()).hexdigest()[:16]

    def close(self) -> None:
        """Close the file; labelled variables that were not loaded can no longer be read."""
        self._file.close()

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

    def _trajectories(self, group: str) -> xr.Dataset:
        variables = {
            name: lazy_variable(_dims(dataset), dataset, self.n_checkpoints)
            for name, dataset in self._file[group].items()
            if dataset.ndim >= 2 and name not in COMMIT
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


def _open(path: Path) -> h5py.File:
    if not path.exists():
        beside = sorted(str(other) for other in path.parent.glob("*.h5")) if path.parent.is_dir() else []
        there = f"There are: {', '.join(beside)}." if beside else "`circuits train` makes runs."
        raise InputError(f"{path} does not exist. {there}")
    if path.is_dir():
        raise InputError(f"{path} is a folder. Pass the run file in it, such as {path / 'run.h5'}.")
    try:
        if not h5py.is_hdf5(path):
            raise InputError(f"{path} is not an HDF5 file, so it is not a run. `circuits train` makes runs.")
        _probe(path)
        file = h5py.File(path, "r", swmr=True, rdcc_nbytes=0, libver=LIBRARY_VERSIONS)
    except (OSError, RuntimeError) as error:
        raise InputError(f"{path} cannot be opened: {error}") from error
    found = file.attrs.get("format")
    if found != FORMAT:
        file.close()
        raise InputError(f"{path} is an HDF5 file but not a run: its 'format' is {found!r}, expected {FORMAT!r}.")
    version = int(file.attrs.get("format_version", 0))
    if version > FORMAT_VERSION:
        file.close()
        raise InputError(
            f"{path} has format version {version}, this package reads up to {FORMAT_VERSION}. "
            "Upgrade grokking-circuits."
        )
    return file


def _probe(path: Path) -> None:
    """Raise what HDF5 has against the metadata of a file that nobody is writing.

    The single-writer-multiple-reader mode takes a bad checksum for a write under way and waits, longer each time, for
    years; the plain mode says at once that the file is damaged.
    """
    with path.open("rb") as raw:
        if raw.read(12)[11:] != b"\0":
            return  # open for writing, now or when its writer was killed
    with h5py.File(path, "r") as file:
        file.visititems(lambda _, item: list(item.attrs) and None)
        if "step" in file:
            file["step"][-1:]


def _dims(dataset: h5py.Dataset) -> tuple[str, ...]:
    names = (dim[0].name if len(dim) else f"{dataset.name}_{axis}" for axis, dim in enumerate(dataset.dims))
    return tuple(name.rsplit("/", 1)[-1] for name in names)
