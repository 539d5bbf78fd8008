"""Every searcher with every space, as `conformance.CASES` and `conformance.SPACES` list them."""

from __future__ import annotations

import itertools
import random
import zlib
from dataclasses import replace
from typing import Any

import pytest

from search_spaces.knobs import Integer
from searchers.algorithms.cma_es import CmaEs
from searchers.algorithms.evolution import RegularisedEvolution
from searchers.algorithms.nsga import Nsga2, Nsga3
from searchers.record import COMPLETED, DUPLICATE, FAILED, PRUNED, REFUSED, RUNNING, TrialRecord
from searchers.searcher import Problem, Searcher
from tests.searchers.algorithms.conformance import (
    CASES,
    SPACES,
    Case,
    Simulation,
    ToySpace,
    WarmStarted,
    architectures,
    foreign,
    space,
)

EPOCHS = 4
PAIRS = [(case, name) for case in CASES.values() for name in case.spaces or SPACES if case.takes(space(name))]
NOT_TAKEN = [(case, name) for case in CASES.values() for name in SPACES if not case.takes(space(name))]


def named(value: Any) -> str:
    return value.searcher.name if isinstance(value, Case) else value


every_pair = pytest.mark.parametrize(("case", "name"), PAIRS, ids=named)
every_searcher = pytest.mark.parametrize("case", CASES.values(), ids=named)


def who_takes(name: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", [case for case in CASES.values() if case.takes(space(name))], ids=named)


@every_pair
def test_a_search_with_all_that_happens(case: Case, name: str) -> None:
    """Four trials at a time end out of order; now and then, what would be proposed after a restart is compared."""
    simulation = Simulation(case.searcher, Problem(space=space(name), epochs=EPOCHS))
    outcomes = itertools.cycle([COMPLETED, COMPLETED, PRUNED, COMPLETED, FAILED])
    rng = random.Random(0)
    running: list[int] = []
    for step in range(24):
        if step % 5 == 4:
            assert simulation.proposal_after_a_restart() == simulation.proposal()
        record = simulation.next()
        if record is not None and record.outcome == RUNNING:
            running.append(record.number)
        if len(running) == 4 or (running and step > 20):
            simulation.tell(running.pop(rng.randrange(len(running))), next(outcomes))


@every_pair
def test_going_on_from_what_others_left(case: Case, name: str) -> None:
    """Trials that another searcher proposed, orphans of a killed search, and records that say next to nothing."""
    problem = Problem(space=space(name), epochs=EPOCHS)
    outcomes = [COMPLETED, PRUNED, FAILED, REFUSED, DUPLICATE, RUNNING, *[COMPLETED] * 6]
    records = foreign(problem, outcomes)
    records.append(TrialRecord(number=len(records), outcome=REFUSED, values={}, facts={"reason": "undecodable"}))
    records.append(TrialRecord(number=len(records), outcome=FAILED, values=records[0].values))
    simulation = Simulation(case.searcher, problem, records)
    assert simulation.proposal_after_a_restart() == simulation.proposal()
    simulation.run(8)
    assert simulation.proposal_after_a_restart() == simulation.proposal()


@pytest.mark.parametrize(("case", "name"), [pair for pair in PAIRS if pair[1] != "fixed"], ids=named)
def test_a_budget_is_kept(case: Case, name: str) -> None:
    """A third of the architectures may be trained; that all proposals are of these, `Simulation` checks."""
    Simulation(case.searcher, Problem(space=space(name), refusal=a_third_only)).run(12)


@who_takes("tiny")
def test_a_space_of_which_nothing_may_be_trained(case: Case) -> None:
    problem = Problem(space=space("tiny"), refusal=lambda architecture: "too large")
    simulation = Simulation(case.searcher, problem, foreign(Problem(space=problem.space), [COMPLETED] * 8))
    assert simulation.proposal() is None


@who_takes("tiny")
def test_a_space_is_found_out_to_the_last_architecture_and_then_nothing_is_left(case: Case) -> None:
    simulation = Simulation(case.searcher, Problem(space=space("tiny"))).run(30)
    assert [record.outcome for record in simulation.history] == [COMPLETED] * len(architectures(simulation.problem))
    assert simulation.proposal() is None
    assert simulation.proposal_after_a_restart() is None


@pytest.mark.parametrize(
    "searcher",
    [RegularisedEvolution(population=50), Nsga2(population=50), Nsga3(population=50), CmaEs(population=50)],
    ids=lambda searcher: searcher.name,
)
def test_a_population_larger_than_the_space_finds_it_all_too(searcher: Searcher) -> None:
    knobs = tuple(Integer(name=name, low=1, high=4) for name in "ab")
    simulation = Simulation(searcher, Problem(space=ToySpace(name="sixteen", knobs=knobs))).run(30)
    assert [record.outcome for record in simulation.history] == [COMPLETED] * 16
    assert simulation.proposal() is simulation.proposal_after_a_restart() is None


@who_takes("table")
def test_trials_that_all_fail_do_not_stop_it(case: Case) -> None:
    simulation = Simulation(case.searcher, Problem(space=space("table")))
    for _ in range(12):
        simulation.tell(simulation.ask().number, FAILED)


@who_takes("table")
def test_a_duplicate_in_the_making_counts_as_nothing(case: Case) -> None:
    """What waits for the same architecture is running until that ends, and then a duplicate."""
    problem = Problem(space=space("table"))
    simulation = Simulation(case.searcher, problem, foreign(problem, [COMPLETED] * 8))
    first = simulation.ask()
    simulation.history.put(replace(first, number=len(simulation.history)))
    simulation.ask()
    simulation.tell(first.number)
    simulation.tell(first.number + 1, DUPLICATE)
    assert simulation.proposal_after_a_restart() == simulation.proposal()
    simulation.run(4)


@pytest.mark.parametrize("objectives", [("error", "params"), ("macs", "error", "params")], ids=len)
@every_searcher
def test_several_objectives(case: Case, objectives: tuple[str, ...]) -> None:
    """Who cannot do them says who can."""
    problem = Problem(space=space("table"), objectives=objectives, epochs=EPOCHS)
    if not case.several:
        with pytest.raises(ValueError, match=f"searcher={case.searcher.name} .*take several objectives"):
            case.searcher.bind(problem)
        return
    simulation = Simulation(case.searcher, problem, foreign(problem, [COMPLETED, PRUNED, FAILED]))
    for outcome in itertools.islice(itertools.cycle([COMPLETED, COMPLETED, PRUNED]), 24):
        simulation.tell(simulation.ask().number, outcome)
    assert simulation.proposal_after_a_restart() == simulation.proposal()


@pytest.mark.parametrize("case", [case for case in CASES.values() if case.several], ids=named)
def test_an_objective_that_earlier_trials_did_not_measure(case: Case) -> None:
    problem = Problem(space=space("table"), objectives=("error", "latency"))
    simulation = Simulation(case.searcher, problem, foreign(problem, [COMPLETED] * 10)).run(4)
    assert simulation.proposal_after_a_restart() == simulation.proposal()


@every_pair
def test_a_warm_start(case: Case, name: str) -> None:
    """What is given comes first, in order, once, also after a restart in the middle; then the searcher goes on."""
    problem = Problem(space=space(name), epochs=EPOCHS)
    vectors = [dict(record.values) for record in foreign(problem, [COMPLETED] * 4)]
    expected = list(dict.fromkeys(map(problem.candidate, vectors)))
    searcher = WarmStarted(searcher=case.searcher, vectors=(*vectors, vectors[0]))
    simulation = Simulation(searcher, problem)
    for fingerprint in expected:
        assert simulation.proposal_after_a_restart() == simulation.proposal()
        assert simulation.ask().fingerprint == fingerprint
    for number in reversed(range(len(expected))):
        simulation.tell(number, PRUNED if number % 2 else COMPLETED)
    for _ in range(3):
        by_itself = case.searcher.bind(problem)(simulation.history, simulation.generator())
        assert simulation.proposal_after_a_restart() == simulation.proposal() == by_itself
        simulation.run(1)


@pytest.mark.parametrize(("case", "name"), NOT_TAKEN, ids=named)
def test_who_cannot_do_a_space_says_who_can(case: Case, name: str) -> None:
    with pytest.raises(ValueError, match=rf"searcher={case.searcher.name} .*evolution.* random take"):
        case.searcher.bind(Problem(space=space(name)))


def a_third_only(architecture: Any) -> str | None:
    return None if zlib.crc32(architecture.fingerprint().encode()) % 3 == 0 else "too large"
