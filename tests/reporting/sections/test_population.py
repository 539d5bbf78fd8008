from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from reporting.report import _sections
from reporting.sections import population
from searchers.record import COMPLETED, PRUNED, RUNNING
from tests.reporting.records import run, trial


def member(number: int, outcome: str, rate: float, *errors: float, begun: int = 0, **facts: Any) -> Any:
    made = trial(number, outcome, recipe={"learning_rate": rate, "dropout": 0.0}, begun=begun, **facts)
    return replace(made, record=replace(made.record, errors=dict(enumerate(errors, start=begun + 1))))


TRIALS = [
    member(0, COMPLETED, 0.1, 0.5, 0.4, 0.3),
    member(1, PRUNED, 0.01, 0.9),
    member(2, COMPLETED, 0.125, 0.2, 0.1, begun=1, parent=0, replaces=1),
    member(3, RUNNING, 0.5),
]


def test_the_lines_are_the_recipes_by_epoch() -> None:
    rate, dropout = population.section([run(*TRIALS)]).panels
    assert (rate.title, dropout.title) == ("learning_rate", "dropout")
    ended, trained, best = rate.figure.data
    assert (list(ended.x), list(ended.y)) == ([0, 1], [0.01, 0.01])
    assert list(trained.x) == [0, 1, 2, 3, None, 1, 2, 3]
    assert list(trained.y) == [0.1, 0.1, 0.1, 0.1, None, 0.125, 0.125, 0.125]
    assert trained.text[1] == "trial 0, error 50.00 %" and trained.text[5] == "trial 2"
    assert (best.name, list(best.x)) == ("best, trial 2", [0, 1, 1, 2, 3])
    assert list(best.y) == [0.1, 0.1, 0.125, 0.125, 0.125]
    assert rate.figure.layout.yaxis.type == "log" and dropout.figure.layout.yaxis.type == "linear"


def test_the_recipe_of_the_best_is_said() -> None:
    (note,) = population.section([run(*TRIALS)]).notes
    assert note.text == (
        "recipe of trial 2: epochs 1 to 1: learning_rate 0.1, dropout 0; epochs 2 to 3: learning_rate 0.125, dropout 0"
    )


def test_the_data_has_a_row_for_each_epoch() -> None:
    data = population.section([run(*TRIALS)]).data
    assert data is not None
    assert data["trial"].tolist() == [0] * 4 + [1] * 2 + [2] * 3
    assert data["epoch"].tolist() == [0, 1, 2, 3, 0, 1, 1, 2, 3]


def test_several_runs_are_told_apart() -> None:
    found = population.section([run(*TRIALS, name="a"), run(*TRIALS, name="b", index=1)])
    assert [panel.title for panel in found.panels] == [
        "learning_rate, a", "dropout, a", "learning_rate, b", "dropout, b"
    ]  # fmt: skip
    assert len({panel.name for panel in found.panels}) == 4


@pytest.mark.parametrize("trials", [[], [trial(0, COMPLETED, 0.5)]])
def test_without_a_population_it_is_left_out(trials: list[Any]) -> None:
    assert population.section([run(*trials)]).empty == "no trial has a recipe of its own"
    assert "population" not in [section.name for section in _sections([run(*trials)], 20)]
    assert "population" in [section.name for section in _sections([run(*TRIALS)], 20)]


def test_before_the_first_epoch_there_is_nothing_to_draw() -> None:
    (panel, _) = population.section([run(member(0, RUNNING, 0.1))]).panels
    assert list(panel.figure.data) == []
