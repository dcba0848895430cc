"""`circuits show RUN.h5`: summarize a run, or follow it while it is written, or check its values."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from circuits.cli.console import result
from circuits.cli.flags import RunFile, Switch
from circuits.cli.parsing import parsed
from circuits.errors import InputError
from circuits.tabular import count, size

if TYPE_CHECKING:
    from circuits.checkpoints.run import Run

FOLLOW_SECONDS = 1.0


@dataclass(kw_only=True)
class ShowFlags:
    """Summarize a run: config, seeds, checkpoints, memorization, generalization, size, and whether it is complete."""

    run: RunFile
    """The run file; it is only read, and another process may be writing it."""
    follow: Switch = False
    """After the summary, print a line whenever checkpoints are added, until the run is complete or its writer ends."""
    verify: Switch = False
    """Print no summary. Check all values against stored checksums; list step, seed and array of changed values."""


def command(words: list[str]) -> int:
    flags = parsed(ShowFlags, words, "circuits show")
    if flags.verify:
        _verify(flags.run)
        return 0

    from circuits.analysis.networks.measurement import measure as measured_phases
    from circuits.analysis.networks.phase_tables import phase_tables
    from circuits.analysis.networks.remarks import loss_remarks, phase_remarks
    from circuits.analysis.networks.unseen import seen_warnings
    from circuits.checkpoints.run import open_run

    with open_run(flags.run) as run:
        facts = _facts(run)
        width = max(map(len, facts))
        result(str(run.path), *(f"  {name:<{width}}  {fact}" for name, fact in facts.items()))
        if run.n_checkpoints:
            when = measured_phases(run)
            result("", *phase_tables(when)[0], *phase_remarks(when), *loss_remarks(run))
        config = run.config
        notes = [
            note for note in (config.task.unregistered, config.model.unregistered or config.model.no_outputs) if note
        ]
        result(*(line for note in notes for line in ("", f"note: {note}")))
        result(*(line for warning in seen_warnings(run) for line in ("", f"warning: {warning}")))
        if flags.follow:
            _follow(run)
    return 0


def _verify(path: Path) -> None:
    from circuits.checkpoints.intact import damage
    from circuits.checkpoints.run import open_run

    with open_run(path) as run:
        damages = damage(run, progress=True)
        result(*damages)
        if damages:
            raise InputError(
                f"{path} is damaged: the values listed above have changed since they were written. The rest is intact. "
                f"To restore all, copy the file from a backup, or train the run again."
            )
        networks = f"{count(run.n_checkpoints, 'checkpoint')} of {count(len(run.seeds), 'seed')}"
        result(f"{path}: every value of {networks} is what was written.")


def _follow(run: "Run") -> None:
    """Every second, print a line if there are new checkpoints, until the run is complete or its writer has ended."""
    from circuits.checkpoints.facts import state_text

    n_shown = -1
    while True:
        has_writer = run.writer_pid is not None
        if run.refresh().n_checkpoints != n_shown:
            n_shown = run.n_checkpoints
            result(_now(run))
        if run.is_complete or not has_writer:
            result(state_text(run))
            return
        time.sleep(FOLLOW_SECONDS)


def _now(run: "Run") -> str:
    planned = len(run.config.checkpoint_steps())
    if not run.n_checkpoints:
        return f"0 of {planned} checkpoints"
    last = run.metrics.isel(step=-1)
    accuracies = {which: last[f"{which}_accuracy"] for which in ("train", "test")}
    ranges = (f"{which} accuracy {float(of.min()):.3f} to {float(of.max()):.3f}" for which, of in accuracies.items())
    return f"{run.n_checkpoints} of {planned} checkpoints, epoch {run.epochs[-1]:g}: {', '.join(ranges)}"


def _facts(run: "Run") -> dict[str, str]:
    from circuits.analysis.describe import training_text
    from circuits.analysis.networks.unseen import described_test_set
    from circuits.checkpoints.facts import checkpoints_text, state_text

    config = run.config
    versions = [f"{name} {run.versions.get(name, '?')}" for name in ("grokking-circuits", "torch", "numpy")]
    facts = {
        "name": config.name + (f" ({config.source})" if config.source else ""),
        "state": state_text(run),
        "task": config.task.described(),
        "model": config.model.described(),
        "optimizer": config.optimizer.described(),
        "training": ", ".join(training_text(config)),
        "seeds": " ".join(map(str, run.seeds)),
        "test set": described_test_set(run),
        "checkpoints": checkpoints_text(run),
        "size": size(run.nbytes),
        "made": f"{run.created}, {', '.join(versions)}",
    }
    if not run.has_digests:
        facts["digests"] = "none: the file is of format version 1, so damaged values cannot be detected"
    if run.parent:
        facts["parent"] = f"{run.parent['path']}, {_since(run.parent)}"
    if run.other_numerics_since >= 0:
        facts["numerics"] = f"other hardware or libraries from checkpoint {run.other_numerics_since} on"
    return facts


def _since(parent: dict[str, Any]) -> str:
    """Text: at which step of `parent` a run starts; for a lottery ticket, also how many neurons of which seed."""
    if "neurons" in parent:
        return f"{count(len(parent['neurons']), 'neuron')} of its seed {parent['seed']}, from step 0 on"
    return f"from its step {parent['step']} on"
