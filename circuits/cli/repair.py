"""`circuits repair RUN.h5`: make the file of a killed run readable by h5dump, netCDF4 and plain xarray."""

from dataclasses import dataclass

from circuits.cli.console import remark, result
from circuits.cli.flags import RunFile
from circuits.cli.opening import opened_run
from circuits.cli.parsing import parsed


@dataclass(kw_only=True)
class RepairFlags:
    """Make the file of a killed run readable by h5dump, netCDF4 and plain xarray.

    Repair drops no committed (completely written) checkpoint. `show`, `analyze` and `train --resume` need no repair.

    If repair removes rows of an uncommitted checkpoint, it keeps a copy of the original file beside the run.
    """

    run: RunFile
    """The run file; the command refuses a file that another process is writing."""


def command(words: list[str]) -> int:
    flags = parsed(RepairFlags, words, "circuits repair")

    from circuits.checkpoints.repair import repair

    done = repair(flags.run, say=remark)
    if done.was_killed:
        result(f"{flags.run} was left open by a killed writer; plain HDF5 tools can open it now.")
    if done.is_shorter:
        kept = f" A copy of the original file is {done.copy}." if done.copy else " These rows were empty."
        result(f"{flags.run}: rows after the last committed checkpoint were removed.{kept}")
    if not done:
        result(f"{flags.run}: nothing to repair.")
    with opened_run(flags.run):  # which remarks if the file has no digests
        return 0
