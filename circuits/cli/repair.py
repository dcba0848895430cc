"""`circuits repair RUN.h5`: make the file of a killed run open in h5dump, netCDF4 and plain xarray."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from circuits.cli.console import remark, result
from circuits.cli.opening import opened_run
from circuits.cli.parsing import parsed

COMMAND = "circuits repair"


@dataclass(kw_only=True)
class RepairFlags:
    """Make the file of a killed run open in h5dump, netCDF4 and plain xarray.

    No committed checkpoint is dropped. show, analyze and train --resume need no repair.

    If rows of a checkpoint that was never committed are cut, the file as it was stays beside.
    """

    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN.h5", help_behavior_hint="")]
    """The run file; refused while a process is writing it."""


def command(words: list[str]) -> int:
    """Run `circuits repair`."""
    flags = parsed(RepairFlags, words, COMMAND)

    from circuits.checkpoints.repair import repair

    done = repair(flags.run, say=remark)
    if done.was_killed:
        result(f"{flags.run} was left open by a killed writer; now plain tools open it.")
    if done.is_shorter:
        kept = f" The file as it was is {done.copy}." if done.copy else " They were empty."
        result(f"{flags.run}: rows behind the last committed checkpoint are cut.{kept}")
    if not done:
        result(f"{flags.run}: nothing to repair.")
    with opened_run(flags.run):  # says so if it carries no digests
        return 0
