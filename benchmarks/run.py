"""`make bench [ROWS=WORD]`: how fast, measured side by side in this one process.

Every row is a ratio of two ways of doing the same, the median of its repetitions, with the smallest and the largest;
the two ways alternate, so that a slow moment of the machine hits both. Times depend on the machine, ratios much less. A
word after the command runs only the rows whose name has it; a word that no name has is refused with exit code 2.

Every row also says the least work behind its figures. A figure below that floor is an error of the benchmark: it is
printed, and the exit code is 1.
"""

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import flagship
import floors
import fourier
import page
import recording
import scaling
import speed
import storage
import transformer
from rich.console import Console
from rich.table import Table
from timing import REPETITIONS, Row

ROWS = (*speed.ROWS, *flagship.ROWS, *storage.ROWS, *transformer.ROWS, *fourier.ROWS, *page.ROWS, *recording.ROWS)


def main(word: str = "", rows: Sequence[Row] = ROWS, others: Sequence[str] = ("scaling", "floors")) -> int:
    """Measure and print the rows and the other tables whose name has the word; the exit code."""
    names = [*(row.name for row in rows), *others]
    if not any(word in name for name in names):
        print(f"error: No row has '{word}' in its name. There are: {', '.join(names)}.", file=sys.stderr)
        return 2
    console, errors = Console(width=170), []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rates = floors.rates(folder)
        table = Table("row", "", "", "ratio", "least to most", "aim", title=f"medians of {REPETITIONS} repetitions")
        for row in rows:
            if word in row.name:
                print(row.name, file=sys.stderr)
                pairs = row.measure(folder)
                rates = rates.better(floors.rates(folder))
                table.add_row(*row.cells(pairs, rates))
                errors += row.errors(pairs, rates)
        if table.rows:
            console.print(table)
        if "scaling" in others and word in "scaling":
            grown = Table("cost of", "against", "", "", "", "", title="time per unit at four sizes, the first being 1")
            measured = scaling.measured(folder)
            for cells in scaling.rows(measured):
                grown.add_row(*cells)
            console.print(grown)
            errors += scaling.errors(measured, rates)
        if "floors" in others and word in "floors":
            least = Table("floors, one core", "multiply-adds", "at sgemm's rate", "bytes", "at a copy's rate")
            for cells in floors.rows(rates):
                least.add_row(*cells)
            console.print(least)
    for error in errors:
        print(f"error of the benchmark: {error}", file=sys.stderr)
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main(" ".join(sys.argv[1:])))
