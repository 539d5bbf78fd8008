"""Searches with several objectives, and with limits that are known only once a trial was measured."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import searchers.session
from searchers.algorithms.random import RandomSearch
from searchers.record import COMPLETED, DUPLICATE, FAILED, PRUNED, REFUSED, TrialRecord, best_first, front
from searchers.searcher import Problem
from searchers.session import Session
from searchers.study import JOURNAL
from tests.searchers.fakes import Recorder, Watcher, named, optuna_trials, session, space
from tests.searchers.runtime import ONE_ARCHITECTURE, TWO_ARCHITECTURES, crash, end, learn, outcomes, proposed, run


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

    @pytest.mark.parametrize(
        ("measured", "reason"),
        [
            ({}, "the trial reported no latency, which the search limits"),
            ({"latency": math.nan}, "latency nan after 2 epochs"),
        ],
    )
    def test_so_has_one_without_what_is_limited(self, tmp_path: Path, measured: dict[str, float], reason: str) -> None:
        search = session(tmp_path, limits={"latency": 5})
        number = proposed(search).number
        assert not search.beyond_limits(number, measured)
        search.on_measured(number, measured)
        record = end(search, number)
        assert (record.outcome, record.facts["reason"]) == (FAILED, reason)
        assert (best_first(search.history), front(search.history, ("error",))) == ([], [])

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
    """What a worker measures, before it trains or of the trained weights."""

    def test_how_far_the_trained_weights_reach_is_kept_with_the_trial_and_its_duplicates(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(searchers.session, "GIVE_UP", 1)
        killed = session(tmp_path, ONE_ARCHITECTURE)
        number = proposed(killed).number
        killed.on_epoch(number, {"epoch": 1, "validation_error": 0.5})
        killed.on_measured(number, {"reach": [3]})
        search = session(tmp_path, ONE_ARCHITECTURE)
        assert proposed(search).number == number
        search.on_measured(number, {"reach": [4]})
        assert not search.beyond_limits(number, {"reach": [4]})
        assert end(search, number).facts["reach"] == [3]
        assert search.propose() is None
        assert [record.facts["reach"] for record in session(tmp_path, ONE_ARCHITECTURE).history] == [[3], [3]]

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
        assert named(optuna_trials(tmp_path)[0]) == {"latency": pytest.approx(0.2)}
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
        assert [named(trial) for trial in optuna_trials(tmp_path) if named(trial)] == [bad.facts["violations"]]

    @pytest.mark.parametrize(
        ("latencies", "nearest"),
        [((9.0, 6.0), "; at the nearest, latency 6 is above its limit 5"), ((9.0, 5.0), "")],
    )
    def test_a_search_of_which_nothing_meets_a_limit_tells_the_nearest(
        self, tmp_path: Path, latencies: tuple[float, float], nearest: str
    ) -> None:
        searcher = RandomSearch().bind(Problem(space=TWO_ARCHITECTURES))
        search = session(tmp_path, TWO_ARCHITECTURES, searcher=searcher, trials=3, **LATENCY)
        for latency in latencies:
            self.measured(search, latency)
        assert search.propose() is None
        assert search.stopped == f"no new architecture within the budget is left in the space{nearest}"

    def test_a_failed_trial_breaks_no_limit(self, tmp_path: Path) -> None:
        search = session(tmp_path, limits={"error": 0.4})
        number = proposed(search).number
        search.on_epoch(number, {"epoch": 1, "validation_error": 0.5})
        record = end(search, number, crash)
        assert (record.outcome, record.feasible) == (FAILED, True)
