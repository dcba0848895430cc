"""`circuits analyze RUN.h5`: measure a run, keep the results beside it, print them as tables or as JSON.

A flag per line of `registry.MEASUREMENTS`, with the options that it alone has below it, then those that
several share. The sidecar is always written; stdout has
the tables, or with `--json` one JSON object. Per-neuron trajectories are large: JSON has them only when their
measurement is named.
"""

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from circuits.analysis.networks.options import PruningOptions
from circuits.analysis.options import Options
from circuits.cli.console import remark, result
from circuits.cli.flags import Flag, flag_class, flags_of, overlaid
from circuits.cli.opening import opened_run
from circuits.cli.parsing import parsed, validated
from circuits.registry import MEASUREMENTS, load
from circuits.tabular import count

if TYPE_CHECKING:
    from circuits.checkpoints.run import Run

COMMAND = "circuits analyze"


@dataclass(kw_only=True)
class AnalyzeFlags:
    """Measure a run. Without a measurement flag, all that apply to it are made, but for those on request only."""

    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN.h5", help_behavior_hint="")]
    """The run file; it is only read."""
    all: Annotated[bool, tyro.conf.arg(help_behavior_hint="")] = False
    """Every measurement that applies and is not on request only, as when none is named."""
    json: Annotated[bool, tyro.conf.arg(help_behavior_hint="")] = False
    """Print one JSON object instead of tables; circuits.read_json restores it."""
    out: Annotated[
        Path | None, tyro.conf.arg(metavar="SIDECAR.nc", help_behavior_hint="(default: RUN.analysis.nc)")
    ] = None
    """Where the results are kept, as netCDF-4."""
    force: Annotated[bool, tyro.conf.arg(help_behavior_hint="")] = False
    """Measure again what is kept there and still valid."""
    quiet: Annotated[bool, tyro.conf.arg(help_behavior_hint="")] = False
    """No progress bars."""


def command(words: list[str]) -> int:
    """Run `circuits analyze`."""
    analyze_flags = _flag_class()
    flags = parsed(analyze_flags, words, COMMAND)
    options = validated(Options, overlaid(Options().model_dump(), flags), analyze_flags)
    named = [name for name in MEASUREMENTS if getattr(flags, _field(name))]

    from circuits.analysis.networks.remarks import phase_remarks
    from circuits.analysis.networks.unseen import seen_warnings
    from circuits.analysis.results import Results, results_of
    from circuits.analysis.sidecar import write_sidecar
    from circuits.analysis.store import to_json
    from circuits.analysis.tables import tables

    def answer(found: Results) -> list[Any]:
        if flags.json:
            shown = {name: data if name in named else _concise(data) for name, data in found.datasets.items()}
            return [to_json(run, shown, options)]
        titled = tables(found.datasets)
        return [
            _headline(run, options),
            *(item for title, table in titled for item in ("", *title.splitlines(), table)),
        ]

    with opened_run(flags.run) as run:
        wanted = () if flags.all else named
        measure = partial(
            results_of, run, *wanted, options=options, out=flags.out, keep=False, progress=not flags.quiet
        )
        found = measure(force=flags.force)
        try:
            lines = answer(found)
        except Exception as error:  # whatever an edited sidecar makes the tables stumble over
            if not found.reused:
                raise
            remark(f"warning: {found.path} holds what circuits does not write ({error!r}), so it is made anew.")
            found = measure(force=True)
            lines = answer(found)
        result(*lines)
        made = {name: data for name, data in found.datasets.items() if name not in found.reused}
        sidecar = write_sidecar(run, made, options, flags.out) if made else found.path
        of_test_set = seen_warnings(run)
    of_sidecar = [f"{found.remark}, so it is made anew."] if found.remark else []
    warnings = (line for data in found.datasets.values() for line in data.attrs.get("warnings", ()))
    for warning in dict.fromkeys([*of_sidecar, *phase_remarks(found.datasets["phases"]), *warnings, *of_test_set]):
        remark(f"warning: {warning}")
    reused = [name for name in found.reused if name != "phases"]
    again = f" {', '.join(reused)}: kept from before; --force measures again." if reused else ""
    remark(f"Results are in {sidecar}.{again}")
    return 0


def _headline(run: "Run", options: Options) -> str:
    from circuits.analysis.networks.labels import chosen_checkpoints
    from circuits.analysis.store import n_parameters

    chosen = len(chosen_checkpoints(run, options))
    measured = "" if chosen == run.n_checkpoints else f" ({chosen} of them measured)"
    had = f"{count(len(run.seeds), 'seed')}, {count(run.n_checkpoints, 'checkpoint')}{measured}"
    return f"{run.path}: {run.config.name}, {had}, {n_parameters(run):,} parameters per network"


def _flag_class() -> Any:
    """The flags of this command; each measurement's, with the options that it alone has below; then all others."""
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
    """Without what has a value for every neuron at every checkpoint."""
    of_neurons = ({"step", "neuron"}, {"step", "rank"})
    return dataset.drop_vars(
        [name for name, values in dataset.data_vars.items() if any(dims <= set(values.dims) for dims in of_neurons)]
    )
