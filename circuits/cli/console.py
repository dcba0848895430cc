"""Output of commands: results go to stdout, progress and remarks to stderr."""

import os
import sys

from rich.console import Console
from rich.table import Table

from circuits.printable import printable

PIPE_WIDTH = 400


def result(*items: str | Table) -> None:
    """Print lines and tables. A table wraps at the width of the terminal or, in a pipe, at 400 characters."""
    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else PIPE_WIDTH
    console = Console(file=sys.stdout, width=width, highlight=False, markup=False, emoji=False)
    for item in items:
        if isinstance(item, Table):
            with console.capture() as captured:
                console.print(item)
            lines = [line.rstrip() for line in captured.get().splitlines()]
            print("\n".join(line for line in lines if line))
        else:
            print(printable(item))


def remark(text: str) -> None:
    """Print a line to stderr; results go to stdout."""
    print(printable(text), file=sys.stderr, flush=True)
