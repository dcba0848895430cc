"""`make mutation`: do the tests notice when the code is wrong?

    python tests/mutation/score.py [--sample 300] [--seed 0] [--jobs 2] [--only WORD] [--folder FOLDER]

Mutates the pure functions of circuits/analysis and the constructions, one place at a time, in copies of the tree, and
runs for each mutant the tests that execute its line, until the first fails. Before that an error is planted in every
module, in its compiled functions apart from the others, and must be noticed. Prints the score and the survivors.
"""

import argparse
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from choose import Tests, measured_tests, test_files
from mutations import Mutant, equivalent, measured_modules, path_of, planted, ranked
from trees import ELSEWHERE, Chosen, Fork, Tree, fork, load

# Seconds of processor time of one mutant: for the start, for compiling, and this many times the unmutated tests.
START, COMPILING, PATIENCE = 30.0, 60.0, 5
NO_TESTS = 5  # exit code of pytest
FIRST = (
    "First every test runs once, unmutated, to measure which lines it executes: some minutes, also with --only and "
    "--sample. --folder keeps the measurement for the next call with as many --jobs."
)


@dataclass
class Job:
    """Code to put in the place of a module's, and the tests to run on it."""

    module: str
    code: str
    tests: list[str]
    mutant: Mutant | None = None


def results(jobs: Iterable[Job], forest: list[Tree], tests: Tests, folder: Path) -> Iterator[tuple[Job, Fork | None]]:
    """Run the jobs, one at a time in each tree, and yield each when it ends; one without tests has no fork."""
    left, busy = iter(jobs), dict.fromkeys(range(len(forest)))
    while True:
        for at, running in busy.items():
            if running and running[1].runs():
                continue
            if running:
                if running[1].code == ELSEWHERE:
                    sys.exit(f"error: the tests import another circuits than the mutated copy, see {running[1].log}")
                forest[at].restore(running[0].module)
                yield running
            busy[at] = None
            job = next(left, None)
            while job and not job.tests:
                yield job, None
                job = next(left, None)
            if job:
                busy[at] = job, _started(job, forest[at], tests, folder / f"mutant-{at}.log")
        if not any(busy.values()):
            return
        time.sleep(0.02)


def _started(job: Job, tree: Tree, tests: Tests, log: Path) -> Fork:
    tree.write(job.module, job.code)
    seconds = START + PATIENCE * sum(tests.seconds[test] for test in job.tests)
    seconds += COMPILING if "njit" in job.code else 0
    # Test files first: pytest would put a doctest module in the place of a function of its name.
    files = sorted({test.split("::")[0] for test in job.tests}, key=lambda file: (file.startswith("circuits"), file))
    return fork(tree, ["-x", *files], lambda: [Chosen(job.tests, log.with_suffix(".failed"))], seconds, log)


def plants(modules: list[str], tests: Tests) -> Iterator[Job]:
    """Every module with an error in its functions, and again with one in its compiled functions."""
    for module in modules:
        source = path_of(module).read_text()
        for compiled in (False, True):
            if found := planted(source, compiled):
                code, lines = found
                yield Job(module, code, tests.of_lines(module, lines))


def check_plants(modules: list[str], forest: list[Tree], tests: Tests, folder: Path) -> list[str]:
    """Modules whose planted error no test notices, or whose tests run other code."""
    missed, start, n_plants = [], time.monotonic(), 0
    for job, done in results(plants(modules, tests), forest, tests, folder):
        n_plants += 1
        if survives(done) or "planted" not in done.log.read_text(errors="replace"):
            what = "no test executes it" if done is None else f"pytest ended with {done.code}, see {done.log}"
            missed.append(f"{job.module}: {what}")
            print("  planted error not noticed:", missed[-1], flush=True)
    print(
        f"planted errors: {n_plants - len(missed)} of {n_plants} noticed, {time.monotonic() - start:.0f} s", flush=True
    )
    return missed


def survives(done: Fork | None) -> bool:
    """Whether no test noticed: they passed, or none executes the line, or the mutant left none to run."""
    return done is None or done.code in (0, NO_TESTS)


def said(job: Job) -> str:
    """Where a mutant is, and what it changes."""
    at = job.mutant.place
    where = f"{path_of(at.module).relative_to(path_of('x').parent)}:{at.line} {at.function}"
    return f"{where} {at.operator.removeprefix('core/')}\n      - {at.text}\n      + {job.mutant.becomes}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], epilog=FIRST)
    parser.add_argument("--sample", type=int, default=300, help="mutants to run")
    parser.add_argument("--seed", type=int, default=0, help="which sample")
    parser.add_argument("--jobs", type=int, default=2, help="tests that run at once")
    parser.add_argument("--only", default="", help="modules whose name has this word")
    parser.add_argument("--folder", type=Path, help="where to keep that measurement; the next call reads it")
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported
    with tempfile.TemporaryDirectory() as name:
        folder = options.folder or Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        sys.exit(measure(options, folder, Path(name)))


def measure(options: argparse.Namespace, folder: Path, scratch: Path) -> int:
    """The whole of it; the exit code."""
    start = time.monotonic()
    everything = measured_modules()
    modules = [module for module in everything if options.only in module]
    sample = list(islice(ranked(modules, options.seed), options.sample))
    without = set(modules) - {module for module in modules if next(ranked([module], options.seed), None)}
    print(f"{len(modules)} modules, without mutants: {', '.join(sorted(without)) or 'none'}", flush=True)
    load()
    forest = [Tree(scratch / f"tree-{at}") for at in range(options.jobs)]
    tests = measured_tests(test_files(everything), forest, folder)
    print(
        f"{len(tests.seconds)} tests; left out, since they fail unmutated: {', '.join(tests.failed) or 'none'}",
        flush=True,
    )
    if check_plants(modules, forest, tests, scratch):
        return 1
    known = equivalent()
    jobs = (Job(one.place.module, one.code, tests.of_line(one.place.module, one.place.line), one) for one in sample)
    counts, survivors = Counter(), []
    for at, (job, done) in enumerate(results(jobs, forest, tests, scratch), 1):
        same = job.mutant.key in known
        ended = "survived" if survives(done) else "killed" if done.code > 0 else "out of time"
        counts["equivalent" if same else ended] += 1
        if ended == "survived" and not same:
            survivors.append(said(job) + ("" if done else "\n      no test executes it"))
        if ended != "survived" and same:
            print("  listed as equivalent, but killed:", said(job))
        by = f"{done.seconds:.1f} s {done.first_failure}" if done else ""
        print(f"{at:4} {'equivalent' if same else ended} {said(job).splitlines()[0]} {by}", flush=True)
    n_real = sum(counts.values()) - counts["equivalent"]
    n_killed = n_real - counts["survived"]
    score, minutes = 100 * n_killed / max(n_real, 1), (time.monotonic() - start) / 60
    print(f"\n{n_killed} of {n_real} mutants killed: {score:.1f} %, aim ≥ 95 %; {dict(counts)}; {minutes:.0f} minutes")
    print("survivors:", *(survivors or ["none"]), sep="\n  ")
    return 0


if __name__ == "__main__":
    main()
