"""`circuits construct NAME`: a hand-built network, written as a run file that every analysis works on."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from circuits.cli.console import count, remark, result, size
from circuits.cli.parsing import parsed
from circuits.registry import CONSTRUCTIONS

COMMAND = "circuits construct"
ABOUT = """Write a hand-built network as a run file with one checkpoint.

{constructions}

Example: circuits construct dnf --k 3 --n 40 --out dnf.h5
"""


@dataclass(kw_only=True)
class ConstructFlags:
    name: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="NAME", help_behavior_hint="")]
    """Which one."""
    k: Annotated[int | None, tyro.conf.arg(metavar="INT", help_behavior_hint="(where it is not fixed, required)")] = (
        None
    )
    """Relevant bits."""
    n: Annotated[int, tyro.conf.arg(metavar="INT")] = 40
    """Inputs."""
    support: Annotated[
        tuple[int, ...], tyro.conf.arg(metavar="INT …", help_behavior_hint="(default: the first k)")
    ] = ()
    """Indices of the relevant bits, from 0, x1 first."""
    biases: Annotated[
        str | None, tyro.conf.arg(metavar="{k-1,k-2}", help_behavior_hint="(default: k-1, as the paper has it)")
    ] = None
    """Of dnf's gates: -(k-1), or -(k-2), which is cheaper."""
    n_train: Annotated[int, tyro.conf.arg(metavar="INT")] = 1000
    """Training examples stored with it, for the analyses."""
    n_test: Annotated[int, tyro.conf.arg(metavar="INT")] = 100
    """Test examples stored with it."""
    out: Annotated[
        Path | None, tyro.conf.arg(metavar="RUN.h5", help_behavior_hint="(default: checkpoints/NAME-K-N.h5)")
    ] = None
    """The run file to write."""
    overwrite: Annotated[bool, tyro.conf.arg(help_behavior_hint="")] = False
    """Replace the run in --out."""


ConstructFlags.__doc__ = ABOUT.format(
    constructions="\n\n".join(f"{name:<12} {entry.help}" for name, entry in CONSTRUCTIONS.items())
)


def command(words: list[str]) -> int:
    """Run `circuits construct`."""
    flags = parsed(ConstructFlags, words, COMMAND)

    from circuits.constructions import build

    construction = build(flags.name, flags.k, biases=flags.biases)

    from circuits.convert import from_construction

    with from_construction(
        construction,
        flags.out,
        n=flags.n,
        support=flags.support or None,
        n_train=flags.n_train,
        n_test=flags.n_test,
        overwrite=flags.overwrite,
    ) as run:
        result(f"{run.path}: {construction.name}, {count(construction.n_neurons, 'neuron')}, {size(run.nbytes)}")
        remark(f"Next: circuits verify {run.path}, or circuits analyze {run.path}")
    return 0
