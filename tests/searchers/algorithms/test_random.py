from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from searchers.algorithms.random import TRIES, RandomSearch, draw
from searchers.record import FAILED
from searchers.searcher import Problem
from tests.searchers.algorithms.conformance import Simulation, architectures, space, table


def test_every_value_is_as_likely_as_the_other() -> None:
    simulation = Simulation(RandomSearch(), Problem(space=table())).run(400)
    for knob in table().knobs:
        counted = Counter(record.values[knob.name] for record in simulation.history)
        assert all(count == pytest.approx(100, abs=30) for count in counted.values())


def test_what_failed_is_not_drawn_again() -> None:
    simulation = Simulation(RandomSearch(), Problem(space=space("tiny")))
    names = []
    for _ in range(6):
        record = simulation.ask()
        names.append(record.fingerprint)
        simulation.tell(record.number, FAILED)
    assert sorted(filter(None, names)) == sorted(architectures(simulation.problem))


class Everything(frozenset[str]):
    def __contains__(self, name: object) -> bool:
        return True


def test_in_a_small_space_what_is_left_is_found_or_nothing_is_left_and_in_a_large_one_the_tried_is_drawn() -> None:
    problem = Problem(space=space("tiny"))
    names = architectures(problem)
    for left in names:
        values = draw(problem, names - {left}, np.random.default_rng(0))
        assert values is not None and problem.candidate(values) == left
    assert draw(problem, names, np.random.default_rng(0)) is None
    many = Problem(space=table())
    values = draw(many, Everything(), np.random.default_rng(0))
    assert values is not None and many.candidate(values) is not None


def test_the_draws_are_bounded() -> None:
    asked = []

    def refuse(architecture: object) -> str:
        asked.append(architecture)
        return "too large"

    draw(Problem(space=table(), refusal=refuse), frozenset(), np.random.default_rng(0))
    assert len(asked) <= TRIES
