"""HTML for notebooks: small tables in the text color of the page around them, which may be light or dark.

All texts are escaped, since names and paths come from files. Styles are inline: some notebook viewers drop others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from io import StringIO
from typing import TYPE_CHECKING

from circuits.printable import printable

if TYPE_CHECKING:
    from rich.table import Table

LONGEST = 300  # characters of one fact

_FRAME = "font-size:0.92em;line-height:1.4"
_TABLE = "border-collapse:collapse;color:inherit;font-size:inherit;margin:0.3em 0;font-variant-numeric:tabular-nums"
_CELL = "padding:0.1em 0.9em 0.1em 0;vertical-align:top;text-align:{};white-space:pre-line;background:transparent"
_HEAD = _CELL + ";border-bottom:1px solid currentColor;font-weight:600;vertical-align:bottom"
_FACT = _CELL + ";overflow-wrap:anywhere;max-width:46em"


def framed(title: str, *parts: str) -> str:
    """A display with a title; `parts` are HTML."""
    return f'<div style="{_FRAME}"><div style="font-weight:600">{text_html(title)}</div>{"".join(parts)}</div>'


def facts_html(facts: Mapping[str, str]) -> str:
    """Table of names and values, a row each; a value is cut to 300 characters.

    Examples
    --------
    >>> "<td" in facts_html({"task": "parity"}), "&lt;b&gt;" in facts_html({"name": "<b>"})
    (True, True)
    """
    rows = (
        f'<tr><td style="{_FACT.format("left")};opacity:0.65">{text_html(name)}</td>'
        f'<td style="{_FACT.format("left")}">{text_html(shortened(value))}</td></tr>'
        for name, value in facts.items()
    )
    return f'<table style="{_TABLE}"><tbody>{"".join(rows)}</tbody></table>'


def folded(summary: str, inner: str) -> str:
    """HTML that opens with a click on its `summary`."""
    return f'<details style="margin:0.2em 0"><summary>{text_html(summary)}</summary>{inner}</details>'


def table_html(title: str, table: Table) -> str:
    """A table of `circuits.tabular`, with its title.

    Examples
    --------
    >>> from circuits.tabular import new_table
    >>> table = new_table("seed", "delay")
    >>> table.add_row("0", "≤ 31 & more")
    >>> "≤ 31 &amp; more</td>" in table_html("Phases", table)
    True
    """
    aligned = ["right" if column.justify == "right" else "left" for column in table.columns]
    heads = (
        f'<th style="{_HEAD.format(side)}">{text_html(column.header)}</th>'
        for side, column in zip(aligned, table.columns, strict=True)
    )
    rows = (
        "".join(
            f'<td style="{_CELL.format(side)}">{text_html(cell)}</td>' for side, cell in zip(aligned, row, strict=True)
        )
        for row in zip(*(column.cells for column in table.columns), strict=True)
    )
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    return (
        f'<div style="margin-top:0.5em">{text_html(title)}</div>'
        f'<div style="overflow-x:auto"><table style="{_TABLE}">'
        f"<thead><tr>{''.join(heads)}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def lines_html(lines: Iterable[str]) -> str:
    """Remarks, a paragraph each."""
    return "".join(f'<div style="max-width:60em;opacity:0.8">{text_html(line)}</div>' for line in lines)


def text_html(text: object) -> str:
    r"""Text as HTML; control characters are shown as escape sequences, except line breaks.

    Examples
    --------
    >>> text_html("<b>\x1b")
    '&lt;b&gt;\\x1b'
    """
    return escape("\n".join(map(printable, str(text).split("\n"))))


def shortened(text: str) -> str:
    """The text, with its middle left out if it has more than 300 characters."""
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 60]} … {text[-50:]}"


def show(titled: Sequence[tuple[str, Table]], remarks: Sequence[str] = ()) -> None:
    """Display tables, each with a title, and remarks below them, in the running cell of a notebook."""
    from IPython.display import display
    from rich.console import Console

    text = StringIO()
    console = Console(
        file=text, width=120, color_system=None, force_terminal=False, force_jupyter=False, markup=False,
        highlight=False, emoji=False,
    )  # fmt: skip
    for title, table in titled:
        console.print(printable(title), table, sep="\n")
    plain = "\n".join([text.getvalue().rstrip(), *map(printable, remarks)])
    html = f'<div style="{_FRAME}">{"".join(table_html(*one) for one in titled)}{lines_html(remarks)}</div>'
    display({"text/html": html, "text/plain": plain}, raw=True)
