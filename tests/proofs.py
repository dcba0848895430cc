"""Thousands of networks, trained, constructed and random, certified and held against all their inputs one by one.

    python tests/proofs.py 1000 [--seed 0] [--limit 10]

For each kind: that many networks of at most 16 inputs and 8 to 1000 neurons, at most `limit` seconds each.

- trained: parity runs of the library, several seeds and checkpoints each, from memorizing to grokked;
- constructed: gates for every pattern (from 4 relevant bits: neurons of their sum), disturbed on every input, then
  moved to a least margin of +1e-6 or -1e-6;
- random: normal weights, weights from few values (ties, margins of exactly 0), disturbed gates.

The oracle shares nothing with what it judges: a matrix product over all inputs; near 0, a Fraction for each number.
Supports have up to all of the inputs. Counts per verdict are printed; the exit code is the number of undecided, false
and slow ones (at most 100).
"""

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np

import circuits
from circuits.constructions.certifying.certify import certify

NEAR = 1e-9  # of the network's size: margins within it are computed again with Fractions
LARGE = 8  # relevant bits; networks of more are counted
CLOSE = 1e-6  # least margin of constructed networks


class Case(NamedTuple):
    """A network f(x) = uᵀ relu(W x + b) and the bits whose parity it should compute."""

    W: np.ndarray
    b: np.ndarray
    u: np.ndarray
    relevant_bits: tuple[int, ...]


class Judged(NamedTuple):
    """What was said of a network, what is wrong with that ("" if nothing), and how long it took."""

    verdict: str
    fault: str
    seconds: float


def all_inputs(n: int) -> np.ndarray:
    return np.array(list(product([-1, 1], repeat=n)), np.int8)


def float_margins(case: Case, inputs: np.ndarray) -> np.ndarray:
    W, b, u = (part.astype(np.float64) for part in case[:3])
    parts = []
    for start in range(0, len(inputs), 4096):
        x = inputs[start : start + 4096].astype(np.float64)
        parts.append(x[:, list(case.relevant_bits)].prod(axis=1) * (np.maximum(x @ W.T + b, 0) @ u))
    return np.concatenate(parts)


def exact_margin(case: Case, x: np.ndarray) -> Fraction:
    total = Fraction(0)
    for row, bias, readout in zip(case.W.tolist(), case.b.tolist(), case.u.tolist(), strict=True):
        h = Fraction(bias)
        for weight, bit in zip(row, x.tolist(), strict=True):
            h += Fraction(weight) if bit > 0 else -Fraction(weight)
        if h > 0:
            total += Fraction(readout) * h
    return int(x[list(case.relevant_bits)].prod()) * total


def size_of(case: Case) -> float:
    return float(np.abs(case.u).astype(float) @ (np.abs(case.W).sum(axis=1) + np.abs(case.b)).astype(float))


def is_right(case: Case) -> tuple[bool, float]:
    """Whether every margin is above 0, and the least margin in float64."""
    inputs = all_inputs(case.W.shape[1])
    margins = float_margins(case, inputs)
    near = NEAR * size_of(case)
    if margins.min() < -near:
        return False, float(margins.min())
    doubtful = np.flatnonzero(margins <= near)
    return all(exact_margin(case, inputs[at]) > 0 for at in doubtful[np.argsort(margins[doubtful])]), margins.min()


def judged(case: Case, limit: float) -> Judged:
    """Certify, and compare with the oracle."""
    begun = time.perf_counter()
    proof = certify(*case, time_limit=limit)
    seconds = time.perf_counter() - begun
    right, least = is_right(case)
    near = NEAR * size_of(case)
    fault = ""
    if proof.verdict != "undecided" and (proof.verdict == "certified") != right:
        fault = f"{proof.verdict}, but the least margin is {least}"
    elif proof.lower > least + near or proof.margin < least - near:
        fault = f"least margin between {proof.lower} and {proof.margin}, but it is {least}"
    elif proof.exact and abs(proof.margin - least) > near:
        fault = f"least margin exactly {proof.margin}, but it is {least}"
    elif proof.verdict == "refuted" and exact_margin(case, proof.input) > 0:
        fault = "the counterexample is right"
    return Judged(proof.verdict, fault, seconds)


def some_width(random: np.random.Generator, most: int) -> int:
    return round(np.exp(random.uniform(np.log(8), np.log(most))))


def gates(k: int, n: int, relevant_bits: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """An AND gate per pattern: the margin is 1 on every input (Merrill et al. 2023, Prop. 1)."""
    patterns = all_inputs(k).astype(float)
    W = np.zeros((2**k, n))
    W[:, relevant_bits] = patterns
    return W, np.full(2**k, 1.0 - k), patterns.prod(axis=1)


def counts(k: int, n: int, relevant_bits: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """k + 1 neurons of the sum of the relevant bits, whatever k: the margin is 1 on every input."""
    W, order = np.zeros((k + 1, n)), np.arange(k + 1)
    W[:, relevant_bits] = 1.0
    return W, k + 1.0 - 2 * order, (-1.0) ** (order + k) * np.where(order == 0, 1, 4 * order)


def some_k(random: np.random.Generator, n: int) -> int:
    """Often few relevant bits, otherwise any number."""
    return int(random.integers(1, min(4, n + 1) if random.random() < 0.5 else n + 1))


def built(k: int, n: int, relevant_bits: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return (gates if k < 4 else counts)(k, n, relevant_bits)


def disturbed(random: np.random.Generator, n: int, width: int) -> Case:
    """Gates with some weight on every input, and further small neurons."""
    k = some_k(random, n)
    relevant_bits = random.permutation(n)[:k]
    W, b, u = built(k, n, relevant_bits)
    noise = 10.0 ** random.uniform(-3, 0)
    more = max(width - len(u), 0)
    small = noise * random.standard_normal((more, n))
    W = np.concatenate([W + noise * random.standard_normal(W.shape) / np.sqrt(n), small])
    b = np.concatenate([b + noise * random.standard_normal(len(b)), noise * random.standard_normal(more)])
    u = np.concatenate([u, noise * random.standard_normal(more) / np.sqrt(max(more, 1))])
    return Case(W, b, u, tuple(relevant_bits.tolist()))


def constructed(random: np.random.Generator, most_inputs: int = 16, most_neurons: int = 1000) -> Case:
    """A disturbed construction plus a multiple of a pure one, which moves every margin by the same."""
    n = int(random.integers(4, most_inputs + 1))
    case = disturbed(random, n, some_width(random, most_neurons))
    target = CLOSE * random.choice([-1, 1])
    least = float_margins(case, all_inputs(n)).min()
    W, b, u = built(len(case.relevant_bits), n, np.array(case.relevant_bits))
    return Case(
        np.concatenate([case.W, W]),
        np.concatenate([case.b, b]),
        np.r_[case.u, (target - least) * u],
        case.relevant_bits,
    )


def drawn(random: np.random.Generator, most_inputs: int = 16, most_neurons: int = 1000) -> Case:
    """A random network of one of three kinds, at some scale."""
    n, width = int(random.integers(2, most_inputs + 1)), some_width(random, most_neurons)
    kind = random.integers(3)
    if kind == 2:
        case = disturbed(random, n, width)
    else:
        values = (lambda *shape: random.choice([-1.0, -0.5, 0.0, 0.5, 1.0], shape)) if kind else random.standard_normal
        k = some_k(random, n)
        shape = (width, n), width, width
        parts = [values(*np.atleast_1d(one)) if kind else values(one) for one in shape]
        case = Case(*parts, tuple(random.permutation(n)[:k].tolist()))
        if kind:  # every output a multiple of 1/4, and most of some networks 0
            case = case._replace(u=case.u * (random.random(width) < random.choice([0.02, 0.1, 1.0])))
    return case._replace(W=case.W * 10.0 ** random.integers(-6, 4), b=case.b * 1.0) if random.random() < 0.3 else case


def trained(count: int, folder: Path, random: np.random.Generator) -> Iterator[Case]:
    """Networks of runs: ten seeds, four checkpoints each."""
    made = 0
    while made < count:
        n = int(random.integers(6, 17))
        k, width = int(random.integers(2, 4)), some_width(random, 1000)
        config = circuits.preset("merrill-2023").replace(
            name="torture", task__n=n, task__k=k, task__n_train=int(random.choice([50, 200, 800])), task__n_test=50,
            model__width=width, epochs=int(random.choice([40, 120])), seeds=list(range(made, made + 10)),
            optimizer__weight_decay=float(random.choice([0.001, 0.01, 0.02])),
        )  # fmt: skip
        path = folder / f"{made}.h5"
        circuits.train(config, path, progress=False).close()
        with circuits.open(path) as run:
            relevant_bits = tuple(run.config.task.relevant_bits)
            for share in (0.1, 0.3, 0.6, 1.0):
                for seed in run.seeds:
                    net = run.arrays(seed, int(share * (run.n_checkpoints - 1)))
                    yield Case(net["W"], net["b"], net["u"], relevant_bits)
                    made += 1
                    if made >= count:
                        return
        path.unlink()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("count", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=float, default=10.0)
    given = parser.parse_args()
    random = np.random.default_rng(given.seed)
    bad = 0
    certify(*drawn(random))  # compiles
    with tempfile.TemporaryDirectory() as name:
        kinds = {
            "trained": trained(given.count, Path(name), random),
            "constructed": (constructed(random) for _ in range(given.count)),
            "random": (drawn(random) for _ in range(given.count)),
        }
        for kind, cases in kinds.items():
            tally, slowest = Counter[str](), 0.0
            n_large = 0
            for at, case in enumerate(cases):
                found = judged(case, given.limit)
                slow = found.seconds > given.limit
                tally.update([found.verdict, *(["false"] if found.fault else []), *(["slow"] if slow else [])])
                n_large += len(case.relevant_bits) > LARGE
                slowest = max(slowest, found.seconds)
                if found.fault or slow or found.verdict == "undecided":
                    bad += 1
                    print(f"{kind} {at}, W {case.W.shape}: {found}", flush=True)
            said = ", ".join(f"{tally[word]} {word}" for word in ("certified", "refuted", "undecided", "false", "slow"))
            print(f"{kind}: {said}; {n_large} of more than {LARGE} bits; slowest {slowest:.2f} s", flush=True)
    return min(bad, 100)


if __name__ == "__main__":
    sys.exit(main())
