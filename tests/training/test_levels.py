from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from seqconv import validation
from seqconv.serialization import to_yaml
from training import levels
from training.levels import checked


def positive(name: str, value: Any) -> int:
    return validation.integer(name, value)


def test_a_value_holds_in_every_epoch() -> None:
    setting = checked("trial.resolution", 8, positive, 3)
    assert setting == 8
    assert [levels.at(setting, epoch) for epoch in (1, 2, 3)] == [8, 8, 8]
    assert levels.values(setting) == [8]


def test_a_level_holds_from_its_epoch_on() -> None:
    setting = checked("trial.resolution", {1: 16, 4: 24, 6: 32}, positive, 6)
    assert [levels.at(setting, epoch) for epoch in range(1, 7)] == [16, 16, 16, 24, 24, 32]
    assert levels.values(setting) == [16, 24, 32]


def test_one_level_is_a_value() -> None:
    assert checked("trial.resolution", {1: 16}, positive, None) == 16


def test_epochs_are_numbers_again_after_yaml_and_json() -> None:
    setting = checked("trial.resolution", {1: 16, 10: 24}, positive, None)
    for read in (json.loads(json.dumps(setting)), yaml.safe_load(to_yaml(setting))):
        again = checked("trial.resolution", read, positive, None)
        assert again == setting == {1: 16, 10: 24}


@pytest.mark.parametrize(
    ("setting", "problem"),
    [
        ({}, "s must say what holds from epoch 1 on, got {}: begin with 1"),
        ({2: 8}, "s must say what holds from epoch 1 on, got {2: 8}: begin with 1"),
        ({1: 8, 5: 9, 3: 10}, "s: epochs must rise from level to level, got {1: 8, 5: 9, 3: 10}"),
        ({1: 8, 3: 8}, "s: values must rise from level to level, got {1: 8, 3: 8}"),
        ({1: 8, 3: 4}, "s: values must rise from level to level, got {1: 8, 3: 4}"),
        ({1: 8, 7: 9}, "s has a level from epoch 7 on, and a trial has 6 epochs"),
        ({0: 8}, "s: the epoch of a level must be an integer at least 1, got 0"),
        ({"first": 8}, "s: the epoch of a level must be an integer at least 1, got 'first'"),
        ({1: 8, 1.5: 9}, "s: the epoch of a level must be an integer at least 1, got 1.5"),
        ({1: 8, 3: "9"}, "s from epoch 3 on must be an integer at least 1, got '9'"),
        ("8", "s must be an integer at least 1, got '8'"),
    ],
)
def test_what_is_refused(setting: Any, problem: str) -> None:
    with pytest.raises(ValueError) as error:
        checked("s", setting, positive, 6)
    assert str(error.value) == problem
