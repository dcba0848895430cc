"""The Walsh-Hadamard transform and the weights of its parts, against explicit characters and brute force."""

from fractions import Fraction
from itertools import product
from math import prod

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from circuits.analysis.cube import membership, small_subsets, subset_names, walsh_coefficients, walsh_values
from circuits.analysis.cube_weights import PARTS, cube_weights, draws_by_pattern
from circuits.analysis.low_degree import (
    LowDegree,
    characters,
    largest_by_chance,
    low_degree_coefficients,
    weight_by_degree,
)
from circuits.analysis.spectrum import spectrum_beyond
from circuits.analysis.support_coefficients import support_coefficients
from circuits.constructions.known import known
from circuits.constructions.patterns import parities, patterns
from circuits.random import generator


def tables(least: int = 0, most: int = 8):
    sizes = st.integers(least, most).map(lambda k: 2**k)
    return sizes.flatmap(lambda size: arrays(np.float64, size, elements=st.floats(-1e3, 1e3, width=32)))


def explicit(values: np.ndarray) -> np.ndarray:
    """The slow twin: every character written out, by the definition."""
    k = len(values).bit_length() - 1
    x = np.array(list(product((-1, 1), repeat=k)))
    return np.array([np.mean(values * x[:, list(marks)].prod(axis=1)) for marks in membership(k)])


@given(tables())
def test_the_transform_is_the_matrix_of_characters(values):
    assert walsh_coefficients(values) == pytest.approx(explicit(values), abs=1e-9)


@given(tables())
def test_the_inverse_restores_the_table(values):
    assert walsh_values(walsh_coefficients(values)) == pytest.approx(values, abs=1e-9)


@given(tables())
def test_squared_coefficients_sum_to_the_mean_square(values):
    assert (walsh_coefficients(values) ** 2).sum() == pytest.approx((values**2).mean(), rel=1e-9, abs=1e-9)


@given(tables(1, 6), st.randoms(use_true_random=False))
def test_permuting_bits_permutes_coefficients(values, random):
    k = len(values).bit_length() - 1
    order = random.sample(range(k), k)
    permuted = values.reshape((2,) * k).transpose(order).ravel()  # f with its bits in another order
    expected = walsh_coefficients(values).reshape((2,) * k).transpose(order).ravel()
    assert walsh_coefficients(permuted) == pytest.approx(expected, abs=1e-9)


def test_leading_dimensions_are_transformed_one_by_one():
    values = generator("test", 1).normal(size=(2, 3, 8))
    assert walsh_coefficients(values)[1, 2] == pytest.approx(walsh_coefficients(values[1, 2]))


def test_the_argument_is_not_changed():
    values = np.arange(8.0)
    walsh_coefficients(values)
    assert values.tolist() == list(range(8))


def test_a_table_that_is_no_power_of_two_is_refused():
    with pytest.raises(ValueError, match=r"a function of k bits has 2\^k values, not 6"):
        walsh_coefficients(np.zeros(6))


def test_parity_has_one_coefficient():
    for k in range(1, 8):
        assert walsh_coefficients(parities(k)).tolist() == [0.0] * (2**k - 1) + [1.0]


def test_twenty_bits_are_transformed_and_found_again():
    x = patterns(20)
    values = walsh_coefficients(x[:, 3].astype(np.float64) * x[:, 17])
    assert np.flatnonzero(values).tolist() == [2 ** (19 - 3) + 2 ** (19 - 17)]
    assert values.max() == 1.0


def test_majority_of_five_has_the_coefficients_of_the_book():
    """O'Donnell 2014, section 5.3: 3/8 at single bits, -1/8 at three, 3/8 at all five, 0 at even degrees."""
    found = walsh_coefficients(np.sign(patterns(5).sum(axis=1)))
    by_degree = {0: 0.0, 1: 3 / 8, 2: 0.0, 3: -1 / 8, 4: 0.0, 5: 3 / 8}
    assert found.tolist() == [by_degree[int(row.sum())] for row in membership(5)]


def test_a_relu_of_the_sum_of_two_bits_in_closed_form():
    """Relu(x + y) is 2 at (1, 1) and 0 elsewhere: (1 + x)(1 + y)/2."""
    found = support_coefficients(np.array([[1.0, 1.0]]), np.zeros(1), np.ones(1), [0, 1])
    assert found.tolist() == [[0.5, 0.5, 0.5, 0.5]]


@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_hand_built_circuits_have_the_coefficients_of_their_exact_tables(k):
    """Rational coefficients, by the definition; the parity's is the mean margin."""
    for name, made in known(k).items():
        rows = [tuple(int(bit) for bit in row) for row in patterns(k)]
        before = [[sum(w * bit for w, bit in zip(ws, row, strict=True)) for ws in made.W] for row in rows]
        table = [sum(u * max(0, a + b) for u, a, b in zip(made.u, sums, made.b, strict=True)) for sums in before]
        exact = [
            Fraction(sum(value * prod(bit for bit, has in zip(row, marks, strict=True) if has)
                         for value, row in zip(table, rows, strict=True)), 2**k)
            for marks in membership(k).tolist()
        ]  # fmt: skip
        net = made.arrays(n=k + 2)  # two more bits, of weight 0, change nothing
        found = support_coefficients(**net, support=list(range(k))).sum(axis=0)
        assert found == pytest.approx([float(value) for value in exact], abs=1e-12), name
        assert found[-1] == pytest.approx(np.mean(np.array(table, float) * parities(k))), name


def test_support_coefficients_equal_brute_force_over_the_other_bits():
    random = generator("test", 2)
    W, b, u = random.normal(size=(5, 9)), random.normal(size=5), random.normal(size=5)
    x = patterns(9)
    support = [2, 5, 7]
    for marks, found in zip(membership(3), support_coefficients(W, b, u, support).sum(axis=0), strict=True):
        chi = x[:, np.array(support)[marks]].prod(axis=1)
        assert found == pytest.approx(np.mean(np.maximum(x @ W.T + b, 0) @ u * chi), abs=1e-12)


def random_function(n: int, seed: int):
    """Σ of a few products of bits, and its values on given inputs."""
    random = generator("test", seed)
    W, b, u = random.normal(size=(6, n)), random.normal(size=6), random.normal(size=6)
    return lambda x: np.maximum(x @ W.T + b, 0) @ u


@pytest.mark.parametrize("support", [(0, 1), (3,), (1, 4, 6)])
def test_weights_are_sums_of_squared_coefficients(support):
    draws = draws_by_pattern(8, support, 0, 8)
    f = random_function(8, 3)
    found = cube_weights(f(draws.inputs), True)
    coefficients = walsh_coefficients(f(patterns(8)))
    expected = dict.fromkeys(PARTS, 0.0)
    for marks, value in zip(membership(8), coefficients, strict=True):
        members = set(np.flatnonzero(marks).tolist())
        if members:
            part = "parity" if members == set(support) else "subsets" if members < set(support) else "rest"
            expected[part] += value**2
    assert found.weight.tolist() == pytest.approx(list(expected.values()), abs=1e-12)
    assert found.weight.sum() == pytest.approx(f(patterns(8)).var())
    assert found.share.sum() == pytest.approx(1.0)
    assert not found.weight_error.any()
    assert not found.share_error.any()


@given(st.integers(0, 1000), st.floats(0.01, 100))
def test_shares_do_not_change_with_the_scale_or_an_added_constant(seed, scale):
    values = generator("test", seed).normal(size=(4, 16))
    first, second = cube_weights(values), cube_weights(scale * values + 3.0)
    assert second.share == pytest.approx(first.share, abs=1e-6)


def test_a_constant_function_has_no_shares():
    found = cube_weights(np.full((4, 8), 2.0))
    assert found.weight.tolist() == [0.0, 0.0, 0.0]
    assert np.isnan(found.share).all()


def partly_parity(x: np.ndarray) -> np.ndarray:
    """A function of 12 bits with weight on the parity of the first two."""
    return random_function(12, 4)(x) + x[..., 0] * x[..., 1]


def many_samples(of_what: str, means=None) -> tuple[np.ndarray, np.ndarray]:
    """Estimates and standard errors of weights or shares, from 400 samples."""
    f = partly_parity
    found = [cube_weights(f(draws_by_pattern(12, (0, 1), 256, 0, stream).inputs), means=means) for stream in range(400)]
    return np.array([getattr(one, of_what) for one in found]), np.array(
        [getattr(one, f"{of_what}_error") for one in found]
    )


@pytest.mark.parametrize("known_means", [False, True])
@pytest.mark.parametrize("of_what", ["weight", "share"])
def test_estimated_weights_have_no_bias_and_their_standard_errors_are_right(of_what, known_means):
    f = partly_parity
    inputs = draws_by_pattern(12, (0, 1), 0, 12).inputs
    truth = getattr(cube_weights(f(inputs), True), of_what)
    estimates, errors = many_samples(of_what, f(inputs).mean(axis=1) if known_means else None)
    deviation = estimates.std(axis=0)
    slack = 0.02 * truth if of_what == "share" else 0.0  # a ratio is biased to second order
    assert (np.abs(estimates.mean(axis=0) - truth) <= 5 * deviation / np.sqrt(400) + slack + 1e-12).all()
    assert errors.mean(axis=0) == pytest.approx(deviation, rel=0.2, abs=1e-12)


def test_draws_are_uniform_over_the_other_bits_and_equal_over_patterns():
    draws = draws_by_pattern(20, (3, 9), 4000, 12)
    assert draws.inputs.shape == (4, 1000, 20)
    assert not draws.is_complete
    assert (draws.inputs[:, :, [3, 9]] == patterns(2)[:, None]).all()
    others = np.delete(draws.flat, [3, 9], axis=1)
    assert set(np.unique(others)) == {-1, 1}
    assert np.abs(others.mean(axis=0)).max() < 5 / np.sqrt(4000)


def test_complete_draws_are_every_input_once():
    draws = draws_by_pattern(6, (1, 4), 100, 6)
    assert draws.is_complete
    assert len(np.unique(draws.flat, axis=0)) == 64


def test_another_stream_has_other_inputs_and_the_same_has_the_same():
    first, again, other = (draws_by_pattern(30, (0,), 64, 12, stream).inputs for stream in (0, 0, 1))
    assert (first == again).all()
    assert (first != other).any()


def test_forty_bits_have_10701_subsets_of_at_most_three():
    subsets = small_subsets(40, 3)
    assert len(subsets) == 10_701 == len(set(subsets))
    assert subsets[0] == ()
    assert subsets[-1] == (37, 38, 39)


def test_characters_in_blocks_are_products_of_columns(monkeypatch):
    monkeypatch.setattr("circuits.analysis.low_degree.BLOCK_NUMBERS", 5 * 32)
    x = 2 * generator("test", 5).integers(0, 2, (32, 7), dtype=np.int8) - 1
    subsets = small_subsets(7, 3)
    blocks = [block.copy() for block in characters(x, subsets)]
    assert len(blocks) == -(-len(subsets) // 5)
    expected = [x[:, list(subset)].prod(axis=1) for subset in subsets]
    assert np.concatenate(blocks).tolist() == np.array(expected).tolist()


@pytest.mark.parametrize("n", [6, 9, 12])
def test_sampled_coefficients_lie_within_five_standard_errors_of_the_exact_ones(n):
    f = random_function(n, n)
    exact = walsh_coefficients(f(patterns(n)))
    x = 2 * generator("test", 7).integers(0, 2, (4096, n), dtype=np.int8) - 1
    found = low_degree_coefficients(x, np.stack([f(x), -2 * f(x)]))
    places = [sum(2 ** (n - 1 - bit) for bit in subset) for subset in found.subsets]
    assert (np.abs(found.coefficients[0] - exact[places]) < 5 * found.errors[0]).all()
    assert found.coefficients[1] == pytest.approx(-2 * found.coefficients[0], abs=1e-4)


def test_standard_errors_of_coefficients_are_those_of_repeated_samples():
    f = random_function(10, 8)
    samples = [2 * generator("test", 9, i).integers(0, 2, (512, 10), dtype=np.int8) - 1 for i in range(300)]
    found = [low_degree_coefficients(x, f(x)[None], degree=2) for x in samples]
    deviations = np.array([one.coefficients[0] for one in found]).std(axis=0)
    errors = np.array([one.errors[0] for one in found]).mean(axis=0)
    assert deviations == pytest.approx(errors, rel=0.25)
    assert (deviations / errors).mean() == pytest.approx(1, rel=0.03)


@pytest.mark.parametrize("k", [1, 2, 3])
def test_sampled_spectrum_beyond_the_support_agrees_with_the_exact_one(k):
    support = tuple(range(k))
    f = random_function(11, 11)
    complete = draws_by_pattern(11, support, 0, 11)
    exact = spectrum_beyond(f(complete.inputs)[None], complete, support).found
    truth = dict(zip(exact.subsets, exact.coefficients[0], strict=True))
    assert not any(set(subset) <= set(support) for subset in truth)
    assert len(truth) == 2**11 - 2**k
    sample = draws_by_pattern(11, support, 8192, 0)
    found = spectrum_beyond(f(sample.inputs)[None], sample, support).found
    estimates = zip(found.subsets, found.coefficients[0], found.errors[0], strict=True)
    distance = [abs(value - truth[subset]) / error for subset, value, error in estimates]
    assert max(distance) < 5
    assert len(found.subsets) == sum(len(s) <= 3 for s in truth)


def test_weight_by_degree_has_no_bias():
    """Of a function with a single coefficient, 1 at {0, 1}: weight 1 on degree 2 and none elsewhere."""
    samples = [2 * generator("test", 12, i).integers(0, 2, (256, 12), dtype=np.int8) - 1 for i in range(200)]
    found = [weight_by_degree(low_degree_coefficients(x, (x[:, :1] * x[:, 1:2]).T.astype(float))) for x in samples]
    weights, errors = (np.array([one[i][0] for one in found]) for i in (0, 1))
    deviation = weights.std(axis=0)
    assert (np.abs(weights.mean(axis=0) - [0, 0, 1, 0]) < 5 * deviation / np.sqrt(200)).all()
    assert errors.mean(axis=0)[1:] == pytest.approx(deviation[1:], rel=0.25)


def test_weight_by_degree_sums_only_what_is_included():
    found = LowDegree([(0,), (1,)], np.array([[1.0, 3.0]]), np.zeros((1, 2)))
    assert weight_by_degree(found, [False, True])[0].tolist() == [[0.0, 9.0]]


def test_the_largest_of_many_by_chance_is_the_median_of_maxima():
    largest = np.abs(generator("test", 13).normal(size=(2000, 100))).max(axis=1)
    assert np.median(largest) == pytest.approx(largest_by_chance(100), rel=0.02)


def test_subsets_are_named_by_the_bits_of_the_input():
    assert subset_names((3, 8)) == ["{}", "{8}", "{3}", "{3,8}"]
