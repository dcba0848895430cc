"""Runs that a command opens or has written."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from circuits.cli.console import remark
from circuits.tabular import count, size

if TYPE_CHECKING:
    from circuits.checkpoints.run import Run


@contextmanager
def opened_run(path: str | Path) -> Iterator[Run]:
    """Open the run in a file for reading, and print a remark if the file has no digests (checksums) of its values."""
    from circuits.checkpoints.run import open_run

    with open_run(path) as run:
        if not run.has_digests:
            remark(f"{path} is of format version 1, which has no digests: damaged values in it cannot be detected.")
        yield run


def in_brief(run: Run) -> str:
    """One line about a run: its file, checkpoints, seeds and size."""
    networks = f"{count(run.n_checkpoints, 'checkpoint')} of {count(len(run.seeds), 'seed')}"
    return f"{run.path}: {networks}, {size(run.nbytes)}"
