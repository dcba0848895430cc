"""`circuits repair RUN.h5`: make the file of a killed run readable by h5dump, netCDF4 and plain xarray."""

from dataclasses import dataclass

from circuits.cli.console import remark, result
from circuits.cli.flags import RunFile
from circuits.cli.opening import opened_run
from circuits.cli.parsing import parsed

COMMAND = "circuits repair"


@dataclass(kw_only=True)
class RepairFlags:
    """Make the file of a killed run readable by h5dump, netCDF4 and plain xarray.

    No committed checkpoint is dropped. show, analyze and train --resume need no repair.

    If rows of an uncommitted checkpoint are cut, a copy of the original file is kept beside it.
    """

    run: RunFile
    """The run file; refused while a process is writing it."""


def command(words: list[str]) -> int:
    flags = parsed(RepairFlags, words, COMMAND)

    from circuits.checkpoints.repair import repair

    done = repair(flags.run, say=remark)
    if done.was_killed:
        result(f"{flags.run} was left open by a killed writer; plain HDF5 tools can open it now.")
    if done.is_shorter:
        kept = f" The file as it was is {done.copy}." if done.copy else " These rows were empty."
        result(f"{flags.run}: rows behind the last committed checkpoint are cut.{kept}")
    if not done:
        result(f"{flags.run}: nothing to repair.")
    with opened_run(flags.run):  # for its remark about digests
        return 0
