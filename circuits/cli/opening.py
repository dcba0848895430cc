"""Opening a run for a command, with one remark where its values cannot be checked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from circuits.cli.console import remark

if TYPE_CHECKING:
    from circuits.checkpoints.run import Run


@contextmanager
def opened_run(path: str | Path) -> Iterator[Run]:
    """The run in a file, for reading; a remark says so if it carries no digests."""
    from circuits.checkpoints.run import open_run

    with open_run(path) as run:
        if not run.has_digests:
            remark(f"{path} is of format version 1, which has no digests: damaged values in it cannot be told.")
        yield run
