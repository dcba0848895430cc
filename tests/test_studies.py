"""Every study in analysis/ runs at its fast size, and prints its table on stdout and nothing on stderr."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
STUDIES = sorted((ROOT / "analysis").glob("[a-z]*.py"))  # _study is what they share


# Forks itself for each study, in a folder of its own, before any library has started a thread: imports take 3 s.
FORKS = """
import json, os, runpy, sys
import circuits
for name in circuits.__all__:
    getattr(circuits, name)
for study in map(os.path.abspath, sys.argv[1:]):
    os.makedirs(place := os.path.splitext(os.path.basename(study))[0])
    child = os.fork()
    if child == 0:
        os.chdir(place)
        for number, stream in ((1, "stdout"), (2, "stderr")):
            os.dup2(os.open(stream, os.O_WRONLY | os.O_CREAT), number)
        sys.argv = [study, "--fast"]
        sys.path[0] = os.path.dirname(study)
        code = 1
        try:
            runpy.run_path(study, run_name="__main__")
            code = 0
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            sys.stdout.flush(), sys.stderr.flush()
            os._exit(code)
    print(json.dumps([place, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])]), flush=True)
"""


@pytest.fixture(scope="module")
def fast(tmp_path_factory):
    """The folder in which all studies ran, and the exit code of each by its name."""
    folder = tmp_path_factory.mktemp("studies")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", FORKS, *STUDIES],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return folder, dict(map(json.loads, done.stdout.splitlines()))


@pytest.mark.slow
@pytest.mark.parametrize("study", STUDIES, ids=lambda path: path.stem)
def test_study_runs_at_its_fast_size(study, fast):
    folder, codes = fast
    out, err = ((folder / study.stem / stream).read_text(encoding="utf-8") for stream in ("stdout", "stderr"))
    assert (codes[study.stem], err) == (0, ""), out
    assert "paper" in out
    assert list((folder / study.stem).glob("checkpoints/**/*.h5"))


@pytest.mark.parametrize("study", STUDIES, ids=lambda path: path.stem)
def test_study_opens_as_a_notebook(study):
    jupytext = pytest.importorskip("jupytext", reason="jupytext opens the studies as notebooks; `make install` has it")
    kinds = [cell.cell_type for cell in jupytext.read(study).cells]
    assert kinds[0] == "markdown"
    assert kinds.count("code") > 3


def test_the_folder_of_studies_is_not_empty():
    assert STUDIES
