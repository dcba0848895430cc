"""What a page holds besides its HTML: the library and the figures, unpacked."""

import base64
import gzip
import json
import re
import shutil
from pathlib import Path
from typing import Any

import circuits
from circuits.analysis.sidecar import write_sidecar

FIGURE = re.compile(r'(<script type="text/plain" data-figure="([^"]+)">)([^<]*)(?=</script>)')
LIBRARY = re.compile(r'(<script type="text/plain" id="plotlyjs">)([^<]*)(?=</script>)')


def unpacked(text: str) -> str:
    """Text that `circuits.figures.page.report.packed` packed."""
    return gzip.decompress(base64.b64decode(text)).decode()


def library(page: str) -> str:
    """The JavaScript library of a page, which has it once."""
    ((_, text),) = LIBRARY.findall(page)
    return unpacked(text)


def figures(page: str) -> dict[str, dict[str, Any]]:
    """Data, layout and config of each figure of a page, by its element's id."""
    return {name: json.loads(unpacked(text)) for _, name, text in FIGURE.findall(page)}


def readable(page: str) -> str:
    """A page with its figures as plain JSON and without the library."""
    page = LIBRARY.sub(r"\1", page)
    return FIGURE.sub(lambda found: found[1] + unpacked(found[3]), page)


def measured(run: Path, folder: Path) -> list[str]:
    """Lines of the page of a run without a sidecar, but for the one that says when it was made."""
    with circuits.open(shutil.copy(run, folder / "run.h5")) as copy:
        return _lines(circuits.report(copy))


def from_sidecar(run: Path, folder: Path) -> list[str]:
    """The same of a run whose sidecar has all usual measurements."""
    with circuits.open(shutil.copy(run, folder / "run.h5")) as copy:
        sidecar = write_sidecar(copy, circuits.analyze(copy))
        lines = _lines(circuits.report(copy))
    sidecar.unlink()
    return lines


def _lines(page: Path) -> list[str]:
    text = readable(page.read_text(encoding="utf-8"))
    return [line for line in text.splitlines() if "By <code>circuits report" not in line]
