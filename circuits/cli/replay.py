"""`circuits replay RUN.h5 --from-step A --to-step B`: a stretch of a run at full density, after the fact."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from circuits.cli.console import remark, result, size
from circuits.cli.opening import opened_run
from circuits.cli.parsing import parsed
from circuits.tabular import count

COMMAND = "circuits replay"


@dataclass(kw_only=True)
class ReplayFlags:
    """Train a stretch of a run again and keep every step of it, to look closely at a transition.

    Every draw is a function of seed and epoch, so that the replay takes the very steps the original took; where both
    keep a checkpoint they are compared bit for bit.
    """

    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN.h5", help_behavior_hint="")]
    """The run file to replay."""
    from_step: Annotated[int, tyro.conf.arg(metavar="A", help_behavior_hint="(required)")]
    """First optimizer step to keep."""
    to_step: Annotated[int, tyro.conf.arg(metavar="B", help_behavior_hint="(required)")]
    """Last optimizer step to keep."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="PATH", help_behavior_hint="(default: RUN-A-B.h5)")] = None
    """The run file to write."""
    every: Annotated[int, tyro.conf.arg(metavar="N")] = 1
    """Steps from one checkpoint to the next."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to compute; another than the original's gives other bits."""
    overwrite: Annotated[bool, tyro.conf.arg(help_behavior_hint="")] = False
    """Replace the file in --out."""
    quiet: Annotated[bool, tyro.conf.arg(help_behavior_hint="")] = False
    """No progress bar."""


def command(words: list[str]) -> int:
    """Run `circuits replay`."""
    flags = parsed(ReplayFlags, words, COMMAND)

    from circuits.training.replay import compare, replay

    stretch = f"{flags.run.stem}-{flags.from_step}-{flags.to_step}.h5"
    out = flags.out or flags.run.with_name(stretch)
    with (
        opened_run(flags.run) as run,
        replay(
            run,
            out,
            from_step=flags.from_step,
            to_step=flags.to_step,
            every=flags.every,
            device=flags.device,
            overwrite=flags.overwrite,
            progress=not flags.quiet,
        ) as zoom,
    ):
        summary = f"{count(zoom.n_checkpoints, 'checkpoint')} of {count(len(zoom.seeds), 'seed')}, {size(zoom.nbytes)}"
        result(f"{out}: {summary}")
        result(f"Replay and run: {compare(run, zoom)}")
    remark(f"Next: circuits show {out}, or circuits.open({str(out)!r}) in a notebook.")
    return 0
