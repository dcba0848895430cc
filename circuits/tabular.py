"""Tables for a terminal, and numbers as text for table cells."""

import math
from typing import Any, SupportsFloat

from rich import box
from rich.table import Table

from circuits.printable import printable

Titled = tuple[str, Table]


class _Cells(Table):
    """A table whose cells show escape sequences as text; a line break in a cell starts a new line within the cell."""

    def add_row(self, *cells: Any, **options: Any) -> None:
        super().add_row(*(_printable(cell) if isinstance(cell, str) else cell for cell in cells), **options)


def _printable(cell: str) -> str:
    return "\n".join(map(printable, cell.split("\n")))


def new_table(*columns: str) -> Table:
    """An empty table; the first column is left-aligned, all others are right-aligned."""
    table = _Cells(box=box.SIMPLE_HEAD, pad_edge=False)
    for index, column in enumerate(columns):
        table.add_column(_printable(column), justify="right" if index else "left", vertical="bottom")
    return table


def number(value: SupportsFloat, form: str = "g") -> str:
    """A number as the text of a table cell; NaN becomes a dash.

    Examples
    --------
    >>> number(31.0), number(float("nan")), number(-0.0001, ".3f")
    ('31', '–', '0.000')
    """
    value = float(value)
    return "–" if math.isnan(value) else format(value, f"z{form}")  # z: a number that rounds to 0 has no sign


def top_aligned(table: Table) -> None:
    """Align the cells of a row at their first lines, since some cells have an interval on a second line."""
    for column in table.columns:
        column.vertical = "top"


def interval(low: SupportsFloat, high: SupportsFloat, form: str = "g") -> str:
    r"""The text `low`–`high`, on a new line, to stand below a number in a table; "" if low = high or if one is NaN.

    Examples
    --------
    >>> interval(0.5, 0.75), interval(0.5, 0.5), interval(float("nan"), float("nan"))
    ('\n0.5–0.75', '', '')
    """
    return f"\n{number(low, form)}–{number(high, form)}" if float(low) < float(high) else ""


def count(number: int, what: str) -> str:
    """A number with its noun, in the plural unless the number is 1.

    Examples
    --------
    >>> count(1, "seed"), count(5, "seed")
    ('1 seed', '5 seeds')
    """
    return f"{number} {what}{'' if number == 1 else 's'}"


def duration(seconds: int) -> str:
    """Seconds as text, in s, min or h.

    Examples
    --------
    >>> duration(8), duration(600), duration(5400)
    ('8 s', '10 min', '1.5 h')
    """
    unit, scale = next(((unit, scale) for unit, scale in (("h", 3600), ("min", 60)) if seconds >= scale), ("s", 1))
    return f"{seconds / scale:.3g} {unit}"


def size(n_bytes: int) -> str:
    """A number of bytes as text, in bytes, kB, MB or GB.

    Examples
    --------
    >>> size(252_900_000)
    '253 MB'
    """
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if n_bytes >= scale:
            return f"{n_bytes / scale:.3g} {unit}"
    return f"{n_bytes} bytes"
