"""Several drivers of one study: what each of them trains, waits for, counts and goes on with."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from sqlalchemy.exc import OperationalError

from searchers.record import COMPLETED, DUPLICATE, FAILED, PRUNED, REFUSED, RUNNING, TRAINED, TrialRecord
from searchers.session import Session
from tests.searchers.fakes import Recorder, Watcher, choices, drawn
from tests.searchers.runtime import ONE_ARCHITECTURE, crash, end, outcomes, proposed, run
from tests.searchers.shared import TAKEOVER, Drivers

TWO_WINDOWS = choices(window=["dense", 1])
"""Two architectures of a knob vector each."""


@pytest.fixture
def drivers(tmp_path: Path) -> Iterator[Drivers]:
    made = Drivers(tmp_path)
    yield made
    made.close()


def records(search: Session) -> list[TrialRecord]:
    """The study as this driver knows it, once it has looked."""
    search._look()
    assert list(search.history) == search.store.records()
    return list(search.history)


def same(search: Session, values: Any) -> None:
    """Have it propose these values from here on."""
    search.searcher = lambda history, generator: dict(values)


def fail_store(monkeypatch: pytest.MonkeyPatch, method: str, error: Exception | None = None) -> None:
    """Have calls of the database fail."""

    def failing(*args: Any, **kwargs: Any) -> Any:
        raise StorageInternalError from (error or OperationalError("SELECT", {}, Exception("the server has gone")))

    monkeypatch.setattr(RDBStorage, method, failing)


def test_two_drivers_train_what_was_asked_for_of_the_study(drivers: Drivers) -> None:
    a, b = drivers.session("a", trials=6), drivers.session("b", trials=6)
    while not (a.done and b.done):
        for search in (a, b):
            if (assignment := search.propose()) is not None:
                end(search, assignment.number)
    found = records(a)
    assert found == records(b)
    trained = [record for record in found if record.outcome in TRAINED]
    assert len(trained) == len({record.fingerprint for record in trained}) == 6
    assert {record.where for record in trained} == {f"host:{drivers.folder_of(name)}" for name in "ab"}
    assert a.propose() is b.propose() is None


def test_drivers_of_the_same_seed_propose_differently(drivers: Drivers) -> None:
    a, b = drivers.session("a"), drivers.session("b")
    first, second = proposed(a), proposed(b)
    assert a.history[first.number].values != b.history[second.number].values


def test_what_another_driver_has_trained_is_answered(drivers: Drivers) -> None:
    a, b = drivers.session("a", ONE_ARCHITECTURE), drivers.session("b", ONE_ARCHITECTURE)
    ended = end(a, proposed(a).number)
    same(b, {**ended.values, "stage1.window": "dense"})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("searchers.session.GIVE_UP", 1)
        assert b.propose() is None
    last = records(b)[-1]
    assert (last.outcome, last.facts["duplicate_of"], last.errors) == (DUPLICATE, 0, ended.errors)


@pytest.mark.parametrize("outcome", [COMPLETED, FAILED])
def test_what_another_driver_trains_is_waited_for(
    drivers: Drivers, monkeypatch: pytest.MonkeyPatch, outcome: str
) -> None:
    monkeypatch.setattr("searchers.session.IDLE", 0.0)
    monkeypatch.setattr("searchers.session.GIVE_UP", 1)
    a, b = drivers.session("a", ONE_ARCHITECTURE, trials=2), drivers.session("b", ONE_ARCHITECTURE, trials=2)
    first = proposed(a)
    assert (b.propose(), [record.outcome for record in records(b)], b.done) == (None, [RUNNING, RUNNING], False)
    ended = end(a, first.number, *([crash] if outcome == FAILED else []))
    assert ended.outcome == outcome
    assert b.propose() is None
    waited = records(b)[1]
    assert (waited.outcome, waited.facts["duplicate_of"], waited.errors) == (DUPLICATE, 0, ended.errors)
    assert b.done
    assert records(a) == records(b)


def test_the_first_of_two_that_begin_the_same_at_once_trains_it(
    drivers: Drivers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other driver begins it after this one has looked what there is."""
    a, b = drivers.session("a", ONE_ARCHITECTURE), drivers.session("b", ONE_ARCHITECTURE)
    monkeypatch.setattr("searchers.session.GIVE_UP", 1)
    begun: list[int] = []

    def late(history: Any, generator: Any) -> dict[str, Any]:
        begun.append(proposed(a).number)
        return drawn(1, ONE_ARCHITECTURE)

    b.searcher = late
    assert (b.propose(), begun) == (None, [0])
    assert [record.outcome for record in records(b)] == [RUNNING, RUNNING]
    assert (list(a.running), list(b.running)) == ([0], [])


def test_the_last_trial_is_begun_by_one_driver(drivers: Drivers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("searchers.session.IDLE", 0.0)
    a, b = drivers.session("a", trials=1), drivers.session("b", trials=1)
    begun: list[int] = []

    def late(history: Any, generator: Any) -> dict[str, Any]:
        begun.append(proposed(a).number)
        return drawn(99)

    b.searcher = late
    assert (b.propose(), begun) == (None, [0])
    last = records(b)[-1]
    assert (last.outcome, last.short_reason) == (REFUSED, "another driver has begun the last trial meanwhile")
    assert not b.done  # the trial may yet turn out to be beyond a limit
    end(a, 0)
    assert (b.propose(), b.done) == (None, True)


def test_a_killed_driver_goes_on_with_its_own_trials(drivers: Drivers) -> None:
    killed, other = drivers.session("a", trials=4), drivers.session("b", trials=4)
    mine, theirs = proposed(killed), proposed(other)
    killed.on_epoch(mine.number, {"epoch": 1, "validation_error": 0.5})
    again = drivers.session("a", trials=4)
    first = proposed(again)
    assert (first.number, first.architecture, first.resumed) == (mine.number, mine.architecture, True)
    assert not proposed(again).resumed
    assert theirs.number not in again.running
    assert proposed(other).number == 3
    assert other.propose() is again.propose() is None  # four are being trained


def test_a_driver_that_comes_back_trains_what_the_other_one_waits_for(
    drivers: Drivers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("searchers.session.GIVE_UP", 1)
    monkeypatch.setattr("searchers.session.IDLE", 0.0)
    killed, other = drivers.session("a", ONE_ARCHITECTURE), drivers.session("b", ONE_ARCHITECTURE)
    proposed(killed), other.propose()
    again = drivers.session("a", ONE_ARCHITECTURE)
    end(again, proposed(again).number)
    other.propose()
    assert [record.outcome for record in records(other)] == [COMPLETED, DUPLICATE]


def test_a_waiting_driver_that_is_killed_waits_again(drivers: Drivers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("searchers.session.GIVE_UP", 1)
    a, killed = drivers.session("a", ONE_ARCHITECTURE), drivers.session("b", ONE_ARCHITECTURE)
    first = proposed(a)
    killed.propose()
    again = drivers.session("b", ONE_ARCHITECTURE)
    assert again.propose() is None
    end(a, first.number)
    again._look()
    assert [record.outcome for record in records(again)] == [COMPLETED, DUPLICATE]


def test_a_trial_of_a_silent_driver_is_gone_on_with(drivers: Drivers) -> None:
    gone, other = drivers.session("a", trials=2), drivers.session("b", trials=2)
    first, second = proposed(gone), proposed(other)
    gone.store.close()
    end(other, second.number)
    other._look()
    assert other.propose() is None
    assert not other.done
    drivers.silent(TAKEOVER + 60)
    other.store._looked = other._looked = -math.inf  # type: ignore[attr-defined]
    again = proposed(other)
    assert (again.number, again.architecture, again.resumed) == (first.number, first.architecture, True)
    assert other.progress.notes == [  # type: ignore[attr-defined]
        "trial    0 of a driver that gives no sign of life is gone on with here"
    ]
    end(other, again.number)
    assert other.done


def taken(drivers: Drivers, **changes: Any) -> tuple[Session, Session, int]:
    """A driver whose trial another one has taken over meanwhile, which it does not know."""
    slept, other = drivers.session("a", **changes), drivers.session("b")
    number = proposed(slept).number
    drivers.silent(TAKEOVER + 60)
    other.store._looked = -math.inf  # type: ignore[attr-defined]
    assert proposed(other).number == number
    return slept, other, number


def test_a_driver_that_was_taken_for_gone_leaves_its_trial_to_the_other_one(drivers: Drivers) -> None:
    tracker = Recorder()
    slept, other, number = taken(drivers, tracker=tracker)
    slept.on_end(number)
    assert slept.running == {}
    assert [name for name, _ in tracker.of(number)] == ["start", "finish"]
    assert slept.history[number].outcome == RUNNING
    slept.on_epoch(number, {"epoch": 1, "validation_error": 0.9})
    slept.on_measured(number, {"latency": 2.0})
    ended = end(other, number)
    assert ended.outcome == COMPLETED
    assert "latency" not in ended.facts
    assert records(slept)[number] == ended
    assert isinstance(slept.progress, Watcher)
    assert slept.progress.of(number) == ["begin", "end"]


def test_what_ended_elsewhere_is_not_ended_again(drivers: Drivers) -> None:
    slept, other, number = taken(drivers)
    ended = end(other, number)
    slept.on_epoch(number, {"epoch": 1, "validation_error": 0.9})  # it does not know yet
    slept.on_end(number)
    assert records(slept)[number] == ended
    assert slept._trained == 1


def test_a_trial_that_was_begun_twice_is_trained_once(drivers: Drivers, monkeypatch: pytest.MonkeyPatch) -> None:
    """The database has heard it, and its answer was lost."""
    monkeypatch.setattr("searchers.session.IDLE", 0.0)
    a = drivers.session("a", TWO_WINDOWS, trials=2)
    real, answers = RDBStorage._create_new_trial, iter([False])

    def deaf(self: Any, *args: Any) -> Any:
        made = real(self, *args)
        return made if next(answers, True) else real(self, *args)

    monkeypatch.setattr(RDBStorage, "_create_new_trial", deaf)
    first = proposed(a)
    assert (first.number, len(a.store.records())) == (1, 2)
    run(a)
    end(a, first.number)
    run(a)
    found = records(a)
    assert a.done
    assert outcomes(found)[COMPLETED] == 2
    assert found[0].outcome == DUPLICATE
    assert RUNNING not in outcomes(found)


@pytest.mark.parametrize("moment", ["propose", "epoch", "end"])
def test_a_store_that_is_lost_ends_the_search_and_loses_nothing(
    drivers: Drivers, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    tracker = Recorder()
    a = drivers.session("a", trials=3, tracker=tracker)
    ended = end(a, proposed(a).number)
    number = proposed(a).number
    a.on_epoch(number, {"epoch": 1, "validation_error": 0.5})
    with monkeypatch.context() as patch:
        for method in ("_get_trials", "get_trial", "set_trial_intermediate_value", "set_trial_user_attr"):
            fail_store(patch, method)
        if moment == "propose":
            assert a.propose() is None
        elif moment == "epoch":
            a.on_epoch(number, {"epoch": 2, "validation_error": 0.25})
        a.on_end(number)
        assert (a.failed, a.done, a.running) == (True, True, {})
        assert [name for name, _ in tracker.of(number)] == ["start", "log"]  # it is gone on with
        reason = "the store cannot be used: the server has gone"
        assert a.stopped == f"{reason}; once that is mended, the same command goes on"
        a.store.close()
    again = drivers.session("a", trials=3)
    assert [record.outcome for record in again.history] == [COMPLETED, RUNNING]
    assert again.history[0] == ended
    adopted = proposed(again)
    assert (adopted.number, again.history[number].errors) == (number, {1: 0.5})
    assert end(again, adopted.number).outcome in (COMPLETED, PRUNED)
