"""The preset merrill-2023 at full size, as the paper's section 2 gives it."""

import numpy as np
import pytest

import circuits
from circuits.analysis.options import Options

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def results(flagship_path):
    with circuits.open(flagship_path) as run:
        found = circuits.analyze(run, "subnetwork", "norms", "faithfulness")
        return found | circuits.analyze(run, "constructions", options=Options(checkpoints="-50:"))  # 0.1 s per network


def test_every_seed_memorizes_then_generalizes(results):
    found = results["subnetwork"]
    assert (found["memorization_epoch"] < 60).all()
    assert (found["generalization_epoch"] < 200).all()
    assert (found["grokking_delay"] > 50).all()


def test_the_network_becomes_orders_of_magnitude_sparser(results, capsys):
    found = results["subnetwork"]
    with capsys.disabled():
        print(f"\nmedian size over the last 50 checkpoints: {found['late_sparsity'].sel(statistic='median').values}")
        print(f"size at the last checkpoint: {found['final_sparsity'].values}; Merrill et al. 2023: 6, 6, 6, 8, 8")
    assert (found["memorizing_sparsity"] > 500).all()
    assert (found["late_sparsity"].sel(statistic="median") < 20).all()


def test_the_generalizing_subnetwork_takes_over(results):
    agreement = results["faithfulness"]["agreement"].mean("seed")
    norm = results["norms"]["group_norm"].mean("seed")
    assert agreement.sel(group="generalizing").isel(step=slice(-20, None)).min() > 0.99
    assert agreement.sel(group="generalizing").isel(step=30) < 0.7
    assert agreement.sel(group="complementary").isel(step=30) > 0.9
    assert agreement.sel(group="complementary").isel(step=-1) < 0.95
    assert norm.sel(group="generalizing").isel(step=-1) > 2 * norm.sel(group="generalizing").isel(step=36)
    for group in ("complementary", "control"):
        assert norm.sel(group=group).isel(step=-1) < 0.2 * norm.sel(group=group).isel(step=36)


def test_seed_3_alone_equals_seed_3_of_five_at_full_size(flagship_path, tmp_path):
    config = circuits.preset("merrill-2023").replace(seeds=[3])
    with circuits.train(config, tmp_path / "one.h5", progress=False) as one, circuits.open(flagship_path) as five:
        for name in ("W", "b", "u"):
            alone = one.parameters[name].isel(seed=0).values
            assert np.array_equal(alone, five.parameters[name].sel(seed=3).values)


def test_merging_gives_four_to_eight_elements_where_single_readings_scatter(results, capsys):
    found = results["constructions"]
    with capsys.disabled():
        print(f"\nmerged sparsity over the last 50, min median max: {found['late_merged'].values.T.tolist()}")
        print(f"verdicts: {found['verdict'].values.tolist()}")
    assert (found["late_merged_defined"] >= 40).all()
    assert found["late_merged"].min() >= 4
    assert found["late_merged"].max() <= 8


def test_every_neuron_of_every_final_subnetwork_is_an_and_or_a_majority_gate(results):
    found = results["constructions"]
    there = found["neuron_index"].values >= 0
    assert {name[0] for name in found["gate"].values[there]} <= {"A", "M"}
    assert (found["gate_cosine"].values[there] > 0.99).all()
    assert (found["sign_agrees"].values[there] == 1).all()
    assert (found["bit_found"].values == (np.arange(40) < 3)).all()


def test_the_final_networks_pay_at_most_a_quarter_more_than_the_least_possible(results, capsys):
    found = results["constructions"]
    with capsys.disabled():
        print(f"\ncost per margin {found['final_cost_per_margin'].sel(part='network').values}, least possible 8")
    assert float(found["least_cost"]) == pytest.approx(8)
    assert (found["efficiency"].isel(step=-1) > 0.8).all()
    assert (found["final_resolved"].sel(part="network") < 9).all()
