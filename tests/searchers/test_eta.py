from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from searchers.eta import survival, work_left


def epochs_left(shares: Sequence[float], done: int | None) -> float:
    """Where all epochs cost the same."""
    return work_left(shares, [1.0] * len(shares), done)


def test_where_nothing_is_stopped_every_trial_takes_all_epochs() -> None:
    shares = survival({4: 3}, [1, 2], epochs=4)
    assert shares == [1, 1, 1, 1]
    assert epochs_left(shares, None) == 4
    assert [epochs_left(shares, done) for done in (0, 1, 3)] == [4, 3, 1]


def test_a_running_trial_counts_as_far_as_it_got() -> None:
    """After epoch 1 two of six went no further: those that got there, and the one that is always added."""
    assert survival({1: 2, 4: 1}, [1, 3, 0], epochs=4) == pytest.approx([1, 4 / 6, 4 / 6, 4 / 6])


def test_trials_that_fail_before_their_first_epoch_end_after_none() -> None:
    shares = survival({0: 1, 2: 1}, [0, 0], epochs=2)
    assert shares == pytest.approx([2 / 3, 2 / 3])
    assert epochs_left(shares, None) == pytest.approx(4 / 3)


def test_a_trial_past_a_rung_is_not_stopped_there() -> None:
    shares = survival({1: 30, 4: 10}, [], epochs=4)
    assert epochs_left(shares, None) < 2
    assert epochs_left(shares, 1) == 3
    assert epochs_left(shares, 4) == 0


def test_one_trial_that_is_stopped_at_once_does_not_stand_for_all() -> None:
    assert epochs_left(survival({1: 1}, [0, 0, 0], epochs=9), None) == 1 + 8 / 2


def test_with_many_trials_it_is_their_mean() -> None:
    rng = random.Random(0)
    lengths = rng.choices([1, 3, 9], [6, 3, 1], k=2000)
    ended = {length: lengths.count(length) for length in (1, 3, 9)}
    assert epochs_left(survival(ended, [], epochs=9), None) == pytest.approx(sum(lengths) / 2000, rel=0.01)


def test_running_trials_that_are_far_from_their_end_make_it_no_shorter() -> None:
    """Of ten trials that began together, the six that are stopped end first; their mean alone would be 1 epoch."""
    assert epochs_left(survival({1: 6}, [1, 1, 1, 1], epochs=9), None) == pytest.approx(1 + 8 * 5 / 11)


def test_later_epochs_may_cost_more() -> None:
    shares, costs = survival({1: 3}, [], epochs=3), [1.0, 4.0, 16.0]
    assert work_left(shares, costs, None) == pytest.approx(1 + 20 / 4)
    assert [work_left(shares, costs, done) for done in (0, 1, 2, 3)] == pytest.approx([1 + 20 / 4, 20, 16, 0])
