from __future__ import annotations

from pathlib import Path

import pytest

import searchers.session
from search_spaces.budget import Budget
from search_spaces.fixed import FixedSpace
from searchers.algorithms.random import RandomSearch
from searchers.record import COMPLETED, DUPLICATE, FAILED, PRUNED, REFUSED, RUNNING
from searchers.searcher import Problem
from tests.searchers.fakes import choices, measure, named, optuna_trials, session
from tests.searchers.runtime import (
    ONE_ARCHITECTURE,
    ONE_IN_MANY,
    TWO_ARCHITECTURES,
    crash,
    end,
    learn,
    outcomes,
    proposed,
    run,
    two_at_a_time,
)


def test_it_trains_what_was_asked_for(tmp_path: Path) -> None:
    search = session(tmp_path, trials=4)
    records = run(search)
    assert outcomes(records)[COMPLETED] == 4
    assert (search.done, search.stopped, search.propose()) == (True, None, None)


def test_no_more_are_begun_than_were_asked_for(tmp_path: Path) -> None:
    search = session(tmp_path, trials=2)
    first, second = proposed(search), proposed(search)
    assert (search.propose(), search.done) == (None, False)
    end(search, first.number)
    assert (search.propose(), search.done) == (None, False)
    end(search, second.number, crash)
    assert (search.propose(), search.done) == (None, True)


def test_a_trial_is_begun_before_it_is_trained(tmp_path: Path) -> None:
    begun: dict[int, str] = {}
    search = session(tmp_path, begin=lambda number, architecture: begun.update({number: architecture.fingerprint()}))
    assignment = proposed(search)
    record = search.store.record(assignment.number)
    assert begun == {assignment.number: assignment.architecture.fingerprint()} == {record.number: record.fingerprint}
    assert not assignment.resumed
    assert record.facts["architecture"] == assignment.architecture.to_dict()
    assert record.facts["params"] == measure(assignment.architecture).params
    assert not search.done


def test_a_trial_that_reached_its_last_epoch_is_completed_and_an_earlier_end_is_the_scheduler(tmp_path: Path) -> None:
    search = session(tmp_path)
    whole = end(search, proposed(search).number, lambda *_: (0.5, 0.4))
    short = end(search, proposed(search).number, lambda *_: (0.6,))
    assert (whole.outcome, whole.error) == (COMPLETED, 0.4)
    assert (short.outcome, short.error) == (PRUNED, 0.6)
    assert short.facts["seconds"] >= 0


def test_what_is_out_of_budget_is_never_trained(tmp_path: Path) -> None:
    begun: list[int] = []
    budget = Budget(params=(None, 1000), serial_depth=(4, None))
    search = session(tmp_path, budget=budget, begin=lambda number, architecture: begun.append(number))
    records = run(search)
    refused = [record for record in records if record.outcome == REFUSED]
    assert refused
    assert begun == [record.number for record in records if record.outcome == COMPLETED]
    assert all(record.values["stage1.blocks"] == 1 for record in records if record.number in begun)
    assert {record.facts["reason"] for record in refused} <= {
        "params 2,000 is above its maximum 1,000", "params 3,000 is above its maximum 1,000"
    }  # fmt: skip
    assert all(record.facts["params"] > 1000 for record in refused)
    assert len(begun) == 4
    constraints = [named(trial) for trial in optuna_trials(tmp_path)]
    assert constraints == [{"params": r.facts["params"] / 1000 - 1} if r in refused else {} for r in records]


def test_what_does_not_decode_is_refused_with_the_reason(tmp_path: Path) -> None:
    search = session(tmp_path, choices(form=["plain", "bottleneck"], subgroups=[1, 2]), trials=3)
    refused = [record for record in run(search) if record.outcome == REFUSED]
    assert {(r.values["stage1.form"], r.values["stage1.subgroups"]) for r in refused} == {("plain", 2)}
    assert "stage 1: subgroups above 1 need form bottleneck" in refused[0].facts["reason"]
    assert named(optuna_trials(tmp_path)[refused[0].number]) == {"decodable": 1.0}


@pytest.mark.parametrize("errors", [(0.5, 0.4), (0.6,)], ids=["completed", "pruned"])
def test_a_duplicate_is_answered_without_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, errors: tuple[float, ...]
) -> None:
    monkeypatch.setattr(searchers.session, "GIVE_UP", 5)
    search = session(tmp_path, ONE_ARCHITECTURE, trials=2)
    original = end(search, proposed(search).number, lambda *_: errors)
    assert search.propose() is None
    duplicates = search.store.records()[1:]
    assert outcomes(duplicates) == {DUPLICATE: 5}
    assert all(record.errors == original.errors for record in duplicates)
    assert all(record.facts["duplicate_of"] == original.number for record in duplicates)


def test_duplicates_do_not_count(tmp_path: Path) -> None:
    search = session(tmp_path, TWO_ARCHITECTURES, trials=2)
    found = outcomes(run(search))
    assert found[COMPLETED] == 2
    assert found[DUPLICATE] > 0
    assert search.done


NOTHING_LEFT = "no new architecture within the budget is left in the space"


def test_a_space_of_which_nothing_is_left_stops_the_search_without_a_duplicate(tmp_path: Path) -> None:
    random_one = RandomSearch().bind(Problem(space=TWO_ARCHITECTURES))
    search = session(tmp_path, TWO_ARCHITECTURES, searcher=random_one, trials=3)
    assert outcomes(run(search)) == {COMPLETED: 2}
    assert (search.stopped, search.done, search.failed) == (NOTHING_LEFT, True, False)


def test_what_is_running_is_waited_for_when_nothing_is_left(tmp_path: Path) -> None:
    search = session(tmp_path, ONE_ARCHITECTURE, searcher=RandomSearch().bind(Problem(space=ONE_ARCHITECTURE)))
    number = proposed(search).number
    assert search.propose() is None
    assert (search.stopped, search.done) == (NOTHING_LEFT, False)
    end(search, number)
    assert (search.propose(), search.done) == (None, True)
    assert outcomes(search.store.records()) == {COMPLETED: 1}


def test_a_searcher_that_does_not_know_it_is_stopped_by_the_first_blind_proposal(tmp_path: Path) -> None:
    search = session(tmp_path, TWO_ARCHITECTURES, trials=3)
    found = outcomes(run(search))
    assert (found[COMPLETED], search.stopped) == (2, NOTHING_LEFT)
    assert searchers.session.RUT <= found[DUPLICATE] < 3 * searchers.session.RUT


def test_a_larger_space_is_given_up_after_many_proposals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searchers.session, "GIVE_UP", 60)
    search = session(tmp_path, ONE_IN_MANY, trials=3)
    assert outcomes(run(search)) == {COMPLETED: 1, DUPLICATE: 60}
    assert search.stopped == "no new architecture within the budget in the last 60 proposals"
    assert (search.done, search.failed) == (True, False)


def test_an_exhausted_search_waits_for_what_is_running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searchers.session, "GIVE_UP", 3)
    search = session(tmp_path, ONE_ARCHITECTURE)
    number = proposed(search).number
    assert search.propose() is None
    assert (search.stopped is not None, search.done) == (True, False)
    end(search, number)
    assert search.done
    assert outcomes(search.store.records()) == {COMPLETED: 1, DUPLICATE: 3}


def test_a_single_architecture_is_exhausted_by_one_trial(tmp_path: Path) -> None:
    fixed = FixedSpace(architecture="cifar_b_small")
    search = session(tmp_path, fixed, searcher=RandomSearch().bind(Problem(space=fixed)), trials=3)
    assert outcomes(run(search)) == {COMPLETED: 1}
    assert search.stopped == NOTHING_LEFT


@pytest.mark.parametrize(("errors", "outcome"), [((0.5, 0.4), COMPLETED), ((0.6,), PRUNED)])
def test_a_duplicate_of_a_running_trial_waits_for_its_end(
    tmp_path: Path, errors: tuple[float, ...], outcome: str
) -> None:
    search, first, second = two_at_a_time(tmp_path)
    assert end(search, first, lambda *_: errors).outcome == outcome
    waited = search.store.records()[1:second]
    assert outcomes(waited) == {DUPLICATE: second - 1}
    assert all((record.errors[1], record.facts["duplicate_of"]) == (errors[0], first) for record in waited)
    assert set(search.running) == {second}


def test_a_duplicate_of_a_running_trial_that_fails_is_answered_with_that(tmp_path: Path) -> None:
    search, first, second = two_at_a_time(tmp_path)
    end(search, first, crash)
    waited = search.store.records()[1:second]
    assert outcomes(waited) == {DUPLICATE: second - 1}
    assert all((record.error, record.facts["duplicate_of"]) == (None, first) for record in waited)


def test_a_failed_architecture_is_trained_when_it_is_proposed_again(tmp_path: Path) -> None:
    search = session(tmp_path, ONE_ARCHITECTURE, trials=2)
    first = end(search, proposed(search).number, crash)
    again = proposed(search)
    assert (again.number, again.architecture.fingerprint()) == (1, first.fingerprint)


def test_a_trial_that_raises_is_recorded_and_the_search_goes_on(tmp_path: Path) -> None:
    search = session(tmp_path)
    failed = end(search, proposed(search).number, crash)
    assert (failed.outcome, failed.error) == (FAILED, None)
    assert failed.facts["reason"] == "Traceback\nCrash: out of luck\n"
    assert outcomes(run(search))[COMPLETED] == 3
    assert (search.done, search.failed) == (True, False)


@pytest.mark.parametrize(
    ("errors", "reason"),
    [
        ((), "the trial ended without a result"),
        ((float("nan"),), "validation error nan after 1 epochs"),
        ((0.5, float("nan")), "validation error nan after 2 epochs"),
        ((0.5, float("inf")), "validation error inf after 2 epochs"),
    ],
)
def test_a_trial_without_a_result_has_failed(tmp_path: Path, errors: tuple[float, ...], reason: str) -> None:
    search = session(tmp_path)
    record = end(search, proposed(search).number, lambda *_: errors)
    assert (record.outcome, record.facts["reason"]) == (FAILED, reason)
    assert outcomes(run(session(tmp_path)))[COMPLETED] == 3


def test_failures_in_a_row_stop_the_search_with_the_reason(tmp_path: Path) -> None:
    search = session(tmp_path, trials=10, max_failures=3)
    assert outcomes(run(search, crash)) == {FAILED: 3}
    assert search.stopped == "3 trials failed in a row; the last one: Crash: out of luck"
    assert (search.failed, search.done) == (True, True)


def test_a_success_in_between_starts_the_count_anew(tmp_path: Path) -> None:
    search = session(tmp_path, trials=8, max_failures=2)
    run(search, lambda search, number: crash(search, number) if number % 2 else learn(search, number))
    assert (search.failed, search.done) == (False, True)


def test_what_was_running_when_the_search_failed_stays_open_for_a_resumed_one(tmp_path: Path) -> None:
    search = session(tmp_path, trials=10, max_failures=1)
    running, failing = proposed(search), proposed(search)
    search.on_epoch(running.number, {"epoch": 1, "validation_error": 0.5})
    end(search, failing.number, crash)
    search.on_end(running.number)
    assert search.done
    assert search.store.record(running.number).outcome == RUNNING
    resumed = session(tmp_path, trials=10)
    assert (proposed(resumed).number, resumed.failed) == (running.number, False)


def test_a_trial_that_ends_by_itself_after_the_search_failed_counts(tmp_path: Path) -> None:
    search = session(tmp_path, trials=10, max_failures=1)
    running, failing = proposed(search), proposed(search)
    end(search, failing.number, crash)
    assert end(search, running.number).outcome == COMPLETED
