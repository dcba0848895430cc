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


def test_flipping_leaves_the_inputs_as_they_are():
    clean, flipped = (Parity(flip_fraction=f).train_data(0)["inputs"] for f in (0.0, 0.3))
    assert (clean == flipped).all()
