"""`circuits export RUN.h5`: one network's parameters by name, for NumPy, safetensors or torch."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from circuits.cli.console import result
from circuits.cli.opening import opened_run
from circuits.cli.parsing import parsed

COMMAND = "circuits export"


@dataclass(kw_only=True)
class ExportFlags:
    """Write one network's parameters, by name, to a file that other programs read.

    npz          numpy.load(PATH); "__metadata__" has config, seed, checkpoint, step, epoch as JSON

    safetensors  safetensors.torch.load_file(PATH); the same metadata, in the header

    torch        torch.load(PATH, weights_only=True); the state dict alone
    """

    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN.h5", help_behavior_hint="")]
    """The run file; it is only read."""
    format: Annotated[
        str | None,
        tyro.conf.arg(
            metavar="{npz,safetensors,torch}", help_behavior_hint="(default: by the suffix of --out, or npz)"
        ),
    ] = None
    """What to write."""
    seed: Annotated[int | None, tyro.conf.arg(metavar="INT", help_behavior_hint="(default: the first)")] = None
    """Which seed."""
    checkpoint: Annotated[int | None, tyro.conf.arg(metavar="INT", help_behavior_hint="(default: -1, the last)")] = None
    """Which checkpoint, by its index; negative ones count from the end."""
    step: Annotated[int | None, tyro.conf.arg(metavar="INT", help_behavior_hint="(default: as --checkpoint says)")] = (
        None
    )
    """Which checkpoint, by its optimizer step."""
    out: Annotated[
        Path | None, tyro.conf.arg(metavar="PATH", help_behavior_hint="(default: RUN-seedS-stepT.SUFFIX)")
    ] = None
    """The file to write."""
    overwrite: Annotated[bool, tyro.conf.arg(help_behavior_hint="")] = False
    """Replace the file in --out."""


def command(words: list[str]) -> int:
    """Run `circuits export`."""
    flags = parsed(ExportFlags, words, COMMAND)

    from circuits.checkpoints.export import export

    with opened_run(flags.run):  # open once already, so that it is checked and remarked on once
        written = export(
            flags.run,
            flags.out,
            format=flags.format,
            seed=flags.seed,
            checkpoint=flags.checkpoint,
            step=flags.step,
            overwrite=flags.overwrite,
        )
    result(str(written))
    return 0
