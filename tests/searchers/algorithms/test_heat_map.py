"""Windows that shrink to where the weights of a trained network are."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from search_spaces.staged import StagedSpace
from searchers.algorithms.evolution import RegularisedEvolution
from searchers.algorithms.heat_map import shrink, shrunk
from searchers.algorithms.local_search import LocalSearch
from searchers.algorithms.mutation import neighbours
from searchers.history import History
from searchers.record import COMPLETED, DUPLICATE, PRUNED, TrialRecord
from searchers.searcher import Problem
from tests.search_spaces.examples import categorical, delivered, integer, one_stage, real
from tests.searchers.algorithms.conformance import Simulation

RATIO = real(0.25, 2.0, step=0.25)
WIDE = {"stage1.window": 2.0}
SEARCHERS = (RegularisedEvolution(population=1, sample=1, heat_map=True), LocalSearch(starts=1, heat_map=True))


def windows(reach: Any, value: Any, **fields: Any) -> list[Any]:
    """The windows that a trial of one stage with G = 4 is shrunk to."""
    space = one_stage(**fields)
    vectors = shrunk(Problem(space=space), trial(space, {"stage1.window": value}, reach=reach))
    return [vector["stage1.window"] for vector in vectors]


def trial(space: Any, values: dict[str, Any], number: int = 0, **facts: Any) -> TrialRecord:
    known = {"fingerprint": Problem(space=space).candidate(values), **facts}
    return TrialRecord(number=number, outcome=COMPLETED, values=values, errors={1: 0.5 + number / 10}, facts=known)


@pytest.mark.parametrize(
    ("knob", "value", "reach", "found"),
    [
        (RATIO, 2.0, [1], [0.25]),
        (RATIO, 2.0, [3], [0.75]),
        (RATIO, 2.0, [6], [1.5]),
        (RATIO, 2.0, [7], []),  # reads all seven groups that there are, as 1.75 does
        (RATIO, 0.75, [3], []),
        (RATIO, 0.75, [4], []),
        (real(0.5, 2.0, step=0.5), 2.0, [3], [1.0]),
        (real(0.25, 2.0), 2.0, [3], [0.75]),
        (real(0.9, 2.0), 2.0, [1], [0.9]),
        (integer(1, 7), 7, [3], [3]),
        (integer(2, 8, step=3), 8, [3], [5]),
        (categorical("dense", "log", 4, "0.5G", 2), "dense", [2], ["0.5G"]),
        (categorical("dense", "log", 4, "0.5G", 2), "dense", [3], [4]),
        (categorical("dense", "log", 4), 4, [2], []),
    ],
)
def test_a_window_becomes_the_smallest_that_is_not_below_its_reach(
    knob: Any, value: Any, reach: Any, found: list[Any]
) -> None:
    assert windows(reach, value, window=knob) == found


@pytest.mark.parametrize("reach", [[None], [], None])
def test_without_a_reach_there_is_nothing_to_go_by(reach: Any) -> None:
    facts = {} if reach is None else {"reach": reach}
    space = one_stage(window=RATIO)
    assert shrunk(Problem(space=space), trial(space, WIDE, **facts)) == []


def test_each_window_of_several_stages_shrinks_by_itself() -> None:
    space = delivered("windowed_small")
    values: dict[str, Any] = {f"stage{n}.groups": 8 for n in (1, 2, 3)} | {f"stage{n}.window": 1.75 for n in (1, 2, 3)}
    record = trial(space, values, reach=[1, None, 8])
    made = shrunk(Problem(space=space), record)
    assert made == [{**values, "stage1.window": 0.25}, {**values, "stage3.window": 1.0}]


def test_a_window_that_may_not_be_trained_gives_way_to_the_next() -> None:
    """allow_unread=false refuses windows below G."""
    assert windows([1], 2.0, window=RATIO, allow_unread=False) == [1.0]
    space = one_stage(window=RATIO)
    narrow = Problem(space=space, refusal=lambda plan: "no" if plan.stages[0].window.resolve(4) == 3 else None)
    assert [v["stage1.window"] for v in shrunk(narrow, trial(space, WIDE, reach=[3]))] == [1.0]


def test_what_was_tried_is_not_made_again() -> None:
    space = one_stage(window=RATIO)
    problem, record = Problem(space=space), trial(space, WIDE, reach=[3])
    generator = np.random.default_rng(0)
    assert shrink(problem, record, set(), generator) == {"stage1.window": 0.75}
    assert shrink(problem, record, {problem.candidate({"stage1.window": 0.75}) or ""}, generator) is None


@pytest.mark.parametrize("searcher", SEARCHERS)
def test_the_first_child_of_the_best_has_a_shrunk_window(searcher: Any) -> None:
    space = one_stage(window=RATIO, form=categorical("plain", "bottleneck"))
    problem, values = Problem(space=space), {**WIDE, "stage1.form": "plain"}
    shorter, best = {**values, "stage1.window": 0.5}, trial(space, values, reach=[2])

    def proposed(config: Any, *records: TrialRecord) -> list[Any]:
        propose = config.bind(problem)
        return [propose(History(records), np.random.default_rng(seed)) for seed in range(20)]

    assert proposed(searcher, best) == [shorter] * 20
    usual = proposed(replace(searcher, heat_map=False), best)
    assert shorter not in usual and len({str(values) for values in usual}) > 1
    untold = replace(best, facts={"fingerprint": best.fingerprint})
    assert proposed(searcher, untold) == usual
    known = trial(space, shorter, 1)
    known = replace(known, outcome=DUPLICATE) if searcher is SEARCHERS[0] else known
    assert all(child in neighbours(problem, values) for child in proposed(searcher, best, known))


@pytest.mark.parametrize("searcher", SEARCHERS)
@pytest.mark.parametrize("objectives", [("error",), ("error", "params")])
def test_searches_with_it_repeat_and_resume(searcher: Any, objectives: tuple[str, ...]) -> None:
    """All that was trained to the end reads one group back."""

    def run() -> Simulation:
        simulation = Simulation(searcher, Problem(space=delivered("windowed_small"), objectives=objectives))
        for number in range(12):
            record = simulation.ask()
            simulation.tell(record.number, PRUNED if number % 3 == 1 else COMPLETED)
            told = simulation.history[record.number]
            if told.outcome == COMPLETED:
                simulation.history.put(replace(told, facts={**told.facts, "reach": [1, 1, 1]}))
        return simulation

    found = run()
    assert [r.values for r in found.history] == [r.values for r in run().history]
    assert found.proposal() == found.proposal_after_a_restart()
    assert len({record.fingerprint for record in found.history}) == 12


@pytest.mark.parametrize("kind", [RegularisedEvolution, LocalSearch])
def test_a_space_without_windows_is_refused(kind: Any) -> None:
    space = StagedSpace(name="one", pyramid=(1,), stage1={"blocks": integer(1, 2), "groups": 4, "window": "1G"})
    message = (
        "searcher.heat_map shrinks knobs named stage1.window and so on, and search space one has none: "
        "its knobs are stage1.blocks; take searcher.heat_map=false or search_space=windowed"
    )
    with pytest.raises(ValueError) as error:
        kind(heat_map=True).bind(Problem(space=space))
    assert str(error.value) == message
    kind().bind(Problem(space=space))


@pytest.mark.parametrize("kind", [RegularisedEvolution, LocalSearch])
def test_it_is_true_or_false(kind: Any) -> None:
    with pytest.raises(ValueError, match=r"^searcher\.heat_map must be true or false, got 1$"):
        kind(heat_map=1)
