"""`circuits verify --certify`: a proof for all inputs, a counterexample, or neither; and the exit code."""

import json
from dataclasses import replace

import numpy as np
import pytest
from renew import renew_digests

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
    renew_digests(path)
    return path, config, arrays


def enumerated_margin(arrays):
    inputs = 1 - 2 * ((np.arange(2**N)[:, None] >> np.arange(N)) & 1)
    outputs = np.maximum(inputs @ arrays["W"].T + arrays["b"], 0) @ arrays["u"]
    return (inputs[:, :3].prod(axis=1) * outputs).min()


@pytest.mark.slow
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


@pytest.mark.parametrize(
    ("seconds_left", "remedy"),
    [
        (100.0, "The search needs about 1e+02 s more (an upper guess from its pace). Pass --time-limit 260."),
        (np.nan, "The time limit is too short to tell how long the search takes. Pass --time-limit 120."),
    ],
)
def test_an_undecided_network_is_advised_a_longer_limit_only_where_that_helps(
    monkeypatch, capsys, seconds_left, remedy
):
    from circuits.cli import certified

    def undecided(*args, **options):
        return replace(certified_one(*args, **options), verdict="undecided", seconds_left=seconds_left)

    certified_one = certified.certify
    monkeypatch.setattr(certified, "certify", undecided)
    assert main(["verify", "six_neuron", "--certify"]) == 4
    said = capsys.readouterr().out
    assert "undecided: neither a proof for all 2^3 inputs nor a counterexample was found in 60 s." in said
    assert remedy in said
    assert main(["verify", "six_neuron", "--certify", "--json"]) == 4
    found = json.loads(capsys.readouterr().out)["certificate"]
    assert found["seconds_left"] == (seconds_left if np.isfinite(seconds_left) else None)


def test_a_counterexample_that_float64_rounds_to_the_right_sign_is_said_to_be_one(monkeypatch):
    from circuits.cli import certified

    network = {"W": np.array([[1.0]]), "b": np.zeros(1), "u": np.array([1.0])}  # 0 where x0 = -1
    remark = "That is in exact arithmetic. In float64 the network's output rounds to the right sign."
    verdict, lines, _ = certified.certificate(network, [0], None, 10.0)
    assert verdict == "refuted"
    assert remark not in lines
    monkeypatch.setattr(certified, "float64_output", lambda W, b, u, x: 1e-17 * float(x[0]))
    assert remark in certified.certificate(network, [0], None, 10.0)[1]


def test_no_flips_suffice_is_told_from_not_known_also_in_json():
    from circuits.cli.certified import certificate

    gates = np.array([[1.0, 0.5], [-1.0, -0.5]])
    network = {"W": gates, "b": np.zeros(2), "u": np.array([1.0, -1.0])}
    _, lines, data = certificate(network, [0], np.ones((1, 2)), 10.0)
    assert lines[-1].endswith("none suffice (least), none suffice (median).")
    assert data["fewest_flips"] == {"min": "Infinity", "median": "Infinity"}


def test_the_flips_are_of_the_test_inputs_and_an_output_of_zero_is_no_sign():
    from circuits.cli.certified import certificate

    # x0 + x1/2 + x2/2: certified but for x0 = -x1 = -x2, where the output is exactly 0.
    W = np.array([[1.0, 0.5, 0.5], [-1.0, -0.5, -0.5]])
    network = {"W": W, "b": np.zeros(2), "u": np.array([1.0, -1.0])}
    near, far = np.array([[1, 1, -1]]), np.array([[1, 1, 1]])
    for inputs, fewest in ((near, 1.0), (far, 2.0)):
        verdict, _, data = certificate(network, [0], inputs, 10.0)
        assert verdict == "refuted"
        assert data["margin_upper"] == 0
        assert data["fewest_flips"]["min"] == fewest


@pytest.mark.parametrize(
    ("n_failures", "said"),
    [
        (410_000, "a share of 0.41, 0.409 to 0.411"),
        (0, "a share of 0, 0 to 3.7e-06"),
        (1, "a share of 1e-06, 2.5e-08 to 5.6e-06"),
        (10**6, "a share of 1, 0.9999963 to 1"),
    ],
)
def test_a_share_has_the_digits_that_its_interval_needs(n_failures, said):
    from circuits.cli.certified import _in_proportion
    from circuits.constructions.certifying.binomial import share_intervals
    from circuits.constructions.certifying.failures import FailureRate

    interval = share_intervals(np.array(n_failures), np.array(10**6), 0.95).tolist()
    assert said in _in_proportion(FailureRate(n_failures, 10**6, *interval))


def test_flips_are_known_where_their_bounds_leave_one_number(monkeypatch):
    from circuits.cli import certified
    from circuits.constructions.certifying.flips import Flips

    network = {"W": np.array([[1.0, 0.5], [-1.0, -0.5]]), "b": np.zeros(2), "u": np.array([1.0, -1.0])}
    for lower, upper, said in (
        ([0.0, 1.0, 1.0], [0.0, np.inf, np.inf], "0 (least), not known (median)"),
        ([0.0, 0.0, 1.0], [0.0, 0.0, np.inf], "0 (least), 0 (median)"),
        ([1.0, 1.0, 1.0], [2.0, np.inf, np.inf], "not known (least), not known (median)"),
        ([np.inf, np.inf], [np.inf, np.inf], "none suffice (least), none suffice (median)"),
    ):
        bounds = Flips(np.array(lower), np.array(upper))
        monkeypatch.setattr(certified, "fewest_flips", lambda *_, bounds=bounds, **__: bounds)
        _, lines, data = certified.certificate(network, [0], np.ones((1, 2)), 10.0)
        assert (data["fewest_flips"]["min"] is None) == said.startswith("not known")
        assert lines[-1] == f"Fewest flips of irrelevant bits until a test input fails: {said}."
