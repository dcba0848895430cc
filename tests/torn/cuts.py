"""Cut every write that goes to a run file, at every byte, and see that no committed checkpoint is lost.

    python tests/torn/cuts.py [--share 1] [--seed 0] [--only resumed-adamw]

A small run is trained, resumed after a kill, extended, stopped early and repaired, with SGD and with AdamW, under a
library (`record.c`) that records every write, truncation and rename. From the record the files are made as a kill in
the middle of each write would leave them: at every byte of a write of up to 1 KiB, at every 512 bytes of a longer one.
Each is then opened, repaired if it does not open, and resumed to its end: it must hold the checkpoints that were
committed before that write, and end with the bits of a run that was never cut. Every other one is resumed at once,
from the command line. One cut each: a second kill is what `kills.py` tries.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import random
import signal
import struct
import subprocess
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np

import circuits
from circuits.checkpoints import writer
from circuits.cli.main import INTERRUPTED
from circuits.cli.main import main as command_line
from circuits.config import Config, parse
from circuits.training import loop

HERE = Path(__file__).parent
OPEN, WRITE, TRUNCATE, LINK, RENAME, UNLINK = range(1, 7)
HEADER = struct.Struct("=5q")
WHOLE, STEP = 1024, 512  # up to how many bytes every one is a cut, and how far apart cuts are otherwise
KILLED, NEVER = 3, 10**9
EPOCHS, MORE = 4, 6


def config_of(kind: str, *, epochs: int = EPOCHS, stops: bool = False) -> Config:
    """A run of a few kilobytes."""
    data = circuits.preset("merrill-2023").model_dump(mode="json")
    data["task"] |= {"n": 4, "k": 2, "n_train": 8, "n_test": 8}
    data["model"] |= {"width": 4}
    data["optimizer"] = {"kind": kind}
    data["checkpoints"] |= {"optimizer_state_every": 2}
    data["stop"] = {"test_accuracy": 0.01, "checkpoints": 1} if stops else None
    return parse(data | {"batch_size": 8, "seeds": [0, 1], "epochs": epochs})


# ---- what is done to a file, in a process of its own ----


def train(kind: str, path: Path) -> None:
    """A run from nothing."""
    circuits.train(config_of(kind), path, progress=False)


def stop_early(kind: str, path: Path) -> None:
    """A run that meets its stop rule."""
    circuits.train(config_of(kind, stops=True), path, progress=False)


def resume(kind: str, path: Path) -> None:
    """Go on with what is there, to the end of its plan."""
    circuits.train(None, path, resume=True, progress=False)


def extend(kind: str, path: Path) -> None:
    """Go on beyond the plan."""
    circuits.train(config_of(kind, epochs=MORE), path, resume=True, progress=False)


def repair(kind: str, path: Path) -> None:
    """Make it plain."""
    circuits.repair(path)


def be_killed(kind: str, path: Path) -> None:
    """A run that is killed after some checkpoints, one of them without its step."""
    commit = writer.Writer._commit

    def killing(self: writer.Writer) -> None:
        if self.n_checkpoints < KILLED:
            return commit(self)
        for name, dataset in self._trajectories.items():
            dataset[KILLED] = self._buffers[name][0]
        self.file.flush()
        os._exit(0)

    writer.Writer._commit = killing
    train(kind, path)


CASES = {  # what was done before, what is recorded, what is done after a cut, and the run that must come out
    "trained": (None, train, resume, {}),
    "stopped": (None, stop_early, resume, {"stops": True}),
    "resumed": (be_killed, resume, resume, {}),
    "extended": (train, extend, extend, {"epochs": MORE}),
    "repaired": (be_killed, repair, resume, {}),
}


# ---- the record, and files as a cut leaves them ----


Call = tuple[int, int, int, bytes, bytes]


@dataclass
class Folder:
    """Files by name, as they are after some calls."""

    files: dict[str, bytearray] = field(default_factory=dict)
    descriptors: dict[int, bytearray] = field(default_factory=dict)

    def apply(self, kind: int, descriptor: int, offset: int, one: bytes, two: bytes, cut: int | None = None) -> None:
        if kind == OPEN:
            self.descriptors[descriptor] = self.files.setdefault(_name(one), bytearray())
            if offset:
                self.descriptors[descriptor].clear()
        elif kind == WRITE:
            file, written = self.descriptors[descriptor], one[:cut]
            if len(file) < offset:
                file.extend(bytes(offset - len(file)))
            file[offset : offset + len(written)] = written
        elif kind == TRUNCATE:
            file = self.descriptors[descriptor]
            del file[offset:]
            file.extend(bytes(offset - len(file)))
        elif kind == LINK:
            self.files[_name(two)] = self.files[_name(one)]
        elif kind == RENAME:
            self.files[_name(two)] = self.files.pop(_name(one))
        elif kind == UNLINK:
            self.files.pop(_name(one), None)

    def digest(self) -> str:
        """Of the names and contents of all files."""
        digest = hashlib.sha256()
        for name, content in sorted(self.files.items()):
            digest.update(f"{name} {len(content)}\n".encode() + content)
        return digest.hexdigest()

    def write(self, folder: Path) -> None:
        for old in folder.iterdir():
            old.unlink()
        for name, content in self.files.items():
            (folder / name).write_bytes(content)


def _name(path: bytes) -> str:
    return os.path.basename(path.decode())


class Jobs:
    """A process under the recording library that has imported everything, and forks a child for each job."""

    def __init__(self, folder: Path) -> None:
        code = "import sys; sys.path.insert(0, sys.argv[1]); import cuts; cuts.serve()"
        environment = os.environ | {"LD_PRELOAD": str(library_in(folder))}
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, str(HERE)], env=environment, text=True, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )  # fmt: skip

    def do(self, name: str, kind: str, path: Path, **environment: str) -> None:
        """Run one of the functions above in a child with more environment variables."""
        print(json.dumps([name, kind, str(path), environment]), file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline()
        if answer != "0\n":
            raise RuntimeError(f"{name} of a {kind} run ended with {answer.strip() or 'the process of the jobs'}")

    def __enter__(self) -> Jobs:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


def serve() -> None:
    """Run the jobs that come in on stdin, each in a child, and answer with the exit code of each."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # a job may print
    for line in sys.stdin:
        name, kind, path, environment = json.loads(line)
        child = os.fork()
        if child == 0:
            os.environ |= environment
            try:
                alone(name, kind, path)
            except BaseException:
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), file=answers, flush=True)


def recorded(case: str, kind: str, folder: Path, jobs: Jobs) -> tuple[Folder, list[Call]]:
    """The folder before, and every call."""
    before, do, _, _ = CASES[case]
    place = folder / "recorded"
    place.mkdir()
    if before is not None:
        jobs.do(before.__name__, kind, place / "run.h5")
    start = Folder({file.name: bytearray(file.read_bytes()) for file in place.iterdir()})
    log = folder / "log"
    jobs.do(do.__name__, kind, place / "run.h5", RECORD_INTO=str(log), RECORD_UNDER=str(place))
    return start, list(_calls(log.read_bytes()))


def alone(name: str, kind: str, path: str) -> None:
    """One of the functions above, with a commit for each checkpoint and the optimizer's state kept each time."""
    writer.BUFFERED_CHECKPOINTS = 1
    loop.STATE_SECONDS = 0.0
    globals()[name](kind, Path(path))


def _calls(log: bytes) -> Iterator[Call]:
    place = 0
    while place < len(log):
        kind, descriptor, offset, n, m = HEADER.unpack_from(log, place)
        place += HEADER.size
        yield kind, descriptor, offset, log[place : place + n], log[place + n : place + n + m]
        place += n + m


def cuts_of(length: int) -> range:
    """After how many bytes a write of this length is cut; the first is before it."""
    return range(0, length, 1 if length <= WHOLE else STEP)


# ---- what must hold ----


class Truth:
    """A run that was never cut, and where the entries of its `step` lie in the file."""

    def __init__(self, case: str, kind: str, folder: Path) -> None:
        self.kind, self.do = kind, CASES[case][2]
        path = folder / "truth.h5"
        with circuits.train(config_of(kind, **CASES[case][3]), path, progress=False) as run:
            self.parameters = run.parameters.load()
            self.metrics = run.metrics
            self.states = {step: run.optimizer_state(step) for step in run.state_steps.tolist()}

    def n_committed(self, image: bytearray, address: int) -> int:
        """How many entries of `step` an image of the file has, from its bytes alone."""
        planned = np.array(config_of(self.kind, epochs=MORE).checkpoint_steps(), "<i8")
        there = np.frombuffer(bytes(image[address : address + 8 * len(planned)]), "<i8")
        other = np.flatnonzero(there != planned[: len(there)])
        return int(other[0]) if other.size else len(there)

    def check(self, folder: Path, at_least: int, directly: bool) -> str:
        """What is wrong with the files in a folder; nothing if all is well. `directly`: resume before anything else."""
        path = folder / "run.h5"
        try:
            n_found = at_least if directly else self._found(path)
            if n_found < at_least:
                return f"{n_found} of {at_least} committed checkpoints are left"
            if not (directly and self.do is resume):
                self.do(self.kind, path)
            elif said := _said(["train", "--resume", "--out", str(path), "--quiet"]):
                return said
            with circuits.open(path) as run:
                if not run.parameters.load().identical(self.parameters) or not run.metrics.identical(self.metrics):
                    return "the resumed run has other bits"
                for step, state in self.states.items():
                    there = run.optimizer_state(step)
                    if any(there[name].tobytes() != values.tobytes() for name, values in state.items()):
                        return "the resumed run keeps other optimizer states"
        except Exception as error:  # whatever it is, it is a loss
            return f"{type(error).__name__}: {error}"
        return ""

    def _found(self, path: Path) -> int:
        try:
            run = circuits.open(path)
        except circuits.InputError:
            circuits.repair(path)
            run = circuits.open(path)
        with run:
            n = run.n_checkpoints
            expected = self.parameters.isel(step=slice(n))
            if not run.parameters.load().identical(expected):
                raise ValueError("a committed checkpoint has other bits")
            return n


def _said(words: list[str]) -> str:
    """What a command that fails prints on stderr; nothing of one that succeeds."""
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()) as err:
        code = command_line(words)
    if code == INTERRUPTED:
        raise KeyboardInterrupt
    return err.getvalue() if code else ""


class Case:
    """One thing that is done to a run, recorded, with every cut that it can be given."""

    def __init__(self, name: str, kind: str, folder: Path, jobs: Jobs) -> None:
        folder.mkdir()
        self.name, self.had_file = f"{name}-{kind}", CASES[name][0] is not None
        self.truth = Truth(name, kind, folder)
        self.start, self.calls = recorded(name, kind, folder, jobs)
        with h5py.File(folder / "recorded" / "run.h5", "r", locking=False) as file:
            self.address = file["step"].id.get_chunk_info(0).byte_offset
        self.place = folder / "cut"
        self.place.mkdir()
        self.tried: dict[tuple[str, int, bool], str] = {}
        self.cuts = [
            (index, cut)
            for index, (kind_of_call, *_, one, _) in enumerate(self.calls)
            for cut in (cuts_of(len(one)) if kind_of_call == WRITE else [0])
        ]

    @property
    def first_with_file(self) -> int:
        """The first call after which the run has its name."""
        if self.had_file:
            return 0
        naming = [index for index, call in enumerate(self.calls) if call[0] in (LINK, RENAME)]
        return next(index for index in naming if _name(self.calls[index][4]) == "run.h5") + 1

    def losses(self, chosen: list[tuple[int, int]]) -> Iterator[tuple[tuple[int, int], str]]:
        """What is lost by each of these cuts, in order; an empty text where nothing is.

        Cuts that leave the same bytes in every file, with as many checkpoints committed, are tried once.
        """
        now, done = deepcopy(self.start), 0
        for index, cut in sorted(chosen):
            for call in self.calls[done:index]:
                now.apply(*call)
            done = index
            kind = self.calls[index][0]
            if "run.h5" not in now.files and kind in (WRITE, TRUNCATE):  # the name comes with a link
                yield (index, cut), "the file is gone" if self.had_file else ""
                continue
            before = self._committed(now)
            after, left = deepcopy(now), deepcopy(now)
            after.apply(*self.calls[index])
            if kind == WRITE:
                left.apply(*self.calls[index], cut=cut)
            if "run.h5" not in left.files:
                yield (index, cut), "the file is gone" if self.had_file else ""
                continue
            at_least, directly = min(before, self._committed(after)), cut % 2 == 1
            case = (left.digest(), at_least, directly)
            if case not in self.tried:
                left.write(self.place)
                self.tried[case] = self.truth.check(self.place, at_least, directly)
            yield (index, cut), self.tried[case]

    def _committed(self, folder: Folder) -> int:
        return self.truth.n_committed(folder.files["run.h5"], self.address) if "run.h5" in folder.files else 0


def library_in(folder: Path) -> Path:
    """The recording library, compiled."""
    built = folder / "record.so"
    words = ["cc", "-shared", "-fPIC", "-O1", "-o", str(built), str(HERE / "record.c"), "-ldl", "-lpthread"]
    subprocess.run(words, check=True)
    return built


def main() -> int:
    """Print what was cut and what was lost; the exit code is 1 if anything was."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--share", type=float, default=1.0, help="share of the cuts that are tried, at random")
    parser.add_argument("--seed", type=int, default=0, help="of that choice")
    parser.add_argument("--only", help="one case, such as resumed-adamw")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # the folder goes, too
    lost: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder, Jobs(Path(folder)) as jobs:
        for name in CASES:
            for kind in ("sgd", "adamw"):
                if options.only not in (None, f"{name}-{kind}"):
                    continue
                case = Case(name, kind, Path(folder) / f"{name}-{kind}", jobs)
                chosen = random.Random(options.seed).sample(case.cuts, max(1, round(options.share * len(case.cuts))))
                n_lost = 0
                for (index, cut), loss in case.losses(chosen):
                    if loss:
                        n_lost += 1
                        print(f"{case.name}: call {index} cut after {cut} bytes: {loss}", flush=True)
                lost[case.name] = n_lost
                different = f"{len(case.tried)} different files"
                print(f"{case.name}: {len(chosen)} of {len(case.cuts)} cuts, {different}, {n_lost} losses", flush=True)
    print(f"in all: {sum(lost.values())} losses")
    return 1 if sum(lost.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
