"""Imports point one way, as docs/architecture.md draws it."""

import ast
import inspect
from pathlib import Path

import pytest

import circuits

PACKAGE = Path(circuits.__file__).parent
ROOM = {  # what a module of each room may import, besides its own room
    "root": {"root"},
    "tasks": {"root"},
    "models": {"root"},
    "presets": {"root", "tasks", "models"},
    "checkpoints": {"root"},
    "training": {"root", "checkpoints"},
    "convert": {"root", "checkpoints", "training", "constructions"},
    "constructions": {"root", "checkpoints"},
    "analysis": {"root", "checkpoints", "constructions"},
    "figures": {"root", "checkpoints", "constructions", "analysis"},
    "cli": {"root", "checkpoints", "constructions", "analysis", "figures", "training", "convert", "presets"},
}


def room(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and (PACKAGE / parts[1]).is_dir() else "root"


def imports(path: Path) -> set[str]:
    """Modules of the package that a file imports at run time, wherever in the file."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
        elif isinstance(node, ast.Import):
            found.update(name.name for name in node.names)
    return {name for name in found if name == "circuits" or name.startswith("circuits.")}


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_one_way(path):
    here = room("circuits." + ".".join(path.relative_to(PACKAGE).with_suffix("").parts))
    allowed = ROOM[here] | {here}
    # The interface of a model names the torch modules that hold its parameters.
    exceptions = {"circuits.models.network", "circuits.models.hooked"} if path.name == "interfaces.py" else set()
    upward = {name for name in imports(path) if room(name) not in allowed} - exceptions
    assert not upward, f"{here} must not import {upward}"


def test_no_name_that_loads_lazily_is_that_of_a_module():
    # Importing the module would put it in the place of the name.
    for package in (circuits, circuits.analysis, circuits.constructions, circuits.figures):
        modules = {path.stem for path in Path(package.__file__).parent.glob("*.py")}
        assert modules.isdisjoint(name for name in package.__all__ if not inspect.ismodule(getattr(package, name)))


def test_files_stay_small_and_no_drawer_is_for_odds_and_ends():
    for path in PACKAGE.rglob("*.py"):
        assert path.stem not in {"utils", "util", "helpers", "helper", "common", "misc"}
        assert len(path.read_text().splitlines()) <= 400, path


def test_former_names_of_the_analysis_work_with_a_warning():
    for former, now in circuits.analysis.RENAMED.items():
        with pytest.warns(FutureWarning, match=f"circuits.analysis.{former} is now circuits.analysis.{now}"):
            assert getattr(circuits.analysis, former) is getattr(circuits.analysis, now)
    with pytest.raises(AttributeError, match="has no attribute 'moved'"):
        circuits.analysis.moved  # noqa: B018
