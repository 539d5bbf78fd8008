from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from promotion.arguments import DEFAULT_STAGES, of_stages

CONF = Path(__file__).parents[2] / "conf"


def test_the_default_is_that_of_the_configuration() -> None:
    assert tuple(yaml.safe_load((CONF / "promote.yaml").read_text())["stages"]) == DEFAULT_STAGES


@pytest.mark.parametrize(
    ("given", "composed"),
    [
        ([], []),
        (["run=runs/a", "seeds=3"], ["run=runs/a", "seeds=3"]),
        (["recipe=cifar_fast", "dataset.root=a"], ["cifar.recipe=cifar_fast", "cifar.dataset.root=a"]),
        (["cifar.recipe=cifar_fast"], ["cifar.recipe=cifar_fast"]),
        (["stages=[imagenet]", "recipe.epochs=3"], ["stages=[imagenet]", "imagenet.recipe.epochs=3"]),
        (["dataset=folder", "stages=[imagenet]"], ["imagenet.dataset=folder", "stages=[imagenet]"]),
        (["+recipe.epoch=3", "~dataset"], ["+cifar.recipe.epoch=3", "~cifar.dataset"]),
        (["recipes=3", "dataset_root=a"], ["recipes=3", "dataset_root=a"]),
        (["out=a/recipe=b"], ["out=a/recipe=b"]),
        (["--cfg", "job"], ["--cfg", "job"]),
        (
            ["stages=[cifar,imagenet]", "cifar.recipe.epochs=1", "imagenet.dataset.root=a"],
            ["stages=[cifar,imagenet]", "cifar.recipe.epochs=1", "imagenet.dataset.root=a"],
        ),
    ],
)  # fmt: skip
def test_what_one_stage_takes_is_its_own(given: list[str], composed: list[str]) -> None:
    assert of_stages(given) == composed


@pytest.mark.parametrize("stages", ["cifar", "[cifar", "[tiny]", "", "[[cifar]]", "{a: 1}"])
def test_stages_that_are_no_list_are_left_to_the_configuration(stages: str) -> None:
    assert of_stages([f"stages={stages}", "recipe=a"]) == [f"stages={stages}", "recipe=a"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            ["stages=[cifar,imagenet]", "recipe.epochs=3"],
            "recipe.epochs of which stage? Give cifar.recipe.epochs or imagenet.recipe.epochs",
        ),
        (
            ["dataset=imagenet", "stages=[cifar, imagenet]"],
            "dataset of which stage? Give cifar.dataset or imagenet.dataset",
        ),
        (
            ["imagenet.dataset.root=a"],
            "imagenet.dataset.root is given, but stages=[cifar] has no stage imagenet",
        ),
        (
            ["stages=[imagenet]", "+cifar.recipe=cifar_fast"],
            "+cifar.recipe is given, but stages=[imagenet] has no stage cifar",
        ),
    ],
)
def test_an_argument_that_speaks_of_no_stage(given: list[str], message: str) -> None:
    with pytest.raises(ValueError) as error:
        of_stages(given)
    assert str(error.value) == message
