"""`circuits construct` and `from_construction`: a hand-built network is a run like any other."""

from pathlib import Path

import numpy as np
import pytest

import circuits
from circuits.analysis import active_subnetwork, incoming_norms, pruning_order
from circuits.analysis.measurements import usual
from circuits.cli.main import main
from circuits.constructions import build, dnf, four_neuron, six_neuron, thesis_dnf, threshold, two_neuron, verify_run
from circuits.convert import from_construction
from circuits.registry import CONSTRUCTIONS, about

PARITY = about(CONSTRUCTIONS, "parity")
K = {"dnf": 3, "thesis_dnf": 3, "threshold": 4, "min_norm": 3}


@pytest.mark.slow
@pytest.mark.parametrize("name", PARITY)
def test_the_file_holds_the_weights_of_the_construction(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    k = ["--k", str(K[name])] if name in K else []
    assert main(["construct", name, *k, "--n", "12", "--out", "net.h5"]) == 0
    out, err = capsys.readouterr()
    net = build(name, K.get(name))
    assert out.startswith(f"net.h5: {name}, {net.n_neurons} neurons, ")
    assert err == "Next: circuits verify net.h5, or circuits analyze net.h5\n"
    with circuits.open("net.h5") as run:
        assert (run.n_checkpoints, run.seeds, run.is_complete) == (1, (0,), True)
        assert run.config.name == name
        assert run.config.source == f"{net.source}; hand-built, not trained"
        expected = net.arrays(12)
        for which, values in run.arrays().items():
            assert values.dtype == np.float64
            assert (values == expected[which]).all()


def test_the_default_place_says_name_k_and_n(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["construct", "two-neuron"]) == 0
    assert main(["construct", "dnf", "--k", "4", "--n", "9"]) == 0
    assert {str(path) for path in Path("checkpoints").glob("*.h5")} == {
        "checkpoints/two_neuron-2-40.h5",
        "checkpoints/dnf-4-9.h5",
    }


def test_support_and_sizes_reach_the_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = "construct dnf --k 3 --n 20 --support 17 2 9 --biases k-2 --n-train 70 --n-test 30 --out net.h5"
    assert main(words.split()) == 0
    with circuits.open("net.h5") as run:
        assert run.config.task.support == (17, 2, 9)
        assert (run.config.task.n_train, run.config.task.n_test) == (70, 30)
        assert set(run.arrays()["b"]) == {-1.0}
        assert (run.arrays()["W"][:, [17, 2, 9]] == dnf(3).W).all()
        inputs = run.data()["test_inputs"].values
        assert (run.data()["test_targets"].values == inputs[:, [17, 2, 9]].prod(axis=1)).all()


@pytest.mark.parametrize(
    ("construction", "accuracy"),
    [(dnf(3), 1.0), (six_neuron(), 1.0), (four_neuron(), 1.0), (threshold(5), 1.0)],
    ids=lambda value: getattr(value, "name", ""),
)
def test_what_computes_parity_is_right_on_every_example(construction, accuracy, tmp_path):
    with from_construction(construction, tmp_path / "net.h5", n=15) as run:
        last = run.metrics.isel(step=-1, seed=0)
        assert float(last["train_accuracy"]) == float(last["test_accuracy"]) == accuracy
        assert float(last["train_loss"]) == 0.0


@pytest.mark.parametrize("construction", [two_neuron(), thesis_dnf(3)], ids=lambda value: value.name)
def test_what_is_never_negative_is_right_on_parity_one_alone(construction, tmp_path):
    with from_construction(construction, tmp_path / "net.h5", n=15) as run:
        targets = run.data()["test_targets"].values
        assert float(run.metrics["test_accuracy"][-1, 0]) == pytest.approx((targets == 1).mean())


def test_a_folder_is_no_file_to_write(tmp_path, capsys):
    assert main(["construct", "dnf", "--k", "2", "--out", str(tmp_path)]) == 2
    assert f"{tmp_path} is a folder. Pass a file in it, such as" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("name", PARITY)
def test_every_analysis_runs_on_the_file(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    from_construction(build(name, K.get(name)), "net.h5", n=10, n_train=200).close()
    assert main(["analyze", "net.h5", "--all", "--quiet"]) == 0
    capsys.readouterr()
    with circuits.open("net.h5") as run:
        assert list(circuits.analyze(run)) == usual(circuits.preset("merrill-2023"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("construction", "size"),
    [(dnf(3), 8), (dnf(4), 16), (six_neuron(), 6), (four_neuron(), 4), (two_neuron(), 2), (threshold(2), 3)],
    ids=lambda value: getattr(value, "name", value),
)
def test_the_active_subnetwork_of_a_construction_without_spare_neurons_is_all_of_it(construction, size, tmp_path):
    with from_construction(construction, tmp_path / "net.h5", n=10) as run:
        found = circuits.analyze(run, "subnetwork", "faithfulness", "norms")
        assert found["subnetwork"]["effective_sparsity"].values.tolist() == [[size]]
        agreement = found["faithfulness"]["agreement"].isel(step=-1, seed=0)
        assert float(agreement.sel(group="generalizing")) == 1.0
        assert np.isnan(float(agreement.sel(group="complementary")))  # it has no neuron
        norms = found["norms"]["neuron_norm"].values[0, 0]
        assert norms == pytest.approx(np.linalg.norm(np.array(construction.W, float), axis=1))


@pytest.mark.parametrize("norm", ["incoming", "incoming+bias", "path"])
def test_pruning_drops_the_constant_neuron_of_proposition_3_first_whatever_the_norm(norm, tmp_path):
    with from_construction(four_neuron(), tmp_path / "net.h5", n=10) as run:
        net = run.arrays()
        assert pruning_order(incoming_norms(**net, norm=norm))[-1] == 0
        # Without it the output is 0 at X = -1, so that none of the four can be spared.
        assert active_subnetwork(**net, inputs=run.data()["train_inputs"].values, norm=norm).all()
        assert verify_run(run, kept=np.array([False, True, True, True])).outputs[1] == 0


def test_half_of_the_thesis_dnf_is_not_needed_but_its_norms_do_not_show_it(tmp_path):
    net = thesis_dnf(3)
    with from_construction(net, tmp_path / "net.h5", n=10) as run:
        assert float(circuits.analysis.effective_sparsity(run)[0, 0]) == 8  # ties: the last gate is needed
        order = pruning_order(incoming_norms(**run.arrays(), norm="path"))
        assert {net.b[neuron] for neuron in order[:4]} == {-3}, (
            "the dead gates have the larger bias, and are kept first"
        )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("xor", "There is no construction 'xor'. There are: dnf, four_neuron, min_norm, modular_addition, "),
        ("dnf", "dnf needs k, the number of relevant bits: pass --k 3."),
        ("six_neuron --k 4", "six_neuron is for k = 3 bits, so k = 4 is not possible. k is an option of dnf, "),
        ("threshold --k 3 --biases k-2", "threshold takes no biases. biases is an option of dnf."),
        ("dnf --k 3 --biases 2", "biases cannot be '2'. Pass k-1 for the bias -(k-1), or k-2 for the bias -(k-2)."),
        ("dnf --k 0", "k = 0 is not possible: 2^k AND gates are built for k in 1..16."),
        ("dnf --k 5 --n 4", "config: task: k = 5 relevant bits do not fit in n = 4 inputs"),
        ("dnf --k 3 --support 1 2", "config: task: support [1, 2] must name k = 3 different bits"),
        ("dnf --k 2 --support 1 1", "config: task: support [1, 1] must name k = 2 different bits"),
        ("dnf --k 2 --n 4 --support 1 4", "config: task: support [1, 4] must lie in 0..3"),
        ("dnf --k 2 --n-train 0", "config: task.n_train: must be at least 1"),
        ("dnf --k x", "--k takes INT, not 'x'."),
        ("", "circuits construct needs NAME."),
        ("modular_addition --p 31", "modular_addition needs frequencies: pass --frequencies 1 5 9."),
        ("modular_addition --frequencies 1", "modular_addition needs p, the modulus: pass --p 31."),
        ("modular_addition --p 2 --frequencies 1", "p = 2 is not possible. Pass a modulus p >= 3."),
        (
            "modular_addition --p 31 --frequencies 1 16",
            "frequencies [1, 16] must be different whole numbers in 1..15 (up to p / 2)",
        ),
        (
            "modular_addition --p 31 --frequencies 3 3",
            "frequencies [3, 3] must be different whole numbers in 1..15 (up to p / 2)",
        ),
        (
            "modular_addition --p 31 --frequencies 0",
            "frequencies [0] must be different whole numbers in 1..15 (up to p / 2).",
        ),
        (
            "modular_addition --p 30 --frequencies 9 6",
            "p = 30 and frequencies [6, 9] have the factor 3 in common: output classes that differ by 10 would have",
        ),
        ("modular_addition --p 8 --frequencies 4", "p = 8 and frequencies [4] have the factor 4 in common: "),
        (
            "modular_addition --p 7 --frequencies 1 --amplitude 0",
            "amplitude 0 is not possible: pass a positive number.",
        ),
        ("modular_addition --p 7 --frequencies 1 --n 9", "modular_addition takes no --n. Leave it out."),
        ("modular_addition --p 7 --frequencies 1 --k 2", "modular_addition takes no k. k is an option of dnf, "),
        ("dnf --k 3 --p 7", "dnf takes no p. p is an option of modular_addition."),
        ("dnf --k 3 --train-fraction 0.3", "dnf takes no --train-fraction. Leave it out."),
        ("modular_addition --p 7 --frequencies 1 --train-fraction 2", "config: task.train_fraction: must be less than"),
        ("dnf --k 3 --kk 3", "circuits construct has no option --kk. "),
    ],
)
def test_the_command_refuses_in_one_line_and_writes_nothing(words, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["construct", *words.split()]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"error: {message}")
    assert err.count("\n") == 1
    assert list(tmp_path.rglob("*.h5")) == []


def test_no_run_is_replaced_unasked(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["construct", "dnf", "--k", "2", "--n", "5", "--out", "net.h5"]) == 0
    before = Path("net.h5").read_bytes()
    capsys.readouterr()
    assert main(["construct", "dnf", "--k", "3", "--n", "5", "--out", "net.h5"]) == 2
    assert capsys.readouterr().err == ("error: net.h5 exists. Pass --overwrite to replace it, or another --out.\n")
    assert Path("net.h5").read_bytes() == before
    assert main(["construct", "dnf", "--k", "3", "--n", "5", "--out", "net.h5", "--overwrite"]) == 0
    with circuits.open("net.h5") as run:
        assert run.config.task.k == 3


def test_help_lists_every_construction(capsys):
    assert main(["construct", "--help"]) == 0
    out = capsys.readouterr().out
    assert all(name in out and entry.help in out for name, entry in CONSTRUCTIONS.items())


@pytest.mark.slow
def test_modular_addition_is_written_as_a_run_on_which_every_analysis_works(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = "construct modular_addition --p 13 --frequencies 5 2 --amplitude 3 --train-fraction 0.3"
    assert main(words.split()) == 0
    out, err = capsys.readouterr()
    path = "checkpoints/modular_addition-13.h5"
    assert out.startswith(f"{path}: modular_addition, 12 neurons, ")
    assert err == f"Next: circuits analyze {path}\n"
    assert main(["analyze", path, "--quiet"]) == 0
    net = build("modular_addition", p=13, frequencies=(2, 5), amplitude=3.0)
    with circuits.open(path) as run:
        assert (run.n_checkpoints, run.seeds, run.is_complete) == (1, (0,), True)
        assert (run.config.task.p, run.config.task.train_fraction) == (13, 0.3)
        for name, values in net.arrays().items():
            assert (run.arrays()[name] == values).all()
        last = run.metrics.isel(step=-1, seed=0)
        assert float(last["train_accuracy"]) == float(last["test_accuracy"]) == 1.0
        assert float(last["train_loss"]) == pytest.approx(net.loss, rel=1e-12)
        assert set(circuits.analyze(run)) >= {"subnetwork", "norms", "faithfulness"}
