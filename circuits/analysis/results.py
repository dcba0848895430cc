"""Results of a run, stored in the sidecar, a file beside the run; missing or invalid results are measured and added."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import xarray as xr

from circuits.analysis.measured import Measured, results_html
from circuits.analysis.measurements import analyze, chosen, named
from circuits.analysis.options import Options, as_options
from circuits.analysis.sidecar import check_sidecar, read_sidecar, sidecar_path, write_sidecar
from circuits.atomic_write import unused
from circuits.checkpoints.run import Run
from circuits.notebook import facts_html


class Results(NamedTuple):
    """Results of a run.

    Attributes
    ----------
    datasets
        A labeled dataset per measurement, in the order of `circuits.registry.MEASUREMENTS`.
    reused
        Names of the measurements whose results come from the sidecar, a file of stored results beside the run.
    path
        Path of the sidecar.
    remark
        Why part of the sidecar is not used, in one line without a full stop; "" if all of it is used.
    """

    datasets: dict[str, xr.Dataset]
    reused: tuple[str, ...]
    path: Path
    remark: str

    def _repr_html_(self) -> str:
        facts = {"sidecar": str(self.path), "reused": ", ".join(self.reused) or "none", "remark": self.remark or "none"}
        return results_html(self.datasets, facts_html(facts))


def results_of(
    run: Run,
    *measurements: str | Sequence[str],
    options: Options | Mapping[str, Any] = Options(),
    out: Path | None = None,
    force: bool = False,
    keep: bool = True,
    progress: bool = False,
) -> Results:
    """Results of a run. A measurement runs only if the sidecar, a file beside the run, has no valid result of it.

    Parameters
    ----------
    run, measurements, options, progress
        As for `circuits.analyze`.
    out
        Path of the sidecar; by default RUN.analysis.nc.
    force
        Whether to measure again, even if the sidecar has valid results.
    keep
        Whether to write new results to the sidecar; see `write_sidecar`.

    Raises
    ------
    InputError
        In the same cases as `circuits.analyze`, or if `out` cannot be a sidecar.
    """
    options = as_options(options)
    names = chosen(run, *named(measurements))
    stored = read_sidecar(run, options, check_sidecar(run, out))
    reused = () if force else tuple(name for name in names if name in stored.results)
    missing = [name for name in names if name not in reused]
    new = analyze(run, *missing, options=options, progress=progress) if missing else {}
    remark = stored.remark(missing)
    if not stored.ours and stored.path == sidecar_path(run):
        remark += f"; it is renamed to {unused(stored.path).name}"  # by `write_sidecar`
    path = write_sidecar(run, new, options, out) if new and keep else out or sidecar_path(run)
    datasets = {name: new[name] if name in new else stored.results[name] for name in names}
    return Results(Measured(datasets), reused, path, remark)
