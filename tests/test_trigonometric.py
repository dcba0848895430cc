"""The hand-built network that adds mod p: its logits are a closed form, at every p, frequency and amplitude."""

from math import gcd

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import circuits
from circuits.constructions import modular_addition


def pairs(p):
    return np.divmod(np.arange(p * p), p)


def logits(net):
    """What the network outputs for every pair, written out: U (W [x, y])²."""
    W, U = net.arrays()["hidden.0.W"], net.arrays()["readout.W"]
    x, y = pairs(net.p)
    hidden = np.stack([(row[x] + row[net.p + y]) ** 2 for row in W])
    return (U @ hidden).T  # (pair, class)


def closed_form(net):
    x, y = pairs(net.p)
    distance = (x + y)[:, None] - np.arange(net.p)
    return net.amplitude * sum(np.cos(2 * np.pi * k * distance / net.p) for k in net.frequencies)


@pytest.mark.parametrize(("p", "k"), [(p, k) for p in range(3, 14) for k in range(1, p // 2 + 1) if gcd(k, p) == 1])
def test_one_frequency_without_a_common_factor_adds_for_every_p(p, k):
    net = modular_addition(p, [k], amplitude=1.0)
    assert np.abs(logits(net) - closed_form(net)).max() < 1e-12
    x, y = pairs(p)
    assert (logits(net).argmax(axis=1) == (x + y) % p).all()


@given(p=st.integers(3, 40), data=st.data())
@settings(max_examples=40)
def test_logits_of_any_frequencies_are_the_sum_of_their_cosines(p, data):
    others = data.draw(st.sets(st.integers(2, p // 2), max_size=4)) if p > 3 else set()
    net = modular_addition(p, [1, *others], amplitude=2.0)
    assert net.n_neurons == 6 * len(net.frequencies)
    assert np.abs(logits(net) - closed_form(net)).max() < 1e-12 * 2 * len(net.frequencies) * p


@pytest.mark.parametrize("frequencies", [[3, 4], [4, 6, 3], [6, 1], [6, 5]])
def test_frequencies_that_share_factors_with_p_add_if_no_factor_is_common_to_all(frequencies):
    net = modular_addition(12, frequencies)
    x, y = pairs(12)
    assert (logits(net).argmax(axis=1) == (x + y) % 12).all()


def test_a_factor_common_to_all_would_make_logits_equal():
    assert [np.cos(2 * np.pi * 3 * d / 12) for d in (0, 4, 8)] == pytest.approx([1, 1, 1])
    with pytest.raises(circuits.InputError, match="factor 3 in common: output classes that differ by 4 would have"):
        modular_addition(12, [3])


def test_the_alternating_frequency_of_even_p_is_one_like_the_others():
    net = modular_addition(6, [3, 1], amplitude=1.0)
    assert net.frequencies == (1, 3)
    only = logits(net) - logits(modular_addition(6, [1], amplitude=1.0))
    x, y = pairs(6)
    assert only == pytest.approx((-1.0) ** ((x + y)[:, None] - np.arange(6)), abs=1e-12)


@pytest.mark.parametrize(("p", "frequencies"), [(3, [1]), (31, [1, 5, 9]), (113, [7]), (97, [40, 41, 2, 3, 12])])
def test_the_loss_is_that_of_the_logits_and_small_by_default(p, frequencies):
    net = modular_addition(p, frequencies)
    found = logits(net)
    x, y = pairs(p)
    right = found[np.arange(p * p), (x + y) % p]
    others = np.exp(found - right[:, None]).sum(axis=1) - 1
    assert net.loss == pytest.approx(np.log1p(others).mean(), rel=1e-3)
    assert 1e-10 < net.loss < 1e-6


@pytest.mark.parametrize("which", range(6))
def test_no_neuron_of_a_frequency_can_be_spared(which):
    net = modular_addition(5, [1], amplitude=1.0)
    arrays = net.arrays()
    arrays["readout.W"][:, which] = 0
    x, y = pairs(5)
    hidden = np.stack([(row[x] + row[5 + y]) ** 2 for row in arrays["hidden.0.W"]])
    assert np.abs((arrays["readout.W"] @ hidden).T - closed_form(net)).max() > 0.1
