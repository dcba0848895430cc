"""`circuits verify --certify`: a proof for all inputs, a counterexample, or neither; and the exit code."""

import json

import numpy as np
import pytest

import circuits
from circuits.cli.main import main
from circuits.constructions import four_neuron

N = 9


def written(tmp_path, disturbance):
    """A four-neuron network with some weight on every irrelevant bit, as a run file."""
    path = tmp_path / "built.h5"
    circuits.convert.from_construction(four_neuron(), path, n=N).close()
    with circuits.open(path) as run:
        config, arrays = run.config, run.arrays(0, 0)
    arrays["W"][:, 3:] += disturbance
    for name, values in arrays.items():
        import h5py

        with h5py.File(path, "r+") as file:
            file[f"parameters/{name}"][0, 0] = values
    return path, config, arrays


def enumerated_margin(arrays):
    inputs = 1 - 2 * ((np.arange(2**N)[:, None] >> np.arange(N)) & 1)
    outputs = np.maximum(inputs @ arrays["W"].T + arrays["b"], 0) @ arrays["u"]
    return (inputs[:, :3].prod(axis=1) * outputs).min()


@pytest.mark.parametrize(("disturbance", "code", "verdict"), [(0.01, 0, "certified"), (0.3, 4, "refuted")])
def test_the_verdict_is_that_of_enumerating_every_input(tmp_path, disturbance, code, verdict, capsys):
    path, _, arrays = written(tmp_path, disturbance)
    assert main(["verify", str(path), "--certify", "--json"]) == code
    found = json.loads(capsys.readouterr().out)["certificate"]
    assert found["verdict"] == verdict
    assert found["exact"]
    assert found["margin_upper"] == pytest.approx(enumerated_margin(arrays), abs=1e-9)
    assert main(["verify", str(path), "--certify"]) == code
    said = capsys.readouterr().out
    assert f"{verdict}: " in said
    assert f"all 2^{N} inputs" in said or f"of the 2^{N} inputs" in said
    assert "random inputs" in said
    assert "Fewest flips of irrelevant bits" in said


def test_a_network_that_is_right_on_its_bits_alone_is_not_certified(tmp_path, capsys):
    path, _, _ = written(tmp_path, 0.3)
    assert main(["verify", str(path)]) == 0
    assert main(["verify", str(path), "--certify"]) == 4
    assert "computes parity" in capsys.readouterr().out


def test_a_construction_is_certified_on_its_own_bits(capsys):
    assert main(["verify", "six_neuron", "--certify"]) == 0
    assert "certified: its sign is the parity of its relevant bits on all 2^3 inputs" in capsys.readouterr().out
    assert main(["verify", "two_neuron", "--certify"]) == 4


def test_a_time_limit_without_a_certificate_is_refused(capsys):
    assert main(["verify", "six_neuron", "--time-limit", "3"]) == 2
    assert "--time-limit is for --certify" in capsys.readouterr().err
