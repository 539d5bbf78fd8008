from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from search_spaces.knobs import Integer
from searchers.algorithms.local_search import LocalSearch
from searchers.algorithms.random import RandomSearch
from searchers.history import History
from searchers.record import COMPLETED, FAILED, PRUNED, RUNNING, TrialRecord
from searchers.searcher import Problem
from tests.searchers.algorithms.conformance import Simulation, ToySpace, table

SPACE = ToySpace(name="line", knobs=(Integer(name="x", low=0, high=10_000),))
LINE = Problem(space=SPACE, epochs=4)
"""Where a trial's neighbours are the two beside it."""
WITH_PARAMS = Problem(space=SPACE, objectives=("error", "params"), epochs=4)


def record(number: int, x: int, error: float, outcome: str = COMPLETED, **facts: Any) -> TrialRecord:
    epochs = {COMPLETED: LINE.epochs, PRUNED: 1}.get(outcome, 0)
    facts = {"fingerprint": LINE.candidate({"x": x}), **facts}
    return TrialRecord(
        number=number, outcome=outcome, values={"x": x}, errors=dict.fromkeys(range(1, epochs + 1), error), facts=facts
    )


def proposed(records: Sequence[TrialRecord], problem: Problem = LINE, starts: int = 1) -> set[int]:
    """What is proposed, for twenty seeds."""
    propose = LocalSearch(starts=starts).bind(problem)
    history = History(records)
    return {int(propose(history, np.random.default_rng(seed))["x"]) for seed in range(20)}


def test_the_first_trials_are_random() -> None:
    records = [record(0, 500, 0.5), record(1, 700, 0.5, RUNNING)]
    assert len(proposed(records, starts=3)) == 20
    assert proposed(records, starts=2) == {499, 501}


def test_the_neighbours_of_the_best_are_tried() -> None:
    assert proposed([record(0, 500, 0.5), record(1, 700, 0.4)]) == {699, 701}


def test_a_better_neighbour_is_gone_on_from_at_once() -> None:
    assert proposed([record(0, 500, 0.5), record(1, 501, 0.4)]) == {502}


def test_a_worse_neighbour_is_not() -> None:
    assert proposed([record(0, 500, 0.5), record(1, 501, 0.6)]) == {499}


def test_where_no_neighbour_is_better_it_goes_on_from_the_next_best_peak() -> None:
    """500 is the best and surrounded, and 502 has a better neighbour's neighbour, but none itself."""
    around = [record(0, 500, 0.1), record(1, 499, 0.6), record(2, 501, 0.6)]
    assert proposed([*around, record(3, 800, 0.7), record(4, 900, 0.8)]) == {799, 801}
    assert proposed([*around, record(3, 502, 0.5)]) == {503}


def test_what_has_a_better_neighbour_is_no_peak() -> None:
    """701 has an untried neighbour, 702, but 700 beside it is better, and done with."""
    records = [record(0, 700, 0.1), record(1, 699, 0.2), record(2, 701, 0.2)]
    assert len(proposed(records)) == 20
    assert len(proposed([*records, record(3, 698, 0.3)])) == 20


def test_neighbours_are_judged_only_of_what_may_be_a_peak() -> None:
    """Those of 499 and 501 are not: both stand beside the best. To judge one means to measure it."""
    judged: set[str] = set()
    problem = Problem(space=SPACE, refusal=lambda toy: judged.add(toy.name))
    records = [record(0, 500, 0.1), record(1, 499, 0.2), record(2, 501, 0.3), record(3, 800, 0.7)]
    assert proposed(records, problem) == {799, 801}
    assert judged == {f"[('x', {x})]" for x in (499, 500, 501, 799, 800, 801)}


def test_without_a_peak_that_has_untried_neighbours_it_starts_again_at_random() -> None:
    assert len(proposed([record(0, 500, 0.1), record(1, 499, 0.2), record(2, 501, 0.2)])) == 20


@pytest.mark.parametrize("outcome", [RUNNING, FAILED])
def test_neighbours_that_run_or_failed_are_not_proposed_again(outcome: str) -> None:
    assert proposed([record(0, 500, 0.1), record(1, 499, 0.2, outcome)]) == {501}
    assert len(proposed([record(0, 500, 0.1), record(1, 499, 0.2, outcome), record(2, 501, 0.2, outcome)])) == 20


def test_what_came_further_is_better_and_what_breaks_a_limit_is_worse() -> None:
    assert proposed([record(0, 500, 0.1, PRUNED), record(1, 700, 0.4)]) == {699, 701}
    assert proposed([record(0, 500, 0.1, violations={"latency": 0.5}), record(1, 700, 0.4)]) == {699, 701}


def test_a_result_that_comes_late_is_taken_in() -> None:
    """The search has gone on elsewhere when a neighbour of the best turns out to be better still."""
    history = History([record(0, 500, 0.1), record(1, 499, 0.2), record(2, 501, 0.0, RUNNING), record(3, 800, 0.7)])
    propose = LocalSearch(starts=1).bind(LINE)
    assert propose(history, np.random.default_rng(0))["x"] in (799, 801)
    history.put(record(2, 501, 0.0))
    assert propose(history, np.random.default_rng(0))["x"] == 502


def test_with_several_objectives_the_neighbours_of_the_front_are_tried() -> None:
    points = [(500, 0.1, 900), (700, 0.5, 500), (900, 0.6, 950)]
    records = [record(n, x, error, params=params) for n, (x, error, params) in enumerate(points)]
    assert proposed(records, WITH_PARAMS) == {499, 501, 699, 701}


def test_of_equal_trials_of_a_front_the_first_stands_for_both() -> None:
    records = [record(n, x, 0.1, params=900) for n, x in enumerate((500, 700))]
    assert proposed(records, WITH_PARAMS) == {499, 501}
    history = History([record(0, 500, 0.1, RUNNING, params=900), records[1]])
    propose = LocalSearch(starts=1).bind(WITH_PARAMS)
    assert propose(history, np.random.default_rng(0))["x"] in (699, 701)
    history.put(records[0])
    assert propose(history, np.random.default_rng(0))["x"] in (499, 501)


def test_stopped_trials_and_those_that_break_a_limit_are_not_of_the_front() -> None:
    records = [
        record(0, 500, 0.1, PRUNED, params=1),
        record(1, 700, 0.5, params=500),
        record(2, 900, 0.2, params=2, violations={"latency": 0.5}),
    ]
    assert proposed(records, WITH_PARAMS) == {699, 701}


def test_a_front_without_untried_neighbours_starts_again_at_random() -> None:
    records = [record(n, x, 0.1 + n / 10, params=100 + n) for n, x in enumerate((500, 499, 501))]
    assert len(proposed(records, WITH_PARAMS)) == 20


def test_proposals_while_results_are_out_differ() -> None:
    simulation = Simulation(LocalSearch(starts=4), Problem(space=table())).run(6)
    names = {simulation.ask().fingerprint for _ in range(30)}
    assert len(names) == 30


def test_it_finds_better_ones_than_random_search() -> None:
    def best(searcher: Any, seed: int) -> float:
        simulation = Simulation(searcher, Problem(space=table(8, 5)), seed=seed).run(80)
        return min(record.error or 1.0 for record in simulation.history)

    ours = [best(LocalSearch(), seed) for seed in range(5)]
    random = [best(RandomSearch(), seed) for seed in range(5)]
    assert np.mean(ours) < np.mean(random) - 0.02


def test_starts_is_at_least_one() -> None:
    with pytest.raises(ValueError, match=r"searcher\.starts must be an integer at least 1, got 0"):
        LocalSearch(starts=0)
