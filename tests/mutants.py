"""Hostile, mutated and spliced run files by the thousand: each is read, or refused in one line. Nothing else happens.

    python tests/mutants.py 10000 [--seed 0] [--jobs 2]

Every file is opened and read as `circuits show` and a notebook would do it, by forks of this process that are watched
for crashes and for time. Prints the counts; the exit code is the number of failures (at most 100). The hostile features
and mutations are also what tests/test_validate.py uses.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import signal
import struct
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import numpy as np

import circuits
from circuits.checkpoints import sandbox
from circuits.checkpoints.recover import lookup3

FIXTURES = Path(__file__).parent / "fixtures"
SECONDS = 20


def _replace(file: h5py.File, name: str, **how) -> None:
    del file[name]
    file.create_dataset(name, **how)


def _soft_link(file: h5py.File, outside: str) -> None:
    file["parameters/other"] = h5py.SoftLink("/parameters/W")


def _external_link(file: h5py.File, outside: str) -> None:
    del file["parameters/W"]
    file["parameters/W"] = h5py.ExternalLink(outside, "/W")


def _virtual(file: h5py.File, outside: str) -> None:
    layout = h5py.VirtualLayout((6, 2, 3, 4), "f4")
    layout[:] = h5py.VirtualSource(outside, "W", (6, 2, 3, 4))
    del file["parameters/W"]
    file.create_virtual_dataset("parameters/W", layout)


def _unlimited_virtual(file: h5py.File, outside: str) -> None:
    layout = h5py.VirtualLayout((6, 8), "f4", maxshape=(None, 8))
    source = h5py.VirtualSource(outside, "W", (6, 8), maxshape=(None, 8))
    layout[: h5py.h5s.UNLIMITED, :] = source[: h5py.h5s.UNLIMITED, :]
    file.create_virtual_dataset("metrics/more", layout)


def _filter(code: int, *options: int) -> Callable[[h5py.File, str], None]:
    def build(file: h5py.File, outside: str) -> None:
        created = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        created.set_chunk((16,))
        created.set_filter(code, h5py.h5z.FLAG_OPTIONAL, options)
        h5py.h5d.create(file.id, b"odd", h5py.h5t.NATIVE_INT32, h5py.h5s.create_simple((16,)), created)

    return build


def _object_reference(file: h5py.File, outside: str) -> None:
    file["parameters/W"].attrs["other"] = file["step"].ref


def _dangling_reference(file: h5py.File, outside: str) -> None:
    scale = file.create_dataset("gone", data=np.arange(4))
    scale.make_scale("gone")
    file["parameters/W"].dims[3].detach_scale(file["input"])
    file["parameters/W"].dims[3].attach_scale(scale)
    del file["gone"]


def _cycle(file: h5py.File, outside: str) -> None:
    file["resume/slot0/again"] = file["resume"]


def _big_attribute(file: h5py.File, outside: str) -> None:
    file.attrs.create("big", np.zeros(1 << 18))


def _big_string(file: h5py.File, outside: str) -> None:
    file.attrs["long"] = "x" * (2 << 20)


def _attribute(name: str, value: object) -> Callable[[h5py.File, str], None]:
    def build(file: h5py.File, outside: str) -> None:
        file.attrs[name] = value

    return build


def _config(old: str, new: str) -> Callable[[h5py.File, str], None]:
    def build(file: h5py.File, outside: str) -> None:
        text = file.attrs["config"].decode()
        assert old in text
        file.attrs["config"] = np.bytes_(text.replace(old, new))

    return build


def _gap_in_the_data(file: h5py.File, outside: str) -> None:
    old = file["parameters/b"]
    values, scales = old[()], [dim[0] for dim in old.dims]
    del file["parameters/b"]
    new = file.create_dataset("parameters/b", values.shape, "f4", chunks=(1, 2, 3), fill_time="never")
    new[:4] = values[:4]
    for dim, scale in zip(new.dims, scales, strict=True):
        dim.attach_scale(scale)


def _unordered_steps(file: h5py.File, outside: str) -> None:
    file["step"][2] = 999


# What to do to a good run, and what the refusal must say.
HOSTILE: dict[str, tuple[Callable[[h5py.File, str], object], str]] = {
    "external link": (_external_link, "is refused: /parameters/W is an external link to '.*outside"),
    "soft link": (_soft_link, "is refused: /parameters/other is a soft link to '/parameters/W'"),
    "virtual dataset": (_virtual, "is refused: /parameters/W is a virtual dataset"),
    "unlimited virtual dataset": (_unlimited_virtual, "is refused: /metrics/more is a virtual dataset"),
    "external storage": (
        lambda file, outside: _replace(
            file, "metrics/train_loss", shape=(6, 2), dtype="f8", external=[(outside, 0, h5py.h5f.UNLIMITED)]
        ),
        "is refused: /metrics/train_loss has its data in another file, '.*outside",
    ),
    "committed datatype": (
        lambda file, outside: file.__setitem__("kind", np.dtype("f4")),
        "is refused: /kind is a data type without values",
    ),
    "compound dtype": (
        lambda file, outside: file.create_dataset("pair", data=np.zeros(3, [("a", "f4"), ("b", "i4")])),
        "is refused: /pair has the type compound",
    ),
    "opaque dtype": (
        lambda file, outside: file.create_dataset("blob", data=np.void(b"abc")), "is refused: /blob has the type opaque"
    ),
    "enum": (
        lambda file, outside: file.create_dataset("e", data=[1], dtype=h5py.enum_dtype({"A": 1})),
        "is refused: /e has the type enum",
    ),
    "ragged dtype": (
        lambda file, outside: file.create_dataset("ragged", (3,), h5py.vlen_dtype("i4")),
        "is refused: /ragged has the type vlen",
    ),
    "object reference": (_object_reference, "is refused: attribute 'other' of /parameters/W has the type reference"),
    "references as data": (
        lambda file, outside: file.create_dataset("refs", data=[file["step"].ref], dtype=h5py.ref_dtype),
        "is refused: /refs has the type reference",
    ),
    "dangling reference": (_dangling_reference, "is damaged: "),
    "huge shape": (
        lambda file, outside: file.create_dataset("huge", (1 << 40, 1 << 20), "f8", chunks=(1, 1 << 20)),
        "is refused: /huge declares [0-9]+ bytes",
    ),
    "unstored shape": (
        lambda file, outside: file.create_dataset("thin", (1 << 30,), "f8", chunks=(1024,)),
        "is refused: /thin declares 1048576 chunks of 8192 bytes, but stores 0",
    ),
    "unstored array": (
        lambda file, outside: file.create_dataset("thin", (1 << 30,), "f8"),
        "is refused: /thin declares 8589934592 bytes, but stores 0",
    ),
    "huge chunk": (
        lambda file, outside: file.create_dataset("fat", (1 << 28,), "f8", chunks=(1 << 28,)),
        "is refused: /fat has chunks of 2147483648 bytes",
    ),
    "huge element": (
        lambda file, outside: file.create_dataset("wide", (2,), "S2000000", chunks=(1,)),
        "is refused: /wide has elements of 2000000 bytes",
    ),
    "big attribute": (_big_attribute, "is refused: attribute 'big' of / has 2097152 bytes"),
    "big string": (_big_string, "is refused: attribute 'long' of / has 2097152 bytes"),
    "many objects": (
        lambda file, outside: [file["resume"].create_group(f"g{index}") for index in range(10_100)],
        "is refused: /resume has 10102 members, more than 10000",
    ),
    "scaleoffset": (
        lambda file, outside: file.create_dataset("odd", data=np.arange(9), scaleoffset=0),
        "is refused: /odd is stored through the filter scaleoffset",
    ),
    "nbit": (_filter(h5py.h5z.FILTER_NBIT), "is refused: /odd is stored through the filter nbit"),
    "plugin": (_filter(32015, 3), "is refused: /odd is stored through the filter 32015"),
    "group cycle": (_cycle, "is refused: /resume/slot0/again is the same group as /resume"),
    "name with a control character": (
        lambda file, outside: file["resume"].__setitem__("a\x1b[2J\nb", h5py.SoftLink("/x\ny")),
        r"/resume/a\\x1b\[2J\\nb is a soft link to '/x\\+ny'",
    ),
    "other format": (
        _attribute("format", "a\x1b[2J\nb"), r"is an HDF5 file but not a run: its 'format' is 'a\\+x1b\[2J\\+nb'"
    ),
    "numbers for a config": (_attribute("config", np.arange(3)), "is damaged: "),
    "nested config": (_attribute("config", "[" * 30_000), "is damaged: "),
    "config that is a list": (_attribute("config", "[]"), "config"),
    "config of an unknown optimizer": (_config('"sgd"', '"sgx"'), "sgx"),
    "config with a control character": (_config('"name":"run-v1"', r'"name":"\u001b[2J"'), "control characters"),
    "config of another width": (_config('"width":3', '"width":4'), "is damaged: parameters/W has shape"),
    "config of other seeds": (
        _config('"seeds":[0,1]', '"seeds":[0,2]'), r"is damaged: the file stores the seeds \[0, 1\]"
    ),
    "endless plan": (
        _config('"epochs":5', f'"epochs":{10**15}'), "plans up to [0-9,]+ checkpoints, more than"
    ),
    "list for versions": (_attribute("versions", "[1]"), "is damaged: attribute 'versions' is not an object"),
    "huge slack": (_attribute("recovery_slack", np.int64(1) << 60), "is damaged: attribute 'recovery_slack' is"),
    "gap in the data": (_gap_in_the_data, "is damaged: /parameters/b lacks 2 of its 6 chunks"),
    "a step that is not planned": (_unordered_steps, r"is damaged: step\[2\] is 999, but the config plans 2"),
    "missing metric": (
        lambda file, outside: file["metrics"].__delitem__("test_loss"), "is damaged: the array 'metrics/test_loss'"
    ),
    "data of another size": (
        lambda file, outside: _replace(file, "data/train_targets", data=np.ones((2, 9), np.int8)),
        r"is damaged: data/train_targets has shape \(2, 9\), expected \(2, 8\)",
    ),
    "parameters without names of dimensions": (
        lambda file, outside: _replace(file, "parameters/b", data=np.ones((6, 2, 3), np.float32)),
        "is damaged: /parameters/b has the dimensions",
    ),
}  # fmt: skip


def hostile(source: Path, target: Path, feature: str, outside: Path) -> None:
    """A copy of a good run with one hostile feature; `outside` is what it would make a careless reader open."""
    target.write_bytes(source.read_bytes())
    with h5py.File(target, "r+", libver=("v110", "v110")) as file:
        HOSTILE[feature][0](file, str(outside))


def mutant(contents: list[bytes], random: np.random.Generator) -> tuple[str, bytes]:
    """A damaged copy of one of the files, and how it was damaged."""
    content = bytearray(contents[random.integers(len(contents))])
    kind = str(random.choice(list(MUTATIONS)))
    for _ in range(int(random.choice([1, 1, 1, 3]))):
        MUTATIONS[kind](content, random, contents)
    return kind, bytes(content)


def _place(content: bytearray, random: np.random.Generator) -> int:
    """Anywhere, but half the time near the beginning of a block of metadata, where it matters."""
    marks = _metadata(bytes(content)) if random.random() < 0.5 else []
    at = int(random.choice(marks)) + int(random.integers(200)) if marks else int(random.integers(max(1, len(content))))
    return min(at, max(0, len(content) - 1))


def _flip(content: bytearray, random: np.random.Generator, others: list[bytes]) -> None:
    for _ in range(int(random.choice([1, 1, 8, 64]))):
        if content:
            content[_place(content, random)] ^= 1 << int(random.integers(8))


def _truncate(content: bytearray, random: np.random.Generator, others: list[bytes]) -> None:
    del content[int(random.integers(len(content) + 1)) :]


def _splice(content: bytearray, random: np.random.Generator, others: list[bytes]) -> None:
    other = others[random.integers(len(others))]
    length, at, source = _length(random), _place(content, random), _place(bytearray(other), random)
    content[at : at + length] = other[source : source + length]


def _fill(content: bytearray, random: np.random.Generator, others: list[bytes]) -> None:
    at, value = _place(content, random), int(random.choice([0, 0, 255]))
    length = min(_length(random), len(content) - at)
    content[at : at + length] = bytes([value]) * length


def _noise(content: bytearray, random: np.random.Generator, others: list[bytes]) -> None:
    at = _place(content, random)
    length = min(_length(random), len(content) - at)
    content[at : at + length] = random.bytes(length)


def _swap(content: bytearray, random: np.random.Generator, others: list[bytes]) -> None:
    first, second, length = _place(content, random), _place(content, random), _length(random)
    length = min(length, abs(first - second), len(content) - max(first, second))
    a, b = bytes(content[first : first + length]), bytes(content[second : second + length])
    content[first : first + length], content[second : second + length] = b, a


def _forge(content: bytearray, random: np.random.Generator, others: list[bytes]) -> None:
    """Change bytes inside a block of metadata and renew its checksum, as only an attacker would."""
    spans = list(_sealed(bytes(content)))
    if not spans:
        return
    begin, end = spans[random.integers(len(spans))]
    for _ in range(int(random.choice([1, 1, 2, 4]))):
        content[int(random.integers(begin + 4, end))] = int(random.choice([0, 1, 127, 128, 255, random.integers(256)]))
    content[end : end + 4] = struct.pack("<I", lookup3(bytes(content[begin:end])))


def _length(random: np.random.Generator) -> int:
    return int(random.choice([1, 4, 8, 64, 512, 4096]))


MUTATIONS = {
    "flipped bits": _flip, "truncated": _truncate, "spliced": _splice, "filled": _fill, "noise": _noise,
    "swapped": _swap, "forged": _forge,
}  # fmt: skip
MARKS = (b"\x89HDF", b"OHDR", b"OCHK", b"FRHP", b"FHDB", b"FHIB", b"BTHD", b"BTLF", b"BTIN", b"EAHD", b"EAIB", b"EASB",
         b"EADB", b"FAHD", b"FADB", b"FSHD", b"FSSE", b"SNOD", b"TREE", b"HEAP", b"GCOL")  # fmt: skip


def _metadata(content: bytes) -> list[int]:
    """Where blocks of metadata begin."""
    found = []
    for mark in MARKS:
        at = content.find(mark)
        while at >= 0:
            found.append(at)
            at = content.find(mark, at + 1)
    return found


def _sealed(content: bytes) -> list[tuple[int, int]]:
    """Begin of each superblock and object header, and where its checksum lies."""
    spans = [(0, 44)] if len(content) >= 48 else []
    for at in (at for at in _metadata(content) if content[at : at + 4] == b"OHDR" and at + 30 < len(content)):
        flags = content[at + 5]
        size_at = at + 6 + (16 if flags & 32 else 0) + (4 if flags & 16 else 0)
        width = 1 << (flags & 3)
        end = size_at + width + int.from_bytes(content[size_at : size_at + width], "little")
        if end + 4 <= len(content):
            spans.append((at, end))
    return spans


def read_everything(path: Path, *, show: bool = True) -> str:
    """Read what `circuits show` and a notebook would; the error line if it was refused, else an empty string."""
    from circuits.analysis.networks.phases import phases
    from circuits.cli.main import main

    line = ""
    try:
        with circuits.open(path) as run:
            repr(run), run.fingerprint, run.writer_pid, run.state_steps, run.nbytes
            run.refresh()
            run.metrics.load()
            run.all_data.load()
            for values in run.parameters.values():
                values[-1:].values  # noqa: B018
                values[:, 0].values  # noqa: B018
            if run.n_checkpoints:
                run.arrays(run.seeds[-1], -1)
                phases(run)
    except circuits.InputError as error:
        line = str(error)
        assert str(path) in line, line
        assert "\n" not in line, line
        assert line.isprintable(), line
    if show:
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main(["show", str(path)])
        expected = (2, f"error: {line}\n") if line else (0, "")
        assert (code, err.getvalue()) == expected, (code, err.getvalue(), expected)
    return line


def outcome(path: Path, *, show: bool = True) -> str:
    """What happens to one file: "read", how it was refused, or "FAILED: …" with the reason."""
    try:
        line = read_everything(path, show=show)
    except BaseException:
        return f"FAILED: {traceback.format_exc()}"
    if not line:
        return "read"
    words = {"is refused": "refused", "made HDF5 crash": "crashes HDF5", "took longer": "too slow"}
    return next((name for word, name in words.items() if line.startswith(f"{path} {word}")), "damaged")


def numbered(index: int, seed: int) -> tuple[str, bytes]:
    """Mutant number `index` of a seed."""
    contents = [(FIXTURES / name).read_bytes() for name in ("run-v1.h5", "run-v1-killed.h5")]
    return mutant(contents, np.random.default_rng([seed, index]))


class Worker:
    """A fork of this process that goes through its share of the files; if one ends it, the next worker goes on."""

    def __init__(self, indices: list[int], seed: int, folder: Path) -> None:
        self.results: list[tuple[int, str, str]] = []
        self._indices, self._seed, self._folder = indices, seed, folder

    def run(self) -> list[tuple[int, str, str]]:
        """(index, kind, outcome) of every file."""
        while len(self.results) < len(self._indices):
            rest = self._indices[len(self.results) :]
            receiving, sending = os.pipe()
            child = os.fork()
            if child == 0:
                os.close(receiving)
                self._work(rest, sending)
                os._exit(0)
            os.close(sending)
            with open(receiving) as pipe:
                self.results += [tuple(json.loads(line)) for line in pipe if line.endswith("\n")]
            _, status = os.waitpid(child, 0)
            if len(self.results) < len(self._indices):
                index = self._indices[len(self.results)]
                number = os.WTERMSIG(status)
                reason = f"not done after {SECONDS} s" if number == signal.SIGALRM else f"ended by signal {number}"
                self.results.append((index, numbered(index, self._seed)[0], f"FAILED: {reason}"))
        return self.results

    def _work(self, indices: list[int], pipe: int) -> None:
        path = self._folder / f"mutant-{os.getpid()}.h5"
        for index in indices:
            kind, content = numbered(index, self._seed)
            path.write_bytes(content)
            signal.alarm(SECONDS)
            result = outcome(path, show=index % 5 == 0)
            signal.alarm(0)
            os.write(pipe, json.dumps([index, kind, result]).encode() + b"\n")
        sandbox._worker._end()


def hostile_outcomes(folder: Path) -> list[tuple[int, str, str]]:
    """As `Worker.run`, for the hostile features."""
    outside, path = folder / "outside.h5", folder / "hostile.h5"
    os.mkfifo(outside)  # whoever opens it waits for ever, and is found out
    results = []
    for feature in HOSTILE:
        hostile(FIXTURES / "run-v1.h5", path, feature, outside)
        result = outcome(path)
        result = result if result in ("refused", "damaged") else f"FAILED: {feature}: {result}"
        results.append((-1, "hostile feature", result))
    return results


def table(results: list[tuple[int, str, str]]) -> str:
    """Kinds of files as rows, outcomes as columns."""
    counts = Counter((kind, result.split(":")[0]) for _, kind, result in results)
    columns = sorted({result for _, result in counts})
    lines = [f"{'':<16}" + "".join(f"{column:>14}" for column in columns)]
    for kind in dict.fromkeys(kind for kind, _ in counts):
        lines.append(f"{kind:<16}" + "".join(f"{counts[kind, column]:>14}" for column in columns))
    return "\n".join(lines)


def main() -> int:
    """Share the files between processes, add up, print."""
    parser = argparse.ArgumentParser(description="Damaged and hostile files: each is read, or refused in one line.")
    parser.add_argument("n_files", type=int, help="how many mutants")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--write", type=int, metavar="INDEX", help="only write mutant INDEX to mutant.h5, to look at")
    given = parser.parse_args()
    if given.write is not None:
        kind, content = numbered(given.write, given.seed)
        Path("mutant.h5").write_bytes(content)
        print(f"mutant.h5: {kind}")
        return 0

    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(given.jobs) as pool:
        shares = [list(range(job, given.n_files, given.jobs)) for job in range(given.jobs)]
        workers = [pool.submit(Worker(share, given.seed, Path(folder)).run) for share in shares]
        results = [one for worker in workers for one in worker.result()]
        results += hostile_outcomes(Path(folder))
    failures = [(index, kind, result) for index, kind, result in results if result.startswith("FAILED")]
    for index, kind, result in failures[:20]:
        print(f"mutant {index} of seed {given.seed} ({kind}): {result}", file=sys.stderr)
    print(table(results))
    print(f"{len(results)} files, {len(failures)} failures, {time.monotonic() - begin:.0f} s")
    return min(100, len(failures))


if __name__ == "__main__":
    sys.exit(main())
