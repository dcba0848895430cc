"""The sidecar: a netCDF-4 file of results beside the run, with one group per measurement. It is never trusted.

Each group states which code, options and state of the run gave its result. The file ends with a digest of its content.
A group is used only if the digest is right, the file holds only plain arrays, and a new measurement would give the same
result. Any other group is reported and not used; no command fails because of such a group. If an option changes, the
results of measurements that do not read this option stay valid.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

import circuits
from circuits.analysis.measurements import options_of
from circuits.analysis.options import Options
from circuits.analysis.store import run_summary
from circuits.atomic_write import unused, written_whole
from circuits.checkpoints.labeled import labeled
from circuits.checkpoints.run import Run
from circuits.checkpoints.sandbox import examined
from circuits.errors import InputError
from circuits.registry import MEASUREMENTS

FORMAT = "circuits-analysis"
FORMAT_VERSION = 1
SEAL = b"\ncircuits sidecar, sha256 of what stands before: "
BEGINNING = 1 << 14  # first bytes of a sidecar, which contain its format
SEAL_BYTES = len(SEAL) + hashlib.sha256().digest_size * 2 + 1
PROVENANCE = {
    "circuits_version": "made by another version of circuits",
    "code": "made by another version of circuits",
    "run_fingerprint": "of another run, or of an earlier state of this one",
    "options": "measured with other options",
}
"""Attribute of stored results -> why a result is rejected if the attribute differs from that of a new result."""


@dataclass(frozen=True)
class Stored:
    """The valid results in a sidecar (the file of results beside a run), and why other results in it are not used.

    `results` has a labeled dataset per measurement, in the order of `circuits.registry.MEASUREMENTS`. `problem` is the
    reason, without a final full stop, why nothing in the sidecar is used; "" if the sidecar is sound or missing. `ours`
    is False if `path` exists, but this package did not make it. `dropped`: measurement of an unused result -> reason.
    """

    results: dict[str, xr.Dataset] = field(default_factory=dict)
    problem: str = ""
    ours: bool = True
    path: Path | None = None
    dropped: dict[str, str] = field(default_factory=dict)

    def remark(self, names: Iterable[str] = tuple(MEASUREMENTS)) -> str:
        """Reason, without a final full stop, why stored results of measurements in `names` are not used; "" if none."""
        reasons = {name: self.dropped[name] for name in names if name in self.dropped}
        if self.problem or not reasons:
            return self.problem
        what = ", ".join(reasons) + " in it" if self.results or len(reasons) < len(self.dropped) else "its content"
        return f"{self.path}: {what} was {' or '.join(dict.fromkeys(reasons.values()))}"


def sidecar_path(run: Run) -> Path:
    """Default path of a run's sidecar, its file of results: RUN.analysis.nc."""
    return run.path.with_suffix(".analysis.nc")


def write_sidecar(
    run: Run, results: Mapping[str, xr.Dataset], options: Options = Options(), path: Path | None = None
) -> Path:
    """Write results to the sidecar, a netCDF-4 file beside the run with one group per measurement.

    An existing sidecar keeps the results of other measurements, each with its own options, if this version of circuits
    made them from the same state of the run. Other results are dropped. A folder or a file of another kind at the
    default path is renamed to RUN.analysis.nc.1 or the next free number.

    Raises
    ------
    InputError
        The folder of the sidecar does not exist, or `path` is given and is not a sidecar, such as the run itself.
    OSError
        The write failed, such as on a full disk; an existing file is unchanged.
    """
    target = check_sidecar(run, path)
    made_by = _made_by(run)
    about = {"format": FORMAT, "format_version": FORMAT_VERSION, **made_by, "run": json.dumps(run_summary(run))}
    new = {name: _storable(result, _made_by(run, options, name)) for name, result in results.items()}
    with _one_at_a_time(target.parent):
        stored, groups = _read(target)
        kept = {name: group for name, group in groups.items() if not _why_not(group, made_by)}
        try:
            content = _as_netcdf(kept | new, about)
        except Exception:  # an edited file may have attributes that cannot be written
            content = _as_netcdf(new, about)
        with written_whole(target, replace=True) as temporary:
            temporary.write_bytes(content)
            _seal(temporary)
            if not stored.ours:
                os.replace(target, unused(target))
    return target


@contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    """Wait up to a minute while another process merges its results into a sidecar in this folder."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        for _ in range(600):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(0.1)
            except OSError:  # a file system without locks
                break
        yield
    finally:
        os.close(descriptor)


def _as_netcdf(datasets: Mapping[str, xr.Dataset], about: Mapping[str, Any]) -> memoryview:
    """Content of a netCDF-4 file, a group per measurement; made in memory, since HDF5 crashes if the disk fills up."""
    tree = xr.DataTree.from_dict({name: datasets[name] for name in sorted(datasets, key=list(MEASUREMENTS).index)})
    tree.attrs = dict(about)
    return tree.to_netcdf(engine="h5netcdf")


def read_sidecar(run: Run, options: Options = Options(), path: Path | None = None) -> Stored:
    """Valid results in a run's sidecar, the file of analysis results at `path` (by default RUN.analysis.nc).

    A result is valid if this version of circuits made it from this state of the run with these options. `Stored` also
    says why any other result is not used. A damaged, foreign or outdated file raises no error.
    """
    path = Path(path or sidecar_path(run))
    stored, groups = _read(path)
    for name, group in groups.items():
        if reason := _why_not(group, _made_by(run, options, name)):
            stored.dropped[name] = reason
            continue
        try:
            stored.results[name] = _restored(group)
        except Exception:  # an edited file may have attributes that circuits does not write
            stored.dropped[name] = "changed since"
    return stored


def check_sidecar(run: Run, path: Path | None = None) -> Path:
    """The path to which results may be written, by default RUN.analysis.nc.

    Raises
    ------
    InputError
        The path's folder does not exist; or the given `path` is a folder, the run, or any file that is not a sidecar.
    """
    given, path = path is not None, Path(path or sidecar_path(run))
    if given and path.is_dir():
        raise InputError(f"{path} is a folder, so results cannot be written to it. Pass another path.")
    if not os.path.lexists(path):
        if not path.parent.is_dir():
            raise InputError(f"{path}: the folder {path.parent} does not exist. Create it, or pass another path.")
        return path
    if given and not read_sidecar(run, path=path).ours:
        what = "the run itself" if path.exists() and path.samefile(run.path) else "not an analysis sidecar"
        raise InputError(f"{path} exists and is {what}, so it is not overwritten. Pass another path.")
    return path


def _read(path: Path) -> tuple[Stored, dict[str, xr.Dataset]]:
    """State of the sidecar at `path`, and its results (valid or not) by measurement; no results if it is unusable."""
    if not os.path.lexists(path):
        return Stored(path=path), {}
    seal, digest = _seal_of(path)
    if seal == "broken":
        return Stored(problem=f"{path} is damaged: its digest is wrong", path=path), {}
    verdict, text = examined(path, FORMAT, FORMAT_VERSION)
    if verdict != "sound":
        ours = seal == "whole" or verdict in ("newer", "refused") or (verdict == "damaged" and _begins_as_ours(path))
        return Stored(problem=f"{path} {_problem(verdict, text)}", ours=ours, path=path), {}
    if seal == "none":
        return Stored(problem=f"{path} was made by an earlier version of circuits, or changed since", path=path), {}
    try:
        groups = _groups(path, digest)
    except Exception as error:
        return Stored(problem=f"{path} cannot be read as netCDF ({type(error).__name__})", path=path), {}
    return Stored(path=path), {name: groups[name] for name in MEASUREMENTS if name in groups}


def _why_not(group: xr.Dataset, made_by: Mapping[str, str]) -> str:
    """Reason not to use a stored result, from the first attribute that differs from `made_by`; "" if none differs."""
    attrs = group.attrs  # an edited file may have values of any type
    return next((PROVENANCE[key] for key, value in made_by.items() if str(attrs.get(key, "")) != value), "")


def _made_by(run: Run, options: Options | None = None, measurement: str = "") -> dict[str, str]:
    """Attributes that a valid stored result must have; without `options`, only the ones that all measurements share."""
    of_options = {} if options is None else {"options": options_of(measurement, options).model_dump_json()}
    return {
        "circuits_version": circuits.__version__,
        "code": _code(),
        "run_fingerprint": run.fingerprint,
        **of_options,
    }


@cache
def _code() -> str:
    """Digest of the package's source code; after a change of the code, stored results are no longer valid."""
    package = Path(circuits.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        digest.update(f"{path.relative_to(package)}\n".encode() + path.read_bytes())
    return digest.hexdigest()


def _seal(path: Path) -> None:
    """Append a file's SHA-256 digest. HDF5 ignores bytes after its own data, so other tools can still read the file."""
    with path.open("rb+") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        file.seek(0, os.SEEK_END)
        file.write(SEAL + digest.encode() + b"\n")


def _seal_of(path: Path) -> tuple[str, str]:
    """State of the stored digest ("whole", "broken" or "none"), and the digest of all bytes before it ("" if none)."""
    if not path.is_file():
        return "none", ""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            file.seek(max(0, size - SEAL_BYTES))
            end = file.read()
            if size < SEAL_BYTES or not end.startswith(SEAL):
                return "none", ""
            digest, left = hashlib.sha256(), size - SEAL_BYTES
            file.seek(0)
            while left and (part := file.read(min(left, 1 << 20))):
                digest.update(part)
                left -= len(part)
    except OSError:
        return "none", ""
    whole = end == SEAL + digest.hexdigest().encode() + b"\n"
    return "whole" if whole else "broken", digest.hexdigest()


def _begins_as_ours(path: Path) -> bool:
    """Whether a damaged HDF5 file has the name of the sidecar format in its first 16 KiB, where circuits writes it."""
    with path.open("rb") as file:
        return FORMAT.encode() in file.read(BEGINNING)


def _problem(verdict: str, text: str) -> str:
    lines = {
        "foreign": "is an HDF5 file of another kind",
        "newer": f"has format version {text}, but this package reads {FORMAT_VERSION}",
        "other": f"is {text}",
        "closed": f"cannot be opened: {text}",
        "crashed": f"made HDF5 crash ({text}) when it was checked",
        "slow": f"took longer than {text} to check",
        "unknown": f"cannot be checked: {text}",
    }
    return lines.get(verdict, f"is {verdict}: {text.rstrip('.')}")


@lru_cache(maxsize=1)  # a command reads the sidecar, and once more when it writes
def _groups(path: Path, digest: str) -> dict[str, xr.Dataset]:
    """All groups of the file `path`, in memory. A second call with the same arguments does not read the file."""
    with xr.open_datatree(path, engine="h5netcdf", decode_times=False, driver_kwds={"locking": False}) as tree:
        return {str(name): child.to_dataset().load() for name, child in tree.children.items()}


def _storable(dataset: xr.Dataset, made_by: Mapping[str, str]) -> xr.Dataset:
    warnings = dataset.attrs.get("warnings")
    as_text = {} if warnings is None else {"warnings": "\n".join(warnings)}
    return dataset.assign_attrs(**as_text, **made_by)


def _restored(dataset: xr.Dataset) -> xr.Dataset:
    restored = labeled(dataset.copy(deep=True))  # the groups are cached
    restored.attrs = _as_python({name: value for name, value in dataset.attrs.items() if name not in PROVENANCE})
    if "warnings" in restored.attrs:
        restored.attrs["warnings"] = [line for line in restored.attrs["warnings"].split("\n") if line]
    for variable in restored.variables.values():
        variable.attrs = _as_python(variable.attrs)
    return restored


def _as_python(attrs: Mapping[Any, Any]) -> dict[Any, Any]:
    return {
        name: value.tolist() if isinstance(value, np.generic | np.ndarray) else value for name, value in attrs.items()
    }
