"""`circuits report RUN.h5`: write one HTML page with every figure of a run."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from circuits.analysis.options import Options
from circuits.cli.console import remark, result
from circuits.cli.flags import RunFile, Switch, flag_class, flags_of, overlaid, shown
from circuits.cli.opening import opened_run
from circuits.cli.parsing import parsed, validated
from circuits.errors import InputError, RunError


@dataclass(kw_only=True)
class ReportFlags:
    """Write one self-contained HTML page with every analysis that applies to a run."""

    run: RunFile
    """The run file; it is only read."""
    out: Annotated[Path | None, shown("PAGE.html", "(default: RUN.html)")] = None
    """The page to write."""
    quiet: Switch = False
    """No progress bars."""


def command(words: list[str]) -> int:
    report_flags = flag_class("Report", flags_of(Options()), ReportFlags.__doc__ or "", ReportFlags)
    flags: Any = parsed(report_flags, words, "circuits report")
    options = validated(Options, overlaid(Options().model_dump(), flags), report_flags)

    from circuits.analysis.sidecar import read_sidecar
    from circuits.figures.page.report import report

    with opened_run(flags.run) as run:
        stored = read_sidecar(run, options)
        if why := stored.remark():
            remark(f"warning: {why}, so it is not used.")
        make = partial(report, run, flags.out, options=options, progress=not flags.quiet)
        try:
            page = make(stored=stored.results)
        except (InputError, RunError, OSError, MemoryError):
            raise
        except Exception as error:  # any error that the content of an edited sidecar causes in the figures
            if not stored.results:
                raise
            remark(f"warning: {stored.path} has content that circuits does not write ({error!r}), so it is not used.")
            page = make(stored={})
        result(str(page))
    return 0
