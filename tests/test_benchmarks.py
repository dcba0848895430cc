"""The benchmarks find their own mistakes: a figure below its floor is an error. Nothing is timed here."""

import re

import pytest

import circuits

BENCHMARKS = str(circuits.__path__[0]).removesuffix("circuits") + "benchmarks"


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import floors
    import run

    rates = floors.Rates(1e9, 1e9, 1e9, 1e9)
    monkeypatch.setattr(floors, "rates", lambda folder: rates)
    return run


def row(name, pairs, least):
    from timing import Row

    return Row(name, "here", "there", "≤ 2", lambda folder: pairs, least)


def test_a_row_below_its_floor_is_printed_as_an_error_and_fails(bench, capsys):
    from floors import Work

    rows = [
        row("a lookup", [(2.0, 2e-7), (2.0, 3.0)], (Work(1e9), Work(1e9))),
        row("real work", [(2.0, 2.0)], (Work(1e9), None)),
    ]
    assert bench.main("", rows[1:], ()) == 0
    assert "error" not in capsys.readouterr().err
    assert bench.main("", rows, ()) == 1
    printed = capsys.readouterr()
    assert "error of the benchmark: a lookup: 'there' took 0.2 µs, but its work takes 1 s at least." in printed.err
    assert printed.err.count("error of the benchmark") == 1
    assert re.search(r"a lookup .* here 2 s \(floor 1 s\) .* there 1.5 s \(floor 1 s\)", printed.out)


def test_a_word_that_no_row_has_is_refused_with_the_rows(bench, capsys):
    rows = [row("real work", [(2.0, 2.0)], (None, None)), row("a lookup", [(2.0, 2.0)], (None, None))]
    assert bench.main("nothing-like-it", rows) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == (
        "error: No row has 'nothing-like-it' in its name. There are: real work, a lookup, scaling, floors.\n"
    )


@pytest.mark.parametrize(
    ("work", "expected"),
    [
        ({"multiply_adds": 3e9, "moved": 1e9}, 3.0), ({"multiply_adds": 3e9, "moved": 4e9, "cores": 2}, 2.0),
        ({"multiply_adds": 1e9, "stored": 5e9, "cores": 2}, 5.0),
    ],
)  # fmt: skip
def test_a_floor_is_the_longest_of_its_parts_and_storing_has_no_cores(bench, work, expected):
    from floors import Rates, Work

    assert Work(**work).floor(Rates(1e9, 1e9, 1e9, 1e9)) == expected


def test_every_row_has_a_floor_and_only_a_limit_has_none(bench):
    for one in bench.ROWS:
        first, second = one.least
        assert first.floor(bench.floors.rates(None)) > 0
        assert second is None if one.denominator == "of" else second.floor(bench.floors.rates(None)) > 0


def test_sizes_that_cost_less_than_their_work_are_errors(bench):
    from scaling import SIZES, errors

    rates = bench.floors.rates(None)
    sizes = SIZES["seeds"][0]
    lookup = {("effective sparsity", "seeds"): [[1e9] * 3 + [1e-6]]}
    assert len(errors(lookup, rates)) == 1
    assert f"effective sparsity at {sizes[3]} seeds took" in errors(lookup, rates)[0]
    assert errors({("training", "seeds"): [[1e9] * 4]}, rates) == []
