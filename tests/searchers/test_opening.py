from __future__ import annotations

import pytest

from search_spaces.budget import Budget
from searchers.algorithms.cma_es import CmaEs
from searchers.algorithms.evolution import RegularisedEvolution
from searchers.algorithms.nsga import Nsga2
from searchers.algorithms.random import RandomSearch
from searchers.opening import outside_budget, unused_population
from searchers.record import COMPLETED, DUPLICATE, FAILED, PRUNED, REFUSED, RUNNING
from searchers.searcher import Searcher
from tests.searchers.trials import trial


@pytest.mark.parametrize("searcher", [RegularisedEvolution(), Nsga2(), CmaEs(population=20)])
def test_a_population_that_the_search_does_not_fill(searcher: Searcher) -> None:
    assert unused_population(searcher, 20) == []
    assert unused_population(searcher, 19) == [
        "note: searcher.population=20 is above the 19 trials of this search: no result will guide a proposal; "
        "take a smaller population, or more trials where the space has them"
    ]


@pytest.mark.parametrize("searcher", [RandomSearch(), CmaEs()])
def test_a_searcher_without_a_population_of_its_own(searcher: Searcher) -> None:
    assert unused_population(searcher, 1) == []


def test_trials_that_a_tighter_budget_would_not_have_trained() -> None:
    outcomes = (COMPLETED, PRUNED, FAILED, DUPLICATE, REFUSED, RUNNING, COMPLETED)
    params = [{"params": 100 * number} for number in range(1, len(outcomes) + 1)]
    records = [trial(i, outcome, 0.5, **params[i]) for i, outcome in enumerate(outcomes)]
    assert outside_budget(records, Budget(params=(None, 700))) == []
    assert outside_budget(records, Budget()) == []
    assert outside_budget(records, Budget(params=(None, 150))) == [
        "note: 2 trials of before are out of this budget (1, 6): it bounds what is proposed from here on; "
        "their results stay, and the best trial may be one of them"
    ]


def test_many_such_trials_are_not_all_named() -> None:
    records = [trial(i, COMPLETED, 0.5) for i in range(7)]
    (line,) = outside_budget(records, Budget(serial_depth=(None, 40)))
    assert line.startswith("note: 7 trials of before are out of this budget (0, 1, 2, 3, 4, ...): ")
