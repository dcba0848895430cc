"""`circuits analyze RUN.h5`: measure a run, keep the results in a sidecar file beside it, print them as tables or JSON.

Every line of `registry.MEASUREMENTS` gives a flag, followed by the options that only this measurement has. The options
that several measurements share come last. The command always writes the results file, and prints tables or, with
`--json`, one JSON object. Per-neuron trajectories are large: JSON has them only if a flag names their measurement.
"""

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from circuits.analysis.networks.options import PruningOptions
from circuits.analysis.options import Options
from circuits.cli.console import remark, result
from circuits.cli.flags import Flag, RunFile, Switch, flag_class, flags_of, overlaid, shown
from circuits.cli.opening import opened_run
from circuits.cli.parsing import parsed, validated
from circuits.cli.python_words import in_flags
from circuits.registry import MEASUREMENTS, load
from circuits.tabular import count

if TYPE_CHECKING:
    from circuits.checkpoints.run import Run


@dataclass(kw_only=True)
class AnalyzeFlags:
    """Run each measurement whose flag is given, like --subnetwork, or else all default ones that apply to the run."""

    run: RunFile
    """The run file; it is only read."""
    all: Switch = False
    """Run all default measurements that apply to this run, in addition to the measurements whose flags are given."""
    json: Switch = False
    """Print one JSON object instead of tables; circuits.read_json restores it."""
    out: Annotated[Path | None, shown("SIDECAR.nc", "(default: RUN.analysis.nc)")] = None
    """The sidecar, a netCDF-4 file that keeps the results."""
    force: Switch = False
    """Measure again, even if the sidecar (the results file in --out) has valid results."""
    quiet: Switch = False
    """No progress bars."""


def command(words: list[str]) -> int:
    analyze_flags = _flag_class()
    flags = parsed(analyze_flags, words, "circuits analyze")
    options = validated(Options, overlaid(Options().model_dump(), flags), analyze_flags)
    named = [name for name in MEASUREMENTS if getattr(flags, _field(name))]

    from circuits.analysis.measurements import usual
    from circuits.analysis.networks.remarks import phase_remarks
    from circuits.analysis.networks.unseen import seen_warnings
    from circuits.analysis.results import Results, results_of
    from circuits.analysis.sidecar import write_sidecar
    from circuits.analysis.store import to_json
    from circuits.analysis.tables import tables

    def answer(results: Results) -> list[Any]:
        if flags.json:
            concise = {name: data if name in named else _concise(data) for name, data in results.datasets.items()}
            return [to_json(run, concise, options)]
        titled = tables(results.datasets)
        return [
            _headline(run, options),
            *(item for title, table in titled for item in ("", *title.splitlines(), table)),
        ]

    with opened_run(flags.run) as run:
        wanted = [*usual(run.config), *named] if flags.all else named
        measure = partial(
            results_of, run, *wanted, options=options, out=flags.out, keep=False, progress=not flags.quiet
        )
        results = measure(force=flags.force)
        try:
            lines = answer(results)
        except Exception as error:  # any error that the content of an edited sidecar causes in the tables
            if not results.reused:
                raise
            remark(f"warning: {results.path} has content that circuits does not write ({error!r}), so it is made anew.")
            results = measure(force=True)
            lines = answer(results)
        result(*lines)
        new = {name: data for name, data in results.datasets.items() if name not in results.reused}
        sidecar = write_sidecar(run, new, options, flags.out) if new else results.path
        of_test_set = seen_warnings(run)
    of_sidecar = [f"{results.remark}, so it is made anew."] if results.remark else []
    of_results = (line for data in results.datasets.values() for line in data.attrs.get("warnings", ()))
    for warning in dict.fromkeys([*of_sidecar, *phase_remarks(results.datasets["phases"]), *of_results, *of_test_set]):
        remark(f"warning: {in_flags(warning)}")
    reused = ", ".join(name for name in results.reused if name != "phases")
    remark(f"Results are in {sidecar}." + (f" {reused}: kept from before; --force measures again." if reused else ""))
    return 0


def _headline(run: "Run", options: Options) -> str:
    from circuits.analysis.networks.labels import chosen_checkpoints
    from circuits.analysis.store import n_parameters

    chosen = len(chosen_checkpoints(run, options))
    measured = "" if chosen == run.n_checkpoints else f" ({chosen} of them measured)"
    networks = f"{count(len(run.seeds), 'seed')}, {count(run.n_checkpoints, 'checkpoint')}{measured}"
    n = n_parameters(run)
    return f"{run.path}: {run.config.name}, {networks}, {n:,} parameter{'' if n == 1 else 's'} per network"


def _flag_class() -> Any:
    """The flags of this command: every measurement with its own options, then the shared options."""
    flags: list[Flag] = []
    options = flags_of(Options())
    shared = PruningOptions.model_fields
    for name, entry in MEASUREMENTS.items():
        described = tyro.conf.arg(help=entry.help, help_behavior_hint="")
        flags.append((_field(name), Annotated[bool, described], field(default=False)))
        own = load(entry.options).model_fields.keys() - shared.keys()
        flags += [flag for flag in options if flag[0] in own and flag not in flags]
    flags += [flag for flag in options if flag not in flags]
    return flag_class("Analyze", flags, AnalyzeFlags.__doc__ or "", AnalyzeFlags)


def _field(measurement: str) -> str:
    return measurement.replace("-", "_")


def _concise(dataset: Any) -> Any:
    """The dataset without variables that have a value for every neuron at every checkpoint."""
    of_neurons = ({"step", "neuron"}, {"step", "rank"})
    return dataset.drop_vars(
        [name for name, values in dataset.data_vars.items() if any(dims <= set(values.dims) for dims in of_neurons)]
    )
