import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from circuits.analysis import cyclic_basis, cyclic_coefficients, cyclic_group, frequency_norms, gini
from circuits.analysis.fourier.basis import basis_labels, n_frequencies
from circuits.analysis.fourier.cyclic import OPERATIONS

SIZES = [2, 3, 4, 7, 10, 31, 96, 113]


@pytest.mark.parametrize("m", SIZES)
def test_the_basis_is_orthonormal(m):
    basis = cyclic_basis(m)
    assert basis.shape == (m, m)
    np.testing.assert_allclose(basis.T @ basis, np.eye(m), atol=1e-12)


@pytest.mark.parametrize("m", SIZES)
def test_each_function_is_the_wave_of_its_label(m):
    t = np.arange(m)
    for label, function, frequency in zip(basis_labels(m), cyclic_basis(m).T, (np.arange(m) + 1) // 2, strict=True):
        word, _, k = label.partition(" ")
        wave = {"1": np.ones, "cos": np.cos, "sin": np.sin}[word](m if word == "1" else 2 * np.pi * int(k) * t / m)
        np.testing.assert_allclose(function, wave / np.linalg.norm(wave), atol=1e-12)
        assert frequency == int(k or 0)


@pytest.mark.parametrize("m", SIZES)
@pytest.mark.parametrize(("dtype", "precision"), [(np.float64, 1e-12), (np.float32, 1e-5)])
def test_coefficients_by_fft_are_those_of_the_explicit_matrix_along_any_axis(m, dtype, precision):
    values = np.random.default_rng(m).normal(size=(3, m, 4)).astype(dtype)
    found = cyclic_coefficients(values, axis=1)
    assert found.dtype == dtype
    np.testing.assert_allclose(found, np.einsum("tj,atb->ajb", cyclic_basis(m), values), atol=precision)


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=40))
def test_coefficients_have_the_sum_of_squares_of_the_values(values):
    values = np.array(values)
    assert (cyclic_coefficients(values) ** 2).sum() == pytest.approx((values**2).sum(), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("m", SIZES)
def test_squared_norms_of_frequencies_and_constant_add_up_to_that_of_the_table(m):
    table = np.random.default_rng(m).normal(size=(m, 5))
    norms = frequency_norms(table)
    assert norms.shape == (m // 2,)
    assert (norms**2).sum() + m * (table.mean(axis=0) ** 2).sum() == pytest.approx((table**2).sum())


@pytest.mark.parametrize("m", [6, 7])
def test_a_table_of_one_wave_has_its_whole_norm_at_its_frequency(m):
    for k in range(1, n_frequencies(m) + 1):
        table = 2.5 + np.outer(np.cos(2 * np.pi * k * np.arange(m) / m + (0 if 2 * k == m else 0.4)), [1.0, -3.0])
        expected = np.zeros(m // 2)
        expected[k - 1] = np.linalg.norm(table - 2.5)
        np.testing.assert_allclose(frequency_norms(table), expected, atol=1e-12)


@given(st.sampled_from([7, 13, 31]), st.integers(1, 30), st.integers(0, 5))
def test_relabelling_by_a_unit_permutes_the_frequencies_by_its_inverse(m, u, seed):
    u = 1 + (u - 1) % (m - 1)
    table = np.random.default_rng(seed).normal(size=(m, 3))
    relabeled = np.empty_like(table)
    relabeled[u * np.arange(m) % m] = table
    moved = pow(u, -1, m) * (1 + np.arange(m // 2)) % m
    np.testing.assert_allclose(frequency_norms(relabeled)[np.minimum(moved, m - moved) - 1], frequency_norms(table))


@given(st.lists(st.floats(0, 1e3), min_size=1, max_size=20))
def test_gini_is_the_mean_distance_over_twice_the_mean(sizes):
    sizes = np.array(sizes)
    if sizes.sum() == 0:
        assert np.isnan(gini(sizes))
    else:
        assert gini(sizes) == pytest.approx(np.abs(sizes[:, None] - sizes).mean() / (2 * sizes.mean()), abs=1e-9)


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("p", [5, 7, 13])
def test_the_class_of_the_sum_is_the_result_of_the_operation(operation, p):
    from circuits.tasks.modular import Modular

    group = cyclic_group(operation, p)
    results = Modular(p=p, operation=operation).results(group.tuples)
    np.testing.assert_array_equal(group.classes[group.sums], results)
    n_tuples = p**2 if operation in ("x+y", "x-y") else (p - 1) ** 2
    assert len(np.unique(group.tuples, axis=0)) == n_tuples


def test_three_operands_add_up_too_in_the_order_of_their_elements():
    from circuits.tasks.modular import Modular

    group = cyclic_group("x+y", 5, 3)
    np.testing.assert_array_equal(group.tuples, np.stack(np.unravel_index(np.arange(125), (5, 5, 5)), axis=1))
    np.testing.assert_array_equal(
        group.classes[group.sums], Modular(p=5, n_summands=3, train_fraction=0.5).results(group.tuples)
    )


@pytest.mark.parametrize(("operation", "p", "k"), [("x+y", 6, 3), ("x-y", 5, 2), ("x*y", 7, 2), ("x/y", 7, 2)])
def test_tuples_by_sum_are_all_tuples_and_found_again(operation, p, k):
    group = cyclic_group(operation, p, k)
    assert (group.sums[group.by_sum] == np.arange(group.order)[:, None]).all()
    np.testing.assert_array_equal(np.sort(group.by_sum, axis=None), np.arange(group.order**k))
    np.testing.assert_array_equal(group.positions(group.tuples), np.arange(group.order**k))


def test_tuples_with_a_zero_are_not_among_the_products():
    np.testing.assert_array_equal(cyclic_group("x*y", 7).positions(np.array([[0, 3], [3, 0], [0, 0]])), [-1, -1, -1])


@pytest.mark.parametrize(
    ("operation", "p", "text"),
    [
        ("x^2+y^2", 7, r"'x\^2\+y\^2' is not a sum on a cyclic group, unlike x\+y, x-y, x\*y, x/y"),
        ("x*y", 9, r"p = 9 is not a prime, so the residues other than 0 are not a group under 'x\*y'"),
    ],
)
def test_what_is_no_sum_has_no_group(operation, p, text):
    with pytest.raises(ValueError, match=text):
        cyclic_group(operation, p)
