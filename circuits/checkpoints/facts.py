"""Facts about a run as short texts, for `circuits show` and for the display of a run in a notebook."""

from __future__ import annotations

from typing import Any

from circuits.notebook import facts_html, folded, framed
from circuits.tabular import count, size

Run = Any  # a circuits.Run, whose module imports this one


def state_text(run: Run) -> str:
    """Whether the run is complete, stopped early, being written or interrupted, and what continues it."""
    if (process := run.writer_pid) is not None:
        return f"being written by process {process}"
    if run.stopped_early and run.config.stop is not None:
        rule = run.config.stop
        held = f"test accuracy ≥ {rule.test_accuracy:g} held for {count(rule.checkpoints, 'further checkpoint')}"
        return f"complete, stopped early: {held}"
    if run.is_complete:
        return "complete"
    return f"interrupted; continue: {run.config.resume_hint(run.path)}"


def checkpoints_text(run: Run) -> str:
    """How many checkpoints the run has, out of how many, and their steps and epochs."""
    planned = len(run.config.checkpoint_steps())
    if not run.n_checkpoints:
        return f"0 of {planned}"
    steps, epochs = (f"{at[0]:g} to {at[-1]:g}" for at in (run.steps, run.epochs))
    return f"{run.n_checkpoints} of {planned}, steps {steps}, epochs {epochs}"


def run_html(run: Run) -> str:
    """The display of a run in a notebook; it reads no parameters."""
    config = run.config
    facts = {
        "name": config.name + (f" ({config.source})" if config.source else ""),
        "state": state_text(run),
        "task": config.task.described(),
        "model": config.model.described(),
        "optimizer": config.optimizer.described(),
        "seeds": " ".join(map(str, run.seeds)),
        "checkpoints": checkpoints_text(run),
        "size": size(run.nbytes) if run.path.exists() else "the file is gone",
        "made": run.created,
    }
    return framed(
        f"circuits.Run {run.path}", facts_html(facts), folded("config", facts_html(config.described_fields()))
    )
