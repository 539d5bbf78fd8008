from __future__ import annotations

from dataclasses import replace

import pytest

from searchers.record import COMPLETED, DUPLICATE, FAILED, PRUNED, REFUSED, RUNNING
from tests.searchers.trials import Clock, tally, trial


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_it_counts_what_was_there_and_what_ends() -> None:
    history = [trial(0), trial(1, PRUNED, 0.5), trial(2, RUNNING, 0.5), trial(3, DUPLICATE), trial(4, REFUSED)]
    search = tally(history)
    assert search.outcomes == {COMPLETED: 1, PRUNED: 1, DUPLICATE: 1, REFUSED: 1}
    search.begin(trial(2, RUNNING, 0.5))
    search.end(trial(2, FAILED))
    search.end(trial(5, DUPLICATE))
    assert search.outcomes == {COMPLETED: 1, PRUNED: 1, FAILED: 1, DUPLICATE: 2, REFUSED: 1}
    assert search.trained == 3


def test_running_trials_are_those_begun_and_not_ended(clock: Clock) -> None:
    search = tally()
    search.begin(trial(0, RUNNING))
    clock.now += 5
    search.begin(trial(1, RUNNING))
    search.epoch(trial(0, RUNNING, 0.5))
    clock.now += 1
    assert [(r.record.number, r.record.error, r.elapsed) for r in search.running] == [(0, 0.5, 6), (1, None, 1)]
    assert search.end(trial(0, COMPLETED, 0.5))
    assert not search.end(trial(2, DUPLICATE, 0.5))
    assert [r.record.number for r in search.running] == [1]


def test_a_member_of_a_population_rests_and_begins_again(clock: Clock) -> None:
    search = tally(trials=2)
    search.begin(trial(0, RUNNING))
    search.begin(trial(1, RUNNING))
    search.rest(trial(0, RUNNING, 0.5))
    assert [running.record.number for running in search.running] == [1]
    search.begin(trial(0, RUNNING, 0.5))
    search.rest(trial(1, RUNNING, 0.5))
    assert [running.record.number for running in search.running] == [0]
    assert search.end(trial(1, PRUNED, 0.5, recipe={})), "it ends at rest"
    assert not search.end(trial(1, PRUNED, 0.5, recipe={}))


def test_what_another_one_takes_the_place_of_does_not_count(clock: Clock) -> None:
    recipe = {"recipe": {"learning_rate": 0.1}}
    search = tally(
        [trial(0, COMPLETED, *[0.5] * 4, **recipe), trial(1, PRUNED, 0.5, **recipe)], trials=3, concurrency=1
    )
    assert search.trained == 1 and search.outcomes[PRUNED] == 1
    child = trial(2, RUNNING, parent=0, begun=1, **recipe)
    search.begin(child)
    assert search.left == pytest.approx(10 * (3 + 4)), "three epochs of the child, and a whole trial"
    search.rest(replace(child, errors={2: 0.5}))
    assert search.left == pytest.approx(10 * (2 + 4))


def test_the_best_is_the_one_that_came_furthest_with_the_lowest_error() -> None:
    search = tally([trial(0, FAILED)])
    assert search.best is None
    found = []
    for record in (trial(1, PRUNED, 0.1), trial(2, COMPLETED, 0.5, 0.4), trial(3, COMPLETED, 0.5, 0.3), trial(4)):
        search.end(record)
        assert search.best is not None
        found.append(search.best.number)
    assert found == [1, 2, 3, 3]


def test_the_front_holds_what_nothing_dominates() -> None:
    search = tally([trial(0, COMPLETED, 0.5, macs=10)], objectives=("error", "macs"))
    sizes = []
    for record in (
        trial(1, COMPLETED, 0.4, macs=20),
        trial(2, COMPLETED, 0.6, macs=30),
        trial(3, PRUNED, 0.1, macs=1),
        trial(4, COMPLETED, 0.3, macs=5),
    ):
        search.end(record)
        sizes.append(search.front)
    assert sizes == [2, 2, 2, 1]


def test_trials_an_hour_are_those_of_this_process(clock: Clock) -> None:
    search = tally([trial(0, COMPLETED, 0.5)])
    clock.now += 60
    assert search.per_hour is None
    search.end(trial(1, DUPLICATE, 0.5))
    assert search.per_hour is None
    search.end(trial(2, COMPLETED, 0.5))
    search.end(trial(3, FAILED))
    assert (search.per_hour, search.elapsed) == (120, 60)


def test_before_a_trial_ended_with_a_result_nobody_knows_how_long_it_takes() -> None:
    search = tally()
    search.begin(trial(0, RUNNING))
    search.epoch(trial(0, RUNNING, 0.5))
    search.end(trial(1, FAILED))
    search.end(trial(2, REFUSED))
    assert search.left is None


def test_time_left_is_that_of_the_running_and_of_those_to_come(clock: Clock) -> None:
    """Four epochs of ten seconds each, two trials at a time: 40 s less 15 s, and three times 40 s."""
    search = tally([trial(0, COMPLETED, *[0.5] * 4)], trials=5)
    search.begin(trial(1, RUNNING))
    clock.now += 10
    search.epoch(trial(1, RUNNING, 0.5))
    clock.now += 5
    assert search.left == pytest.approx((25 + 3 * 40) / 2)


def test_the_last_trial_takes_as_long_as_it_takes(clock: Clock) -> None:
    search = tally([trial(0, COMPLETED, *[0.5] * 4)], trials=3)
    search.begin(trial(1, RUNNING))
    search.begin(trial(2, RUNNING, 0.5, 0.5, 0.5))
    assert search.left == pytest.approx(40)
    clock.now += 1000
    assert search.left == 0


def test_so_does_one_that_is_yet_to_begin() -> None:
    assert tally([trial(0, COMPLETED, *[0.5] * 4)], trials=2).left == pytest.approx(40)


def test_a_resumed_trial_has_only_the_rest_to_go() -> None:
    search = tally([trial(0, COMPLETED, *[0.5] * 4), trial(1, RUNNING, 0.5, 0.5, 0.5)], trials=2)
    search.begin(trial(1, RUNNING, 0.5, 0.5, 0.5))
    assert search.left == pytest.approx(10)


def test_pruned_ones_shorten_the_time_left() -> None:
    whole = [trial(0, COMPLETED, *[0.5] * 4)]
    pruned = [trial(number, PRUNED, 0.5) for number in (1, 2)]
    assert tally(whole, trials=9).left == pytest.approx(8 * 40 / 2)
    assert tally([*whole, *pruned], trials=9).left == pytest.approx(6 * 10 * (1 + 3 * 2 / 4) / 2)


def test_epochs_of_a_trial_that_grows_are_not_taken_for_equal(clock: Clock) -> None:
    """20 s for the two epochs of a pruned trial are a second each for what they cost: 10, 10, 40 and 40 in all."""
    search = tally([trial(0, PRUNED, 0.5, 0.5)], trials=2, costs=(10, 10, 40, 40))
    search.begin(trial(1, RUNNING, 0.5, 0.5, 0.5))
    clock.now += 5
    assert search.left == pytest.approx(35)


def test_a_trial_without_seconds_tells_nothing_of_time() -> None:
    assert tally([trial(0, COMPLETED, 0.5, seconds=None)]).left is None


def test_a_search_that_is_done_has_nothing_to_go() -> None:
    assert tally([trial(0, COMPLETED, 0.5)], trials=1).left == 0
