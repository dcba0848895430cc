"""`circuits show RUN.h5`: config, seeds, checkpoints, phases, size, and whether it is complete."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from circuits.cli.console import result, size
from circuits.cli.parsing import parsed
from circuits.config import Part

if TYPE_CHECKING:
    from circuits.checkpoints.run import Run

COMMAND = "circuits show"


@dataclass(kw_only=True)
class ShowFlags:
    """Say what is in a run: config, seeds, checkpoints, phases, size, complete or interrupted."""

    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN.h5", help_behavior_hint="")]
    """The run file; it is only read, and may still be written to."""


def command(words: list[str]) -> int:
    """Run `circuits show`."""
    flags = parsed(ShowFlags, words, COMMAND)

    from circuits.analysis.phases import phases
    from circuits.checkpoints.run import open_run
    from circuits.cli.tables import phase_table

    with open_run(flags.run) as run:
        facts = _facts(run)
        width = max(map(len, facts))
        result(str(run.path), *(f"  {name:<{width}}  {fact}" for name, fact in facts.items()))
        if run.n_checkpoints:
            result("", *phase_table(phases(run)))
    return 0


def _facts(run: "Run") -> dict[str, str]:
    config = run.config
    versions = [f"{name} {run.versions.get(name, '?')}" for name in ("grokking-circuits", "torch", "numpy")]
    facts = {
        "name": config.name + (f" ({config.source})" if config.source else ""),
        "state": _state(run),
        "task": _described(config.task),
        "model": _described(config.model),
        "optimizer": _described(config.optimizer),
        "training": f"{config.loss} loss, batch {config.batch_size}, {config.epochs} epochs, {config.dtype}",
        "seeds": " ".join(map(str, run.seeds)),
        "checkpoints": _checkpoints(run),
        "size": size(run.nbytes),
        "made": f"{run.created}, {', '.join(versions)}",
    }
    if run.other_numerics_since >= 0:
        facts["numerics"] = (
            f"from checkpoint {run.other_numerics_since} on, other hardware or libraries went on with it"
        )
    return facts


def _state(run: "Run") -> str:
    if (process := run.writer_pid) is not None:
        return f"being written by process {process}"
    if run.is_complete:
        return "complete"
    return f"interrupted; continue: circuits train --resume --out {run.path}"


def _checkpoints(run: "Run") -> str:
    planned = len(run.config.checkpoint_steps())
    where = f", steps {run.steps[0]} to {run.steps[-1]}, epochs 0 to {run.epochs[-1]:g}" if run.n_checkpoints else ""
    return f"{run.n_checkpoints} of {planned}{where}"


def _described(part: Part) -> str:
    """Kind and fields of a part, those that are not set left out."""
    fields = part.model_dump(exclude={"kind"}, exclude_none=True)
    described = ", ".join(f"{name} {value}" for name, value in fields.items())
    kind = getattr(part, "kind", "")
    return f"{kind}: {described}" if described else str(kind)
