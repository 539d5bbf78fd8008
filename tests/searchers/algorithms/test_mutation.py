from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from search_spaces.knobs import Categorical, Float, Integer, Knob, Value
from search_spaces.space import checked_values, sample
from searchers.algorithms.mutation import FILLED, mutate, neighbours
from searchers.algorithms.random import python_random
from searchers.searcher import Problem
from tests.search_spaces.examples import one_stage, real
from tests.searchers.algorithms.conformance import SPACES, ToySpace, architectures, everything, space


def toy(*knobs: Knob, **more: Any) -> Problem:
    return Problem(space=ToySpace(name="toy", knobs=knobs, **more))


def around(problem: Problem, **values: Value) -> list[Value]:
    """The values of a lone knob one change away."""
    assert len(values) == 1
    return [vector[name] for vector in neighbours(problem, values) for name in values]


def mutants(problem: Problem, values: Mapping[str, Value], number: int = 200) -> list[dict[str, Value]]:
    generator = np.random.default_rng(0)
    made = [mutate(problem, values, generator) for _ in range(number)]
    return [vector for vector in made if vector is not None]


@pytest.mark.parametrize(
    ("knob", "value", "expected"),
    [
        (Integer(name="x", low=1, high=9), 4, [5, 3]),
        (Integer(name="x", low=1, high=9), 1, [2]),
        (Integer(name="x", low=1, high=9, step=4), 5, [9, 1]),
        (Integer(name="x", low=1, high=100, log=True), 12, [24, 6]),
        (Integer(name="x", low=1, high=100, log=True), 64, [100, 32]),
        (Integer(name="stage1.groups", low=1, high=16), 4, [8, 2]),
        (Integer(name="stage1.groups", low=4, high=16, step=4), 8, [12, 4]),
        (Float(name="x", low=0.0, high=0.5, step=0.1), 0.2, [0.3, 0.1]),
        (Categorical(name="x", choices=(4, 1, 2, 8)), 2, [4, 1]),
        (Categorical(name="x", choices=(0.5, 1, 2.0)), 2.0, [1]),
        (Categorical(name="x", choices=("a", "b", "c")), "b", ["a", "c"]),
        (Categorical(name="x", choices=("a", 1, 2)), 1, ["a", 2]),
        (Categorical(name="x", choices=(True, False)), True, [False]),
        (Categorical(name="x", choices=("alone",)), "alone", []),
    ],
)
def test_one_step_of_a_knob(knob: Knob, value: Value, expected: list[Value]) -> None:
    problem = toy(knob)
    assert around(problem, **{knob.name: value}) == expected
    assert {vector[knob.name] for vector in mutants(problem, {knob.name: value}, 60)} == set(expected)


def test_a_number_without_steps_moves_by_shares_of_its_range() -> None:
    problem = toy(Float(name="x", low=0.0, high=10.0))
    assert around(problem, x=4.0) == pytest.approx([5.0, 3.0, 4.1, 3.9])
    assert around(problem, x=9.5) == pytest.approx([10.0, 8.5, 9.6, 9.4])
    drawn = [float(vector["x"]) - 4 for vector in mutants(problem, {"x": 4.0})]
    assert np.std(drawn) == pytest.approx(1.0, rel=0.2)
    assert np.mean(drawn) == pytest.approx(0.0, abs=0.2)


def test_a_number_drawn_in_the_logarithm_moves_there() -> None:
    problem = toy(Float(name="x", low=1e-4, high=1.0, log=True))
    assert around(problem, x=0.01)[:2] == pytest.approx([10**-1.6, 10**-2.4])


def test_a_step_that_makes_no_other_architecture_is_followed_by_the_next() -> None:
    """With two groups, a window of 0.75 G to 1 G is two groups wide."""
    problem = Problem(space=one_stage(groups=2, window=real(0.25, 2.0, step=0.25)))
    widths = [
        problem.space.decode(vector).stages[0].window.resolve(2)
        for vector in neighbours(problem, {"stage1.window": 0.75})
    ]
    assert sorted(widths) == [1, 3]


def test_a_step_to_what_may_not_be_trained_is_followed_by_the_next() -> None:
    problem = toy(Integer(name="x", low=1, high=9), forbidden=lambda values: 4 <= values["x"] <= 6)
    assert around(problem, x=3) == [7, 2]
    refused = Problem(space=problem.space, refusal=lambda toy: "too large" if toy.name.endswith("7)]") else None)
    assert around(refused, x=3) == [8, 2]


def test_two_moves_to_one_architecture_are_one_neighbour() -> None:
    problem = toy(Categorical(name="x", choices=("a", "b", "B")), meaning=lambda values: str(values["x"]).lower())
    assert around(problem, x="a") == ["b"]
    assert around(problem, x="b") == ["a"]


def test_a_block_moves_from_one_stage_to_another() -> None:
    names = ("stage1.blocks", "stage2.blocks", "stage3.blocks")
    problem = toy(*(Integer(name=name, low=1, high=3) for name in names))
    blocks = [tuple(vector.values()) for vector in neighbours(problem, dict(zip(names, (1, 2, 3), strict=True)))]
    single = {(2, 2, 3), (1, 3, 3), (1, 1, 3), (1, 2, 2)}
    moved = {(2, 1, 3), (2, 2, 2), (1, 3, 2)}
    assert len(blocks) == len(single) + len(moved)
    assert set(blocks) == single | moved
    drawn = [tuple(vector.values()) for vector in mutants(problem, dict(zip(names, (1, 2, 3), strict=True)))]
    assert set(drawn) == single | moved


CONDITIONAL = (
    Categorical(name="kind", choices=("plain", "wide")),
    Integer(name="width", low=1, high=3, when={"kind": ("wide",)}),
    Integer(name="other", low=1, high=2),
)


def test_a_knob_that_becomes_active_gets_each_of_its_values() -> None:
    found = neighbours(toy(*CONDITIONAL), {"kind": "plain", "other": 1})
    assert [list(vector.items()) for vector in found] == [
        *([("kind", "wide"), ("width", width), ("other", 1)] for width in (1, 2, 3)),
        [("kind", "plain"), ("other", 2)],
    ]


def test_a_knob_that_becomes_inactive_loses_its_value() -> None:
    found = neighbours(toy(*CONDITIONAL), {"kind": "wide", "width": 2, "other": 1})
    assert {"kind": "plain", "other": 1} in found


def test_knobs_that_become_active_together_make_a_bounded_number_of_neighbours() -> None:
    when = {"kind": ("wide",)}
    many = (Integer(name=f"x{i}", low=0, high=9, when=when) for i in range(3))
    problem = toy(CONDITIONAL[0], *many, Float(name="y", low=0.0, high=1.0, when=when))
    found = neighbours(problem, {"kind": "plain"})
    assert len({vector["x0"] for vector in found}) == 10
    assert len(found) <= FILLED
    drawn = mutants(problem, {"kind": "plain"}, 50)
    assert len({vector["y"] for vector in drawn}) == len(drawn) == 50


def test_each_knob_is_as_likely_to_change_as_the_other() -> None:
    problem = toy(Categorical(name="many", choices=tuple("abcdefgh")), Integer(name="few", low=0, high=1))
    changed = [vector["few"] == 1 for vector in mutants(problem, {"many": "a", "few": 0}, 400)]
    assert np.mean(changed) == pytest.approx(0.5, abs=0.07)


def test_where_nothing_can_change_there_is_no_mutant() -> None:
    assert mutate(toy(), {}, np.random.default_rng(0)) is None
    forbidding = toy(Integer(name="x", low=1, high=3), forbidden=lambda values: values["x"] != 2)
    assert mutate(forbidding, {"x": 2}, np.random.default_rng(0)) is None
    assert neighbours(forbidding, {"x": 2}) == []


def test_a_parent_that_may_not_be_trained_has_neighbours_that_may() -> None:
    problem = toy(Integer(name="x", low=1, high=3), forbidden=lambda values: values["x"] == 2)
    assert around(problem, x=2) == [3, 1]


@pytest.mark.parametrize("name", SPACES)
def test_what_is_made_is_admissible_and_another_architecture(name: str) -> None:
    problem = Problem(space=space(name))
    generator = np.random.default_rng(0)
    for _ in range(4):
        values = sample(problem.space, python_random(generator))
        found = neighbours(problem, values)
        mutant = mutate(problem, values, generator)
        for vector in [*found, *([] if mutant is None else [mutant])]:
            assert vector == checked_values(problem.space.knobs, vector)
        names = [problem.candidate(vector) for vector in found]
        assert None not in names
        assert problem.candidate(values) not in names
        assert len(set(names)) == len(names)
        assert (mutant is None) == (not found)


@pytest.mark.parametrize("name", ["tiny", "constants"])
def test_every_architecture_can_be_reached(name: str) -> None:
    problem = Problem(space=space(name))
    start = next(values for values in everything(problem.space) if problem.candidate(values))
    reached, ahead = {problem.candidate(start)}, [start]
    while ahead:
        for vector in neighbours(problem, ahead.pop()):
            if problem.candidate(vector) not in reached:
                reached.add(problem.candidate(vector))
                ahead.append(vector)
    assert reached == architectures(problem)
