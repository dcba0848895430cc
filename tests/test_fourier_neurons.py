import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from circuits.analysis import cyclic_basis, cyclic_coefficients, neuron_frequencies
from circuits.analysis.fourier.neuron_frequencies import output_phases, phase_agreement, phase_residuals, spectrum


def angles(m, k):
    return 2 * np.pi * k * np.arange(m) / m


def apart(found, expected):
    """Distance of phases on the circle."""
    return np.abs(np.angle(np.exp(1j * (np.asarray(found) - expected))))


def plain_shares(activation):
    """Share of linear terms and of products of each frequency, term by term, by explicit products of waves."""
    m, K = len(activation), activation.ndim
    centered = activation - activation.mean()
    total = (centered**2).sum()
    linear, products = np.zeros(m // 2), np.zeros(m // 2)
    basis = cyclic_basis(m)
    for k in range(1, m // 2 + 1):
        places = [0, *(place for place in (2 * k - 1, 2 * k) if place < m)]
        for term in np.ndindex(*[len(places)] * K):
            order = sum(place > 0 for place in term)
            wave = np.ones(1)
            for place in term:
                wave = np.multiply.outer(wave, basis[:, places[place]])
            if order:
                (linear if order == 1 else products)[k - 1] += (wave[0] * centered).sum() ** 2 / total
    return linear, products


@pytest.mark.parametrize("shape", [(7, 7, 3), (8, 8, 2), (5, 5, 5, 2), (4, 4, 4, 2)])
@pytest.mark.parametrize(("dtype", "precision"), [(np.float64, 1e-12), (np.float32, 1e-5)])
def test_the_spectrum_is_the_fft_along_every_operand(shape, dtype, precision):
    values = (5 + np.random.default_rng(0).normal(size=shape)).astype(dtype)
    expected = values
    for axis in range(len(shape) - 1):
        expected = cyclic_coefficients(expected, axis=axis)
    found = spectrum(values)
    assert found.dtype == dtype
    np.testing.assert_allclose(found, expected, atol=30 * precision)


@pytest.mark.parametrize("shape", [(7, 7), (8, 8), (5, 5, 5), (4, 4, 4)])
def test_frequency_and_shares_are_the_best_of_explicit_terms(shape):
    activations = np.random.default_rng(1).normal(size=(*shape, 4))
    found = neuron_frequencies(activations)
    for n in range(4):
        linear, products = plain_shares(activations[..., n])
        k = (linear + products).argmax()
        assert found.frequency[n] == k + 1
        assert found.linear_share[n] == pytest.approx(linear[k])
        assert found.product_share[n] == pytest.approx(products[k])


@pytest.mark.parametrize("m", [31, 32])
@pytest.mark.parametrize("k", [1, 5, 15])
def test_a_relu_of_two_waves_has_their_frequency_and_phases_and_reads_out_their_sum(m, k):
    a, b = 0.7, -2.1
    activation = np.maximum(np.cos(angles(m, k) + a)[:, None] + np.cos(angles(m, k) + b), 0)[..., None]
    found = neuron_frequencies(activation)
    assert found.frequency.tolist() == [k]
    assert apart(found.phase[:, 0], [a, b]).max() < 0.05  # multiples of k that come round to it add a little
    assert found.linear_share[0] + found.product_share[0] > 0.9
    out = output_phases(np.cos(angles(m, k) + a + b)[None], found.frequency)
    assert apart(out, a + b).max() < 1e-9
    assert abs(phase_residuals(found.phase, out)[0]) < 0.1


def test_a_square_of_two_waves_has_its_phases_from_the_products():
    a, b, m, k = 1.2, 0.5, 31, 4
    activation = (np.cos(angles(m, k) + a)[:, None] + np.cos(angles(m, k) + b))[..., None] ** 2
    found = neuron_frequencies(activation)
    assert found.frequency.tolist() == [k]
    assert found.linear_share[0] == pytest.approx(0, abs=1e-12)
    assert found.product_share[0] == pytest.approx(0.8)  # the fifth that is left are the waves of 2k
    both = [apart(found.phase[:, 0], np.array([a, b]) + shift).max() for shift in (0, np.pi)]
    assert min(both) < 1e-9
    out = output_phases(np.cos(angles(m, k) + a + b)[None], found.frequency)
    assert abs(phase_residuals(found.phase, out)[0]) < 1e-9


@given(st.floats(-3, 3), st.floats(-3, 3), st.floats(-3, 3), st.sampled_from([1, 2, 5]))
def test_the_residual_is_how_far_the_output_phase_is_from_the_sum_of_the_input_phases(a, b, off, k):
    m = 11
    activation = 3 + np.cos(angles(m, k) + a)[:, None] + np.cos(angles(m, k) + b)
    found = neuron_frequencies(activation[..., None])
    out = output_phases(2 * np.cos(angles(m, k) + a + b - off)[None], found.frequency)
    assert apart(found.phase[:, 0], [a, b]).max() < 1e-9
    assert apart(phase_residuals(found.phase, out), off).max() < 1e-9


def test_three_operands_have_three_phases():
    phases, m, k = [0.3, -1.0, 2.0], 7, 2
    waves = [np.cos(angles(m, k) + phase) for phase in phases]
    activation = waves[0][:, None, None] + waves[1][:, None] + waves[2] + 0.5 * np.einsum("x,y,z->xyz", *waves)
    found = neuron_frequencies(activation[..., None])
    assert found.frequency.tolist() == [k]
    assert apart(found.phase[:, 0], phases).max() < 1e-9
    assert found.linear_share[0] == pytest.approx(1.5 / (1.5 + 0.25 / 8))
    assert found.product_share[0] == pytest.approx((0.25 / 8) / (1.5 + 0.25 / 8))


def test_a_neuron_of_the_alternating_term_has_frequency_half_of_m_and_no_phase():
    m = 6
    alternating = np.cos(angles(m, 3))
    activations = np.stack([alternating[:, None] - alternating, np.outer(alternating, alternating)], axis=2)
    found = neuron_frequencies(activations)
    assert found.frequency.tolist() == [3, 3]
    assert np.isnan(found.phase).all()
    np.testing.assert_allclose(found.linear_share, [1, 0], atol=1e-12)
    assert np.isnan(output_phases(np.stack([alternating, -alternating]), found.frequency)).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_constant_neuron_has_no_frequency_and_the_others_keep_theirs(dtype):
    wave = np.cos(angles(7, 2)) + np.zeros((7, 1))
    constants = [np.zeros((7, 7)), np.full((7, 7), 0.1), np.full((7, 7), np.nan)]
    found = neuron_frequencies(np.stack([*constants, 1000 + wave], axis=2).astype(dtype))
    assert found.frequency.tolist() == [0, 0, 0, 2]
    assert np.isnan(found.linear_share[:3]).all()
    assert np.isnan(found.phase[:, :3]).all()
    assert found.linear_share[3] == pytest.approx(1, abs=1e-4)
    assert np.isnan(output_phases(np.ones((4, 7)) + wave[:4], found.frequency)[:3]).all()


@given(st.sampled_from([7, 11, 13]), st.integers(1, 12), st.integers(0, 3))
def test_relabelling_by_a_unit_permutes_the_frequencies_of_neurons_by_its_inverse(m, u, seed):
    u = 1 + (u - 1) % (m - 1)
    activations = np.random.default_rng(seed).normal(size=(m, m, 5))
    places = u * np.arange(m) % m
    relabeled = np.empty_like(activations)
    relabeled[np.ix_(places, places)] = activations
    first, second = neuron_frequencies(activations), neuron_frequencies(relabeled)
    moved = pow(u, -1, m) * first.frequency % m
    np.testing.assert_array_equal(second.frequency, np.minimum(moved, m - moved))
    np.testing.assert_allclose(second.linear_share, first.linear_share)
    np.testing.assert_allclose(second.product_share, first.product_share)


def test_agreement_is_one_where_all_residuals_are_zero_and_nothing_among_random_ones():
    assert phase_agreement(np.zeros(5), np.ones(5)) == 1
    assert abs(phase_agreement(np.linspace(-np.pi, np.pi, 50, endpoint=False), np.ones(50))) < 1e-12
    assert np.isnan(phase_agreement(np.full(3, np.nan), np.ones(3)))
