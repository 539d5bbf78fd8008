from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from searchers.objectives import OBJECTIVES
from searchers.record import (
    COMPLETED,
    DUPLICATE,
    FAILED,
    PRUNED,
    REFUSED,
    RUNNING,
    TrialRecord,
    best_first,
    compared,
    front,
)


def record(number: int, outcome: str, *errors: float, **facts: Any) -> TrialRecord:
    return TrialRecord(number=number, outcome=outcome, values={}, errors=dict(enumerate(errors, start=1)), facts=facts)


def slow(number: int, *errors: float, **facts: Any) -> TrialRecord:
    """A completed trial that breaks a limit."""
    return record(number, COMPLETED, *errors, violations={"latency": 0.5}, **facts)


def test_the_error_is_that_of_the_last_epoch() -> None:
    trial = record(0, PRUNED, 0.5, 0.3, 0.4)
    assert (trial.error, trial.epochs) == (0.4, 3)


def test_a_trial_without_results() -> None:
    trial = record(0, RUNNING)
    assert (trial.error, trial.epochs, trial.fingerprint, trial.measures(), trial.feasible) == (None, 0, None, {}, True)


def test_the_measures_are_every_objective_that_is_known() -> None:
    facts = {"params": 1000, "macs": 22_000_000, "serial_depth": 41, "activation_bytes": 5000}
    facts |= {"latency": 1.5, "energy": 9.0}
    found = record(0, COMPLETED, 0.5, 0.25, seconds=3.0, fingerprint="abc", unread_groups=3, **facts).measures()
    assert found == {"error": 0.25, **facts}
    assert list(found) == list(OBJECTIVES)
    assert {type(value) for value in found.values()} == {float}


@pytest.mark.parametrize(
    ("reason", "short"),
    [
        (None, ""),
        ("", ""),
        ("too large", "too large"),
        ("Traceback\n  File x\nValueError: a: b\n", "ValueError: a: b"),
    ],
)
def test_the_short_reason_is_the_last_line(reason: str | None, short: str) -> None:
    assert record(0, FAILED, **({} if reason is None else {"reason": reason})).short_reason == short


def test_what_is_not_known_is_no_measure() -> None:
    assert record(0, RUNNING, params=1000, latency=None).measures() == {"params": 1000}


def test_a_cost_of_nothing_is_a_measure() -> None:
    assert record(0, COMPLETED, 0.0, params=0).measures() == {"error": 0.0, "params": 0.0}


@pytest.mark.parametrize(
    ("facts", "feasible"), [({}, True), ({"violations": {}}, True), ({"violations": {"a": 1}}, False)]
)
def test_a_trial_without_violations_is_feasible(facts: dict[str, Any], feasible: bool) -> None:
    assert record(0, COMPLETED, 0.5, **facts).feasible is feasible


class TestBestFirst:
    def test_the_best_come_furthest_and_then_have_the_lowest_error(self) -> None:
        early, late = record(0, PRUNED, 0.1), record(1, COMPLETED, 0.9, 0.3)
        equal, better = record(2, COMPLETED, 0.9, 0.3), record(3, COMPLETED, 0.9, 0.2)
        assert best_first([early, late, equal, better]) == [better, late, equal, early]

    def test_what_is_beyond_a_limit_comes_last(self) -> None:
        good, stopped = record(0, COMPLETED, 0.9, 0.5), record(1, PRUNED, 0.8)
        better, worse = slow(2, 0.9, 0.1), slow(3, 0.9, 0.2)
        assert best_first([worse, better, stopped, good]) == [good, stopped, better, worse]

    def test_only_what_was_trained_to_a_result_is_ranked(self) -> None:
        others = [record(n, outcome, 0.1) for n, outcome in enumerate((FAILED, DUPLICATE, REFUSED, RUNNING))]
        assert best_first([*others, record(4, PRUNED)]) == []


class TestFront:
    """Errors and params."""

    def front(self, *records: TrialRecord) -> list[int]:
        return [found.number for found in front(records, ("error", "params"))]

    def test_what_nothing_dominates_in_order_of_the_first_objective(self) -> None:
        assert self.front(
            record(0, COMPLETED, 0.3, params=10),
            record(1, COMPLETED, 0.1, params=30),
            record(2, COMPLETED, 0.2, params=20),
            record(3, COMPLETED, 0.2, params=30),
        ) == [1, 2, 0]  # fmt: skip

    def test_equal_results_are_there_once(self) -> None:
        assert self.front(record(0, COMPLETED, 0.3, params=10), record(1, COMPLETED, 0.3, params=10)) == [0]

    def test_what_is_beyond_a_limit_is_not_there_and_dominates_nothing(self) -> None:
        assert self.front(slow(0, 0.1, params=1), record(1, COMPLETED, 0.3, params=10)) == [1]

    @pytest.mark.parametrize("outcome", [PRUNED, FAILED, DUPLICATE, REFUSED, RUNNING])
    def test_only_what_was_trained_to_the_end_is_there(self, outcome: str) -> None:
        assert self.front(record(0, outcome, 0.1, params=1), record(1, COMPLETED, 0.3, params=10)) == [1]

    def test_what_lacks_an_objective_is_not_there(self) -> None:
        assert self.front(record(0, COMPLETED, 0.1), record(1, COMPLETED, 0.3, params=10)) == [1]

    def test_there_is_none_of_nothing(self) -> None:
        assert self.front() == []


def test_what_a_front_is_chosen_from() -> None:
    stopped = [record(n, outcome, 0.1, params=1) for n, outcome in enumerate((PRUNED, FAILED, RUNNING, DUPLICATE))]
    whole, lacking, over = record(4, COMPLETED, 0.3, params=9), record(5, COMPLETED, 0.1), slow(6, 0.1, params=1)
    worse = record(7, COMPLETED, 0.4, params=10)
    assert compared([*stopped, whole, lacking, over, worse], ("error", "params")) == [whole, worse]


def test_what_goes_on_from_another_trial_has_its_epochs() -> None:
    facts = {"recipe": {"learning_rate": 0.1}, "parent": 3, "begun": 2}
    child = record(7, RUNNING, **facts)
    assert (child.parent, child.begun, child.epochs, child.error) == (3, 2, 2, None)
    assert replace(child, errors={3: 0.5}).epochs == 3
    assert (record(0, RUNNING).parent, record(0, RUNNING).begun, record(0, RUNNING).recipe) == (None, 0, None)


@pytest.mark.parametrize(
    ("outcome", "alone", "member"),
    [(COMPLETED, True, True), (FAILED, True, True), (PRUNED, True, False), (RUNNING, False, False),
     (DUPLICATE, False, False), (REFUSED, False, False)],
)  # fmt: skip
def test_what_counts_as_one_of_the_trials_asked_for(outcome: str, alone: bool, member: bool) -> None:
    assert record(0, outcome).counts is alone
    assert record(0, outcome, recipe={"dropout": 0.1}).counts is member
