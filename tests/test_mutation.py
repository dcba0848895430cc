"""`make mutation`: what is mutated, how a mutant is known, and that a mutated copy is what the tests run."""

import ast
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

HERE = Path(__file__).parent / "mutation"
SOURCE = '''"""A module."""

from typing import no_type_check

import numba

LEAST = 3


def price(n: int | None = None, *, each: int = 2) -> int:
    """The price."""
    total = (n or 0) * each  # of all
    return total if total > LEAST else LEAST


def never(n: int) -> int:
    return n - 1


@numba.njit(cache=True)
@no_type_check
def compiled(values):
    total = 0.0
    for value in values:
        total += value * 2.0
    return total
'''
TEST = """
import numpy as np
from circuits.analysis.shop import LEAST, compiled, price

def test_price():
    assert [price(n) for n in (None, 1, 2, 3)] == [3, 3, 4, 6]

def test_compiled():
    assert compiled(np.ones(3)) == 6.0
"""


@pytest.fixture
def mutations(monkeypatch):
    monkeypatch.syspath_prepend(str(HERE))
    import mutations

    return mutations


@pytest.fixture
def shop(tmp_path):
    """A checkout with one module of layer 1, one that reads runs, and a copy of the driver."""
    package = tmp_path / "circuits" / "analysis"
    package.mkdir(parents=True)
    (tmp_path / "circuits" / "constructions").mkdir()
    for folder in (package, package.parent, tmp_path / "circuits" / "constructions"):
        (folder / "__init__.py").touch()
    (package / "shop.py").write_text(SOURCE)
    (package / "reads.py").write_text("def rows(path):\n    import h5py\n\n    return h5py.File(path)['rows'][0]\n")
    shutil.copytree(HERE, tmp_path / "tests" / "mutation", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "tests" / "mutation" / "equivalent.toml").write_text("")
    (tmp_path / "tests" / "conftest.py").touch()
    (tmp_path / "tests" / "test_shop.py").write_text(TEST)
    (tmp_path / "pyproject.toml").write_text(
        '[tool.pytest.ini_options]\naddopts = ["--import-mode=importlib", "--doctest-modules"]\n'
        'markers = ["slow", "long"]\n'
    )
    return tmp_path


def test_pure_functions_and_constructions_are_mutated_and_what_reads_runs_is_not(mutations):
    modules = mutations.measured_modules()
    assert {
        f"circuits.analysis.{name}"
        for name in ("subnetworks.scan", "progress.change_points", "progress.ramp", "walsh.transform")
    } < set(modules)
    assert {f"circuits.analysis.{name}" for name in ("networks.walk", "subnetworks.groups", "store")}.isdisjoint(
        modules
    )
    constructions = (mutations.ROOT / "circuits" / "constructions").glob("[!_]*.py")
    assert {f"circuits.constructions.{path.stem}" for path in constructions} < set(modules)


def test_mutants_are_python_differ_in_one_line_and_spare_annotations_and_decorators(mutations, shop):
    assert mutations.measured_modules(shop) == ["circuits.analysis.shop"]
    found = [
        one for place in mutations.places("circuits.analysis.shop", shop) if (one := mutations.mutant_at(place, shop))
    ]
    for one in found:
        ast.parse(one.code)
        changed = [(a, b) for a, b in zip(SOURCE.splitlines(), one.code.splitlines(), strict=True) if a != b]
        assert [(a.strip(), b.strip()) for a, b in changed] == [(one.place.text, one.becomes)]
        assert "int & None" not in one.becomes
        assert "@numba" not in one.place.text
    assert {"price", "never", "compiled", ""} == {one.place.function for one in found}
    assert "total += value / 2.0" in {one.becomes for one in found}  # a compiled function is mutated like any other
    assert not any("<<" in one.becomes or " is " in one.becomes for one in found)


def test_the_sample_does_not_depend_on_line_numbers_and_takes_one_mutant_per_token(mutations, shop):
    before = list(mutations.ranked(["circuits.analysis.shop"], 0, shop))
    path = mutations.path_of("circuits.analysis.shop", shop)
    path.write_text(SOURCE.replace("LEAST = 3", "\n# a comment\nLEAST = 3"))
    after = list(mutations.ranked(["circuits.analysis.shop"], 0, shop))
    assert [one.key for one in before] == [one.key for one in after]
    assert [one.place.line + 2 for one in before if one.place.function] == [
        one.place.line for one in after if one.place.function
    ]
    assert len({(one.place.line, one.place.column) for one in before}) == len(before)
    other_seed = [one.key for one in mutations.ranked(["circuits.analysis.shop"], 1, shop)]
    assert other_seed != [one.key for one in after]


def test_planted_errors_are_apart_in_compiled_functions(mutations):
    plain, lines = mutations.planted(SOURCE, compiled=False)
    compiled, compiled_lines = mutations.planted(SOURCE, compiled=True)
    assert plain.count("planted") == 2
    assert compiled.count("planted") == 1
    assert [SOURCE.splitlines()[line - 1].strip() for line in (*lines, *compiled_lines)] == [
        "total = (n or 0) * each  # of all", "return n - 1", "total = 0.0",
    ]  # fmt: skip
    ast.parse(plain), ast.parse(compiled)
    assert mutations.planted("x = 1\n", compiled=True) is None


@pytest.mark.slow
def test_every_mutant_listed_as_equivalent_is_still_made_and_has_a_reason(mutations):
    listed = mutations.equivalent()
    left = set(listed)
    for module in sorted({key[0] for key in listed}):
        wanted = {(key[1], key[2], key[4]) for key in listed if key[0] == module}
        for place in mutations.places(module):
            if (place.function, place.text, place.operator) in wanted:
                left.discard(getattr(mutations.mutant_at(place), "key", None))
    assert not left
    assert all(len(reason.split()) >= 4 for reason in listed.values())


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="prctl is Linux's")
def test_a_fork_dies_with_its_parent(mutations):
    program = (
        "import os, sys, time\n"
        f"sys.path.insert(0, {str(HERE)!r})\n"
        "import trees\n"
        "parent, pid = os.getpid(), os.fork()\n"
        "if not pid:\n"
        "    os.setsid()\n"
        "    trees.die_with(parent)\n"
        "    print('ready', flush=True)\n"
        "time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    with parent:
        assert parent.stdout.readline() == "ready\n"
        start = time.monotonic()
        parent.terminate()
        assert parent.stdout.read() == ""  # ends when the fork, which has the pipe too, is gone
    assert time.monotonic() - start < 30


def test_the_help_says_what_comes_first_and_how_long_it_takes():
    command = [sys.executable, str(HERE / "score.py"), "--help"]
    said = " ".join(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())
    assert "First every test runs once, unmutated, to measure which lines it executes: some minutes" in said
    assert "--folder keeps the measurement" in said


@pytest.mark.long
def test_the_whole_of_it_runs_the_mutated_copy_and_prints_what_no_test_notices(shop):
    command = [sys.executable, str(shop / "tests" / "mutation" / "score.py"), "--sample", "50", "--jobs", "1"]
    missed = subprocess.run(command, capture_output=True, text=True)
    assert "planted errors: 2 of 2 noticed" in missed.stdout, missed.stdout + missed.stderr
    assert missed.returncode == 0
    assert "circuits/analysis/shop.py:17 never ReplaceBinaryOperator_Sub" in missed.stdout
    assert missed.stdout.count("no test executes it") == 2  # the operator and the number of `n - 1`
    survivors = missed.stdout.split("survivors:")[1]
    assert "compiled" not in survivors
    assert "(n or 0) / each" not in survivors
    assert "+ total = (n or 1) * each" in survivors  # the least is 3 in either case
    assert (shop / "circuits" / "analysis" / "shop.py").read_text() == SOURCE

    (shop / "tests" / "test_shop.py").write_text(TEST.replace("compiled(np.ones(3)) == 6.0", "True"))
    unnoticed = subprocess.run(command, capture_output=True, text=True)
    assert unnoticed.returncode == 1
    assert "planted errors: 1 of 2 noticed" in unnoticed.stdout
