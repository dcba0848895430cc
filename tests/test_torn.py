"""A write that a kill cuts at any byte loses no committed checkpoint: a sample of what `torn/cuts.py` tries in full."""

import random
import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "torn"))

from cuts import CASES, Case, Jobs

pytestmark = [
    pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler for the library that records writes"),
    pytest.mark.skipif(sys.platform != "linux", reason="the library that records writes is for Linux"),
]


@pytest.fixture(scope="module")
def jobs(tmp_path_factory):
    with Jobs(tmp_path_factory.mktemp("library")) as jobs:
        yield jobs


@pytest.mark.slow
@pytest.mark.parametrize("kind", [pytest.param("sgd", marks=pytest.mark.long), "adamw"])
@pytest.mark.parametrize("name", CASES)
def test_no_cut_loses_a_checkpoint_or_a_bit(name, kind, tmp_path, jobs):
    n_cuts, case = 6, Case(name, kind, tmp_path / "case", jobs)
    there = [cut for cut in case.cuts if cut[0] >= case.first_with_file]
    chosen = random.Random(0).sample(there, min(n_cuts, len(there)))
    assert len(chosen) == n_cuts
    assert [(cut, loss) for cut, loss in case.losses(chosen) if loss] == []
