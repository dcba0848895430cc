"""The population gradient of a relu neuron and its Fourier gap, against sums over all inputs, lattices and autograd."""

from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from circuits.analysis.walsh.hidden_progress import layer_gap, movement
from circuits.analysis.walsh.population_gradient import fourier_gaps, halfspace_gradient
from circuits.analysis.walsh.transform import membership, walsh_coefficients
from circuits.constructions.patterns import patterns
from circuits.randomness import generator


def brute_force(W, b, relevant_bits) -> np.ndarray:
    """E y x_i 1[w·x + b > 0] over all inputs, one neuron after the other."""
    x = patterns(W.shape[1]).astype(float)
    y = x[:, list(relevant_bits)].prod(axis=1)
    return np.array([(y[:, None] * x * (x @ w + bias > 0)[:, None]).mean(axis=0) for w, bias in zip(W, b, strict=True)])


def neurons(n: int, seed: int, relevant_scale: float = 1.0, relevant_bits=(0, 1)):
    random = generator("test", seed)
    W = random.uniform(-1, 1, (6, n))
    W[:, list(relevant_bits)] *= relevant_scale
    return W, random.uniform(-1, 1, 6)


@pytest.mark.parametrize(
    ("n", "relevant_bits"), [(3, (0, 1)), (7, (2,)), (10, (1, 8)), (11, (0, 4, 9)), (4, (0, 1, 2, 3))]
)
def test_the_gradient_equals_the_sum_over_all_inputs(n, relevant_bits):
    W, b = neurons(n, 1, 1.5, relevant_bits)
    assert halfspace_gradient(W, b, relevant_bits) == pytest.approx(brute_force(W, b, relevant_bits), abs=1e-12)


SHAPES = {
    "small others": lambda n: neurons(n, 2, 4.0, (0, 3, 5)),
    "large others": lambda n: neurons(n, 2, 0.3, (0, 3, 5)),
    "mostly 0": lambda n: (
        np.where(generator("test", 3).random((6, n)) < 0.6, 0.0, neurons(n, 2)[0]),
        neurons(n, 2)[1],
    ),
    "equal": lambda n: (np.tile(np.resize([1.0, -1.0, 1.0], n), (6, 1)), np.linspace(-3, 3, 6)),
    "one dominates": lambda n: (np.c_[0.02 * neurons(n - 1, 2)[0], np.ones(6)], neurons(n, 2)[1]),
}


@pytest.mark.parametrize("n", [12, 16])
@pytest.mark.parametrize("shape", SHAPES)
def test_with_at_most_twenty_other_weights_the_gradient_is_exact_whatever_they_are(n, shape):
    W, b = SHAPES[shape](n)
    assert halfspace_gradient(W, b, (0, 3, 5)) == pytest.approx(brute_force(W, b, (0, 3, 5)), abs=1e-12)


def test_zero_weights_do_not_count():
    W, b = neurons(12, 2)
    few = halfspace_gradient(W, b, (0, 1))
    many = halfspace_gradient(np.c_[W, np.zeros((6, 30))], b, (0, 1))
    assert many[:, :12].tolist() == few.tolist()
    assert not many[:, 12:].any()


def by_convolution(whole: np.ndarray, bias: float, relevant_bits) -> np.ndarray:
    """The same for whole-numbered weights: the exact law of the sum, bit by bit."""
    others = np.delete(np.arange(len(whole)), list(relevant_bits))

    def law(bits) -> np.ndarray:
        """P(Σ ±w = m), m from -Σ|w| up in steps of 1."""
        found = np.ones(1)
        for w in np.abs(whole[bits]):
            step = np.zeros(2 * w + 1)
            step[[0, -1]] += 0.5
            found = np.convolve(found, step)
        return found

    def above(bits, level: float) -> float:
        found = law(bits)
        return float(found[np.arange(len(found)) - len(found) // 2 > level].sum())

    z = patterns(len(relevant_bits))
    chi, at = z.prod(axis=1), z @ whole[list(relevant_bits)] + bias
    result = np.zeros(len(whole))
    for place, bit in enumerate(relevant_bits):
        result[bit] = np.mean([sign * row[place] * above(others, -a) for sign, row, a in zip(chi, z, at, strict=True)])
    for bit in others:
        rest, w = others[others != bit], whole[bit]
        halves = [(above(rest, -a - w) - above(rest, -a + w)) / 2 for a in at]
        result[bit] = np.mean(chi * halves)
    return result


@pytest.mark.slow
@pytest.mark.parametrize("seed", [3, 4, 5])
def test_with_37_other_bits_the_series_is_right_to_a_millionth(seed):
    random = generator("test", seed)
    whole = random.integers(-150, 151, 40)
    whole[[0, 1, 2]] *= 3
    bias = float(random.integers(-100, 100))
    bias += (whole.sum() + bias + 1) % 2  # never on the boundary: half way between two values of the sum
    exact = by_convolution(whole, bias, (0, 1, 2))
    found = halfspace_gradient(whole[None].astype(float), np.array([bias]), (0, 1, 2))[0]
    assert found == pytest.approx(exact, abs=1e-6)


def test_float32_weights_of_any_scale_give_the_same():
    W, b = neurons(40, 6)
    found = halfspace_gradient(W, b, (0, 1))
    assert halfspace_gradient(1e3 * W, 1e3 * b, (0, 1)) == pytest.approx(found, abs=1e-12)
    assert halfspace_gradient(W.astype(np.float32), b.astype(np.float32), (0, 1)) == pytest.approx(found, abs=1e-6)


def test_a_neuron_that_always_fires_has_no_gradient_and_one_with_no_other_weight_is_exact():
    W = np.zeros((2, 40))
    W[1, :2] = 1.0
    gradient = halfspace_gradient(W, np.array([1.0, -1.0]), (0, 1))
    assert not gradient[0].any()
    assert gradient[1].tolist() == [0.25, 0.25] + [0.0] * 38  # and of two bits


def test_a_weight_that_is_not_finite_gives_nan_in_its_own_row():
    W, b = neurons(40, 7)
    W[2, 5], b[4] = np.inf, np.nan
    assert np.isnan(halfspace_gradient(W, b, (0, 1))).all(axis=1).tolist() == [False, False, True, False, True, False]


@given(st.integers(0, 500), st.permutations(range(9)))
def test_permuting_bits_permutes_the_gradient(seed, order):
    W, b = neurons(9, seed)
    moved = [order.index(bit) for bit in (0, 1)]
    found = halfspace_gradient(W[:, order], b, moved)
    assert found == pytest.approx(halfspace_gradient(W, b, (0, 1))[:, order], abs=1e-12)
    assert fourier_gaps(found, moved) == pytest.approx(fourier_gaps(halfspace_gradient(W, b, (0, 1)), (0, 1)))


@pytest.mark.parametrize("n", [8, 13])
def test_autograd_of_the_correlation_loss_over_all_inputs_is_the_gradient(n):
    W, b = neurons(n, 8)
    u = generator("test", 9).normal(size=6)
    x = torch.from_numpy(patterns(n).astype(np.float64))
    weights = torch.from_numpy(W).requires_grad_()
    outputs = (x @ weights.T + torch.from_numpy(b)).relu() @ torch.from_numpy(u)
    (-(x[:, 0] * x[:, 1]) * outputs).mean().backward()
    expected = -u[:, None] * halfspace_gradient(W, b, (0, 1))
    assert weights.grad.numpy() == pytest.approx(expected, abs=1e-12)


def test_the_hinge_loss_has_the_same_gradient_while_all_margins_are_below_one():
    W, b = neurons(8, 10)
    u = 0.01 * generator("test", 11).normal(size=6)
    x = torch.from_numpy(patterns(8).astype(np.float64))
    weights = torch.from_numpy(W).requires_grad_()
    margins = x[:, 0] * x[:, 1] * ((x @ weights.T + torch.from_numpy(b)).relu() @ torch.from_numpy(u))
    assert float(margins.detach().max()) < 1
    (1 - margins).relu().mean().backward()
    assert weights.grad.numpy() == pytest.approx(-u[:, None] * halfspace_gradient(W, b, (0, 1)), abs=1e-12)


@pytest.mark.parametrize("k", [1, 2, 3])
def test_the_gap_is_the_largest_for_which_the_papers_definition_holds(k):
    """Definition 1 over all (k-1)-subsets and (k+1)-supersets, from the coefficients of the halfspace itself."""
    relevant_bits = tuple(range(1, k + 1))
    W, b = neurons(7, 12, 2.0, relevant_bits)
    place = {frozenset(np.flatnonzero(row).tolist()): i for i, row in enumerate(membership(7))}
    for w, bias, gap in zip(W, b, fourier_gaps(halfspace_gradient(W, b, relevant_bits), relevant_bits), strict=True):
        g = np.abs(walsh_coefficients((patterns(7) @ w + bias > 0).astype(float)))
        smaller = [g[place[frozenset(part)]] for part in combinations(relevant_bits, k - 1)]
        larger = [g[place[frozenset(relevant_bits) | {i}]] for i in range(7) if i not in relevant_bits]
        assert gap == pytest.approx(min(smaller) - max(larger))


def test_majority_has_the_gap_of_its_coefficients():
    """Majority of 9 and two relevant bits: its coefficients at one bit, and at three."""
    gradient = halfspace_gradient(np.ones((1, 9)), np.zeros(1), (0, 1))[0]
    one, three = 70 / 512, 10 / 512  # halves of the coefficients of the sign at one and three bits
    assert np.abs(gradient) == pytest.approx(np.r_[one, one, np.full(7, three)])
    assert fourier_gaps(gradient, (0, 1)) == pytest.approx(one - three)


def test_the_gap_of_a_layer_is_that_of_root_sums_of_squares_over_neurons():
    W, b = neurons(9, 13)
    u = generator("test", 14).normal(size=6)
    sizes = np.sqrt(((u[:, None] * brute_force(W, b, (0, 1))) ** 2).sum(axis=0))
    assert layer_gap(W, b, u, (0, 1)) == pytest.approx(sizes[:2].min() - sizes[2:].max())
    assert layer_gap(W[:1], b[:1], np.ones(1), (0, 1)) == pytest.approx(
        fourier_gaps(brute_force(W, b, (0, 1)), (0, 1))[0]
    )


def test_movement_is_the_largest_change_at_all_the_relevant_and_the_other_inputs():
    start = generator("test", 15).normal(size=(4, 6))
    moved = start.copy()
    moved[0, 1] += 0.5
    moved[3, 4] -= 0.75
    found = movement(moved, start, (1, 2))
    assert found == pytest.approx(np.array([[0.5, 0, 0, 0.75], [0.5, 0, 0, 0], [0, 0, 0, 0.75]]))


def test_where_every_bit_is_relevant_the_gap_is_the_least_gradient():
    W, b = neurons(3, 16)
    gradient = halfspace_gradient(W, b, (0, 1, 2))
    assert fourier_gaps(gradient, (0, 1, 2)).tolist() == np.abs(gradient).min(axis=1).tolist()
