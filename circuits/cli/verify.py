"""`circuits verify SPEC`: does a network compute parity? Exit code 0 if it does, 4 if not."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from circuits.cli.console import result
from circuits.cli.parsing import parsed
from circuits.errors import InputError, nearest
from circuits.registry import CONSTRUCTIONS

if TYPE_CHECKING:
    from circuits.constructions import Verification

COMMAND = "circuits verify"
NO_PARITY = 4
SUBNETWORKS = ("active",)


@dataclass(kw_only=True)
class VerifyFlags:
    """Evaluate a network exactly on all 2^k patterns of its relevant bits: does it compute parity?

    It does iff its output is > 0 where the parity is 1 and < 0 where it is -1; zero is neither.

    Exit code 0 if it does, 4 if not.

    A run's other inputs are held at 0, their mean: this is about the network restricted

    to its relevant bits, and proves nothing for all 2^n inputs.
    """

    spec: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="NAME|RUN.h5", help_behavior_hint="")]
    """A construction, as `circuits construct --help` lists them, or a run file, which is only read."""
    k: Annotated[int | None, tyro.conf.arg(metavar="INT", help_behavior_hint="")] = None
    """Relevant bits of a construction."""
    biases: Annotated[str | None, tyro.conf.arg(metavar="{k-1,k-2}", help_behavior_hint="(default: k-1)")] = None
    """Of dnf's gates: -(k-1) or -(k-2)."""
    seed: Annotated[int | None, tyro.conf.arg(metavar="INT", help_behavior_hint="(default: the first)")] = None
    """Which seed of a run."""
    checkpoint: Annotated[int | None, tyro.conf.arg(metavar="INT", help_behavior_hint="(default: -1, the last)")] = None
    """Which checkpoint, by its index; negative ones count from the end."""
    subnetwork: Annotated[
        str | None, tyro.conf.arg(metavar="{active}", help_behavior_hint="(default: the whole network)")
    ] = None
    """Only these neurons of a run's network: those of its active subnetwork on the train set."""
    json: Annotated[bool, tyro.conf.arg(help_behavior_hint="")] = False
    """Print one JSON object instead of tables."""


def command(words: list[str]) -> int:
    """Run `circuits verify`."""
    flags = parsed(VerifyFlags, words, COMMAND)
    if flags.spec.replace("-", "_") in CONSTRUCTIONS:
        _refuse(flags, ("seed", "checkpoint", "subnetwork"), f"{flags.spec} is a construction", "a run")
        verification = _of_a_construction(flags)
    elif flags.spec.endswith((".h5", ".hdf5")) or Path(flags.spec).exists():
        _refuse(flags, ("k", "biases"), f"{flags.spec} is a run", "a construction")
        verification = _of_a_run(flags)
    else:
        raise InputError(
            f"{flags.spec} is no file, and there is no such construction. {nearest(flags.spec, CONSTRUCTIONS)}"
        )

    from circuits.cli.verified import as_json, lines_and_tables

    result(as_json(verification)) if flags.json else result(*lines_and_tables(verification))
    return 0 if verification.computes_parity else NO_PARITY


def _of_a_construction(flags: VerifyFlags) -> "Verification":
    from circuits.constructions import build, verify

    return verify(build(flags.spec, flags.k, biases=flags.biases))


def _of_a_run(flags: VerifyFlags) -> "Verification":
    if flags.subnetwork not in (None, *SUBNETWORKS):
        raise InputError(f"There is no subnetwork '{flags.subnetwork}'. {nearest(flags.subnetwork, SUBNETWORKS)}")

    from circuits.analysis.active import active_at
    from circuits.checkpoints.run import open_run
    from circuits.constructions import verify_run

    with open_run(flags.spec) as run:
        kept = active_at(run, flags.seed, flags.checkpoint) if flags.subnetwork else None
        return verify_run(run, flags.seed, flags.checkpoint, kept=kept)


def _refuse(flags: VerifyFlags, names: tuple[str, ...], what: str, whose: str) -> None:
    """Refuse a flag that would change nothing."""
    for name in names:
        if getattr(flags, name) is not None:
            raise InputError(f"{what}, and --{name} is for {whose}. Leave it out.")
