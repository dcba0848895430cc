"""Results of a run: taken from its sidecar where they still hold, measured where not, and kept there."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import xarray as xr

from circuits.analysis.measurements import analyze, chosen
from circuits.analysis.options import Options
from circuits.analysis.sidecar import check_sidecar, read_sidecar, sidecar_path, write_sidecar
from circuits.checkpoints.run import Run


class Results(NamedTuple):
    """Measurements of a run.

    Attributes
    ----------
    datasets
        A labeled dataset per measurement, in the registry's order.
    reused
        Names of those that the sidecar held.
    path
        The sidecar.
    remark
        Why something in the sidecar is not used, one line without a full stop; "" if there is nothing to say.
    """

    datasets: dict[str, xr.Dataset]
    reused: tuple[str, ...]
    path: Path
    remark: str


def results_of(
    run: Run,
    *measurements: str,
    options: Options = Options(),
    out: Path | None = None,
    force: bool = False,
    keep: bool = True,
    progress: bool = False,
) -> Results:
    """Measurements of a run, made only where its sidecar has none that still holds.

    Parameters
    ----------
    run, measurements, options, progress
        As `circuits.analyze` takes them.
    out
        The sidecar; by default RUN.analysis.nc.
    force
        Whether to measure again what it holds.
    keep
        Whether to write there what is measured; see `write_sidecar`.

    Raises
    ------
    InputError
        As `circuits.analyze`; or `out` is no place for a sidecar.
    """
    names = chosen(run, *measurements)
    stored = read_sidecar(run, options, check_sidecar(run, out))
    reused = () if force else tuple(name for name in names if name in stored.results)
    missing = [name for name in names if name not in reused]
    made = analyze(run, *missing, options=options, progress=progress) if missing else {}
    path = write_sidecar(run, made, options, out) if made and keep else sidecar_path(run) if out is None else out
    datasets = {name: made[name] if name in made else stored.results[name] for name in names}
    return Results(datasets, reused, path, stored.remark(missing))
