from __future__ import annotations

import contextlib
import math
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import searchers.session
from search_spaces.budget import Budget
from search_spaces.fixed import FixedSpace
from searchers.algorithms.random import RandomSearch
from searchers.algorithms.tpe import Tpe
from searchers.history import History
from searchers.record import (
    COMPLETED,
    DUPLICATE,
    FAILED,
    PRUNED,
    REFUSED,
    RUNNING,
    TRAINED,
    TrialRecord,
    best_first,
    front,
)
from searchers.searcher import Problem, Propose
from searchers.session import Assignment, Session
from searchers.study import JOURNAL
from tests.searchers.fakes import (
    Killed,
    Recorder,
    Watcher,
    careless,
    choices,
    drawn,
    error_of,
    measure,
    optuna_trials,
    session,
    space,
    store,
)

EPOCHS = 2
ONE_ARCHITECTURE = choices(window=[3, 4, "dense"])
"""Three knob vectors that make the same network: with two groups a window of three reads everything."""
TWO_ARCHITECTURES = choices(window=["dense", *range(3, 12), 1])
"""One of them is rare."""
Train = Callable[[Session, int], Sequence[float]]


class Crash(Exception):
    """What a trial raises."""


def learn(search: Session, number: int) -> Sequence[float]:
    """A trial that ends well."""
    error = error_of({"stage1.blocks": 1, "stage1.window": 1, **only_numbers(search.store.record(number).values)})
    return (error + 0.1, error)


def only_numbers(values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if not isinstance(value, str)}


def crash(search: Session, number: int) -> Sequence[float]:
    raise Crash("out of luck")


def end(search: Session, number: int, train: Train = learn) -> TrialRecord:
    """What the runtime does with one trial."""
    try:
        for epoch, error in enumerate(train(search, number), start=1):
            search.on_epoch(number, {"epoch": epoch, "validation_error": error})
    except Crash as error:
        search.on_end(number, failure=f"Traceback\nCrash: {error}\n")
    else:
        search.on_end(number)
    assert list(search.history) == search.store.records()
    return search.store.record(number)


def run(search: Session, train: Train = learn, *, at_most: int = 100) -> list[TrialRecord]:
    """Trials one after the other; all records."""
    for _ in range(at_most):
        assignment = search.propose()
        if assignment is None:
            break
        end(search, assignment.number, train)
    return search.store.records()


def outcomes(records: Sequence[TrialRecord]) -> Counter[str]:
    return Counter(record.outcome for record in records)


def proposed(search: Session) -> Assignment:
    assignment = search.propose()
    assert assignment is not None
    return assignment


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
    constraints = [trial.constraints for trial in optuna_trials(tmp_path)]
    assert constraints == [{"params": r.facts["params"] / 1000 - 1} if r in refused else {} for r in records]


def test_what_does_not_decode_is_refused_with_the_reason(tmp_path: Path) -> None:
    search = session(tmp_path, choices(form=["plain", "bottleneck"], subgroups=[1, 2]), trials=3)
    refused = [record for record in run(search) if record.outcome == REFUSED]
    assert {(r.values["stage1.form"], r.values["stage1.subgroups"]) for r in refused} == {("plain", 2)}
    assert "stage 1: subgroups above 1 need form bottleneck" in refused[0].facts["reason"]
    assert optuna_trials(tmp_path)[refused[0].number].constraints == {"decodable": 1.0}


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


def test_a_space_that_is_exhausted_stops_the_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searchers.session, "GIVE_UP", 60)
    search = session(tmp_path, TWO_ARCHITECTURES, trials=3)
    assert outcomes(run(search))[COMPLETED] == 2
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
    search = session(tmp_path, FixedSpace(architecture="cifar_b_small"), trials=3)
    assert outcomes(run(search)) == {COMPLETED: 1, DUPLICATE: 1}
    assert search.stopped == "no new architecture within the budget in the last 1 proposals"


def two_at_a_time(folder: Path) -> tuple[Session, int, int]:
    """A trial that is running, and another one that is running while a duplicate waits for the first."""
    search = session(folder, TWO_ARCHITECTURES, trials=3)
    first, second = proposed(search), proposed(search)
    known = {record.fingerprint for record in search.store.records()}
    assert (len(known), second.number > 1) == (2, True)
    assert {record.outcome for record in search.store.records()} == {RUNNING}
    return search, first.number, second.number


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


def test_a_resumed_search_adopts_what_was_open_first(tmp_path: Path) -> None:
    killed = session(tmp_path, trials=5)
    end(killed, proposed(killed).number)
    opened = [proposed(killed) for _ in range(2)]
    killed.on_epoch(opened[0].number, {"epoch": 1, "validation_error": 0.5})
    resumed = session(tmp_path, trials=5)
    for before in opened:
        now = proposed(resumed)
        assert (now.number, now.architecture, now.resumed) == (before.number, before.architecture, True)
    assert not proposed(resumed).resumed
    assert resumed.store.record(opened[0].number).errors == {1: 0.5}


def test_an_epoch_that_is_reported_again_after_a_restart_is_noted_once(tmp_path: Path) -> None:
    killed = session(tmp_path)
    number = proposed(killed).number
    killed.on_epoch(number, {"epoch": 1, "validation_error": 0.5})
    tracker = Recorder()
    resumed = session(tmp_path, tracker=tracker)
    proposed(resumed)
    resumed.on_epoch(number, {"epoch": 1, "validation_error": 0.9})
    resumed.on_epoch(number, {"epoch": 2, "validation_error": 0.4})
    resumed.on_end(number)
    assert resumed.store.record(number).errors == {1: 0.5, 2: 0.4}
    assert [name for name, _ in tracker.of(number)] == ["start", "log", "finish"]


def test_a_resumed_search_repeats_nothing(tmp_path: Path) -> None:
    before = run(session(tmp_path, TWO_ARCHITECTURES, trials=2))
    begun: list[int] = []
    again = session(tmp_path, TWO_ARCHITECTURES, trials=2, begin=lambda number, _: begun.append(number))
    assert again.done
    assert (run(again), begun) == (before, [])


def test_a_finished_search_is_extended(tmp_path: Path) -> None:
    before = run(session(tmp_path, trials=2))
    after = run(session(tmp_path, trials=5))
    assert after[: len(before)] == before
    assert outcomes(after)[COMPLETED] == 5


def test_a_duplicate_of_a_trial_before_the_resume_is_answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searchers.session, "GIVE_UP", 3)
    run(session(tmp_path, ONE_ARCHITECTURE, trials=1))
    assert outcomes(run(session(tmp_path, ONE_ARCHITECTURE, trials=2))) == {COMPLETED: 1, DUPLICATE: 3}


def test_an_architecture_that_failed_before_the_resume_is_trained_when_it_is_proposed_again(tmp_path: Path) -> None:
    killed = session(tmp_path, ONE_ARCHITECTURE, trials=2)
    failed = end(killed, proposed(killed).number, crash)
    again = proposed(session(tmp_path, ONE_ARCHITECTURE, trials=2))
    assert (again.number, again.architecture.fingerprint()) == (1, failed.fingerprint)


SMALL = space(blocks=1, groups=2)
BINDS: dict[str, Callable[[], Propose]] = {
    "careless": lambda: careless(SMALL),
    "random": lambda: RandomSearch().bind(Problem(space=SMALL)),
    "tpe": lambda: Tpe(startup_trials=3).bind(Problem(space=SMALL)),
}


@pytest.mark.parametrize("name", BINDS)
def test_a_search_that_is_interrupted_after_every_trial_finds_what_an_unbroken_one_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(searchers.session, "RUT", 2)

    def begun(folder: Path) -> Session:
        return session(folder, SMALL, searcher=BINDS[name](), trials=6)

    unbroken = run(begun(tmp_path / "unbroken"))
    while not (broken := begun(tmp_path / "broken")).done:
        run(broken, at_most=1)
        broken.propose()  # killed once the next one was begun
    found = broken.store.records()
    assert (outcomes(found)[DUPLICATE] > 2) == (name == "careless")
    assert [(r.values, r.outcome, r.errors) for r in found] == [(r.values, r.outcome, r.errors) for r in unbroken]


def test_a_proposal_is_made_from_the_history_the_seed_and_the_number(tmp_path: Path) -> None:
    seen: list[tuple[list[str], float]] = []

    def propose(history: History, generator: np.random.Generator) -> dict[str, Any]:
        seen.append(([record.outcome for record in history], generator.random()))
        return drawn(len(history))

    search = session(tmp_path, searcher=propose, seed=7)
    first = proposed(search)
    second = proposed(search)
    end(search, first.number, crash)
    proposed(session(tmp_path, searcher=propose, seed=7))  # adopts what is open
    end(search, second.number, lambda *_: (0.5,))
    proposed(session(tmp_path, searcher=propose, seed=7))
    histories, numbers = zip(*seen, strict=True)
    assert histories == ([], [RUNNING], [FAILED, PRUNED])
    assert numbers == tuple(np.random.default_rng(np.random.SeedSequence([7, n])).random() for n in range(3))


def test_another_seed_proposes_something_else(tmp_path: Path) -> None:
    values = []
    for seed in (0, 1, 0):
        search = session(tmp_path / str(len(values)), seed=seed)
        values.append([search.store.record(proposed(search).number).values for _ in range(3)])
    assert values[0] == values[2] != values[1]


def blind_proposals(search: Session, *, kill_after: int = 1000) -> list[bool]:
    """Whether each of the next proposals is drawn blindly, up to a kill."""
    blind: list[bool] = []

    def noting(propose: Propose, blindly: bool) -> Propose:
        def noted(history: History, generator: np.random.Generator) -> Any:
            if len(blind) == kill_after:
                raise Killed
            blind.append(blindly)
            return propose(history, generator)

        return noted

    search.searcher, search._blind = noting(search.searcher, False), noting(search._blind, True)
    with contextlib.suppress(Killed):
        run(search)
    return blind


@pytest.mark.parametrize("killed_after", [0, 3, 6, 7])
def test_a_rut_is_left_by_blind_proposals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed_after: int) -> None:
    """Also where the search was killed in it."""
    monkeypatch.setattr(searchers.session, "RUT", 4)
    monkeypatch.setattr(searchers.session, "GIVE_UP", 8)
    first = session(tmp_path, ONE_ARCHITECTURE, trials=2)
    end(first, proposed(first).number)
    blind = blind_proposals(first, kill_after=killed_after)
    second = session(tmp_path, ONE_ARCHITECTURE, trials=2)
    assert blind + blind_proposals(second) == [False] * 4 + [True, False, True, False]
    assert second.stopped == "no new architecture within the budget in the last 8 proposals"


def test_the_tracker_is_told_of_a_trial(tmp_path: Path) -> None:
    tracker = Recorder()
    search = session(tmp_path, tracker=tracker, trials=1)
    record = end(search, proposed(search).number)
    start, *logs, finished = tracker.of(record.number)
    cost = {
        name: record.facts[name]
        for name in ("params", "macs", "paper_flops", "serial_depth", "unread_groups", "activation_bytes")
    }
    assert start == ("start", {**record.values, **cost, "fingerprint": record.fingerprint})
    assert logs == [("log", {"epoch": epoch, "validation_error": error}) for epoch, error in record.errors.items()]
    assert finished[0] == "finish"
    assert {name: value for name, value in finished[1].items() if value not in (None, "")} == {
        "outcome": COMPLETED, "error": record.error, "best_error": record.error, "epochs": EPOCHS,
        "seconds": record.facts["seconds"],
    }  # fmt: skip


def test_the_tracker_is_told_of_the_rung_and_of_what_was_measured(tmp_path: Path) -> None:
    tracker = Recorder()
    search = session(tmp_path, tracker=tracker, rungs=(1, 3), epochs=9, trials=9)
    told = []
    for errors in ((0.5,), (0.5, 0.25, 0.375), (0.5, 0.4), tuple(0.5 for _ in range(9))):
        number = proposed(search).number
        search.on_measured(number, {"latency": 2.5})
        end(search, number, lambda *_, errors=errors: errors)
        told.append(list(tracker.of(number))[-1][1])
    assert [summary.get("rung") for summary in told] == [0, 1, None, None]
    assert [summary["latency"] for summary in told] == [2.5] * 4
    assert (told[1]["error"], told[1]["best_error"]) == (0.375, 0.25)


def test_the_tracker_is_told_why_a_trial_failed(tmp_path: Path) -> None:
    tracker = Recorder()
    search = session(tmp_path, tracker=tracker)
    number = end(search, proposed(search).number, crash).number
    name, summary = list(tracker.of(number))[-1]
    assert (name, summary["outcome"], summary["reason"]) == ("finish", FAILED, "Crash: out of luck")


def test_the_tracker_sees_a_duplicate_as_a_run_and_a_refused_proposal_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(searchers.session, "GIVE_UP", 12)
    tracker = Recorder()
    of = choices(window=[1, 4, "dense"], blocks=[1, 2])
    records = run(session(tmp_path, of, tracker=tracker, trials=3, budget=Budget(params=(None, 1000))))
    assert set(outcomes(records)) == {COMPLETED, DUPLICATE, REFUSED}
    for record in records:
        told = dict(tracker.of(record.number))
        if record.outcome == REFUSED:
            assert told == {}
        elif record.outcome == DUPLICATE:
            assert list(told) == ["start", "finish"]
            assert told["start"]["params"] == 1000
            assert (told["finish"]["error"], told["finish"]["duplicate_of"]) == (
                record.error, record.facts["duplicate_of"]
            )  # fmt: skip


def test_progress_is_told_of_every_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searchers.session, "GIVE_UP", 12)
    watcher = Watcher()
    of = choices(window=[1, 4, "dense"], blocks=[1, 2])
    records = run(session(tmp_path, of, progress=watcher, trials=3, budget=Budget(params=(None, 1000))))
    assert set(outcomes(records)) == {COMPLETED, DUPLICATE, REFUSED}
    for record in records:
        trained = ["begin", "epoch", "epoch", "end"]
        assert watcher.of(record.number) == (trained if record.outcome == COMPLETED else ["end"])
    assert [told for name, told in watcher.calls if name == "end"] == records


def test_progress_is_told_what_was_known_then(tmp_path: Path) -> None:
    watcher = Watcher()
    search = session(tmp_path, progress=watcher)
    end(search, proposed(search).number, lambda *_: (0.5, 0.25))
    told = [(name, record.outcome, dict(record.errors)) for name, record in watcher.calls]
    assert told == [
        ("begin", RUNNING, {}), ("epoch", RUNNING, {1: 0.5}), ("epoch", RUNNING, {1: 0.5, 2: 0.25}),
        ("end", COMPLETED, {1: 0.5, 2: 0.25}),
    ]  # fmt: skip


def test_a_trial_that_is_gone_on_with_begins_again(tmp_path: Path) -> None:
    killed = session(tmp_path)
    number = proposed(killed).number
    killed.on_epoch(number, {"epoch": 1, "validation_error": 0.5})
    watcher = Watcher()
    resumed = session(tmp_path, progress=watcher)
    proposed(resumed)
    resumed.on_epoch(number, {"epoch": 1, "validation_error": 0.5})
    assert [(name, dict(record.errors)) for name, record in watcher.calls] == [("begin", {1: 0.5})]


def test_what_waited_for_a_trial_ends_after_it(tmp_path: Path) -> None:
    search, first, second = two_at_a_time(tmp_path)
    search.progress = watcher = Watcher()
    end(search, first)
    assert [record.number for name, record in watcher.calls if name == "end"] == [first, *range(first + 1, second)]


def test_after_every_trial_that_was_trained_its_owner_is_called(tmp_path: Path) -> None:
    ended: list[int] = []
    search = session(tmp_path, TWO_ARCHITECTURES, trials=2)
    search.ended = lambda: ended.append(sum(record.outcome in TRAINED for record in search.store.records()))
    run(search)
    assert ended == [1, 2]


def test_the_seconds_of_a_trial_and_those_before_it_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first epoch says how long it took; what came before was waiting for a worker, and measuring."""
    now = [100.0]
    monkeypatch.setattr(searchers.session.time, "monotonic", lambda: now[0])
    search = session(tmp_path)
    number = proposed(search).number
    for epoch, (later, seconds) in enumerate(((5.0, 3.5), (3.0, 3.0)), start=1):
        now[0] += later
        search.on_epoch(number, {"epoch": epoch, "validation_error": 0.5, "seconds": seconds})
    now[0] += 0.25
    search.on_end(number)
    facts = search.store.record(number).facts
    assert (facts["seconds"], facts["waited"]) == (8.25, 1.5)
    number = proposed(search).number
    now[0] += 2.0
    search.on_end(number, failure="Traceback")
    facts = search.store.record(number).facts
    assert (facts["seconds"], facts["waited"]) == (2.0, 2.0)


class TestObjectives:
    """Several things to minimise."""

    def test_a_cost_is_an_objective_that_needs_no_measurement(self, tmp_path: Path) -> None:
        search = session(tmp_path, objectives=("error", "params"))
        whole = end(search, proposed(search).number, lambda *_: (0.5, 0.25))
        short = end(search, proposed(search).number, lambda *_: (0.5,))
        assert (whole.outcome, short.outcome) == (COMPLETED, PRUNED)
        values = [trial.values for trial in optuna_trials(tmp_path)]
        assert [values[whole.number], values[short.number]] == [[0.25, whole.facts["params"]], None]

    def test_what_is_measured_in_the_worker_is_known_before_the_first_epoch(self, tmp_path: Path) -> None:
        search = session(tmp_path, objectives=("error", "latency"))
        number = proposed(search).number
        search.on_measured(number, {"latency": 2.5})
        assert search.history[number].measures()["latency"] == 2.5
        record = end(search, number, lambda *_: (0.5, 0.25))
        assert (record.outcome, record.facts["latency"]) == (COMPLETED, 2.5)
        assert optuna_trials(tmp_path)[number].values == [0.25, 2.5]

    @pytest.mark.parametrize(
        ("measured", "errors", "reason"),
        [
            ({}, (0.5, 0.4), "the trial reported no latency, which the search minimises"),
            ({}, (0.5,), "the trial reported no latency, which the search minimises"),
            ({"latency": math.nan}, (0.5, 0.4), "latency nan after 2 epochs"),
            ({"latency": math.inf}, (0.5, 0.4), "latency inf after 2 epochs"),
            ({"latency": 2.5}, (0.5, math.nan), "validation error nan after 2 epochs"),
            ({"latency": 2.5}, (), "the trial ended without a result"),
        ],
    )
    def test_a_trial_without_one_of_them_has_failed(
        self, tmp_path: Path, measured: dict[str, float], errors: tuple[float, ...], reason: str
    ) -> None:
        search = session(tmp_path, objectives=("error", "latency"))
        number = proposed(search).number
        search.on_measured(number, measured)
        record = end(search, number, lambda *_: errors)
        assert (record.outcome, record.facts["reason"]) == (FAILED, reason)
        assert session(tmp_path, objectives=("error", "latency")).history[number].facts["reason"] == reason

    def test_a_duplicate_has_all_of_them(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(searchers.session, "GIVE_UP", 1)
        search = session(tmp_path, ONE_ARCHITECTURE, objectives=("error", "latency"))
        number = proposed(search).number
        search.on_measured(number, {"latency": 2.5})
        end(search, number, lambda *_: (0.5, 0.25))
        assert search.propose() is None
        assert [trial.values for trial in optuna_trials(tmp_path)] == [[0.25, 2.5]] * 2

    def test_the_front_is_of_completed_trials(self, tmp_path: Path) -> None:
        search = session(tmp_path, space(groups=8, form="plain"), objectives=("error", "params"), trials=12)
        records = run(
            search, lambda search, number: (0.9, 1 / search.history[number].facts["params"])[: 1 + number % 3]
        )
        found = front(records, search.problem.objectives)
        assert [record.facts["params"] for record in found] == [3000, 2000, 1000]
        assert {record.outcome for record in found} == {COMPLETED}


class TestMeasuring:
    """What a worker measures before it trains."""

    def test_what_was_measured_before_a_restart_stays(self, tmp_path: Path) -> None:
        settings: dict[str, Any] = {"objectives": ("error", "latency"), "limits": {"latency": 5}}
        killed = session(tmp_path, **settings)
        number = proposed(killed).number
        killed.on_measured(number, {"latency": 3.0})
        resumed = session(tmp_path, **settings)
        assert proposed(resumed).number == number
        assert not resumed.beyond_limits(number, {"latency": 9.0})
        resumed.on_measured(number, {"latency": 9.0})
        record = end(resumed, number)
        assert (record.outcome, record.facts["latency"], record.feasible) == (COMPLETED, 3.0, True)

    def test_a_measurement_is_written_once(self, tmp_path: Path) -> None:
        search = session(tmp_path)
        number = proposed(search).number
        for _ in range(3):
            search.on_measured(number, {"latency": 3.0})
        assert (tmp_path / JOURNAL).read_text().count('"latency"') == 1


LATENCY: dict[str, Any] = {"objectives": ("error", "latency"), "limits": {"latency": 5}}


class TestLimits:
    """What a trial may measure at most."""

    def measured(self, search: Session, latency: float) -> TrialRecord:
        """The next trial, which ends before it is trained where it is too slow."""
        number = proposed(search).number
        slow = search.beyond_limits(number, {"latency": latency})
        search.on_measured(number, {"latency": latency})
        return end(search, number, lambda *_: ()) if slow else end(search, number)

    @pytest.mark.parametrize(("latency", "beyond"), [(4.0, False), (5.0, False), (5.001, True), (math.inf, True)])
    def test_whether_a_trial_is_worth_training(self, tmp_path: Path, latency: float, beyond: bool) -> None:
        search = session(tmp_path, **LATENCY)
        number = proposed(search).number
        assert search.beyond_limits(number, {"latency": latency}) is beyond

    def test_nothing_is_beyond_what_has_no_limit(self, tmp_path: Path) -> None:
        search = session(tmp_path, objectives=("error", "latency"))
        number = proposed(search).number
        assert not search.beyond_limits(number, {"latency": 1e9})
        limited = session(tmp_path, **LATENCY)
        assert not limited.beyond_limits(number, {})

    def test_what_is_too_slow_is_refused_without_training(self, tmp_path: Path) -> None:
        search = session(tmp_path, **LATENCY, trials=2)
        record = self.measured(search, 6.0)
        assert (record.outcome, record.errors, record.feasible) == (REFUSED, {}, False)
        assert record.facts["reason"] == "latency 6 is above its limit 5"
        assert (record.facts["latency"], record.facts["violations"]) == (6.0, {"latency": pytest.approx(0.2)})
        assert optuna_trials(tmp_path)[0].constraints == {"latency": pytest.approx(0.2)}
        assert not search.done
        assert outcomes(run(search, self.quick)) == {REFUSED: 1, COMPLETED: 2}

    def quick(self, search: Session, number: int) -> Sequence[float]:
        search.on_measured(number, {"latency": 1.0})
        return learn(search, number)

    def test_a_trial_that_crashed_was_not_refused(self, tmp_path: Path) -> None:
        search = session(tmp_path, **LATENCY)
        number = proposed(search).number
        search.on_measured(number, {"latency": 6.0})
        assert end(search, number, crash).outcome == FAILED

    @pytest.mark.parametrize("resumed", [False, True])
    def test_what_was_too_slow_is_known(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, resumed: bool) -> None:
        monkeypatch.setattr(searchers.session, "GIVE_UP", 3)
        search = session(tmp_path, ONE_ARCHITECTURE, **LATENCY)
        slow = self.measured(search, 6.0)
        search = session(tmp_path, ONE_ARCHITECTURE, **LATENCY) if resumed else search
        assert search.history.known(slow.fingerprint or "")
        assert search.propose() is None
        again = search.store.records()[1:]
        assert again and outcomes(again) == {DUPLICATE: len(again)}
        assert all((r.facts["duplicate_of"], r.feasible, r.errors) == (slow.number, False, {}) for r in again)

    def test_it_may_be_trained_where_a_resumed_search_has_another_limit(self, tmp_path: Path) -> None:
        slow = self.measured(session(tmp_path, ONE_ARCHITECTURE, **LATENCY), 6.0)
        resumed = session(tmp_path, ONE_ARCHITECTURE, **{**LATENCY, "limits": {"latency": 7}})
        again = proposed(resumed)
        assert (again.number, again.architecture.fingerprint()) == (1, slow.fingerprint)

    def test_a_search_that_was_killed_between_measuring_and_refusing(self, tmp_path: Path) -> None:
        killed = session(tmp_path, **LATENCY)
        killed.on_measured(proposed(killed).number, {"latency": 6.0})
        assert self.measured(session(tmp_path, **LATENCY), 4.0).outcome == REFUSED

    def test_what_waited_for_it_is_answered(self, tmp_path: Path) -> None:
        search = session(tmp_path, TWO_ARCHITECTURES, trials=3, **LATENCY)
        first, second = proposed(search), proposed(search)
        search.on_measured(first.number, {"latency": 6.0})
        end(search, first.number, lambda *_: ())
        waited = search.store.records()[1 : second.number]
        assert waited and outcomes(waited) == {DUPLICATE: second.number - 1}
        assert not any(record.feasible for record in waited)

    def test_the_tracker_and_the_user_are_told(self, tmp_path: Path) -> None:
        tracker, watcher = Recorder(), Watcher()
        search = session(tmp_path, tracker=tracker, progress=watcher, **LATENCY)
        record = self.measured(search, 6.0)
        assert [name for name, _ in tracker.of(0)] == ["start", "finish"]
        assert list(tracker.of(0))[1][1]["reason"] == "latency 6 is above its limit 5"
        assert watcher.of(0) == ["begin", "end"] and watcher.calls[-1] == ("end", record)

    def test_an_error_beyond_its_limit_is_kept_and_never_the_best(self, tmp_path: Path) -> None:
        settings: dict[str, Any] = {"limits": {"error": 0.4}, "trials": 6}
        search = session(tmp_path, **settings)
        bad = end(search, proposed(search).number, lambda *_: (0.4, 0.5))
        assert (bad.outcome, bad.feasible, bad.facts["violations"]) == (
            COMPLETED,
            False,
            {"error": pytest.approx(0.25)},
        )
        search = session(tmp_path, **settings)
        good = end(search, proposed(search).number, lambda *_: (0.9, 0.4))
        short = end(search, proposed(search).number, lambda *_: (0.3,))
        assert best_first(search.history) == [good, short, bad]
        assert front(search.history, ("error",)) == [good]
        assert [trial.constraints for trial in optuna_trials(tmp_path) if trial.constraints] == [
            bad.facts["violations"]
        ]

    def test_a_failed_trial_breaks_no_limit(self, tmp_path: Path) -> None:
        search = session(tmp_path, limits={"error": 0.4})
        number = proposed(search).number
        search.on_epoch(number, {"epoch": 1, "validation_error": 0.5})
        record = end(search, number, crash)
        assert (record.outcome, record.feasible) == (FAILED, True)


def test_an_open_trial_that_lacks_a_value_is_refused(tmp_path: Path) -> None:
    """As a search of a release that drew them one by one may have left it."""
    values = drawn(0)
    last, _ = values.popitem()
    store(tmp_path).begin(values, {})
    search = session(tmp_path, trials=1)
    records = run(search)
    assert [record.outcome for record in records if record.outcome in (REFUSED, *TRAINED)] == [REFUSED, COMPLETED]
    assert records[0].facts["reason"].endswith(f"knob {last} has no value")
