"""Population based training as a session sees it, without Ray and without training."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from searchers.algorithms.random import RandomSearch
from searchers.population import PopulationBasedTraining, schedule
from searchers.record import COMPLETED, FAILED, PRUNED, RUNNING, TrialRecord
from searchers.searcher import Problem
from searchers.session import Session
from tests.searchers.fakes import Recorder, Watcher, choices, session, space
from tests.searchers.runtime import outcomes, proposed

EPOCHS = 5
CONFIG = PopulationBasedTraining(recipe={"learning_rate": {"type": "float", "low": 0.01, "high": 1.0, "log": True}})
ONE = choices(blocks=[1])


def population(folder: Path, of: Any = None, **changes: Any) -> Session:
    of = of or space()
    problem = Problem(space=of, epochs=EPOCHS)
    settings: dict[str, Any] = {
        "searcher": RandomSearch().bind(problem), "epochs": EPOCHS, "population": CONFIG, "trials": 8,
    }  # fmt: skip
    return session(folder, of, **{**settings, **changes})


def advance(search: Session, number: int) -> bool:
    """One epoch of a trial, whose error is the lower the nearer its learning rates were to 0.2; whether it ended."""
    records = search.store.records()
    epoch = records[number].epochs + 1
    known = [*schedule(records, number)]
    known[-1]["epochs"][1] = epoch
    rates = [part["learning_rate"] for part in known for _ in range(part["epochs"][1] - part["epochs"][0] + 1)]
    error = round(sum(abs(rate - 0.2) for rate in rates) / len(rates) / epoch, 9)
    result = {"epoch": epoch, "validation_error": error}
    search.on_epoch(number, result)
    ended = search.rests_after(number, epoch) or epoch == EPOCHS
    if ended:
        search.on_end(number)
    return ended


def run(search: Session, *, at_a_time: int = 3, at_most: int = 1000) -> list[TrialRecord]:
    """Epoch by epoch in turn; no more than so many."""
    running: list[int] = []
    for _ in range(at_most):
        while len(running) < at_a_time and (assignment := search.propose()) is not None:
            running.append(assignment.number)
        if not running:
            break
        number = running.pop(0)
        if not advance(search, number):
            running.append(number)
    assert list(search.history) == search.store.records()
    return search.store.records()


def test_every_place_is_filled_until_its_last_epoch(tmp_path: Path) -> None:
    records = run(population(tmp_path))
    counts = outcomes(records)
    assert counts[COMPLETED] == 8 and counts[PRUNED] >= 3 and set(counts) == {COMPLETED, PRUNED}
    begun = [record for record in records if record.parent is None]
    children = [record for record in records if record.parent is not None]
    assert len(begun) == 8 and len({record.fingerprint for record in begun}) == 8
    assert sorted(child.facts["replaces"] for child in children) == [r.number for r in records if r.outcome == PRUNED]
    for child in children:
        assert child.parent is not None
        parent = records[child.parent]
        assert child.fingerprint == parent.fingerprint and child.values == parent.values
        assert child.begun == records[child.facts["replaces"]].epochs
        assert parent.errors[child.begun] <= records[child.facts["replaces"]].errors[child.begun]
        assert child.errors == {} or min(child.errors) == child.begun + 1
        assert child.recipe != parent.recipe


def test_it_finds_better_recipes_than_it_begins_with(tmp_path: Path) -> None:
    records = run(population(tmp_path, ONE, trials=12))
    assert len({record.fingerprint for record in records}) == 1
    last = sorted(record.errors[EPOCHS] for record in records if record.outcome == COMPLETED)
    rates = [record.recipe["learning_rate"] for record in records if record.recipe and record.parent is None]
    alone = sorted(round(abs(rate - 0.2) / EPOCHS, 9) for rate in rates)
    assert len(last) == len(alone) == 12
    assert sum(last) < 0.85 * sum(alone)


def test_an_architecture_is_trained_again_where_the_space_has_no_other(tmp_path: Path) -> None:
    records = run(population(tmp_path, choices(blocks=[1, 2]), trials=4), at_a_time=4)
    begun = [record for record in records if record.parent is None]
    assert [record.values["stage1.blocks"] for record in begun[2:]] == [r.values["stage1.blocks"] for r in begun[:2]]
    assert len({record.recipe["learning_rate"] for record in begun if record.recipe}) == 4


def test_a_killed_search_goes_on_as_an_unbroken_one(tmp_path: Path) -> None:
    unbroken = run(population(tmp_path / "a"), at_a_time=1)
    for steps in (1, 2, 4, 3, 7, 11):
        run(population(tmp_path / "b"), at_a_time=1, at_most=steps)
    resumed = run(population(tmp_path / "b"), at_a_time=1)
    told = [[(r.values, r.outcome, r.errors, r.recipe, r.parent, r.begun) for r in of] for of in (unbroken, resumed)]
    assert told[0] == told[1]


def test_a_place_that_a_kill_left_vacant_is_filled(tmp_path: Path) -> None:
    """The kill comes when one of four has been told that it is the worst, and nobody else has been told anything."""
    first = population(tmp_path, trials=4)
    for number in [proposed(first).number for _ in range(4)]:
        first.on_epoch(number, {"epoch": 1, "validation_error": 0.1 * (number + 1)})
        assert first.rests_after(number, 1)
        first.on_end(number)
    assert outcomes(first.store.records()) == {RUNNING: 4}
    assert proposed(first).number == 0
    assert outcomes(first.store.records()) == {RUNNING: 3, PRUNED: 1}
    second = population(tmp_path, trials=4)
    replacing, *others = (proposed(second) for _ in range(4))
    assert (replacing.number, replacing.parent, replacing.resumed) == (4, (0, 1), False)
    assert replacing.recipe is not None and replacing.recipe != second.history[0].recipe
    assert [(other.number, other.parent, other.resumed) for other in others] == [(n, None, True) for n in range(3)]
    assert second.propose() is None


def test_nobody_goes_on_before_all_have_come_as_far(tmp_path: Path) -> None:
    watcher = Watcher()
    search = population(tmp_path, trials=3, progress=watcher)
    first, second = proposed(search).number, proposed(search).number
    search.on_epoch(first, {"epoch": 1, "validation_error": 0.5})
    search.on_end(first)
    assert watcher.of(first) == ["begin", "epoch", "rest"]
    third = proposed(search).number
    assert third not in (first, second)
    assert search.propose() is None and not search.done
    for number, error in ((second, 0.4), (third, 0.3)):
        search.on_epoch(number, {"epoch": 1, "validation_error": error})
        search.on_end(number)
    assert [proposed(search).number for _ in range(3)] == [second, third, 3]
    assert search.history[first].outcome == PRUNED and search.history[3].parent == third
    assert watcher.of(second)[-1] == "begin"
    assert not search.rests_after(second, 1), "the epochs that it had are told once more"
    assert search.rests_after(second, 2)


def test_without_the_weights_of_the_best_a_new_member_begins(tmp_path: Path) -> None:
    records = run(population(tmp_path, kept=lambda number, epoch: False))
    assert all(record.parent is None for record in records)
    assert outcomes(records)[COMPLETED] == 8 and outcomes(records)[PRUNED] > 0


def test_a_member_that_fails_leaves_no_place(tmp_path: Path) -> None:
    search = population(tmp_path, trials=2, max_failures=5)
    first, second = proposed(search), proposed(search)
    search.on_end(first.number, failure="Traceback\nout of luck")
    assert search.propose() is None
    search.on_end(second.number, failure="Traceback\nout of luck")
    assert search.done
    assert outcomes(search.store.records()) == {FAILED: 2}


def test_a_resumed_member_has_its_recipe_and_its_parent(tmp_path: Path) -> None:
    search = population(tmp_path)
    records = run(search, at_most=19)
    open_ones = {record.number: record for record in records if record.outcome == RUNNING}
    resumed = population(tmp_path)
    found = []
    while (assignment := resumed.propose()) is not None:
        found += [assignment] if assignment.number in open_ones else []
    assert len(found) >= 2 and any(assignment.parent for assignment in found)
    for assignment in found:
        record = open_ones[assignment.number]
        assert (assignment.recipe, assignment.resumed) == (record.recipe, True)
        assert assignment.parent == (None if record.parent is None else (record.parent, record.begun))


def test_without_a_population_there_is_no_recipe(tmp_path: Path) -> None:
    assignment = proposed(population(tmp_path, population=None))
    assert (assignment.recipe, assignment.parent) == (None, None)


def test_the_tracker_is_told_the_recipe(tmp_path: Path) -> None:
    tracker = Recorder()
    assignment = proposed(population(tmp_path, tracker=tracker))
    assert assignment.recipe is not None
    (told,) = [data for name, data in tracker.of(assignment.number) if name == "start"]
    assert told["recipe.learning_rate"] == assignment.recipe["learning_rate"]


@pytest.mark.parametrize("change", [{"population": None}, {}])
def test_what_belongs_to_a_population_can_be_gone_on_with_by_any_scheduler(
    tmp_path: Path, change: Mapping[str, Any]
) -> None:
    run(population(tmp_path), at_most=7)
    search = population(tmp_path, **change)
    records = run(search) if not change else _to_the_end(search)
    assert search.done and all(record.outcome != RUNNING for record in records)


def _to_the_end(search: Session) -> list[TrialRecord]:
    while (assignment := search.propose()) is not None:
        for epoch in range(search.history[assignment.number].epochs + 1, EPOCHS + 1):
            search.on_epoch(assignment.number, {"epoch": epoch, "validation_error": 0.5})
        search.on_end(assignment.number)
    return search.store.records()
