"""`circuits verify`: the answer as an exit code, as tables and as JSON."""

import json
from fractions import Fraction

import numpy as np
import pytest
import torch

import circuits
from circuits.analysis.subnetworks.active import active_at
from circuits.cli import verify as command
from circuits.cli.main import main
from circuits.constructions import Construction, build, four_neuron, six_neuron, threshold, verify, verify_run
from circuits.convert import from_construction, from_state_dicts
from circuits.registry import CONSTRUCTIONS, about


@pytest.fixture
def answer(capsys):
    """Exit code, stdout and stderr of `circuits verify`."""

    def run(*words):
        return (main(["verify", *map(str, words)]), *capsys.readouterr())

    return run


def rows(out, title):
    """Cells of the rows of the table under a title."""
    lines = out.split(title)[1].split("\n\n")[0].splitlines()
    rule = next(index for index, line in enumerate(lines) if "──" in line)
    return [line.split() for line in lines[rule + 1 :]]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("dnf --k 3", 0),
        ("dnf --k 3 --biases k-2", 0),
        ("six_neuron", 0),
        ("six-neuron --k 3", 0),
        ("four_neuron", 0),
        ("threshold --k 7", 0),
        ("two_neuron", 4),
        ("thesis_dnf --k 2", 4),
    ],
)
def test_the_exit_code_is_the_answer(words, code, answer):
    found, out, err = answer(*words.split())
    assert found == code
    assert err == ""
    assert ("computes parity" in out.splitlines()[0]) == (code == 0)


def test_every_pattern_is_listed_with_activations_output_and_parity(answer):
    _, out, _ = answer("six_neuron")
    found = verify(six_neuron())
    assert rows(out, "Every pattern") == [
        [*map(str, pattern), *map(str, hidden), str(output), str(parity)]
        for pattern, hidden, output, parity in zip(
            found.patterns, found.activations, found.outputs, found.parities, strict=True
        )
    ]
    assert "Every neuron fires exactly when its source says." in out
    for name, condition in zip(found.neurons, found.conditions, strict=True):
        assert any(line.split()[:1] == [name] and line.endswith(condition) for line in out.splitlines())


def test_wrong_patterns_are_marked(answer):
    _, out, _ = answer("two_neuron")
    assert [row[-1] == "wrong" for row in rows(out, "Every pattern")] == [False, True, True, False]


def test_beyond_64_patterns_they_are_counted_by_bits_at_minus_one(answer):
    assert len(rows(answer("threshold", "--k", 6)[1], "Every pattern")) == 64
    _, out, _ = answer("threshold", "--k", 7)
    assert "Every pattern" not in out
    found = rows(out, "The 128 patterns, by how many bits are -1")
    assert found == [
        [str(m), str((-1) ** m), str(n), str((-1) ** m), str((-1) ** m), "0"]
        for m, n in enumerate([1, 7, 21, 35, 35, 21, 7, 1])
    ]


def test_of_many_neurons_those_that_contribute_most_are_shown_and_json_has_all(answer, grokked_path):
    code, out, _ = answer(grokked_path, "--seed", 1)
    assert code == 0
    assert out.count("of the 32 that contribute most; --json has all 100") == 2
    shown = {int(row[0][1:]) for row in rows(out, "When each neuron fires")}
    _, text, _ = answer(grokked_path, "--seed", 1, "--json")
    assert len(json.loads(text)["neurons"]) == 100
    with circuits.open(grokked_path) as run:
        found = verify_run(run, 1)
    sizes = [
        abs(u) * max(hidden) for u, hidden in zip(found.readout, zip(*found.activations, strict=True), strict=True)
    ]
    assert len(shown) == 32
    assert min(sizes[neuron] for neuron in shown) >= max(sizes[n] for n in range(100) if n not in shown)


@pytest.mark.parametrize("name", about(CONSTRUCTIONS, "parity"))
def test_json_has_the_whole_verification(name, answer):
    k = ["--k", 3] if name in ("dnf", "thesis_dnf", "threshold", "min_norm") else []
    code, out, err = answer(name, *k, "--json")
    data, found = json.loads(out), verify(build(name, 3 if k else None))
    assert err == ""
    assert data["computes_parity"] == found.computes_parity == (code == 0)
    assert [one["fires_when"] for one in data["neurons"]] == list(found.conditions)
    assert [Fraction(one) for one in data["exact"]["outputs"]] == list(found.outputs)
    assert [one["output"] for one in data["patterns"]] == [float(one) for one in found.outputs]
    assert [one["activations"] for one in data["patterns"]] == [[float(h) for h in row] for row in found.activations]
    assert [one["bits"] for one in data["patterns"]] == found.patterns.tolist()
    assert Fraction(data["exact"]["margin"]) == found.margin
    assert [Fraction(one) for one in data["exact"]["thresholds"]] == list(found.thresholds)
    assert data["verdict"] == str(found).splitlines()
    assert data["disagreements"] == []


def test_a_run_is_said_to_be_restricted_to_its_relevant_bits(answer, grokked_path):
    _, out, _ = answer(grokked_path, "--checkpoint", 0)
    assert "Relevant bits: 0 1. The other 38 inputs are held at 0, their mean: this is about the network" in out
    assert "restricted to its 2 relevant bits, and proves nothing for the 2^40 inputs of the network." in out


def test_a_constructed_run_holds_for_all_inputs(answer, tmp_path):
    from_construction(four_neuron(), tmp_path / "four.h5", n=30, support=[8, 20, 3]).close()
    code, out, _ = answer(tmp_path / "four.h5")
    assert code == 0
    assert "Relevant bits: 3 8 20. No neuron has a weight on any other input" in out
    assert "so this holds for all 2^30 inputs." in out


def test_seed_and_checkpoint_choose_the_network(answer, grokked_path):
    _, out, _ = answer(grokked_path, "--seed", 1, "--checkpoint", 3, "--json")
    data = json.loads(out)
    assert data["name"] == "grokked.h5, seed 1, checkpoint 3"
    with circuits.open(grokked_path) as run:
        assert [Fraction(one) for one in data["exact"]["outputs"]] == list(verify_run(run, 1, 3).outputs)
        assert verify_run(run, 1, 3).outputs != verify_run(run, 1, -1).outputs


def test_the_active_subnetwork_is_that_of_the_analysis(answer, grokked_path):
    with circuits.open(grokked_path) as run:
        kept = circuits.analyze(run, "subnetwork")["subnetwork"]["kept"].values
        for index, seed in enumerate(run.seeds):
            assert (active_at(run, seed) == kept[index]).all()
            _, out, _ = answer(grokked_path, "--seed", seed, "--subnetwork", "active", "--json")
            neurons = [int(one["neuron"][1:]) for one in json.loads(out)["neurons"]]
            assert neurons == np.flatnonzero(kept[index]).tolist()
            assert f", {len(neurons)} of 100 neurons" in json.loads(out)["name"]


def test_a_collapsed_run_is_said_to_have_collapsed(answer, tmp_path):
    from_construction(Construction("dead", ((1, 1),), (-5,), (1,), ""), tmp_path / "dead.h5", n=4).close()
    for words in ((), ("--subnetwork", "active")):
        code, out, _ = answer(tmp_path / "dead.h5", *words)
        assert code == 4
        assert ": has collapsed. The network's largest output on its training set is 0, where" in out


def test_a_network_that_collapsed_on_its_data_alone_is_said_to_be_so_small_there(answer, tmp_path):
    # |x4| - 1 is 0 on inputs of ±1, and -1 on the patterns, where x4 is held at 0
    W = torch.zeros(3, 6)
    W[0, 4], W[1, 4] = 1, -1
    net = {"W": W, "b": torch.tensor([0.0, 0.0, 1.0]), "u": torch.tensor([1.0, 1.0, -1.0])}
    torch.save(net, tmp_path / "odd_1.pt")
    config = circuits.preset("merrill-2023").replace(task__n=6)
    with from_state_dicts(tmp_path / "odd_1.pt", tmp_path / "odd.h5", config, progress=False) as run:
        assert run.collapsed.all()
    code, out, _ = answer(tmp_path / "odd.h5")
    assert code == 4
    assert ": has collapsed. The network's largest output on its training set is 0, where" in out
    assert json.loads(answer(tmp_path / "odd.h5", "--json")[1])["train_largest_output"] == 0


def test_a_disagreement_with_the_source_is_printed_with_both(answer, monkeypatch):
    right = six_neuron()
    wrong = Construction("six_neuron", right.W, right.b, right.u, "", ("x2 = -1", *right.printed[1:]))
    monkeypatch.setattr(command, "_of_a_construction", lambda _: (verify(wrong), {}, None))
    code, out, _ = answer("six_neuron")
    assert code == 0
    assert "h0 fires when (x0 = -1 ∨ x1 = -1) ∧ x2 = 1; printed in the source: x2 = -1." in out
    assert json.loads(answer("six_neuron", "--json")[1])["disagreements"] == [
        {"neuron": "h0", "printed": "x2 = -1", "found": "(x0 = -1 ∨ x1 = -1) ∧ x2 = 1"}
    ]


def test_numbers_beyond_floats_are_words_and_null(answer, monkeypatch):
    huge = Construction("huge", threshold(1).W, threshold(1).b, tuple(10**400 * u for u in threshold(1).u), "")
    monkeypatch.setattr(command, "_of_a_construction", lambda _: (verify(huge), {}, None))
    assert "Margin beyond 1e308." in answer("two_neuron")[1]
    data = json.loads(answer("two_neuron", "--json")[1])
    assert data["margin"] is None
    assert Fraction(data["exact"]["margin"]) == 10**400


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("xor", "xor is neither a file nor a construction. There are: dnf, four_neuron, "),
        ("six_neurons", "six_neurons is neither a file nor a construction. Did you mean 'six_neuron'?"),
        ("gone.h5", "gone.h5 does not exist."),
        ("dnf", "dnf needs k, the number of relevant bits: pass --k 3."),
        ("dnf --k 3 --seed 0", "--seed is for a run, but dnf is a construction. Leave the flag out."),
        ("dnf --k 3 --checkpoint 0", "--checkpoint is for a run, but dnf is a construction. Leave the flag out."),
        ("dnf --k 3 --subnetwork active", "--subnetwork is for a run, but dnf is a construction. Leave the flag out."),
        ("RUN --k 3", "--k is for a construction, but RUN is a run. Leave the flag out."),
        ("RUN --biases k-1", "--biases is for a construction, but RUN is a run. Leave the flag out."),
        ("RUN --seed 9", "RUN has no seed 9. It has: 0, 1, 2."),
        ("RUN --checkpoint 40", "RUN has 5 checkpoints, so checkpoint 40 does not exist. Pass 0..4, -1"),
        ("RUN --subnetwork activ", "There is no subnetwork 'activ'. Did you mean 'active'? There are: active."),
        ("threshold --k 30", "k = 30 relevant bits and 31 neurons make 2^30 × 31 values; the limit is"),
        ("", "circuits verify needs NAME|RUN.h5."),
    ],
)
def test_the_command_refuses_in_one_line(words, message, answer, tiny_path):
    code, out, err = answer(*words.replace("RUN", str(tiny_path)).split())
    assert (code, out) == (2, "")
    assert err.startswith(f"error: {message.replace('RUN ', f'{tiny_path} ')}")
    assert err.count("\n") == 1


@pytest.fixture
def diverged_path(tmp_path, make_config):
    """A learning rate at which the network is not finite after some updates."""
    path = tmp_path / "diverged.h5"
    circuits.train(make_config(optimizer__lr=1e30, seeds=[0]), path, progress=False).close()
    return path


@pytest.mark.slow
@pytest.mark.parametrize("words", [(), ("--subnetwork", "active")])
def test_a_diverged_network_has_no_answer(answer, diverged_path, words):
    code, out, err = answer(diverged_path, *words)
    assert (code, out) == (2, "")
    assert "the network has diverged" in err
    assert err.count("\n") == 1
