"""The summary of a history, and that no proposal takes longer for it."""

from __future__ import annotations

import statistics
import time
from typing import Any

import pytest

from searchers.algorithms.evolution import RegularisedEvolution
from searchers.algorithms.grid import Grid
from searchers.algorithms.local_search import LocalSearch
from searchers.algorithms.random import RandomSearch
from searchers.algorithms.trials import Following, Trials
from searchers.history import History
from searchers.record import COMPLETED, DUPLICATE, FAILED, PRUNED, REFUSED, RUNNING, TrialRecord
from searchers.searcher import Problem, Searcher
from tests.searchers.algorithms.conformance import Simulation, foreign, table


def record(number: int, outcome: str, **facts: Any) -> TrialRecord:
    errors = {1: 0.5} if outcome in (COMPLETED, PRUNED, DUPLICATE) else {}
    return TrialRecord(number=number, outcome=outcome, values={}, errors=errors, facts=facts)


def summary(*records: TrialRecord, objectives: tuple[str, ...] = ("error",)) -> Trials:
    trials = Trials(objectives)
    for each in records:
        trials.see(each)
    return trials


def test_results_are_what_can_be_compared() -> None:
    outcomes = (COMPLETED, PRUNED, FAILED, REFUSED, DUPLICATE, RUNNING)
    trials = summary(*(record(n, outcome) for n, outcome in enumerate(outcomes)))
    assert trials.results == [0, 1]
    assert trials.started == 3


def test_tried_is_what_it_would_be_in_vain_to_propose() -> None:
    outcomes = (COMPLETED, PRUNED, FAILED, REFUSED, DUPLICATE, RUNNING)
    trials = summary(*(record(n, outcome, fingerprint=outcome) for n, outcome in enumerate(outcomes)))
    assert trials.tried == {COMPLETED, PRUNED, FAILED, DUPLICATE, RUNNING}


@pytest.mark.parametrize("error", [float("nan"), float("inf")])
def test_what_is_no_finite_number_is_no_result(error: float) -> None:
    completed = TrialRecord(number=0, outcome=COMPLETED, values={}, errors={1: error}, facts={"params": 5})
    assert summary(completed).results == []
    assert summary(completed, objectives=("error", "params")).results == []


def test_a_trial_without_one_of_the_objectives_is_no_result() -> None:
    trials = summary(record(0, COMPLETED), record(1, COMPLETED, params=5), objectives=("error", "params"))
    assert trials.results == [1]


def test_what_ends_late_takes_its_place_by_number() -> None:
    history = History([record(0, RUNNING), record(1, RUNNING), record(2, COMPLETED)])
    follow = Following(lambda: Trials(("error",)))
    assert (follow(history).results, follow(history).started) == ([2], 3)
    history.put(record(1, FAILED))
    history.put(record(0, COMPLETED))
    assert (follow(history).results, follow(history).started) == ([0, 2], 2)


def test_a_result_that_is_put_again_counts_once() -> None:
    history = History([record(0, COMPLETED)])
    follow = Following(lambda: Trials(("error",)))
    assert follow(history).results == [0]
    history.put(record(0, COMPLETED))
    assert follow(history).results == [0]


def test_another_history_is_begun_anew() -> None:
    follow = Following(lambda: Trials(("error",)))
    assert follow(History([record(0, COMPLETED, fingerprint="one"), record(1, COMPLETED)])).results == [0, 1]
    trials = follow(History([record(0, COMPLETED, fingerprint="other")]))
    assert (trials.results, trials.tried) == ([0], {"other"})


@pytest.fixture(scope="module")
def ten_thousand() -> list[TrialRecord]:
    return foreign(Problem(space=table(6, 6)), [COMPLETED] * 10_000)


@pytest.mark.parametrize("objectives", [("error",), ("error", "params")], ids=len)
@pytest.mark.parametrize("searcher", [RandomSearch(), Grid(), RegularisedEvolution(), LocalSearch()])
def test_a_proposal_after_ten_thousand_trials_is_quick(
    searcher: Searcher, objectives: tuple[str, ...], ten_thousand: list[TrialRecord]
) -> None:
    """10 ms is what it should take at most; the machine may be busy with something else."""
    problem = Problem(space=table(6, 6), objectives=objectives)
    simulation = Simulation(searcher, problem, ten_thousand)
    simulation.run(10)  # the first follows the whole history
    seconds = []
    for _ in range(15):
        begun = time.perf_counter()
        simulation.run(1)
        seconds.append(time.perf_counter() - begun)
    assert statistics.median(seconds) < 0.03
