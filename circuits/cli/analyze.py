"""`circuits analyze RUN.h5`: measure a run, keep the results beside it, print them as tables or as JSON.

A flag per line of `registry.MEASUREMENTS`, an option per field of `Options`. The sidecar is always written; stdout has
the tables, or with `--json` one JSON object. Per-neuron trajectories are large: JSON has them only when their
measurement is named.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from circuits.cli.console import count, remark, result
from circuits.cli.flags import Flag, flag_class, flags_of, overlaid
from circuits.cli.opening import opened_run
from circuits.cli.parsing import parsed, validated
from circuits.options import Options
from circuits.registry import MEASUREMENTS

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

    from circuits.analysis import analyze, phases
    from circuits.analysis.measurements import chosen
    from circuits.analysis.networks.remarks import phase_remarks
    from circuits.analysis.networks.unseen import seen_warnings, with_seen_share
    from circuits.analysis.sidecar import check_sidecar, read_sidecar, write_sidecar
    from circuits.analysis.store import to_json
    from circuits.cli.tables import tables

    with opened_run(flags.run) as run:
        stored = read_sidecar(run, options, check_sidecar(run, flags.out))
        found = phases(run, options)
        names = chosen(run, *([] if flags.all else named))
        kept = [] if flags.force else [name for name in names if name in stored.results]
        missing = [name for name in names if name not in kept]
        made = {} if kept and not missing else analyze(run, *missing, options=options, progress=not flags.quiet)
        known = {name: stored.results[name] for name in kept} | made
        results = {name: known[name] for name in names if name in known}

        def answer() -> list[Any]:
            if flags.json:
                shown = {name: data if name in named else _concise(data) for name, data in results.items()}
                return [to_json(run, shown, options)]
            titled = tables(results, with_seen_share(run, found))
            return [_headline(run, options), *(item for title, table in titled for item in ("", title, table))]

        try:
            lines = answer()
        except Exception as error:  # whatever an edited sidecar makes the tables stumble over
            if not kept:
                raise
            remark(f"warning: {stored.path} holds what circuits does not write ({error!r}), so it is made anew.")
            results = made = analyze(run, *names, options=options, progress=not flags.quiet)
            kept, lines = [], answer()
        result(*lines)
        sidecar = write_sidecar(run, made, options, flags.out) if made else stored.path
        of_test_set = seen_warnings(run)
        of_sidecar = [f"{why}, so it is made anew."] if (why := stored.remark(missing)) else []
    warnings = (line for data in results.values() for line in data.attrs.get("warnings", ()))
    for warning in dict.fromkeys([*of_sidecar, *phase_remarks(found), *warnings, *of_test_set]):
        remark(f"warning: {warning}")
    again = f" {', '.join(kept)}: kept from before; --force measures again." if kept else ""
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
    """The flags of this command, of each measurement, and of the options."""
    described = [(name, tyro.conf.arg(help=entry.help, help_behavior_hint="")) for name, entry in MEASUREMENTS.items()]
    measurements: list[Flag] = [
        (_field(name), Annotated[bool, help_], field(default=False)) for name, help_ in described
    ]
    about = AnalyzeFlags.__doc__ or ""
    return flag_class("Analyze", [*measurements, *flags_of(Options())], about, AnalyzeFlags)


def _field(measurement: str) -> str:
    return measurement.replace("-", "_")


def _concise(dataset: Any) -> Any:
    """Without what has a value for every neuron at every checkpoint."""
    of_neurons = ({"step", "neuron"}, {"step", "rank"})
    return dataset.drop_vars(
        [name for name, values in dataset.data_vars.items() if any(dims <= set(values.dims) for dims in of_neurons)]
    )
