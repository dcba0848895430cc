"""Every study in analysis/ runs at its fast size, and prints its table on stdout and nothing on stderr."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
STUDIES = sorted((ROOT / "analysis").glob("[a-z]*.py"))  # _study is what they share


@pytest.mark.slow
@pytest.mark.parametrize("study", STUDIES, ids=lambda path: path.stem)
def test_study_runs_at_its_fast_size(study, tmp_path):
    done = subprocess.run(
        [sys.executable, "-W", "error", study, "--fast"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert "paper" in done.stdout
    assert list(tmp_path.glob("checkpoints/**/*.h5"))


@pytest.mark.parametrize("study", STUDIES, ids=lambda path: path.stem)
def test_study_opens_as_a_notebook(study):
    jupytext = pytest.importorskip("jupytext", reason="jupytext opens the studies as notebooks; `make install` has it")
    kinds = [cell.cell_type for cell in jupytext.read(study).cells]
    assert kinds[0] == "markdown"
    assert kinds.count("code") > 3


def test_the_folder_of_studies_is_not_empty():
    assert STUDIES
