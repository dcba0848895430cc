"""Ranks and the earliest measure by intervals: a slow oracle, closed forms, and what is said of them."""

import numpy as np
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from circuits.analysis.progress.earliest import agreement, earliest_measures, earliest_summary, ranks, tied

ENDS = st.lists(st.tuples(st.integers(0, 9) | st.just(-np.inf), st.integers(0, 9)), min_size=1, max_size=6)


@given(ENDS)
def test_ranks_count_the_measures_that_are_surely_before_and_those_that_are_not_surely_after(ends):
    low = np.array([[min(a, b)] for a, b in ends], float)
    high = np.array([[max(a, b)] for a, b in ends], float)
    least, greatest = ranks(low, high)
    for one in range(len(ends)):
        assert least[one, 0] == 1 + sum(high[other, 0] < low[one, 0] for other in range(len(ends)))
        assert greatest[one, 0] == len(ends) - sum(high[one, 0] < low[other, 0] for other in range(len(ends)))
    names = [str(index) for index in range(len(ends))]
    (earliest,) = earliest_measures(names, low, high, np.ones_like(low))
    alone = [name for name, of in zip(names, greatest[:, 0], strict=True) if of == 1]
    assert [earliest] == (alone or [""])
    assert len(alone) <= 1


def test_intervals_that_touch_are_not_separated_and_what_does_not_change_does_not_compete():
    low, high = np.array([[2.0], [5.0], [np.nan]]), np.array([[5.0], [9.0], [np.nan]])
    assert earliest_measures(["a", "b", "c"], low, high, np.ones((3, 1))) == [""]
    low[1] = 5.5
    assert earliest_measures(["a", "b", "c"], low, high, np.ones((3, 1))) == ["a"]
    assert ranks(low, high)[0].ravel().tolist() == [1, 2, 0]


def test_a_badly_explained_measure_blocks_and_is_not_named():
    low, high = np.array([[1.0], [5.0]]), np.array([[2.0], [9.0]])
    assert earliest_measures(["a", "b"], low, high, np.array([[0.89], [1.0]])) == [""]
    assert earliest_measures(["a", "b"], low, high, np.array([[0.9], [1.0]])) == ["a"]


def test_agreement_counts_only_the_same_name():
    of_choices, of_seeds = agreement(["a", "b", "a"], [["a", "a", ""], ["a", "b", "a"]])
    assert of_choices.tolist() == [1, 0.5, 0.5]
    np.testing.assert_allclose(of_seeds, [2 / 3, 1 / 3, 2 / 3])
    assert np.isnan(agreement(["a"], [])[0]).all()


def dataset(earliest, choices=None):
    ends = {"rank": [[1, 1], [1, 2], [2, 0]], "onset_high": [[9.0, 3.0], [4.0, 8.0], [20.0, np.nan]]}
    coords = {"measure": ["a", "b", "c"], "seed": [0, 1]}
    result = xr.Dataset({name: (("measure", "seed"), values) for name, values in ends.items()}, coords)
    shares = [np.nan, np.nan] if choices is None else choices
    return result.assign(earliest=("seed", earliest), earliest_choices=("seed", shares, {"n_choices": 8}))


def test_the_tied_are_those_of_rank_1_by_the_high_end():
    assert tied(dataset(["", ""]), 0) == ["b", "a"]
    assert tied(dataset(["", ""]), 1) == ["a"]


def test_the_sentence_names_seeds_and_choices_or_says_that_there_is_none():
    assert earliest_summary(dataset(["", ""])) == "No measure is surely the earliest in any seed."
    assert earliest_summary(dataset(["", "a"], [np.nan, 0.75])) == (
        "Earliest by its interval: a in 1 of 2 seeds (6 of 8 analysis choices agree); none in 1."
    )
    assert earliest_summary(dataset(["a", "a"], [1.0, 0.5])) == (
        "Earliest by its interval: a in 2 of 2 seeds (4 to 8 of 8 analysis choices agree)."
    )
