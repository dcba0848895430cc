"""A sample of what `tests/proofs.py` does by the thousand."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).with_name("proofs.py")
spec = importlib.util.spec_from_file_location("proofs", SCRIPT)
proofs = importlib.util.module_from_spec(spec)
spec.loader.exec_module(proofs)


@pytest.mark.parametrize("kind", ["constructed", "drawn"])
def test_small_networks_are_all_decided_and_never_falsely(kind):
    random = np.random.default_rng(1)
    found = [proofs.judged(getattr(proofs, kind)(random, 9, 60), 60.0) for _ in range(40)]
    assert [one.fault for one in found] == [""] * 40
    assert {one.verdict for one in found} == {"certified", "refuted"}


def test_networks_of_a_run_are_all_decided_and_never_falsely(tiny_run):
    relevant_bits = tuple(tiny_run.config.task.relevant_bits)
    nets = [tiny_run.arrays(seed, at) for seed in tiny_run.seeds for at in range(tiny_run.n_checkpoints)]
    found = [proofs.judged(proofs.Case(net["W"], net["b"], net["u"], relevant_bits), 60.0) for net in nets]
    assert all(one.fault == "" and one.verdict != "undecided" for one in found)


def test_the_oracle_sees_what_is_false():
    W, b, u = proofs.gates(2, 5, np.array([0, 3]))
    assert proofs.is_right(proofs.Case(W, b, u, (0, 3))) == (True, 1.0)
    assert proofs.is_right(proofs.Case(W, b, 0 * u, (0, 3)))[0] is False, "0 is no sign"
    assert proofs.is_right(proofs.Case(W, b, 1e-300 * u, (0, 3)))[0] is True
    assert proofs.is_right(proofs.Case(W, b, u, (0, 1)))[0] is False


@pytest.mark.long
def test_a_hundred_of_each_kind_are_decided(capsys):
    done = subprocess.run([sys.executable, str(SCRIPT), "100"], capture_output=True, text=True)
    with capsys.disabled():
        print(f"\n{done.stdout}{done.stderr}")
    assert done.returncode == 0, done.stdout
