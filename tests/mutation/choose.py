"""Which tests execute which lines: measured once, on unmutated code."""

import ast
import hashlib
import re
import time
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from mutations import ROOT, imported, path_of
from trees import Tree, fork, tests_of

LONGEST = 40.0  # seconds of unmutated tests that one mutant is given, the fastest first
MOST_FILES = 4  # that one mutant's tests come from: every file takes its time to import


class Tests:
    """Which tests execute which lines, and how long they take, on unmutated code."""

    def __init__(self, report: dict) -> None:
        failed = set(report["failed"])
        self.seconds = {test: seconds for test, seconds in report["seconds"].items() if test not in failed}
        self.failed = sorted(failed)
        self.lines: dict[str, dict[int, list[str]]] = report["lines"]

    def of_lines(self, module: str, lines: Iterable[int] | None = None) -> list[str]:
        """Those that execute one of these lines of a module, or any of it, the fastest first.

        Of the module's own doctests and the test files that name it, else of others: 4 files and 40 s at most.
        """
        of_file = self.lines.get(str(path_of(module).relative_to(ROOT)), {})
        found = {test for line in (of_file if lines is None else lines) for test in of_file.get(line, ())}
        by_file: dict[str, list[str]] = {}
        for test in sorted(found & self.seconds.keys(), key=lambda one: (self.seconds[one], one)):
            by_file.setdefault(test.split("::")[0], []).append(test)
        files = sorted(by_file, key=lambda file: (not names(file, module), -len(by_file[file]), file))[:MOST_FILES]
        chosen, total = [], 0.0
        for test in sorted((test for file in files for test in by_file[file]), key=lambda one: self.seconds[one]):
            total += self.seconds[test]
            if chosen and total > LONGEST:
                break
            chosen.append(test)
        return chosen

    def of_line(self, module: str, line: int) -> list[str]:
        """Those that execute the statement of a line; those of the whole module for what runs when it is imported."""
        return self.of_lines(module, statement(path_of(module), line))


@lru_cache
def names(file: str, module: str) -> bool:
    """Whether a test file imports from a module, or is the module itself."""
    path = ROOT / file
    return path == path_of(module) or module in imported(path)


@lru_cache
def _statements(path: Path) -> list[tuple[int, int, bool]]:
    """First and last line of each statement, or of its head, and whether it stands in a function; the outer first."""
    found = []

    def walk(node: ast.AST, inside: bool) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.stmt):
                body = getattr(child, "body", None)
                last = max(child.lineno, body[0].lineno - 1) if body else child.end_lineno or child.lineno
                found.append((child.lineno, last, inside))
            walk(child, inside or isinstance(child, ast.FunctionDef))

    walk(ast.parse(path.read_text()), False)
    return found


def statement(path: Path, line: int) -> range | None:
    """The lines of the statement that a line belongs to; None if it runs when the module is imported."""
    first, last, inside = [one for one in _statements(path) if one[0] <= line <= one[1]][-1]
    return range(first, last + 1) if inside else None


def test_files(modules: list[str]) -> list[str]:
    """What is run at all: the modules' doctests, and the test files that import them or build constructions.

    Not those of the command line, the figures and the page, which run the same code by longer ways.
    """
    found = []
    for path in sorted((ROOT / "tests").glob("test_*.py")):
        longer_way = re.search("_cli_|figures|report|docs|architecture|mutation", path.stem)
        about = not imported(path).isdisjoint(modules) or "circuits.constructions" in path.read_text()
        if about and not longer_way:
            found.append(str(path.relative_to(ROOT)))
    return found + [str(path_of(module).relative_to(ROOT)) for module in modules]


def measured_tests(files: list[str], forest: list[Tree], folder: Path) -> Tests:
    """Run every test once, unmutated; kept in the folder until a module or a test changes."""
    digest = hashlib.sha256()
    for file in ("tests/conftest.py", *files):
        digest.update(file.encode() + (ROOT / file).read_bytes())
    kept = [folder / f"{digest.hexdigest()[:16]}-{at}.json" for at in range(len(forest))]
    if not all(path.exists() for path in kept):
        start, running = time.monotonic(), []
        for at, (tree, target) in enumerate(zip(forest, kept, strict=True)):
            asked = {"root": tree.root, "target": target}
            running.append(
                fork(
                    tree,
                    files[at :: len(forest)],
                    lambda asked=asked: _by_test(**asked),
                    3600,
                    folder / f"clean-{at}.log",
                )
            )
        while sum(one.runs() for one in running):
            time.sleep(0.2)
        print(f"unmutated tests: {time.monotonic() - start:.0f} s", flush=True)
    return Tests(tests_of(kept))


def _by_test(root: Path, target: Path) -> list:
    from by_test import ByTest

    return [ByTest(root, target)]
