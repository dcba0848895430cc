"""Which measure moves first: lags against test accuracy, ranks, and what is passed over."""

import numpy as np
import pytest
import xarray as xr

import circuits
from circuits.analysis.progress.change_points import COUNTS, REFERENCE, VARIABLES, change_points, flattened
from circuits.analysis.progress.tables import lag_cell

EPOCHS = np.arange(0.0, 400.0, 2.0)
NAN = float("nan")


def curve(onset, end, before=0.0, after=1.0, size=0.0, purpose=0):
    """A ramp along log epoch with white noise."""
    with np.errstate(divide="ignore"):
        t = np.clip((np.log10(EPOCHS) - np.log10(onset)) / (np.log10(end) - np.log10(onset)), 0, 1)
    return before + (after - before) * t + size * np.random.default_rng(purpose).normal(size=len(EPOCHS))


def measures(**curves):
    """Measures (step, seed) from a list of one curve per seed."""
    coords = {"step": np.arange(len(EPOCHS)), "epoch": ("step", EPOCHS)}
    return {
        name: xr.DataArray(np.stack(of_seeds, axis=1), coords | {"seed": np.arange(len(of_seeds))}, ("step", "seed"))
        for name, of_seeds in curves.items()
    }


def test_lags_are_those_of_the_known_onsets_and_negative_for_what_moves_before():
    found = change_points(
        measures(
            test_accuracy=[curve(100, 200, 0.5, 1, 0.005, 1)],
            norm=[curve(60, 300, 9, 4, 0.05, 2)],
            late=[curve(150, 250, size=0.01)],
        ),
        np.array([20.0]),
    ).isel(seed=0)
    for name, onset in (("test_accuracy", 100), ("norm", 60), ("late", 150)):
        at = found.sel(measure=name)
        assert at["onset_low"] <= onset <= at["onset_high"]
        assert at["lag_low"] <= onset - 100 <= at["lag_high"]
        assert at["midpoint_lag_low"] <= at["midpoint_lag"] <= at["midpoint_lag_high"]
    assert found["direction"].values.tolist() == [1, -1, 1]
    assert found["rank"].values.tolist() == found["rank_high"].values.tolist() == [2, 1, 3]
    assert str(found["earliest"].values) == "norm"
    assert float(found["lag"].sel(measure="norm")) < 0 < float(found["lag"].sel(measure="late"))
    own = found.sel(measure="test_accuracy")
    assert (float(own["lag"]), float(own["lag_low"]), float(own["lag_high"])) == (0, 0, 0)


def test_what_does_not_move_has_no_onset_and_no_rank():
    still = np.random.default_rng(4).normal(size=len(EPOCHS))
    found = change_points(
        measures(test_accuracy=[curve(100, 200)], noise=[still], constant=[np.ones(len(EPOCHS))]), np.array([10.0])
    )
    for name in ("noise", "constant"):
        at = found.sel(measure=name, seed=0)
        assert all(np.isnan(at[key]) for key in VARIABLES if key not in COUNTS)
        assert [int(at[key]) for key in COUNTS] == [0, 0, 0]
        assert not at["onset_censored"]
        assert np.isnan(found["share"].sel(measure=name)).all()


def test_what_was_changing_already_is_an_upper_bound_and_the_earliest_if_its_interval_ends_before_all_others():
    found = change_points(
        measures(test_accuracy=[curve(100, 200)], drift=[curve(10, 60, 5, 2)]), np.array([20.0])
    ).isel(seed=0)
    at = found.sel(measure="drift")
    assert found["onset_censored"].values.tolist() == [False, True]
    assert (float(at["onset"]), float(at["onset_low"])) == (20, -np.inf)
    assert float(at["onset_high"]) < float(found["onset_low"].sel(measure="test_accuracy"))
    assert found["rank"].values.tolist() == [2, 1]
    assert str(found["earliest"].values) == "drift"


def test_two_measures_that_were_changing_already_are_tied():
    given = measures(test_accuracy=[curve(100, 200)], a=[curve(10, 60, 5, 2)], b=[curve(12, 70, 5, 2)])
    found = change_points(given, np.array([20.0])).isel(seed=0)
    assert found["onset_censored"].values.tolist() == [False, True, True]
    assert found["rank"].values.tolist() == [3, 1, 1]
    assert found["rank_high"].values.tolist() == [3, 2, 2]
    assert str(found["earliest"].values) == ""


def test_what_may_have_been_changing_already_keeps_a_later_measure_from_being_the_earliest():
    vague = curve(40, 390, 5, 2, 0.25, 1)
    found = change_points(measures(test_accuracy=[curve(100, 200)], vague=[vague]), np.array([30.0])).isel(seed=0)
    at = found.sel(measure="vague")
    assert 30 < float(at["onset"]) < 100
    assert float(at["onset_low"]) == -np.inf
    assert at["onset_censored"]
    assert str(found["earliest"].values) == ("vague" if float(at["onset_high"]) < 98 else "")


def test_an_end_at_the_last_checkpoint_is_a_lower_bound_and_a_midpoint_is_bounded_on_that_side():
    known = {"test_accuracy": [curve(100, 200)], "late": [curve(100, 500)], "drift": [curve(10, 500)]}
    found = change_points(measures(**known), np.array([20.0])).isel(seed=0)
    assert found["end_censored"].values.tolist() == [False, True, True]
    assert found["onset_censored"].values.tolist() == [False, False, True]
    assert found["end_high"].values[1:].tolist() == [np.inf, np.inf]
    late, drift = found.sel(measure="late"), found.sel(measure="drift")
    assert np.isfinite([late["midpoint"], late["midpoint_low"]]).all()
    assert late["midpoint_high"] == late["midpoint_lag_high"] == np.inf
    assert np.isnan([drift["midpoint"], drift["midpoint_lag"]]).all()
    assert (float(drift["midpoint_low"]), float(drift["midpoint_high"])) == (-np.inf, np.inf)


def test_lags_of_censored_onsets_are_bounds_and_of_two_are_unknown():
    late, early, up = curve(100, 200), curve(10, 60), curve(120, 300)
    found = change_points(measures(test_accuracy=[late, early], drift=[early, early], up=[up, up]), np.full(2, 20.0))
    drift, up = found.sel(measure="drift"), found.sel(measure="up")
    assert (float(drift["lag"][0]), float(drift["lag_low"][0])) == (pytest.approx(-80, abs=4), -np.inf)
    assert -np.inf < float(drift["lag_high"][0]) < -60
    assert np.isnan(drift["lag"][1])
    assert (float(drift["lag_low"][1]), float(drift["lag_high"][1])) == (-np.inf, np.inf)
    assert np.isfinite([up["lag_low"][0], up["lag_high"][0], up["lag"][1], up["lag_low"][1]]).all()
    assert float(up["lag_high"][1]) == np.inf
    own = found.sel(measure="test_accuracy")
    assert own["lag"].values.tolist() == own["lag_low"].values.tolist() == own["lag_high"].values.tolist() == [0, 0]


def test_what_a_ramp_explains_badly_is_ranked_but_never_named():
    bad = curve(40, 60, size=0.3, purpose=6)
    found = change_points(measures(test_accuracy=[curve(150, 200)], bad=[bad]), np.array([20.0])).isel(seed=0)
    at = found.sel(measure="bad")
    assert float(at["explained"]) < 0.9
    assert float(at["onset_high"]) < 140
    assert found["rank"].values.tolist() == found["rank_high"].values.tolist() == [2, 1]
    assert str(found["earliest"].values) == ""


@pytest.mark.parametrize("names", [["sharp", "noisy"], ["noisy", "sharp"]])
def test_of_those_that_begin_together_none_is_the_earliest(names):
    known = {"sharp": [curve(60, 300, size=0.02, purpose=1)], "noisy": [curve(60, 300, size=0.05, purpose=4)]}
    found = change_points(measures(**{name: known[name] for name in names}), np.array([20.0])).isel(seed=0)
    assert found["rank"].values.tolist() == [1, 1]
    assert found["rank_high"].values.tolist() == [2, 2]
    assert str(found["earliest"].values) == ""


def test_a_claim_comes_with_the_shares_of_choices_and_of_seeds_that_agree():
    first, then, both = curve(60, 120, 9, 4), curve(100, 200), curve(60, 120, 0.5, 1)
    given = measures(test_accuracy=[then, then, both], norm=[first, first, first])
    late, early = np.full(3, 80.0), np.full(3, 20.0)
    found = change_points(given, early, choices=[(early, False), (early, True), (np.array([20.0, 150, 20]), False)])
    assert found["earliest"].values.tolist() == ["norm", "norm", ""]
    np.testing.assert_allclose(found["earliest_choices"], [1, 2 / 3, np.nan])
    np.testing.assert_allclose(found["earliest_seeds"], [2 / 3, 2 / 3, np.nan])
    assert found["earliest_choices"].attrs["n_choices"] == 3
    assert np.isnan(change_points(given, early)["earliest_choices"]).all()
    assert change_points(given, late)["onset_censored"].sel(measure="norm").all()


def test_only_what_follows_memorization_counts_and_a_seed_that_never_memorized_is_looked_at_from_its_first_update():
    both = curve(4, 12, 0, 9) + curve(100, 200, 0, 0.8)
    found = change_points(measures(test_accuracy=[both, both]), np.array([40.0, NAN]))
    assert found["onset"].sel(measure="test_accuracy").values[0] == pytest.approx(100, abs=2)
    assert found["onset"].sel(measure="test_accuracy").values[1] < 20
    share = found["share"].sel(measure="test_accuracy")
    assert np.isnan(share.values[EPOCHS < 40, 0]).all()
    assert np.isfinite(share.values[EPOCHS >= 40, 0]).all()


def test_shares_go_from_0_to_1_whichever_way_the_measure_moves():
    found = change_points(measures(test_accuracy=[curve(100, 200)], down=[curve(60, 120, 40, 30)]), np.array([20.0]))
    for name in ("test_accuracy", "down"):
        share = found["share"].sel(measure=name, seed=0).values[EPOCHS >= 20]
        assert (share[0], share[-1]) == (pytest.approx(0, abs=0.02), pytest.approx(1, abs=0.02))


def test_a_measure_over_decades_is_taken_as_its_logarithm():
    decades = 10 ** curve(60, 200, -6, 0)
    found = change_points(
        measures(test_accuracy=[curve(100, 200)], loss=[decades], narrow=[curve(60, 90, 1, 5)]), np.array([20.0])
    )
    assert found["log_scale"].values.tolist() == [False, True, False]
    at = found.sel(measure="loss", seed=0)
    assert (float(at["onset"]), float(at["end"])) == (pytest.approx(60, abs=2), pytest.approx(200, abs=2))
    assert (float(at["before"]), float(at["after"])) == (pytest.approx(-6, abs=0.1), pytest.approx(0, abs=0.1))


def test_an_accuracy_is_never_taken_as_its_logarithm():
    from_chance = curve(100, 200, 0.01, 1)
    found = change_points(
        measures(test_accuracy=[from_chance], logit_share=[from_chance], loss=[from_chance]), np.array([20.0])
    )
    assert found["log_scale"].values.tolist() == [False, False, True]
    at = found.sel(measure="test_accuracy", seed=0)
    assert float(at["midpoint"]) == pytest.approx(np.sqrt(100 * 200), rel=0.02)


@pytest.mark.parametrize("asked", [True, False])
def test_the_scale_may_be_asked_for_but_not_of_accuracies(asked):
    given = measures(
        test_accuracy=[curve(100, 200, 0.01, 1)],
        narrow=[curve(60, 90, 1, 5)],
        wide=[curve(60, 90, 1, 500)],
        signed=[curve(60, 90, -1, 5)],
    )
    found = change_points(given, np.array([20.0]), log_scale=asked)
    assert found["log_scale"].values.tolist() == [False, asked, asked, asked]
    assert float(found["after"].sel(measure="narrow", seed=0)) == pytest.approx(np.log10(5) if asked else 5, rel=0.01)
    signed = found["share"].sel(measure="signed", seed=0).values[EPOCHS >= 20]
    left_out = given["signed"].values[EPOCHS >= 20, 0] <= 0
    assert np.isnan(signed[left_out]).all() == asked
    assert np.isfinite(signed[~left_out]).all()


def test_against_an_accuracy_that_falls_or_of_a_seed_that_did_not_generalize_there_are_no_lags():
    up, down, norm = curve(100, 200), curve(100, 200, 1, 0.2), curve(60, 120)
    still = np.random.default_rng(4).normal(size=len(EPOCHS))
    given = measures(test_accuracy=[up, down, up, still], norm=[norm] * 4)
    found = change_points(given, np.full(4, 20.0), generalized=np.array([True, True, False, True]))
    for name in (name for name in VARIABLES if "lag" in name):
        assert np.isfinite(found[name].sel(measure="norm")).values.tolist() == [True, False, False, False]
        assert np.isnan(found[name].values[0]).tolist() == [False, True, True, True]
    assert np.isfinite(found["onset"].sel(measure="norm")).all()
    assert np.isfinite(change_points(given, np.full(4, 20.0))["lag"].sel(measure="norm", seed=2))


def test_against_a_loss_that_falls_there_are_lags():
    found = change_points(
        measures(test_loss=[curve(100, 200, 2, 1)], norm=[curve(60, 120)]), np.array([20.0]), "test_loss"
    )
    assert float(found["lag"].sel(measure="norm", seed=0)) == pytest.approx(-40, abs=4)


def missed_lags(repeats, shared, size):
    """Shares of the intervals of a lag of -40 epochs that lie above it, and below it; errors may be shared."""
    missed = np.zeros(2)
    for repeat in range(repeats):
        random = np.random.default_rng(repeat)
        common, one, other = random.normal(size=(3, len(EPOCHS)))
        errors = [size * (np.sqrt(abs(shared)) * sign * common + np.sqrt(1 - abs(shared)) * own)
                  for sign, own in ((1, one), (np.sign(shared) if shared else 1, other))]  # fmt: skip
        known = {"test_accuracy": [curve(100, 200) + errors[0]], "norm": [curve(60, 300) + errors[1]]}
        at = change_points(measures(**known), np.array([20.0])).sel(measure="norm", seed=0)
        missed += at["lag_low"] > -40, at["lag_high"] < -40
    return missed / repeats


@pytest.mark.slow
def test_the_interval_of_a_lag_holds_the_truth_and_misses_it_on_either_side():
    above, below = missed_lags(60, 0.0, 0.2)
    assert above + below <= 0.05 + 2.5 * np.sqrt(0.05 * 0.95 / 60)
    assert max(above, below) <= 0.025 + 2.5 * np.sqrt(0.025 * 0.975 / 60)


@pytest.mark.slow
@pytest.mark.parametrize(
    "shared", [pytest.param(-0.5, marks=pytest.mark.long), 0.0, pytest.param(0.5, marks=pytest.mark.long)]
)
def test_the_interval_of_a_lag_holds_the_truth_as_often_as_the_documentation_says(shared):
    above, below = missed_lags(500, shared, 0.2)
    assert above + below <= 0.065 + 0.02
    assert above + below >= 0.001


def printed_bounds(repeats, size):
    """Of simulated censored ramps, whether the bounds in the table's cells hold, and whether the estimates would."""
    held, estimates = [], []
    for repeat in range(repeats):
        random = np.random.default_rng(repeat)
        onset = 10 ** random.uniform(np.log10(10), np.log10(60))
        known = {"test_accuracy": [curve(100, 200)], "drift": [curve(onset, onset * random.uniform(1.5, 6))]}
        known = {name: [of[0] + size * random.normal(size=len(EPOCHS))] for name, of in known.items()}
        at = change_points(measures(**known), np.array([20.0])).sel(measure="drift", seed=0)
        if at["onset_censored"]:
            of_onset, of_lag = lag_cell(at).removeprefix("≤ ").replace(",", "").split(" ↑: ≤ ")
            held.append((onset <= float(of_onset), onset - 100 <= float(of_lag)))
            estimates.append(onset <= at["onset"])
    return np.array(held), np.array(estimates)


@pytest.mark.slow
@pytest.mark.parametrize("size", [0.05, 0.2])
def test_the_bounds_that_are_printed_of_censored_onsets_and_lags_hold_and_the_estimates_would_not(size):
    held, estimates = printed_bounds(50, size)
    n = len(held)
    assert n >= 20
    assert (held.mean(axis=0) >= 0.95 - 2.5 * np.sqrt(0.95 * 0.05 / n)).all()
    assert estimates.mean() < 0.9


def test_without_the_reference_onsets_stand_alone():
    found = change_points(measures(norm=[curve(60, 120)]), np.array([20.0]))
    assert REFERENCE not in found["measure"]
    assert np.isnan(found["lag"]).all()
    assert np.isfinite(found["onset"]).all()


def test_seeds_that_diverge_have_no_transitions_of_their_own():
    broken = curve(100, 200)
    broken[30:] = NAN
    found = change_points(measures(test_accuracy=[curve(100, 200), broken]), np.array([50.0, 50.0]))
    assert np.isfinite(found["onset"].values[0, 0])
    assert np.isnan(found["onset"].values[0, 1])


def test_no_measure_at_all_is_refused():
    with pytest.raises(circuits.InputError, match="no measure to fit a ramp to"):
        change_points({}, np.array([1.0]))


def test_a_short_further_dimension_is_taken_apart_and_a_long_one_passed_over():
    sizes = {"step": 3, "seed": 2}

    def values(**more):
        dims = sizes | more
        return (tuple(dims), np.zeros(tuple(dims.values())))

    given = xr.Dataset(
        {
            "plain": values(),
            "by_label": values(key=2),
            "long": values(neuron=100),
            "two": values(a=2, b=2),
            "seeds": ("seed", [0, 1]),
        },
        {"key": ["k", "l"]},
    )
    assert list(flattened(given)) == ["plain", "by_label k", "by_label l"]
