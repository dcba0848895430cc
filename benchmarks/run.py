"""`make bench [ROWS=WORD]`: how fast, measured side by side in this one process.

Every row is a ratio of two ways of doing the same, the median of its repetitions, with the smallest and the largest;
the two ways alternate, so that a slow moment of the machine hits both. Times depend on the machine, ratios much less. A
word after the command runs only the rows whose name has it.
"""

import sys
import tempfile
from pathlib import Path

import flagship
import floors
import fourier
import scaling
import speed
import storage
import transformer
from rich.console import Console
from rich.table import Table
from timing import REPETITIONS


def main() -> None:
    word = sys.argv[1] if len(sys.argv) > 1 else ""
    console = Console(width=150)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        table = Table("row", "", "", "ratio", "least to most", "aim", title=f"medians of {REPETITIONS} repetitions")
        for row in (*speed.ROWS, *flagship.ROWS, *storage.ROWS, *transformer.ROWS, *fourier.ROWS):
            if word in row.name:
                table.add_row(*row.cells(folder))
        if table.rows:
            console.print(table)
        if word in "scaling":
            grown = Table("cost of", "against", "", "", "", "", title="time per unit at four sizes, the first being 1")
            for cells in scaling.rows(folder):
                grown.add_row(*cells)
            console.print(grown)
        if word in "floors":
            least = Table("floors, one core", "multiply-adds", "at sgemm's rate", "bytes", "at a copy's rate")
            for cells in floors.rows():
                least.add_row(*cells)
            console.print(least)


if __name__ == "__main__":
    main()
