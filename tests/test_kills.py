import re
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_a_run_killed_again_and_again_loses_nothing_and_ends_in_the_same_bits(capsys):
    script = Path(__file__).with_name("kills.py")
    done = subprocess.run([sys.executable, str(script), "--kills", "24"], capture_output=True, text=True)
    with capsys.disabled():
        print(f"\n{done.stdout}{done.stderr}")
    assert done.returncode == 0, done.stdout
    total = done.stdout[done.stdout.index("in all: ") :]
    assert int(re.search(r"'kills': (\d+)", total)[1]) >= 18
    assert int(re.search(r"'kills of a run with a file': (\d+)", total)[1]) >= 6
