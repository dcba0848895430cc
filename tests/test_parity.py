import random

import numpy as np
import pytest

from circuits.tasks.parity import Parity


def test_targets_are_the_product_of_the_relevant_bits():
    task = Parity(n=9, k=3, support=(8, 2, 5), n_train=200)
    data = task.train_data(seed=4)
    assert set(np.unique(data["inputs"])) == {-1, 1}
    assert (data["targets"] == data["inputs"][:, 2] * data["inputs"][:, 5] * data["inputs"][:, 8]).all()


def test_bits_are_fair_and_examples_differ_between_seeds():
    task = Parity(n=40, k=3, n_train=1000)
    first, second = task.train_data(0), task.train_data(1)
    assert abs(first["inputs"].mean()) < 0.02  # 40,000 bits: standard error 0.005
    assert (first["inputs"] != second["inputs"]).any()
    assert (first["inputs"] == task.train_data(0)["inputs"]).all()


def test_the_test_set_is_one_for_all_seeds_and_no_training_set():
    task = Parity(n=40, k=3, n_train=100, n_test=100, test_seed=0)
    assert (task.test_data()["inputs"] == task.test_data()["inputs"]).all()
    assert (task.test_data()["inputs"] != task.train_data(0)["inputs"]).any()


def test_the_support_can_be_drawn_from_a_seed():
    drawn = {Parity(n=40, k=3, support_seed=seed).relevant_bits for seed in range(30)}
    assert len(drawn) > 25
    assert all(len(set(bits)) == 3 and max(bits) < 40 for bits in drawn)
    assert Parity(n=40, k=3, support_seed=1).relevant_bits == Parity(n=40, k=3, support_seed=1).relevant_bits


@pytest.mark.parametrize(("fraction", "n_flipped"), [(0.0, 0), (0.02, 6), (0.5, 150), (1.0, 300)])
def test_the_share_of_flipped_targets_is_exact(fraction, n_flipped):
    data = Parity(n=50, k=2, n_train=300, flip_fraction=fraction).train_data(0)
    assert data["flipped"].sum() == n_flipped
    assert ((data["targets"] != data["inputs"][:, :2].prod(axis=1)) == data["flipped"]).all()


def test_the_flips_stay_those_of_earlier_runs():
    flipped = Parity(n=5, k=2, n_train=40, flip_fraction=0.2).train_data(7)["flipped"]
    assert np.flatnonzero(flipped).tolist() == [3, 7, 8, 14, 18, 30, 34, 35]


def test_independent_flips_are_binomial_in_number():
    task = Parity(n=4, k=2, n_train=400, flip_fraction=0.1, flip_rule="independent")
    counts = np.array([task.train_data(seed)["flipped"].sum() for seed in range(400)])
    assert abs(counts.mean() - 40) < 4 * 6 / np.sqrt(400)  # binomial(400, 0.1): mean 40, standard deviation 6
    assert abs(counts.std() - 6) < 4 * 6 / np.sqrt(800)


@pytest.mark.parametrize(("fraction", "n_flipped"), [(0.0, 0), (1.0, 300)])
def test_independent_flips_at_the_ends_are_none_and_all(fraction, n_flipped):
    data = Parity(n=50, k=2, n_train=300, flip_fraction=fraction, flip_rule="independent").train_data(0)
    assert data["flipped"].sum() == n_flipped


def test_independent_flips_flip_what_is_marked_and_leave_the_inputs_and_the_test_set():
    clean, noisy = (Parity(flip_fraction=f, flip_rule="independent") for f in (0.0, 0.3))
    clean_data, data = clean.train_data(0), noisy.train_data(0)
    assert (data["inputs"] == clean_data["inputs"]).all()
    assert ((data["targets"] != clean_data["targets"]) == data["flipped"]).all()
    assert set(noisy.test_data()) == {"inputs", "targets"}
    assert (noisy.test_data()["targets"] == clean.test_data()["targets"]).all()


def test_an_unknown_flip_rule_is_refused():
    with pytest.raises(ValueError, match="'exact' or 'independent'"):
        Parity(flip_rule="binomial")


def test_flipping_leaves_the_inputs_as_they_are():
    clean, flipped = (Parity(flip_fraction=f).train_data(0)["inputs"] for f in (0.0, 0.3))
    assert (clean == flipped).all()


def as_in_the_codes(n, k, n_examples, seed):
    """What `parity(n, k, n_samples, seed)` of the released code, and of the thesis, returns."""
    random.seed(seed)
    samples = np.array([[random.choice([-1, 1]) for _ in range(n)] for _ in range(n_examples)])
    return samples, samples[:, :k].prod(axis=1)


@pytest.mark.parametrize(
    ("draw", "train_seed", "test_seed"), [("merrill-code", 17 * 3, 2001), ("thesis-code", 3, 2023)]
)
def test_the_data_of_the_papers_codes_are_drawn_exactly(draw, train_seed, test_seed):
    task = Parity(n=11, k=3, n_train=70, n_test=30, draw=draw)
    for data, n_examples, seed in ((task.train_data(3), 70, train_seed), (task.test_data(), 30, test_seed)):
        inputs, targets = as_in_the_codes(11, 3, n_examples, seed)
        assert (data["inputs"] == inputs).all()
        assert (data["targets"] == targets).all()
        assert data["inputs"].dtype == data["targets"].dtype == np.int8


def test_python_still_draws_what_it_drew_for_the_papers():
    """`random.choice` is not guaranteed to give the same in every version of Python; these are its first draws."""
    first = Parity(n=20, k=2, n_train=1, draw="merrill-code").train_data(0)["inputs"][0]
    assert first.tolist() == [1, 1, -1, 1, 1, 1, 1, 1, 1, -1, -1, 1, -1, -1, 1, -1, 1, -1, -1, 1]


@pytest.mark.parametrize(("draw", "default"), [("counter", 0), ("merrill-code", 2001), ("thesis-code", 2023)])
def test_the_test_seed_defaults_to_that_of_the_code_and_can_be_another(draw, default):
    def test_inputs(**fields):
        return Parity(n=30, k=3, draw=draw, **fields).test_data()["inputs"]

    assert (test_inputs() == test_inputs(test_seed=default)).all()
    assert (test_inputs() != test_inputs(test_seed=default + 1)).any()


def test_flips_work_with_the_data_of_a_paper():
    clean, noisy = (Parity(n=9, k=2, draw="thesis-code", flip_fraction=f).train_data(5) for f in (0.0, 0.1))
    assert (clean["inputs"] == noisy["inputs"]).all()
    assert noisy["flipped"].sum() == 100
    assert ((noisy["targets"] != clean["targets"]) == noisy["flipped"]).all()


def test_an_unknown_way_to_draw_is_refused():
    with pytest.raises(ValueError, match="draw"):
        Parity(draw="merrill")
