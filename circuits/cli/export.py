"""`circuits export RUN.h5`: write one network's parameters by name, for NumPy, safetensors or torch."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from circuits.cli.console import result
from circuits.cli.flags import RunFile, Switch, shown
from circuits.cli.opening import opened_run
from circuits.cli.parsing import parsed


@dataclass(kw_only=True)
class ExportFlags:
    """Write one network's parameters, by name, to a file that other programs read.

    npz          numpy.load(PATH); "__metadata__" has config, seed, checkpoint, step, epoch as JSON

    safetensors  safetensors.torch.load_file(PATH); the same metadata, in the header

    torch        torch.load(PATH, weights_only=True); the state dict alone
    """

    run: RunFile
    """The run file; it is only read."""
    format: Annotated[str | None, shown("{npz,safetensors,torch}", "(default: by the suffix of --out, or npz)")] = None
    """Format of the file."""
    seed: Annotated[int | None, shown("INT", "(default: the first)")] = None
    """The seed of the network."""
    checkpoint: Annotated[int | str | None, shown("INT|NAME", "(default: -1, the last)")] = None
    """Index of the checkpoint (negative: from the end), or its name: last, best, memorized, generalized."""
    step: Annotated[int | None, shown("INT", "(default: see --checkpoint)")] = None
    """Optimizer step of the checkpoint, instead of its index."""
    out: Annotated[Path | None, shown("PATH", "(default: RUN-seedS-stepT.SUFFIX)")] = None
    """The file to write."""
    overwrite: Switch = False
    """Replace the file in --out."""


def command(words: list[str]) -> int:
    flags = parsed(ExportFlags, words, "circuits export")

    from circuits.checkpoints.export import export

    options = {name: getattr(flags, name) for name in ("format", "seed", "checkpoint", "step", "overwrite")}
    with opened_run(flags.run):  # which remarks if the file has no digests
        written = export(flags.run, flags.out, **options)
    result(str(written))
    return 0
