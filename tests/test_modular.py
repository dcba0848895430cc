import itertools
import re
import tracemalloc
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from circuits.interfaces import Signature
from circuits.randomness import generator
from circuits.registry import TASKS
from circuits.tasks.modular import Modular, distinct
from circuits.tasks.operations import VALUES, Operation, is_prime, quotient

OPERATIONS = get_args(Operation)
DIVISIONS = ("x/y", "x/y if y odd, else x-y")


@st.composite
def fields_of_tasks(draw, capped=False):
    """Small tasks of every operation and encoding, with sequences that mix operands and fixed words in any order.

    As fields: the shape checks of the class use Python's `random`, which hypothesis forbids while it draws.
    """
    operation = draw(st.sampled_from(OPERATIONS))
    p = draw(st.sampled_from([3, 5, 7, 11]) if operation in DIVISIONS else st.integers(3, 11))
    n_summands = draw(st.integers(2, 5 if p <= 4 else 3)) if operation == "x+y" else 2
    fields = {"p": p, "operation": operation, "n_summands": n_summands, "train_fraction": draw(st.floats(0.3, 0.7))}
    if draw(st.booleans()):
        fields["encoding"] = "tokens"
        operands = "xyzw"[:n_summands] if n_summands <= 4 else ["x1", "x2", "x3", "x4", "x5"]
        words = [*operands, *draw(st.lists(st.sampled_from(["<sos>", "+", "mod", "="]), max_size=5))]
        fields["sequence"] = draw(st.none() | st.permutations(words).map(" ".join))
    if capped:
        fields["max_examples"] = draw(st.integers(4, p**n_summands - p))
    return fields


def result(operation, operands, p):
    """The definition, in Python's integers; None where it has none."""
    if operation == "x+y":
        return sum(operands) % p
    x, y = operands
    divides = operation == "x/y" or (operation in DIVISIONS and y % 2)
    if divides:
        return next((q for q in range(p) if y and q * y % p == x), None)
    if operation in DIVISIONS:
        return (x - y) % p
    return eval(operation.replace("^", "**"), {"x": x, "y": y}) % p


def table(task):
    """Every tuple on which the operation is defined, and its result."""
    tuples = itertools.product(range(task.p), repeat=task.n_summands)
    results = {operands: result(task.operation, operands, task.p) for operands in tuples}
    return {operands: value for operands, value in results.items() if value is not None}


def as_tuples(task, data):
    return [tuple(row) for row in task.decode(data["inputs"]).tolist()]


def as_dict(task, data):
    return dict(zip(as_tuples(task, data), data["targets"].tolist(), strict=True))


@given(fields_of_tasks(), st.integers(0, 99))
def test_training_and_test_set_are_disjoint_and_together_the_whole_table(fields, seed):
    task = Modular(**fields)
    train, test = task.train_data(seed), task.test_data(seed)
    rows = as_tuples(task, train) + as_tuples(task, test)
    assert len(rows) == len(set(rows)) == task.n_tuples
    assert as_dict(task, train) | as_dict(task, test) == table(task)


@given(fields_of_tasks(), st.integers(0, 99))
def test_sizes_types_and_signature_are_those_of_the_data(fields, seed):
    task = Modular(**fields)
    signature = task.signature
    for data, size in ((task.train_data(seed), task.train_size), (task.test_data(seed), task.test_size)):
        assert data["inputs"].shape == (size, signature.n_inputs)
        assert data["inputs"].dtype == (np.int8 if task.encoding == "one-hot" else np.int16)
        assert data["inputs"].min() >= 0
        assert data["inputs"].max() < (2 if signature.d_vocab is None else signature.d_vocab)
        assert data["targets"].shape == (size,)
        assert data["targets"].dtype == np.int16
        assert data["targets"].max() < signature.n_classes == task.p
    assert task.train_size == round(task.train_fraction * task.n_tuples)


@given(fields_of_tasks(), st.data())
def test_decoding_undoes_encoding(fields, data):
    task = Modular(**fields)
    rows = data.draw(st.lists(st.tuples(*[st.integers(0, task.p - 1)] * task.n_summands), min_size=1, max_size=9))
    assert (task.decode(task.encode(np.array(rows))) == rows).all()


@given(fields_of_tasks(), st.integers(0, 99))
def test_one_hot_inputs_have_one_one_per_operand_and_tokens_spell_the_sequence(fields, seed):
    task = Modular(**fields)
    data = task.train_data(seed)
    for row, operands in zip(data["inputs"].tolist(), as_tuples(task, data), strict=True):
        if task.encoding == "one-hot":
            expected = [int(value == number) for value in operands for number in range(task.p)]
            assert row == expected
        else:
            value = dict(zip(task.operands, map(str, operands), strict=True))
            assert [task.vocabulary[token] for token in row] == [value.get(word, word) for word in task.words]


@given(fields_of_tasks(), st.integers(0, 99))
def test_commuted_marks_test_examples_with_a_reordering_of_equal_result_in_the_training_set(fields, seed):
    task = Modular(**fields)
    train, test = as_dict(task, task.train_data(seed)), task.test_data(seed)
    expected = [
        any(train.get(other) == target for other in itertools.permutations(operands))
        for operands, target in zip(as_tuples(task, test), test["targets"].tolist(), strict=True)
    ]
    assert test["commuted"].tolist() == expected
    assert task.commuted_share(seed) == pytest.approx(sum(expected) / len(expected))


@given(fields_of_tasks(capped=True), st.integers(0, 99))
def test_a_cap_draws_different_tuples_of_the_table(fields, seed):
    task = Modular(**fields)
    rows = as_tuples(task, task.train_data(seed)) + as_tuples(task, task.test_data(seed))
    assert len(rows) == len(set(rows)) == min(task.max_examples, task.n_tuples)
    assert set(rows) <= set(table(task))


def test_a_cap_that_the_table_does_not_reach_changes_nothing():
    whole, capped = Modular(p=11), Modular(p=11, max_examples=10**6)
    assert (whole.train_size, whole.test_size) == (capped.train_size, capped.test_size) == (60, 61)
    assert (whole.train_data(3)["inputs"] == capped.train_data(3)["inputs"]).all()


@given(st.integers(1, 400), st.data())
def test_distinct_numbers_are_distinct_and_in_range(n_numbers, data):
    n_drawn = data.draw(st.integers(0, n_numbers))
    numbers = distinct(generator("test", 0), n_numbers, n_drawn).tolist()
    assert len(numbers) == len(set(numbers)) == n_drawn
    assert set(numbers) <= set(range(n_numbers))


@pytest.mark.parametrize(("n_numbers", "n_drawn"), [(9, 2), (5, 2)])  # by rejection; from a permutation
def test_every_ordered_draw_is_equally_likely(n_numbers, n_drawn):
    random = generator("test", 1)
    n_orders = n_numbers * (n_numbers - 1)
    drawn = [tuple(distinct(random, n_numbers, n_drawn).tolist()) for _ in range(200 * n_orders)]
    counts = np.array([drawn.count(pair) for pair in itertools.permutations(range(n_numbers), n_drawn)])
    assert counts.sum() == len(drawn)
    chi_squared = ((counts - 200) ** 2 / 200).sum()
    assert abs(chi_squared - (n_orders - 1)) < 4 * np.sqrt(2 * (n_orders - 1))


@pytest.mark.parametrize("operation", OPERATIONS)
def test_results_are_right_at_the_default_modulus(operation):
    task = Modular(operation=operation)
    found = as_dict(task, task.train_data(3)) | as_dict(task, task.test_data(3))
    assert len(found) == (97 * 96 if operation == "x/y" else 97 * 97)
    for operands in list(found)[::23]:
        assert found[operands] == result(operation, operands, 97)


def test_primes_are_the_numbers_without_a_product():
    products = {first * second for first in range(2, 100) for second in range(2, 100)}
    assert [number for number in range(200) if is_prime(number)] == sorted(set(range(2, 200)) - products)


@pytest.mark.parametrize("p", [2, 3, 97, 113])
def test_a_quotient_times_the_divisor_is_the_dividend(p):
    x, y = np.divmod(np.arange(p * (p - 1)), p - 1)
    assert (quotient(x, y + 1, p) * (y + 1) % p == x).all()


def test_powers_do_not_overflow_at_the_largest_modulus():
    task = Modular(p=2**15, operation="x^3+x*y^2+y", max_examples=100)
    data = task.train_data(0)
    assert as_dict(task, data) == {row: result(task.operation, row, task.p) for row in as_tuples(task, data)}


@pytest.mark.parametrize("train_fraction", [0.2, 0.5, 0.8])
def test_the_commuted_share_of_a_sum_is_about_the_train_fraction(train_fraction):
    """A test pair x ≠ y has its swap among the other p² - 1 examples, of which train_size are the training set."""
    task = Modular(p=31, train_fraction=train_fraction)
    off_diagonal, all_pairs = [], []
    for seed in range(20):
        test = task.test_data(seed)
        x, y = task.decode(test["inputs"]).T
        off_diagonal.append(test["commuted"][x != y].mean())
        all_pairs.append(task.commuted_share(seed))
        assert not test["commuted"][x == y].any()
    expected = task.train_size / (31**2 - 1)
    assert abs(expected - train_fraction) < 0.002
    for shares, mean in ((off_diagonal, expected), (all_pairs, expected * (1 - 1 / 31))):
        assert abs(np.mean(shares) - mean) < 4 * np.std(shares) / np.sqrt(20)


@pytest.mark.slow
@pytest.mark.parametrize("distinct_orders", [1, 3, 6])
def test_more_summands_are_solved_by_commuting_more_often(distinct_orders):
    """A triple with m orders has m - 1 others: none of them is in the training set with about the chance .7^(m - 1)."""
    task = Modular(p=31, n_summands=3, train_fraction=0.3)
    n_values = {1: 1, 3: 2, 6: 3}[distinct_orders]
    shares = []
    for seed in range(10):
        test = task.test_data(seed)
        different = np.array([len(set(row)) for row in as_tuples(task, test)])
        shares.append(test["commuted"][different == n_values].mean())
    assert abs(np.mean(shares) - (1 - 0.7 ** (distinct_orders - 1))) <= 4 * np.std(shares) / np.sqrt(10)


@pytest.mark.parametrize("operation", ["x-y", "x/y"])
def test_subtraction_is_almost_never_and_division_only_of_opposites_solved_by_commuting(operation):
    task = Modular(p=31, operation=operation)
    test = task.test_data(0)
    x, y = task.decode(test["inputs"]).T.astype(int)
    assert not test["commuted"][x == y].any()
    assert (((x + y) % 31 == 0) | ~test["commuted"]).all()  # x/y = y/x only where x = -y; x - y = y - x nowhere
    assert test["commuted"].any() == (operation == "x/y")


def test_each_seed_has_its_own_split_always_the_same():
    task = Modular(p=11)
    rows = [as_tuples(task, task.train_data(seed)) for seed in (0, 0, 1)]
    assert rows[0] == rows[1]
    assert set(rows[0]) != set(rows[2])


def test_a_split_seed_makes_the_split_one_for_all_seeds():
    task, own = Modular(p=11, split_seed=4, max_examples=50), Modular(p=11, max_examples=50)
    for part in ("train_data", "test_data"):
        drawn = [getattr(task, part)(seed)["inputs"] for seed in (0, 1)] + [getattr(own, part)(4)["inputs"]]
        assert (drawn[0] == drawn[1]).all()
        assert (drawn[0] == drawn[2]).all()


def test_the_encoding_does_not_change_the_split():
    one_hot, tokens = Modular(p=11), Modular(p=11, encoding="tokens", sequence="<sos> y + x =")
    assert as_dict(one_hot, one_hot.train_data(2)) == as_dict(tokens, tokens.train_data(2))


def test_the_split_stays_what_it_was():
    """Runs that were begun earlier go on with these."""
    assert as_tuples(Modular(p=97), Modular(p=97).train_data(0))[:3] == [(0, 22), (65, 47), (33, 20)]
    few = Modular(p=97, n_summands=6, max_examples=1000)
    assert as_tuples(few, few.train_data(0))[:2] == [(26, 56, 11, 7, 2, 6), (28, 7, 35, 58, 76, 55)]


@pytest.mark.parametrize(("p", "n_summands"), [(51, 4), (97, 6)])
def test_memory_grows_with_the_cap_and_not_with_the_table(p, n_summands):
    task = Modular(p=p, n_summands=n_summands, max_examples=20_000, encoding="tokens", train_fraction=0.7)
    tracemalloc.start()
    try:
        rows = as_tuples(task, task.train_data(0))
        assert task.test_data(0)["commuted"].dtype == bool
        assert tracemalloc.get_traced_memory()[1] < 20e6  # one byte for each of the 51^4 tuples is 6.8 MB; int64 54 MB
    finally:
        tracemalloc.stop()
    assert len(set(rows)) == 14_000
    assert np.bincount(np.array(rows).ravel(), minlength=p).min() > 0


@pytest.mark.slow
def test_four_summands_mod_51_are_drawn_whole_in_less_than_4_gb():
    task = Modular(p=51, n_summands=4, train_fraction=0.7)
    tracemalloc.start()
    try:
        train = task.train_data(0)
        assert train["inputs"].shape == (4_735_641, 204)
        assert (train["inputs"].sum(axis=0, dtype=np.int64) > 0).all()
        del train
        test = task.test_data(0)
        assert test["inputs"].shape == (2_029_560, 204)
        assert test["commuted"].mean() > 0.99  # 24 orders of four different numbers
        assert tracemalloc.get_traced_memory()[1] < 2e9
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("fields", "signature"),
    [
        ({}, Signature(194, 97)),
        ({"p": 31, "n_summands": 3}, Signature(93, 31)),
        ({"p": 113, "encoding": "tokens", "sequence": "x y ="}, Signature(3, 113, 114)),  # Ahmed 2024, Table 7.1
        ({"p": 97, "encoding": "tokens"}, Signature(2, 97, 97)),  # Liu, Chi, Wu, section 1
        ({"p": 91, "encoding": "tokens", "sequence": "<sos> x + y mod ="}, Signature(6, 91, 95)),  # Ahmed 2024, 7.1
        ({"p": 5, "encoding": "tokens", "sequence": "x + y + z = ", "n_summands": 3}, Signature(6, 5, 7)),
    ],
)
def test_signatures_of_the_papers(fields, signature):
    assert Modular(**fields).signature == signature


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"p": 91, "operation": "x/y"}, "operation 'x/y' divides mod p, which needs a prime p, not 91"),
        ({"p": 4, "operation": "x/y if y odd, else x-y"}, "divides mod p, which needs a prime p, not 4"),
        ({"n_summands": 3, "operation": "x*y"}, "n_summands = 3 needs operation 'x+y', not 'x*y'"),
        ({"n_summands": 10}, "97^10 exceeds 2^63 - 1; take fewer summands"),
        (
            {"n_summands": 6},
            "all 832,972,004,929 tuples exceed the limit of 100,000,000; set max_examples",
        ),
        ({"p": 3, "train_fraction": 0.01}, "train_fraction = 0.01 of 9 examples leaves no training set"),
        ({"p": 3, "train_fraction": 0.99}, "train_fraction = 0.99 of 9 examples leaves no test set"),
        ({"sequence": "x y"}, "the field 'sequence' needs encoding 'tokens', but encoding is 'one-hot'"),
        (
            {"encoding": "tokens", "sequence": "x ="},
            "sequence 'x =' has 'y' 0 times; give each of the operands x, y once",
        ),
        ({"encoding": "tokens", "sequence": "x y y"}, "has 'y' 2 times; give each of the operands x, y once"),
        ({"encoding": "tokens", "sequence": "x y x x"}, "has 'x' 3 times; give each of the operands x, y once"),
        ({"encoding": "tokens", "sequence": "x y z"}, "has 'z', but the operands are x, y"),
        (
            {"encoding": "tokens", "p": 2**15, "max_examples": 9, "sequence": "x y ="},
            "32769 tokens exceed the limit of",
        ),
        ({"p": 1}, "greater than or equal to 2"),
        ({"train_fraction": 1}, "less than 1"),
        ({"operation": "y+x"}, "Input should be"),
    ],
)
def test_what_cannot_be_is_refused_in_words(fields, text):
    with pytest.raises(ValueError, match=re.escape(text)):
        Modular(**fields)


def test_inputs_of_another_task_are_not_decoded():
    with pytest.raises(ValueError, match="inputs have 4 columns, but this task has 194"):
        Modular().decode(np.zeros((2, 4), np.int8))


def test_every_operation_has_its_formula_and_the_registry_knows_the_task():
    assert set(VALUES) == set(OPERATIONS)
    assert TASKS["modular"].load() is Modular
