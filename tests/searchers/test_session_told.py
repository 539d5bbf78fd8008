"""What a tracker, progress and the tables are told of a search."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import searchers.session
from search_spaces.budget import Budget
from searchers.record import COMPLETED, DUPLICATE, FAILED, REFUSED, RUNNING, TRAINED
from searchers.tracking.tracker import Nothing
from tests.searchers.fakes import Recorder, Watcher, choices, session
from tests.searchers.runtime import TWO_ARCHITECTURES, crash, end, outcomes, proposed, run, two_at_a_time


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
        "outcome": COMPLETED, "error": record.error, "best_error": record.error, "epochs": 2,
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
    monkeypatch.setattr(searchers.telling.time, "monotonic", lambda: now[0])
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


def test_the_seconds_that_tracking_took(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(searchers.telling.time, "perf_counter", lambda: now[0])

    class Slow(Nothing):
        def start(self, number: int, config: Mapping[str, Any]) -> None:
            now[0] += 0.5

        def log(self, number: int, metrics: Mapping[str, Any]) -> None:
            now[0] += 0.25

    search = session(tmp_path, tracker=Slow())
    number = proposed(search).number
    for epoch in (1, 2):
        now[0] += 10.0
        search.on_epoch(number, {"epoch": epoch, "validation_error": 0.5, "seconds": 1.0})
    search.on_end(number)
    assert search.store.record(number).facts["tracked"] == 1.0
