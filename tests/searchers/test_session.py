from __future__ import annotations

import contextlib
import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

import searchers.session
from search_spaces.budget import Budget
from search_spaces.fixed import FixedSpace
from search_spaces.space import SearchSpace
from searchers.record import COMPLETED, DUPLICATE, FAILED, PRUNED, REFUSED, RUNNING, TrialRecord
from searchers.samplers import Random, Sampler, Tpe
from searchers.session import Assignment, Session
from searchers.study import TrialStore
from tests.searchers.fakes import Killed, Recorder, choices, error_of, measure, optuna_trials, space

EPOCHS = 2
ONE_ARCHITECTURE = choices(window=[3, 4, "dense"])
"""Three knob vectors that make the same network: with two groups a window of three reads everything."""
TWO_ARCHITECTURES = choices(window=["dense", *range(3, 12), 1])
"""One of them is rare."""
Train = Callable[[Session, int], Sequence[float]]


class Crash(Exception):
    """What a trial raises."""


def session(folder: Path, of: SearchSpace | None = None, sampler: Sampler | None = None, **changes: Any) -> Session:
    of = of or space()
    settings: dict[str, Any] = {
        "space": of,
        "store": TrialStore(folder, of, sampler or Random(), seed=0),
        "budget": Budget(),
        "tracker": Recorder(),
        "measure": measure,
        "trials": 4,
        "epochs": EPOCHS,
        "max_failures": 3,
        "begin": lambda number, architecture: None,
        "say": lambda line: None,
    }
    return Session(**{**settings, **changes})


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
    monkeypatch.setattr(searchers.session, "GIVE_UP", 30)
    search = session(tmp_path, TWO_ARCHITECTURES, trials=3)
    assert outcomes(run(search))[COMPLETED] == 2
    assert search.stopped == "no new architecture within the budget in the last 30 proposals"
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


@pytest.mark.parametrize("sampler", [Random(), Tpe(startup_trials=3)], ids=["random", "tpe"])
def test_a_search_that_is_interrupted_after_every_trial_finds_what_an_unbroken_one_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sampler: Sampler
) -> None:
    monkeypatch.setattr(searchers.session, "RUT", 2)
    settings: dict[str, Any] = {"of": space(blocks=1, groups=2), "sampler": sampler, "trials": 6}
    unbroken = run(session(tmp_path / "unbroken", **settings))
    while not (broken := session(tmp_path / "broken", **settings)).done:
        run(broken, at_most=1)
        broken.propose()  # killed once the next one was begun
    found = broken.store.records()
    assert outcomes(found)[DUPLICATE] > 2
    assert [(r.values, r.outcome, r.errors) for r in found] == [(r.values, r.outcome, r.errors) for r in unbroken]


def blind_proposals(search: Session, monkeypatch: pytest.MonkeyPatch, *, kill_after: int = 1000) -> list[bool]:
    """Whether each of the next proposals is drawn blindly, up to a kill."""
    real, blind = search.store.ask, []

    def ask(*, uniform: bool) -> TrialRecord:
        if len(blind) == kill_after:
            raise Killed
        blind.append(uniform)
        return real(uniform=uniform)

    monkeypatch.setattr(search.store, "ask", ask)
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
    blind = blind_proposals(first, monkeypatch, kill_after=killed_after)
    second = session(tmp_path, ONE_ARCHITECTURE, trials=2)
    assert blind + blind_proposals(second, monkeypatch) == [False] * 4 + [True, False, True, False]
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
        "outcome": COMPLETED, "error": record.error, "epochs": EPOCHS, "seconds": record.facts["seconds"]
    }  # fmt: skip


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


def test_every_trial_that_ends_is_said_in_one_line(tmp_path: Path) -> None:
    lines: list[str] = []
    search = session(tmp_path, say=lines.append)
    trains: list[Train] = [lambda *_: (0.5, 0.25), lambda *_: (0.75,), crash]
    for train in trains:
        end(search, proposed(search).number, train)
    completed, pruned, failed = lines
    assert re.fullmatch(
        r"trial +0 completed error 0\.2500 after 2 epochs \d,000 params  \[1/4, 0 pruned, best 0\.2500\]", completed
    )
    assert re.fullmatch(
        r"trial +\d+ pruned    error 0\.7500 after 1 epochs \d,000 params  \[2/4, 1 pruned, best 0\.2500\]", pruned
    )
    assert re.fullmatch(r"trial +\d+ failed    Crash: out of luck  \[3/4, 1 pruned, best 0\.2500\]", failed)


def test_progress_goes_on_where_the_killed_search_was(tmp_path: Path) -> None:
    first = session(tmp_path)
    end(first, proposed(first).number, lambda *_: (0.5, 0.25))
    end(first, proposed(first).number, lambda *_: (0.75,))
    lines: list[str] = []
    second = session(tmp_path, say=lines.append)
    end(second, proposed(second).number, lambda *_: (0.5, 0.5))
    assert lines[0].endswith("[3/4, 1 pruned, best 0.2500]")
