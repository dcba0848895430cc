"""Results as strict JSON; reading the JSON restores them exactly.

The text is one JSON object, {"schema_version": 1, "run": {…}, NAME: D, …}. D is the result of measurement NAME, as
`xarray.Dataset.to_dict()` with each variable's dtype and shape. NaN is null, infinities are "Infinity" and "-Infinity".
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from circuits.analysis.networks.unseen import seen_share
from circuits.analysis.options import Options
from circuits.checkpoints.labeled import labeled
from circuits.checkpoints.run import Run
from circuits.errors import InputError

SCHEMA_VERSION = 1
_SPECIAL = {"Infinity": math.inf, "-Infinity": -math.inf}


def run_summary(run: Run) -> dict[str, Any]:
    """Facts about a run, such as its config and its fingerprint (hash), stored with its results."""
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
    """Number of parameters of one network."""
    return sum(int(np.prod(shape)) for _, shape in run.config.shapes.values())


def to_json(run: Run, results: Mapping[str, xr.Dataset], options: Options = Options()) -> str:
    """Results as one JSON object without the nonstandard literals NaN and Infinity."""
    document: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "run": run_summary(run),
        "options": options.model_dump(),
        **{name: _encoded(dataset) for name, dataset in results.items()},
    }
    return json.dumps(document, allow_nan=False)


def read_json(source: str | Path) -> dict[str, Any]:
    """Results that `circuits analyze --json` printed: a dataset per measurement; "run" and "options" as plain data.

    `source` is a file's path, or the JSON text itself.

    Raises
    ------
    InputError
        The file cannot be read, the text is not JSON, or the JSON has another schema version.
    """
    text = str(source)
    if not text.lstrip().startswith("{"):
        try:
            text = Path(source).read_text()
        except OSError as error:
            raise InputError(f"{source}: {error.strerror}. Pass a file, or the JSON text itself.") from None
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"The file or text that read_json got is not JSON: {error}.") from None
    version = document.get("schema_version")
    if version != SCHEMA_VERSION:
        raise InputError(f"The JSON has schema_version {version!r}, not {SCHEMA_VERSION}. Repeat circuits analyze.")
    plain = {"schema_version", "run", "options"}
    return {name: value if name in plain else _decoded(value) for name, value in document.items()}


def _encoded(dataset: xr.Dataset) -> dict[str, Any]:
    document = dataset.to_dict()
    for part in ("coords", "data_vars"):
        for name, variable in document[part].items():
            variable["dtype"], variable["shape"] = str(dataset[name].dtype), list(dataset[name].shape)
            variable["data"] = _leaves(variable["data"], strict)
    return document


def _decoded(document: dict[str, Any]) -> xr.Dataset:
    for part in ("coords", "data_vars"):
        for variable in document[part].values():
            dtype = np.dtype(variable.pop("dtype"))
            data = _leaves(variable["data"], _from_strict) if dtype.kind == "f" else variable["data"]
            variable["data"] = np.array(data, dtype).reshape(variable.pop("shape"))
    return labeled(xr.Dataset.from_dict(document))


def _leaves(data: Any, change: Any) -> Any:
    return [_leaves(item, change) for item in data] if isinstance(data, list) else change(data)


def strict(value: Any) -> Any:
    """A value for strict JSON: NaN becomes None, infinities become "Infinity" and "-Infinity".

    Examples
    --------
    >>> strict(float("nan")), strict(float("inf")), strict(0.5)
    (None, 'Infinity', 0.5)
    """
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    return value


def _from_strict(value: Any) -> Any:
    return math.nan if value is None else _SPECIAL.get(value, value)
