from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from promotion.config import PromoteConfig, Stage
from searchers.config import RayBackend, Resources
from tests.promotion.fakes import config, stage
from training.datasets import Digits
from training.full.recipe import Recipe


def refusal(**fields: Any) -> str:
    with pytest.raises(ValueError) as error:
        config(**fields)
    return str(error.value)


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("seeds", 0, "an integer at least 1"),
        ("seeds", [0, 1], "an integer at least 1"),
        ("keep", 0, "an integer at least 1"),
        ("top", 0, "an integer at least 1"),
        ("processes", 0, "an integer at least 1"),
        ("concurrency", 0, "an integer at least 1"),
        ("target", 0, "a number at least 1 and at most 1e+12"),
        ("target", "25.6M", "a number at least 1 and at most 1e+12"),
        ("measure", "flops", "one of params, macs"),
        ("run", 2024, "the path of a folder, such as runs/NAME or ./2024"),
        ("out", "", "the path of a folder, such as runs/NAME or ./2024"),
        ("resources", {"cpu": 1}, "an option of its group, see --help; got {'cpu': 1}"),
        ("backend", None, "an option of its group, see --help; got None"),
    ],
)
def test_a_value_that_is_not_allowed(name: str, value: Any, allowed: str) -> None:
    assert refusal(**{name: value}).startswith(f"{name} must be {allowed}")


def test_what_a_search_finds_out_for_itself() -> None:
    expected = "resources.gpu=auto is of searches; a promotion takes a number, or null"
    assert refusal(resources=Resources(gpu="auto")) == expected


@pytest.mark.parametrize("stages", ["cifar", [], None, ["imagenet", "cifar"], ["cifar", "cifar"], ["tiny"], 3])
def test_stages_that_are_not_to_be_had(stages: Any) -> None:
    expected = f"stages must be [cifar], [imagenet] or [cifar,imagenet], got {stages!r}"
    assert refusal(stages=stages, imagenet=stage()) == expected


def test_a_stage_that_runs_has_to_be_complete() -> None:
    assert refusal(stages=["cifar", "imagenet"]) == "imagenet must have a recipe and a dataset, got None"


@pytest.mark.parametrize(("name", "value"), [("recipe", {"epochs": 3}), ("dataset", {"root": "data"})])
def test_what_is_no_option_of_its_group(name: str, value: Any) -> None:
    parts: dict[str, Any] = {"recipe": Recipe(), "dataset": Digits(), name: value}
    with pytest.raises(ValueError) as error:
        Stage(**parts)
    assert str(error.value) == f"{name} must be an option of its group, see --help; got {value!r}"


def test_the_stages_that_run_in_their_order() -> None:
    first, second = stage(), stage(epochs=3)
    assert config(cifar=first).chosen_stages == {"cifar": first}
    both = config(cifar=first, imagenet=second, stages=["cifar", "imagenet"]).chosen_stages
    assert list(both.items()) == [("cifar", first), ("imagenet", second)]
    assert config(cifar=first, imagenet=second, stages=["imagenet"]).chosen_stages == {"imagenet": second}


def test_everything_may_be_left_open() -> None:
    open_ones = dict.fromkeys(("top", "keep", "concurrency", "out", "run", "pareto", "trials"))
    made = replace(config(), **open_ones, resources=Resources(), backend=RayBackend())
    assert isinstance(made, PromoteConfig)


def test_a_configuration_is_made_without_anything_heavy() -> None:
    program = """
import sys
import promotion.arguments, promotion.config
print(sorted({"torch", "ray", "optuna", "pandas", "timm", "torchvision"} & set(sys.modules)))
"""
    root = Path(__file__).parents[2]
    said = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True)
    assert said.stdout == "[]\n"
