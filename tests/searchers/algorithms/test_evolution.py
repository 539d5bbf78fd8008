from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from search_spaces.knobs import Integer
from searchers.algorithms.evolution import RegularisedEvolution
from searchers.algorithms.random import RandomSearch
from searchers.history import History
from searchers.record import COMPLETED, FAILED, PRUNED, RUNNING, TrialRecord
from searchers.searcher import Problem
from tests.searchers.algorithms.conformance import Simulation, ToySpace, space, table

LINE = Problem(space=ToySpace(name="line", knobs=(Integer(name="x", low=0, high=10_000),)), epochs=4)
"""Where a child stands beside its parent, so that the parent can be told from it."""


def record(number: int, x: int, error: float, outcome: str = COMPLETED, **facts: Any) -> TrialRecord:
    epochs = LINE.epochs if outcome == COMPLETED else 1
    errors = dict.fromkeys(range(1, epochs + 1), error) if outcome != RUNNING else {}
    facts = {"fingerprint": LINE.candidate({"x": x}), **facts}
    return TrialRecord(number=number, outcome=outcome, values={"x": x}, errors=errors, facts=facts)


def parents(
    records: Sequence[TrialRecord], draws: int = 200, objectives: tuple[str, ...] = ("error",), **config: Any
) -> Counter[int]:
    """How often the children of each are proposed, by its x in hundreds."""
    problem = Problem(space=LINE.space, objectives=objectives, epochs=LINE.epochs)
    propose = RegularisedEvolution(**config).bind(problem)
    history = History(records)
    proposed = [propose(history, np.random.default_rng(seed))["x"] for seed in range(draws)]
    return Counter(round(int(x) / 100) for x in proposed if min(int(x) % 100, -int(x) % 100) <= 5)


def test_the_first_trials_are_random_as_many_as_the_population() -> None:
    records = [record(n, 100 * n, 0.5) for n in range(4)]
    assert sum(parents(records, population=5, sample=5).values()) < 40
    assert sum(parents(records, population=4, sample=4).values()) == 200


def test_trials_without_a_result_do_not_fill_the_population() -> None:
    records = [record(n, 100 * n, 0.5, FAILED) for n in range(20)]
    assert sum(parents(records, population=5, sample=5).values()) < 40


def test_the_best_of_all_is_the_parent_where_the_sample_is_the_population() -> None:
    records = [record(n, 100 * n, abs(n - 3) / 10) for n in range(6)]
    assert parents(records, population=6, sample=6) == {3: 200}


def test_a_small_sample_lets_others_be_parents() -> None:
    """Of 4, in samples of 2, the best is in half of them, the next best in a third without it."""
    records = [record(n, 100 * n, n / 10) for n in range(4)]
    drawn = parents(records, draws=600, population=4, sample=2)
    assert [drawn[n] / 600 for n in range(4)] == pytest.approx([1 / 2, 1 / 3, 1 / 6, 0], abs=0.06)


def test_the_oldest_leave_the_population_however_good() -> None:
    records = [record(0, 0, 0.0), *(record(n, 100 * n, n / 10) for n in range(1, 5))]
    assert parents(records, population=4, sample=4) == {1: 200}


def test_what_came_further_is_better_and_what_breaks_a_limit_is_worse() -> None:
    stopped = [record(0, 0, 0.1, PRUNED), record(1, 100, 0.4)]
    assert parents(stopped, population=2, sample=2) == {1: 200}
    breaking = [record(0, 0, 0.1, violations={"latency": 0.5}), record(1, 100, 0.4)]
    assert parents(breaking, population=2, sample=2) == {1: 200}


def test_with_several_objectives_none_of_the_front_and_nothing_else_is_a_parent() -> None:
    points = [(0.1, 900), (0.5, 500), (0.9, 100), (0.95, 950)]
    records = [record(n, 100 * n, error, params=params) for n, (error, params) in enumerate(points)]
    drawn = parents(records, 300, ("error", "params"), population=4, sample=2)
    assert drawn[3] == 0
    assert min(drawn[0], drawn[1], drawn[2]) > 0


def test_with_several_objectives_too_what_came_further_is_better_and_what_breaks_a_limit_is_worse() -> None:
    stopped = [record(0, 0, 0.1, PRUNED, params=1), record(1, 100, 0.4, params=9)]
    breaking = [record(0, 0, 0.1, params=1, violations={"latency": 0.5}), record(1, 100, 0.4, params=9)]
    for records in (stopped, breaking):
        assert parents(records, objectives=("error", "params"), population=2, sample=2) == {1: 200}


def test_within_a_front_the_loneliest_goes_first() -> None:
    """The ends, then the one that stands apart, then the two that stand close."""
    points = [(0.1, 900), (0.2, 880), (0.22, 870), (0.6, 400), (0.9, 100)]
    records = [record(n, 100 * n, error, params=params) for n, (error, params) in enumerate(points)]
    drawn = parents(records, 300, ("error", "params"), population=5, sample=2)
    assert drawn[0] > drawn[3] > drawn[1]
    assert drawn[4] > drawn[3] > drawn[2]


def test_a_child_that_was_tried_is_mutated_again() -> None:
    records = [record(0, 100, 0.1), *(record(n, x, 0.9) for n, x in enumerate((99, 101), start=1))]
    proposed = RegularisedEvolution(population=3, sample=3).bind(LINE)(History(records), np.random.default_rng(0))
    assert proposed["x"] in (98, 102)


def test_proposals_while_results_are_out_differ() -> None:
    simulation = Simulation(RegularisedEvolution(population=4, sample=2), Problem(space=table())).run(6)
    names = {simulation.ask().fingerprint for _ in range(30)}
    assert len(names) == 30


def test_a_population_larger_than_the_space() -> None:
    simulation = Simulation(RegularisedEvolution(population=100), Problem(space=space("tiny"))).run(20)
    assert sum(r.outcome == COMPLETED for r in simulation.history) == 6


def test_it_finds_better_ones_than_random_search() -> None:
    def best(searcher: Any, seed: int) -> float:
        simulation = Simulation(searcher, Problem(space=table(8, 5)), seed=seed).run(80)
        return min(record.error or 1.0 for record in simulation.history)

    ours = [best(RegularisedEvolution(), seed) for seed in range(5)]
    random = [best(RandomSearch(), seed) for seed in range(5)]
    assert np.mean(ours) < np.mean(random) - 0.02


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"population": 0}, "searcher.population must be an integer at least 1, got 0"),
        ({"sample": 0}, "searcher.sample must be an integer from 1 to 20, got 0"),
        ({"population": 5, "sample": 6}, "searcher.sample must be an integer from 1 to 5, got 6"),
    ],
)
def test_a_bad_value_is_named_with_what_is_allowed(config: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RegularisedEvolution(**config)
