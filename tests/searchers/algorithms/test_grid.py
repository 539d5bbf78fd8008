from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from search_spaces.knobs import Categorical, Float, Integer, Knob
from searchers.algorithms.grid import Grid
from searchers.record import COMPLETED, FAILED, REFUSED
from searchers.searcher import Problem
from tests.searchers.algorithms.conformance import Simulation, ToySpace, architectures, foreign, space


def toy(*knobs: Knob, **more: Any) -> Problem:
    return Problem(space=ToySpace(name="toy", knobs=knobs, **more))


def proposed(simulation: Simulation) -> list[tuple[Any, ...]]:
    return [tuple(record.values.values()) for record in simulation.history]


CONDITIONAL = (
    Categorical(name="kind", choices=("plain", "wide")),
    Integer(name="width", low=1, high=3, when={"kind": ("wide",)}),
    Float(name="drop", low=0.0, high=0.5, step=0.25),
)


def test_as_written_the_last_knob_changes_fastest_and_conditions_are_respected() -> None:
    simulation = Simulation(Grid(shuffle=False), toy(*CONDITIONAL)).run(12)
    drops = (0.0, 0.25, 0.5)
    assert proposed(simulation) == [
        *(("plain", drop) for drop in drops),
        *(("wide", width, drop) for width in (1, 2, 3) for drop in drops),
    ]


def test_shuffled_it_is_the_same_vectors_in_another_order_every_time_the_same() -> None:
    runs = [Simulation(Grid(), toy(*CONDITIONAL), seed=seed).run(12) for seed in (0, 1)]
    written = Simulation(Grid(shuffle=False), toy(*CONDITIONAL)).run(12)
    assert proposed(runs[0]) == proposed(runs[1])
    assert proposed(runs[0]) != proposed(written)
    assert sorted(map(str, proposed(runs[0]))) == sorted(map(str, proposed(written)))


@pytest.mark.parametrize("name", ["tiny", "constants", "windowed_small"])
@pytest.mark.parametrize("shuffle", [True, False])
def test_every_architecture_comes_exactly_once(name: str, shuffle: bool) -> None:
    problem = Problem(space=space(name))
    number = len(architectures(problem))
    simulation = Simulation(Grid(shuffle=shuffle), problem).run(number + 2)
    assert [record.outcome for record in simulation.history] == [COMPLETED] * number
    assert {record.fingerprint for record in simulation.history} == architectures(problem)


@pytest.mark.parametrize(
    ("knob", "values"),
    [
        (Integer(name="x", low=0, high=600, step=2), range(0, 601, 2)),
        (Float(name="x", low=0.0, high=30.0, step=0.1), [i / 10 for i in range(301)]),
    ],
)
def test_a_knob_of_hundreds_of_values_has_them_all(knob: Knob, values: Sequence[Any]) -> None:
    simulation = Simulation(Grid(shuffle=False), toy(knob)).run(301)
    assert [record.values["x"] for record in simulation.history] == list(values)


def test_what_failed_does_not_come_again() -> None:
    simulation = Simulation(Grid(), Problem(space=space("tiny")))
    for _ in range(6):
        simulation.tell(simulation.ask().number, FAILED)
    assert {record.fingerprint for record in simulation.history} == architectures(simulation.problem)
    assert simulation.proposal() == simulation.proposal_after_a_restart()


def test_after_a_restart_only_what_is_ahead_is_decoded() -> None:
    history = Simulation(Grid(), Problem(space=space("windowed_small"))).run(100).history
    asked = []
    problem = Problem(space=space("windowed_small"), refusal=asked.append)
    Simulation(Grid(), problem, history).proposal()
    assert len(asked) < 20


def test_refused_trials_of_before_are_judged_anew() -> None:
    """The budget may have been another one."""
    problem = Problem(space=space("tiny"))
    records = [replace(record, facts={}) for record in foreign(problem, [REFUSED] * 20)]
    simulation = Simulation(Grid(), problem, records).run(6)
    assert {record.fingerprint for record in list(simulation.history)[20:]} == architectures(problem)


def test_a_space_that_is_too_large_is_refused_with_its_size() -> None:
    message = (
        "searcher=grid enumerates at most 100,000 knob vectors; search_space windowed has 884,736: fix some knobs; "
        "guided, tpe, evolution, local_search and random take such spaces"
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        Grid().bind(Problem(space=space("windowed")))


def test_a_number_without_steps_is_refused_by_name() -> None:
    message = (
        "searcher=grid cannot enumerate rate, which has no step: give it one; "
        "guided, tpe, evolution, local_search and random take such spaces"
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        Grid().bind(Problem(space=space("numbers")))


def test_shuffle_is_true_or_false() -> None:
    with pytest.raises(ValueError, match=r"searcher\.shuffle must be true or false, got 'yes'"):
        Grid(shuffle="yes")  # type: ignore[arg-type]
