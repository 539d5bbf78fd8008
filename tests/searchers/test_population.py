from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from searchers.history import History
from searchers.population import (
    PopulationBasedTraining,
    best_at,
    describe,
    draw,
    explore,
    in_turn,
    lineage,
    schedule,
    successor,
    vacant,
    worst_at,
)
from searchers.record import COMPLETED, FAILED, PRUNED, RUNNING, TrialRecord

RATE = {"type": "float", "low": 0.01, "high": 1.0, "log": True}
DROPOUT = {"type": "float", "low": 0.0, "high": 0.5}
EXAMPLE = "a knob such as {type: float, low: 0.02, high: 0.5}"


def population(**fields: Any) -> PopulationBasedTraining:
    return PopulationBasedTraining(**{"recipe": {"learning_rate": RATE, "dropout": DROPOUT}, **fields})


def member(number: int, *errors: float, outcome: str = COMPLETED, begun: int = 0, **facts: Any) -> TrialRecord:
    """A trial with an error for each epoch from the one after `begun`, whose learning rate tells its number."""
    known = {"recipe": {"learning_rate": 0.01 * (number + 1)}, "fingerprint": f"of {number}", **facts}
    known |= {"begun": begun} if begun else {}
    by_epoch = dict(enumerate(errors, start=begun + 1))
    return TrialRecord(number=number, outcome=outcome, values={"knob": number}, errors=by_epoch, facts=known)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"interval": 0}, "scheduler.interval must be an integer at least 1, got 0"),
        ({"quantile": 0}, "scheduler.quantile must be a number above 0 and at most 0.5, got 0"),
        ({"quantile": 0.6}, "scheduler.quantile must be a number above 0 and at most 0.5, got 0.6"),
        ({"resample": 1.5}, "scheduler.resample must be a number at least 0 and at most 1, got 1.5"),
        ({"factors": []}, "scheduler.factors must be a list of numbers above 0, got []"),
        ({"factors": 1.2}, "scheduler.factors must be a list of numbers above 0, got 1.2"),
        ({"factors": [1.2, 0]}, "scheduler.factors must be a number above 0, got 0"),
        (
            {"recipe": {}},
            "scheduler.recipe must map some of learning_rate, momentum, weight_decay, label_smoothing, dropout to "
            "knobs, got {}",
        ),
        ({"recipe": {"dropout": 0.1}}, f"scheduler.recipe.dropout must be {EXAMPLE}, got 0.1"),
        (
            {"recipe": {"dropout": {**DROPOUT, "step": 0.1}}},
            "scheduler.recipe.dropout must be of type float, without step and when, got "
            "{'type': 'float', 'low': 0.0, 'high': 0.5, 'step': 0.1}",
        ),
        (
            {"recipe": {"momentum": {"type": "categorical", "choices": [0.9]}}},
            "scheduler.recipe.momentum must be of type float, without step and when, got "
            "{'type': 'categorical', 'choices': [0.9]}",
        ),
        (
            {"recipe": {"momentum": {"type": "float", "low": 0.5, "high": 1.5}}},
            "scheduler.recipe.momentum: trial.momentum must be a number at least 0 and at most 0.99, got 1.5",
        ),
    ],
)
def test_a_bad_value_is_named_with_what_is_allowed(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as error:
        population(**fields)
    assert str(error.value) == message


def test_an_unknown_setting_is_named_with_those_that_there_are() -> None:
    with pytest.raises(ValueError, match=r"scheduler\.recipe: unknown key 'batch_size'; allowed are learning_rate"):
        population(recipe={"batch_size": RATE})


def test_what_is_null_is_not_searched() -> None:
    assert list(population(recipe={"learning_rate": RATE, "momentum": None}).knobs) == ["learning_rate"]
    with pytest.raises(ValueError, match=r"scheduler\.recipe must map some of .* to knobs, got {'momentum': None}"):
        population(recipe={"momentum": None})


def test_recipes_are_drawn_within_their_bounds() -> None:
    recipes = [draw(population(), random.Random(seed)) for seed in range(200)]
    assert all(list(recipe) == ["learning_rate", "dropout"] for recipe in recipes)
    rates = sorted(recipe["learning_rate"] for recipe in recipes)
    assert 0.01 <= rates[0] < 0.012 and 0.8 < rates[-1] <= 1.0
    assert 0.05 < rates[100] < 0.2, "uniform in the logarithm"
    assert draw(population(), random.Random(3)) == recipes[3]


def test_a_changed_recipe_is_a_factor_away_and_within_the_bounds() -> None:
    config = population(resample=0)
    found = {
        explore(config, {"learning_rate": 0.1, "dropout": 0.45}, random.Random(s))["learning_rate"] for s in range(50)
    }
    assert found == {0.1 * 0.8, 0.1 * 1.25}
    found = {explore(config, {"learning_rate": 0.1, "dropout": 0.45}, random.Random(s))["dropout"] for s in range(50)}
    assert found == {0.45 * 0.8, 0.5}


def test_some_settings_are_drawn_anew_and_so_is_what_the_other_recipe_lacks() -> None:
    parent = {"learning_rate": 0.1}
    recipes = [explore(population(resample=0.25), parent, random.Random(seed)) for seed in range(400)]
    near = sum(recipe["learning_rate"] in (0.1 * 0.8, 0.1 * 1.25) for recipe in recipes)
    assert 260 < near < 340
    assert len({recipe["dropout"] for recipe in recipes}) == 400
    assert all(explore(population(resample=1), parent, random.Random(s))["learning_rate"] not in (0.08, 0.125)
               for s in range(50))  # fmt: skip


@pytest.mark.parametrize(
    ("count", "quantile", "expected"),
    [(1, 0.25, 0), (2, 0.25, 1), (3, 0.5, 1), (4, 0.25, 1), (5, 0.25, 2), (8, 0.5, 4)],
)
def test_so_many_are_the_best_and_so_many_others_the_worst(count: int, quantile: float, expected: int) -> None:
    records = [member(number, 0.1 * (count - number)) for number in range(count)]
    best = [record.number for record in best_at(records, 1, quantile)]
    worst = [record.number for record in worst_at(records, 1, quantile)]
    assert best == list(range(count - 1, count - 1 - expected, -1))
    assert worst == list(range(expected - 1, -1, -1))


def test_of_equals_the_first_is_better() -> None:
    records = [member(number, 0.5) for number in range(4)]
    assert [record.number for record in best_at(records, 1, 0.25)] == [0]
    assert [record.number for record in worst_at(records, 1, 0.25)] == [3]


def test_the_best_at_an_epoch_are_those_that_did_not_fail() -> None:
    records = [
        member(0, 0.5, 0.1),
        member(1, 0.2, outcome=FAILED),
        member(2, 0.3, 0.3, outcome=RUNNING),
        member(3, 0.4, outcome=PRUNED),
        member(4, outcome=RUNNING),
        member(5, 0.1, begun=1, parent=2),
    ]
    plain = TrialRecord(number=6, outcome=COMPLETED, values={}, errors={1: 0.01}, facts={"fingerprint": "of 6"})
    assert [record.number for record in best_at([*records, plain], 1, 0.5)] == [2]
    assert [record.number for record in worst_at([*records, plain], 1, 0.5)] == [0]
    assert [record.number for record in best_at(records, 2, 0.25)] == [0], "of equals the one that was first"
    assert best_at(records, 3, 0.5) == []


def test_a_successor_goes_on_from_one_of_the_best() -> None:
    records = [member(0, 0.1, 0.1), member(1, 0.2, 0.2), member(2, 0.3), member(3, 0.4, outcome=PRUNED)]
    chosen = [
        successor(population(quantile=0.5, resample=0), History(records), 3, random.Random(seed), lambda *_: True)
        for seed in range(40)
    ]
    assert {place.parent for place in chosen if place} == {0, 1}
    for place in chosen:
        assert place is not None and (place.begun, place.replaces) == (1, 3)
        assert place.recipe["learning_rate"] / (0.01 * (place.parent + 1)) in (
            pytest.approx(0.8),
            pytest.approx(1.25),
            1.0,
        )


def test_it_goes_on_from_the_last_comparison_and_from_weights_that_are_there() -> None:
    errors = [0.1] * 5
    records = [member(0, *errors), member(1, *errors), member(2, *errors), member(3, *errors, outcome=PRUNED)]
    config, history = population(interval=2, quantile=0.5), History(records)
    place = successor(config, history, 3, random.Random(0), lambda number, epoch: (number, epoch) == (1, 4))
    assert place is not None and (place.parent, place.begun) == (1, 4)
    assert successor(config, history, 3, random.Random(0), lambda number, epoch: epoch == 2) is None


def test_a_place_is_vacant_until_another_trial_has_it() -> None:
    records = [member(0, 0.5, outcome=PRUNED), member(1, 0.5), member(2, 0.5, outcome=PRUNED),
               member(3, outcome=RUNNING, begun=1, parent=1, replaces=0)]  # fmt: skip
    plain = TrialRecord(number=4, outcome=PRUNED, values={}, errors={1: 0.5}, facts={"fingerprint": "of 4"})
    assert vacant([*records, plain]) == [2]


def test_architectures_come_again_in_turn() -> None:
    records = [member(0), member(1), member(2, parent=0, begun=1)]
    taken = []
    for number in range(3, 7):
        values = in_turn(records)
        assert values is not None
        taken.append(values["knob"])
        records.append(replace(member(number, fingerprint=f"of {values['knob']}"), values=values))
    assert taken == [0, 1, 0, 1]
    assert in_turn([]) is None


def test_the_recipes_that_weights_went_through() -> None:
    records = [
        member(0, 0.5, 0.4, 0.3),
        member(1, 0.9, outcome=PRUNED),
        member(2, 0.2, 0.1, begun=1, parent=0),
        member(3, 0.1, begun=2, parent=2),
    ]
    assert [record.number for record in lineage(records, 3)] == [0, 2, 3]
    assert schedule(records, 3) == [
        {"epochs": [1, 1], "learning_rate": 0.01},
        {"epochs": [2, 2], "learning_rate": 0.03},
        {"epochs": [3, 3], "learning_rate": 0.04},
    ]
    assert schedule(records, 0) == [{"epochs": [1, 3], "learning_rate": 0.01}]
    assert describe(records, 2) == (
        "recipe of trial 2: epochs 1 to 1: learning_rate 0.01; epochs 2 to 3: learning_rate 0.03"
    )
