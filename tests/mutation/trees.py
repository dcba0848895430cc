"""Copies of the source tree, and forks that run tests in them. The checkout itself is never touched.

Everything heavy except `circuits` is imported once, in the parent; a fork starts in milliseconds. A fork puts its tree
first on the path and refuses to go on if `circuits` comes from elsewhere: an editable install would shadow the tree,
and every mutant would survive. Python's and numba's caches do not know what they depend on, so whatever the mutated
module, or one that imports it, left in them is removed before and after.
"""

import ctypes
import json
import os
import resource
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from mutations import ROOT, imported, path_of

COPIED = ("circuits", "tests", "pyproject.toml")
ELSEWHERE = 77  # exit code of a fork whose circuits is not that of its tree
MEMORY = 24 << 30  # bytes of address space
PR_SET_PDEATHSIG = 1  # of <linux/prctl.h>


class Tree:
    """A copy of the checkout in which one module at a time is mutated."""

    def __init__(self, folder: Path) -> None:
        self.root = folder.resolve()
        self._original: dict[str, str] = {}
        self.root.mkdir(parents=True)
        for name in COPIED:
            source = ROOT / name
            if source.is_dir():
                left_out = shutil.ignore_patterns("__pycache__", "_build", "generated", "*.h5.lock", ".hypothesis")
                shutil.copytree(source, self.root / name, ignore=left_out)
            elif source.exists():
                shutil.copy2(source, self.root / name)

    @cached_property
    def _importers(self) -> dict[str, set[str]]:
        """For each module those that import it."""
        paths = sorted((self.root / "circuits").rglob("*.py"))
        found: dict[str, set[str]] = {}
        for path in paths:
            here = ".".join(path.relative_to(self.root).with_suffix("").parts)
            for name in imported(path):
                found.setdefault(name, set()).add(here)
        return found

    def _forget(self, module: str) -> None:
        """Remove what was compiled of a module and of all that import it."""
        reached, waiting = set(), [module]
        while waiting:
            one = waiting.pop()
            if one not in reached:
                reached.add(one)
                waiting.extend(self._importers.get(one, ()))
        for one in reached:
            path = path_of(one, self.root)
            for compiled in (self.root / "numba").glob(f"{path.parent.name}_*/{path.stem}.*"):
                compiled.unlink()
        path = path_of(module, self.root)
        for bytecode in (self.root / "bytecode").glob(f"{str(path.parent)[1:]}/{path.stem}.*"):
            bytecode.unlink()

    def write(self, module: str, code: str) -> None:
        """Put this code in the place of a module's."""
        self._forget(module)
        self._original.setdefault(module, path_of(module, self.root).read_text())
        path_of(module, self.root).write_text(code)

    def restore(self, module: str) -> None:
        """Put a module's own code back, as it was when the tree was copied."""
        self.write(module, self._original[module])


@dataclass
class Fork:
    """A process that runs some tests in a tree."""

    tree: Tree
    pid: int
    until: float
    """When it is ended, by time.monotonic."""
    log: Path
    started: float = field(default_factory=time.monotonic)
    seconds: float = 0.0

    code: int | None = None
    """Exit code of pytest; minus the number of the signal that ended it; None while it runs."""

    def runs(self) -> bool:
        """Whether it still runs; ends it when its time is up."""
        if self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if not pid and time.monotonic() > self.until:
                os.killpg(self.pid, signal.SIGKILL)
                pid, status = os.waitpid(self.pid, 0)
            if pid:
                self.code, self.seconds = os.waitstatus_to_exitcode(status), time.monotonic() - self.started
        return self.code is None

    @property
    def first_failure(self) -> str:
        """The test that failed first, or why none is known."""
        said = self.log.with_suffix(".failed")
        return said.read_text() if said.exists() else ""


class Chosen:
    """A pytest plugin: only these tests, in this order; the first failure is noted in a file."""

    def __init__(self, tests: list[str], failed: Path) -> None:
        self.place = {test: place for place, test in enumerate(tests)}
        self.failed = failed

    def pytest_collection_modifyitems(self, items: list) -> None:
        items[:] = sorted((item for item in items if item.nodeid in self.place), key=lambda one: self.place[one.nodeid])

    def pytest_runtest_logreport(self, report: object) -> None:
        if report.failed and not self.failed.exists():
            self.failed.write_text(report.nodeid)


class SameExamples:
    """A pytest plugin: hypothesis draws the same examples each time, shrinks none, and does not look at the clock."""

    def pytest_configure(self) -> None:
        from hypothesis import Phase, settings

        phases = (Phase.explicit, Phase.generate)
        settings.register_profile("mutation", derandomize=True, deadline=None, database=None, phases=phases)
        settings.load_profile("mutation")


def load() -> None:
    """Import what the tests import, except `circuits`, so that forks need not."""
    import beartype  # noqa: F401
    import h5netcdf  # noqa: F401
    import numba  # noqa: F401
    import plotly.graph_objects  # noqa: F401
    import pydantic  # noqa: F401
    import pytest  # noqa: F401
    import scipy.optimize
    import scipy.stats  # noqa: F401
    import sympy  # noqa: F401
    import torch  # noqa: F401
    import xarray  # noqa: F401

    assert "circuits" not in sys.modules


def die_with(parent: int) -> None:
    """On Linux, have this process killed when its parent ends, however that ends; elsewhere nothing happens."""
    if not sys.platform.startswith("linux"):
        return
    try:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    except (OSError, AttributeError):  # a C library without prctl
        return
    if os.getppid() != parent:  # it ended before it could be asked for
        os._exit(1)


def fork(tree: Tree, arguments: list[str], plugins: Callable[[], list], seconds: float, log: Path) -> Fork:
    """Run pytest in a fork, for `seconds` of processor time at most, and of three times as much by the clock."""
    log.with_suffix(".failed").unlink(missing_ok=True)
    sys.stdout.flush()
    parent, pid = os.getpid(), os.fork()
    if pid:
        return Fork(tree, pid, time.monotonic() + 3 * seconds, log)
    code = ELSEWHERE
    try:
        os.setsid()
        die_with(parent)
        out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(out, 1), os.dup2(out, 2)
        resource.setrlimit(resource.RLIMIT_CPU, (int(seconds) + 1, int(seconds) + 5))
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        os.chdir(tree.root)
        os.environ |= {"PYTHONPATH": str(tree.root), "NUMBA_CACHE_DIR": str(tree.root / "numba")}
        sys.dont_write_bytecode, sys.pycache_prefix = False, str(tree.root / "bytecode")
        import numba

        numba.config.reload_config()
        sys.path[:] = [str(tree.root), *(at for at in sys.path if not Path(at, "circuits", "__init__.py").exists())]
        import importlib.util

        if Path(importlib.util.find_spec("circuits").origin).is_relative_to(tree.root):
            code = _tests(arguments, plugins())
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)


def _tests(arguments: list[str], plugins: list) -> int:
    import pytest

    always = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-m", "not slow and not long", "--rootdir", "."]
    return int(pytest.main([*always, *arguments], plugins=[SameExamples(), *plugins]))


def tests_of(found: list[Path]) -> dict:
    """The reports of `by_test`, as one."""
    lines: dict[str, dict[int, list[str]]] = {}
    seconds: dict[str, float] = {}
    failed: list[str] = []
    for path in found:
        report = json.loads(path.read_text())
        seconds |= report["seconds"]
        failed += report["failed"]
        for file, of_file in report["lines"].items():
            for line, tests in of_file.items():
                lines.setdefault(file, {}).setdefault(int(line), []).extend(tests)
    return {"lines": lines, "seconds": seconds, "failed": failed}
