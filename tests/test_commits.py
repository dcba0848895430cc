"""How many checkpoints a list of steps says there are, and what it calls damage."""

from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from circuits.checkpoints.commits import UNWRITTEN, n_committed

PLANNED = np.array([0, 7, 14, 300, 70_000])


def written(n):
    return np.where(np.arange(len(PLANNED)) < n, PLANNED, UNWRITTEN)


@pytest.mark.parametrize("n", range(6))
def test_what_is_written_counts(n):
    assert n_committed(written(n), PLANNED) == n


@given(st.integers(0, 4), st.integers(0, 7), st.booleans())
def test_a_write_of_the_last_step_that_was_cut_anywhere_is_not_committed(n, cut, undone):
    values = written(n)
    raw, other = (np.array([value], "<i8").tobytes() for value in (PLANNED[n], UNWRITTEN))
    old, new = (raw, other) if undone else (other, raw)
    values[n] = np.frombuffer(new[:cut] + old[cut:], "<i8")[0]
    assert n_committed(values, PLANNED) == n + (values[n] == PLANNED[n])


@given(st.integers(1, 5), st.integers(0, 4), st.integers(0, 63))
def test_a_flipped_bit_is_damage_or_leaves_what_a_cut_would_and_never_adds_a_checkpoint(n, place, bit):
    values = written(n)
    values[place] ^= np.int64(1) << np.int64(bit)
    if place < n - 1 or place > n:  # neither the last one nor the one after it
        with pytest.raises(ValueError, match=rf"step\[{place}\]"):
            n_committed(values, PLANNED)
    else:
        with suppress(ValueError):
            assert n_committed(values, PLANNED) <= n


def test_a_step_after_an_unwritten_entry_is_named():
    with pytest.raises(ValueError, match=r"step\[1\] is -1 \(not written\), but the later entry step\[2\] is 14"):
        n_committed(np.array([0, -1, 14, -1]), PLANNED)


def test_more_steps_than_are_planned_are_damage():
    with pytest.raises(ValueError, match="step has 6 entries, but the config plans 5"):
        n_committed(np.append(PLANNED, 80_000), PLANNED)
