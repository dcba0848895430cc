"""The page of a run of 50,000 checkpoints, in processor time, which two cores do not hide."""

import os
import subprocess
import sys
from pathlib import Path

from floors import Work
from timing import REPETITIONS, Pairs, Row

import circuits

N_CHECKPOINTS, SEEDS, WIDTH, N_INPUTS = 50_001, (0, 1), 16, 20
PARAMETERS = (N_INPUTS + 2) * WIDTH  # W, b, u
ALLOWED = 60.0  # seconds
MOST_BYTES = 8e6  # of the page


def long_page(folder: Path) -> Pairs:
    """Processor seconds of `circuits report` on 50,001 checkpoints of two small networks, and what they may be."""
    path, page = folder / "long.h5", folder / "long.html"
    config = circuits.preset("merrill-2023").replace(
        name="long", task__n=N_INPUTS, task__n_train=500, task__n_test=200, model__width=WIDTH, seeds=list(SEEDS),
        epochs=6250, checkpoints={"every_epochs": None, "every_steps": 2},
    )  # fmt: skip
    circuits.train(config, path, overwrite=True, progress=False).close()
    command = [sys.executable, "-c", "import sys; from circuits.cli.main import main; sys.exit(main())"]

    def ask() -> float:
        before = os.times()
        subprocess.run([*command, "report", str(path), "--quiet"], check=True, stdout=subprocess.DEVNULL)
        after = os.times()
        size = page.stat().st_size
        print(f"  {size / 1e6:.2f} MB of {MOST_BYTES / 1e6:g} MB", file=sys.stderr)
        return after.children_user + after.children_system - before.children_user - before.children_system

    ask()
    return [(ask(), ALLOWED) for _ in range(REPETITIONS)]


ROWS = (
    Row("a page of 50,001 checkpoints of two seeds, processor time", "took", "of", "≤ 1", long_page,
        (Work(moved=4 * PARAMETERS * N_CHECKPOINTS * len(SEEDS)), None)),
)  # fmt: skip
