"""Imports point one way, as docs/architecture.md draws it."""

import ast
import inspect
import re
from pathlib import Path

import pytest

import circuits

PACKAGE = Path(circuits.__file__).parent
ROOM = {  # what a module of each room may import, besides its own room
    "root": {"root"},
    "tasks": {"root"},
    "models": {"root"},
    "presets": {"root", "tasks", "models"},
    "checkpoints": {"root", "tasks", "models"},
    "training": {"root", "models", "presets", "checkpoints"},
    "recording": {"root", "tasks", "models", "checkpoints", "training"},
    "convert": {"root", "checkpoints", "training", "constructions"},
    "constructions": {"root", "checkpoints"},
    "analysis": {"root", "checkpoints", "constructions"},
    "figures": {"root", "checkpoints", "constructions", "analysis"},
    "cli": {"root", "checkpoints", "constructions", "analysis", "figures", "training", "convert", "presets"},
}
TABLES = {"circuits", "circuits.registry"}  # name modules above them, for `registry.load` and `lazy` to import


def name_of(path: Path) -> str:
    parts = ("circuits", *path.relative_to(PACKAGE).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def room(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and (PACKAGE / parts[1]).is_dir() else "root"


def imports(module: str) -> set[str]:
    """Modules of the package that a module imports: wherever in its file, for types only, or by a string."""
    names = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.Constant) and module not in TABLES:
            names |= set(re.findall(r"^circuits(?:\.\w+)+(?=:\w+$|$)", str(node.value)))
    owners = {name if name in MODULES else name.rpartition(".")[0] for name in names if name.startswith("circuits.")}
    return owners - {module}


def test_imports_point_one_way():
    edges = {module: imports(module) for module in MODULES if module != "circuits"}  # its table is the public API
    allowed = {module: ROOM[room(module)] | {room(module)} for module in edges}
    assert not {(here, name) for here, names in edges.items() for name in names if room(name) not in allowed[here]}
    assert set().union(*edges.values()) <= MODULES.keys(), "a string or an import names a module that is not there"


def test_only_the_tables_are_imported_by_name():
    users = {module for module, path in MODULES.items() if "import_module" in path.read_text()}
    assert users == {"circuits.lazy", "circuits.registry"}


def test_no_import_leads_back_to_its_module():
    edges = {module: imports(module) - {"circuits"} for module in MODULES if module != "circuits"}
    while leaves := {module for module, names in edges.items() if not names & edges.keys()}:
        edges = {module: names for module, names in edges.items() if module not in leaves}
    assert not edges, "modules in circles, and those that import them"


def test_strings_and_imports_for_types_count_as_imports():
    assert "circuits.presets" in imports("circuits.cli.presets")  # in a function
    assert "circuits.cli.train" in imports("circuits.cli.main")  # by a string
    assert "circuits.checkpoints.run" in imports("circuits.cli.opening")  # for types only


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
    config = circuits.preset("merrill-2023")
    with pytest.warns(FutureWarning, match="Config.hidden_layers is now prunable_layers"):
        assert config.hidden_layers.keys() == config.prunable_layers.keys()
    with pytest.raises(AttributeError, match="has no attribute 'moved'"):
        circuits.analysis.moved  # noqa: B018
