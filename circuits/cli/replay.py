"""`circuits replay RUN.h5 --from-step A --to-step B`: train a stretch of a run again, with more checkpoints."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from circuits.cli.console import remark, result
from circuits.cli.flags import RunFile, Switch, picked, shown
from circuits.cli.opening import in_brief, opened_run
from circuits.cli.parsing import parsed


@dataclass(kw_only=True)
class ReplayFlags:
    """Train a stretch of a run again and store every step, to examine a transition closely.

    Every random draw is a function of seed and epoch, so the replay takes the same steps as the original. If both runs
    have a checkpoint at a step, the command compares the two bit for bit.
    """

    run: RunFile
    """The run file to replay."""
    from_step: Annotated[int, shown("A", "(required)")]
    """First optimizer step to store."""
    to_step: Annotated[int, shown("B", "(required)")]
    """Last optimizer step to store."""
    out: Annotated[Path | None, shown("PATH", "(default: RUN-A-B.h5)")] = None
    """The run file to write; in its default name, A is --from-step and B is --to-step."""
    every: Annotated[int, tyro.conf.arg(metavar="N")] = 1
    """Steps from one checkpoint to the next."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to compute; on a device other than the original run's, the bits of the results differ."""
    overwrite: Switch = False
    """Replace the file in --out."""
    quiet: Switch = False
    """No progress bar."""


def command(words: list[str]) -> int:
    flags = parsed(ReplayFlags, words, "circuits replay")

    from circuits.training.replay import compare, replay

    stretch = f"{flags.run.stem}-{flags.from_step}-{flags.to_step}.h5"
    out = flags.out or flags.run.with_name(stretch)
    options = picked(flags, "from_step", "to_step", "every", "device", "overwrite")
    with opened_run(flags.run) as run, replay(run, out, **options) as zoom:
        result(in_brief(zoom))
        result(f"Replay and run: {compare(run, zoom)}")
    remark(f"Next: circuits show {out}, or circuits.open({str(out)!r}) in a notebook.")
    return 0
