"""Fourier analysis held against networks whose circuit is known: one built by hand, and one that is random."""

import numpy as np
import pytest

import circuits
from circuits.constructions import modular_addition
from circuits.convert import from_construction


def analyzed(folder, p, frequencies, **options):
    """The measurement `fourier` of a hand-built network."""
    net = modular_addition(p, frequencies)
    with from_construction(net, folder / f"{p}-{'-'.join(map(str, frequencies))}.h5", **options) as run:
        return net, circuits.analyze(run, "fourier")["fourier"].isel(step=0, seed=0)


CASES = [
    (7, [3]), (10, [1, 4]), (12, [3, 4]), (13, range(1, 7)), (31, [1, 5, 9]),
    pytest.param(31, range(1, 16), marks=pytest.mark.slow), pytest.param(53, [2, 26], marks=pytest.mark.slow),
]  # fmt: skip


@pytest.mark.parametrize(("p", "frequencies"), CASES)
def test_a_hand_built_network_has_exactly_its_key_frequencies(tmp_path, p, frequencies):
    _, found = analyzed(tmp_path, p, list(frequencies))
    assert found["frequency"].values[found["key"].values].tolist() == list(frequencies)
    assert float(found["key_logit_share"]) == pytest.approx(1)


@pytest.mark.parametrize(("p", "frequencies"), CASES)
def test_without_its_key_frequencies_a_hand_built_network_is_at_chance_and_with_them_alone_it_is_itself(
    tmp_path, p, frequencies
):
    net, found = analyzed(tmp_path, p, list(frequencies))
    assert found["excluded_loss"].values == pytest.approx(np.log(p))
    assert found["restricted_loss"].values == pytest.approx(found["loss"].values, rel=1e-6)
    assert found["loss"].values == pytest.approx(net.loss, rel=1e-6)


def test_taking_one_of_its_frequencies_away_hurts_and_taking_another_changes_nothing(tmp_path):
    net, found = analyzed(tmp_path, 31, [1, 5, 9])
    excluded = found["excluded_loss_of"].sel(set="all")
    assert (excluded.sel(frequency=[1, 5, 9]) > 100 * net.loss).all()
    others = [k for k in range(1, 16) if k not in (1, 5, 9)]
    assert excluded.sel(frequency=others).values == pytest.approx(net.loss, rel=1e-6)
    assert found["restricted_loss_of"].sel(set="all", frequency=others).values == pytest.approx(np.log(31))


def test_its_weights_and_neurons_have_its_frequencies_and_the_phase_relation(tmp_path):
    _, found = analyzed(tmp_path, 31, [2, 7])
    others = [k for k in range(1, 16) if k not in (2, 7)]
    for name in ("embedding_norm", "unembedding_norm", "neuron_logit_norm"):
        norms = found[name]
        assert (norms.sel(frequency=[2, 7]) > 1).all()
        assert float(norms.sel(frequency=others).max()) == pytest.approx(0, abs=1e-6)
    assert found["cluster_size"].sel(frequency=[2, 7]).values.tolist() == [6, 6]
    assert float(found["phase_agreement"]) == pytest.approx(1, abs=1e-5)


def test_the_alternating_frequency_has_no_phase_and_is_left_out_of_the_agreement(tmp_path):
    _, found = analyzed(tmp_path, 12, [1, 6])
    alternating = found["neuron_frequency"].values == 6
    assert alternating.any()
    assert np.isnan(found["phase_residual"].values[alternating]).all()
    assert float(found["phase_agreement"]) == pytest.approx(1, abs=1e-5)


def test_an_untrained_network_has_no_key_frequency_and_says_what_that_means(tmp_path):
    config = circuits.preset("modular-31").replace(epochs=0, seeds=(0, 1))
    with circuits.train(config, tmp_path / "untrained.h5", progress=False) as run:
        found = circuits.analyze(run, "fourier")["fourier"]
    assert not found["key"].any()
    assert found["excluded_loss"].values == pytest.approx(found["loss"].values)
    assert "seed 0 has no key frequency" in found.attrs["warnings"][0]
