"""Results on disk: strict JSON that restores exactly, and a netCDF-4 sidecar beside the run.

The JSON is one object, {"schema_version": 1, "run": {…}, NAME: D, …} with D = `xarray.Dataset.to_dict()`, each
variable also naming its dtype and shape; NaN is null, infinities are the strings "Infinity" and "-Infinity". The
sidecar holds one group per measurement, and says which version, options and run made it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

import circuits
from circuits.analysis.unseen import seen_share
from circuits.checkpoints.run import Run
from circuits.errors import InputError
from circuits.options import Options
from circuits.registry import MEASUREMENTS
from circuits.whole import written_whole

SCHEMA_VERSION = 1
FORMAT = "circuits-analysis"
_SPECIAL = {"Infinity": math.inf, "-Infinity": -math.inf}


def run_summary(run: Run) -> dict[str, Any]:
    """What a result must say of the run it is about."""
    return {
        "path": str(run.path),
        "fingerprint": run.fingerprint,
        "config": run.config.model_dump(mode="json"),
        "seeds": list(run.seeds),
        "n_checkpoints": run.n_checkpoints,
        "n_parameters": n_parameters(run),
        "test_seen_share": seen_share(run).values.tolist(),
        "complete": run.is_complete,
        "versions": run.versions,
    }


def n_parameters(run: Run) -> int:
    """Numbers in one network."""
    return sum(int(np.prod(shape)) for _, shape in run.config.shapes.values())


def to_json(run: Run, results: Mapping[str, xr.Dataset], options: Options = Options()) -> str:
    """Results as one strict JSON object."""
    document: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "run": run_summary(run),
        "options": options.model_dump(),
        **{name: _encoded(dataset) for name, dataset in results.items()},
    }
    return json.dumps(document, allow_nan=False)


def read_json(source: str | Path) -> dict[str, Any]:
    """What `circuits analyze --json` printed: "run" and "options" as plain data, every measurement as an
    xarray.Dataset.

    Parameters
    ----------
    source
        A file's path, or the JSON text itself.

    Raises
    ------
    InputError
        It is not JSON, or not of this schema.
    """
    text = str(source)
    if not text.lstrip().startswith("{"):
        try:
            text = Path(source).read_text()
        except OSError as error:
            raise InputError(f"{source}: {error.strerror}. Pass a file, or the JSON text itself.") from None
    try:
        document = json.loads(text)
    except ValueError as error:
        raise InputError(f"That is not JSON: {error}.") from None
    version = document.get("schema_version")
    if version != SCHEMA_VERSION:
        raise InputError(f"The JSON has schema_version {version!r}, this package reads {SCHEMA_VERSION}.")
    plain = {"schema_version", "run", "options"}
    return {name: value if name in plain else _decoded(value) for name, value in document.items()}


def sidecar_path(run: Run) -> Path:
    """Where the results of a run lie by default: RUN.analysis.nc."""
    return run.path.with_suffix(".analysis.nc")


def write_sidecar(
    run: Run, results: Mapping[str, xr.Dataset], options: Options = Options(), path: Path | None = None
) -> Path:
    """Write results as netCDF-4, one group per measurement.

    What an existing sidecar holds of the same run, as it is now, under the same options is kept; a sidecar of another
    state of the run, or made with other options, is replaced.

    Returns
    -------
    Where it was written.

    Raises
    ------
    InputError
        `path` is the run itself, or something that is no sidecar.
    """
    path = check_sidecar(run, path)
    attrs = {"format": FORMAT, **_made_by(run, options), "run": json.dumps(run_summary(run))}
    datasets = _still_valid(path, attrs) | {name: _storable(dataset) for name, dataset in results.items()}
    tree = xr.DataTree.from_dict({name: datasets[name] for name in sorted(datasets, key=list(MEASUREMENTS).index)})
    tree.attrs = attrs
    with written_whole(path, replace=True) as temporary:
        tree.to_netcdf(temporary, engine="h5netcdf")
    return path


def stored_results(run: Run, options: Options = Options(), path: Path | None = None) -> dict[str, xr.Dataset]:
    """What the sidecar holds that still holds: made by this version, of this state of the run, under these options.

    Parameters
    ----------
    run, options
        The run, and how it should have been measured.
    path
        The sidecar; by default RUN.analysis.nc.

    Returns
    -------
    A labelled dataset per measurement, in the registry's order; none if there is no such sidecar.
    """
    path = sidecar_path(run) if path is None else Path(path)
    if not _is_sidecar(path):
        return {}
    found = _still_valid(path, _made_by(run, options))
    return {name: _restored(found[name]) for name in MEASUREMENTS if name in found}


def _made_by(run: Run, options: Options) -> dict[str, str]:
    """What must be the same for a result to hold."""
    return {
        "circuits_version": circuits.__version__,
        "options": options.model_dump_json(),
        "run_fingerprint": run.fingerprint,
    }


def _is_sidecar(path: Path) -> bool:
    import h5py

    try:
        with h5py.File(path, "r") as file:
            return bool(file.attrs.get("format") == FORMAT)
    except OSError:  # missing, a folder, damaged, or something else
        return False


def _still_valid(path: Path, attrs: Mapping[str, str]) -> dict[str, xr.Dataset]:
    """Groups of an existing sidecar that were made by this version, of this state of the run, under these options."""
    if not path.exists():
        return {}
    with xr.open_datatree(path, engine="h5netcdf") as tree:
        if any(tree.attrs.get(name) != attrs[name] for name in ("circuits_version", "options", "run_fingerprint")):
            return {}
        return {name: child.to_dataset().load() for name, child in tree.children.items() if name in MEASUREMENTS}


def check_sidecar(run: Run, path: Path | None = None) -> Path:
    """Where results may be written, RUN.analysis.nc by default; an `InputError` if something else is there."""
    path = sidecar_path(run) if path is None else Path(path)
    if not path.exists():
        if not path.parent.is_dir():
            raise InputError(f"{path}: there is no folder {path.parent}. Make it, or pass another --out.")
        return path
    same = path.samefile(run.path)
    if same or not _is_sidecar(path):
        what = "the run itself" if same else "not an analysis sidecar"
        raise InputError(f"{path} exists and is {what}, so it is not overwritten. Pass another --out.")
    return path


def _storable(dataset: xr.Dataset) -> xr.Dataset:
    warnings = dataset.attrs.get("warnings")
    return dataset if warnings is None else dataset.assign_attrs(warnings="\n".join(warnings))


def _restored(dataset: xr.Dataset) -> xr.Dataset:
    warnings = dataset.attrs.get("warnings")
    return (
        dataset if warnings is None else dataset.assign_attrs(warnings=[line for line in warnings.split("\n") if line])
    )


def _encoded(dataset: xr.Dataset) -> dict[str, Any]:
    document = dataset.to_dict()
    for part in ("coords", "data_vars"):
        for name, variable in document[part].items():
            variable["dtype"], variable["shape"] = str(dataset[name].dtype), list(dataset[name].shape)
            variable["data"] = _leaves(variable["data"], _to_strict)
    return document


def _decoded(document: dict[str, Any]) -> xr.Dataset:
    for part in ("coords", "data_vars"):
        for variable in document[part].values():
            dtype = np.dtype(variable.pop("dtype"))
            floating = dtype.kind == "f"
            data = _leaves(variable["data"], _from_strict) if floating else variable["data"]
            variable["data"] = np.array(data, dtype).reshape(variable.pop("shape"))
    return xr.Dataset.from_dict(document)


def _leaves(data: Any, change: Any) -> Any:
    return [_leaves(item, change) for item in data] if isinstance(data, list) else change(data)


def _to_strict(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    return value


def _from_strict(value: Any) -> Any:
    return math.nan if value is None else _SPECIAL.get(value, value)
