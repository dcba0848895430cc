"""`circuits construct NAME`: a hand-built network, written as a run file that every analysis works on."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from circuits.cli.console import remark, result, size
from circuits.cli.parsing import parsed
from circuits.errors import InputError
from circuits.registry import CONSTRUCTIONS
from circuits.tabular import count

COMMAND = "circuits construct"
OF_MODULAR = ("train_fraction",)
TASK = ("n", "support", "n_train", "n_test", *OF_MODULAR)  # flags that are fields of the run's task
ABOUT = """Write a hand-built network as a run file with one checkpoint.

{constructions}

Example: circuits construct dnf --k 3 --n 40 --out dnf.h5

Example: circuits construct modular_addition --p 31 --frequencies 1 5 9 --out m.h5
"""


@dataclass(kw_only=True)
class ConstructFlags:
    name: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="NAME", help_behavior_hint="")]
    """Which one."""
    k: Annotated[int | None, tyro.conf.arg(metavar="INT", help_behavior_hint="(where it is not fixed, required)")] = (
        None
    )
    """Relevant bits."""
    n: Annotated[int | None, tyro.conf.arg(metavar="INT", help_behavior_hint="(default: 40)")] = None
    """Inputs."""
    support: Annotated[
        tuple[int, ...], tyro.conf.arg(metavar="INT …", help_behavior_hint="(default: the first k)")
    ] = ()
    """Relevant bits of the input, from 0: the places of the construction's bits 0, 1, …"""
    biases: Annotated[
        str | None, tyro.conf.arg(metavar="{k-1,k-2}", help_behavior_hint="(default: k-1, as the paper has it)")
    ] = None
    """Of dnf's gates: -(k-1), or -(k-2), which is cheaper."""
    n_train: Annotated[int | None, tyro.conf.arg(metavar="INT", help_behavior_hint="(default: 1000)")] = None
    """Training examples stored with it, for the analyses."""
    n_test: Annotated[int | None, tyro.conf.arg(metavar="INT", help_behavior_hint="(default: 100)")] = None
    """Test examples stored with it."""
    p: Annotated[int | None, tyro.conf.arg(metavar="INT", help_behavior_hint="(required by it)")] = None
    """Modulus of modular_addition."""
    frequencies: Annotated[tuple[int, ...], tyro.conf.arg(metavar="INT …", help_behavior_hint="(required by it)")] = ()
    """Of modular_addition: different ones of 1..p/2."""
    amplitude: Annotated[
        float | None, tyro.conf.arg(metavar="FLOAT", help_behavior_hint="(default: such that the loss is below 1e-6)")
    ] = None
    """Of modular_addition's every frequency in the logits."""
    train_fraction: Annotated[float | None, tyro.conf.arg(metavar="FLOAT", help_behavior_hint="(default: 0.5)")] = None
    """Share of the pairs x, y stored as the training set of modular_addition."""
    out: Annotated[
        Path | None,
        tyro.conf.arg(metavar="RUN.h5", help_behavior_hint="(default: checkpoints/NAME-K-N.h5 or NAME-P.h5)"),
    ] = None
    """The run file to write."""
    overwrite: Annotated[bool, tyro.conf.arg(help_behavior_hint="")] = False
    """Replace the run in --out."""


ConstructFlags.__doc__ = ABOUT.format(
    constructions="\n\n".join(f"{name:<17}{entry.help}" for name, entry in CONSTRUCTIONS.items())
)


def command(words: list[str]) -> int:
    """Run `circuits construct`."""
    flags = parsed(ConstructFlags, words, COMMAND)

    from circuits.constructions import build

    options = {name: getattr(flags, name) for name in ("p", "amplitude", "biases")}
    construction = build(flags.name, flags.k, frequencies=flags.frequencies or None, **options)
    task = {name: value for name in TASK if (value := getattr(flags, name)) not in (None, ())}
    modular = CONSTRUCTIONS[construction.name].task == "modular"
    if foreign := [name for name in task if (name in OF_MODULAR) != modular]:
        raise InputError(f"{construction.name} takes no --{foreign[0].replace('_', '-')}. Leave it out.")

    from circuits.convert import from_construction

    with from_construction(construction, flags.out, overwrite=flags.overwrite, **task) as run:
        result(f"{run.path}: {construction.name}, {count(construction.n_neurons, 'neuron')}, {size(run.nbytes)}")
        verify = "" if modular else f"circuits verify {run.path}, or "
        remark(f"Next: {verify}circuits analyze {run.path}")
    return 0
