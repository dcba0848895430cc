"""Kill training again and again at random moments, and check each time that nothing committed was lost.

    python tests/kills.py --kills 500

Everything heavy is imported once; each generation is a fork that goes on with the run and is killed after a random
time, often so short that it dies while creating or recovering the file. Before the next generation a fork opens the run
and compares every committed checkpoint with the run that was never interrupted; all the while another fork reads it
live. At the end the run is resumed to its last step, and must have the same bits. Counts are printed; any failure is
exit code 1.
"""

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

import circuits
from circuits.checkpoints import writer
from circuits.config import parse
from circuits.training import loop
from circuits.training.loop import train
from circuits.training.paths import fused, reference  # noqa: F401  imported before the forks

CASES = [(n_seeds, kind, buffered) for n_seeds in (1, 5) for kind in ("sgd", "adamw") for buffered in (1, 8)]
LONGEST = 0.5  # seconds a generation may live


def config_of(n_seeds: int, kind: str, n_kills: int) -> circuits.Config:
    """A small run that outlasts so many kills: with 60 kills, it takes several seconds to the end."""
    data = circuits.preset("merrill-2023").model_dump(mode="json")
    data["task"] |= {"n": 8, "k": 2, "n_train": 40, "n_test": 20}
    data["model"] |= {"width": 16}
    data["optimizer"] = {"kind": kind}
    data["checkpoints"] |= {"optimizer_state_every": 7}
    epochs = max(350, 50 * n_kills) // (1 if kind == "sgd" else 10)
    return parse(data | {"batch_size": 8, "seeds": list(range(n_seeds)), "epochs": epochs})


def forked(work: Callable[[], object]) -> tuple[int, str]:
    """Run `work` in a child: its exit code (negative: the signal), and what it said of a failure."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        code = 0
        try:
            work()
        except BaseException as error:
            os.write(write, repr(error)[:400].encode())
            code = 1
        os._exit(code)
    os.close(write)
    with os.fdopen(read) as pipe:
        said = pipe.read()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), said


def killed(work: Callable[[], object], delay: float) -> bool:
    """Start `work` in a child and kill it after `delay` seconds; whether it was still running."""
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException as error:
            print(f"the writer failed: {error!r}", file=sys.stderr)
            os._exit(1)
        os._exit(0)
    time.sleep(delay)
    os.kill(child, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code == 1:
        raise SystemExit("FAILED: the writer raised")
    return code == -signal.SIGKILL


def advance(path: Path, config: circuits.Config, buffered: int) -> None:
    writer.BUFFERED_CHECKPOINTS = buffered
    loop.STATE_SECONDS = 0.02
    train(config, path, resume=path.exists(), progress=False).close()


def prefix_is_intact(path: Path, whole: Path) -> None:
    """Raise unless every committed checkpoint has the bits of the run that was never interrupted."""
    with circuits.open(path) as run, circuits.open(whole) as model:
        n = run.n_checkpoints
        for name in run.parameters:
            assert run.parameters[name].values.tobytes() == model.parameters[name][:n].values.tobytes(), name
        assert run.metrics.equals(model.metrics.isel(step=slice(n))), "metrics"
        assert run.all_data.equals(model.all_data), "data"
        if run.is_complete:
            for step in model.state_steps:
                there, here = model.optimizer_state(int(step)), run.optimizer_state(int(step))
                assert all((there[name] == here[name]).all() for name in there), "optimizer state"


def read_live(path: Path, whole: Path) -> None:
    """Until killed: open the run, refresh it, and check that what it shows is a prefix of the whole."""
    with circuits.open(whole) as model:
        expected, steps = model.parameters["W"].values, model.steps
    while True:
        if not path.exists():
            time.sleep(0.002)
            continue
        with circuits.open(path) as run:
            for _ in range(20):
                n = run.refresh().n_checkpoints
                assert (run.steps == steps[:n]).all(), "steps"
                if n:
                    at = n - 1
                    assert (run.parameters["W"][at].values == expected[at]).all(), f"checkpoint {at}"
                time.sleep(0.01)


def torture(n_seeds: int, kind: str, buffered: int, n_kills: int, random_: random.Random, folder: Path) -> Counter:
    """Kill a run `n_kills` times; counts of what happened."""
    config = config_of(n_seeds, kind, n_kills)
    path, whole = folder / "run.h5", folder / "whole.h5"
    code, said = forked(lambda: train(config, whole, progress=False).close())
    assert code == 0, said
    circuits.open(whole).close()  # starts the process that looks at files first, for all forks
    counts: Counter = Counter()
    read, write = os.pipe()
    reader = os.fork()
    if reader == 0:
        try:
            read_live(path, whole)
        except BaseException as error:
            os.write(write, repr(error)[:400].encode())
        os._exit(1)
    os.close(write)
    try:
        for _ in range(n_kills):
            long, was_there = random_.random() < 0.6, path.exists()
            if killed(lambda: advance(path, config, buffered), random_.uniform(0, LONGEST if long else LONGEST / 10)):
                counts["kills"] += 1
                counts["kills of a run with a file"] += was_there
            else:
                counts["finished before the kill"] += 1
            if path.exists():
                code, said = forked(lambda: prefix_is_intact(path, whole))
                assert code == 0, f"{said or code} after {counts}"
                counts["intact"] += 1
            else:
                counts["no file yet"] += 1
        if os.waitpid(reader, os.WNOHANG)[0]:
            with os.fdopen(read) as pipe:
                raise AssertionError(f"the live reader failed: {pipe.read()}")
    finally:
        try:
            os.kill(reader, signal.SIGKILL)
            os.waitpid(reader, 0)
        except (ProcessLookupError, ChildProcessError):
            pass
    code, said = forked(lambda: advance(path, config, buffered))
    assert code == 0, said
    code, said = forked(lambda: prefix_is_intact(path, whole))
    assert code == 0, said
    with circuits.open(path) as run:
        assert run.is_complete
        counts["checkpoints at the end"] += run.n_checkpoints
    return counts


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--kills", type=int, default=500, help="in all, over the eight cases (default: 500)")
    arguments.add_argument("--seed", type=int, default=0, help="of the random moments (default: 0)")
    given = arguments.parse_args()
    random_ = random.Random(given.seed)
    np.seterr(all="raise")
    total: Counter = Counter()
    for case in CASES:
        with tempfile.TemporaryDirectory() as folder:
            try:
                counts = torture(*case, -(-given.kills // len(CASES)), random_, Path(folder))
            except AssertionError as error:
                print(f"FAILED: seeds, optimizer, buffered = {case}: {error}")
                return 1
        total += counts
        print(f"seeds {case[0]}, {case[1]}, {case[2]} per write: {dict(counts)}", flush=True)
    print(f"in all: {dict(total)}; 0 failures")
    return 0


if __name__ == "__main__":
    sys.exit(main())
